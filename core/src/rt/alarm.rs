//! Alarms: waits that are finer than a tick of the wheel, for pauses between attempts, hedges
//! and queues. One timer descriptor per core stands at the earliest of them; a request that
//! sets no alarm pays nothing.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clock::Moment;
use super::readiness::Readiness;

/// Waits until the moment has come. Off by the kernel's timer slack, never early.
pub async fn sleep_until(moment: Moment) {
    Alarm { moment, bell: None }.await;
}

/// Waits so long.
pub async fn sleep(time: Duration) {
    sleep_until(Moment::now().after(time)).await;
}

struct Alarm {
    moment: Moment,
    bell: Option<Rc<Bell>>,
}

/// Whom an alarm wakes; nobody once the future that waited is gone.
#[derive(Default)]
struct Bell(RefCell<Option<Waker>>);

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Moment::now() >= self.moment {
            return Poll::Ready(());
        }
        let moment = self.moment;
        let bell = self.bell.get_or_insert_with(|| {
            let bell = Rc::new(Bell::default());
            CLOCK.with_borrow_mut(|clock| clock.add(moment, Rc::clone(&bell)));
            bell
        });
        *bell.0.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            bell.0.borrow_mut().take();
        }
    }
}

/// The alarms of a core, the earliest first.
#[derive(Default)]
struct Clock {
    alarms: BinaryHeap<Reverse<Entry>>,
    timer: Option<RawFd>,
    /// What the timer stands at.
    set_to: Option<Moment>,
}

struct Entry(Moment, Rc<Bell>);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.0 == other.0
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Clock {
    fn add(&mut self, moment: Moment, bell: Rc<Bell>) {
        self.alarms.push(Reverse(Entry(moment, bell)));
        if self.set_to.is_none_or(|set_to| moment < set_to) {
            self.set();
        }
    }

    /// Sets the timer to the earliest alarm that somebody still waits for.
    fn set(&mut self) {
        while let Some(Reverse(Entry(_, bell))) = self.alarms.peek()
            && bell.0.borrow().is_none()
            && Rc::strong_count(bell) == 1
        {
            self.alarms.pop();
        }
        let earliest = self.alarms.peek().map(|Reverse(entry)| entry.0);
        self.set_to = earliest;
        if let (Some(fd), Some(moment)) = (self.timer, earliest) {
            // Zero would stop it.
            let left = moment.since(Moment::now()).max(Duration::from_nanos(1));
            set_timer(fd, left);
        }
    }

    /// Takes the alarms whose time has come, and sets the timer to the next one.
    fn due(&mut self, now: Moment) -> Vec<Rc<Bell>> {
        let mut due = Vec::new();
        while let Some(Reverse(entry)) = self.alarms.peek()
            && entry.0 <= now
        {
            due.extend(self.alarms.pop().map(|Reverse(Entry(_, bell))| bell));
        }
        self.set();
        due
    }
}

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// Rings the alarms of this core, for ever.
///
/// # Errors
/// When no timer descriptor can be had.
pub async fn ring_alarms() -> io::Result<()> {
    let timer = timer_fd()?;
    let raw = timer.as_raw_fd();
    let timer = Readiness::of(timer)?;
    CLOCK.with_borrow_mut(|clock| {
        clock.timer = Some(raw);
        clock.set();
    });
    loop {
        timer.readable().await?;
        clear(raw);
        let due = CLOCK.with_borrow_mut(|clock| clock.due(Moment::now()));
        let wakers = due.iter().filter_map(|bell| bell.0.borrow_mut().take());
        wakers.for_each(Waker::wake);
    }
}

fn timer_fd() -> io::Result<OwnedFd> {
    let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
    // SAFETY: plain system call; the result is checked.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_timer(fd: RawFd, left: Duration) {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let spec = libc::itimerspec {
        it_interval: zero,
        it_value: libc::timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        },
    };
    // SAFETY: `spec` is valid for the call, no old value is asked for, and the descriptor is
    // open as long as the thread runs. It cannot fail for a timer with a valid time.
    unsafe { libc::timerfd_settime(fd, 0, &spec, std::ptr::null_mut()) };
}

/// Takes note of the expiry, so that the descriptor is not readable any more.
fn clear(fd: RawFd) {
    let mut count = 0u64;
    // SAFETY: the buffer is the eight bytes that a timer descriptor writes.
    unsafe { libc::read(fd, (&raw mut count).cast(), size_of::<u64>()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{Driver, block_on, spawn};

    #[test]
    fn alarms_ring_in_the_order_of_their_moments() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let order = block_on(driver, async {
                spawn(async {
                    let ended = ring_alarms().await;
                    panic!("alarms ended: {ended:?}");
                });
                let order: Rc<RefCell<Vec<u32>>> = Rc::default();
                let begin = Moment::now();
                for ms in [30u32, 5, 15] {
                    let order = Rc::clone(&order);
                    spawn(async move {
                        sleep_until(begin.after(Duration::from_millis(ms.into()))).await;
                        order.borrow_mut().push(ms);
                    });
                }
                // One that nobody waits for any more does not hold up the rest.
                drop(sleep(Duration::from_millis(1)));
                sleep(Duration::from_millis(40)).await;
                assert!(Moment::now() >= begin.after(Duration::from_millis(40)));
                order.take()
            });
            assert_eq!(order.ok(), Some(vec![5, 15, 30]));
        }
    }
}
