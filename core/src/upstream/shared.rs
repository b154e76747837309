//! The HTTP/2 connections to one endpoint that this core's requests share: few, and more only
//! when their streams run out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::http2::Multiplexed;
use crate::rt::wheel::Ticks;
use crate::snapshot::UpstreamHttp2;

/// The shared connections to one endpoint.
#[derive(Default)]
pub(super) struct Shared {
    connections: Vec<Multiplexed>,
    pub(super) opening: Rc<Opening>,
}

/// Connections that are being opened, and who waits for them instead of opening another.
#[derive(Default)]
pub(super) struct Opening {
    under_way: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
    /// What the endpoint turned out to speak.
    spoken: Cell<Option<Spoken>>,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

impl Shared {
    /// A connection that takes another request: of those the one with the fewest.
    pub(super) fn with_room(&mut self, limits: &UpstreamHttp2) -> Option<&Multiplexed> {
        if self.connections.is_empty() {
            return None;
        }
        // Those that are over end behind their last stream.
        self.connections.retain(|connection| !connection.is_over());
        let free = self.connections.iter();
        free.filter(|connection| connection.has_room(limits.streams_max))
            .min_by_key(|connection| connection.open())
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn add(&mut self, connection: Multiplexed) {
        self.connections.push(connection);
    }

    /// Lets go of connections that are over or were idle for too long.
    pub(super) fn sweep(&mut self, idle: Ticks) {
        self.connections
            .retain(|connection| !connection.is_over() && !connection.has_idled(idle));
    }

    pub(super) fn clear(&mut self) {
        self.connections.clear();
    }
}

impl Opening {
    /// How many are being opened.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way.get()
    }

    pub(super) fn spoken(&self) -> Option<Spoken> {
        self.spoken.get()
    }

    pub(super) fn learn(&self, spoken: Spoken) {
        self.spoken.set(Some(spoken));
    }

    /// Begins to open one; who waits is woken when the returned value is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Begun {
        self.under_way.set(self.under_way.get() + 1);
        Begun(Rc::clone(self))
    }

    pub(super) fn wait(&self, waker: &Waker) {
        self.waiting.borrow_mut().push(waker.clone());
    }
}

/// A connection that is being opened.
pub(super) struct Begun(Rc<Opening>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        let waiting = self.0.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}
