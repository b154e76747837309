//! Parts of the configuration that are checked in full but that this build does not act on.
//! Whoever opens a table that holds them reports that (see [`Stage`](crate::keys::Stage)).

use super::reader::Reader;
use super::table::Table;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::Name;
use crate::span::Spanned;

pub(crate) static BREAKER: Section = Section {
    title: "[upstream.breaker]",
    doc: "The circuit breaker. Not supported yet.",
    keys: &[
        Key::default(
            "error_ratio",
            Kind::Ratio { min: 0.0, max: 1.0 },
            "0.5",
            "Share of failed requests in the window that opens it.",
        ),
        Key::default(
            "window",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "10s",
            "The time that failures are counted over.",
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
            "How long it stays open before requests probe the upstream.",
        ),
        Key::default(
            "probes",
            Kind::Integer { min: 1, max: 1000 },
            "3",
            "Good probes that close it.",
        ),
    ],
};

pub(crate) static RETRY: Section = Section {
    title: "[upstream.retry]",
    doc: "Retries of failed requests. Not supported yet.",
    keys: &[
        Key::default(
            "attempts",
            Kind::Integer { min: 0, max: 10 },
            "1",
            "Attempts beside the first.",
        ),
        Key::default(
            "on",
            Kind::List(&Kind::Choice(RETRY_ON)),
            "[\"connect\"]",
            "What is retried: failures to connect, resets, or statuses.",
        ),
        Key::default(
            "budget",
            Kind::Ratio { min: 0.0, max: 1.0 },
            "0.2",
            "Largest share of requests that may be retries.",
        ),
    ],
};

const RETRY_ON: &[&str] = &["connect", "reset", "500", "502", "503", "504"];

pub(crate) static CONSUMER: Section = Section {
    title: "[[consumer]]",
    doc: "Who may use the API. Not supported yet.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among consumers.",
        ),
        Key::optional(
            "api_keys",
            Kind::List(&Kind::Secret("\"sha256:\" and the digest of a key")),
            "Digests of the consumer's keys. They are never shown.",
        ),
    ],
};

pub(crate) static RATE_LIMIT: Section = Section {
    title: "[filter.NAME] of type \"rate_limit\"",
    doc: "Limits how often something may be asked for. Not supported yet.",
    keys: &[
        super::filter::TYPE,
        Key::required(
            "key",
            Kind::Text("\"client_ip\", \"consumer\", \"route\", \"header:NAME\" or \"claim:NAME\""),
            "What each limit is counted for.",
        ),
        Key::required(
            "limit",
            Kind::Integer {
                min: 1,
                max: 1_000_000_000,
            },
            "Requests that `per` allows.",
        ),
        Key::required(
            "per",
            Kind::Duration {
                min: "1ms",
                max: "24h",
            },
            "The time that `limit` is for.",
        ),
        Key::default(
            "burst",
            Kind::Integer {
                min: 0,
                max: 1_000_000_000,
            },
            "0",
            "Requests beyond `limit` that may come at once.",
        ),
        Key::default(
            "reconcile",
            Kind::Duration {
                min: "1ms",
                max: "10s",
            },
            "10ms",
            "How often the limiters of the cores settle accounts.",
        ),
    ],
};

pub(crate) static API_KEY: Section = Section {
    title: "[filter.NAME] of type \"api_key\"",
    doc: "Asks for the key of a consumer. Not supported yet.",
    keys: &[
        super::filter::TYPE,
        Key::default(
            "header",
            Kind::Text("a header name"),
            "x-api-key",
            "The header that carries the key.",
        ),
    ],
};

fn check_choices(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str, words: &[&str]) {
    for item in table.list(r, key) {
        if let Some(text) = r.text(&item) {
            r.choice(&item, &text, words);
        }
    }
}

/// Checks what an upstream says about breaker and retries.
pub(crate) fn resilience(r: &mut Reader<'_>, upstream: &Table<'_>) {
    if let Some(breaker) = upstream.table(r, "breaker") {
        breaker.ratio(r, "error_ratio");
        breaker.duration(r, "window");
        breaker.integer(r, "minimum_requests");
        breaker.duration(r, "open_for");
        breaker.integer(r, "probes");
    }
    if let Some(retry) = upstream.table(r, "retry") {
        retry.integer(r, "attempts");
        check_choices(r, &retry, "on", RETRY_ON);
        retry.ratio(r, "budget");
    }
}

/// Checks a filter of a type that this build does not run.
pub(crate) fn filter(r: &mut Reader<'_>, table: &Table<'_>, tag: &str) {
    match tag {
        "rate_limit" => {
            if let Some(item) = table.required(r, "key") {
                r.parsed(&item, leaf::limiter_key);
            }
            if table.required(r, "limit").is_some() {
                table.integer(r, "limit");
            }
            if table.required(r, "per").is_some() {
                table.duration(r, "per");
            }
            table.integer(r, "burst");
            table.duration(r, "reconcile");
        }
        "api_key" => {
            table.parsed(r, "header", leaf::header_name);
        }
        _ => debug_assert!(false, "no checks for {tag}"),
    }
}

/// Checks a consumer; its name is checked against the others later.
pub(crate) fn consumer(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Spanned<Name>> {
    for item in table.list(r, "api_keys") {
        r.hidden(&item, leaf::key_digest);
    }
    table.required(r, "name").and_then(|item| r.name(&item))
}
