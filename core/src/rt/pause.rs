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
