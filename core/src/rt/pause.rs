//! Pauses of tasks, in ticks: for backing off, not for deadlines.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::wheel::{self, Ticks};

/// Waits for so many ticks.
pub async fn pause(ticks: Ticks) {
    let until = wheel::now().wrapping_add(ticks.0);
    poll_fn(|cx| {
        if wheel::now() >= until {
            return Poll::Ready(());
        }
        SLEEPERS.with_borrow_mut(|sleepers| sleepers.push((until, cx.waker().clone())));
        Poll::Pending
    })
    .await;
}

/// Lets every other runnable task of this core have its turn first. The wake-up comes from a
/// task of its own: a task that wakes itself would go to the front of the line.
pub async fn yield_turn() {
    let mut turned = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        super::spawn(async move { waker.wake() });
        Poll::Pending
    })
    .await;
}

/// Wakes the tasks whose pause is over.
pub(super) fn wake_due() {
    let now = wheel::now();
    let due: Vec<Waker> = SLEEPERS.with_borrow_mut(|sleepers| {
        sleepers
            .extract_if(.., |(until, _)| *until <= now)
            .map(|(_, waker)| waker)
            .collect()
    });
    due.into_iter().for_each(Waker::wake);
}

thread_local! {
    static SLEEPERS: RefCell<Vec<(u32, Waker)>> = const { RefCell::new(Vec::new()) };
}
