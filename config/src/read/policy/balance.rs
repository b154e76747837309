//! `balance`, `hash_key` and `bounded_load`.

use super::key::{KEY, key};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind};
use crate::model::{Balance, Choice};
use crate::read::reader::Reader;
use crate::read::table::Table;

/// The keys that upstreams and routes have in common, without `balance`.
pub(crate) const BALANCE_KEYS: [Key; 2] = [
    Key::optional(
        "hash_key",
        KEY,
        "What \"consistent_hash\" hashes: one part of the request or a list of them; required with \
         it. A request without any of the parts gets an endpoint as with \"random_two\".",
    ),
    Key::optional(
        "bounded_load",
        Kind::Ratio {
            min: 1.05,
            max: 10.0,
        },
        "With \"consistent_hash\" and \"ip_hash\": how many times the mean load an endpoint may \
         have before a key moves on to the next one, such as 1.25. No bound without it.",
    ),
];

/// Where the keys stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The default is "round_robin".
    Upstream,
    /// The default is what the upstream does.
    Route,
}

/// Reads how endpoints are picked; `None` for a route that leaves it to its upstream.
pub(crate) fn choice(r: &mut Reader<'_>, table: &Table<'_>, place: Place) -> Option<Choice> {
    let written = table.item("balance");
    let balance = written.and_then(|item| r.word::<Balance>(&item));
    let hash_key = table.item("hash_key");
    let key = hash_key.and_then(|item| key(r, &item));
    let bounded_load = table.ratio(r, "bounded_load");
    let unreadable = written.is_some() && balance.is_none();
    let algorithm = balance.map_or(Balance::RoundRobin, |word| word.value);
    if !unreadable {
        check(r, table, algorithm);
    }
    let is_left = place == Place::Route && written.is_none();
    (!is_left).then_some(Choice {
        balance: algorithm,
        key: key.filter(|_| algorithm == Balance::ConsistentHash),
        bounded_load,
    })
}

fn check(r: &mut Reader<'_>, table: &Table<'_>, algorithm: Balance) {
    let is_consistent = algorithm == Balance::ConsistentHash;
    let hash_key = table.item("hash_key");
    if let Some(item) = table.item("balance").filter(|_| is_consistent)
        && hash_key.is_none()
    {
        let message = "\"consistent_hash\" without `hash_key`";
        r.report(
            Diagnostic::error("missing-key", message, item.span())
                .label("nothing says what is hashed")
                .help("add for example hash_key = \"header:x-user\", or use \"ip_hash\""),
        );
    }
    let has_hash = is_consistent || algorithm == Balance::IpHash;
    for (key, fits, help) in [
        (
            "hash_key",
            is_consistent,
            "set `balance = \"consistent_hash\"` beside it, or remove it",
        ),
        (
            "bounded_load",
            has_hash,
            "set `balance` to \"consistent_hash\" or \"ip_hash\" beside it, or remove it",
        ),
    ] {
        if let Some(span) = table.key_span(key).filter(|_| !fits) {
            let out = Diagnostic::error(
                "contradiction",
                format!("`{key}` without a balance that hashes it"),
                span,
            )
            .label(match table.item("balance") {
                Some(_) => format!("\"{algorithm}\" has no use for it"),
                None => "there is no `balance` here".to_owned(),
            })
            .help(help);
            r.report(match table.item("balance") {
                Some(written) => out.related(written.span(), "the balance"),
                None => out,
            });
        }
    }
}
