//! Families about endpoints and the state that all cores share of upstreams.

use std::collections::BTreeMap;

use ringgate_config::model;
use ringgate_control::{Exposition, Kind};
use ringgate_core::fleet::Health;
use ringgate_core::snapshot::{Endpoint, Upstream};

use super::Gateway;
use crate::compile;
use crate::gateway::State;
use crate::gateway::endpoints::{Clock, Known, Word};

/// What is told of one address of an upstream.
struct Row {
    word: Word,
    active: u64,
    requests: u64,
    failures: u64,
}

/// What is told of one upstream.
struct Seen<'s> {
    name: &'s str,
    known: usize,
    panics: bool,
    rows: BTreeMap<String, Row>,
}

impl Gateway {
    pub(super) fn write_fleet(&self, out: &mut Exposition) {
        let (state, clock) = (self.state(), Clock::read());
        let written = state.config.upstreams.iter();
        let pairs = written.zip(&state.snapshot.upstreams);
        let all: Vec<Seen<'_>> = pairs
            .map(|(written, upstream)| self.seen(&state, written, upstream, clock))
            .collect();
        write_upstreams(&all, out);
        write_rows(&all, out);
    }

    fn seen<'s>(
        &self,
        state: &'s State,
        written: &'s model::Upstream,
        upstream: &'s Upstream,
        clock: Clock,
    ) -> Seen<'s> {
        let known = Known {
            standings: &state.health,
            drains: &state.drains,
            slow_start: upstream.policy.balance.slow_start,
            clock,
        };
        let all = compile::endpoints(written, &state.addresses, &self.registry);
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for endpoint in all.iter() {
            let row = Row::of(known.stands(written, endpoint).word, endpoint);
            // Endpoints that share an address are one line.
            match rows.entry(endpoint.addr.to_string()) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(row)),
                std::collections::btree_map::Entry::Occupied(mut other) => {
                    other.get_mut().add(&row)
                }
            }
        }
        let out = |endpoint: &Endpoint| endpoint.state.health() == Health::Bad;
        Seen {
            name: &upstream.name,
            known: all.len(),
            panics: !all.is_empty() && all.iter().all(out),
            rows,
        }
    }
}

impl Row {
    fn of(word: Word, endpoint: &Endpoint) -> Row {
        let stats = &endpoint.state.stats;
        Row {
            word,
            active: endpoint.state.active(),
            requests: stats.sum(|stats| &stats.requests),
            failures: stats.sum(|stats| &stats.failures),
        }
    }

    fn add(&mut self, other: &Row) {
        self.active += other.active;
        self.requests += other.requests;
        self.failures += other.failures;
    }
}

fn write_upstreams(all: &[Seen<'_>], out: &mut Exposition) {
    out.family(
        "ringgate_upstream_endpoints",
        Kind::Gauge,
        "Endpoints with an address; an upstream without one answers 503.",
    );
    for seen in all {
        out.sample(&[("upstream", seen.name)], seen.known);
    }
    out.family(
        "ringgate_upstream_panic",
        Kind::Gauge,
        "1 while too few endpoints are well and all are used nevertheless.",
    );
    for seen in all {
        out.sample(&[("upstream", seen.name)], seen.panics);
    }
}

fn write_rows(all: &[Seen<'_>], out: &mut Exposition) {
    let each = || {
        let rows = all.iter().map(|seen| (seen.name, &seen.rows));
        rows.flat_map(|(name, rows)| {
            rows.iter()
                .map(move |(endpoint, row)| (name, &**endpoint, row))
        })
    };
    out.family(
        "ringgate_upstream_endpoint_state",
        Kind::Gauge,
        "1 for the state that an endpoint is in; its other states have no line.",
    );
    for (upstream, endpoint, row) in each() {
        let state = row.word.as_str();
        let labels = [
            ("upstream", upstream),
            ("endpoint", endpoint),
            ("state", state),
        ];
        out.sample(&labels, 1_u64);
    }
    type Figure = (&'static str, Kind, &'static str, fn(&Row) -> u64);
    const FIGURES: [Figure; 3] = [
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
    ];
    for (name, kind, help, figure) in FIGURES {
        out.family(name, kind, help);
        for (upstream, endpoint, row) in each() {
            out.sample(
                &[("upstream", upstream), ("endpoint", endpoint)],
                figure(row),
            );
        }
    }
}
