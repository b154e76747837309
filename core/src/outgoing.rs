//! The request as its origin gets it: framing, upgrade, head.

use crate::block::Block;
use crate::chain::{BodyMode, Filter};
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::http::h1::{self, Relay, RequestOut, encode_request};
use crate::http::{BodyLen, Forwarding, RequestHead, Version};
use crate::http2;
use crate::link::Head;
use crate::snapshot::{Endpoint, Route, Snapshot, UpstreamHost};
use crate::upgrade;
use crate::wire::Security;

/// Whether the origin is asked to switch protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    NotAsked,
    Asked,
}

/// An upgrade that the route allows is asked for; any other is left out, as a server may
/// (RFC 9110, 7.8).
pub(crate) fn wanted_upgrade<F: Filter>(
    route: &Route<F>,
    request: &RequestHead,
    takes: impl Fn(&[u8]) -> bool,
) -> Upgrade {
    let allowed = |protocol: &[u8]| {
        let mut upgrades = route.upgrades.iter();
        upgrades.any(|allowed| protocol.eq_ignore_ascii_case(allowed.as_bytes()))
    };
    // A body would still be on its way when the connection changes its protocol; a stream's
    // body is what the tunnel carries.
    let free = request.framing.is_empty() || request.version == Version::Http2;
    let asked = free
        && request
            .upgrade()
            .is_some_and(|protocol| allowed(protocol) && takes(protocol));
    match asked {
        true => Upgrade::Asked,
        false => Upgrade::NotAsked,
    }
}

/// How the body goes out: as it came, unless filters change it.
pub(crate) fn framing(mode: BodyMode, request: &RequestHead, whole: Option<&Block>) -> BodyLen {
    match (whole, mode) {
        (Some(whole), _) if whole.is_empty() && request.framing == BodyLen::None => BodyLen::None,
        (Some(whole), _) => BodyLen::Length(whole.len() as u64),
        (None, BodyMode::Rewrite) if !request.framing.is_empty() => BodyLen::Chunked,
        _ => request.framing,
    }
}

/// How a request goes out on one link.
pub(crate) struct Outward<'o> {
    /// What the origin speaks.
    pub(crate) version: Version,
    /// What it is to take for its own name.
    pub(crate) authority: &'o [u8],
    pub(crate) security: Security,
    /// How the body's length is told.
    pub(crate) framing: BodyLen,
    pub(crate) upgrade: Upgrade,
}

/// The authority that the origin gets to see.
pub(crate) fn authority<'h, F: Filter>(
    route: &'h Route<F>,
    request: &'h RequestHead,
    endpoint: &'h Endpoint,
) -> &'h [u8] {
    match &route.upstream_host {
        // An HTTP/1.0 request may come without a host; origins get one always.
        UpstreamHost::Preserve if !request.authority().is_empty() => request.authority(),
        UpstreamHost::Preserve | UpstreamHost::Endpoint => endpoint.authority.as_bytes(),
        UpstreamHost::Fixed(host) => host.as_bytes(),
    }
}

/// Makes the exchange's request ready to go out; done before the rest, as it may write fields.
pub(crate) fn prepare<F: Filter>(
    snapshot: &Snapshot<F>,
    route: &Route<F>,
    exchange: &mut Exchange<F>,
    version: Version,
    upgrade: Upgrade,
) {
    if let Some(field) = &route.policy.deadline_field
        && let Some(left) = exchange.deadline.left()
    {
        let mut digits = itoa::Buffer::new();
        let left = digits.format(left.as_millis() as u64);
        // The name was checked with the configuration; digits are a valid value.
        let _ = exchange.request.fields.set(field, left.as_bytes());
    }
    if upgrade == Upgrade::Asked {
        upgrade::give_key(exchange, version);
    }
    match snapshot.forwarding.request_id.as_deref() {
        Some("x-request-id") | None => {}
        Some(name) => {
            let id = exchange.attributes.request_id.as_bytes();
            // The name was checked with the configuration.
            let _ = exchange.request.fields.set(name, id);
        }
    }
}

/// Writes the head of the exchange's request as the origin gets it.
pub(crate) fn encode<F: Filter>(
    snapshot: &Snapshot<F>,
    exchange: &Exchange<F>,
    outward: &Outward<'_>,
    out: &mut Vec<u8>,
) {
    let policy = &snapshot.forwarding;
    let attributes = &exchange.attributes;
    let request = &exchange.request;
    let forwarding = Forwarding {
        peer: attributes.peer.text(),
        trust: attributes.trust,
        proto: attributes.scheme.name().as_bytes(),
        host: request.fields.text_of(attributes.authority),
        emit: policy.emit,
        request_id: match policy.request_id.as_deref() {
            Some("x-request-id") => attributes.request_id.as_bytes(),
            _ => b"",
        },
        via: policy.via.as_deref().unwrap_or_default().as_bytes(),
        identity: attributes.tls.as_ref().and_then(|tls| tls.told()),
    };
    encode_plain(request, outward, Some(forwarding), out);
}

/// Writes a request head as the origin gets it.
pub(crate) fn encode_plain(
    request: &RequestHead,
    outward: &Outward<'_>,
    forwarding: Option<Forwarding<'_>>,
    out: &mut Vec<u8>,
) {
    let send = RequestOut {
        host: Some(outward.authority),
        framing: outward.framing,
        connection: match (outward.version, outward.upgrade) {
            (Version::Http2, _) => h1::Connection::Stream,
            (_, Upgrade::Asked) => h1::Connection::Upgrade,
            (_, Upgrade::NotAsked) => h1::Connection::KeepAlive,
        },
        expect: Relay::Pass,
        te: Relay::Pass,
        forwarding,
    };
    out.clear();
    encode_request(request, &send, out);
}

/// The head that was written, as the link takes it.
///
/// # Errors
/// [`Fault::RewriteFailed`] when a stream cannot carry the target.
pub(crate) fn head<'h>(
    request: &RequestHead,
    outward: &Outward<'_>,
    out: &'h [u8],
) -> Result<Head<'h>, Fault> {
    if outward.version != Version::Http2 {
        return Ok(Head::Bytes(out));
    }
    let started = http2::Started {
        method: request.method_text(),
        scheme: match outward.security {
            Security::Plain => ::http::uri::Scheme::HTTP,
            Security::Tls => ::http::uri::Scheme::HTTPS,
        },
        authority: outward.authority,
        path: request.path(),
        query: request.query(),
        upgrade: outward.upgrade,
    };
    let head = started.with(out).ok_or(Fault::RewriteFailed)?;
    Ok(Head::Request(head))
}
