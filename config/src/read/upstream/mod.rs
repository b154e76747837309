//! `[[upstream]]`.

mod health;
mod tls;

use std::num::NonZeroU16;

use super::http2;
use super::policy::{
    BALANCE_KEYS, BREAKER, OUTLIER, Place, RawFallback, STICKY, UPSTREAM_CONCURRENCY,
    UPSTREAM_FALLBACK, UPSTREAM_RETRY, breaker, choice, concurrency, fallback, outlier, retry,
    sticky,
};
use super::reader::Reader;
use super::table::{Item, Table};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{Balance, Choice, Endpoint, ProxyVersion, Upstream, UpstreamProtocol};

pub(crate) use tls::TLS;

pub(crate) const NAME: &str = "a name of 1 to 64 of the characters `A-Z a-z 0-9 . _ -`";

const ADDRESS: &str =
    "an address such as \"10.0.0.7:8080\", \"users.internal:8080\" or \"unix:/run/users.sock\"";

static ENDPOINT: Section = Section {
    title: "an endpoint of [[upstream]]",
    doc: "An endpoint with a weight; a bare string is an endpoint of weight 1.",
    keys: &[
        Key::required(
            "address",
            Kind::Text(ADDRESS),
            "Where it is. The control plane resolves names and follows their TTL.",
        ),
        Key::default(
            "weight",
            Kind::Integer {
                min: 1,
                max: 65_535,
            },
            "1",
            "Its share beside the other endpoints.",
        ),
        Key::default(
            "priority",
            Kind::Integer { min: 0, max: 255 },
            "0",
            "The group that it belongs to. The group with the lowest number takes all requests \
             while enough of it is available, see `failover_below`; numbers may be left out.",
        ),
        Key::optional(
            "zone",
            Kind::Text(NAME),
            "Where it stands. Within a group, endpoints of the zone in [node] go first.",
        ),
        Key::default(
            "drain",
            Kind::Bool,
            "false",
            "Whether it gets no new requests; those under way end in peace. The admin API can do \
             the same without a reload.",
        ),
    ],
};

pub(crate) static UPSTREAM: Section = Section {
    title: "[[upstream]]",
    doc: "Where requests are sent. Each worker keeps its own pool of connections.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(NAME),
            "Unique among upstreams; routes refer to it.",
        ),
        Key::default(
            "balance",
            Kind::Choice(Balance::WORDS),
            "round_robin",
            "How an endpoint is picked: in turn by weight; the fewest requests in flight; the less \
             loaded of two drawn at random; of two drawn at random the one that has answered \
             faster of late; by a hash of the client's address; or by a hash of `hash_key` that \
             moves few keys when endpoints change.",
        ),
        BALANCE_KEYS[0],
        BALANCE_KEYS[1],
        Key::default(
            "failover_below",
            Kind::Ratio { min: 0.0, max: 1.0 },
            "0.7",
            "While a smaller share of a group's weight is available, the group of the next \
             `priority` helps it; 0 waits until none is.",
        ),
        Key::default(
            "panic_below",
            Kind::Ratio { min: 0.0, max: 1.0 },
            "0.5",
            "While a smaller share of all weight is available, what health checks and ejections \
             say is not believed and all endpoints are used: better some errors than a rush on \
             the few that are left. 0 does so only when none is left.",
        ),
        Key::default(
            "slow_start",
            Kind::Duration {
                min: "0s",
                max: "1h",
            },
            "0s",
            "How long an endpoint that is back takes to get its full share; 0 is at once.",
        ),
        Key::default(
            "endpoint_requests_max",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "0",
            "Requests of one endpoint at a time, over all workers; one that has as many is not \
             picked. 0 is no limit.",
        ),
        Key::optional(
            "sticky",
            Kind::Table(&STICKY),
            "A cookie that keeps a client with its endpoint.",
        ),
        Key::required(
            "endpoints",
            Kind::List(&Kind::Either(&[
                Kind::Text(ADDRESS),
                Kind::Table(&ENDPOINT),
            ])),
            "At least one address, or table of address, weight and place.",
        ),
        Key::default(
            "connect_timeout",
            Kind::Duration {
                min: "1ms",
                max: "5m",
            },
            "1s",
            "Limit for opening a connection; then the client gets 504.",
        ),
        Key::default(
            "response_timeout",
            Kind::Duration {
                min: "1ms",
                max: "24h",
            },
            "15s",
            "Limit from the end of the request to the end of the response head; then 504.",
        ),
        Key::default(
            "read_timeout",
            Kind::Duration {
                min: "1ms",
                max: "24h",
            },
            "30s",
            "Longest pause between two pieces of a response body; then the response is cut off.",
        ),
        Key::default(
            "idle_timeout",
            Kind::Duration {
                min: "100ms",
                max: "24h",
            },
            "60s",
            "How long an unused connection stays in the pool. Keep it below the idle timeout of \
             the origin.",
        ),
        Key::default(
            "keepalive_max",
            Kind::Integer {
                min: 0,
                max: 65_535,
            },
            "64",
            "Unused connections that each worker keeps to each endpoint; 0 closes each after its \
             response.",
        ),
        Key::optional(
            "protocol",
            Kind::Choice(UpstreamProtocol::WORDS),
            "What is spoken: HTTP/1.1; \"h2\", HTTP/2, which without TLS the origin must know of \
             beforehand (gRPC services do); or \"auto\", what the origin picks in TLS. It is \
             \"auto\" with [upstream.tls] and \"http/1.1\" without where it is not written.",
        ),
        Key::optional(
            "tls",
            Kind::Table(&TLS),
            "TLS to the origin; with this table it is spoken to over TLS only.",
        ),
        Key::optional(
            "http2",
            Kind::Table(&http2::UPSTREAM_HTTP2),
            "Bounds of HTTP/2 connections.",
        ),
        Key::optional(
            "proxy_protocol",
            Kind::Choice(ProxyVersion::WORDS),
            "The PROXY protocol header that says who the client is, at the beginning of each \
             connection: text or binary. Such a connection serves one client and is not pooled, \
             and it cannot speak HTTP/2.",
        ),
        Key::optional(
            "health",
            Kind::Table(&health::HEALTH),
            "Active health checks; without this table every endpoint counts as healthy.",
        ),
        Key::optional("breaker", Kind::Table(&BREAKER), "The circuit breaker."),
        Key::optional(
            "outlier",
            Kind::Table(&OUTLIER),
            "Ejects endpoints that answer badly.",
        ),
        Key::optional(
            "retry",
            Kind::Table(&UPSTREAM_RETRY),
            "Retries of failed requests.",
        ),
        Key::optional(
            "concurrency",
            Kind::Table(&UPSTREAM_CONCURRENCY),
            "Requests at a time.",
        ),
        Key::optional(
            "fallback",
            Kind::Table(&UPSTREAM_FALLBACK),
            "Who answers when the upstream cannot.",
        ),
    ],
};

