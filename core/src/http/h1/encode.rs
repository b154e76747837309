//! Heads to bytes: what a peer is sent is written from checked parts only, so it reads one way.
//!
//! For a stream of HTTP/2 the same lines are written without start line and without fields of
//! the connection; what the start line says is the codec's.

use crate::http::fields::{put_line, put_named};
use crate::http::forwarding::{Forwarding, write_via};
use crate::http::head::{BodyLen, RequestHead, ResponseHead, ResponseKind, TrailersOk};
use crate::http::known::{Known, KnownSet};
use crate::http::method::{Method, Version};

/// The interim response that makes a client send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What becomes of the connection behind a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// It carries the next message.
    #[default]
    KeepAlive,
    /// It is closed.
    Close,
    /// It changes to the protocol that the head names in its `Upgrade`.
    Upgrade,
    /// There is none to speak of: the message has a stream of its own.
    Stream,
}

/// Whether something the client asked of its next hop is asked of the origin as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    /// It ends here.
    #[default]
    Drop,
    /// It is asked, if the client asked.
    Pass,
}

/// How a request is sent to an origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOut<'a> {
    /// The value of `Host`; the request's own authority when absent.
    pub host: Option<&'a [u8]>,
    /// How the body's length is told; not [`BodyLen::UntilClose`].
    pub framing: BodyLen,
    /// What is asked of the connection.
    pub connection: Connection,
    /// `Expect: 100-continue`.
    pub expect: Relay,
    /// `TE: trailers`.
    pub te: Relay,
    /// What is told about the client; nothing is added or replaced when absent.
    pub forwarding: Option<Forwarding<'a>>,
}

