//! Errands of this core's requests, and the wait for their end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Worker;
use super::mailbox::Command;
use crate::chain::Filter;
use crate::errand::{Done, Errand};
use crate::rt::{race, sleep};

/// Requests of this core whose errands are under way.
#[derive(Default)]
pub(super) struct Errands {
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker, ahash::RandomState>>,
}

impl Errands {
    pub(super) fn wake(&self, id: u64) {
        let waker = self.waiting.borrow_mut().remove(&id);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<F: Filter> Worker<F> {
    /// Hands an errand over and waits until it is done, or for as long as it may take.
    pub(crate) async fn run_errand(&self, errand: Errand, left: Duration) {
        let id = self.errands.next.replace(self.errands.next.get() + 1);
        let done = Arc::new(AtomicBool::new(false));
        let own = self.own.clone();
        let wake = Box::new(move || own.send(Command::Errand(id)));
        (errand.hand_over)(Done::new(Arc::clone(&done), wake));
        let waits = Waits { worker: self, id };
        let ended = poll_fn(|cx| {
            if done.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            let mut waiting = waits.worker.errands.waiting.borrow_mut();
            waiting.insert(id, cx.waker().clone());
            Poll::Pending
        });
        race(&mut pin!(ended), &mut pin!(sleep(left))).await;
    }
}

/// Forgets a request that waits no more.
struct Waits<'w, F: Filter> {
    worker: &'w Worker<F>,
    id: u64,
}

impl<F: Filter> Drop for Waits<'_, F> {
    fn drop(&mut self) {
        self.worker.errands.waiting.borrow_mut().remove(&self.id);
    }
}
