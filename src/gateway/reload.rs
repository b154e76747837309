//! A reload: everything that can fail happens first and off the data plane; then every worker
//! swaps, and what is the same by name keeps its state.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ringgate_config::model::ListenAddr;
use ringgate_config::{Style, Verdict};
use ringgate_control::{Refusal, ReloadRefused, ReloadReport};
use ringgate_core::rt::Addr;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Listener;
use ringgate_core::worker::{Command, Installation, OpenListener};

use super::access::{self, AccessLog};
use super::announce::{self, Notice};
use super::open::{Opened, Sharing};
use super::{Gateway, StartError, changes, endpoints, forget_path, process, start};
use crate::checked::{self, Around, Checked, Refused};
use crate::compile::Snapshot;
use crate::references::Commands;

impl Gateway {
    /// Reads the file again and swaps it in.
    pub(super) fn reload_file(&self) -> Result<ReloadReport, ReloadRefused> {
        if self.is_draining() {
            return Err(draining());
        }
        announce::notify(Notice::Reloading);
        let result = self.try_reload();
        if result.is_err() {
            let snapshot = self.state().snapshot.clone();
            self.limits.hold(&snapshot);
        }
        announce::notify(Notice::Ready);
        result
    }

    fn try_reload(&self) -> Result<ReloadReport, ReloadRefused> {
        let began = Instant::now();
        let memory_before = process::resident_bytes();
        let Checked {
            config,
            mut snapshot,
            findings,
            tls,
            issuers,
            watched,
        } = self.compile_anew()?;
        self.limits
            .restore(&config)
            .map_err(|error| not_possible(&error))?;
        let known = self.state().addresses.clone();
        let (addresses, unresolved) = start::resolve(&config, &known, RELOAD_LOOKUPS_MAX);
        start::put_endpoints(&config, &mut snapshot, (&addresses, &self.registry));
        let opened = self.open_new(&config, &mut snapshot)?;
        let fresh_log = self.open_log(&config.log)?;
        self.log.apply(&config.log);

        snapshot.prepare();
        let snapshot = Arc::new(snapshot);
        // From here on nothing refuses it.
        self.limits.hold(&snapshot);
        let mut report = ReloadReport {
            generation: snapshot.generation,
            warnings: findings.lines(),
            ..ReloadReport::default()
        };
        report.warnings.extend(unresolved);
        let (former, former_log) = {
            let mut state = self.state();
            changes::record(&state.config, &config, &mut report);
            changes::record_tls(&state.tls, &tls, &mut report);
            let former_log = match fresh_log {
                LogChange::Replaced(log) => std::mem::replace(&mut state.access, log),
                LogChange::Kept => None,
            };
            if let Some(access) = &mut state.access {
                access.set_format(&config.log);
            }
            state.config = config;
            // Names may have been resolved meanwhile; the control plane tells all of it again
            // after a reload.
            state.addresses = addresses;
            self.tell_standings(&mut state);
            ease_in(&state.snapshot, &snapshot);
            state.tls = tls;
            state.issuers = issuers;
            state.watched = watched;
            (
                std::mem::replace(&mut state.snapshot, Arc::clone(&snapshot)),
                former_log,
            )
        };
        self.install(&snapshot, opened, &mut report);
        self.limits.flush_former(&former, &snapshot);
        forget_paths(&former, &snapshot);
        self.state().former.push(former);
        self.bury_former();
        if let Some(log) = former_log {
            log.close();
        }
        report.memory_delta_bytes = match (memory_before, process::resident_bytes()) {
            (Some(before), Some(after)) => after as i64 - before as i64,
            _ => 0,
        };
        report.duration_us = began.elapsed().as_micros() as u64;
        Ok(report)
    }

    fn compile_anew(&self) -> Result<Checked, ReloadRefused> {
        let read =
            checked::read(&self.file, Commands::Run).map_err(|refused| self.refused(refused))?;
        let (former, tls) = {
            let state = self.state();
            (state.snapshot.clone(), state.tls.clone())
        };
        let keys = changes::needs_restart(&self.state().config, &read.config);
        if !keys.is_empty() {
            let text = format!(
                "{} changed, which takes a restart; nothing was changed. Restart the gateway, or take the change back and reload",
                keys.join(", ")
            );
            return Err(ReloadRefused::new(Refusal::NeedsRestart, text));
        }
        let connections = |name: &str| {
            let mut listeners = former.listeners.iter();
            let same = listeners.find(|listener| &*listener.name == name);
            same.map(|listener| Arc::clone(&listener.connections))
                .unwrap_or_default()
        };
        read.compile(&Around {
            registry: &self.registry,
            connections: &connections,
            tls: Some(&tls),
            challenges: &self.challenges,
            ledgers: &self.limits.ledgers,
            backends: self.backoffice.backends(),
            generation: former.generation + 1,
        })
        .map_err(|refused| self.refused(refused))
    }

    /// Nothing changes; but what is wrong may be mended in a file that is not watched yet.
    fn refused(&self, refused: Refused) -> ReloadRefused {
        let mut state = self.state();
        for file in &refused.watched {
            if !state.watched.contains(file) {
                state.watched.push(file.clone());
            }
        }
        invalid(&refused)
    }

