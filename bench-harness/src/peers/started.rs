//! Peers as running processes: each in a directory of its own, pinned to the proxy's cores, on a
//! port that the system chooses, stopped when it is dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::certificate::Certificate;
use super::configs::{self, Setting};
use super::lineup::{Log, Peer, Program};
use super::scenarios::{Access, Scenario};
use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::interrupt;
use crate::measure::{self, Subject};
use crate::process::{Output, Plan, Process, Until};

/// What is needed to start a peer.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Who.
    pub peer: &'static Peer,
    /// Its program.
    pub program: &'a Path,
    /// For what.
    pub scenario: &'a Scenario,
    /// Before which origin.
    pub origin: SocketAddr,
    /// On which cores.
    pub cores: &'a Cores,
    /// With which certificate, where there is TLS.
    pub certificate: &'a Certificate,
    /// Descriptors that it may open.
    pub descriptors: u64,
    /// An empty directory of its own.
    pub directory: &'a Path,
}

/// A peer that serves.
#[derive(Debug)]
pub struct Started {
    /// Who.
    pub peer: &'static Peer,
    /// Its process.
    pub process: Process,
    /// Where it serves.
    pub address: SocketAddr,
    /// Its configuration.
    pub config: String,
    access_log: PathBuf,
}

/// What came of starting a peer.
#[derive(Debug)]
pub enum Outcome {
    /// It serves.
    Serving(Started),
    /// It cannot do this, and says so itself.
    Unsupported(String),
}

impl Started {
    /// As [`crate::measure::Stage::measure`] wants it.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            name: self.peer.name,
            pid: self.process.pid(),
            address: self.address,
            access_log: match self.peer.log {
                Log::On => Some(&self.access_log),
                Log::Off => None,
            },
            upstream: self.peer.upstream(),
        }
    }
}

