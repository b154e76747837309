//! Keeps control tasks alive: a panic ends one run of one task, is logged, and the task starts
//! again after a growing pause.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use crate::backoff::Backoff;
use crate::counters::Counters;

/// The tasks of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Admin,
    Dns,
    Watch,
    Signals,
    Acme,
    Health,
    Quotas,
    Clusters,
    Oauth,
    Consumers,
    Issuers,
}

impl Task {
    pub(crate) const ALL: [Self; 11] = [
        Self::Admin,
        Self::Dns,
        Self::Watch,
        Self::Signals,
        Self::Acme,
        Self::Health,
        Self::Quotas,
        Self::Clusters,
        Self::Oauth,
        Self::Consumers,
        Self::Issuers,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dns => "dns",
            Self::Watch => "watch",
            Self::Signals => "signals",
            Self::Acme => "acme",
            Self::Health => "health",
            Self::Quotas => "quotas",
            Self::Clusters => "clusters",
            Self::Oauth => "oauth",
            Self::Consumers => "consumers",
            Self::Issuers => "issuers",
        }
    }
}

/// Runs what `start` returns until it ends by itself.
pub(crate) async fn supervise<F, R>(task: Task, counters: Arc<Counters>, mut start: F)
where
    F: FnMut() -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    loop {
        let started = Instant::now();
        let Err(failure) = tokio::spawn(start()).await else {
            return;
        };
        let Ok(panic) = failure.try_into_panic() else {
            return;
        };
        if started.elapsed() > STEADY_AFTER {
            backoff.reset();
        }
        let pause = backoff.step();
        counters.restarted(task);
        error!(
            task = task.name(),
            panic = panic_text(panic.as_ref()),
            restart_in_ms = pause.as_millis() as u64,
            "a control task panicked and starts again; traffic is not affected; please report this"
        );
        tokio::time::sleep(pause).await;
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A run this long forgets the panics before it.
const STEADY_AFTER: Duration = Duration::from_secs(60);
