//! Has the counts written, once a second and on a blocking thread.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::Quotas;
use crate::node::Node;

/// The writing, not yet running.
#[derive(Clone)]
pub(crate) struct Keeper {
    node: Arc<dyn Node>,
}

impl Keeper {
    pub(crate) fn new(node: &Arc<dyn Node>) -> Self {
        Self {
            node: Arc::clone(node),
        }
    }

    pub(crate) async fn run(self) {
        let mut turns = interval(FLUSH_EVERY);
        // A disk that took long is not asked twice at once.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let Some(Quotas { store, quotas }) = self.node.quotas() else {
                continue;
            };
            let written =
                tokio::task::spawn_blocking(move || store.flush(&quotas, SystemTime::now()));
            // A panic here is one of this task: it is logged, and the task starts again.
            if let Err(failure) = written.await
                && let Ok(panic) = failure.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// What a crash may lose at most, beside the time that one write takes.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
