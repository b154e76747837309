//! Delays as fine as the kernel's timers: one timer descriptor a thread. The runtime's own pauses
//! are as coarse as its wheel.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ringgate_core::rt::{self, Listener};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// The tasks of one thread that wait for a point in time.
#[derive(Clone)]
pub struct Timers(Rc<Shared>);

struct Shared {
    timer: OwnedFd,
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
}

struct Sleeper {
    at: Instant,
    waker: Waker,
}

impl Timers {
    /// Timers of the calling thread; spawns the task that wakes who is due.
    ///
    /// # Errors
    /// When there is no timer descriptor to be had.
    pub fn start() -> io::Result<Timers> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Nothing is accepted on it: a listener is what the runtime has for waiting until any
        // descriptor can be read.
        let readiness = Listener::adopt(timer.try_clone()?)?;
        let shared = Rc::new(Shared {
            timer,
            sleepers: RefCell::default(),
        });
        let waking = Rc::clone(&shared);
        rt::spawn(async move {
            while readiness.ready().await.is_ok() {
                waking.wake_due();
            }
        });
        Ok(Timers(shared))
    }

    /// Waits that long.
    pub async fn sleep(&self, span: Duration) {
        let at = Instant::now() + span;
        let waits = Cell::new(false);
        poll_fn(|cx| {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            if !waits.replace(true) {
                let waker = cx.waker().clone();
                self.0.add(Sleeper { at, waker });
            }
            Poll::Pending
        })
        .await;
    }
}

impl Shared {
    fn add(&self, sleeper: Sleeper) {
        let at = sleeper.at;
        let mut sleepers = self.sleepers.borrow_mut();
        let is_first = sleepers.peek().is_none_or(|first| at < first.0.at);
        sleepers.push(Reverse(sleeper));
        if is_first {
            self.arm(at);
        }
    }

    fn arm(&self, at: Instant) {
        // Zero would disarm it.
        let span = at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: span.as_secs() as i64,
                tv_nsec: i64::from(span.subsec_nanos()),
            },
        };
        // It fails for times that are none and descriptors that are no timer.
        let set = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        debug_assert!(set.is_ok());
    }

    fn wake_due(&self) {
        // Takes the descriptor's readiness back; how often it has expired does not matter.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        let now = Instant::now();
        let mut sleepers = self.sleepers.borrow_mut();
        while sleepers.peek().is_some_and(|first| first.0.at <= now) {
            if let Some(Reverse(sleeper)) = sleepers.pop() {
                sleeper.waker.wake();
            }
        }
        if let Some(first) = sleepers.peek() {
            self.arm(first.0.at);
        }
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Sleeper) -> bool {
        self.at == other.at
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Sleeper) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Sleeper) -> Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_the_order_of_their_times() {
        let order = rt::block_on(rt::Driver::Epoll, async {
            let timers = Timers::start().unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            for span_ms in [30, 10, 20] {
                let (timers, order) = (timers.clone(), Rc::clone(&order));
                rt::spawn(async move {
                    timers.sleep(Duration::from_millis(span_ms)).await;
                    order.borrow_mut().push(span_ms);
                });
            }
            timers.sleep(Duration::from_millis(60)).await;
            order.take()
        });
        assert_eq!(order.unwrap(), [10, 20, 30]);
    }
}
