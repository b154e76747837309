//! Families about the state that all cores share of routes.

use std::sync::Arc;

use ringgate_control::{Exposition, Kind};
use ringgate_core::fleet::RouteState;
use ringgate_core::policy::{Canary, Concurrency};
use ringgate_core::resilience::canary::Side;
use ringgate_core::rt::clock::Moment;
use ringgate_core::stats::Registry;

use super::places;
use crate::compile::Snapshot;

pub(super) fn write(snapshot: &Snapshot, registry: &Registry, out: &mut Exposition) {
    write_places(snapshot, registry, out);
    write_canaries(snapshot, registry, out);
}

fn write_places(snapshot: &Snapshot, registry: &Registry, out: &mut Exposition) {
    let routes = snapshot.routes.iter();
    let limited: Vec<(&str, &Concurrency, Arc<RouteState>)> = routes
        .filter_map(|route| {
            let limit = route.policy.concurrency.as_ref()?;
            Some((&*route.name, limit, registry.route_state(&route.name)))
        })
        .collect();
    let places = limited
        .iter()
        .map(|(name, limit, state)| (*name, *limit, &state.gate));
    places::write("route", &places.collect::<Vec<_>>(), out);
}

fn write_canaries(snapshot: &Snapshot, registry: &Registry, out: &mut Exposition) {
    let routes = snapshot.routes.iter();
    let ramps: Vec<(&str, &Canary, Arc<RouteState>)> = routes
        .filter_map(|route| {
            let spec = route.policy.canary.as_ref()?;
            Some((&*route.name, spec, registry.route_state(&route.name)))
        })
        .collect();
    let now = Moment::now();
    out.family(
        "ringgate_route_canary_share",
        Kind::Gauge,
        "Share of a route's requests that its canary gets, 0 to 1.",
    );
    for (route, spec, state) in &ramps {
        out.sample(&[("route", route)], state.ramp.share(spec, now));
    }
    out.family(
        "ringgate_route_canary_halted",
        Kind::Gauge,
        "1 for a canary that failed too often and gets no requests until it is resumed or changed.",
    );
    for (route, _, state) in &ramps {
        out.sample(&[("route", route)], state.ramp.halted().is_some());
    }
    type Figure = (&'static str, &'static str, fn((u64, u64)) -> u64);
    const FIGURES: [Figure; 2] = [
        (
            "ringgate_route_canary_requests_total",
            "Requests of a route with a canary, by side.",
            |totals| totals.0,
        ),
        (
            "ringgate_route_canary_failures_total",
            "Those of them that failed.",
            |totals| totals.1,
        ),
    ];
    for (name, help, figure) in FIGURES {
        out.family(name, Kind::Counter, help);
        for (route, _, state) in &ramps {
            for (word, side) in [("baseline", Side::Baseline), ("canary", Side::Canary)] {
                out.sample(
                    &[("route", route), ("side", word)],
                    figure(state.ramp.totals(side)),
                );
            }
        }
    }
}
