//! The control plane's thread: it builds the runtime, starts the supervised tasks and ends
//! them.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot, watch};
use tracing::error;

use crate::acme;
use crate::admin::Admin;
use crate::cluster;
use crate::consumers;
use crate::counters::Counters;
use crate::dns::{DnsOptions, Refresher};
use crate::health::Checker;
use crate::jwks;
use crate::node::Node;
use crate::oauth;
use crate::quota;
use crate::reload::Reloader;
use crate::signals::Signals;
use crate::supervise::{Task, supervise};
use crate::watch::ConfigWatch;

/// Starts the control plane.
#[derive(Debug)]
pub struct ControlPlane;

/// What a control plane does beside resolving names.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the admin API listens; absent = no admin API.
    pub admin: Option<AdminOptions>,
    /// Whether changed files cause a reload.
    pub watch: Watch,
    /// Whether the process's signals are handled here.
    pub signals: SignalHandling,
    /// How names are looked up.
    pub dns: DnsOptions,
}

/// The admin API's listener, bound by the caller so that an address in use is an error at start.
#[derive(Debug)]
pub struct AdminOptions {
    /// A bound socket, blocking or not.
    pub listener: TcpListener,
    /// Host names that requests may come under beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
}

impl AdminOptions {
    /// Answers only requests for an IP address or `localhost`.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            hosts: Vec::new(),
        }
    }
}

/// Whether changed files cause a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watch {
    /// They do.
    #[default]
    On,
    /// Only signals and the admin API do.
    Off,
}

/// Who handles SIGHUP, SIGUSR1, SIGINT and SIGTERM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignalHandling {
    /// The control plane, from before `start` returns.
    #[default]
    Handle,
    /// The embedding program.
    Leave,
}

impl ControlPlane {
    /// Starts the thread `ringgate-control`.
    ///
    /// # Errors
    /// When the runtime, the listener, a signal handler or the thread cannot be set up.
    pub fn start(node: Arc<dyn Node>, options: Options) -> io::Result<Handle> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("ringgate-ctl-io")
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let counters = Arc::new(Counters::default());
        let (changed, _) = watch::channel(0);
        let reloader = Reloader::new(Arc::clone(&node), Arc::clone(&counters), changed.clone());
        let tasks = Tasks::prepare(&runtime, node, counters, reloader, &changed, options)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("ringgate-control".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tasks.spawn();
                    // An error means that the handle is gone, which also means stop.
                    let _ = stopped.await;
                });
                runtime.shutdown_timeout(STOP_GRACE);
            })?;
        Ok(Handle {
            stop: Some(stop),
            thread: Some(thread),
            changed,
        })
    }
}

/// A running control plane. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    changed: watch::Sender<u64>,
}

impl Handle {
    /// Ends the thread and waits for it, two seconds at most for blocking calls.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the control thread had panicked; please report this");
        }
    }

    /// Has the node asked again for its targets and files. Reloads that the control plane ran
    /// itself need no such call.
    pub fn refresh(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Everything the thread will run, set up before it starts so that errors reach the caller.
struct Tasks {
    node: Arc<dyn Node>,
    counters: Arc<Counters>,
    reloader: Arc<Reloader>,
    admin: Option<Arc<Admin>>,
    signals: Option<Arc<Signals>>,
    watch: Option<ConfigWatch>,
    dns: Refresher,
    certificates: acme::Keeper,
    health: Checker,
    quotas: quota::Keeper,
    clusters: cluster::Keeper,
    oauth: oauth::Keeper,
    consumers: consumers::Keeper,
    issuers: jwks::Keeper,
}

impl Tasks {
    fn prepare(
        runtime: &Runtime,
        node: Arc<dyn Node>,
        counters: Arc<Counters>,
        reloader: Arc<Reloader>,
        changed: &watch::Sender<u64>,
        options: Options,
    ) -> io::Result<Self> {
        let _entered = runtime.enter();
        let board = Arc::default();
        let admin = options
            .admin
            .map(|admin| Admin::new(admin, &node, &reloader, &counters, &board))
            .transpose()?;
        let signals = match options.signals {
            SignalHandling::Handle => Some(Signals::register()?),
            SignalHandling::Leave => None,
        };
        let watch = match options.watch {
            Watch::On => Some(ConfigWatch::new(&node, &reloader, changed.subscribe())),
            Watch::Off => None,
        };
        let moved = Arc::new(Notify::new());
        let dns = Refresher::new(&node, &counters, options.dns, changed.subscribe(), &moved);
        let health = Checker::new(&node, &counters, changed.subscribe(), &moved);
        let certificates = acme::Keeper::new(&node, &reloader, &board, changed.subscribe());
        let quotas = quota::Keeper::new(&node);
        let clusters = cluster::Keeper::new(&node, &counters, changed.subscribe());
        let oauth = oauth::Keeper::new(&node, &counters, changed.subscribe());
        let consumers = consumers::Keeper::new(&node, changed.subscribe());
        let issuers = jwks::Keeper::new(&node, &counters, changed.subscribe());
        Ok(Self {
            node,
            counters,
            reloader,
            admin,
            signals,
            watch,
            dns,
            certificates,
            health,
            quotas,
            clusters,
            oauth,
            consumers,
            issuers,
        })
    }

    fn spawn(self) {
        let Self {
            node,
            counters,
            reloader,
            ..
        } = self;
        let dns = self.dns;
        tokio::spawn(supervise(Task::Dns, Arc::clone(&counters), move || {
            dns.clone().run()
        }));
        let certificates = self.certificates;
        tokio::spawn(supervise(Task::Acme, Arc::clone(&counters), move || {
            certificates.clone().run()
        }));
        let health = self.health;
        tokio::spawn(supervise(Task::Health, Arc::clone(&counters), move || {
            health.clone().run()
        }));
        let quotas = self.quotas;
        tokio::spawn(supervise(Task::Quotas, Arc::clone(&counters), move || {
            quotas.clone().run()
        }));
        let oauth = self.oauth;
        tokio::spawn(supervise(Task::Oauth, Arc::clone(&counters), move || {
            oauth.clone().run()
        }));
        let clusters = self.clusters;
        tokio::spawn(supervise(
            Task::Clusters,
            Arc::clone(&counters),
            move || clusters.clone().run(),
        ));
        let consumers = self.consumers;
        tokio::spawn(supervise(
            Task::Consumers,
            Arc::clone(&counters),
            move || consumers.clone().run(),
        ));
        let issuers = self.issuers;
        tokio::spawn(supervise(Task::Issuers, Arc::clone(&counters), move || {
            issuers.clone().run()
        }));
        if let Some(admin) = self.admin {
            tokio::spawn(supervise(Task::Admin, Arc::clone(&counters), move || {
                Arc::clone(&admin).run()
            }));
        }
        if let Some(watch) = self.watch {
            tokio::spawn(supervise(Task::Watch, Arc::clone(&counters), move || {
                watch.clone().run()
            }));
        }
        if let Some(signals) = self.signals {
            tokio::spawn(supervise(Task::Signals, counters, move || {
                Arc::clone(&signals).run(Arc::clone(&node), Arc::clone(&reloader))
            }));
        }
    }
}

/// Enough for a scrape, a reload and a few curious people at once.
const BLOCKING_THREADS_MAX: usize = 16;
/// How long `stop` waits for blocking calls into the node.
const STOP_GRACE: Duration = Duration::from_secs(2);
