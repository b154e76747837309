//! A session for each place that has keys, started and ended as the configuration has it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::session::Session;
use super::{Place, Source};
use crate::counters::Counters;
use crate::node::Node;

/// The sessions, not yet running.
#[derive(Clone)]
pub(crate) struct Keeper {
    node: Arc<dyn Node>,
    counters: Arc<Counters>,
    changed: watch::Receiver<u64>,
}

/// The sessions that run. Dropping it ends them.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    sessions: HashMap<Place, (watch::Sender<Source>, AbortHandle)>,
}

impl Keeper {
    /// `changed` says that the configuration may be another.
    pub(crate) fn new(
        node: &Arc<dyn Node>,
        counters: &Arc<Counters>,
        changed: watch::Receiver<u64>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            counters: Arc::clone(counters),
            changed,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut running = Running::default();
        self.adopt(&mut running);
        loop {
            tokio::select! {
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                }
                Some(ended) = running.tasks.join_next() => {
                    // One that was ended on purpose is no failure; a panic is this task's.
                    if let Err(failure) = ended
                        && let Ok(panic) = failure.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
            self.adopt(&mut running);
        }
    }

    /// Starts what is new and ends what is gone; what is there goes on by what is written now.
    fn adopt(&self, running: &mut Running) {
        let sources = self.node.key_sources();
        self.counters.jwks.adopt(&sources);
        let mut former = std::mem::take(&mut running.sessions);
        for source in sources {
            let place = source.place.clone();
            let session = match former.remove(&place) {
                Some((told, task)) if !task.is_finished() => {
                    told.send_if_modified(|old| {
                        let differs = (old.refresh, old.timeout, &old.issuers)
                            != (source.refresh, source.timeout, &source.issuers)
                            || !Arc::ptr_eq(&old.wanted, &source.wanted);
                        *old = source.clone();
                        differs
                    });
                    (told, task)
                }
                _ => {
                    let (told, source) = watch::channel(source);
                    let session = Session {
                        node: Arc::clone(&self.node),
                        counters: Arc::clone(&self.counters),
                        source,
                    };
                    (told, running.tasks.spawn(session.run()))
                }
            };
            running.sessions.insert(place, session);
        }
        former.values().for_each(|(_, task)| task.abort());
    }
}