    /// Opens the listeners that are not open yet; those on port 0 keep the port they got.
    fn open_new(
        &self,
        config: &ringgate_config::Config,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<Vec<OpenListener>>, ReloadRefused> {
        let (former_config, former) = {
            let state = self.state();
            (state.config.clone(), state.snapshot.clone())
        };
        let mut opened = Opened::none(self.mailboxes.len());
        for (written, listener) in config.listeners.iter().zip(&mut snapshot.listeners) {
            if matches!(&written.listen.value, ListenAddr::Tcp(tcp) if tcp.port() == 0) {
                let mut same = former_config.listeners.iter().zip(&former.listeners);
                let same =
                    same.find(|(old, _)| old.name == written.name && old.listen == written.listen);
                if let Some((_, same)) = same {
                    listener.addr = same.addr.clone();
                }
            }
            if former.listeners.iter().any(|old| old.addr == listener.addr) {
                continue;
            }
            let sharing = sharing(&former.listeners, &listener.addr);
            opened
                .open(listener, config.runtime.backlog, sharing)
                .map_err(|error| not_possible(&error))?;
        }
        Ok(opened.into_inner())
    }

    fn open_log(&self, log: &ringgate_config::model::Log) -> Result<LogChange, ReloadRefused> {
        let target = access::target(log);
        let same = match &self.state().access {
            Some(open) => open.writes_to(target.as_ref()),
            None => target.is_none(),
        };
        if same {
            return Ok(LogChange::Kept);
        }
        let opened = AccessLog::open(log).map_err(|error| not_possible(&error))?;
        Ok(LogChange::Replaced(opened))
    }

    /// Hands the snapshot to every worker and waits until all serve from it.
    fn install(
        &self,
        snapshot: &Arc<Snapshot>,
        opened: Vec<Vec<OpenListener>>,
        report: &mut ReloadReport,
    ) {
        let (reply, reports) = channel();
        {
            let state = self.state();
            for (mailbox, opened) in self.mailboxes.iter().zip(opened) {
                mailbox.send(Command::Install(Installation {
                    snapshot: Arc::clone(snapshot),
                    opened,
                    log: state.access.as_ref().map(AccessLog::buffer),
                    reply: reply.clone(),
                }));
            }
        }
        drop(reply);
        let latest = Instant::now() + INSTALL_MAX;
        for answered in 0..self.mailboxes.len() {
            let left = latest.saturating_duration_since(Instant::now());
            let Ok(installed) = reports.recv_timeout(left) else {
                let silent = self.mailboxes.len() - answered;
                report.warnings.push(format!(
                    "{silent} of {} workers did not swap within {INSTALL_MAX:?}; they will when they get to it; please report this",
                    self.mailboxes.len()
                ));
                return;
            };
            report.longest_core_stall_us = report.longest_core_stall_us.max(installed.swap_us);
            let problems = installed.problems.into_iter();
            report
                .warnings
                .extend(problems.map(|problem| format!("worker {}: {problem}", installed.core.0)));
        }
    }
}

/// A gateway that ends takes no changes.
pub(super) fn draining() -> ReloadRefused {
    let text = "the gateway is shutting down: start it anew for the changed configuration";
    ReloadRefused::new(Refusal::Draining, text)
}

/// What becomes of the access log.
enum LogChange {
    /// Lines go where they went.
    Kept,
    /// They go somewhere else, or nowhere.
    Replaced(Option<AccessLog>),
}

/// Whether a listener of ours has the port already, under another address.
fn sharing(open: &[Listener], addr: &Addr) -> Sharing {
    let port = |addr: &Addr| match addr {
        Addr::Tcp(tcp) => Some(tcp.port()),
        Addr::Unix(_) => None,
    };
    match open
        .iter()
        .any(|listener| port(&listener.addr) == port(addr))
    {
        true => Sharing::Own,
        false => Sharing::Forbidden,
    }
}

/// Has endpoints that an upstream did not have before begin with a small share.
fn ease_in(former: &Snapshot, snapshot: &Snapshot) {
    let now = Moment::now();
    for upstream in &snapshot.upstreams {
        let mut all = former.upstreams.iter();
        if let Some(same) = all.find(|one| one.name == upstream.name) {
            endpoints::begin_slowly(&same.endpoints, &upstream.endpoints, now);
        }
    }
}

fn forget_paths(former: &Snapshot, snapshot: &Snapshot) {
    for listener in &former.listeners {
        if !snapshot
            .listeners
            .iter()
            .any(|kept| kept.addr == listener.addr)
        {
            forget_path(&listener.addr);
        }
    }
}

fn invalid(refused: &Refused) -> ReloadRefused {
    ReloadRefused {
        refusal: match refused.verdict {
            Verdict::Unsupported => Refusal::UnsupportedConfig,
            Verdict::Invalid | Verdict::Runnable => Refusal::InvalidConfig,
        },
        text: refused.findings.render(Style::Plain),
        diagnostics: refused.findings.to_json(),
    }
}

fn not_possible(error: &StartError) -> ReloadRefused {
    ReloadRefused::new(Refusal::CannotApply, error.to_string())
}

/// A reload does not wait longer for name servers: what fails is tried again later.
const RELOAD_LOOKUPS_MAX: Duration = Duration::from_secs(2);
/// A worker swaps in microseconds; one that does not within this has stalled.
const INSTALL_MAX: Duration = Duration::from_secs(10);
