//! How other threads speak to a worker: a lock-free queue and a wake-up.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use crossbeam::queue::SegQueue;

use super::accept::{Handed, OpenListener};
use super::spread::UnderWay;
use crate::access::LogBuffer;
use crate::chain::Filter;
use crate::resilience::concurrency::WaiterId;
use crate::rt::WakeHandle;
use crate::rt::wheel::Ticks;
use crate::snapshot::Snapshot;
use crate::stats::CoreIndex;
use crate::upstream::EndpointUpdate;

/// Something a worker is told.
pub enum Command<F: Filter> {
    /// A new snapshot takes the former one's place.
    Install(Installation<F>),
    /// An upstream's endpoints changed.
    Endpoints(EndpointUpdate),
    /// The workers there are, by core, so that they can share connections.
    Peers(Arc<[Mailbox<F>]>),
    /// A request that waits here has its turn.
    Place(WaiterId),
    /// What a request of this worker waits for, by its number, has been done.
    Errand(u64),
    /// A connection that another worker has accepted.
    Adopt(Handed),
    /// Stop accepting, end what is idle, let requests finish, and say when that is done.
    Drain {
        /// After this, what is left is cut.
        grace: Ticks,
        /// Gets the number of connections that had to be cut.
        done: Sender<(CoreIndex, u64)>,
    },
}

/// A snapshot on its way to a worker.
pub struct Installation<F: Filter> {
    /// The snapshot.
    pub snapshot: Arc<Snapshot<F>>,
    /// Listeners that the worker does not have yet.
    pub opened: Vec<OpenListener>,
    /// The access log from now on; `None` for no log.
    pub log: Option<LogBuffer>,
    /// Gets the report.
    pub reply: Sender<InstallReport>,
}

/// What a worker says of an installation.
#[derive(Clone, Debug)]
pub struct InstallReport {
    /// Which worker.
    pub core: CoreIndex,
    /// Microseconds that the swap kept the core from other work.
    pub swap_us: u64,
    /// What could not be done, such as a listener that could not be registered.
    pub problems: Vec<String>,
}

/// The other threads' end of a worker.
pub struct Mailbox<F: Filter> {
    pub(super) queue: Arc<SegQueue<Command<F>>>,
    pub(super) wake: Arc<WakeHandle>,
    pub(super) under_way: Arc<UnderWay>,
}

impl<F: Filter> Clone for Mailbox<F> {
    fn clone(&self) -> Self {
        Mailbox {
            queue: Arc::clone(&self.queue),
            wake: Arc::clone(&self.wake),
            under_way: Arc::clone(&self.under_way),
        }
    }
}

impl<F: Filter> Mailbox<F> {
    /// Tells the worker something. Order is kept; nothing is ever dropped.
    pub fn send(&self, command: Command<F>) {
        self.queue.push(command);
        self.wake.wake();
    }
}
