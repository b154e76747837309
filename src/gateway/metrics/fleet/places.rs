//! Families about limits of requests at a time.

use ringgate_control::{Exposition, Kind};
use ringgate_core::policy::Concurrency;
use ringgate_core::resilience::concurrency::Gate;

/// A name, its limit, and where that stands.
pub(super) type Place<'p> = (&'p str, &'p Concurrency, &'p Gate);

/// Writes what the limits of upstreams or routes (`of`) have come to.
pub(super) fn write(of: &str, all: &[Place<'_>], out: &mut Exposition) {
    type Figure = (&'static str, &'static str, fn(&Place<'_>) -> u32);
    const FIGURES: [Figure; 3] = [
        (
            "limited_requests",
            "Requests under way that a limit of requests at a time counts.",
            |(_, _, gate)| gate.inside(),
        ),
        (
            "limited_requests_max",
            "How many of them there may be now; an adaptive limit moves.",
            |(_, limit, gate)| gate.limit(limit),
        ),
        (
            "queued",
            "Requests that wait for their place.",
            |(_, _, gate)| gate.waiting(),
        ),
    ];
    for (name, help, figure) in FIGURES {
        out.family(&format!("ringgate_{of}_{name}"), Kind::Gauge, help);
        for place in all {
            out.sample(&[(of, place.0)], figure(place));
        }
    }
}
