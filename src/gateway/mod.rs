//! The gateway as a process runs it: workers, control plane, and what is kept between reloads.
//! Everything here is off the request path.

mod access;
mod acme;
mod announce;
mod backoffice;
mod changes;
mod consumers;
mod drains;
mod endpoints;
mod error;
mod health;
mod issuers;
mod limits;
mod machine;
mod metrics;
mod node;
mod notices;
mod oauth;
mod occupant;
mod open;
mod pages;
mod passwords;
mod precedence;
mod process;
mod reload;
mod shares;
mod start;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringgate_config::Config;
use ringgate_control::{Handle, ReloadRefused, ReloadReport};
use ringgate_core::acme::Challenges;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{Addr, Driver};
use ringgate_core::snapshot::UpstreamHost;
use ringgate_core::stats::Registry;
use ringgate_core::worker::{Command, Mailbox};
use ringgate_filters::Filter;
use tracing::{error, info, warn};

use crate::compile::access::Issuers;
use crate::compile::{Addresses, Snapshot};
use crate::log::OperationalLog;
use crate::tls::Configured;
use access::AccessLog;
pub use error::{NotStarted, StartError};
use notices::Notices;
pub use start::start;

/// A running gateway, as its control plane sees it.
pub struct Gateway {
    file: PathBuf,
    driver: Driver,
    /// The core each worker is pinned to, or none.
    pins: Vec<Option<usize>>,
    started: Instant,
    registry: Arc<Registry>,
    mailboxes: Vec<Mailbox<Filter>>,
    admin: Option<std::net::SocketAddr>,
    log: OperationalLog,
    /// What a certificate authority's challenges are answered from.
    challenges: Arc<Challenges>,
    limits: limits::Limits,
    backoffice: backoffice::Backoffice,
    state: Mutex<State>,
    pulses: Mutex<Vec<node::Pulse>>,
    draining: AtomicBool,
    /// The most connections since memory was last given back.
    most_connections: AtomicU64,
    /// A former snapshot's memory has not been given back yet.
    owes_memory: AtomicBool,
    requests: Sender<Request>,
}

/// What the main thread is asked for.
enum Request {
    /// To end in order.
    Stop,
    /// To read the configuration again, and to say what came of it.
    Reload(Sender<Result<ReloadReport, ReloadRefused>>),
}

/// What a reload replaces.
struct State {
    config: Arc<Config>,
    snapshot: Arc<Snapshot>,
    tls: Arc<Configured>,
    issuers: Arc<Issuers>,
    addresses: Addresses,
    health: health::Standings,
    drains: drains::Drains,
    watched: Vec<PathBuf>,
    access: Option<AccessLog>,
    /// Former snapshots that requests may still be served from. Whoever drops a snapshot last
    /// takes it apart, and that must not be a worker.
    former: Vec<Arc<Snapshot>>,
}

impl Gateway {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Looks after what nobody asks for: former snapshots, what policies have done, and workers
    /// that stand still.
    fn make_round(&self, notices: &mut Notices) {
        self.limits.tell_time();
        self.tell_changes(notices);
        self.weigh();
        let buried = self.bury_former();
        self.give_memory_back(buried);
        for (worker, stalled) in self.feel_pulses().into_iter().enumerate() {
            match stalled {
                node::Beat::Stopped { silent } => error!(
                    worker,
                    silent_ms = silent.as_millis() as u64,
                    "the worker does not turn its loop: its connections wait; look at what its core does, and restart the gateway if it stays so"
                ),
                node::Beat::Resumed => info!(worker, "the worker turns its loop again"),
                node::Beat::Steady | node::Beat::Silent { .. } => {}
            }
        }
    }

    /// Tells the workers how much memory the process takes: they refuse requests by it.
    fn weigh(&self) {
        if let Some(bytes) = process::resident_bytes() {
            let resident = &self.registry.resident_bytes;
            resident.store(bytes, Ordering::Relaxed);
        }
    }

    /// Once a burst of connections or a former snapshot is gone, what it held goes back to the
    /// kernel: at a moment without requests, as the allocator is busy with it for a while.
    fn give_memory_back(&self, buried: Buried) {
        let workers = &self.registry.workers;
        let connections = workers.sum(|worker| &worker.connections);
        let most = self
            .most_connections
            .fetch_max(connections, Ordering::Relaxed);
        let wanes = most >= BURST_MIN && connections < most / 2;
        if buried == Buried::Some {
            self.owes_memory.store(true, Ordering::Relaxed);
        }
        let owes = self.owes_memory.load(Ordering::Relaxed);
        if (wanes || owes) && workers.sum(|worker| &worker.active) == 0 {
            self.most_connections.store(connections, Ordering::Relaxed);
            self.owes_memory.store(false, Ordering::Relaxed);
            ringgate_core::rt::release_free_memory();
        }
    }

