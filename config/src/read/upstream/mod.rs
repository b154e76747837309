//! `[[upstream]]`.

mod health;
mod tls;

use std::num::NonZeroU16;

use super::reader::Reader;
use super::table::{Item, Table};
use super::{http2, later};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{Balance, Endpoint, ProxyVersion, Upstream, UpstreamProtocol};

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
            "How an endpoint is picked. Only \"round_robin\" is supported yet.",
        ),
        Key::required(
            "endpoints",
            Kind::List(&Kind::Either(&[
                Kind::Text(ADDRESS),
                Kind::Table(&ENDPOINT),
            ])),
            "At least one address, or table of address and weight.",
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
        Key::optional(
            "breaker",
            Kind::Table(&later::BREAKER),
            "The circuit breaker.",
        )
        .later(),
        Key::optional(
            "retry",
            Kind::Table(&later::RETRY),
            "Retries of failed requests.",
        )
        .later(),
    ],
};

pub(crate) fn upstream(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Upstream> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let balance = balance(r, table);
    let endpoints = endpoints(r, table);
    let proxy = table.item("proxy_protocol");
    let proxy = proxy.and_then(|item| r.word::<ProxyVersion>(&item));
    let proxy = proxy.map(|version| version.value);
    let protocol = tls::protocol(r, table, proxy);
    let tls = tls::tls(r, table, &endpoints);
    let health = health::health(r, table, protocol);
    later::resilience(r, table);
    // The name comes last: without it the other keys are still checked.
    Some(Upstream {
        balance,
        endpoints,
        connect_timeout: table.duration_or_default(r, "connect_timeout"),
        response_timeout: table.duration_or_default(r, "response_timeout"),
        read_timeout: table.duration_or_default(r, "read_timeout"),
        idle_timeout: table.duration_or_default(r, "idle_timeout"),
        keepalive_max: usize::try_from(table.integer_or_default(r, "keepalive_max"))
            .unwrap_or(usize::MAX),
        protocol,
        tls,
        http2: http2::upstream(r, table),
        proxy_protocol: proxy,
        health,
        name: name?,
    })
}

fn balance(r: &mut Reader<'_>, table: &Table<'_>) -> Balance {
    let Some(balance) = table
        .item("balance")
        .and_then(|item| r.word::<Balance>(&item))
    else {
        return Balance::RoundRobin;
    };
    if balance.value != Balance::RoundRobin {
        let what = format!("`balance = \"{}\"` in [[upstream]]", balance.value);
        r.unsupported(&what, balance.span);
    }
    balance.value
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
        let address = r.parsed(item, leaf::endpoint)?;
        let weight = NonZeroU16::MIN;
        return Some(Endpoint { address, weight });
    }
    let table = r.open(item, &ENDPOINT)?;
    let address = table.required(r, "address");
    let weight = table.integer_or_default(r, "weight");
    let address = r.parsed(&address?, leaf::endpoint)?;
    let weight = u16::try_from(weight).ok().and_then(NonZeroU16::new)?;
    Some(Endpoint { address, weight })
}
