//! A session for each server, started and ended as the configuration has it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::Cluster;
use super::session::Session;
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
    sessions: HashMap<Box<str>, (watch::Sender<Cluster>, AbortHandle)>,
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
                    // One that was ended on purpose is no failure. A panic is one of this task,
                    // which is logged and started again, and the sessions with it.
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

    /// Starts what is new and ends what is gone. A session that is there goes on, and is told
    /// what has changed.
    fn adopt(&self, running: &mut Running) {
        let clusters = self.node.clusters();
        self.counters.clusters.adopt(&clusters);
        let mut former = std::mem::take(&mut running.sessions);
        for cluster in clusters {
            let session = match former.remove(&cluster.name) {
                Some((told, task)) if !task.is_finished() => {
                    told.send_if_modified(|old| {
                        let changes = !same(old, &cluster);
                        if changes {
                            *old = cluster.clone();
                        }
                        changes
                    });
                    (told, task)
                }
                _ => {
                    let (told, changes) = watch::channel(cluster.clone());
                    let session = Session::new(changes, Arc::clone(&self.counters));
                    (told, running.tasks.spawn(session.run()))
                }
            };
            running.sessions.insert(cluster.name, session);
        }
        former.values().for_each(|(_, task)| task.abort());
    }
}

/// Whether there is nothing to tell a session.
fn same(one: &Cluster, other: &Cluster) -> bool {
    let supplies = |cluster: &Cluster| -> Vec<_> {
        let each = cluster.supplies.iter();
        each.map(|supply| (supply.identity(), supply.terms(), supply.reconcile()))
            .collect()
    };
    (&one.url, one.nodes, one.timeout) == (&other.url, other.nodes, other.timeout)
        && supplies(one) == supplies(other)
}
