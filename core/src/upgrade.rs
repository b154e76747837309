//! What becomes of a WebSocket's handshake between the versions of HTTP: HTTP/1.1 proves with a
//! key that both sides mean it (RFC 6455, 4), a stream of HTTP/2 does without (RFC 8441, 5).

use crate::chain::Filter;
use crate::exchange::Exchange;
use crate::http::{Known, RequestHead, ResponseHead, Version};
use crate::websocket::{accept_of, new_key};

/// Gives the request a key where its origin needs one and its client sent none.
pub(crate) fn give_key<F: Filter>(exchange: &mut Exchange<F>, origin: Version) {
    let fields = &mut exchange.request.fields;
    if origin == Version::Http2 || fields.has(Known::SecWebsocketKey) {
        return;
    }
    let mut random = [0; 16];
    // Without randomness the key is a constant, which proves as much: it is no secret.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let _ = fields.set(Known::SecWebsocketKey.name(), &new_key(random));
}

/// Whether the client would take an answer with this status for the begin of its tunnel, as any
/// success is on a stream (RFC 8441, 5): no other answer may have one.
pub(crate) fn would_open(request: &RequestHead, status: u16) -> bool {
    request.version == Version::Http2 && request.upgrade().is_some() && status / 100 == 2
}

/// Whether the origin's answer proves what it has to, and as the client needs it.
pub(crate) fn settle_accept(
    request: &RequestHead,
    response: &mut ResponseHead,
    client: Version,
) -> bool {
    let is_websocket = |upgrade: &[u8]| upgrade.eq_ignore_ascii_case(b"websocket");
    if !request.upgrade().is_some_and(is_websocket) {
        return true;
    }
    let expected = request.fields.value(Known::SecWebsocketKey).map(accept_of);
    match (response.version, client, expected) {
        (Version::Http2, Version::Http2, _) => true,
        (Version::Http2, _, Some(expected)) => {
            let name = Known::SecWebsocketAccept.name();
            response.fields.set(name, &expected).is_ok()
        }
        (Version::Http2, _, None) => false,
        // The key was ours, so the proof is for us.
        (_, Version::Http2, Some(expected)) => {
            response.fields.value(Known::SecWebsocketAccept) == Some(&expected)
        }
        // The client looks for itself.
        _ => true,
    }
}
