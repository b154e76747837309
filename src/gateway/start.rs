//! From a checked configuration to workers that accept.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringgate_config::Config;
use ringgate_config::model::ListenAddr;
use ringgate_control::{AdminOptions, ControlPlane, DnsOptions, Handle, Options, resolve_once};
use ringgate_core::acme::Challenges;
use ringgate_core::rt;
use ringgate_core::stats::{CoreIndex, Registry};
use ringgate_core::worker::{self, Command, Mailbox, OpenListener, WorkerOptions};
use ringgate_filters::Filter;
use serde_json::json;
use tracing::{info, warn};

use super::access::AccessLog;
use super::announce::{self, Notice};
use super::backoffice::Backoffice;
use super::drains::Drains;
use super::health::Standings;
use super::limits::Limits;
use super::machine::{self, Layout};
use super::open::{self, Opened, Sharing};
use super::{Gateway, NotStarted, Running, StartError, State, node};
use crate::checked::{self, Around, Checked};
use crate::compile::{self, Addresses, Snapshot};
use crate::log::OperationalLog;
use crate::references::Commands;

/// Starts a gateway on a configuration file, and returns once every worker accepts.
///
/// # Errors
/// What the configuration lacks, or what could not be had and what to do about it.
pub fn start(file: PathBuf) -> Result<Running, NotStarted> {
    let started = Instant::now();
    let Prepared {
        log,
        layout,
        registry,
        challenges,
        limits,
        backoffice,
        checked,
    } = prepare(&file)?;
    let Checked {
        config,
        mut snapshot,
        tls,
        issuers,
        watched,
        ..
    } = checked;
    let driver = choose_driver(&config)?;
    let addresses = resolve_at_start(&config, &mut snapshot, &registry);
    let opened = open_listeners(&config, &mut snapshot, layout.pins.len())?;
    let admin = open_admin(&config)?;
    snapshot.prepare();
    let access = AccessLog::open(&config.log)?;
    let snapshot = Arc::new(snapshot);
    let mailboxes = start_workers(
        driver,
        &layout,
        &registry,
        &snapshot,
        opened,
        access.as_ref(),
    )?;
    let (asked, requests) = channel();
    let gateway = Arc::new(Gateway {
        file,
        driver,
        started,
        pulses: Mutex::new(vec![node::Pulse::default(); layout.pins.len()]),
        pins: layout.pins,
        registry,
        mailboxes,
        admin: admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok()),
        log,
        challenges,
        limits,
        backoffice,
        state: Mutex::new(State {
            config,
            snapshot,
            tls,
            issuers,
            addresses,
            health: Standings::default(),
            drains: Drains::default(),
            watched,
            access,
            former: Vec::new(),
        }),
        draining: false.into(),
        most_connections: 0.into(),
        owes_memory: false.into(),
        requests: asked,
    });
    let control = start_control(&gateway, admin)?;
    gateway.say_ready();
    Ok(Running {
        gateway,
        control,
        requests,
    })
}

fn choose_driver(config: &Config) -> Result<rt::Driver, StartError> {
    let (driver, fallback) = machine::driver(config.runtime.driver)?;
    if let Some(reason) = fallback {
        warn!(
            reason,
            "io_uring is not available: using epoll, at a higher cost per request"
        );
    }
    Ok(driver)
}

/// What there is before anything of the machine is taken.
struct Prepared {
    log: OperationalLog,
    layout: Layout,
    registry: Arc<Registry>,
    challenges: Arc<Challenges>,
    limits: Limits,
    backoffice: Backoffice,
    checked: Checked,
}

