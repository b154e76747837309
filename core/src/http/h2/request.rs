//! Requests: the codec's parts to the flat head.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;

use crate::http::authority::Authority;
use crate::http::fields::{Line, Span};
use crate::http::h1::rules::{self, Hop};
use crate::http::h1::{HeadError, HeadLimits};
use crate::http::h2::End;
use crate::http::h2::text::{Size, Text, line_len};
use crate::http::head::{BodyLen, RequestHead, TargetForm, TrailersOk, is_target};
use crate::http::known::Known;
use crate::http::limits::{HEADERS_MAX, METHOD_MAX};
use crate::http::method::{Method, Version};
use crate::http::text::is_token;

/// Makes the flat head of a request; `protocol` is the `:protocol` of an extended CONNECT (RFC
/// 8441). `head` is expected clear, and is unspecified after an error.
///
/// The block holds the method and target, then the lines, the authority's as `host` first.
/// `head_max` bounds the bytes that the head has in HTTP/1.1. A WebSocket over HTTP/2 becomes
/// the GET with an upgrade that it is over HTTP/1.1, without key.
///
/// # Errors
/// Everything that RFC 9113, section 8, calls malformed and that these types can still show,
/// and everything that the parser of HTTP/1.1 refuses.
pub fn read_request(
    parts: &Parts,
    protocol: Option<&str>,
    end: End,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let method = parts.method.as_str().as_bytes();
    if method.len() > METHOD_MAX || !is_token(method) {
        return Err(HeadError::Method);
    }
    head.version = Version::Http2;
    head.method = Method::of(method);
    let kind = Kind::of(head.method, protocol)?;
    let target = target(parts, kind, limits)?;
    let authority = authority(parts, kind)?;

    let size = Size::of(&parts.headers);
    let host_line = line_len(HOST.as_str().len(), authority.text.len());
    let named = parts.headers.contains_key(HOST);
    let lines = size.lines + usize::from(!named);
    if lines > limits.headers_max.min(HEADERS_MAX) {
        return Err(HeadError::TooManyFields);
    }
    let room = method.len() + target.len() + host_line + size.bytes + UPGRADE.len();
    let written = method.len() + target.len() + LINE_REST + size.bytes;
    if written + if named { 0 } else { host_line } > limits.head_max {
        return Err(HeadError::HeadTooLarge);
    }

    let mut text = Text::with_room(room);
    if head.method == Method::Extension {
        head.extension = text.put(method);
    }
    head.target = text.put(target);
    place_target(target, kind, head);
    head.fields.reserve(lines);
    let host = HOST.as_str().as_bytes();
    let (name, value) = text.put_line(host, authority.text);
    head.fields
        .push_parsed((host, name), value, Known::Host, Line::Exact);
    head.authority = value;
    head.host_len = authority.parts.host_len as u32;
    head.port = authority.parts.port;
    let hop = text.put_fields(&parts.headers, &rules::OF_REQUEST, &mut head.fields)?;
    if hop.te_trailers {
        head.trailers = TrailersOk::Yes;
    }
    frame(&hop, kind, end, head)?;
    if kind == Kind::WebSocket {
        open_websocket(text.put(UPGRADE), head);
    }
    head.fields.put_text(text.into_block());
    Ok(())
}

/// What a request's pseudo-headers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// CONNECT to a host and port.
    Tunnel,
    /// CONNECT with `:protocol: websocket`.
    WebSocket,
}

impl Kind {
    fn of(method: Method, protocol: Option<&str>) -> Result<Kind, HeadError> {
        match (method, protocol) {
            (Method::Connect, None) => Ok(Kind::Tunnel),
            (Method::Connect, Some("websocket")) => Ok(Kind::WebSocket),
            (_, None) => Ok(Kind::Plain),
            (_, Some(_)) => Err(HeadError::ConnectProtocol),
        }
    }
}

/// `:path`, or the authority of a CONNECT, whose scheme and path are checked as well.
fn target<'a>(parts: &'a Parts, kind: Kind, limits: &HeadLimits) -> Result<&'a [u8], HeadError> {
    let uri = &parts.uri;
    if let Some(scheme) = uri.scheme_str()
        && !scheme.eq_ignore_ascii_case("http")
        && !scheme.eq_ignore_ascii_case("https")
    {
        return Err(HeadError::Scheme);
    }
    let target = match kind {
        // RFC 9113, 8.5: neither scheme nor path.
        Kind::Tunnel if uri.scheme().is_some() || !uri.path().is_empty() => {
            return Err(HeadError::TargetForm);
        }
        Kind::Tunnel => uri.authority().ok_or(HeadError::NoHost)?.as_str(),
        // A path that was not sent reads as empty here, and as `/` below.
        _ if uri.path().is_empty() => return Err(HeadError::Target),
        _ => uri.path_and_query().ok_or(HeadError::Target)?.as_str(),
    };
    let target = target.as_bytes();
    if target.len() > limits.uri_max {
        return Err(HeadError::TargetTooLong);
    }
    if !is_target(target) {
        return Err(HeadError::Target);
    }
    match (kind, target) {
        (Kind::Tunnel, _) | (_, [b'/', ..]) => Ok(target),
        (Kind::Plain, b"*") if parts.method == http::Method::OPTIONS => Ok(target),
        _ => Err(HeadError::TargetForm),
    }
}

