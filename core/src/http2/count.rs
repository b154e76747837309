//! The streams of a connection: how many are open, and whether one of them waited in vain.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use crate::rt::wheel::{self, Ticks};

/// The streams of a connection that are open.
#[derive(Default)]
pub(super) struct Count {
    open: Cell<u32>,
    /// Who is woken when there is none any more.
    idle: Cell<Option<Waker>>,
    /// When the stream began that waited last for an answer that did not come.
    unanswered: Cell<Option<u32>>,
}

impl Count {
    pub(super) fn open(&self) -> u32 {
        self.open.get()
    }

    pub(super) fn wakes_when_idle(&self, waker: &Waker) {
        self.idle.set(Some(waker.clone()));
    }

    /// Whether a stream has waited in vain on a connection on which the peer was last heard at
    /// this tick: then nobody may be there any more.
    pub(super) fn waited_since(&self, heard: u32) -> bool {
        let unanswered = self.unanswered.get();
        // A tick later: what comes at once may have been under way before.
        unanswered.is_some_and(|began| heard <= began + 1)
    }
}

/// A stream in its connection's count.
pub(super) struct Open {
    count: Rc<Count>,
    since: u32,
}

impl Open {
    pub(super) fn new(count: &Rc<Count>) -> Open {
        count.open.set(count.open.get() + 1);
        Open {
            count: Rc::clone(count),
            since: wheel::now(),
        }
    }

    /// Its answer has not come in time.
    pub(super) fn waited_in_vain(&self) {
        if wheel::now().wrapping_sub(self.since) >= SOON.0 {
            self.count.unanswered.set(Some(self.since));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.count.open.get() - 1;
        self.count.open.set(left);
        if left == 0
            && let Some(waker) = self.count.idle.take()
        {
            waker.wake();
        }
    }
}

/// A wait that is shorter than this says nothing about a connection.
const SOON: Ticks = Ticks(10);