fn prepare(file: &Path) -> Result<Prepared, NotStarted> {
    let read = checked::read(file, Commands::Run)?;
    let log = OperationalLog::start(&read.config.log);
    let layout = Layout::of(&read.config.runtime)?;
    let registry = Arc::new(Registry::new(layout.pins.len()));
    let challenges = Arc::default();
    let limits = Limits::new(layout.pins.len());
    let backoffice = Backoffice::start()?;
    let checked = read.compile(&Around {
        registry: &registry,
        connections: &|_| Arc::default(),
        tls: None,
        challenges: &challenges,
        ledgers: &limits.ledgers,
        backends: backoffice.backends(),
        generation: 1,
    })?;
    for warning in checked.findings.lines() {
        warn!("{warning}");
    }
    if let Some(reason) = &layout.unpinned {
        info!(
            reason,
            "workers are not pinned: each runs on whatever core the kernel gives it"
        );
    }
    limits.restore(&checked.config)?;
    raise_descriptor_limit(&checked.config);
    Ok(Prepared {
        log,
        layout,
        registry,
        challenges,
        limits,
        backoffice,
        checked,
    })
}

fn resolve_at_start(config: &Config, snapshot: &mut Snapshot, registry: &Registry) -> Addresses {
    let (addresses, unresolved) = resolve(config, &Addresses::default(), START_LOOKUPS_MAX);
    for warning in unresolved {
        warn!("{warning}");
    }
    put_endpoints(config, snapshot, (&addresses, registry));
    addresses
}

fn open_listeners(
    config: &Config,
    snapshot: &mut Snapshot,
    workers: usize,
) -> Result<Vec<Vec<OpenListener>>, StartError> {
    let mut opened = Opened::none(workers);
    for listener in &mut snapshot.listeners {
        opened.open(listener, config.runtime.backlog, Sharing::Forbidden)?;
    }
    Ok(opened.into_inner())
}

fn open_admin(config: &Config) -> Result<Option<TcpListener>, StartError> {
    match config.admin.as_ref().map(|admin| &admin.listen.value) {
        Some(ListenAddr::Tcp(address)) => open::open_admin(*address).map(Some),
        // The reader has refused Unix sockets here.
        Some(ListenAddr::Unix(_)) | None => Ok(None),
    }
}

fn start_control(gateway: &Arc<Gateway>, admin: Option<TcpListener>) -> Result<Handle, StartError> {
    let node: Arc<dyn ringgate_control::Node> = Arc::clone(gateway) as _;
    let hosts = gateway.state().config.admin.as_ref().map(|admin| {
        let hosts = admin.hosts.iter();
        hosts.map(ToString::to_string).collect()
    });
    let options = Options {
        admin: admin.map(|listener| AdminOptions {
            listener,
            hosts: hosts.unwrap_or_default(),
        }),
        ..Options::default()
    };
    ControlPlane::start(node, options)
        .map_err(|error| StartError::new(format!("the control plane cannot start: {error}")))
}

fn start_workers(
    driver: rt::Driver,
    layout: &Layout,
    registry: &Arc<Registry>,
    snapshot: &Arc<Snapshot>,
    opened: Vec<Vec<OpenListener>>,
    access: Option<&AccessLog>,
) -> Result<Vec<Mailbox<Filter>>, StartError> {
    let mut mailboxes = Vec::with_capacity(layout.pins.len());
    for (index, (pin, listeners)) in layout.pins.iter().zip(opened).enumerate() {
        let worker = worker::start(WorkerOptions {
            core: CoreIndex(index as u32),
            pin: *pin,
            driver,
            registry: Arc::clone(registry),
            snapshot: Arc::clone(snapshot),
            listeners,
            log: access.map(AccessLog::buffer),
        })
        .map_err(|error| {
            StartError::new(format!(
                "worker {index} cannot start with {}: {error}",
                driver.name()
            ))
            .help("check `ulimit -n` and `ulimit -l`, or set runtime.workers to a smaller number")
        })?;
        if let Some((core, error)) = worker.unpinned {
            warn!(worker = index, core, %error, "the worker is not pinned to its core: it runs wherever the kernel puts it");
        }
        mailboxes.push(worker.mailbox);
    }
    let all: Arc<[_]> = mailboxes.clone().into();
    for mailbox in mailboxes.iter().filter(|_| all.len() > 1) {
        mailbox.send(Command::Peers(Arc::clone(&all)));
    }
    Ok(mailboxes)
}

