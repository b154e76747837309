//! Listeners and their limits, in the units of the data plane.

use std::time::Duration;

use ringgate_config::model::{self, Cap};
use ringgate_config::{Config, model::Limits};
use ringgate_core::http::h1::HeadLimits;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::snapshot;

use super::{Surroundings, listen_addr};

/// The listeners in the order of the configuration. Those on port 0 keep it: whoever binds
/// them puts the real address in.
pub(super) fn lower(config: &Config, around: &Surroundings<'_>) -> Vec<snapshot::Listener> {
    let listeners = config.listeners.iter();
    listeners
        .map(|listener| snapshot::Listener {
            name: (&**listener.name).into(),
            addr: listen_addr(&listener.listen),
            limits: limits(&listener.limits),
            half_close: match listener.half_close {
                model::HalfClose::Abort => snapshot::HalfClose::Abort,
                model::HalfClose::Allow => snapshot::HalfClose::Allow,
            },
            carries: snapshot::Carries::default(),
            tls: None,
            http2: snapshot::Http2Limits::default(),
            h2c: snapshot::Http2Unasked::Accepted,
            proxies: snapshot::TrustedNetworks::default(),
            connections: (around.connections)(&listener.name),
        })
        .collect()
}

fn limits(limits: &Limits) -> snapshot::Limits {
    let requests_max = limits.requests_per_connection_max.limit();
    snapshot::Limits {
        head: HeadLimits {
            head_max: limits.head_max,
            uri_max: limits.uri_max,
            headers_max: limits.headers_max,
        },
        body_max: bytes(limits.body_max),
        header_timeout: limits.header_timeout.into(),
        idle_timeout: limits.idle_timeout.into(),
        body_timeout: limits.body_timeout.into(),
        send_timeout: limits.send_timeout.into(),
        request_timeout: ticks(limits.request_timeout),
        tunnel_idle_timeout: ticks(limits.tunnel_idle_timeout),
        tunnel_timeout: Ticks::NEVER,
        connections_max: u32::try_from(limits.connections_max.get()).unwrap_or(u32::MAX),
        requests_per_connection_max: requests_max
            .and_then(|count| u32::try_from(count.get()).ok())
            .unwrap_or(u32::MAX),
    }
}

/// A cap on bytes; off is the largest number.
pub(super) fn bytes(cap: Cap<u64>) -> u64 {
    cap.limit().unwrap_or(u64::MAX)
}

/// A cap on time; off is never.
pub(super) fn ticks(cap: Cap<Duration>) -> Ticks {
    cap.limit().map_or(Ticks::NEVER, Ticks::from)
}
