//! Lists of headers as HTTP/2's codec hands them over: what is made of one means the same
//! wherever it is written out.
//!
//! The input's parts end in NUL: a byte of flags with the method, scheme, authority, path, and
//! `name:value` for each field; for a response, the flags with the status, and its fields.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{LIMITS, assert_clean, end_to_end, request, response};
use crate::block::Block;
use crate::http::h1::{
    BodyDecoder, ChunkEnd, Connection, HeadLimits, Relay, RequestOut, ResponseOut, encode_chunk,
    encode_request, encode_response,
};
use crate::http::h2::{End, fields_of, read_request, read_response, read_trailers};
use crate::http::{BodyLen, Fields, Method, RequestHead, ResponseHead, Version};

/// A request that is accepted reads the same once it is written as HTTP/1.1, and as HTTP/2
/// again; no field comes to it, and no second message.
pub fn fuzz_http2_request(bytes: &[u8]) {
    let Some((mut parts, protocol, end)) = request_parts(bytes) else {
        return;
    };
    let mut first = RequestHead::default();
    if read_request(&parts, protocol, end, &TIGHTER, &mut first).is_err() {
        return;
    }
    nothing_is_added(&first.fields, &parts.headers);
    let send = RequestOut {
        framing: first.framing,
        expect: Relay::Pass,
        te: Relay::Pass,
        connection: match first.connection.upgrade {
            true => Connection::Upgrade,
            false => Connection::KeepAlive,
        },
        ..RequestOut::default()
    };
    let mut out = Vec::new();
    encode_request(&first, &send, &mut out);
    assert_clean(&out);
    let second = request(&out).expect("what was written out parses");
    assert_eq!(second.method_text(), first.method_text());
    assert_eq!(second.path(), first.path());
    assert_eq!(second.query(), first.query());
    assert_eq!(second.form, first.form);
    assert_eq!(second.authority(), first.authority());
    assert_eq!((second.host(), second.port()), (first.host(), first.port()));
    assert_eq!(second.framing, first.framing);
    assert_eq!(second.trailers, first.trailers);
    assert_eq!(second.expect_continue, first.expect_continue);
    assert_eq!(second.upgrade(), first.upgrade());
    assert_eq!(travelling(&second.fields), travelling(&first.fields));

    let host = parts.headers.remove(http::header::HOST);
    parts.headers = fields_of(lines_of(&out));
    if let (None, Some(host)) = (parts.uri.authority(), host) {
        parts.headers.insert(http::header::HOST, host);
    }
    let mut third = RequestHead::default();
    read_request(&parts, protocol, end, &LIMITS, &mut third).expect("and is taken again");
    assert_eq!(third.framing, first.framing);
    assert_eq!(third.trailers, first.trailers);
    assert_eq!(travelling(&third.fields), travelling(&first.fields));
}

/// The same for a response, to GET, HEAD and CONNECT, and for its fields as trailers.
pub fn fuzz_http2_response(bytes: &[u8]) {
    let Some((parts, end)) = response_parts(bytes) else {
        return;
    };
    trailers_hold(&parts.headers);
    for method in [Method::Get, Method::Head, Method::Connect] {
        let mut first = ResponseHead::default();
        if read_response(&parts, method, end, &mut first).is_err() {
            continue;
        }
        nothing_is_added(&first.fields, &parts.headers);
        let send = ResponseOut {
            framing: first.framing,
            client: Version::Http11,
            ..ResponseOut::default()
        };
        let mut out = Vec::new();
        encode_response(&first, &send, &mut out);
        assert_clean(&out);
        if first.fields.len() > LIMITS.headers_max / 2 || out.len() > LIMITS.head_max {
            continue;
        }
        let second = response(&out, method).expect("what was written out parses");
        assert_eq!(second.status, first.status);
        match first.framing {
            // Here HTTP/1.1 has no other word for it, and the status ends the message.
            BodyLen::None => assert!(ResponseHead::is_bodiless(first.status, method)),
            framing => assert_eq!(second.framing, framing),
        }
        assert_eq!(travelling(&second.fields), travelling(&first.fields));
        let map = fields_of(lines_of(&out));
        nothing_is_added(&second.fields, &map);
    }
}

