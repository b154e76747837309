//! The thread of a worker: pinning, the event loop, the tick and the mailbox.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crossbeam::queue::SegQueue;

use super::accept::{self, Acceptor, OpenListener};
use super::errands::Errands;
use super::mailbox::{Command, InstallReport, Installation, Mailbox};
use super::permits::Waiting;
use super::refusals::Refusals;
use super::spread::Peers;
use super::{Housekeeping, Installed, Stage, Worker};
use crate::access::LogBuffer;
use crate::chain::Filter;
use crate::http::date::DateCache;
use crate::http::request_id::RequestIds;
use crate::overload::Pressure;
use crate::rt::clock::Stamp;
use crate::rt::wheel::{self, Ticks};
use crate::rt::{self, Driver, WakeSource, wake_pair};
use crate::snapshot::Snapshot;
use crate::stats::{CoreIndex, Registry};
use crate::upstream;
use crate::wall::WallClock;

/// How a worker is started.
pub struct WorkerOptions<F: Filter> {
    /// Its number.
    pub core: CoreIndex,
    /// The processor to pin it to; none leaves it to the kernel.
    pub pin: Option<usize>,
    /// How it waits.
    pub driver: Driver,
    /// Everybody's counters.
    pub registry: Arc<Registry>,
    /// What it serves.
    pub snapshot: Arc<Snapshot<F>>,
    /// Where it accepts.
    pub listeners: Vec<OpenListener>,
    /// Its access log; none for no log.
    pub log: Option<LogBuffer>,
}

/// A running worker.
pub struct WorkerThread<F: Filter> {
    /// How to speak to it.
    pub mailbox: Mailbox<F>,
    /// The processor it could not be pinned to, and why.
    pub unpinned: Option<(usize, io::Error)>,
}

/// Starts a worker and waits until it accepts.
///
/// # Errors
/// When the thread, the driver or a listener cannot be set up.
pub fn start<F: Filter>(options: WorkerOptions<F>) -> io::Result<WorkerThread<F>> {
    let (wake, source) = wake_pair()?;
    let queue = Arc::new(SegQueue::new());
    let mailbox = Mailbox {
        queue: Arc::clone(&queue),
        wake: Arc::new(wake),
        under_way: Arc::default(),
    };
    let own = mailbox.clone();
    let (started, outcome) = channel();
    thread::Builder::new()
        .name(format!("ringgate-{}", options.core.0))
        .spawn(move || run(options, source, &own, &started))?;
    match outcome.recv() {
        Ok(Started {
            result: Ok(()),
            unpinned,
        }) => Ok(WorkerThread { mailbox, unpinned }),
        Ok(Started {
            result: Err(error), ..
        }) => Err(error),
        Err(_) => Err(io::Error::other("the worker ended while it started")),
    }
}

struct Started {
    result: io::Result<()>,
    unpinned: Option<(usize, io::Error)>,
}

fn run<F: Filter>(
    options: WorkerOptions<F>,
    source: WakeSource,
    own: &Mailbox<F>,
    started: &Sender<Started>,
) {
    let unpinned = options
        .pin
        .and_then(|core| rt::pin_to(core).err().map(|error| (core, error)));
    let unpinned = Cell::new(unpinned);
    let say = |result| {
        let unpinned = unpinned.take();
        // The starter waits for this one message.
        let _ = started.send(Started { result, unpinned });
    };
    let driver = options.driver;
    let _abort = AbortOnPanic;
    let ran: io::Result<std::convert::Infallible> = rt::block_on(driver, async {
        match set_up(options, own) {
            Ok((worker, acceptors)) => {
                say(Ok(()));
                live(&worker, acceptors, source, own).await;
            }
            Err(error) => say(Err(error)),
        }
        // Operations may still be under way in the kernel with memory of this runtime, so it
        // is never dropped: the thread rests until the process ends.
        loop {
            rt::pause(Ticks(600)).await;
        }
    });
    // Only a driver that could not be set up lets go of the thread.
    let Err(error) = ran;
    say(Err(error));
}

/// Connections keep their panics to themselves. Anything else that panics on a worker would
/// drop a runtime with operations under way in the kernel, and leave a core that serves
/// nobody: then the process ends and its supervisor starts it anew.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

type Acceptors = RefCell<Vec<Rc<Acceptor>>>;

fn set_up<F: Filter>(
    options: WorkerOptions<F>,
    own: &Mailbox<F>,
) -> io::Result<(Rc<Worker<F>>, Acceptors)> {
    let pools = upstream::pools_for(options.core, &options.snapshot.upstreams, |_| None);
    let installed = Installed {
        snapshot: options.snapshot,
        pools,
    };
    let worker = Rc::new(Worker {
        core: options.core,
        registry: options.registry,
        installed: RefCell::new(Rc::new(installed)),
        filters: RefCell::default(),
        spare: RefCell::default(),
        connections: RefCell::default(),
        tunnels: RefCell::default(),
        log: RefCell::new(options.log),
        ids: RefCell::new(RequestIds::new()),
        date: RefCell::new(DateCache::default()),
        wall: Cell::new(WallClock::read()),
        stage: Cell::new(Stage::Serving),
        refusals: Refusals::default(),
        pressure: Pressure::default(),
        peers: Peers::new(options.core),
        waiting: Waiting::default(),
        errands: Errands::default(),
        own: own.clone(),
    });
    let generation = worker.installed().snapshot.generation;
    worker.stats().generation.set(generation);
    let opened: io::Result<Vec<_>> = options
        .listeners
        .into_iter()
        .map(|open| worker.open(open))
        .collect();
    Ok((worker, RefCell::new(opened?)))
}

