//! Filters that count: `rate_limit`, `quota` and `concurrency_limit`.

mod keys;
mod overrides;

use std::time::Duration;

use toml::de::DeValue;

use crate::diagnostic::Diagnostic;
use crate::leaf;
use crate::model::{
    Algorithm, ConcurrencyLimit, FilterKind, KeyPart, LimiterKey, Name, Period, Quota, Rate,
    RateLimit, Weight,
};
use crate::read::policy::key as read_key;
use crate::read::rate::rate;
use crate::read::reader::Reader;
use crate::read::table::{Item, Table, bounded_integer, entries_of, no_entries};
use crate::span::{Span, Spanned};
use crate::units::show_duration;
use keys::{COST, RATE, WEIGHT};

pub(super) use keys::{CONCURRENCY_LIMIT, QUOTA, RATE_LIMIT};

pub(super) fn rate_limit(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let key = limiter_key(r, table);
    let limits = limits(r, table);
    let has_burst = limits.iter().any(|limit| limit.burst > 0);
    let written = table.item("algorithm");
    let written = written.and_then(|item| r.word::<Algorithm>(&item));
    let reconcile = table.duration_or_default(r, "reconcile");
    let (weight, told) = weight(r, table);
    let redis = table.item("redis").and_then(|item| r.name(&item));
    let (dry_run, fields) = (
        table.bool_or_default(r, "dry_run"),
        table.bool_or_default(r, "fields"),
    );
    let status = status(r, table);
    let chosen = written.as_ref().map(|written| written.value);
    let algorithm = algorithm(chosen, has_burst);
    let overrides = overrides::of_rates(r, table, chosen);
    check_reconcile(r, table, &limits, reconcile);
    // Of a bucket without a burst one request passes at a time, however many a window has.
    let capacity = limits.iter().map(|limit| match algorithm {
        Algorithm::TokenBucket => limit.burst + 1,
        Algorithm::FixedWindow | Algorithm::SlidingWindow => limit.limit + limit.burst,
    });
    check_weight(r, &weight, told, capacity.min());
    check_burst(r, written.as_ref(), &limits);
    check_shared(r, redis.as_ref(), &limits);
    let key = key?;
    (!limits.is_empty()).then(|| {
        FilterKind::RateLimit(Box::new(RateLimit {
            key,
            limits,
            algorithm,
            reconcile,
            weight,
            dry_run,
            fields,
            redis,
            status,
            overrides,
        }))
    })
}

pub(super) fn quota(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let key = limiter_key(r, table);
    let limit = table.required(r, "limit");
    let limit = limit.and_then(|item| bounded_integer(r, &item));
    let per = table.required(r, "per");
    let per = per.and_then(|item| r.word::<Period>(&item));
    let (weight, told) = weight(r, table);
    let (dry_run, fields) = (
        table.bool_or_default(r, "dry_run"),
        table.bool_or_default(r, "fields"),
    );
    let status = status(r, table);
    let overrides = overrides::of_quotas(r, table);
    check_weight(r, &weight, told, limit.map(i64::unsigned_abs));
    Some(FilterKind::Quota(Box::new(Quota {
        key: key?,
        limit: limit?.unsigned_abs(),
        per: per?.value,
        weight,
        dry_run,
        fields,
        status,
        overrides,
    })))
}

/// How is counted where nothing, or this, is said of it.
fn algorithm(chosen: Option<Algorithm>, has_burst: bool) -> Algorithm {
    match (chosen, has_burst) {
        (Some(chosen), _) => chosen,
        (None, true) => Algorithm::TokenBucket,
        (None, false) => Algorithm::SlidingWindow,
    }
}

pub(super) fn concurrency_limit(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let key = limiter_key(r, table);
    let max = table.required(r, "max");
    let max = max.and_then(|item| bounded_integer(r, &item));
    let status = status(r, table);
    Some(FilterKind::ConcurrencyLimit(ConcurrencyLimit {
        key: key?,
        max: u32::try_from(max?).ok()?,
        status,
    }))
}

fn limiter_key(r: &mut Reader<'_>, table: &Table<'_>) -> Option<LimiterKey> {
    let read = table.required(r, "key").and_then(|item| read_key(r, &item));
    let bits =
        |r: &mut Reader<'_>, key| u8::try_from(table.integer_or_default(r, key)).unwrap_or(u8::MAX);
    let (ipv4_prefix, ipv6_prefix) = (bits(r, "ipv4_prefix"), bits(r, "ipv6_prefix"));
    let keys_max = table.integer_or_default(r, "keys_max");
    let parts = read?;
    let counts_addresses = parts.iter().any(|part| part.value == KeyPart::ClientIp);
    check_forged(r, &parts);
    for prefix in ["ipv4_prefix", "ipv6_prefix"] {
        if let Some(span) = table.key_span(prefix).filter(|_| !counts_addresses) {
            let message = format!("`{prefix}` without \"client_ip\" in `key`");
            r.report(
                Diagnostic::warning("no-effect", message, span)
                    .label("addresses are not counted by")
                    .help("remove it, or add \"client_ip\" to `key`"),
            );
        }
    }
    Some(LimiterKey {
        parts,
        keys_max: u32::try_from(keys_max).unwrap_or(u32::MAX),
        ipv4_prefix,
        ipv6_prefix,
    })
}

