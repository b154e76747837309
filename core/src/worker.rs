//! A worker: one pinned thread with its own event loop, listeners, connections, pools and
//! counters. Nothing of it is shared with another worker.

mod accept;
mod errands;
mod mailbox;
mod permits;
mod refusals;
mod spread;
mod thread;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::access::{LogBuffer, Record};
use crate::chain::Filter;
use crate::exchange::Exchange;
use crate::http::date::DateCache;
use crate::http::request_id::RequestIds;
use crate::overload::Pressure;
use crate::resilience::outlier;
use crate::rt::clock::{Moment, Stamp};
use crate::rt::wheel::{self, Due, Ticks, TimerId};
use crate::rt::{self, Liveness};
use crate::snapshot::{Snapshot, Upstream};
use crate::stats::{CoreIndex, Registry, WorkerStats};
use crate::upstream::{self, EndpointUpdate, Pool};
use crate::wall::WallClock;
use crate::wire::Wire;

use errands::Errands;
use permits::Waiting;
use refusals::Refusals;
use spread::Peers;

pub(crate) use accept::{Acceptor, Place};
pub use accept::{Handed, OpenListener};
pub use mailbox::{Command, InstallReport, Installation, Mailbox};
pub(crate) use permits::Permit;
pub use thread::{WorkerOptions, WorkerThread, start};

/// What one data-plane thread knows.
pub(crate) struct Worker<F: Filter> {
    core: CoreIndex,
    registry: Arc<Registry>,
    installed: RefCell<Rc<Installed<F>>>,
    /// What this core's filters remember between requests.
    pub(crate) filters: RefCell<F::Core>,
    spare: RefCell<Vec<Box<Exchange<F>>>>,
    connections: RefCell<Connections>,
    /// The ends of tunnels, so that they can be told.
    tunnels: RefCell<HashSet<TimerId, ahash::RandomState>>,
    log: RefCell<Option<LogBuffer>>,
    pub(crate) ids: RefCell<RequestIds>,
    date: RefCell<DateCache>,
    wall: Cell<WallClock>,
    stage: Cell<Stage>,
    refusals: Refusals,
    /// Whether there is too much to do, and for which requests.
    pub(crate) pressure: Pressure,
    peers: Peers<F>,
    waiting: Waiting,
    errands: Errands,
    /// How other threads speak to it.
    own: Mailbox<F>,
}

/// A snapshot with this core's pools of its upstreams.
pub(crate) struct Installed<F: Filter> {
    pub(crate) snapshot: Arc<Snapshot<F>>,
    /// By the index of the upstream.
    pub(crate) pools: Vec<Rc<Pool>>,
}

impl<F: Filter> Installed<F> {
    /// Compares the endpoints of upstreams, where that is due and no other core does it.
    fn sweep_outliers(&self, now: Moment) {
        for (upstream, pool) in self.snapshot.upstreams.iter().zip(&self.pools) {
            if let Some(spec) = &upstream.policy.outlier {
                pool.look(upstream, now, |_, endpoints| {
                    outlier::sweep(spec, endpoints, &upstream.state, now);
                });
            }
        }
    }
}

/// Where a worker stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    Draining,
    /// The grace is over: what is left has been cut.
    Cut,
}

/// Exchanges that a core keeps for reuse.
const SPARE_MAX: usize = 1024;

impl<F: Filter> Worker<F> {
    pub(crate) fn core(&self) -> CoreIndex {
        self.core
    }

    pub(crate) fn stats(&self) -> &WorkerStats {
        self.registry.workers.of(self.core)
    }

    /// The snapshot in force. The clone counts on this core only.
    pub(crate) fn installed(&self) -> Rc<Installed<F>> {
        Rc::clone(&self.installed.borrow())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.stage.get() != Stage::Serving
    }

    /// Whether the grace of a drain is over.
    pub(crate) fn has_cut(&self) -> bool {
        self.stage.get() == Stage::Cut
    }

    pub(crate) fn wall(&self) -> WallClock {
        self.wall.get()
    }