/// An upstream, and its fallback, which may name another one.
pub(crate) fn upstream(
    r: &mut Reader<'_>,
    table: &Table<'_>,
) -> Option<(Upstream, Option<RawFallback>)> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let balance = choice(r, table, Place::Upstream).unwrap_or(Choice {
        balance: Balance::RoundRobin,
        key: None,
        bounded_load: None,
    });
    let endpoints = endpoints(r, table);
    let proxy = table.item("proxy_protocol");
    let proxy = proxy.and_then(|item| r.word::<ProxyVersion>(&item));
    let proxy = proxy.map(|version| version.value);
    let protocol = tls::protocol(r, table, proxy);
    let tls = tls::tls(r, table, &endpoints);
    let health = health::health(r, table, protocol);
    let fallback = fallback(r, table);
    let endpoint_requests_max = table.integer_or_default(r, "endpoint_requests_max");
    let upstream = Upstream {
        balance,
        failover_below: table.ratio_or_default(r, "failover_below"),
        panic_below: table.ratio_or_default(r, "panic_below"),
        slow_start: table.duration_or_default(r, "slow_start"),
        endpoint_requests_max: u32::try_from(endpoint_requests_max).unwrap_or(u32::MAX),
        sticky: sticky(r, table),
        endpoints,
        connect_timeout: table.deadline_or_default(r, "connect_timeout"),
        response_timeout: table.deadline_or_default(r, "response_timeout"),
        read_timeout: table.deadline_or_default(r, "read_timeout"),
        idle_timeout: table.deadline_or_default(r, "idle_timeout"),
        keepalive_max: usize::try_from(table.integer_or_default(r, "keepalive_max"))
            .unwrap_or(usize::MAX),
        protocol,
        tls,
        http2: http2::upstream(r, table),
        proxy_protocol: proxy,
        health,
        breaker: breaker(r, table),
        outlier: outlier(r, table),
        retry: retry(r, table),
        concurrency: concurrency(r, table),
        fallback: None,
        // The name comes last: without it the other keys are still checked.
        name: name?,
    };
    Some((upstream, fallback))
}

fn endpoints(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Endpoint> {
    let Some(item) = table.required(r, "endpoints") else {
        return Vec::new();
    };
    let Some(items) = r.list(&item) else {
        return Vec::new();
    };
    if items.is_empty() {
        r.report(
            Diagnostic::error("no-endpoints", "an upstream without endpoints", item.span())
                .label("nothing can be sent here")
                .help("add an address, such as \"127.0.0.1:9001\""),
        );
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(endpoint) = endpoint(r, item) else {
            continue;
        };
        let same = |other: &&Endpoint| other.address == endpoint.address;
        if let Some(first) = endpoints.iter().find(same) {
            let message = "the same endpoint twice";
            r.report(
                Diagnostic::warning("duplicate-endpoint", message, endpoint.address.span)
                    .label("counts as two endpoints")
                    .help("for a larger share write { address = \"...\", weight = 2 }")
                    .related(first.address.span, "first here"),
            );
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn endpoint(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Endpoint> {
    if !item.is_table() {
        return Some(Endpoint {
            address: r.parsed(item, leaf::endpoint)?,
            weight: NonZeroU16::MIN,
            priority: 0,
            zone: None,
            drain: false,
        });
    }
    let table = r.open(item, &ENDPOINT)?;
    let address = table.required(r, "address");
    let weight = table.integer_or_default(r, "weight");
    let priority = table.integer_or_default(r, "priority");
    let zone = table.item("zone").and_then(|item| r.name(&item));
    let drain = table.bool_or_default(r, "drain");
    Some(Endpoint {
        address: r.parsed(&address?, leaf::endpoint)?,
        weight: u16::try_from(weight).ok().and_then(NonZeroU16::new)?,
        priority: u8::try_from(priority).unwrap_or(u8::MAX),
        zone,
        drain,
    })
}