    /// Drops former snapshots that no request needs any more, and their counters.
    fn bury_former(&self) -> Buried {
        let unused: Vec<_> = {
            let mut state = self.state();
            let unused = |former: &mut Arc<Snapshot>| Arc::strong_count(former) == 1;
            state.former.extract_if(.., unused).collect()
        };
        if unused.is_empty() {
            return Buried::None;
        }
        drop(unused);
        self.registry.prune();
        Buried::Some
    }
}

/// Whether former snapshots have been dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buried {
    None,
    Some,
}

/// Fewer connections than these are no burst worth a visit of the allocator.
const BURST_MIN: u64 = 1_000;

/// How often the main thread looks after the others.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// A gateway that serves, in the hands of whoever started it.
pub struct Running {
    gateway: Arc<Gateway>,
    control: Handle,
    requests: Receiver<Request>,
}

impl Running {
    /// Serves until a signal asks for the end, then ends in order: requests in flight may
    /// finish, but not for longer than the grace.
    ///
    /// Reloads run here as well. One thread that makes snapshots and takes them apart gets its
    /// memory back; threads that come and go leave it in pieces.
    pub fn wait(self) {
        let mut notices = Notices::default();
        loop {
            match self.requests.recv_timeout(ROUND_EVERY) {
                Ok(Request::Reload(reply)) => {
                    // Whoever asked may have gone away; the reload has its line in the log.
                    let _ = reply.send(self.gateway.reload_file());
                }
                Err(RecvTimeoutError::Timeout) => self.gateway.make_round(&mut notices),
                // All senders gone would mean that nobody can ask any more.
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.stop();
    }

    /// Ends in order.
    fn stop(self) {
        let gateway = &self.gateway;
        gateway.draining.store(true, Ordering::Release);
        announce::notify(announce::Notice::Stopping);
        let began = Instant::now();
        let grace = gateway.state().config.runtime.shutdown_grace;
        let outcome = gateway.drain(grace);
        gateway.limits.flush();
        let took_ms = began.elapsed().as_millis() as u64;
        match outcome {
            Drained { cut: 0, silent: 0 } => info!(took_ms, "stopped: no request was cut"),
            Drained { cut, silent: 0 } => warn!(
                took_ms,
                connections_cut = cut,
                "stopped: the grace was over; raise runtime.shutdown_grace if requests take longer"
            ),
            Drained { cut, silent } => warn!(
                took_ms,
                connections_cut = cut,
                workers_silent = silent,
                "stopped: some workers did not answer; please report this"
            ),
        }
        let access = {
            let mut state = gateway.state();
            for listener in &state.snapshot.listeners {
                forget_path(&listener.addr);
            }
            state.access.take()
        };
        if let Some(access) = access {
            access.close();
        }
        // A reload that still waits for its turn hears that there is none.
        drop(self.requests);
        self.control.stop();
    }
}

/// How a drain ended.
struct Drained {
    /// Connections that were cut.
    cut: u64,
    /// Workers that did not answer.
    silent: usize,
}

impl Gateway {
    /// Has every worker finish what it does, and waits for it.
    fn drain(&self, grace: Duration) -> Drained {
        let (done, finished) = channel();
        for mailbox in &self.mailboxes {
            mailbox.send(Command::Drain {
                grace: Ticks::from(grace),
                done: done.clone(),
            });
        }
        drop(done);
        let latest = Instant::now() + grace + DRAIN_SLACK;
        let mut outcome = Drained {
            cut: 0,
            silent: self.mailboxes.len(),
        };
        while outcome.silent > 0 {
            let left = latest.saturating_duration_since(Instant::now());
            let Ok((_, cut)) = finished.recv_timeout(left) else {
                break;
            };
            outcome.cut += cut;
            outcome.silent -= 1;
        }
        outcome
    }
}

/// What workers may take beyond the grace to say that they are done.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// Removes a listener's path, if it has one, so that nobody knocks at a closed door.
fn forget_path(addr: &Addr) {
    if let Some(path) = addr.unix_path() {
        // It may be gone already, or never have been ours to remove.
        let _ = std::fs::remove_file(path);
    }
}

/// The words of the configuration for what origins see as `Host`.
fn host_word(host: &UpstreamHost) -> &str {
    match host {
        UpstreamHost::Preserve => "preserve",
        UpstreamHost::Endpoint => "upstream",
        UpstreamHost::Fixed(host) => host,
    }
}