    pub(crate) fn take_exchange(&self) -> Box<Exchange<F>> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut exchange: Box<Exchange<F>>) {
        exchange.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(exchange);
        }
    }

    /// Calls back with the value of `Date`.
    pub(crate) fn with_date<R>(&self, act: impl FnOnce(&[u8]) -> R) -> R {
        let seconds = self.wall().unix_ms(Stamp::now()) / 1000;
        act(self.date.borrow_mut().at(seconds))
    }

    /// Writes an access log line, if there is a log.
    pub(crate) fn log<'a>(&self, record: impl FnOnce() -> Record<'a>) {
        if let Some(log) = self.log.borrow_mut().as_mut()
            && !log.push(&record())
        {
            self.stats().log_dropped.add(1);
        }
    }

    fn install(&self, snapshot: Arc<Snapshot<F>>) {
        let former = self.installed();
        let formers = former.snapshot.upstreams.iter().zip(&former.pools);
        let usable = |upstream: &Upstream, (former, pool): (&Upstream, &Rc<Pool>)| {
            upstream.connects_like(former).then(|| Rc::clone(pool))
        };
        let pools = match snapshot.upstreams.len() + former.pools.len() > 64 {
            false => upstream::pools_for(self.core, &snapshot.upstreams, |upstream| {
                let mut formers = formers.clone();
                let same = formers.find(|(former, _)| former.name == upstream.name)?;
                usable(upstream, same)
            }),
            true => {
                let named = formers.clone().map(|known| (&*known.0.name, known));
                let index: std::collections::HashMap<_, _, ahash::RandomState> = named.collect();
                upstream::pools_for(self.core, &snapshot.upstreams, |upstream| {
                    usable(upstream, *index.get(&*upstream.name)?)
                })
            }
        };
        let kept: HashSet<*const Pool, ahash::RandomState> = pools.iter().map(Rc::as_ptr).collect();
        for (upstream, pool) in formers {
            if !kept.contains(&Rc::as_ptr(pool)) {
                pool.retire(upstream.stats.of(self.core));
            }
        }
        self.stats().generation.set(snapshot.generation);
        *self.installed.borrow_mut() = Rc::new(Installed { snapshot, pools });
    }

    fn update_endpoints(&self, update: &EndpointUpdate) {
        let installed = self.installed();
        let upstreams = installed.snapshot.upstreams.iter().zip(&installed.pools);
        for (upstream, pool) in upstreams.filter(|(upstream, _)| upstream.name == update.upstream) {
            pool.replace_endpoints(&update.endpoints, upstream.stats.of(self.core));
        }
    }

    /// Idle connections end now, the others with their answer.
    fn drain(&self) {
        self.stage.set(Stage::Draining);
        self.connections.borrow().close_idle();
        let installed = self.installed();
        for (upstream, pool) in installed.snapshot.upstreams.iter().zip(&installed.pools) {
            pool.retire(upstream.stats.of(self.core));
        }
    }

    /// Ends tunnels with a word, where what they carry has one for it.
    fn end_tunnels(&self) {
        self.stage.set(Stage::Cut);
        let ends: Vec<TimerId> = self.tunnels.borrow().iter().copied().collect();
        ends.into_iter().for_each(wheel::fire);
    }

    /// Ends every connection.
    fn cut_all(&self) {
        self.stage.set(Stage::Cut);
        for place in self.connections.borrow().places.iter().flatten() {
            place.wire.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn enter_tunnel(&self, end: TimerId) {
        self.tunnels.borrow_mut().insert(end);
    }

    pub(crate) fn leave_tunnel(&self, end: TimerId) {
        self.tunnels.borrow_mut().remove(&end);
    }

    pub(crate) fn enter(&self, wire: &Rc<Wire>) -> ConnectionId {
        self.connections.borrow_mut().insert(Rc::clone(wire))
    }

    /// Names whom a drain wakes, of a connection that looks after its idle times itself.
    pub(crate) fn drains_by(&self, id: ConnectionId, end: TimerId) {
        self.connections.borrow_mut().drains_by(id, end);
    }

    pub(crate) fn leave(&self, id: ConnectionId) {
        self.connections.borrow_mut().remove(id);
    }

    fn look_again(&self) {
        self.connections.borrow().look_again();
    }

    /// Marks a connection as waiting for a request, or as busy with one.
    pub(crate) fn mark(&self, id: ConnectionId, activity: Activity) {
        self.connections.borrow_mut().mark(id, activity);
    }

    fn on_tick(&self, housekeeping: Housekeeping) {
        self.wall.set(WallClock::read());
        let now = Moment::now();
        self.weigh();
        F::tick(&mut self.filters.borrow_mut(), now);
        self.installed().sweep_outliers(now);
        if let Some(log) = self.log.borrow_mut().as_mut()
            && !log.flush()
        {
            self.stats().log_dropped.add(1);
        }
        if housekeeping == Housekeeping::Due {
            let installed = self.installed();
            for (upstream, pool) in installed.snapshot.upstreams.iter().zip(&installed.pools) {
                pool.sweep(upstream);
            }
            if self.stats().active.value() == 0 {
                crate::block::trim_free_blocks();
                rt::trim_pooled();
                self.spare.borrow_mut().truncate(SPARE_MAX / 16);
            }
        }
    }
}

impl<F: Filter> Worker<F> {
    /// Looks whether there is too much to do.
    fn weigh(&self) {
        let policy = self.installed.borrow().snapshot.overload;
        let resident = self.registry.resident_bytes.load(Ordering::Relaxed);
        self.pressure.tick(&policy, rt::lateness(), resident);
        let stats = self.stats();
        stats.lag_us.set(self.pressure.lag().as_micros() as u64);
        stats
            .overload_level
            .set(u64::from(self.pressure.level().value()));
        for (counter, refused) in stats.shed_requests.iter().zip(self.pressure.refused()) {
            counter.set(refused);
        }
    }
}

/// Whether pools are swept at this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Housekeeping {
    Due,
    NotDue,
}

