//! The background refresh: a queue of names by the time they are due, a bounded number of
//! lookups in flight, and the last good addresses of every name.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use super::lookup::{Answer, LookupError, Names};
use super::{DnsOptions, LOOKUPS_MAX};
use crate::backoff::{Backoff, jittered};
use crate::counters::Counters;
use crate::node::Node;

/// The background refresh, not yet running.
#[derive(Clone)]
pub(crate) struct Refresher {
    node: Arc<dyn Node>,
    counters: Arc<Counters>,
    options: Arc<DnsOptions>,
    changed: watch::Receiver<u64>,
    moved: Arc<Notify>,
}

impl Refresher {
    /// `changed` says that the node's targets may be others than before; `moved` is told of
    /// other addresses.
    pub(crate) fn new(
        node: &Arc<dyn Node>,
        counters: &Arc<Counters>,
        options: DnsOptions,
        changed: watch::Receiver<u64>,
        moved: &Arc<Notify>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            counters: Arc::clone(counters),
            options: Arc::new(options),
            changed,
            moved: Arc::clone(moved),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut names = Names::new(Arc::clone(&self.options));
        let mut schedule = Schedule::default();
        self.adopt_targets(&mut schedule);
        let mut lookups = JoinSet::new();
        let mut running: HashMap<Id, Arc<str>> = HashMap::new();
        let mut files = interval(FILES_INTERVAL);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while lookups.len() < LOOKUPS_MAX
                && let Some(name) = schedule.take_due(Instant::now())
            {
                let names = names.clone();
                let asked = Arc::clone(&name);
                let task = lookups.spawn(async move { names.lookup(&asked).await });
                running.insert(task.id(), name);
            }
            let due = schedule.next_due().filter(|_| lookups.len() < LOOKUPS_MAX);
            tokio::select! {
                Some(done) = lookups.join_next_with_id(), if !lookups.is_empty() => {
                    let (id, result) = match done {
                        Ok((id, result)) => (id, result),
                        Err(panic) => (panic.id(), Err(LookupError::panicked())),
                    };
                    if let Some(name) = running.remove(&id) {
                        self.finish(&mut schedule, &name, result);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                    self.adopt_targets(&mut schedule);
                }
                _ = files.tick() => {
                    if names.reread() {
                        info!("/etc/resolv.conf or /etc/hosts changed: looking every name up again");
                        schedule.all_due(Instant::now());
                    }
                }
            }
        }
    }

    /// Takes over the node's targets, and tells it what is known already: a reload may have
    /// been compiled from older addresses.
    fn adopt_targets(&self, schedule: &mut Schedule) {
        let mut wanted: HashMap<String, Vec<Place>> = HashMap::new();
        for target in self.node.resolve_targets() {
            wanted.entry(target.endpoint).or_default().push(Place {
                upstream: target.upstream,
                port: target.port,
            });
        }
        schedule.adopt(wanted, &self.options, Instant::now());
        for (name, entry) in &schedule.entries {
            self.deliver(name, entry);
        }
        self.count_names(schedule);
    }

    fn finish(&self, schedule: &mut Schedule, name: &str, result: Result<Answer, LookupError>) {
        // The name may have left the configuration while it was looked up.
        let Some(entry) = schedule.entries.get_mut(name) else {
            return;
        };
        let pause = match result {
            Ok(answer) => {
                self.counters.lookups_answered.fetch_add(1, Relaxed);
                let recovered = std::mem::take(&mut entry.health) == Health::Failing;
                entry.backoff.reset();
                if recovered {
                    self.counters.names_failing.fetch_sub(1, Relaxed);
                    info!(name, addresses = ?answer.addresses, "name resolves again");
                }
                if answer.addresses != entry.good {
                    if !entry.good.is_empty() && !recovered {
                        info!(name, old = ?entry.good, new = ?answer.addresses, "addresses of a name changed");
                    } else {
                        debug!(name, addresses = ?answer.addresses, "name resolved");
                    }
                    entry.good = answer.addresses;
                    self.deliver(name, entry);
                }
                answer.ttl
            }
            Err(cause) => {
                self.counters.lookups_failed.fetch_add(1, Relaxed);
                if std::mem::replace(&mut entry.health, Health::Failing) == Health::Good {
                    self.counters.names_failing.fetch_add(1, Relaxed);
                    warn!(
                        name,
                        upstream = entry.places.first().map(|place| place.upstream.as_str()),
                        %cause,
                        last_good = ?entry.good,
                        "name lookup failed; addresses known before stay in use, and it is tried again; check the name and the name server"
                    );
                }
                entry.backoff.step()
            }
        };
        schedule.put_back(name, Instant::now() + jittered(pause));
    }

    fn deliver(&self, name: &str, entry: &Entry) {
        if entry.good.is_empty() {
            return;
        }
        for place in &entry.places {
            let addresses: Vec<_> = entry
                .good
                .iter()
                .map(|&address| SocketAddr::new(address, place.port))
                .collect();
            self.node.resolved(&place.upstream, name, &addresses);
        }
        self.moved.notify_one();
    }

    fn count_names(&self, schedule: &Schedule) {
        let failing = schedule
            .entries
            .values()
            .filter(|entry| entry.health == Health::Failing)
            .count();
        self.counters
            .names
            .store(schedule.entries.len() as u64, Relaxed);
        self.counters.names_failing.store(failing as u64, Relaxed);
    }
}

/// Names and when they are due. A name is in `queue` or being looked up; both only when it
/// left the configuration and came back during one lookup.
#[derive(Default)]
struct Schedule {
    entries: HashMap<Arc<str>, Entry>,
    queue: BTreeSet<(Instant, Arc<str>)>,
}

struct Entry {
    places: Vec<Place>,
    good: Vec<IpAddr>,
    health: Health,
    backoff: Backoff,
    /// Absent while the name is looked up.
    due: Option<Instant>,
}

/// Where a name is used.
struct Place {
    upstream: String,
    port: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Health {
    #[default]
    Good,
    Failing,
}

impl Schedule {
    fn adopt(
        &mut self,
        mut wanted: HashMap<String, Vec<Place>>,
        options: &DnsOptions,
        now: Instant,
    ) {
        let queue = &mut self.queue;
        self.entries
            .retain(|name, entry| match wanted.remove(&**name) {
                Some(places) => {
                    entry.places = places;
                    true
                }
                None => {
                    if let Some(due) = entry.due {
                        queue.remove(&(due, Arc::clone(name)));
                    }
                    false
                }
            });
        for (name, places) in wanted {
            let name: Arc<str> = name.into();
            queue.insert((now, Arc::clone(&name)));
            self.entries.insert(
                name,
                Entry {
                    places,
                    good: Vec::new(),
                    health: Health::Good,
                    backoff: Backoff::new(options.ttl_min, options.retry_max),
                    due: Some(now),
                },
            );
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    fn take_due(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, name) = self.queue.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.due = None;
        }
        Some(name)
    }

    fn put_back(&mut self, name: &str, due: Instant) {
        let Some((name, _)) = self.entries.get_key_value(name) else {
            return;
        };
        let name = Arc::clone(name);
        if let Some(entry) = self.entries.get_mut(&name)
            && entry.due.is_none()
        {
            entry.due = Some(due);
            self.queue.insert((due, name));
        }
    }

    fn all_due(&mut self, now: Instant) {
        self.queue = std::mem::take(&mut self.queue)
            .into_iter()
            .map(|(_, name)| (now, name))
            .collect();
        for (_, name) in &self.queue {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.due = Some(now);
            }
        }
    }
}

/// How often the system's files are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(10);