/// The authority of a request, checked.
struct Named<'a> {
    text: &'a [u8],
    parts: Authority,
}

/// `:authority`, or `host` where there is none. Two answers to "which host" are refused, though
/// RFC 9113, 8.3.1, would let `:authority` win.
fn authority(parts: &Parts, kind: Kind) -> Result<Named<'_>, HeadError> {
    let host = only_host(&parts.headers)?;
    let pseudo = parts.uri.authority();
    let pseudo = pseudo.map(|authority| authority.as_str().as_bytes());
    let text = pseudo.or(host).ok_or(HeadError::NoHost)?;
    let named = Named {
        text,
        parts: Authority::parse(text).ok_or(HeadError::Authority)?,
    };
    if kind == Kind::Tunnel && named.parts.port.is_none() {
        return Err(HeadError::Authority);
    }
    let Some(host) = host else {
        return Ok(named);
    };
    let host_parts = Authority::parse(host).ok_or(HeadError::Authority)?;
    // A CONNECT names the port always, its `host` may do without.
    let same = text.eq_ignore_ascii_case(host)
        || (kind == Kind::Tunnel
            && host_parts.port.is_none()
            && text[..named.parts.host_len].eq_ignore_ascii_case(host));
    match same {
        true => Ok(named),
        false => Err(HeadError::HostMismatch),
    }
}

fn only_host(fields: &HeaderMap) -> Result<Option<&[u8]>, HeadError> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next();
    match hosts.next() {
        Some(_) => Err(HeadError::TwoHosts),
        None => Ok(host.map(http::HeaderValue::as_bytes)),
    }
}

fn place_target(target: &[u8], kind: Kind, head: &mut RequestHead) {
    match (kind, target) {
        (Kind::Tunnel, _) => head.form = TargetForm::Authority,
        (_, b"*") => {
            head.form = TargetForm::Asterisk;
            head.path = head.target;
        }
        _ => {
            head.form = TargetForm::Origin;
            let len = memchr::memchr(b'?', target).unwrap_or(target.len());
            head.path = head.target.part(0, len);
            head.query =
                (len < target.len()).then(|| head.target.part(len + 1, target.len() - len - 1));
        }
    }
}

/// How the body is told, for a hop that has to be told.
fn frame(hop: &Hop, kind: Kind, end: End, head: &mut RequestHead) -> Result<(), HeadError> {
    let told = hop.request_framing(Version::Http2)?;
    head.framing = match (told, end) {
        // RFC 9110, 9.3.6: a CONNECT has no content.
        (BodyLen::Length(_), _) if kind != Kind::Plain => return Err(HeadError::ContentLength),
        _ if kind != Kind::Plain => BodyLen::None,
        (BodyLen::Length(1..), End::Ended) => return Err(HeadError::ContentLength),
        (BodyLen::Length(length), _) => BodyLen::Length(length),
        (_, End::Follows) => BodyLen::Chunked,
        // RFC 9110, 8.6: origins of HTTP/1.1 want the length where content is usual.
        (_, End::Ended) if matches!(head.method, Method::Post | Method::Put | Method::Patch) => {
            BodyLen::Length(0)
        }
        (_, End::Ended) => BodyLen::None,
    };
    head.expect_continue = hop.expect_continue && !head.framing.is_empty();
    Ok(())
}

/// Turns the CONNECT of RFC 8441 into the GET of RFC 6455. Its key and the proof of it belong
/// to HTTP/1.1 alone (RFC 8441, 5).
fn open_websocket(upgrade: Span, head: &mut RequestHead) {
    head.method = Method::Get;
    head.upgrade = Some(upgrade);
    head.connection.upgrade = true;
    head.fields.remove_known(Known::SecWebsocketKey);
    head.fields.remove_known(Known::SecWebsocketAccept);
}

const UPGRADE: &[u8] = b"websocket";

/// What else a request line of HTTP/1.1 and the end of its head have.
const LINE_REST: usize = "  HTTP/1.1\r\n\r\n".len();
