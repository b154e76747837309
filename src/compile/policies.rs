//! Traffic policies, in the units of the data plane: what is not written becomes the value that
//! means "off" there, and names of upstreams become their indices.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ringgate_config::Config;
use ringgate_config::model::{self, KeyPart};
use ringgate_core::key::{Key, Part};
use ringgate_core::policy::{
    Adaptive, Algorithm, Balance, Breaker, BreakerScope, Canary, Choice, Concurrency, Fallback,
    FallbackTo, Halt, Hedge, Mirror, Outlier, Retry, RetryOn, RoutePolicy, Sticky, UpstreamPolicy,
    Urgency,
};

use super::routes::constant;

/// Bits of client addresses that count where no key says otherwise: one host of IPv4, and the
/// network of IPv6 that a customer is given.
const PREFIXES: (u8, u8) = (32, 64);

/// Upstreams by name.
pub(super) struct Upstreams<'c>(HashMap<&'c str, usize>);

impl<'c> Upstreams<'c> {
    pub(super) fn of(config: &'c Config) -> Upstreams<'c> {
        let names = config
            .upstreams
            .iter()
            .map(|upstream| upstream.name.as_str());
        Upstreams(names.zip(0..).collect())
    }

    /// A checked configuration names none that is not there.
    fn find(&self, name: &model::Name) -> Option<usize> {
        self.0.get(name.as_str()).copied()
    }
}

/// The policies of an upstream.
pub(super) fn upstream(
    config: &Config,
    upstreams: &Upstreams<'_>,
    written: &model::Upstream,
) -> UpstreamPolicy {
    let zone = config.node.zone.as_ref();
    let fallback = written.fallback.as_ref();
    UpstreamPolicy {
        balance: Balance {
            choice: choice(&written.balance),
            zone: zone.map(|zone| zone.as_str().into()),
            failover_below: written.failover_below,
            panic_below: written.panic_below,
            slow_start: written.slow_start,
            sticky: written.sticky.as_ref().map(|sticky| Sticky {
                cookie: sticky.cookie.clone(),
                secret: sticky.secret.expose().as_bytes().into(),
                max_age: sticky.max_age,
                secure: sticky.secure,
            }),
        },
        breaker: written.breaker.as_ref().map(breaker),
        outlier: written.outlier.as_ref().map(outlier),
        retry: written
            .retry
            .as_ref()
            .map(|written| Arc::new(retry(written))),
        concurrency: written.concurrency.as_ref().map(concurrency),
        endpoint_requests_max: written.endpoint_requests_max,
        fallback: fallback.and_then(|written| lower_fallback(written, upstreams)),
    }
}

/// The policies of a route.
pub(super) fn route(upstreams: &Upstreams<'_>, written: &model::RoutePolicy) -> RoutePolicy {
    let fallback = written.fallback.as_ref();
    let mirror = |written: &model::Mirror| {
        Some(Mirror {
            upstream: upstreams.find(&written.upstream)?,
            share: written.share,
            body_max: written.body_max,
        })
    };
    let canary = |written: &model::Canary| {
        let halt = written.halt.as_ref().map(|halt| Halt {
            error_ratio: halt.error_ratio,
            minimum_requests: halt.minimum_requests,
            window: halt.window,
        });
        let upstream = upstreams.find(&written.upstream)?;
        Some(Canary::new(
            (upstream, written.upstream.as_str()),
            (written.from, written.to),
            written.over,
            halt,
        ))
    };
    let split_key = written.split_key.as_ref();
    RoutePolicy {
        balance: written.balance.as_ref().map(choice),
        retry: written
            .retry
            .as_ref()
            .map(|written| Arc::new(retry(written))),
        concurrency: written.concurrency.as_ref().map(concurrency),
        fallback: fallback.and_then(|written| lower_fallback(written, upstreams)),
        mirror: written.mirror.as_ref().and_then(mirror),
        split_key: split_key.map(|parts| Arc::new(key(parts))),
        canary: written.canary.as_ref().and_then(canary),
        urgency: match written.urgency {
            model::Urgency::Low => Urgency::Low,
            model::Urgency::Normal => Urgency::Normal,
            model::Urgency::High => Urgency::High,
            model::Urgency::Critical => Urgency::Critical,
        },
        deadline_field: written.deadline_header.clone(),
    }
}

/// A key that counts client addresses by their usual prefixes.
pub(super) fn key(parts: &model::Key) -> Key {
    prefixed(parts, PREFIXES)
}

/// A key; the prefixes are those of IPv4 and IPv6.
pub(super) fn prefixed(parts: &model::Key, prefixes: (u8, u8)) -> Key {
    let part = |part: &KeyPart| match part {
        KeyPart::ClientIp => Part::ClientIp,
        KeyPart::Header(name) => Part::Header(name.clone()),
        KeyPart::Cookie(name) => Part::Cookie(name.clone()),
        KeyPart::Query(name) => Part::Query(name.clone()),
        KeyPart::Capture(name) => Part::Capture(name.clone()),
        KeyPart::Route => Part::Route,
        KeyPart::Host => Part::Host,
        KeyPart::Path => Part::Path,
        KeyPart::Method => Part::Method,
        KeyPart::Identity => Part::Identity,
        KeyPart::Consumer => Part::Consumer,
        KeyPart::Subject => Part::Subject,
        KeyPart::Claim(name) => Part::Claim(name.clone()),
    };
    Key {
        parts: parts.iter().map(|written| part(&written.value)).collect(),
        ipv4_prefix: prefixes.0,
        ipv6_prefix: prefixes.1,
    }
}

fn choice(written: &model::Choice) -> Choice {
    Choice {
        algorithm: match written.balance {
            model::Balance::RoundRobin => Algorithm::RoundRobin,
            model::Balance::LeastConnections => Algorithm::LeastConnections,
            model::Balance::RandomTwo => Algorithm::RandomTwo,
            model::Balance::PeakEwma => Algorithm::PeakEwma,
            model::Balance::IpHash => Algorithm::IpHash,
            model::Balance::ConsistentHash => Algorithm::ConsistentHash,
        },
        key: written.key.as_ref().map(|parts| Arc::new(key(parts))),
        bounded_load: written.bounded_load,
    }
}

fn breaker(written: &model::Breaker) -> Breaker {
    Breaker {
        scope: match written.scope {
            model::BreakerScope::Upstream => BreakerScope::Upstream,
            model::BreakerScope::Endpoint => BreakerScope::Endpoint,
            model::BreakerScope::Both => BreakerScope::Both,
        },
        error_ratio: written.error_ratio,
        slow_after: written.slow_after.unwrap_or_default(),
        slow_ratio: written.slow_ratio,
        window: written.window,
        minimum_requests: written.minimum_requests,
        open_for: written.open_for,
        open_for_max: written.open_for_max,
        probes: written.probes,
        reconcile: written.reconcile,
    }
}

fn outlier(written: &model::Outlier) -> Outlier {
    Outlier {
        consecutive_5xx: written.consecutive_5xx,
        consecutive_gateway: written.consecutive_gateway,
        interval: written.interval,
        success_rate_deviations: written.success_rate_deviations,
        latency_factor: written.latency_factor,
        minimum_requests: written.minimum_requests,
        ejection: written.ejection,
        ejection_max: written.ejection_max,
        ejected_max: written.ejected_max,
    }
}

fn retry(written: &model::Retry) -> Retry {
    let methods = written.methods.iter();
    Retry {
        attempts: written.attempts,
        on: RetryOn {
            connect: written.on.connect,
            reset: written.on.reset,
            refused_stream: written.on.refused_stream,
            timeout: written.on.timeout,
            statuses: written.on.statuses.as_slice().into(),
            grpc: written.on.grpc.as_slice().into(),
        },
        try_timeout: written
            .try_timeout
            .map_or(Duration::ZERO, |limit| limit.value),
        backoff: written.backoff,
        backoff_max: written.backoff_max,
        methods: methods.map(|method| method.value.clone()).collect(),
        body_max: written.body_max,
        budget: written.budget,
        budget_minimum: written.budget_minimum,
        hedge: written.hedge.as_ref().map(|hedge| Hedge {
            after_percentile: hedge.after_percentile,
            after_minimum: hedge.after_minimum,
        }),
    }
}

fn concurrency(written: &model::Concurrency) -> Concurrency {
    Concurrency {
        max: written.max,
        queue_max: written.queue_max,
        queue_timeout: written.queue_timeout,
        adaptive: written.adaptive.as_ref().map(|adaptive| Adaptive {
            min: adaptive.min,
            tolerance: adaptive.tolerance,
            interval: adaptive.interval,
        }),
    }
}

fn lower_fallback(written: &model::Fallback, upstreams: &Upstreams<'_>) -> Option<Arc<Fallback>> {
    Some(Arc::new(Fallback {
        statuses: written.statuses.as_slice().into(),
        to: match &written.to {
            model::FallbackTo::Upstream(name) => FallbackTo::Upstream(upstreams.find(name)?),
            model::FallbackTo::Respond(respond) => FallbackTo::Respond(Box::new(constant(respond))),
        },
    }))
}
