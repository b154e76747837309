//! Permits of concurrency limits: a request waits here until another one leaves, on whatever
//! core that is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Worker;
use super::mailbox::Command;
use crate::chain::Filter;
use crate::error::Fault;
use crate::policy::Concurrency;
use crate::resilience::Outcome;
use crate::resilience::concurrency::{Entry, Gate, Waiter, WaiterId};
use crate::rt::clock::Moment;
use crate::rt::{First, race, sleep};
use crate::stats::CoreIndex;

/// Requests of this core that wait for places.
#[derive(Default)]
pub(super) struct Waiting(RefCell<HashMap<WaiterId, Option<Waker>, ahash::RandomState>>);

impl Waiting {
    pub(super) fn wake(&self, id: WaiterId) {
        let waker = self.0.borrow_mut().get_mut(&id).and_then(Option::take);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A place under a limit, until it is dropped.
pub(crate) struct Permit<'g, F: Filter> {
    worker: Rc<Worker<F>>,
    gate: &'g Gate,
    spec: &'g Concurrency,
}

impl<F: Filter> Permit<'_, F> {
    /// Tells an adaptive limit how the request went.
    pub(crate) fn record(&self, outcome: Outcome) {
        let (worker, core) = (&self.worker, self.worker.core());
        let wake = |core, id| worker.wake(core, id);
        self.gate
            .record(self.spec, core, Moment::now(), outcome, wake);
    }
}

impl<F: Filter> Drop for Permit<'_, F> {
    fn drop(&mut self) {
        let worker = &self.worker;
        self.gate.leave(self.spec, |core, id| worker.wake(core, id));
    }
}

impl<F: Filter> Worker<F> {
    /// Takes a place under a limit, in its turn, which has to come within the time that is left.
    ///
    /// # Errors
    /// [`Fault::ConcurrencyLimit`] when the queue is full, [`Fault::QueueTimeout`] when the turn
    /// does not come in time.
    pub(crate) async fn permit<'g>(
        self: &Rc<Self>,
        gate: &'g Gate,
        spec: &'g Concurrency,
        left: Duration,
    ) -> Result<Permit<'g, F>, Fault> {
        let permit = || Permit {
            worker: Rc::clone(self),
            gate,
            spec,
        };
        match gate.try_enter(spec, self.core(), |core, id| self.wake(core, id)) {
            Entry::Entered => Ok(permit()),
            Entry::Full => Err(Fault::ConcurrencyLimit),
            Entry::Queued(waiter) => {
                let queued = Queued {
                    worker: self,
                    gate,
                    spec,
                    waiter,
                    turn: Turn::Awaited,
                };
                let mut turn = pin!(queued.turn());
                match race(&mut turn, &mut pin!(sleep(spec.queue_timeout.min(left)))).await {
                    First::Left(()) => Ok(permit()),
                    First::Right(()) => Err(Fault::QueueTimeout),
                }
            }
        }
    }

    fn wake(&self, core: CoreIndex, id: WaiterId) {
        match core == self.core() {
            true => self.waiting.wake(id),
            false => self.peers.tell(core, Command::Place(id)),
        }
    }
}

/// A request in a queue; gives its turn up when it is dropped without a place.
struct Queued<'q, F: Filter> {
    worker: &'q Worker<F>,
    gate: &'q Gate,
    spec: &'q Concurrency,
    waiter: Arc<Waiter>,
    turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Awaited,
    /// The place is whose who waited.
    Come,
}

impl<F: Filter> Queued<'_, F> {
    async fn turn(mut self) {
        poll_fn(|cx| {
            if self.waiter.has_place() {
                return Poll::Ready(());
            }
            let waker = Some(cx.waker().clone());
            let mut waiting = self.worker.waiting.0.borrow_mut();
            waiting.insert(self.waiter.id(), waker);
            Poll::Pending
        })
        .await;
        self.turn = Turn::Come;
    }
}

impl<F: Filter> Drop for Queued<'_, F> {
    fn drop(&mut self) {
        let worker = self.worker;
        worker.waiting.0.borrow_mut().remove(&self.waiter.id());
        if self.turn == Turn::Awaited {
            let wake = |core, id| worker.wake(core, id);
            self.gate.abandon(self.spec, &self.waiter, wake);
        }
    }
}
