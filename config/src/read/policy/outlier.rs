//! `[upstream.outlier]`.

use super::{check_order, count};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::Outlier;
use crate::read::reader::Reader;
use crate::read::table::Table;

const IN_A_ROW: Kind = Kind::Integer { min: 0, max: 1000 };

pub(crate) static OUTLIER: Section = Section {
    title: "[upstream.outlier]",
    doc: "Ejects endpoints that answer worse than they should, by the answers to requests. An \
          ejected endpoint gets no requests for a time that grows with each ejection. Each \
          criterion is off at 0. Without this table nothing is ejected.",
    keys: &[
        Key::default(
            "consecutive_5xx",
            IN_A_ROW,
            "5",
            "5xx answers and failures in a row, over all workers, that eject an endpoint; 0 is off.",
        ),
        Key::default(
            "consecutive_gateway",
            IN_A_ROW,
            "5",
            "502, 503 and 504 answers, timeouts and broken connections in a row that eject it; 0 is \
             off.",
        ),
        Key::default(
            "interval",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "10s",
            "How often success rates and latencies of the endpoints are compared.",
        ),
        Key::default(
            "success_rate_deviations",
            Kind::Ratio {
                min: 0.0,
                max: 10.0,
            },
            "1.9",
            "An endpoint whose success rate is this many standard deviations below the mean of all \
             is ejected; 0 is off. At least three endpoints must have had enough requests.",
        ),
        Key::default(
            "latency_factor",
            Kind::Ratio {
                min: 0.0,
                max: 100.0,
            },
            "0.0",
            "An endpoint whose mean latency is this many times the median of all is ejected; 0 is \
             off, else it must be above 1.",
        ),
        Key::default(
            "minimum_requests",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "20",
            "Requests of an interval below which an endpoint is not compared.",
        ),
        Key::default(
            "ejection",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "30s",
            "How long the first ejection lasts; each further one lasts this much longer.",
        ),
        Key::default(
            "ejection_max",
            Kind::Duration {
                min: "100ms",
                max: "24h",
            },
            "300s",
            "How long an ejection lasts at most.",
        ),
        Key::default(
            "ejected_max",
            Kind::Ratio { min: 0.0, max: 1.0 },
            "0.5",
            "Share of the endpoints that may be ejected at a time; one always may, where there are \
             two or more.",
        ),
    ],
};

/// Reads `[upstream.outlier]`; `None` without it.
pub(crate) fn outlier(r: &mut Reader<'_>, upstream: &Table<'_>) -> Option<Outlier> {
    let table = upstream.table(r, "outlier")?;
    let outlier = Outlier {
        consecutive_5xx: count(r, &table, "consecutive_5xx"),
        consecutive_gateway: count(r, &table, "consecutive_gateway"),
        interval: table.duration_or_default(r, "interval"),
        success_rate_deviations: table.ratio_or_default(r, "success_rate_deviations"),
        latency_factor: table.ratio_or_default(r, "latency_factor"),
        minimum_requests: count(r, &table, "minimum_requests"),
        ejection: table.duration_or_default(r, "ejection"),
        ejection_max: table.duration_or_default(r, "ejection_max"),
        ejected_max: table.ratio_or_default(r, "ejected_max"),
    };
    let longest = ("ejection_max", outlier.ejection_max);
    check_order(r, &table, ("ejection", outlier.ejection), longest);
    if let Some(item) = table.item("latency_factor")
        && outlier.latency_factor > 0.0
        && outlier.latency_factor <= 1.0
    {
        let message = "`latency_factor` is not above 1";
        r.report(
            Diagnostic::error("out-of-range", message, item.span())
                .label("half of all endpoints are as slow as that")
                .help("write for example 3.0, or 0 to switch it off"),
        );
    }
    let is_off = outlier.consecutive_5xx == 0
        && outlier.consecutive_gateway == 0
        && outlier.success_rate_deviations <= 0.0
        && outlier.latency_factor <= 0.0;
    if is_off {
        let message = "[upstream.outlier] ejects nothing";
        r.report(
            Diagnostic::warning("no-effect", message, table.span)
                .label("every criterion is 0")
                .help("set one of them, or remove the table"),
        );
    }
    Some(outlier)
}
