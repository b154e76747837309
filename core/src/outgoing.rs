//! The request as its origin gets it: framing, upgrade, head.

use crate::block::Block;
use crate::chain::{BodyMode, Filter};
use crate::exchange::Exchange;
use crate::http::h1::{self, Relay, RequestOut, encode_request};
use crate::http::{BodyLen, Forwarding, RequestHead};
use crate::snapshot::{Endpoint, Route, Snapshot, UpstreamHost};

/// Whether the origin is asked to switch protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    NotAsked,
    Asked,
}

/// An upgrade that the route allows is asked for; any other is left out, as a server may
/// (RFC 9110, 7.8).
pub(crate) fn wanted_upgrade<F: Filter>(route: &Route<F>, request: &RequestHead) -> Upgrade {
    let allowed = |protocol: &[u8]| {
        let mut upgrades = route.upgrades.iter();
        upgrades.any(|allowed| protocol.eq_ignore_ascii_case(allowed.as_bytes()))
    };
    // A body would still be on its way when the connection changes its protocol.
    match request.framing.is_empty() && request.upgrade().is_some_and(allowed) {
        true => Upgrade::Asked,
        false => Upgrade::NotAsked,
    }
}

/// How the body goes out: as it came, unless filters change it.
pub(crate) fn framing<F: Filter>(
    route: &Route<F>,
    request: &RequestHead,
    whole: Option<&Block>,
) -> BodyLen {
    match (whole, route.program.request_body_mode()) {
        (Some(whole), _) if whole.is_empty() && request.framing == BodyLen::None => BodyLen::None,
        (Some(whole), _) => BodyLen::Length(whole.len() as u64),
        (None, BodyMode::Rewrite) if !request.framing.is_empty() => BodyLen::Chunked,
        _ => request.framing,
    }
}

/// Writes the request head into `exchange.out`.
pub(crate) fn encode<F: Filter>(
    snapshot: &Snapshot<F>,
    route: &Route<F>,
    exchange: &mut Exchange<F>,
    endpoint: &Endpoint,
    framing: BodyLen,
    upgrade: Upgrade,
) {
    let policy = &snapshot.forwarding;
    let id = exchange.attributes.request_id.as_bytes();
    let request_id = match policy.request_id.as_deref() {
        Some("x-request-id") => id,
        Some(name) => {
            // The name was checked with the configuration.
            let _ = exchange.request.fields.set(name, id);
            b""
        }
        None => b"",
    };
    let request = &exchange.request;
    let host = match &route.upstream_host {
        // An HTTP/1.0 request may come without a host; origins get one always.
        UpstreamHost::Preserve if !request.authority().is_empty() => None,
        UpstreamHost::Preserve | UpstreamHost::Endpoint => Some(endpoint.authority.as_bytes()),
        UpstreamHost::Fixed(host) => Some(host.as_bytes()),
    };
    let send = RequestOut {
        host,
        framing,
        connection: match upgrade {
            Upgrade::Asked => h1::Connection::Upgrade,
            Upgrade::NotAsked => h1::Connection::KeepAlive,
        },
        expect: Relay::Pass,
        te: Relay::Pass,
        forwarding: Some(Forwarding {
            peer: exchange.attributes.peer.text(),
            trust: exchange.attributes.trust,
            proto: b"http",
            host: request.fields.text_of(exchange.attributes.authority),
            emit: policy.emit,
            request_id,
            via: policy.via.as_deref().unwrap_or_default().as_bytes(),
        }),
    };
    exchange.out.clear();
    encode_request(request, &send, &mut exchange.out);
}
