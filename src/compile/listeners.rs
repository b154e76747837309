//! Listeners and their limits, in the units of the data plane.

use std::num::NonZeroU32;
use std::time::Duration;

use ringgate_config::model::{self, Cap, ListenerProtocol};
use ringgate_config::{Config, model::Limits};
use ringgate_core::arrivals::Caps;
use ringgate_core::counts::RateSpec;
use ringgate_core::http::h1::HeadLimits;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::snapshot::{self, Carries, Http2Limits, NamedUpstreams, TrustedNetworks};

use super::{Surroundings, chains, listen_addr};

/// The listeners in the order of the configuration. Those on port 0 keep it: whoever binds
/// them puts the real address in.
pub(super) fn lower(config: &Config, around: &Surroundings<'_>) -> Vec<snapshot::Listener> {
    let listeners = config.listeners.iter();
    let chains = chains::of(config);
    listeners
        .map(|listener| snapshot::Listener {
            name: (&**listener.name).into(),
            addr: listen_addr(&listener.listen),
            limits: limits(&listener.limits),
            half_close: match listener.half_close {
                model::HalfClose::Abort => snapshot::HalfClose::Abort,
                model::HalfClose::Allow => snapshot::HalfClose::Allow,
            },
            carries: carries(config, listener),
            tls: around.tls.server(&listener.name),
            http2: http2(&listener.http2),
            h2c: match listener.h2c {
                true => snapshot::Http2Unasked::Accepted,
                false => snapshot::Http2Unasked::Refused,
            },
            proxies: {
                let networks = listener.proxy_protocol_from.iter();
                TrustedNetworks::new(networks.map(|net| (net.addr(), net.prefix_len())))
            },
            caps: caps(&listener.limits),
            connections: (around.connections)(&listener.name),
            chain: chains::position(&chains, listener),
        })
        .collect()
}

fn carries(config: &Config, listener: &model::Listener) -> Carries {
    let find = |name: &model::Name| {
        let mut upstreams = config.upstreams.iter();
        upstreams.position(|upstream| upstream.name.value == *name)
    };
    let otherwise = listener.upstream.as_ref().and_then(|name| find(name));
    match (listener.protocol, otherwise) {
        (ListenerProtocol::Http, _) => Carries::Http,
        (ListenerProtocol::Tcp, Some(upstream)) => Carries::Tcp(upstream),
        // A checked listener of bytes has an upstream. One without would lead nowhere, and so
        // does this.
        (ListenerProtocol::Tcp, None) => Carries::Tls(NamedUpstreams::default()),
        (ListenerProtocol::Tls, otherwise) => {
            let entries = listener.sni.iter();
            let names = entries.flat_map(|entry| {
                let upstream = find(&entry.upstream);
                let names = entry.names.iter();
                names.filter_map(move |name| Some((name.value.clone(), upstream?)))
            });
            Carries::Tls(NamedUpstreams {
                names: names.collect(),
                otherwise,
            })
        }
    }
}

fn http2(written: &model::Http2) -> Http2Limits {
    let requests = written.requests_per_second_max.limit();
    Http2Limits {
        streams_max: written.streams_max,
        stream_window: written.stream_window,
        connection_window: written.connection_window,
        resets_max: written.resets_max,
        pings_max: written.pings_max,
        settings_max: written.settings_max,
        empty_frames_max: written.empty_frames_max,
        requests_per_second_max: requests.map_or(u32::MAX, NonZeroU32::get),
    }
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
        tunnel_timeout: ticks(limits.tunnel_timeout),
        connections_max: u32::try_from(limits.connections_max.get()).unwrap_or(u32::MAX),
        requests_per_connection_max: requests_max
            .and_then(|count| u32::try_from(count.get()).ok())
            .unwrap_or(u32::MAX),
        rate_min: limits.rate_min,
    }
}

fn caps(limits: &Limits) -> Caps {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let rate = |cap: Cap<model::Rate>| {
        let rate = cap.limit()?;
        Some(RateSpec::new(
            number(rate.limit),
            rate.per,
            number(rate.burst),
        ))
    };
    Caps {
        per_address_max: limits.connections_per_address_max,
        rate: rate(limits.connection_rate),
        rate_per_address: rate(limits.connection_rate_per_address),
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
