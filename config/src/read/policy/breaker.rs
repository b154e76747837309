//! `[upstream.breaker]`.

use super::{check_order, count};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::model::{Breaker, BreakerScope};
use crate::read::reader::Reader;
use crate::read::table::Table;
use crate::units::show_duration;

pub(crate) static BREAKER: Section = Section {
    title: "[upstream.breaker]",
    doc: "The circuit breaker. It counts requests over all workers. When too many of them fail or \
          are slow it opens: requests get 503, or the fallback, without a look at the origin. \
          After `open_for` it lets `probes` trial requests through, one set at a time; when all \
          succeed it closes, when one fails it opens again for twice as long, up to \
          `open_for_max`. Without this table there is none.",
    keys: &[
        Key::default(
            "scope",
            Kind::Choice(BreakerScope::WORDS),
            "upstream",
            "What opens: the upstream as a whole, each endpoint for itself (others then get its \
             requests), or both.",
        ),
        Key::default(
            "error_ratio",
            Kind::Ratio {
                min: 0.01,
                max: 1.0,
            },
            "0.5",
            "Share of failed requests in the window that opens it; 1 is all of them. Failed are \
             5xx answers, timeouts and connections that break.",
        ),
        Key::optional(
            "slow_after",
            Kind::Duration {
                min: "1ms",
                max: "1h",
            },
            "A response head that takes longer is slow. Without it slowness does not count.",
        ),
        Key::default(
            "slow_ratio",
            Kind::Ratio {
                min: 0.01,
                max: 1.0,
            },
            "0.5",
            "Share of slow requests in the window that opens it; only with `slow_after`.",
        ),
        Key::default(
            "window",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "10s",
            "The sliding time that the shares are of.",
        ),
        Key::default(
            "minimum_requests",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "20",
            "Requests in the window below which it stays closed.",
        ),
        Key::default(
            "open_for",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "5s",
            "How long it stays open before requests try the upstream again.",
        ),
        Key::default(
            "open_for_max",
            Kind::Duration {
                min: "100ms",
                max: "24h",
            },
            "1m",
            "How long it stays open at most, each failed trial doubling the time.",
        ),
        Key::default(
            "probes",
            Kind::Integer { min: 1, max: 1000 },
            "3",
            "Trial requests; all have to succeed to close it.",
        ),
        Key::default(
            "reconcile",
            Kind::Duration {
                min: "1ms",
                max: "1s",
            },
            "10ms",
            "How often the counts of the workers are added up, and so how late a worker may learn \
             of a change.",
        ),
    ],
};

/// Reads `[upstream.breaker]`; `None` without it.
pub(crate) fn breaker(r: &mut Reader<'_>, upstream: &Table<'_>) -> Option<Breaker> {
    let table = upstream.table(r, "breaker")?;
    let breaker = Breaker {
        scope: table.word_or_default(r, "scope"),
        error_ratio: table.ratio_or_default(r, "error_ratio"),
        slow_after: table.duration(r, "slow_after"),
        slow_ratio: table.ratio_or_default(r, "slow_ratio"),
        window: table.duration_or_default(r, "window"),
        minimum_requests: count(r, &table, "minimum_requests"),
        open_for: table.duration_or_default(r, "open_for"),
        open_for_max: open_for_max(r, &table),
        probes: count(r, &table, "probes"),
        reconcile: table.duration_or_default(r, "reconcile"),
    };
    let open_for_max = ("open_for_max", breaker.open_for_max);
    check_order(r, &table, ("open_for", breaker.open_for), open_for_max);
    if let Some(item) = table.item("slow_ratio")
        && table.item("slow_after").is_none()
    {
        let message = "`slow_ratio` without `slow_after`";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("no request counts as slow")
                .help("add for example slow_after = \"1s\", or remove it"),
        );
    }
    if breaker.reconcile * 10 > breaker.window {
        let written = table.item("reconcile").or(table.item("window"));
        let span = written.map_or(table.span, |item| item.span());
        let message = "`reconcile` is longer than a tenth of `window`";
        r.report(
            Diagnostic::warning("impossible-limit", message, span)
                .label(format!(
                    "here they are {} and {}: the window is over before all counts are in",
                    show_duration(breaker.reconcile),
                    show_duration(breaker.window)
                ))
                .help("make `reconcile` shorter or `window` longer"),
        );
    }
    Some(breaker)
}

/// Where it is not written beside a long `open_for`, it is as long as that.
fn open_for_max(r: &mut Reader<'_>, table: &Table<'_>) -> std::time::Duration {
    let written = table.duration(r, "open_for_max");
    let default = table.section.default_duration("open_for_max");
    // A second look at `open_for` must not report it a second time.
    let reported = r.diagnostics.len();
    let open_for = table.duration(r, "open_for").unwrap_or_default();
    r.diagnostics.truncate(reported);
    written.unwrap_or(default.max(open_for))
}