impl Gateway {
    /// One line for people, one for whoever started the process.
    fn say_ready(&self) {
        let state = self.state();
        let listeners: BTreeMap<&str, String> = state
            .snapshot
            .listeners
            .iter()
            .map(|listener| (&*listener.name, listener.addr.to_string()))
            .collect();
        let shown: Vec<String> = listeners
            .iter()
            .map(|(name, addr)| format!("{name}={addr}"))
            .collect();
        let cores: Vec<String> = self
            .pins
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        let cores = match cores.is_empty() {
            true => "unpinned".to_owned(),
            false => cores.join(","),
        };
        info!(
            version = env!("CARGO_PKG_VERSION"),
            driver = self.driver.name(),
            workers = self.pins.len(),
            cores,
            listeners = shown.join(" "),
            admin = self.admin.map_or("off".to_owned(), |admin| admin.to_string()),
            routes = state.snapshot.routes.len(),
            upstreams = state.snapshot.upstreams.len(),
            config = %self.file.display(),
            took_ms = self.started.elapsed().as_millis() as u64,
            "ringgate serves"
        );
        let line = json!({
            "ready": true,
            "listeners": listeners,
            "admin": self.admin.map(|admin| admin.to_string()),
            "pid": std::process::id(),
            "driver": self.driver.name(),
            "workers": self.pins.len(),
        });
        if let Err(error) = announce::write_ready(&line) {
            warn!(%error, "nobody could be told at {}; it must be the number of an open descriptor", announce::READY_FD);
        }
        announce::notify(Notice::Ready);
    }
}

/// Looks up the names in endpoints that have no address yet. Returns all addresses of names in
/// the configuration, and a warning for each name without one.
pub(super) fn resolve(
    config: &Config,
    known: &Addresses,
    deadline: Duration,
) -> (Addresses, Vec<String>) {
    let mut addresses = Addresses::default();
    let mut unknown = Vec::new();
    for target in compile::targets(config) {
        let key = key(&target.upstream, &target.endpoint, target.port);
        match known.get(&key) {
            Some(found) => drop(addresses.insert(key, found.clone())),
            None => unknown.push(target),
        }
    }
    let mut warnings = Vec::new();
    for resolution in resolve_once(&unknown, deadline, &DnsOptions::default()) {
        let target = resolution.target;
        match resolution.outcome {
            Ok(found) => {
                let key = key(&target.upstream, &target.endpoint, target.port);
                addresses.insert(key, found);
            }
            Err(cause) => warnings.push(format!(
                "upstream \"{}\": {} has no address yet: {cause}; it is tried again in the background",
                target.upstream, target.endpoint
            )),
        }
    }
    (addresses, warnings)
}

/// The name of an endpoint among the addresses.
pub(super) fn key(upstream: &str, endpoint: &str, port: u16) -> (Box<str>, Box<str>, u16) {
    (upstream.into(), endpoint.into(), port)
}

/// Puts the endpoints that names stand for into the snapshot's upstreams.
pub(super) fn put_endpoints(
    config: &Config,
    snapshot: &mut Snapshot,
    (addresses, registry): (&Addresses, &Registry),
) {
    if addresses.is_empty() {
        return;
    }
    for (written, upstream) in config.upstreams.iter().zip(&mut snapshot.upstreams) {
        upstream.endpoints = compile::endpoints(written, addresses, registry);
    }
}

/// Descriptors are what a gateway runs out of first.
fn raise_descriptor_limit(config: &Config) {
    let wanted: u64 = config
        .listeners
        .iter()
        .map(|listener| listener.limits.connections_max.get() as u64)
        .sum();
    match rt::raise_descriptor_limit() {
        Ok(limit) if limit < wanted => info!(
            limit,
            connections_max = wanted,
            "fewer descriptors than connections_max: accepting pauses when they run out; raise LimitNOFILE= of systemd or `ulimit -Hn`"
        ),
        Ok(_) => {}
        Err(error) => {
            warn!(%error, "the limit on open descriptors could not be raised; check `ulimit -n`")
        }
    }
}

/// A start does not wait longer for name servers: what fails is tried again later.
const START_LOOKUPS_MAX: Duration = Duration::from_secs(5);
