//! The gateway under measurement: the release build beside this program, started on a
//! configuration of the bench, ready when it says so.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cores::Core;
use crate::fault::{Fault, Result};
use crate::http;
use crate::interrupt;
use crate::process::{self, Plan, Process, Until};
use crate::report;

/// How workers talk to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Driver {
    /// What the gateway chooses.
    Auto,
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Auto => "auto",
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

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
                "{} is a debug build; name a release build with --gateway",
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
    pub fn start(&self, config: &str, core: Option<Core>, directory: &Path) -> Result<Gateway> {
        let file = directory.join("ringgate.toml");
        fs::write(&file, config).map_err(|error| Fault::io("write ringgate.toml", &error))?;
        self.start_on(&file, core, directory)
    }

    /// Starts it on a file and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_on(&self, file: &Path, core: Option<Core>, directory: &Path) -> Result<Gateway> {
        let plan = Plan {
            name: "ringgate",
            program: &self.path,
            arguments: vec!["run".into(), file.into()],
            // The line about readiness comes on its standard output: nothing else does.
            environment: vec![("RINGGATE_READY_FD", "1")],
            core,
            directory,
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
    pub fn admin(&self) -> SocketAddr {
        self.ready.admin
    }

    /// The driver that it chose.
    pub fn driver(&self) -> &str {
        &self.ready.driver
    }

    /// A counter's sum over all workers.
    ///
    /// # Errors
    /// When the admin API does not answer or does not know it.
    pub fn counter(&self, name: &str) -> Result<u64> {
        counter(self.admin(), name)
    }
}

/// A counter's sum over all of its samples, from the admin API at `admin`.
///
/// # Errors
/// When the admin API does not answer or does not know it.
pub fn counter(admin: SocketAddr, name: &str) -> Result<u64> {
    let answer = http::fetch(admin, "/metrics")
        .map_err(|error| Fault::io("ask ringgate for its metrics", &error))?;
    let text = String::from_utf8_lossy(&answer.body);
    let status = answer.status;
    sum_samples(&text, name)
        .ok_or_else(|| Fault::Setup(format!("ringgate has no metric {name} (status {status})")))
}

/// The configuration of the figures that forward: one worker, metrics and JSON access log on,
/// one header filter on the only route, connections kept for as long as the other side does.
pub fn forwarding(
    driver: Driver,
    core: Option<Core>,
    origin: SocketAddr,
    access_log: &Path,
) -> String {
    let core = core.map_or_else(|| "auto".to_owned(), |core| core.0.to_string());
    let access_log = access_log.display();
    let driver = driver.name();
    format!(
        r#"[runtime]
workers = 1
cores = "{core}"
driver = "{driver}"
shutdown_grace = "1s"

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = "{access_log}"
format = "json"

[limits]
idle_timeout = "1h"
requests_per_connection_max = "off"

[[listener]]
name = "public"
listen = "127.0.0.1:0"

[[upstream]]
name = "origin"
endpoints = ["{origin}"]
idle_timeout = "50m"
keepalive_max = 256

[filter.mark]
type = "headers"
response.set = {{ x-served-by = "bench" }}

[[route]]
name = "everything"
path = "/{{rest*}}"
filters = ["mark"]
upstream = "origin"
"#
    )
}

#[derive(Debug, Deserialize)]
struct Ready {
    listeners: Listeners,
    admin: SocketAddr,
    driver: String,
}

#[derive(Debug, Deserialize)]
struct Listeners {
    public: SocketAddr,
}

fn sum_samples(text: &str, name: &str) -> Option<u64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest
            .strip_prefix(' ')
            .or_else(|| match rest.starts_with('{') {
                true => rest.rsplit_once(' ').map(|(_, value)| value),
                false => None,
            })?;
        value.parse::<f64>().ok()
    });
    let values: Vec<f64> = samples.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

/// `build:   debug x86_64-linux`
fn is_debug(version: &str) -> bool {
    let mut facts = version
        .lines()
        .filter_map(|line| line.trim().split_once(':'));
    facts.any(|(name, fact)| name == "build" && fact.trim().starts_with("debug"))
}

/// The release build in the target directory that this program runs from.
fn released() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| Fault::io("find this program", &error))?;
    let profile = own.parent();
    let path = match profile {
        Some(directory) if directory.ends_with("debug") => directory.with_file_name("release"),
        Some(directory) => directory.to_owned(),
        None => PathBuf::new(),
    }
    .join("ringgate");
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
    report::complain("there is no release build of ringgate yet: cargo builds it");
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

/// Connections that workers accepted.
pub const ACCEPTED: &str = "ringgate_worker_accepted_total";

const READY_MAX: Duration = Duration::from_secs(30);
const BUILD_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_are_summed_and_no_others() {
        let text = "# HELP ringgate_x_total X.\nringgate_x_total{worker=\"0\"} 3\n\
                    ringgate_x_total{worker=\"1\"} 4\nringgate_x_total_more 9\nringgate_y 5\n";
        assert_eq!(sum_samples(text, "ringgate_x_total"), Some(7));
        assert_eq!(sum_samples(text, "ringgate_y"), Some(5));
        assert_eq!(sum_samples(text, "ringgate_z"), None);
    }

    #[test]
    fn the_line_about_readiness_is_read() {
        let line = r#"{"admin":"127.0.0.1:2","driver":"epoll","listeners":{"public":"127.0.0.1:1"},"pid":5,"ready":true,"workers":1}"#;
        let ready: Ready = serde_json::from_str(line).unwrap();
        assert_eq!(ready.listeners.public.port(), 1);
        assert_eq!((ready.admin.port(), &ready.driver[..]), (2, "epoll"));
    }

    #[test]
    fn a_debug_build_is_recognised() {
        let version =
            |profile| format!("ringgate 0.1.0\ncommit:  x\nbuild:   {profile} x86_64-linux\n");
        assert!(is_debug(&version("debug")));
        assert!(!is_debug(&version("release")));
    }

    #[test]
    fn drivers_are_spelled_as_in_the_configuration() {
        for driver in Driver::value_variants() {
            let flag = driver.to_possible_value().unwrap();
            assert_eq!(flag.get_name(), driver.name());
        }
    }
}
