//! What is asked of another thread: where its answer is put, and who waits for it.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};

use crossbeam::queue::SegQueue;
use ringgate_core::errand::Done;

/// Where an answer is put. A request that is given up lets go of its slot: when nobody else has
/// it, there is nothing to do any more.
#[derive(Debug)]
pub struct Slot<T> {
    answer: OnceLock<T>,
    waiting: SegQueue<Done>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot {
            answer: OnceLock::new(),
            waiting: SegQueue::new(),
        }
    }
}

impl<T> Slot<T> {
    /// The answer, once there is one.
    pub fn answer(&self) -> Option<&T> {
        self.answer.get()
    }

    /// Puts the answer in and wakes those who [wait](Slot::wait). Only the first one counts.
    pub fn settle(&self, answer: T) {
        let _ = self.answer.set(answer);
        self.wake();
    }

    /// Wakes one more request when the answer is there.
    pub fn wait(&self, done: Done) {
        self.waiting.push(done);
        // Whoever waits looks behind having come, and whoever settles looks for them behind
        // having put the answer in: with fences between, one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.answer.get().is_some() {
            self.wake();
        }
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        while let Some(done) = self.waiting.pop() {
            drop(done);
        }
    }
}

/// What one core has asked and has no answer to: bounded, and asked once however many of its
/// requests want to know.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    slots: HashMap<[u8; 32], Weak<Slot<T>>, ahash::RandomState>,
    waiting: Rc<Cell<usize>>,
    waiting_max: usize,
}

/// A place among the requests that wait; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A question, and whether somebody has asked it already.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    /// To be asked.
    New(Arc<Slot<T>>, Place),
    /// It has been.
    Before(Arc<Slot<T>>, Place),
}

impl<T> Pending<T> {
    /// For so many requests that wait at most.
    pub(crate) fn new(waiting_max: usize) -> Pending<T> {
        Pending {
            slots: HashMap::default(),
            waiting: Rc::default(),
            waiting_max,
        }
    }

    /// A place to wait for the answer to a question; none when too many wait.
    pub(crate) fn ask(&mut self, question: [u8; 32]) -> Option<Asked<T>> {
        if self.waiting.get() >= self.waiting_max {
            return None;
        }
        self.waiting.set(self.waiting.get() + 1);
        let place = Place(Rc::clone(&self.waiting));
        let known = self.slots.get(&question).and_then(Weak::upgrade);
        if let Some(slot) = known {
            return Some(Asked::Before(slot, place));
        }
        if self.slots.len() >= self.waiting_max {
            // Every slot that is held has a request which waits, so this makes room.
            self.slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Arc::<Slot<T>>::default();
        self.slots.insert(question, Arc::downgrade(&slot));
        Some(Asked::New(slot, place))
    }

    /// Forgets a question that has been answered, or was given up.
    pub(crate) fn forget(&mut self, question: &[u8; 32]) {
        self.slots.remove(question);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_nobody_who_comes_late() {
        let slot = Slot::default();
        slot.wait(Done::unheard());
        assert_eq!(slot.waiting.len(), 1);
        slot.settle(1);
        slot.settle(2);
        assert_eq!(slot.answer(), Some(&1));
        slot.wait(Done::unheard());
        assert!(slot.waiting.is_empty());
    }

    #[test]
    fn a_question_is_asked_once_and_so_many_wait_at_most() {
        let mut pending = Pending::<u8>::new(2);
        let one = pending.ask([1; 32]);
        assert!(matches!(one, Some(Asked::New(..))));
        let again = pending.ask([1; 32]);
        assert!(matches!(again, Some(Asked::Before(..))));
        assert!(pending.ask([2; 32]).is_none());
        drop(again);
        assert!(matches!(pending.ask([2; 32]), Some(Asked::New(..))));
        // The one that was given up is asked anew.
        drop(one);
        assert!(matches!(pending.ask([1; 32]), Some(Asked::New(..))));
    }

    #[test]
    fn questions_that_were_given_up_are_forgotten() {
        let mut pending = Pending::<u8>::new(4);
        for byte in 0..100 {
            assert!(pending.ask([byte; 32]).is_some());
        }
        assert!(pending.slots.len() <= 4, "{}", pending.slots.len());
    }
}
