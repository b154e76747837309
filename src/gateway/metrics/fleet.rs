//! Families about endpoints and the state that all cores share of upstreams and routes.

mod places;
mod routes;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ringgate_control::{Exposition, Kind};
use ringgate_core::resilience::breaker::BreakerState;
use ringgate_core::resilience::outlier::Cause;
use ringgate_core::snapshot::Endpoint;

use super::Gateway;
use crate::gateway::endpoints::{View, Word, upstream_breaker, views};

/// What is told of one address of an upstream.
struct Row {
    word: Word,
    active: u64,
    requests: u64,
    failures: u64,
    opened: u64,
}

/// The addresses of an upstream, by its name.
type Rows<'s> = (&'s str, BTreeMap<String, Row>);

impl Gateway {
    pub(super) fn write_fleet(&self, out: &mut Exposition) {
        let state = self.state();
        let all: Vec<View<'_>> = views(&state, &self.registry).collect();
        write_standings(&all, out);
        write_breakers(&all, out);
        write_ejections(&all, out);
        write_shares(&all, out);
        let rows: Vec<Rows<'_>> = all.iter().map(rows).collect();
        write_rows(&rows, out);
        routes::write(&state.snapshot, &self.registry, out);
    }
}

fn rows<'s>(view: &'s View<'_>) -> Rows<'s> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for endpoint in view.all.iter() {
        let row = Row::of(view.stands(endpoint).word, endpoint);
        // Endpoints that share an address are one line.
        match rows.entry(endpoint.addr.to_string()) {
            Entry::Vacant(place) => drop(place.insert(row)),
            Entry::Occupied(mut other) => other.get_mut().add(&row),
        }
    }
    (&view.upstream.name, rows)
}

impl Row {
    fn of(word: Word, endpoint: &Endpoint) -> Row {
        let stats = &endpoint.state.stats;
        Row {
            word,
            active: endpoint.state.active(),
            requests: stats.sum(|stats| &stats.requests),
            failures: stats.sum(|stats| &stats.failures),
            opened: endpoint.state.breaker.opened(),
        }
    }

    fn add(&mut self, other: &Row) {
        self.active += other.active;
        self.requests += other.requests;
        self.failures += other.failures;
        self.opened += other.opened;
    }
}

