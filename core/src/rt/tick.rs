//! The tick: one timer descriptor per core drives every deadline, so that the runtime's own
//! timers (two clock reads and a kernel timer per wait) stay off.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::readiness::Readiness;
use super::wheel;

/// Calls `on_tick` every [`wheel::TICK`], for ever or until it says `false`. The wheel has
/// been advanced before each call. Missed ticks are made up in one call.
///
/// # Errors
/// When no timer descriptor can be had.
pub async fn every_tick(mut on_tick: impl FnMut() -> bool) -> io::Result<()> {
    let timer = timer_fd()?;
    let raw = timer.as_raw_fd();
    let timer = Readiness::of(timer)?;
    loop {
        timer.readable().await?;
        let ticks = expirations(raw);
        if ticks == 0 {
            continue;
        }
        LATE.set(lateness_of(ticks, until_next(raw)));
        wheel::advance(u32::try_from(ticks).unwrap_or(u32::MAX));
        super::pause::wake_due();
        if !on_tick() {
            return Ok(());
        }
    }
}

/// How much later than due this core has come to its last tick, and so to whatever else became
/// ready meanwhile.
pub fn lateness() -> Duration {
    LATE.get()
}

thread_local! {
    static LATE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The timer keeps its pace whenever it is read: what is left until its next expiration tells how
/// long ago the last one was.
fn lateness_of(ticks: u64, left: Duration) -> Duration {
    let missed = u32::try_from(ticks - 1).unwrap_or(u32::MAX);
    wheel::TICK.saturating_mul(missed) + wheel::TICK.saturating_sub(left)
}

fn until_next(fd: RawFd) -> Duration {
    let nothing = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut left = libc::itimerspec {
        it_interval: nothing,
        it_value: nothing,
    };
    // SAFETY: the structure lives through the call, which writes it.
    match unsafe { libc::timerfd_gettime(fd, &raw mut left) } {
        0 => Duration::new(left.it_value.tv_sec as u64, left.it_value.tv_nsec as u32),
        _ => wheel::TICK,
    }
}

fn timer_fd() -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the result is checked.
    let fd = unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let every = libc::timespec {
        tv_sec: 0,
        tv_nsec: wheel::TICK.as_nanos() as i64,
    };
    let spec = libc::itimerspec {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: `spec` is valid for the call; no old value is asked for.
    match unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &spec, std::ptr::null_mut()) } {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}

fn expirations(fd: RawFd) -> u64 {
    let mut count = 0u64;
    // SAFETY: the buffer is the eight bytes that a timer descriptor writes.
    let read = unsafe { libc::read(fd, (&raw mut count).cast(), size_of::<u64>()) };
    if read == size_of::<u64>() as isize {
        count
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_the_time_since_the_first_tick_that_was_missed() {
        let ms = Duration::from_millis;
        assert_eq!(lateness_of(1, ms(100)), ms(0));
        assert_eq!(lateness_of(1, ms(60)), ms(40));
        assert_eq!(lateness_of(4, ms(90)), ms(310));
    }
}
