//! `canary` and `mirror` of a route.

use std::time::Duration;

use super::count;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::{Canary, Halt, Mirror};
use crate::read::Text;
use crate::read::reader::Reader;
use crate::read::table::Table;
use crate::span::Spanned;

const REFERENCE: Kind = Kind::Text("the name of an [[upstream]]");

pub(crate) static CANARY: Section = Section {
    title: "`canary` of [[route]]",
    doc: "A share of the route's requests that goes to another upstream and grows on its own, \
          beside `upstream`. The clock of the ramp starts with the first configuration that has it \
          and goes on over reloads that leave it as it is; it starts anew with the process. With \
          `split_key` a client that has reached the canary stays with it as the share grows.",
    keys: &[
        Key::required("upstream", REFERENCE, "What is tried out."),
        Key::default(
            "from",
            SHARE,
            "0.05",
            "The share that it begins with; 1 is all.",
        ),
        Key::default("to", SHARE, "1.0", "The share that it ends with."),
        Key::default(
            "over",
            Kind::Duration {
                min: "0s",
                max: "30d",
            },
            "1h",
            "How long the share takes to grow, evenly, from the one to the other.",
        ),
        Key::optional(
            "halt",
            Kind::Table(&HALT),
            "Sends everything back to `upstream` when the canary fails; without it nothing does.",
        ),
    ],
};

const SHARE: Kind = Kind::Ratio { min: 0.0, max: 1.0 };

static HALT: Section = Section {
    title: "`halt` of a canary",
    doc: "When the canary is given up: its share becomes 0, until its settings change or an \
          operator says otherwise.",
    keys: &[
        Key::default(
            "error_ratio",
            Kind::Ratio {
                min: 0.001,
                max: 1.0,
            },
            "0.05",
            "Share of failed requests (5xx, or no answer) to the canary that halts it, if it is \
             larger than the baseline's.",
        ),
        Key::default(
            "minimum_requests",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "50",
            "Requests to the canary in the window below which it is not judged.",
        ),
        Key::default(
            "window",
            Kind::Duration {
                min: "1s",
                max: "1h",
            },
            "1m",
            "The time that the share is of.",
        ),
    ],
};

pub(crate) static MIRROR: Section = Section {
    title: "`mirror` of [[route]]",
    doc: "A copy of a share of the route's requests for another upstream. Its answers are thrown \
          away, nobody waits for them, and a copy that cannot be sent is dropped.",
    keys: &[
        Key::required("upstream", REFERENCE, "Who gets the copies."),
        Key::default(
            "share",
            Kind::Ratio {
                min: 0.0001,
                max: 1.0,
            },
            "1.0",
            "The share of requests that are copied, at random.",
        ),
        Key::default(
            "body_max",
            Kind::Size {
                min: "0B",
                max: "1MiB",
            },
            "64KiB",
            "Requests with a longer body, or one of unknown length, are not copied. It bounds \
             memory per copy.",
        ),
    ],
};

/// Reads `canary`; `None` without it, or without an upstream.
pub(crate) fn canary(r: &mut Reader<'_>, route: &Table<'_>) -> Option<Canary<Spanned<Text>>> {
    let table = route.table(r, "canary")?;
    let upstream = table.required(r, "upstream").and_then(|item| r.text(&item));
    let from = table.ratio_or_default(r, "from");
    let to = table.ratio_or_default(r, "to");
    let over = table.duration_or_default(r, "over");
    let halt = table.table(r, "halt").map(|halt| Halt {
        error_ratio: halt.ratio_or_default(r, "error_ratio"),
        minimum_requests: count(r, &halt, "minimum_requests"),
        window: halt.duration_or_default(r, "window"),
    });
    if from > to {
        let written = table.item("from").or(table.item("to"));
        let span = written.map_or(table.span, |item| item.span());
        r.report(
            Diagnostic::error("contradiction", "`from` is above `to`", span)
                .label(format!("here they are {from} and {to}"))
                .help("a canary's share grows: exchange them"),
        );
    }
    if to <= 0.0 {
        r.report(
            Diagnostic::warning(
                "no-effect",
                "a canary that gets nothing",
                table.span_of("to"),
            )
            .label("its share ends at 0")
            .help("raise `to`, or remove `canary`"),
        );
    }
    if from >= to && over > Duration::ZERO && table.item("over").is_some() {
        r.report(
            Diagnostic::warning("no-effect", "`over` without a ramp", table.span_of("over"))
                .label("`from` and `to` are the same")
                .help("remove it, or make `to` larger than `from`"),
        );
    }
    Some(Canary {
        upstream: upstream?,
        from,
        to,
        over,
        halt,
    })
}

/// Reads `mirror`; `None` without it, or without an upstream.
pub(crate) fn mirror(r: &mut Reader<'_>, route: &Table<'_>) -> Option<Mirror<Spanned<Text>>> {
    let table = route.table(r, "mirror")?;
    let upstream = table.required(r, "upstream").and_then(|item| r.text(&item));
    let share = table.ratio_or_default(r, "share");
    let body_max = table.size_or_default(r, "body_max");
    Some(Mirror {
        upstream: upstream?,
        share,
        body_max,
    })
}
