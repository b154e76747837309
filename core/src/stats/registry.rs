//! Counters and shared states by name.
#![allow(
    clippy::disallowed_types,
    reason = "names are for the control plane; workers hold what they stand for"
)]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::{AskStats, FilterStats, PerCore, RouteStats, UpstreamStats, WorkerStats};
use crate::counts::Counts;
use crate::fleet::{RouteState, UpstreamState};

/// Counters by name. They outlive reloads: the same name means the same counters.
#[derive(Debug)]
pub struct Registry {
    cores: usize,
    /// One set per core.
    pub workers: PerCore<WorkerStats>,
    /// Resident memory of the process, as the control plane last saw it; zero before.
    pub resident_bytes: AtomicU64,
    named: Mutex<Named>,
}

#[derive(Debug, Default)]
struct Named {
    routes: BTreeMap<Box<str>, Arc<PerCore<RouteStats>>>,
    upstreams: BTreeMap<Box<str>, Arc<PerCore<UpstreamStats>>>,
    filters: BTreeMap<Box<str>, Arc<PerCore<FilterStats>>>,
    asks: BTreeMap<Box<str>, Arc<AskStats>>,
    states: BTreeMap<Box<str>, Arc<UpstreamState>>,
    counts: BTreeMap<Box<str>, Arc<Counts>>,
    route_states: BTreeMap<Box<str>, Arc<RouteState>>,
}

impl Registry {
    /// Counters for `cores` data-plane threads.
    pub fn new(cores: usize) -> Registry {
        Registry {
            cores,
            workers: PerCore::new(cores),
            resident_bytes: AtomicU64::new(0),
            named: Mutex::default(),
        }
    }

    /// The counters of a route.
    pub fn route(&self, name: &str) -> Arc<PerCore<RouteStats>> {
        let cores = self.cores;
        self.with(|named| obtain(&mut named.routes, name, cores))
    }

    /// The counters of an upstream.
    pub fn upstream(&self, name: &str) -> Arc<PerCore<UpstreamStats>> {
        let cores = self.cores;
        self.with(|named| obtain(&mut named.upstreams, name, cores))
    }

    /// The counters of a filter.
    pub fn filter(&self, name: &str) -> Arc<PerCore<FilterStats>> {
        let cores = self.cores;
        self.with(|named| obtain(&mut named.filters, name, cores))
    }

    /// The counters of a filter that asks others.
    pub fn asks(&self, filter: &str) -> Arc<AskStats> {
        self.with(|named| Arc::clone(named.asks.entry(filter.into()).or_default()))
    }

    /// What all cores know of an upstream.
    pub fn upstream_state(&self, name: &str) -> Arc<UpstreamState> {
        let cores = self.cores;
        self.with(|named| {
            let fresh = || Arc::new(UpstreamState::new(cores));
            Arc::clone(named.states.entry(name.into()).or_insert_with(fresh))
        })
    }

    /// The count table of a filter. One for another number of keys is a new one: what the former
    /// one counts ends with the requests that are under way.
    pub fn counts(&self, filter: &str, keys_max: usize) -> Arc<Counts> {
        self.with(|named| match named.counts.get(filter) {
            Some(counts) if counts.keys_max() == keys_max => Arc::clone(counts),
            _ => {
                let counts = Arc::new(Counts::new(keys_max));
                named.counts.insert(filter.into(), Arc::clone(&counts));
                counts
            }
        })
    }

    /// What all cores know of a route.
    pub fn route_state(&self, name: &str) -> Arc<RouteState> {
        let cores = self.cores;
        self.with(|named| {
            let fresh = || Arc::new(RouteState::new(cores));
            Arc::clone(named.route_states.entry(name.into()).or_insert_with(fresh))
        })
    }

    /// Drops the counters of names that nothing else holds any more; called after a reload
    /// once every core has let go of the former snapshot.
    pub fn prune(&self) {
        self.with(|named| {
            keep_held(&mut named.routes);
            keep_held(&mut named.upstreams);
            keep_held(&mut named.filters);
            keep_held(&mut named.asks);
            keep_held(&mut named.counts);
            keep_held(&mut named.route_states);
            keep_held(&mut named.states);
            named.states.values().for_each(|state| state.prune());
        });
    }

    /// Calls back for every route's counters, in the order of names.
    pub fn each_route(&self, mut visit: impl FnMut(&str, &PerCore<RouteStats>)) {
        self.with(|named| {
            named
                .routes
                .iter()
                .for_each(|(name, stats)| visit(name, stats))
        });
    }

    /// Calls back for every upstream's counters, in the order of names.
    pub fn each_upstream(&self, mut visit: impl FnMut(&str, &PerCore<UpstreamStats>)) {
        self.with(|named| {
            named
                .upstreams
                .iter()
                .for_each(|(name, stats)| visit(name, stats))
        });
    }

    /// Calls back for every filter's counters, in the order of names.
    pub fn each_filter(&self, mut visit: impl FnMut(&str, &PerCore<FilterStats>)) {
        self.with(|named| {
            named
                .filters
                .iter()
                .for_each(|(name, stats)| visit(name, stats))
        });
    }

    /// Calls back for the counters of every filter that asks others, in the order of names.
    pub fn each_asking(&self, mut visit: impl FnMut(&str, &AskStats)) {
        self.with(|named| {
            named
                .asks
                .iter()
                .for_each(|(name, stats)| visit(name, stats))
        });
    }

    fn with<R>(&self, act: impl FnOnce(&mut Named) -> R) -> R {
        // Control plane only: workers hold their counters by reference.
        act(&mut self.named.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keep_held<T>(map: &mut BTreeMap<Box<str>, Arc<T>>) {
    map.retain(|_, held| Arc::strong_count(held) > 1);
}

fn obtain<T: Default>(
    map: &mut BTreeMap<Box<str>, Arc<PerCore<T>>>,
    name: &str,
    cores: usize,
) -> Arc<PerCore<T>> {
    match map.get(name) {
        Some(stats) => Arc::clone(stats),
        None => {
            let stats = Arc::new(PerCore::new(cores));
            map.insert(name.into(), Arc::clone(&stats));
            stats
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::CoreIndex;

    #[test]
    fn counters_outlive_a_reload_by_name_and_go_when_unused() {
        let registry = Registry::new(2);
        let route = registry.route("a");
        route.of(CoreIndex(1)).sent.add(5);
        drop(route);
        assert_eq!(registry.route("a").sum(|stats| &stats.sent), 5);
        registry.prune();
        assert_eq!(registry.route("a").sum(|stats| &stats.sent), 0);
    }
}
