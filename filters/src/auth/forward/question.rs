//! The question to the service: what it is told of a request.

use ringgate_core::chain::RequestPhase;
use ringgate_core::http::{Known, Trust};

use crate::Filter;

/// The fields of the question: those of the request that go along, and what the gateway itself
/// says of it. The path is the one that routes were matched with, in its one spelling, so that
/// the service decides about what the origin gets.
pub(super) fn fields(
    wanted: &[Box<str>],
    phase: &RequestPhase<'_, Filter>,
) -> Vec<(Box<str>, Box<[u8]>)> {
    let (head, attributes) = (&*phase.head, &*phase.attributes);
    let mut out: Vec<(Box<str>, Box<[u8]>)> = Vec::with_capacity(wanted.len() + OWN.len());
    for name in wanted {
        if OWN.contains(&&**name) {
            continue;
        }
        let values = head.fields.values_of(name);
        out.extend(values.map(|value| (name.clone(), value.into())));
    }
    let mut uri = head.fields.text_of(attributes.routed_path).to_vec();
    if let Some(query) = head.query() {
        uri.push(b'?');
        uri.extend_from_slice(query);
    }
    let host = head.fields.text_of(attributes.authority);
    let told = attributes.trust == Trust::Trusted;
    let told = told.then(|| head.fields.value(Known::XForwardedProto));
    let proto = match told.flatten() {
        // A trusted proxy in front knows how the client came.
        Some(proto @ (b"http" | b"https")) => proto,
        _ => attributes.scheme.name().as_bytes(),
    };
    let own: [&[u8]; OWN.len()] = [
        head.method_text(),
        host,
        &uri,
        attributes.client.text(),
        proto,
        attributes.request_id.as_bytes(),
    ];
    for (name, value) in OWN.into_iter().zip(own) {
        if !value.is_empty() {
            out.push((name.into(), value.into()));
        }
    }
    out
}

/// What the gateway says of the request: never the client's.
const OWN: [&str; 6] = [
    "x-forwarded-method",
    "x-forwarded-host",
    "x-forwarded-uri",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];