impl Launch<'_> {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up, where the port is ours to choose after several attempts.
    pub fn start(&self) -> Result<Outcome> {
        match self.peer.program {
            Program::Ringgate => self.ringgate(),
            Program::Relay | Program::Stock => self.own().map(Outcome::Serving),
            Program::Nginx | Program::Haproxy | Program::Envoy | Program::Caddy => {
                let mut attempts_left = ATTEMPTS;
                loop {
                    attempts_left -= 1;
                    // A port that was free a moment ago may be taken by the time it is used.
                    match self.foreign() {
                        Err(Fault::Setup(_)) if attempts_left > 0 => {}
                        outcome => return outcome.map(Outcome::Serving),
                    }
                }
            }
        }
    }

    fn config(&self, address: SocketAddr) -> String {
        let setting = Setting {
            address,
            origin: self.origin,
            cores: self.cores,
            directory: self.directory,
            access_log: &self.access_log(),
            certificate: self.certificate,
            descriptors: self.descriptors,
        };
        configs::render(self.peer, self.scenario, setting)
    }

    fn access_log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    /// Writes the configuration, and whatever else a program reads.
    fn write(&self, name: &str, config: &str) -> Result<PathBuf> {
        let file = self.directory.join(name);
        let failed = |error: std::io::Error| Fault::io("write a configuration", &error);
        fs::write(&file, config).map_err(failed)?;
        // Not all create it before the first request.
        File::create(self.access_log()).map_err(failed)?;
        if self.peer.program == Program::Haproxy && self.scenario.routes > 1 {
            let map = configs::haproxy_map(self.scenario);
            fs::write(self.directory.join(configs::HAPROXY_MAP), map).map_err(failed)?;
        }
        if self.scenario.access == Access::Token {
            let key = self.directory.join(configs::TOKEN_KEY);
            fs::write(key, configs::TOKEN_KEY_PEM).map_err(failed)?;
        }
        Ok(file)
    }

    fn plan(&self, arguments: Vec<std::ffi::OsString>) -> Plan<'_> {
        Plan {
            name: self.peer.name,
            program: self.program,
            arguments,
            environment: Vec::new(),
            cores: Some(self.cores),
            directory: self.directory,
            output: Output::Read,
        }
    }

    /// What Ringgate says that it cannot do of the scenario, without being started.
    ///
    /// # Errors
    /// When it finds the configuration invalid.
    pub fn ability(&self) -> Result<Option<String>> {
        let config = self.config((Ipv4Addr::LOCALHOST, 0).into());
        let file = self.write("ringgate.toml", &config)?;
        self.unsupported(&file)
    }

    fn ringgate(&self) -> Result<Outcome> {
        // It chooses its port itself.
        let config = self.config((Ipv4Addr::LOCALHOST, 0).into());
        let file = self.write("ringgate.toml", &config)?;
        if let Some(unsupported) = self.unsupported(&file)? {
            return Ok(Outcome::Unsupported(unsupported));
        }
        let plan = Plan {
            // The line about readiness comes on its standard output: nothing else does.
            environment: vec![("RINGGATE_READY_FD", "1")],
            ..self.plan(vec!["run".into(), file.into()])
        };
        let mut process = plan.start()?;
        let line = process.output(Until::Line, READY_MAX)?;
        let ready = serde_json::from_str::<Ready>(&line)
            .map_err(|error| process.failed(&format!("said {line:?} ({error})")))?;
        Ok(Outcome::Serving(self.started(
            process,
            ready.listeners.public,
            config,
        )))
    }

    /// What this build of Ringgate says that it cannot do yet.
    fn unsupported(&self, file: &Path) -> Result<Option<String>> {
        let mut check = self
            .plan(vec!["check".into(), "--json".into(), file.into()])
            .start()?;
        let said = check.output(Until::End, READY_MAX)?;
        let status = check.wait(READY_MAX)?;
        match status.code() {
            Some(0) => Ok(None),
            Some(3) => Ok(Some(format!(
                "not supported by this build: {}",
                unsupported_parts(&said)
            ))),
            _ => Err(check.failed(&format!("refuses its configuration: {said}"))),
        }
    }

    fn own(&self) -> Result<Started> {
        let word = match self.peer.program {
            Program::Relay => "relay",
            _ => "stock",
        };
        let arguments = [
            word.to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--to={}", self.origin),
            format!("--cores={}", self.cores),
        ];
        let mut process = self.plan(arguments.map(Into::into).into()).start()?;
        let address = measure::ready(&mut process)?;
        Ok(self.started(process, address, String::new()))
    }

    fn foreign(&self) -> Result<Started> {
        let address = free_address()?;
        let config = self.config(address);
        let name = match self.peer.program {
            Program::Haproxy => "haproxy.cfg",
            Program::Envoy => "envoy.yaml",
            Program::Caddy => "Caddyfile",
            _ => "nginx.conf",
        };
        let file = self.write(name, &config)?;
        let room = self.directory.display().to_string();
        let access_log = self.access_log();
        let plan = self.plan(self.arguments(&file));
        let plan = match self.peer.program {
            // Caddy keeps its state below its home directory.
            Program::Caddy => Plan {
                environment: vec![("XDG_DATA_HOME", &*room), ("XDG_CONFIG_HOME", &*room)],
                ..plan
            },
            Program::Haproxy => Plan {
                output: Output::File(&access_log),
                ..plan
            },
            _ => plan,
        };
        let mut started = self.started(plan.start()?, address, config);
        let ready = interrupt::wait(READY_MAX, || {
            if !started.process.is_running() {
                return Err(started.process.failed("ended"));
            }
            Ok(TcpStream::connect(address).is_ok().then_some(()))
        })?;
        match ready {
            Some(()) => Ok(started),
            None => Err(started.process.failed("does not serve")),
        }
    }

    fn arguments(&self, file: &Path) -> Vec<std::ffi::OsString> {
        let workers = configs::workers(self.scenario, self.cores).to_string();
        match self.peer.program {
            // Not quietly: that would close its standard output, the log.
            Program::Haproxy => vec!["-db".into(), "-f".into(), file.into()],
            Program::Envoy => vec![
                "--config-path".into(),
                file.into(),
                "--concurrency".into(),
                workers.into(),
                "--disable-hot-restart".into(),
                "--log-level".into(),
                "error".into(),
                // Ten seconds by default: longer than a measurement may be.
                "--file-flush-interval-msec".into(),
                "1000".into(),
            ],
            Program::Caddy => vec![
                "run".into(),
                "--adapter".into(),
                "caddyfile".into(),
                "--config".into(),
                file.into(),
            ],
            _ => vec!["-p".into(), self.directory.into(), "-c".into(), file.into()],
        }
    }

    fn started(&self, process: Process, address: SocketAddr, config: String) -> Started {
        Started {
            peer: self.peer,
            process,
            address,
            config,
            access_log: self.access_log(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Ready {
    listeners: Listeners,
}

#[derive(Debug, Deserialize)]
struct Listeners {
    public: SocketAddr,
}

/// The messages of `ringgate check --json` about what is not supported, each once.
fn unsupported_parts(said: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(said).unwrap_or_default();
    let diagnostics = report["files"][0]["diagnostics"].as_array();
    let mut parts: Vec<&str> = diagnostics
        .into_iter()
        .flatten()
        .filter(|diagnostic| diagnostic["severity"] == "unsupported")
        .filter_map(|diagnostic| diagnostic["message"].as_str())
        .collect();
    parts.sort_unstable();
    parts.dedup();
    match parts.is_empty() {
        true => said.trim().to_owned(),
        false => parts.join("; "),
    }
}

fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Fault::io("find a free port", &error))
}

/// Ten thousand routes take some of them seconds.
const READY_MAX: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ringgate_does_not_support_is_told_once() {
        let said = r#"{"ok":false,"files":[{"file":"x","verdict":"unsupported","diagnostics":[
            {"severity":"unsupported","message":"TLS is not supported yet"},
            {"severity":"warning","message":"something else"},
            {"severity":"unsupported","message":"TLS is not supported yet"}]}]}"#;
        assert_eq!(unsupported_parts(said), "TLS is not supported yet");
        assert_eq!(unsupported_parts("odd\n"), "odd");
    }
}
