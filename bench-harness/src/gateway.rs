//! The gateway under measurement: the release build beside this program, started on a
//! configuration of the bench, ready when it says so.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::interrupt;
use crate::output;
use crate::process::{self, Output, Plan, Process, Until};

/// The program.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    version: String,
}

impl Binary {
    /// Takes the named one, or finds it in the release directory and builds it if it is not
    /// there.
    ///
    /// # Errors
    /// When there is none, or it is a debug build: its figures would mean nothing.
    pub fn find(named: Option<&Path>) -> Result<Binary> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => released()?,
        };
        let version = process::version(&path, "--version");
        match is_debug(&version) {
            true => Err(Fault::Premise(format!(
                "{} is a debug build, whose figures would mean nothing: name a release build",
                path.display()
            ))),
            false => Ok(Binary { path, version }),
        }
    }

    /// What it says of itself, on one line.
    pub fn version(&self) -> String {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = self.version.lines().map(words).collect();
        format!("{} ({})", lines.join(", "), self.path.display())
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a configuration to an existing directory and starts the gateway on it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&self, config: &str, cores: Option<&Cores>, directory: &Path) -> Result<Gateway> {
        let file = directory.join("ringgate.toml");
        fs::write(&file, config).map_err(|error| Fault::io("write ringgate.toml", &error))?;
        self.start_on(&file, cores, directory)
    }

    /// Starts it on a file and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_on(
        &self,
        file: &Path,
        cores: Option<&Cores>,
        directory: &Path,
    ) -> Result<Gateway> {
        let plan = Plan {
            name: "ringgate",
            program: &self.path,
            arguments: vec!["run".into(), file.into()],
            // The line about readiness comes on its standard output: nothing else does.
            environment: vec![("RINGGATE_READY_FD", "1")],
            cores,
            directory,
            output: Output::Read,
        };
        let mut process = plan.start()?;
        let line = process.output(Until::Line, READY_MAX)?;
        let ready = serde_json::from_str::<Ready>(&line)
            .map_err(|error| process.failed(&format!("said {line:?} ({error})")))?;
        Ok(Gateway { process, ready })
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub process: Process,
    ready: Ready,
}

impl Gateway {
    /// The listener `public`.
    pub fn address(&self) -> SocketAddr {
        self.ready.listeners.public
    }

    /// The admin API.
    ///
    /// # Errors
    /// When the configuration has none.
    pub fn admin(&self) -> Result<SocketAddr> {
        let none = || Fault::Setup("the gateway was started without its admin API".to_owned());
        self.ready.admin.ok_or_else(none)
    }

    /// The driver that it chose.
    pub fn driver(&self) -> &str {
        &self.ready.driver
    }
}

#[derive(Debug, Deserialize)]
struct Ready {
    listeners: Listeners,
    admin: Option<SocketAddr>,
    driver: String,
}

#[derive(Debug, Deserialize)]
struct Listeners {
    public: SocketAddr,
}

/// Whether what a gateway says of itself names a debug build: `build:   debug x86_64-linux`.
pub fn is_debug(version: &str) -> bool {
    let mut facts = version
        .lines()
        .filter_map(|line| line.trim().split_once(':'));
    facts.any(|(name, fact)| name == "build" && fact.trim().starts_with("debug"))
}

/// The release build in the target directory that this program runs from, whether it is there
/// or not.
///
/// # Errors
/// When the system does not tell where this program is.
pub fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| Fault::io("find this program", &error))?;
    // A test runs from a directory below the profile's.
    let own = match own.parent() {
        Some(directory) if directory.ends_with("deps") => directory.to_owned(),
        _ => own,
    };
    let directory = match own.parent() {
        Some(directory) if directory.ends_with("debug") => directory.with_file_name("release"),
        Some(directory) => directory.to_owned(),
        None => PathBuf::new(),
    };
    Ok(directory.join("ringgate"))
}

fn released() -> Result<PathBuf> {
    let path = beside()?;
    if !path.is_file() {
        build()?;
    }
    match path.is_file() {
        true => Ok(path),
        false => Err(Fault::Setup(format!(
            "there is no {}; name the program with --gateway",
            path.display()
        ))),
    }
}

fn build() -> Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output::complain("there is no release build of ringgate yet: cargo builds it");
    let failed =
        |error: std::io::Error| Fault::io("run cargo; name the program with --gateway", &error);
    let mut child = Command::new(cargo)
        .args(["build", "--release", "--package", "ringgate"])
        .current_dir(sources)
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let ended = interrupt::wait(BUILD_MAX, || child.try_wait().map_err(failed));
    if !matches!(ended, Ok(Some(_))) {
        // It was not waited for yet, so that the id is still its own.
        let _ = child.kill();
        let _ = child.wait();
    }
    match ended? {
        Some(status) if status.success() => Ok(()),
        _ => Err(Fault::Setup("cargo could not build ringgate".to_owned())),
    }
}

const READY_MAX: Duration = Duration::from_secs(30);
const BUILD_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_about_readiness_is_read() {
        let line = r#"{"admin":"127.0.0.1:2","driver":"epoll","listeners":{"public":"127.0.0.1:1"},"pid":5,"ready":true,"workers":1}"#;
        let ready: Ready = serde_json::from_str(line).unwrap();
        assert_eq!(ready.listeners.public.port(), 1);
        assert_eq!(ready.admin.map(|admin| admin.port()), Some(2));
        assert_eq!(ready.driver, "epoll");
    }

    #[test]
    fn a_debug_build_is_recognised() {
        let version =
            |profile| format!("ringgate 0.1.0\ncommit:  x\nbuild:   {profile} x86_64-linux\n");
        assert!(is_debug(&version("debug")));
        assert!(!is_debug(&version("release")));
    }
}
