//! Signals end a run in an orderly way: they set a flag, every wait looks at it, and the guards
//! on the way out stop what was started.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::fault::{Fault, Result};

/// Has signals set the flag instead of ending the process.
///
/// # Errors
/// When the system refuses the handlers.
pub fn watch() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&RAISED))
            .map_err(|error| Fault::io("handle signals", &error))?;
    }
    Ok(())
}

/// Fails once a signal has come.
///
/// # Errors
/// [`Fault::Interrupted`].
pub fn check() -> Result<()> {
    match RAISED.load(Ordering::Relaxed) {
        true => Err(Fault::Interrupted),
        false => Ok(()),
    }
}

/// Sleeps, but not through a signal.
///
/// # Errors
/// [`Fault::Interrupted`].
pub fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(SLICE));
    }
}

/// Asks `poll` again and again until it has an answer; `None` when `limit` has passed.
///
/// # Errors
/// What `poll` fails with, or [`Fault::Interrupted`].
pub fn wait<T>(limit: Duration, mut poll: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = poll()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        pause(SLICE)?;
    }
}

static RAISED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How late a signal may be seen.
const SLICE: Duration = Duration::from_millis(10);