/// A drain under way.
struct Drain {
    ends_at: u32,
    /// Connections that were cut when the grace was over.
    cut: Option<u64>,
    done: Option<Sender<(CoreIndex, u64)>>,
    goodbye: Goodbye,
}

/// Whether tunnels have been told that the grace is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    Due,
    Said,
}

async fn live<F: Filter>(
    worker: &Rc<Worker<F>>,
    acceptors: Acceptors,
    source: WakeSource,
    own: &Mailbox<F>,
) {
    let drain = Rc::new(RefCell::new(None));
    rt::spawn(tick(Rc::clone(worker), Rc::clone(&drain)));
    rt::spawn(async {
        // Without a timer descriptor there would be no end to pauses and queues.
        if let Err(error) = rt::ring_alarms().await {
            panic!("the alarms of a worker cannot ring: {error}");
        }
    });
    let on_wake = || {
        while let Some(command) = own.queue.pop() {
            match command {
                Command::Install(installation) => install(worker, &acceptors, installation),
                Command::Endpoints(update) => worker.update_endpoints(&update),
                Command::Place(waiter) => worker.waiting.wake(waiter),
                Command::Errand(id) => worker.errands.wake(id),
                Command::Peers(mailboxes) => worker.peers.meet(mailboxes),
                Command::Adopt(handed) => {
                    own.under_way.sub();
                    accept::adopt(worker, &acceptors.borrow(), handed);
                }
                Command::Drain { grace, done } => {
                    accept::close_all(worker, &mut acceptors.borrow_mut());
                    worker.drain();
                    *drain.borrow_mut() = Some(Drain {
                        // The tick under way has partly passed.
                        ends_at: wheel::now() + grace.0 + 1,
                        cut: None,
                        done: Some(done),
                        goodbye: Goodbye::Due,
                    });
                }
            }
        }
        true
    };
    // Without wake-ups there are no reloads, but traffic goes on.
    let _ = source.run(on_wake).await;
}

fn install<F: Filter>(
    worker: &Rc<Worker<F>>,
    acceptors: &Acceptors,
    installation: Installation<F>,
) {
    let began = Stamp::now();
    let mut acceptors = acceptors.borrow_mut();
    worker.accept_last(&acceptors, &installation.snapshot);
    worker.install(installation.snapshot);
    *worker.log.borrow_mut() = installation.log;
    worker.match_acceptors(&mut acceptors);
    worker.look_again();
    let mut problems = Vec::new();
    for open in installation.opened {
        let addr = open.addr.clone();
        match worker.open(open) {
            Ok(acceptor) => acceptors.push(acceptor),
            Err(error) => problems.push(format!("listener {addr}: {error}")),
        }
    }
    let swap_us = Stamp::now().micros_since(began);
    worker.stats().swap_us.set(swap_us);
    // Nobody may wait for the report any more.
    let _ = installation.reply.send(InstallReport {
        core: worker.core(),
        swap_us,
        problems,
    });
}

/// Ticks between two sweeps of the pools.
const SWEEP_EVERY: u64 = 10;

async fn tick<F: Filter>(worker: Rc<Worker<F>>, drain: Rc<RefCell<Option<Drain>>>) {
    let mut last = Stamp::now();
    let on_tick = || {
        let now = Stamp::now();
        let late = now
            .micros_since(last)
            .saturating_sub(wheel::TICK.as_micros() as u64);
        last = now;
        let stats = worker.stats();
        stats.ticks.add(1);
        stats.stall_us.set(stats.stall_us.value().max(late));
        let housekeeping = match stats.ticks.value() % SWEEP_EVERY {
            0 => Housekeeping::Due,
            _ => Housekeeping::NotDue,
        };
        worker.on_tick(housekeeping);
        if let Some(drain) = drain.borrow_mut().as_mut() {
            check_drain(&worker, drain);
        }
        true
    };
    // Without a timer descriptor there would be no deadlines: better no worker at all.
    if let Err(error) = rt::every_tick(on_tick).await {
        panic!("the tick of core {} cannot run: {error}", worker.core().0);
    }
}

/// Ticks that tunnels get to say goodbye.
const GOODBYE_TICKS: u32 = 2;
/// Ticks that cut exchanges get to book their end.
const SETTLE_TICKS: u32 = 10;

fn check_drain<F: Filter>(worker: &Worker<F>, drain: &mut Drain) {
    let open = worker.stats().connections.value();
    let over = wheel::now() >= drain.ends_at;
    if open > 0 && !over {
        return;
    }
    if open > 0 && drain.goodbye == Goodbye::Due {
        drain.goodbye = Goodbye::Said;
        drain.ends_at = wheel::now() + GOODBYE_TICKS;
        return worker.end_tunnels();
    }
    if open > 0 && drain.cut.is_none() {
        drain.cut = Some(open);
        drain.ends_at = wheel::now() + SETTLE_TICKS;
        return worker.cut_all();
    }
    if let Some(done) = drain.done.take() {
        if let Some(log) = worker.log.borrow_mut().as_mut() {
            let _ = log.flush();
        }
        let _ = done.send((worker.core(), drain.cut.unwrap_or(0)));
    }
}
