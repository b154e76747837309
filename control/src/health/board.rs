//! The records of every endpoint that is checked. They outlive reloads and restarts of the
//! task: what is the same by upstream and place, and is asked the same, keeps its record.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

use super::failure::Failure;
use super::record::{Change, Record};
use super::{Check, Place, Standing, State, Target};
use crate::exposition::{Exposition, Kind};

/// Everything that is known from checks.
#[derive(Debug, Default)]
pub(crate) struct Board {
    upstreams: Mutex<BTreeMap<String, Watched>>,
}

#[derive(Debug)]
struct Watched {
    check: Check,
    records: HashMap<Place, Record>,
    outlook: Outlook,
    passed: u64,
    failed: u64,
}

/// Whether there is an endpoint to send requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    Fair,
    /// All are unhealthy, so all are used.
    Panic,
}

/// Whether the node must hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    Same,
    Changed,
}

impl Board {
    /// Takes over what is to be checked. Returns the upstreams that no longer are.
    pub(super) fn adopt(&self, targets: &[Target], now: SystemTime) -> Vec<String> {
        let mut upstreams = self.upstreams();
        let mut former = std::mem::take(&mut *upstreams);
        for target in targets {
            let mut watched = match former.remove(&target.upstream) {
                Some(watched) => watched,
                None => Watched::new(&target.check),
            };
            watched.adopt(target, now);
            watched.look(&target.upstream);
            upstreams.insert(target.upstream.clone(), watched);
        }
        former.into_keys().collect()
    }

    /// Takes the result of a check in. One of an endpoint that has left means nothing.
    pub(super) fn note(
        &self,
        upstream: &str,
        place: &Place,
        result: &Result<(), Failure>,
        now: SystemTime,
    ) -> Noted {
        let mut upstreams = self.upstreams();
        let Some(watched) = upstreams.get_mut(upstream) else {
            return Noted::Same;
        };
        let Some(record) = watched.records.get_mut(place) else {
            return Noted::Same;
        };
        match result {
            Ok(()) => watched.passed += 1,
            Err(_) => watched.failed += 1,
        }
        let Some(change) = record.note(result, &watched.check, now) else {
            return Noted::Same;
        };
        report(upstream, place, &change);
        watched.look(upstream);
        Noted::Changed
    }

    /// How every endpoint of an upstream stands.
    pub(super) fn standings(&self, upstream: &str) -> Vec<(Place, Standing)> {
        let upstreams = self.upstreams();
        let records = upstreams.get(upstream).map(|watched| &watched.records);
        let each = records.into_iter().flatten();
        each.map(|(place, record)| (place.clone(), record.standing().clone()))
            .collect()
    }

    /// Writes the metric families.
    pub(crate) fn write(&self, out: &mut Exposition) {
        let upstreams = self.upstreams();
        out.family(
            "ringgate_upstream_endpoint_healthy",
            Kind::Gauge,
            "1 for an endpoint that health checks let have requests, 0 for one that is out.",
        );
        for (upstream, watched) in upstreams.iter() {
            for (endpoint, usable) in watched.usable_by_address() {
                let labels = [("upstream", &**upstream), ("endpoint", &*endpoint)];
                out.sample(&labels, usable);
            }
        }
        out.family(
            "ringgate_health_checks_total",
            Kind::Counter,
            "Health checks by result.",
        );
        for (upstream, watched) in upstreams.iter() {
            for (result, count) in [("passed", watched.passed), ("failed", watched.failed)] {
                out.sample(&[("upstream", upstream), ("result", result)], count);
            }
        }
    }

    fn upstreams(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn new(check: &Check) -> Self {
        Self {
            check: check.clone(),
            records: HashMap::new(),
            outlook: Outlook::Fair,
            passed: 0,
            failed: 0,
        }
    }

    fn adopt(&mut self, target: &Target, now: SystemTime) {
        let mut former = std::mem::take(&mut self.records);
        // Verdicts on another question say nothing about this one.
        if self.check.question != target.check.question {
            former.clear();
        }
        self.check = target.check.clone();
        for place in &target.places {
            let record = former.remove(place).unwrap_or_else(|| Record::new(now));
            self.records.insert(place.clone(), record);
        }
    }

    /// Says so when the upstream comes to have no healthy endpoint, or has one again.
    fn look(&mut self, upstream: &str) {
        let mut states = self.records.values().map(|record| record.standing().state);
        let outlook = match self.records.is_empty() || states.any(State::is_usable) {
            true => Outlook::Fair,
            false => Outlook::Panic,
        };
        match (std::mem::replace(&mut self.outlook, outlook), outlook) {
            (Outlook::Fair, Outlook::Panic) => warn!(
                upstream,
                endpoints = self.records.len(),
                "every endpoint of the upstream is unhealthy: all of them are used until one has recovered; check the origins, and whether the health check asks the right thing"
            ),
            (Outlook::Panic, Outlook::Fair) => {
                info!(upstream, "the upstream has a healthy endpoint again");
            }
            _ => {}
        }
    }

    /// Places that share an address are one line: usable when all of them are.
    fn usable_by_address(&self) -> BTreeMap<String, bool> {
        let mut lines = BTreeMap::new();
        for (place, record) in &self.records {
            let line = lines.entry(place.address.to_string()).or_insert(true);
            *line &= record.standing().state.is_usable();
        }
        lines
    }
}

fn report(upstream: &str, place: &Place, change: &Change) {
    let endpoint = &place.address;
    let millis = |from: SystemTime| {
        let passed = change.to.since.duration_since(from).unwrap_or_default();
        passed.as_millis() as u64
    };
    match change.to.state {
        State::Unhealthy => warn!(
            upstream,
            %endpoint,
            configured = place.authority,
            why = change.to.why,
            failing_for_ms = millis(change.began),
            "endpoint is unhealthy: it gets no new requests until it has recovered"
        ),
        State::Healthy if change.from.state == State::Unhealthy => info!(
            upstream,
            %endpoint,
            configured = place.authority,
            why = change.to.why,
            unhealthy_for_ms = millis(change.from.since),
            "endpoint is healthy again"
        ),
        State::Healthy | State::Unchecked => {}
    }
}
