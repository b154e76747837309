//! Whose turn it is: one holder at a time on one thread, the others wait in line.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A right that one task at a time has.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Cell<bool>,
    line: RefCell<VecDeque<Waker>>,
}

/// The right; dropping it passes it on.
#[derive(Debug)]
pub struct Turn<'t>(&'t Turns);

impl Turns {
    /// Waits for the turn.
    pub async fn take(&self) -> Turn<'_> {
        poll_fn(|cx| match self.try_take() {
            Some(turn) => Poll::Ready(turn),
            None => {
                self.line.borrow_mut().push_back(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Takes the turn if nobody has it.
    pub fn try_take(&self) -> Option<Turn<'_>> {
        (!self.taken.replace(true)).then_some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        // All of them: whoever has gone meanwhile would keep the rest waiting. There are two at
        // most on a wire.
        for waiting in self.0.line.take() {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let turns = Turns::default();
        let first = turns.try_take();
        assert!(first.is_some());
        assert!(turns.try_take().is_none());
        drop(first);
        assert!(turns.try_take().is_some());
    }
}