fn write_standings(all: &[View<'_>], out: &mut Exposition) {
    out.family(
        "ringgate_upstream_endpoints",
        Kind::Gauge,
        "Endpoints with an address; an upstream without one answers 503.",
    );
    for view in all {
        out.sample(&[("upstream", &view.upstream.name)], view.all.len());
    }
    out.family(
        "ringgate_upstream_endpoints_in_use",
        Kind::Gauge,
        "Endpoints that requests are sent to: those of the first tiers that are well enough.",
    );
    for view in all {
        let used = view.standing().in_use;
        out.sample(&[("upstream", &view.upstream.name)], used);
    }
    out.family(
        "ringgate_upstream_panic",
        Kind::Gauge,
        "1 while too few endpoints are well and all are used nevertheless.",
    );
    for view in all {
        out.sample(&[("upstream", &view.upstream.name)], view.panics());
    }
}

fn write_breakers(all: &[View<'_>], out: &mut Exposition) {
    let broken = || {
        all.iter()
            .filter(|view| upstream_breaker(view.upstream).is_some())
    };
    out.family(
        "ringgate_upstream_breaker_state",
        Kind::Gauge,
        "1 for the state that an upstream's circuit breaker is in: closed, open, half_open.",
    );
    for view in broken() {
        let state = match view.upstream.state.breaker.state() {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen { .. } => "half_open",
        };
        out.sample(
            &[("upstream", &view.upstream.name), ("state", state)],
            1_u64,
        );
    }
    out.family(
        "ringgate_upstream_breaker_opened_total",
        Kind::Counter,
        "Times an upstream's circuit breaker opened.",
    );
    for view in broken() {
        let opened = view.upstream.state.breaker.opened();
        out.sample(&[("upstream", &view.upstream.name)], opened);
    }
}

fn write_ejections(all: &[View<'_>], out: &mut Exposition) {
    let judged = || {
        all.iter()
            .filter(|view| view.upstream.policy.outlier.is_some())
    };
    out.family(
        "ringgate_upstream_endpoints_ejected",
        Kind::Gauge,
        "Endpoints that are ejected now.",
    );
    for view in judged() {
        out.sample(&[("upstream", &view.upstream.name)], view.ejected());
    }
    out.family(
        "ringgate_upstream_ejections_total",
        Kind::Counter,
        "Endpoints ejected, by what for.",
    );
    for view in judged() {
        for cause in Cause::ALL {
            let labels = [("upstream", &*view.upstream.name), ("cause", cause.name())];
            out.sample(&labels, view.upstream.state.outlier.ejections(cause));
        }
    }
    out.family(
        "ringgate_upstream_ejections_withheld_total",
        Kind::Counter,
        "Ejections that did not happen because too many endpoints were out already.",
    );
    for view in judged() {
        let withheld = view.upstream.state.outlier.withheld();
        out.sample(&[("upstream", &view.upstream.name)], withheld);
    }
}

/// Retry budgets and places.
fn write_shares(all: &[View<'_>], out: &mut Exposition) {
    out.family(
        "ringgate_upstream_retry_budget_spent",
        Kind::Gauge,
        "Retries and hedges of the last ten seconds.",
    );
    for view in all {
        if let Some(usage) = view.budget() {
            out.sample(&[("upstream", &view.upstream.name)], usage.spent);
        }
    }
    out.family(
        "ringgate_upstream_retry_budget_allowed",
        Kind::Gauge,
        "Retries and hedges that there might have been in the last ten seconds.",
    );
    for view in all {
        if let Some(usage) = view.budget() {
            out.sample(&[("upstream", &view.upstream.name)], usage.allowed);
        }
    }
    let limited = all.iter().filter_map(|view| {
        let limit = view.upstream.policy.concurrency.as_ref()?;
        Some((&*view.upstream.name, limit, &view.upstream.state.gate))
    });
    places::write("upstream", &limited.collect::<Vec<_>>(), out);
}

type Figure = (&'static str, Kind, &'static str, fn(&Row) -> u64);

const FIGURES: [Figure; 4] = [
    (
        "ringgate_upstream_endpoint_active_requests",
        Kind::Gauge,
        "Requests under way to an endpoint.",
        |row| row.active,
    ),
    (
        "ringgate_upstream_endpoint_requests_total",
        Kind::Counter,
        "Requests to an endpoint that have ended, repeats included.",
        |row| row.requests,
    ),
    (
        "ringgate_upstream_endpoint_failures_total",
        Kind::Counter,
        "Those of them that failed: 5xx, or no answer.",
        |row| row.failures,
    ),
    (
        "ringgate_upstream_endpoint_breaker_opened_total",
        Kind::Counter,
        "Times an endpoint's circuit breaker opened.",
        |row| row.opened,
    ),
];

fn write_rows(all: &[Rows<'_>], out: &mut Exposition) {
    let each = || {
        all.iter().flat_map(|(name, rows)| {
            let rows = rows.iter();
            rows.map(move |(endpoint, row)| (*name, &**endpoint, row))
        })
    };
    out.family(
        "ringgate_upstream_endpoint_state",
        Kind::Gauge,
        "1 for the state that an endpoint is in; its other states have no line.",
    );
    for (upstream, endpoint, row) in each() {
        let labels = [
            ("upstream", upstream),
            ("endpoint", endpoint),
            ("state", row.word.as_str()),
        ];
        out.sample(&labels, 1_u64);
    }
    for (name, kind, help, figure) in FIGURES {
        out.family(name, kind, help);
        for (upstream, endpoint, row) in each() {
            let labels = [("upstream", upstream), ("endpoint", endpoint)];
            out.sample(&labels, figure(row));
        }
    }
}
