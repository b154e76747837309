//! Upstreams and their endpoints: addresses as written, and those that names stand for.

use std::sync::Arc;

use ringgate_config::Config;
use ringgate_config::model::{self, EndpointAddr, Upstream};
use ringgate_control::Target;
use ringgate_core::rt::Addr;
use ringgate_core::snapshot::{self, Endpoint};
use ringgate_core::stats::Registry;

use super::policies::{self, Upstreams};
use super::{Addresses, Surroundings};

pub(super) fn lower(config: &Config, around: &Surroundings<'_>) -> Vec<snapshot::Upstream> {
    let names = Upstreams::of(config);
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|upstream| snapshot::Upstream {
            name: (&**upstream.name).into(),
            endpoints: endpoints(upstream, around.addresses, around.registry),
            connect_timeout: upstream.connect_timeout.into(),
            response_timeout: upstream.response_timeout.into(),
            read_timeout: upstream.read_timeout.into(),
            idle_timeout: upstream.idle_timeout.into(),
            idle_max: upstream.keepalive_max,
            protocol: protocol(upstream.protocol),
            tls: around.tls.client(&upstream.name),
            http2: http2(&upstream.http2),
            proxy: upstream.proxy_protocol.map(|version| match version {
                model::ProxyVersion::V1 => snapshot::ProxyVersion::V1,
                model::ProxyVersion::V2 => snapshot::ProxyVersion::V2,
            }),
            stats: around.registry.upstream(&upstream.name),
            policy: policies::upstream(config, &names, upstream),
            state: around.registry.upstream_state(&upstream.name),
        })
        .collect()
}

fn protocol(written: model::UpstreamProtocol) -> snapshot::UpstreamProtocol {
    match written {
        model::UpstreamProtocol::Http1 => snapshot::UpstreamProtocol::Http1,
        model::UpstreamProtocol::Http2 => snapshot::UpstreamProtocol::Http2,
        model::UpstreamProtocol::Auto => snapshot::UpstreamProtocol::Auto,
    }
}

fn http2(written: &model::UpstreamHttp2) -> snapshot::UpstreamHttp2 {
    snapshot::UpstreamHttp2 {
        connections_max: written.connections_max,
        streams_max: written.streams_max,
        stream_window: written.stream_window,
        connection_window: written.connection_window,
    }
}

/// The endpoints of an upstream with the addresses known so far. Each address of a name has
/// the weight of the name; a name without addresses has no endpoint.
pub fn endpoints(
    upstream: &Upstream,
    addresses: &Addresses,
    registry: &Registry,
) -> Arc<[Endpoint]> {
    let state = registry.upstream_state(&upstream.name);
    let mut endpoints = Vec::with_capacity(upstream.endpoints.len());
    for endpoint in &upstream.endpoints {
        // Without a weight nothing new is sent there.
        let weight = match endpoint.drain {
            true => 0,
            false => u32::from(endpoint.weight.get()),
        };
        let zone: Option<Arc<str>> = endpoint.zone.as_ref().map(|zone| zone.shared());
        let mut push = |addr: Addr, authority: Arc<str>| {
            endpoints.push(Endpoint {
                state: state.endpoint(&addr, &authority),
                addr,
                weight,
                priority: endpoint.priority,
                zone: zone.clone(),
                authority,
            });
        };
        let written = &endpoint.address.value;
        match written {
            EndpointAddr::Tcp(tcp) => push(Addr::Tcp(*tcp), written.to_string().into()),
            // A path is no authority; this is what curl sends to a Unix socket.
            EndpointAddr::Unix(path) => push(Addr::Unix(path.clone()), "localhost".into()),
            EndpointAddr::Name { host, port } => {
                let authority: Arc<str> = written.to_string().into();
                let key = ((&**upstream.name).into(), host.clone(), port.get());
                for address in addresses.get(&key).into_iter().flatten() {
                    push(Addr::Tcp(*address), Arc::clone(&authority));
                }
            }
        }
    }
    endpoints.into()
}

/// Every endpoint that is a name.
pub fn targets(config: &Config) -> Vec<Target> {
    let mut targets = Vec::new();
    for upstream in &config.upstreams {
        for endpoint in &upstream.endpoints {
            if let EndpointAddr::Name { host, port } = &endpoint.address.value {
                targets.push(Target {
                    upstream: upstream.name.to_string(),
                    endpoint: host.to_string(),
                    port: port.get(),
                });
            }
        }
    }
    targets
}
