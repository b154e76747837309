//! Which core a process runs on. A child inherits the affinity of the thread that starts it,
//! so that it is in its place from its first instruction.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::fault::{Fault, Result};

/// The number of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Core(pub usize);

/// Who runs where: the proxy alone on one core, load and origin on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Places {
    /// Where the proxies run.
    pub proxy: Core,
    /// Where the load, the origin and the bench itself run.
    pub load: Core,
}

impl Places {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// When it may use one only.
    pub fn choose() -> Result<Places> {
        let allowed = sched_getaffinity(None)
            .map_err(|error| Fault::io("ask for the allowed cores", &error.into()))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(proxy), Some(load)) => Ok(Places {
                proxy: Core(proxy),
                load: Core(load),
            }),
            _ => Err(Fault::Setup(
                "two cores are needed, one for the proxy and one for load and origin; \
                 widen the affinity of this shell (taskset, cpuset of the container)"
                    .to_owned(),
            )),
        }
    }
}

/// Runs `action` with this thread, and whatever it starts, on one core.
///
/// # Errors
/// When the system refuses, or what `action` fails with.
pub fn on<T>(core: Core, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let refused = |error: rustix::io::Errno| Fault::io("pin to a core", &error.into());
    let before = sched_getaffinity(None).map_err(refused)?;
    let mut only = CpuSet::new();
    only.set(core.0);
    sched_setaffinity(None, &only).map_err(refused)?;
    let outcome = action();
    sched_setaffinity(None, &before).map_err(refused)?;
    outcome
}