/// A client that counts by what it says of its own address is never limited.
fn check_forged(r: &mut Reader<'_>, parts: &[Spanned<KeyPart>]) {
    for part in parts {
        if let KeyPart::Header(name) = &part.value
            && ADDRESS_HEADERS.contains(&&**name)
        {
            let message = format!("clients can write what they like in `{name}`");
            r.report(
                Diagnostic::warning("open-trust", message, part.span)
                    .label("a new value is a new key, and is not limited yet")
                    .help(
                        "use \"client_ip\", and name the proxies in front of this gateway in \
                         `trusted` of [forwarded]",
                    ),
            );
        }
    }
}

const ADDRESS_HEADERS: [&str; 5] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "true-client-ip",
    "cf-connecting-ip",
];

/// `limits`, or `limit`, `per` and `burst` as the only one; empty when that was wrong.
fn limits(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Rate>> {
    const SINGLE: [&str; 3] = ["limit", "per", "burst"];
    let Some(list) = table.item("limits") else {
        let one = rate(r, table);
        return one
            .map(|rate| Spanned::new(rate, table.span_of("limit")))
            .into_iter()
            .collect();
    };
    if let Some(span) = SINGLE.iter().find_map(|key| table.key_span(key)) {
        let message = "`limit`, `per` and `burst` stand in `limits`, or without it";
        r.report(
            Diagnostic::error("conflicting-keys", message, span)
                .label("beside `limits`")
                .help("make it one more entry of `limits`")
                .related(list.span(), "`limits`"),
        );
    }
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() && list.value.get_ref().is_array() {
        no_entries(
            r,
            &list,
            "limits nothing",
            "add { limit = 10, per = \"1s\" }",
        );
    }
    if items.len() > LIMITS_MAX {
        let message = format!("more than {LIMITS_MAX} limits at once");
        r.report(
            Diagnostic::error("out-of-range", message, list.span())
                .label("each costs time at every request")
                .help("leave out what the others imply"),
        );
    }
    let mut limits: Vec<Spanned<Rate>> = Vec::with_capacity(items.len());
    for item in &items {
        let rate = r.open(item, &RATE).and_then(|table| rate(r, &table));
        limits.extend(rate.map(|rate| Spanned::new(rate, item.span())));
    }
    check_each_other(r, &limits);
    limits
}

const LIMITS_MAX: usize = 8; // more say no more than these, and each costs time and memory

/// A limit that another one keeps anybody from reaching says nothing.
fn check_each_other(r: &mut Reader<'_>, limits: &[Spanned<Rate>]) {
    for (index, one) in limits.iter().enumerate() {
        // So many may come in `one.per` by the other limit alone.
        let most = |other: &Rate| {
            let periods = one.per.as_millis().div_ceil(other.per.as_millis().max(1));
            u128::from(other.limit) * periods + u128::from(other.burst)
        };
        let reached = |other: &&(usize, &Spanned<Rate>)| {
            other.0 != index && most(other.1) <= u128::from(one.limit)
        };
        let others: Vec<_> = limits.iter().enumerate().collect();
        let Some((at, other)) = others.iter().find(reached) else {
            continue;
        };
        // Of two alike the second is superfluous.
        let alike = one.limit == other.limit && one.per == other.per && one.burst == other.burst;
        if alike && index < *at {
            continue;
        }
        r.report(
            Diagnostic::warning("impossible-limit", "this limit is never reached", one.span)
                .label(format!(
                    "{} in {} lets fewer through already",
                    other.limit,
                    show_duration(other.per)
                ))
                .help("remove it, or make it lower")
                .related(other.span, "the other limit"),
        );
    }
}

fn check_reconcile(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    limits: &[Spanned<Rate>],
    reconcile: Duration,
) {
    let Some(shortest) = limits.iter().min_by_key(|limit| limit.per) else {
        return;
    };
    if reconcile * 10 > shortest.per {
        let written = table.item("reconcile");
        let span = written.map_or(shortest.span, |item| item.span());
        let message = "`reconcile` is longer than a tenth of `per`";
        r.report(
            Diagnostic::warning("impossible-limit", message, span)
                .label(format!(
                    "here they are {} and {}: less than the limit will get through",
                    show_duration(reconcile),
                    show_duration(shortest.per)
                ))
                .help("make `reconcile` shorter, or `per` longer with as much more `limit`"),
        );
    }
}

/// A window admits `limit` and `burst` in every `per`: there a burst is nothing but more limit.
fn check_burst(
    r: &mut Reader<'_>,
    algorithm: Option<&Spanned<Algorithm>>,
    limits: &[Spanned<Rate>],
) {
    let windows = algorithm.filter(|algorithm| algorithm.value != Algorithm::TokenBucket);
    let bursting = limits.iter().find(|limit| limit.burst > 0);
    if let (Some(windows), Some(limit)) = (windows, bursting) {
        let Rate {
            limit: count,
            per,
            burst,
        } = limit.value;
        let message = "windows have no burst: it only makes the limit larger";
        r.report(
            Diagnostic::warning("no-effect", message, limit.span)
                .label(format!(
                    "{} may come in every {}, with or without a pause before",
                    count.saturating_add(burst),
                    show_duration(per)
                ))
                .help("add `burst` to `limit` and remove it, or count by \"token_bucket\"")
                .related(windows.span, "counts by windows"),
        );
    }
}

/// A request that counts for more than there ever is never passes; `told` is what bounds the
/// number in a header.
fn check_weight(r: &mut Reader<'_>, weight: &Weight, told: Option<Span>, capacity: Option<u64>) {
    if let (Some(capacity), Some(span)) = (capacity, told)
        && u64::from(weight.max) > capacity
    {
        let message = "a request can say that it counts for more than there ever is";
        r.report(
            Diagnostic::warning("impossible-limit", message, span)
                .label(format!(
                    "up to {}, and {capacity} can come at once: what says more never passes",
                    weight.max
                ))
                .help(format!(
                    "make `max` {capacity} or lower, or raise `burst` (or `limit`, where windows are counted)"
                )),
        );
    }
    let heaviest = weight.methods.iter().max_by_key(|(_, cost)| *cost);
    if let (Some(capacity), Some((method, cost))) = (capacity, heaviest)
        && u64::from(*cost) > capacity
    {
        let message = format!(
            "{} can never pass: it counts for more than there ever is",
            method.value
        );
        r.report(
            Diagnostic::error("impossible-limit", message, method.span)
                .label(format!(
                    "counts for {cost}, and {capacity} can come at once"
                ))
                .help("lower the weight, or raise `burst` (or `limit`, where windows are counted)"),
        );
    }
}

/// What nodes share is granted in parts of seconds.
fn check_shared(r: &mut Reader<'_>, redis: Option<&Spanned<Name>>, limits: &[Spanned<Rate>]) {
    let Some(redis) = redis else {
        return;
    };
    let short = limits.iter().find(|limit| limit.per < SHARED_PER_MIN);
    if let Some(limit) = short {
        let message = "nodes cannot share a limit for less than a second";
        r.report(
            Diagnostic::error("impossible-limit", message, limit.span)
                .label(format!("here `per` is {}", show_duration(limit.per)))
                .help("make `per` \"1s\" or longer, or remove `redis`")
                .related(redis.span, "shared through this"),
        );
    }
}

const SHARED_PER_MIN: Duration = Duration::from_secs(1);

fn status(r: &mut Reader<'_>, table: &Table<'_>) -> u16 {
    u16::try_from(table.integer_or_default(r, "status")).unwrap_or(429)
}

/// Also returns what bounds the number in a header, where there is one.
fn weight(r: &mut Reader<'_>, table: &Table<'_>) -> (Weight, Option<Span>) {
    let table = table.table_or_empty(r, "weight", &WEIGHT);
    let header = table.parsed(r, "header", leaf::header_name);
    let max = u32::try_from(table.integer_or_default(r, "max")).unwrap_or(u32::MAX);
    let methods = table.item("methods").map(|item| methods(r, &item));
    if let Some(item) = table.item("max")
        && table.item("header").is_none()
    {
        r.report(
            Diagnostic::warning("no-effect", "`max` without `header`", item.span())
                .label("bounds the number that a request's header says")
                .help("remove it, or add `header`"),
        );
    }
    let bound = table.item("max").map(|item| item.span());
    let told = header.as_ref().map(|header| bound.unwrap_or(header.span));
    let weight = Weight {
        methods: methods.unwrap_or_default(),
        header: header.map(|header| header.value),
        max,
    };
    (weight, told)
}

fn methods(r: &mut Reader<'_>, item: &Item<'_>) -> Vec<(Spanned<Box<str>>, u32)> {
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(item);
        return Vec::new();
    };
    let mut methods = Vec::with_capacity(entries.len());
    for (span, entry) in entries_of(item.file, entries, &COST) {
        let method = match leaf::method(entry.name) {
            Ok(method) => Some(Spanned::new(method, span)),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                None
            }
        };
        let cost = bounded_integer(r, &entry).and_then(|cost| u32::try_from(cost).ok());
        methods.extend(method.zip(cost));
    }
    methods
}