/// A connection's place in its worker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(u32);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for a request.
    Idle,
    /// It serves one.
    Busy,
}

#[derive(Default)]
struct Connections {
    places: Vec<Option<Held>>,
    free: Vec<u32>,
}

/// A connection as its worker knows it.
struct Held {
    wire: Rc<Wire>,
    activity: Activity,
    /// Fired at a drain, where the connection ends itself.
    end: Option<TimerId>,
}

impl Connections {
    fn insert(&mut self, wire: Rc<Wire>) -> ConnectionId {
        let entry = Some(Held {
            wire,
            activity: Activity::Busy,
            end: None,
        });
        match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = entry;
                ConnectionId(place)
            }
            None => {
                self.places.push(entry);
                ConnectionId(self.places.len() as u32 - 1)
            }
        }
    }

    fn remove(&mut self, ConnectionId(place): ConnectionId) {
        self.places[place as usize] = None;
        self.free.push(place);
    }

    fn mark(&mut self, ConnectionId(place): ConnectionId, activity: Activity) {
        if let Some(held) = self.places[place as usize].as_mut() {
            held.activity = activity;
        }
    }

    fn drains_by(&mut self, ConnectionId(place): ConnectionId, end: TimerId) {
        if let Some(held) = self.places[place as usize].as_mut() {
            held.end = Some(end);
        }
    }

    /// Ends the wait of idle connections. A deadline does it, not a shutdown at once: a
    /// request that has just been received has its turn first and clears the deadline.
    fn close_idle(&self) {
        for held in self.places.iter().flatten() {
            if let Some(end) = held.end {
                wheel::fire(end);
            } else if held.activity == Activity::Idle && held.wire.liveness() != Liveness::Readable
            {
                held.wire.recv_timer().arm(Ticks(1), Due::ShutRead);
            }
        }
    }

    /// Has connections look whether their listener is still there.
    fn look_again(&self) {
        let ends = self.places.iter().flatten().filter_map(|held| held.end);
        ends.for_each(wheel::fire);
    }
}
