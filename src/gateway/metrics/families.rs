//! Families that are one counter each: name, kind, what it says, and where it is.

use ringgate_control::Kind;
use ringgate_core::stats::{Counter, UpstreamStats, WorkerStats};

pub(super) type WorkerFamily = (
    &'static str,
    Kind,
    &'static str,
    fn(&WorkerStats) -> &Counter,
);

/// Families with one counter for each worker: the skew between workers is in the label.
pub(super) const WORKER_FAMILIES: &[WorkerFamily] = &[
    (
        "ringgate_worker_accepted_total",
        Kind::Counter,
        "Connections accepted.",
        |stats| &stats.accepted,
    ),
    (
        "ringgate_worker_connections",
        Kind::Gauge,
        "Connections open.",
        |stats| &stats.connections,
    ),
    (
        "ringgate_worker_active_requests",
        Kind::Gauge,
        "Requests under way.",
        |stats| &stats.active,
    ),
    (
        "ringgate_worker_requests_total",
        Kind::Counter,
        "Requests with a complete head.",
        |stats| &stats.requests,
    ),
    (
        "ringgate_worker_handed_over_total",
        Kind::Counter,
        "Fresh connections handed to a worker that had fewer.",
        |stats| &stats.handed_over,
    ),
    (
        "ringgate_worker_streams",
        Kind::Gauge,
        "Streams of HTTP/2 clients open.",
        |stats| &stats.streams,
    ),
    (
        "ringgate_worker_tls_full_handshakes_total",
        Kind::Counter,
        "TLS handshakes of clients that came with certificates.",
        |stats| &stats.tls_full,
    ),
    (
        "ringgate_worker_tls_resumed_handshakes_total",
        Kind::Counter,
        "TLS handshakes of clients that resumed an earlier session.",
        |stats| &stats.tls_resumed,
    ),
    (
        "ringgate_worker_shed_total",
        Kind::Counter,
        "Connections answered 503 because the listener had its most already.",
        |stats| &stats.shed,
    ),
    (
        "ringgate_worker_address_refused_total",
        Kind::Counter,
        "Connections closed because their address had its most already, or came too often.",
        |stats| &stats.address_refused,
    ),
    (
        "ringgate_worker_rate_refused_total",
        Kind::Counter,
        "Connections closed because they came too often at their listener.",
        |stats| &stats.rate_refused,
    ),
    (
        "ringgate_worker_slow_clients_total",
        Kind::Counter,
        "Exchanges ended because the client sent or took its bytes too slowly.",
        |stats| &stats.slow_clients,
    ),
    (
        "ringgate_worker_accept_pauses_total",
        Kind::Counter,
        "Times accepting paused because descriptors ran out.",
        |stats| &stats.accept_pauses,
    ),
    (
        "ringgate_worker_panics_total",
        Kind::Counter,
        "Connections ended by a program error; please report any.",
        |stats| &stats.panics,
    ),
    (
        "ringgate_worker_log_dropped_total",
        Kind::Counter,
        "Times access log lines were dropped because the writer could not keep up.",
        |stats| &stats.log_dropped,
    ),
    (
        "ringgate_worker_ticks_total",
        Kind::Counter,
        "Turns of the timer; one that stands still has stalled.",
        |stats| &stats.ticks,
    ),
    (
        "ringgate_worker_generation",
        Kind::Gauge,
        "Number of the snapshot that the worker serves from.",
        |stats| &stats.generation,
    ),
    (
        "ringgate_worker_overload_level",
        Kind::Gauge,
        "What a worker refuses because there is too much to do: 0 nothing, 1 requests of low urgency, 2 normal ones too, 3 all but critical ones.",
        |stats| &stats.overload_level,
    ),
];

pub(super) type UpstreamFamily = (
    &'static str,
    Kind,
    &'static str,
    fn(&UpstreamStats) -> &Counter,
);

/// Families with one counter for each upstream.
pub(super) const UPSTREAM_FAMILIES: &[UpstreamFamily] = &[
    (
        "ringgate_upstream_requests_total",
        Kind::Counter,
        "Requests sent to origins, retries included.",
        |stats| &stats.requests,
    ),
    (
        "ringgate_upstream_connects_total",
        Kind::Counter,
        "Connections opened to origins.",
        |stats| &stats.connects,
    ),
    (
        "ringgate_upstream_connect_failures_total",
        Kind::Counter,
        "Connections to origins that could not be opened.",
        |stats| &stats.connect_failures,
    ),
    (
        "ringgate_upstream_reused_total",
        Kind::Counter,
        "Requests that found a pooled connection.",
        |stats| &stats.reused,
    ),
    (
        "ringgate_upstream_stale_total",
        Kind::Counter,
        "Pooled connections that the origin had closed.",
        |stats| &stats.stale,
    ),
    (
        "ringgate_upstream_retries_total",
        Kind::Counter,
        "Attempts beside the first: after a pooled connection died, or by the retry policy.",
        |stats| &stats.retries,
    ),
    (
        "ringgate_upstream_retries_denied_total",
        Kind::Counter,
        "Retries and hedges that the budget did not allow.",
        |stats| &stats.retries_denied,
    ),
    (
        "ringgate_upstream_hedges_total",
        Kind::Counter,
        "Second attempts started beside a slow first one.",
        |stats| &stats.hedges,
    ),
    (
        "ringgate_upstream_hedge_wins_total",
        Kind::Counter,
        "Second attempts that answered before the first.",
        |stats| &stats.hedge_wins,
    ),
    (
        "ringgate_upstream_breaker_rejected_total",
        Kind::Counter,
        "Requests that an open breaker refused.",
        |stats| &stats.breaker_rejected,
    ),
    (
        "ringgate_upstream_concurrency_refused_total",
        Kind::Counter,
        "Requests refused because the upstream had its most at a time and its queue was full.",
        |stats| &stats.gate_refused,
    ),
    (
        "ringgate_upstream_concurrency_timeouts_total",
        Kind::Counter,
        "Requests refused because no place came free in time.",
        |stats| &stats.gate_timeouts,
    ),
    (
        "ringgate_upstream_fallbacks_total",
        Kind::Counter,
        "Requests that a fallback answered in place of the upstream.",
        |stats| &stats.fallbacks,
    ),
    (
        "ringgate_upstream_mirrored_total",
        Kind::Counter,
        "Copies of requests that the upstream got as a mirror.",
        |stats| &stats.mirrored,
    ),
    (
        "ringgate_upstream_mirror_dropped_total",
        Kind::Counter,
        "Copies for the upstream that were not sent, or not to their end.",
        |stats| &stats.mirror_dropped,
    ),
    (
        "ringgate_upstream_idle_connections",
        Kind::Gauge,
        "Connections that wait in the pools.",
        |stats| &stats.idle,
    ),
    (
        "ringgate_upstream_active_requests",
        Kind::Gauge,
        "Requests under way to origins.",
        |stats| &stats.active,
    ),
];
