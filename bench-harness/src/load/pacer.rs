//! Wakes connections when requests are due. A connection that is free takes what is due by
//! itself; only when nothing is due does it wait here, and an alarm with the kernel's precision
//! wakes as many as there are requests then. Nothing spins: how late the alarm is gets measured
//! (`Tally::lag`) and counts into the latency.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringgate_core::rt::Listener;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::pace::Pace;

/// The schedule of one thread and who waits for it.
pub struct Pacer {
    pace: RefCell<Pace>,
    /// In the order in which they began to wait, so that load spreads over all connections.
    waiting: RefCell<VecDeque<(Rc<Place>, Waker)>>,
    alarm: Alarm,
    armed: Cell<bool>,
}

/// Where one connection waits.
#[derive(Debug, Default)]
pub struct Place {
    waits: Cell<bool>,
}

/// Whether a connection has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A request is due.
    Now,
    /// It will be woken.
    Later,
}

impl Pacer {
    /// Nobody waits yet.
    ///
    /// # Errors
    /// When no timer is to be had.
    pub fn new(pace: Pace) -> io::Result<Pacer> {
        Ok(Pacer {
            pace: RefCell::new(pace),
            waiting: RefCell::default(),
            alarm: Alarm::new()?,
            armed: Cell::new(false),
        })
    }

    /// Takes a request that is due: the time when it was.
    pub fn take(&self, now: u64) -> Option<u64> {
        self.pace.borrow_mut().take(now)
    }

    /// Waits for a request to be due, in `place`.
    pub fn wait(&self, place: &Rc<Place>, waker: &Waker, now: u64) -> Turn {
        let next = self.pace.borrow().next();
        if next.is_some_and(|due| due <= now) {
            return Turn::Now;
        }
        if !place.waits.replace(true) {
            let entry = (Rc::clone(place), waker.clone());
            self.waiting.borrow_mut().push_back(entry);
        }
        if !self.armed.get() {
            self.arm(next, now);
        }
        Turn::Later
    }

    /// Whoever waited in this place does not any more.
    pub fn leave(&self, place: &Rc<Place>) {
        if place.waits.replace(false) {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|(other, _)| !Rc::ptr_eq(place, other));
        }
    }

    /// Wakes everybody: the schedule is over.
    pub fn wake_all(&self) {
        for (place, waker) in self.waiting.take() {
            place.waits.set(false);
            waker.wake();
        }
    }

    /// Requests due in the window that nobody has taken.
    pub fn untaken(&self, from: u64, to: u64) -> u64 {
        self.pace.borrow().untaken(from, to)
    }

    /// Waits for alarms, for ever; `now` tells the time.
    ///
    /// # Errors
    /// When the timer cannot be waited for.
    pub async fn run(&self, now: impl Fn() -> u64) -> io::Result<()> {
        loop {
            self.alarm.rings().await?;
            let now = now();
            let most = self.waiting.borrow().len();
            let (due, next) = self.pace.borrow().waiting(now, most);
            for _ in 0..due {
                let Some((place, waker)) = self.waiting.borrow_mut().pop_front() else {
                    break;
                };
                place.waits.set(false);
                waker.wake();
            }
            match due < most {
                true => self.arm(next, now),
                // The next one that has nothing to do sets it.
                false => self.quiet(),
            }
        }
    }

    fn arm(&self, next: Option<u64>, now: u64) {
        match next {
            Some(due) => {
                self.armed.set(true);
                let after = due.saturating_sub(now).max(1);
                self.alarm.set(Some(Duration::from_nanos(after)));
            }
            None => self.quiet(),
        }
    }

    fn quiet(&self) {
        self.armed.set(false);
        self.alarm.set(None);
    }
}

/// One timer of the kernel on this thread's runtime.
struct Alarm {
    timer: OwnedFd,
    /// The same descriptor. Only its readiness is asked for, which timers have as listeners do.
    readiness: Listener,
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm {
            readiness: Listener::adopt(timer.try_clone()?)?,
            timer,
        })
    }

    /// Sets or clears it. Either also takes back a ring that nobody has heard.
    fn set(&self, after: Option<Duration>) {
        let after = after.unwrap_or_default();
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: after.as_secs().cast_signed(),
                tv_nsec: i64::from(after.subsec_nanos()),
            },
        };
        let set = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
        debug_assert!(
            set.is_ok(),
            "the descriptor is a timer and the time is sound"
        );
    }

    async fn rings(&self) -> io::Result<()> {
        self.readiness.ready().await
    }
}
