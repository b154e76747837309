//! A session for each client, started and ended as the configuration has it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{Client, session};
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
    sessions: HashMap<Box<str>, (Client, AbortHandle)>,
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
                    // A panic is one of this task, which is logged and started again.
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

    /// Starts what is new and ends what is gone or otherwise than it was. Tokens go with what
    /// they were for.
    fn adopt(&self, running: &mut Running) {
        let clients = self.node.oauth_clients();
        self.counters.oauth.adopt(&clients);
        let mut former = std::mem::take(&mut running.sessions);
        for client in clients {
            let known = former.remove(&client.name);
            let kept = known.filter(|(old, task)| {
                let same = old.is_same(&client) && !task.is_finished();
                if !same {
                    task.abort();
                    old.place.clear();
                }
                same
            });
            let session = kept.unwrap_or_else(|| {
                let run = session::run(client.clone(), Arc::clone(&self.counters));
                (client.clone(), running.tasks.spawn(run))
            });
            running.sessions.insert(client.name, session);
        }
        for (client, task) in former.values() {
            task.abort();
            client.place.clear();
        }
    }
}
