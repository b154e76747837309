//! Errands: what a filter has somebody else do off the data plane, such as hashing a password
//! or asking a store, while its request waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Work that is handed to another thread. The filter keeps the place where the result will be
/// put (in its scratch) and looks there when it is resumed: nothing there means that the work
/// was given up or took too long.
pub struct Errand {
    /// Hands the work over and returns at once: it runs on the data plane. Whoever does the work
    /// drops the [`Done`] behind it.
    pub hand_over: Box<dyn FnOnce(Done) + Send>,
    /// How long the request waits at most.
    pub timeout: Duration,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errand({:?})", self.timeout)
    }
}

/// Wakes the request that waits, when it is dropped on whatever thread.
pub struct Done {
    done: Arc<AtomicBool>,
    wake: Box<dyn Fn() + Send>,
}

impl Done {
    pub(crate) fn new(done: Arc<AtomicBool>, wake: Box<dyn Fn() + Send>) -> Done {
        Done { done, wake }
    }

    /// One that nobody waits for, for tests.
    pub fn unheard() -> Done {
        Done::new(Arc::default(), Box::new(|| {}))
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        (self.wake)();
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}
