//! Families of filters that ask a service who makes a request.

use std::sync::atomic::{AtomicU64, Ordering};

use ringgate_control::{Exposition, Kind};
use ringgate_core::stats::{AskStats, Registry};

type Family = (&'static str, &'static str, fn(&AskStats) -> &AtomicU64);

const FAMILIES: [Family; 4] = [
    (
        "ringgate_auth_asked_total",
        "Questions to the service of a filter about credentials.",
        |stats| &stats.asked,
    ),
    (
        "ringgate_auth_failed_total",
        "Questions that got no answer, or none that says anything.",
        |stats| &stats.failed,
    ),
    (
        "ringgate_auth_refused_total",
        "Requests refused because the service could not be asked.",
        |stats| &stats.refused,
    ),
    (
        "ringgate_auth_let_through_total",
        "Requests that passed although the service could not be asked, as `on_failure` has it.",
        |stats| &stats.let_through,
    ),
];

pub(super) fn write(registry: &Registry, out: &mut Exposition) {
    let mut rows = Vec::new();
    registry.each_asking(|name, stats| {
        let counts = FAMILIES.map(|(_, _, counter)| counter(stats).load(Ordering::Relaxed));
        rows.push((name.to_owned(), counts));
    });
    if rows.is_empty() {
        return;
    }
    for (index, (name, help, _)) in FAMILIES.into_iter().enumerate() {
        out.family(name, Kind::Counter, help);
        for (filter, counts) in &rows {
            out.sample(&[("filter", filter)], counts[index]);
        }
    }
}
