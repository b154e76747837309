//! `[upstream.concurrency]` and `[route.concurrency]`.

use super::count;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::{Adaptive, Concurrency};
use crate::read::reader::Reader;
use crate::read::table::{Table, bounded_integer};

pub(crate) static UPSTREAM_CONCURRENCY: Section = Section {
    title: "[upstream.concurrency]",
    doc: "Requests of the upstream at a time, over all workers. A request that finds no place \
          waits in a queue, first come first served; when the queue is full or the wait too long \
          it gets 503. Without this table there is no limit.",
    keys: KEYS,
};

pub(crate) static ROUTE_CONCURRENCY: Section = Section {
    title: "[route.concurrency]",
    doc: "The keys of [upstream.concurrency], for the requests of one route; the upstream's own \
          limit holds beside it.",
    keys: KEYS,
};

static ADAPTIVE: Section = Section {
    title: "`adaptive` of concurrency",
    doc: "The limit follows latency between `min` and `max`: it grows while requests are about as \
          fast as at their best, and shrinks as they queue in the origin.",
    keys: &[
        Key::default("min", COUNT, "10", "The limit never falls below."),
        Key::default(
            "tolerance",
            Kind::Ratio {
                min: 1.0,
                max: 10.0,
            },
            "1.5",
            "How many times the best latency is no sign of queueing.",
        ),
        Key::default(
            "interval",
            Kind::Duration {
                min: "10ms",
                max: "1m",
            },
            "1s",
            "How often the limit moves.",
        ),
    ],
};

const COUNT: Kind = Kind::Integer {
    min: 1,
    max: 1_000_000,
};

const KEYS: &[Key] = &[
    Key::required(
        "max",
        COUNT,
        "Requests at a time; with `adaptive` the most that the limit grows to.",
    ),
    Key::default(
        "queue_max",
        Kind::Integer {
            min: 0,
            max: 100_000,
        },
        "0",
        "Requests that may wait for a place; 0 refuses at once. It bounds memory and how late an \
         answer can be.",
    ),
    Key::default(
        "queue_timeout",
        Kind::Duration {
            min: "1ms",
            max: "10m",
        },
        "1s",
        "How long a request waits before it gets 503.",
    ),
    Key::optional(
        "adaptive",
        Kind::Table(&ADAPTIVE),
        "Has the limit follow latency; fixed without this table.",
    ),
];

/// Reads the limit of an upstream or a route; `None` without the table or without `max`.
pub(crate) fn concurrency(r: &mut Reader<'_>, parent: &Table<'_>) -> Option<Concurrency> {
    let table = parent.table(r, "concurrency")?;
    let max = table.required(r, "max");
    let max = max.and_then(|item| bounded_integer(r, &item));
    let queue_max = count(r, &table, "queue_max");
    let queue_timeout = table.duration_or_default(r, "queue_timeout");
    let adaptive = table.table(r, "adaptive");
    let bounds = adaptive.map(|adaptive| Adaptive {
        min: count(r, &adaptive, "min"),
        tolerance: adaptive.ratio_or_default(r, "tolerance"),
        interval: adaptive.duration_or_default(r, "interval"),
    });
    let max = u32::try_from(max?).unwrap_or(u32::MAX);
    if let (Some(bounds), Some(adaptive)) = (&bounds, adaptive)
        && bounds.min > max
    {
        let span = adaptive.span_of("min");
        r.report(
            Diagnostic::error("contradiction", "`min` is above `max`", span)
                .label(format!("here they are {} and {max}", bounds.min))
                .help("lower `min` or raise `max`")
                .related(table.span_of("max"), "`max`"),
        );
    }
    if let Some(item) = table.item("queue_timeout")
        && queue_max == 0
    {
        let message = "`queue_timeout` without a queue";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("`queue_max` is 0: nothing waits")
                .help("set `queue_max`, or remove it"),
        );
    }
    Some(Concurrency {
        max,
        queue_max,
        queue_timeout,
        adaptive: bounds,
    })
}