/// Appends the head of a request as an origin gets it.
pub fn encode_request(head: &RequestHead, send: &RequestOut<'_>, out: &mut Vec<u8>) {
    debug_assert!(send.framing != BodyLen::UntilClose);
    out.reserve(head.fields.text().len() + 512);
    if send.connection != Connection::Stream {
        put_request_line(head, send, out);
    }
    let mut skip = match send.connection {
        Connection::Stream => WRITTEN_IN_REQUESTS.union(KnownSet::of(&[Known::SecWebsocketKey])),
        _ => WRITTEN_IN_REQUESTS,
    };
    if let Some(forwarding) = &send.forwarding {
        skip = skip.union(forwarding.replaced(&head.fields));
    }
    head.fields.write(skip, out);
    put_framing(send.framing, send.connection, out);
    put_request_connection(head, send, out);
    if send.expect == Relay::Pass && head.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(forwarding) = &send.forwarding {
        forwarding.write(&head.fields, head.version, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn put_request_line(head: &RequestHead, send: &RequestOut<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    if head.method == Method::Connect {
        out.extend_from_slice(head.authority());
    } else {
        out.extend_from_slice(head.path());
        if let Some(query) = head.query() {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    put_named(
        b"Host: ",
        send.host.unwrap_or_else(|| head.authority()),
        out,
    );
}

fn put_request_connection(head: &RequestHead, send: &RequestOut<'_>, out: &mut Vec<u8>) {
    let te = send.te == Relay::Pass && head.trailers == TrailersOk::Yes;
    if te {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    let upgrade = head.upgrade().unwrap_or_default();
    let options: &[u8] = match (send.connection, te) {
        (Connection::KeepAlive, false) | (Connection::Stream, _) => return,
        (Connection::KeepAlive, true) => b"TE",
        (Connection::Close, false) => b"close",
        (Connection::Close, true) => b"close, TE",
        (Connection::Upgrade, false) => b"upgrade",
        (Connection::Upgrade, true) => b"upgrade, TE",
    };
    put_named(b"Connection: ", options, out);
    if send.connection == Connection::Upgrade {
        put_named(b"Upgrade: ", upgrade, out);
    }
}

/// How a response is sent to a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseOut<'a> {
    /// How the body's length is told; see [`client_framing`].
    pub framing: BodyLen,
    /// What becomes of the connection.
    pub connection: Connection,
    /// The version the client speaks.
    pub client: Version,
    /// The id of the request; empty to leave the origin's field, if any.
    pub request_id: &'a [u8],
    /// The gateway's pseudonym in `Via`; empty to leave the field out.
    pub via: &'a [u8],
    /// The date to add when the origin sent none (RFC 9110, 6.6.1); empty to add none.
    pub date: &'a [u8],
}

/// How a body of unknown length is framed for a client: chunked if it can read that.
pub const fn client_framing(framing: BodyLen, client: Version) -> BodyLen {
    match (framing, client) {
        (BodyLen::Chunked | BodyLen::UntilClose, Version::Http11 | Version::Http2) => {
            BodyLen::Chunked
        }
        (BodyLen::Chunked | BodyLen::UntilClose, Version::Http10) => BodyLen::UntilClose,
        (known, _) => known,
    }
}

/// Appends the head of a response as the client gets it. The status line says HTTP/1.1 to
/// HTTP/1.0 clients too (RFC 9110, 2.5). With [`BodyLen::None`] the origin's `Content-Length`
/// stays: it answers HEAD, or is a 304.
pub fn encode_response(head: &ResponseHead, send: &ResponseOut<'_>, out: &mut Vec<u8>) {
    out.reserve(head.fields.text().len() + 256);
    if send.connection != Connection::Stream {
        put_status_line(head.status, head.reason(), out);
    }
    if head.kind() == ResponseKind::Interim {
        head.fields.write(WRITTEN_IN_RESPONSES, out);
        out.extend_from_slice(b"\r\n");
        return;
    }
    let framing = match send.framing {
        BodyLen::Chunked => client_framing(send.framing, send.client),
        framing => framing,
    };
    let mut skip = match framing {
        BodyLen::None => KnownSet::default(),
        _ => WRITTEN_IN_RESPONSES,
    };
    if !send.request_id.is_empty() {
        skip = skip.union(KnownSet::of(&[Known::XRequestId]));
    }
    if send.connection == Connection::Stream {
        skip = skip.union(KnownSet::of(&[Known::SecWebsocketAccept]));
    }
    head.fields.write(skip, out);
    put_framing(framing, send.connection, out);
    let connection = match framing {
        BodyLen::UntilClose => Connection::Close,
        _ => send.connection,
    };
    put_response_connection(connection, send.client, out);
    if connection == Connection::Upgrade {
        put_named(b"Upgrade: ", head.upgrade().unwrap_or_default(), out);
    }
    if !send.date.is_empty() && !head.fields.has(Known::Date) {
        put_named(b"Date: ", send.date, out);
    }
    write_via(send.via, head.version, out);
    if !send.request_id.is_empty() {
        put_named(b"X-Request-Id: ", send.request_id, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer of the gateway itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimpleResponse<'a> {
    /// The status, 200 to 599.
    pub status: u16,
    /// `Content-Type`; empty to leave it out.
    pub content_type: &'a [u8],
    /// The body. Not sent for HEAD, 204 and 304.
    pub body: &'a [u8],
    /// Further fields, names and values checked.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// What becomes of the connection.
    pub connection: Connection,
    /// The version the client speaks.
    pub client: Version,
    /// The method of the request.
    pub method: Method,
    /// The `Date`; empty to leave it out.
    pub date: &'a [u8],
}

/// Appends a whole response, body included.
pub fn encode_simple_response(answer: &SimpleResponse<'_>, out: &mut Vec<u8>) {
    out.reserve(answer.body.len() + 256);
    put_status_line(answer.status, b"", out);
    let content = !matches!(answer.status, 204 | 304);
    if content {
        if !answer.content_type.is_empty() {
            put_named(b"Content-Type: ", answer.content_type, out);
        }
        let length = BodyLen::Length(answer.body.len() as u64);
        put_framing(length, answer.connection, out);
    }
    if !answer.date.is_empty() {
        put_named(b"Date: ", answer.date, out);
    }
    for (name, value) in answer.fields {
        put_line(name.as_bytes(), value, out);
    }
    put_response_connection(answer.connection, answer.client, out);
    out.extend_from_slice(b"\r\n");
    if content && answer.method != Method::Head {
        out.extend_from_slice(answer.body);
    }
}

/// The fields of a request that are written by [`encode_request`], or not at all.
const WRITTEN_IN_REQUESTS: KnownSet =
    KnownSet::of(&[Known::Host, Known::ContentLength, Known::Expect]).union(KnownSet::HOP_BY_HOP);

/// The same for [`encode_response`].
const WRITTEN_IN_RESPONSES: KnownSet =
    KnownSet::of(&[Known::ContentLength]).union(KnownSet::HOP_BY_HOP);

fn put_framing(framing: BodyLen, connection: Connection, out: &mut Vec<u8>) {
    match framing {
        BodyLen::Chunked if connection == Connection::Stream => {}
        BodyLen::None | BodyLen::UntilClose => {}
        BodyLen::Length(length) => put_named(
            b"Content-Length: ",
            itoa::Buffer::new().format(length).as_bytes(),
            out,
        ),
        BodyLen::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn put_response_connection(connection: Connection, client: Version, out: &mut Vec<u8>) {
    match (connection, client) {
        (Connection::Stream, _) | (Connection::KeepAlive, Version::Http11 | Version::Http2) => {}
        (Connection::KeepAlive, Version::Http10) => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        (Connection::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Connection::Upgrade, _) => out.extend_from_slice(b"Connection: upgrade\r\n"),
    }
}

fn put_status_line(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    debug_assert!((100..1000).contains(&status));
    let digit = |place: u16| b'0' + (status / place % 10) as u8;
    let mut line = *b"HTTP/1.1 000 ";
    line[9..12].copy_from_slice(&[digit(100), digit(10), digit(1)]);
    out.extend_from_slice(&line);
    if reason.is_empty() {
        out.extend_from_slice(reason_of(status).as_bytes());
    } else {
        out.extend_from_slice(reason);
    }
    out.extend_from_slice(b"\r\n");
}

/// The usual reason phrase of a status; empty for one that is not registered.
pub const fn reason_of(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
