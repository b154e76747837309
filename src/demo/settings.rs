//! The configuration file of the demo: filled in, written, and never put in the place of a file
//! that the demo did not write.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::services::Addresses;

/// What the template is filled in with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where its admin API listens.
    pub admin: SocketAddr,
    /// Data-plane threads.
    pub workers: usize,
    /// The services.
    pub services: Addresses,
    /// The configuration file.
    pub file: PathBuf,
}

/// What became of a file that was there before.
#[derive(Debug, PartialEq, Eq)]
pub enum Former {
    /// There was none, or one of the demo's that nobody had edited.
    Replaced,
    /// It was the demo's, with edits; it is here now.
    Kept(PathBuf),
}

const TEMPLATE: &str = include_str!("demo.toml");

/// How the first line of a file of the demo begins; the digest of the rest follows.
const MARK: &str = "# written by `ringgate demo`; unedited as long as this holds: ";

impl Settings {
    /// The file's text.
    pub fn render(&self) -> String {
        let services = &self.services;
        let text = [
            ("@WORKERS@", self.workers.to_string()),
            ("@ADMIN@", self.admin.to_string()),
            ("@GATEWAY@", self.gateway.to_string()),
            ("@LOG@", escaped(&self.access_log())),
            ("@USERS@", services.users.to_string()),
            ("@PRODUCTS@", services.products.to_string()),
            ("@NEXT@", services.products_next.to_string()),
            ("@ORDERS@", services.orders.to_string()),
        ]
        .iter()
        .fold(TEMPLATE.to_owned(), |text, (key, value)| {
            text.replace(key, value)
        });
        format!("{MARK}{:016x}\n{text}", digest(&text))
    }

    /// The access log: beside the configuration, under its name.
    pub fn access_log(&self) -> PathBuf {
        let log = self.file.with_extension("log");
        match log.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(log),
            _ => log,
        }
    }

    /// Writes the file. One of the demo's is replaced, with edits it is kept under another name.
    ///
    /// # Errors
    /// Says what stands in the way and what to do.
    pub fn write(&self) -> Result<Former, String> {
        let file = &self.file;
        let fail = |error: io::Error| format!("cannot write {}: {error}", file.display());
        let former = match fs::read_to_string(file) {
            Ok(text) => match author(&text) {
                Author::Demo => Former::Replaced,
                Author::DemoThenEdited => Former::Kept(set_aside(file).map_err(fail)?),
                Author::Somebody => return Err(not_ours(file)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Former::Replaced,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(not_ours(file)),
            Err(error) => return Err(fail(error)),
        };
        fs::write(file, self.render()).map_err(fail)?;
        Ok(former)
    }
}

fn not_ours(file: &Path) -> String {
    format!(
        "{} is there and was not written by the demo; name another file with --config-out",
        file.display()
    )
}

/// Who wrote a file.
#[derive(Debug, PartialEq, Eq)]
enum Author {
    Demo,
    DemoThenEdited,
    Somebody,
}

fn author(text: &str) -> Author {
    let marked = text
        .split_once('\n')
        .and_then(|(first, rest)| Some((first.strip_prefix(MARK)?, rest)));
    match marked {
        Some((mark, rest)) if mark == format!("{:016x}", digest(rest)) => Author::Demo,
        Some(_) => Author::DemoThenEdited,
        None => Author::Somebody,
    }
}

/// Moves a file to its name with the first number that is free.
fn set_aside(file: &Path) -> io::Result<PathBuf> {
    for number in 1..=SET_ASIDE_MAX {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let kept = PathBuf::from(name);
        if !kept.exists() {
            fs::rename(file, &kept)?;
            return Ok(kept);
        }
    }
    Err(io::Error::other("too many edited copies; remove some"))
}

const SET_ASIDE_MAX: u32 = 1000;

/// FNV-1a: whether a text was edited is all that hangs on it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A path inside a basic string of TOML.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace("${", "$${")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(file: PathBuf) -> Settings {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Settings {
            gateway: local(8080),
            admin: local(9901),
            workers: 2,
            services: Addresses {
                users: local(1),
                products: local(2),
                products_next: local(3),
                orders: local(4),
            },
            file,
        }
    }

    #[test]
    fn its_file_passes_check_without_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path().join("demo.toml"));
        settings.write().unwrap();
        let findings =
            match crate::checked::check(&settings.file, crate::references::Commands::Leave) {
                Ok(checked) => checked.findings,
                Err(refused) => refused.findings,
            };
        assert_eq!(findings.render(ringgate_config::Style::Plain), "");
    }

    #[test]
    fn edits_are_kept_and_other_files_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("demo.toml");
        let settings = settings(file.clone());
        assert_eq!(settings.write().unwrap(), Former::Replaced);
        assert_eq!(settings.write().unwrap(), Former::Replaced);
        let edited = fs::read_to_string(&file).unwrap().replace("pong", "PONG");
        fs::write(&file, &edited).unwrap();
        let kept = dir.path().join("demo.toml.1");
        assert_eq!(settings.write().unwrap(), Former::Kept(kept.clone()));
        assert_eq!(fs::read_to_string(&kept).unwrap(), edited);
        for foreign in [&b"[[listener]]\n"[..], b"", b"\xff"] {
            fs::write(&file, foreign).unwrap();
            assert!(settings.write().unwrap_err().contains("--config-out"));
            assert_eq!(fs::read(&file).unwrap(), foreign);
        }
    }
}
