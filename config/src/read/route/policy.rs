//! The traffic policies of a route, and what contradicts its action.

use super::Text;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Word};
use crate::leaf;
use crate::model::{Balance, RoutePolicy, Urgency};
use crate::read::policy::{
    BALANCE_KEYS, CANARY, KEY, MIRROR, Place, ROUTE_CONCURRENCY, ROUTE_FALLBACK, ROUTE_RETRY,
    canary, choice, concurrency, fallback, key, mirror, retry,
};
use crate::read::reader::Reader;
use crate::read::table::Table;
use crate::span::Spanned;

pub(super) const KEYS: [Key; 11] = [
    Key::optional(
        "balance",
        Kind::Choice(Balance::WORDS),
        "How an endpoint is picked for this route, in place of the upstream's way.",
    ),
    BALANCE_KEYS[0],
    BALANCE_KEYS[1],
    Key::optional(
        "split_key",
        KEY,
        "What `split` and `canary` hash in place of a draw: requests with the same key go to the \
         same upstream as long as the weights stay. Requests that have nothing of it are drawn.",
    ),
    Key::optional(
        "canary",
        Kind::Table(&CANARY),
        "An upstream that is tried out, beside `upstream`.",
    ),
    Key::optional(
        "mirror",
        Kind::Table(&MIRROR),
        "An upstream that gets copies of requests.",
    ),
    Key::optional(
        "retry",
        Kind::Table(&ROUTE_RETRY),
        "Retries, in place of the upstream's.",
    ),
    Key::optional(
        "concurrency",
        Kind::Table(&ROUTE_CONCURRENCY),
        "Requests of the route at a time.",
    ),
    Key::optional(
        "fallback",
        Kind::Table(&ROUTE_FALLBACK),
        "Who answers when the upstream cannot, in place of the upstream's fallback.",
    ),
    Key::default(
        "urgency",
        Kind::Choice(Urgency::WORDS),
        "normal",
        "How early its requests are refused (503) when there is too much to do, see [overload]: \
         \"low\" first, \"critical\" never.",
    ),
    Key::optional(
        "deadline_header",
        Kind::Text("a header name such as \"x-request-deadline-ms\""),
        "The request header that tells the origin how many milliseconds are left of the route's \
         `timeout`; a client's own shortens it. gRPC has `grpc-timeout`, which needs no key.",
    ),
];

/// Policies whose upstreams are still names.
pub(crate) type RawPolicy = RoutePolicy<Spanned<Text>>;

pub(super) fn policy(r: &mut Reader<'_>, table: &Table<'_>) -> RawPolicy {
    let split_key = table.item("split_key").and_then(|item| key(r, &item));
    let policy = RoutePolicy {
        balance: choice(r, table, Place::Route),
        split_key,
        canary: canary(r, table),
        mirror: mirror(r, table),
        retry: retry(r, table),
        concurrency: concurrency(r, table),
        fallback: fallback(r, table),
        urgency: table.word_or_default(r, "urgency"),
        deadline_header: deadline_header(r, table),
    };
    check_action(r, table);
    policy
}

fn deadline_header(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Box<str>> {
    let name = table.parsed(r, "deadline_header", leaf::header_name)?;
    if let Some(help) = leaf::untouchable(&name) {
        let message = "the deadline cannot be carried in this header";
        r.report(Diagnostic::error("forbidden-header", message, name.span).help(help));
    }
    Some(name.value)
}

/// Policies that only make sense beside an upstream.
const UPSTREAM_ONLY: [&str; 8] = [
    "balance",
    "hash_key",
    "bounded_load",
    "canary",
    "mirror",
    "retry",
    "fallback",
    "deadline_header",
];

fn check_action(r: &mut Reader<'_>, table: &Table<'_>) {
    let constant = table.item("respond").or(table.item("redirect"));
    if let Some(action) = constant {
        for key in UPSTREAM_ONLY {
            if let Some(span) = table.key_span(key) {
                let message = format!("`{key}` has no effect with `{}`", action.name);
                r.report(
                    Diagnostic::error("conflicting-keys", message, span)
                        .label("no upstream is asked")
                        .help("remove it")
                        .related(action.span(), "answers without an upstream"),
                );
            }
        }
    }
    if let Some(span) = table.key_span("canary")
        && let Some(split) = table.item("split")
    {
        let message = "`canary` and `split` exclude each other";
        r.report(
            Diagnostic::error("conflicting-keys", message, span)
                .label("a canary takes its share from one `upstream`")
                .help("write `upstream` in place of `split`, or a branch in place of `canary`")
                .related(split.span(), "the split"),
        );
    }
    if let Some(span) = table.key_span("split_key")
        && table.item("split").is_none()
        && table.item("canary").is_none()
    {
        r.report(
            Diagnostic::warning("no-effect", "`split_key` without `split` or `canary`", span)
                .label("there is nothing to choose from")
                .help("remove it; for endpoints there are `balance` and `hash_key`"),
        );
    }
}