/// What is kept of trailers is read again at the end of a chunked body, and as a map.
fn trailers_hold(map: &HeaderMap) {
    let mut kept = Vec::new();
    if read_trailers(map, &mut kept).is_err() {
        return;
    }
    let mut out = Vec::new();
    encode_chunk(b"x", ChunkEnd::Last { trailers: &kept }, &mut out);
    let mut block = Block::from_slice(&out);
    let mut decoder = BodyDecoder::default();
    decoder.start(BodyLen::Chunked);
    let step = decoder.decode(&mut block).expect("our chunk decodes");
    assert!(decoder.is_ended() && step.rest.is_none());
    assert_eq!((&block[..], decoder.trailers()), (&b"x"[..], &kept[..]));
    let mut again = Vec::new();
    read_trailers(&fields_of(&kept), &mut again).expect("our trailers are taken");
    assert_eq!(again, kept);
}

/// Every field was sent: `host` as the authority, the pieces of a cookie as one.
fn nothing_is_added(fields: &Fields, sent: &HeaderMap) {
    for (name, value) in fields.iter() {
        let name = std::str::from_utf8(name).expect("names are ASCII");
        let is_sent = match name {
            "host" => true,
            "cookie" => {
                let crumbs = sent.get_all(name).iter().map(HeaderValue::as_bytes);
                let crumbs: Vec<_> = crumbs.filter(|crumb| !crumb.is_empty()).collect();
                value == crumbs.join(&b"; "[..])
            }
            _ => sent.get_all(name).iter().any(|sent| sent == value),
        };
        assert!(is_sent, "{name} was not sent");
    }
}

/// What travels from end to end.
fn travelling(fields: &Fields) -> Vec<(Vec<u8>, &[u8])> {
    end_to_end(fields).collect()
}

/// The field lines of a head.
fn lines_of(head: &[u8]) -> &[u8] {
    let line = memchr::memchr(b'\n', head).expect("a head has a first line");
    &head[line + 1..]
}

fn request_parts(bytes: &[u8]) -> Option<(http::request::Parts, Option<&'static str>, End)> {
    let (flags, bytes) = bytes.split_first()?;
    let mut parts = bytes.split(|byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let method = http::Method::from_bytes(next()).ok()?;
    let [scheme, authority, path] = [next(), next(), next()];
    let mut uri = http::uri::Parts::default();
    // As the codec does it, scheme and all.
    if flags & NO_AUTHORITY == 0 {
        uri.authority = Some(http::uri::Authority::try_from(authority).ok()?);
        if !scheme.is_empty() {
            uri.scheme = Some(http::uri::Scheme::try_from(scheme).ok()?);
        }
    }
    if !path.is_empty() {
        uri.path_and_query = Some(http::uri::PathAndQuery::try_from(path).ok()?);
    }
    let request = http::Request::builder()
        .method(method)
        .uri(http::Uri::from_parts(uri).ok()?)
        .version(http::Version::HTTP_2);
    let (mut request, ()) = request.body(()).ok()?.into_parts();
    request.headers = map_of(parts);
    let protocol = (flags & WEBSOCKET != 0).then_some("websocket");
    Some((request, protocol, end_of(*flags)))
}

fn response_parts(bytes: &[u8]) -> Option<(http::response::Parts, End)> {
    let (flags, bytes) = bytes.split_first()?;
    let mut parts = bytes.split(|byte| *byte == 0);
    let status = http::StatusCode::from_bytes(parts.next()?).ok()?;
    let (mut response, ()) = http::Response::new(()).into_parts();
    response.status = status;
    response.headers = map_of(parts);
    Some((response, end_of(*flags)))
}

/// The fields that the codec's types can hold; the codec refuses the others.
fn map_of<'a>(fields: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in fields {
        let colon = memchr::memchr(b':', field).unwrap_or(field.len());
        let (name, value) = field.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_lowercase(name),
            HeaderValue::from_bytes(value),
        ) {
            map.append(name, value);
        }
    }
    map
}

fn end_of(flags: u8) -> End {
    match flags & FOLLOWS {
        0 => End::Ended,
        _ => End::Follows,
    }
}

// Flags of an input; other bits make them visible characters.
const FOLLOWS: u8 = 1;
const WEBSOCKET: u8 = 2;
const NO_AUTHORITY: u8 = 4;

/// What leaves room for the lines that are written besides.
const TIGHTER: HeadLimits = HeadLimits {
    head_max: LIMITS.head_max - 1024,
    uri_max: LIMITS.uri_max,
    headers_max: LIMITS.headers_max - 8,
};
