//! The checks themselves: a task for each endpoint, started and ended as the configuration and
//! the addresses of names have it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::board::Noted;
use super::failure::Failure;
use super::probe::Probe;
use super::{Check, Place, Target, Way};
use crate::backoff::{jittered, random_fraction};
use crate::counters::Counters;
use crate::node::Node;

/// The checks, not yet running.
#[derive(Clone)]
pub(crate) struct Checker {
    node: Arc<dyn Node>,
    counters: Arc<Counters>,
    changed: watch::Receiver<u64>,
    moved: Arc<Notify>,
}

/// The checks that run.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    rounds: HashMap<(String, Place), Round>,
}

/// A task and what it was started on.
struct Round {
    check: Check,
    way: Way,
    task: AbortHandle,
}

impl Checker {
    /// `changed` says that the configuration may be another, `moved` that names have other
    /// addresses.
    pub(crate) fn new(
        node: &Arc<dyn Node>,
        counters: &Arc<Counters>,
        changed: watch::Receiver<u64>,
        moved: &Arc<Notify>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            counters: Arc::clone(counters),
            changed,
            moved: Arc::clone(moved),
        }
    }

    pub(crate) async fn run(mut self) {
        let slots = Arc::new(Semaphore::new(CHECKS_MAX));
        let mut running = Running::default();
        self.adopt(&mut running, &slots);
        loop {
            tokio::select! {
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                }
                () = self.moved.notified() => {}
                Some(ended) = running.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(ended) => ended.id(),
                    };
                    // One that was ended on purpose is forgotten already.
                    let Some((upstream, place)) = running.forget(id) else {
                        continue;
                    };
                    self.conclude(&upstream, &place, &Err(Failure::Panicked));
                }
            }
            self.adopt(&mut running, &slots);
        }
    }

    /// Starts what is new, ends what is gone, and tells the node all verdicts again: a reload
    /// may have been compiled from older ones.
    fn adopt(&self, running: &mut Running, slots: &Arc<Semaphore>) {
        let targets = self.node.health_checks();
        for upstream in self.counters.health.adopt(&targets, SystemTime::now()) {
            self.node.judged(&upstream, Vec::new());
        }
        let mut former = std::mem::take(&mut running.rounds);
        for target in &targets {
            let standings = self.counters.health.standings(&target.upstream);
            self.node.judged(&target.upstream, standings);
            for place in &target.places {
                let key = (target.upstream.clone(), place.clone());
                let same = former.remove(&key).filter(|round| round.serves(target));
                let round = same.unwrap_or_else(|| Round {
                    check: target.check.clone(),
                    way: target.way.clone(),
                    task: running.tasks.spawn(self.clone().watch(
                        key.clone(),
                        Probe::new(target, place),
                        target.check.interval,
                        Arc::clone(slots),
                    )),
                });
                // A place twice in one target would leave the first task without an owner.
                if let Some(twin) = running.rounds.insert(key, round) {
                    twin.task.abort();
                }
            }
        }
        former.into_values().for_each(|round| round.task.abort());
    }

    /// Checks one endpoint for as long as it is there.
    async fn watch(
        self,
        (upstream, place): (String, Place),
        probe: Probe,
        interval: Duration,
        slots: Arc<Semaphore>,
    ) {
        sleep(interval.min(START_SPREAD).mul_f64(random_fraction())).await;
        loop {
            // The semaphore is never closed.
            let slot = slots.acquire().await;
            let began = Instant::now();
            let result = probe.check().await;
            drop(slot);
            self.conclude(&upstream, &place, &result);
            sleep_until(began + jittered(interval)).await;
        }
    }

    fn conclude(&self, upstream: &str, place: &Place, result: &Result<(), Failure>) {
        let board = &self.counters.health;
        if board.note(upstream, place, result, SystemTime::now()) == Noted::Changed {
            self.node.judged(upstream, board.standings(upstream));
        }
    }
}

impl Round {
    fn serves(&self, target: &Target) -> bool {
        self.check == target.check && self.way == target.way && !self.task.is_finished()
    }
}

impl Running {
    /// Whose task has panicked.
    fn forget(&mut self, id: Id) -> Option<(String, Place)> {
        let round = self.rounds.iter().find(|(_, round)| round.task.id() == id);
        let key = round.map(|(key, _)| key.clone())?;
        self.rounds.remove(&key);
        Some(key)
    }
}

/// Checks under way at a time; more of them wait for their turn.
const CHECKS_MAX: usize = 64;
/// Over how long the first checks are spread, unless the interval is shorter.
const START_SPREAD: Duration = Duration::from_secs(1);

/// A checker in the hands of a test.
#[cfg(test)]
pub(super) struct Rounds {
    checker: Checker,
    running: Running,
    slots: Arc<Semaphore>,
}

#[cfg(test)]
impl Checker {
    pub(super) fn rounds(self) -> Rounds {
        Rounds {
            checker: self,
            running: Running::default(),
            slots: Arc::new(Semaphore::new(CHECKS_MAX)),
        }
    }
}

#[cfg(test)]
impl Rounds {
    /// Adopts what the node has, and returns the tasks that run then.
    pub(super) fn adopt(&mut self) -> Vec<Id> {
        self.checker.adopt(&mut self.running, &self.slots);
        let rounds = self.running.rounds.values();
        rounds.map(|round| round.task.id()).collect()
    }
}
