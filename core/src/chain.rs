//! The filter chain: pure decisions at the phases of an exchange.
//!
//! A filter sees heads and bodies, never a socket, a clock or another core. What it cannot
//! decide alone it asks the engine for as a [`Call`]; the engine runs it and resumes the
//! filter with the outcome. The engine is generic over one [`Filter`] type (an enum in the
//! gateway), so a chain is a slice of them and every call is static.

mod program;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringgate_router::Captures;

use crate::block::Block;
use crate::errand::Errand;
use crate::error::Fault;
use crate::http::{Method, RequestHead, ResponseHead, Span, Trust};
use crate::principal::Proved;
use crate::rt::clock::{Moment, Stamp};
use crate::rt::wheel::Ticks;
use crate::tls::{ClientIdentity, IdentityFields};

pub use program::{Position, Program, Progress, Rehearsal, Run, Step, Subject, Watched};

/// What a filter wants of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BodyMode {
    /// Nothing: it passes unseen.
    #[default]
    Skip,
    /// To see the pieces as they pass, and perhaps to refuse; bytes stay as they are.
    Observe,
    /// To change the pieces as they pass; the length is not known ahead any more.
    Rewrite,
    /// The whole body as one piece, which it may change, up to so many bytes.
    Whole {
        /// Bytes the engine gathers at most; a longer body is refused.
        max: u64,
    },
}

/// Whether a filter has any use for the bodies of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// It has, as its modes say.
    #[default]
    Wanted,
    /// It has none: to it, both its modes are [`BodyMode::Skip`].
    Unwanted,
}

/// A filter, or the enum of all filters that a gateway knows.
pub trait Filter: Send + Sync + Sized + 'static {
    /// What the filters of one core remember between requests (buckets, caches).
    type Core: Default + 'static;
    /// What the filters of one exchange remember between its phases.
    type Scratch: Default + 'static;

    /// What it wants of request bodies.
    fn request_body_mode(&self) -> BodyMode {
        BodyMode::Skip
    }

    /// What it wants of response bodies.
    fn response_body_mode(&self) -> BodyMode {
        BodyMode::Skip
    }

    /// Whether its modes hold for this exchange. Asked behind the request-head phase; the answer
    /// stays the same from then on.
    fn bodies(&self, scratch: &Self::Scratch) -> Bodies {
        let _ = scratch;
        Bodies::Wanted
    }

    /// The request head has arrived and a route has been chosen.
    fn request_head(&self, phase: &mut RequestPhase<'_, Self>) -> Verdict {
        let _ = phase;
        Verdict::Continue
    }

    /// A browser asks whether it may make a request of this route (a preflight of CORS). Asked
    /// instead of [`Filter::request_head`], of each filter in order, until one answers; when none
    /// does, the request goes its usual way.
    fn preflight(&self, phase: &mut RequestPhase<'_, Self>) -> Option<Box<Answer>> {
        let _ = phase;
        None
    }

    /// The calls it asked for have ended, in the order asked; none were when it asked for an
    /// errand.
    fn resume(&self, phase: &mut RequestPhase<'_, Self>, outcomes: &[CallOutcome]) -> Verdict {
        let _ = (phase, outcomes);
        Verdict::Continue
    }

    /// A piece of the request body, or all of it, by [`Filter::request_body_mode`].
    fn request_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        let _ = phase;
        BodyVerdict::Continue
    }

    /// The response head has arrived, or the gateway has made one.
    fn response_head(&self, phase: &mut ResponsePhase<'_, Self>) -> BodyVerdict {
        let _ = phase;
        BodyVerdict::Continue
    }

    /// A piece of the response body, or all of it, by [`Filter::response_body_mode`].
    fn response_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        let _ = phase;
        BodyVerdict::Continue
    }

    /// The exchange has ended, however it did.
    fn end(&self, summary: &Summary, core: &mut Self::Core, scratch: &mut Self::Scratch) {
        let _ = (summary, core, scratch);
    }

    /// Whether it would have refused the exchange if it did not only watch: for the access log,
    /// asked before [`Filter::end`].
    fn would_refuse(&self, scratch: &Self::Scratch) -> bool {
        let _ = scratch;
        false
    }

    /// A tick of the core, ten times a second: what its filters remember may be tidied.
    fn tick(core: &mut Self::Core, now: Moment) {
        let _ = (core, now);
    }

    /// What it would say of itself in `explain`: one line.
    fn describe(&self) -> String;

    /// What it would say in `explain` of the decision that it has just made in the request-head
    /// phase, and what it rests on: one line. Never asked on a worker.
    fn tell(&self, phase: &RequestPhase<'_, Self>) -> Option<String> {
        let _ = phase;
        None
    }
}

/// What a filter decides about a request.
#[derive(Debug)]
pub enum Verdict {
    /// The next filter's turn.
    Continue,
    /// The exchange is answered here.
    Respond(Box<Answer>),
    /// The engine makes these calls, then resumes this filter.
    Call(Box<Calls>),
    /// The engine has this done and waits, then resumes this filter.
    Ask(Box<Errand>),
    /// The engine waits this long, then the next filter has its turn.
    Pause(Duration),
}

/// What a filter decides about a body or a response.
#[derive(Debug)]
pub enum BodyVerdict {
    /// It passes.
    Continue,
    /// This answer takes its place, or, when an answer has begun, the exchange is cut.
    Refuse(Box<Answer>),
}

/// An answer that does not come from an origin.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: u16,
    /// Field names (lower case) and values, checked when they are put into the head.
    pub fields: Vec<(Box<str>, Box<[u8]>)>,
    /// The body, shared with the snapshot when it is constant.
    pub body: Bytes,
    /// The log code: why the gateway answered; empty for a plain answer.
    pub code: &'static str,
}

/// Calls that run in parallel under one deadline.
#[derive(Debug)]
pub struct Calls {
    /// The calls.
    pub calls: Vec<Call>,
    /// Until all have ended; what has not by then is a [`Fault::RequestTimeout`].
    pub timeout: Ticks,
}

/// A request of the gateway's own to an upstream.
#[derive(Clone, Debug)]
pub struct Call {
    /// Index of the upstream in the snapshot.
    pub upstream: usize,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: Box<str>,
    /// The value of `Host`.
    pub host: Box<str>,
    /// Further fields, lower-case names.
    pub fields: Vec<(Box<str>, Box<[u8]>)>,
    /// The body.
    pub body: Bytes,
    /// Bytes of response body that are gathered at most.
    pub response_max: usize,
}

/// How a call ended.
pub type CallOutcome = Result<CallResponse, Fault>;

/// A whole response to a call.
#[derive(Debug)]
pub struct CallResponse {
    /// Status and fields.
    pub head: ResponseHead,
    /// The body.
    pub body: Vec<u8>,
}

/// What is known of a request beside its head: the one table that filters, predicates, logs
/// and forwarded fields read.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// The address of the peer that the connection comes from; unspecified for UNIX sockets.
    pub peer: PeerAddr,
    /// The client's address: the peer, or what a trusted peer says.
    pub client: PeerAddr,
    /// Whether the peer is a trusted proxy.
    pub trust: Trust,
    /// The listener's index in the snapshot.
    pub listener: usize,
    /// How the request came.
    pub scheme: Scheme,
    /// What the client's TLS handshake told; none of a plain connection.
    pub tls: Option<Rc<TlsFacts>>,
    /// The request id.
    pub request_id: RequestId,
    /// Captures of the route's pattern, as spans of the routed path.
    pub captures: Captures,
    /// Where the authority that the client asked for lies in the head.
    pub authority: Span,
    /// The index of the route in the snapshot, once there is one.
    pub route: Option<usize>,
    /// Who makes the request, once a filter has proved it.
    pub principal: Proved,
    /// The log code of a request that nothing ended: what a filter that let it pass has to say of
    /// it; empty for nothing.
    pub note: &'static str,
    /// Where the normalised path that was routed lies in the head; a rewrite leaves it there.
    pub routed_path: Span,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            peer: PeerAddr::new(IpAddr::from([0, 0, 0, 0])),
            client: PeerAddr::new(IpAddr::from([0, 0, 0, 0])),
            trust: Trust::Untrusted,
            listener: 0,
            scheme: Scheme::Http,
            tls: None,
            request_id: RequestId::default(),
            captures: Captures::default(),
            authority: Span::default(),
            route: None,
            principal: None,
            note: "",
            routed_path: Span::default(),
        }
    }
}

/// How a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What a TLS handshake told of a client.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// The name that it asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Who its certificate names, where it was asked for one and showed one.
    pub identity: Option<ClientIdentity>,
    /// Whether origins are told.
    pub tell: IdentityFields,
}

impl TlsFacts {
    /// The identity, as far as origins are told.
    pub fn told(&self) -> Option<&ClientIdentity> {
        match self.tell {
            IdentityFields::On => self.identity.as_ref(),
            IdentityFields::Off => None,
        }
    }
}

/// The address of a connection's peer, with its text made once per connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr {
    /// The address.
    pub ip: IpAddr,
    text: [u8; ADDR_TEXT_MAX],
    len: u8,
}

/// The longest text of an IP address.
const ADDR_TEXT_MAX: usize = 45;

impl PeerAddr {
    /// The address and its text.
    pub fn new(ip: IpAddr) -> PeerAddr {
        let mut addr = PeerAddr {
            ip,
            text: [0; ADDR_TEXT_MAX],
            len: 0,
        };
        match ip {
            // RFC 7239, 6.2 has a word for peers without an address, such as those of UNIX
            // sockets.
            _ if ip.is_unspecified() => addr.push(b"unknown"),
            // Trusted proxies name a client with each request, nearly always of this kind.
            IpAddr::V4(v4) => {
                for (index, octet) in v4.octets().into_iter().enumerate() {
                    if index > 0 {
                        addr.push(b".");
                    }
                    addr.push(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            IpAddr::V6(v6) => {
                use std::io::Write;
                let mut rest = &mut addr.text[..];
                // The text fits by the definition of the constant.
                let _ = write!(rest, "{v6}");
                addr.len = (ADDR_TEXT_MAX - rest.len()) as u8;
            }
        }
        addr
    }

    fn push(&mut self, text: &[u8]) {
        let at = usize::from(self.len);
        self.text[at..at + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }

    /// The address as text, IPv6 without brackets.
    pub fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// A request id: up to 128 bytes, kept inline.
#[derive(Clone, Copy, Debug)]
pub struct RequestId {
    bytes: [u8; 128],
    len: u8,
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId {
            bytes: [0; 128],
            len: 0,
        }
    }
}

impl RequestId {
    /// Replaces the id; what is longer than 128 bytes is cut.
    pub fn set(&mut self, id: &[u8]) {
        let len = id.len().min(self.bytes.len());
        self.bytes[..len].copy_from_slice(&id[..len]);
        self.len = len as u8;
    }

    /// Its bytes; empty when request ids are off.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a filter sees of a request.
pub struct RequestPhase<'a, F: Filter> {
    /// The head, which it may change.
    pub head: &'a mut RequestHead,
    /// What else is known; what it proves of the client, it adds.
    pub attributes: &'a mut Attributes,
    /// What this core's filters remember.
    pub core: &'a mut F::Core,
    /// What this exchange's filters remember.
    pub scratch: &'a mut F::Scratch,
    /// Now.
    pub now: Stamp,
    /// The wall's clock, in milliseconds since the UNIX epoch.
    pub unix_ms: u64,
}

/// What a filter sees of a response.
pub struct ResponsePhase<'a, F: Filter> {
    /// The head, which it may change. With a framing of [`BodyLen::None`] no body phase
    /// follows; an empty body that may be filled is `BodyLen::Length(0)`.
    ///
    /// [`BodyLen::None`]: crate::http::BodyLen::None
    pub head: &'a mut ResponseHead,
    /// The request that is answered.
    pub request: &'a RequestHead,
    /// What else is known.
    pub attributes: &'a Attributes,
    /// What this core's filters remember.
    pub core: &'a mut F::Core,
    /// What this exchange's filters remember.
    pub scratch: &'a mut F::Scratch,
    /// Now.
    pub now: Stamp,
}

/// What a filter sees of a body.
pub struct BodyPhase<'a, F: Filter> {
    /// The piece: its payload is data without framing. It may be replaced in the modes
    /// `Rewrite` and `Whole`.
    pub piece: &'a mut Block,
    /// Whether this is the last piece (which may be empty).
    pub last: bool,
    /// Body bytes that passed before this piece.
    pub passed: u64,
    /// The body's trailers as lines `name: value\r\n`, all of them when `last` is set. In the
    /// modes `Rewrite` and `Whole` they may then be taken out or added to.
    pub trailers: &'a mut Vec<u8>,
    /// What this core's filters remember.
    pub core: &'a mut F::Core,
    /// What this exchange's filters remember.
    pub scratch: &'a mut F::Scratch,
    /// Now.
    pub now: Stamp,
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The status sent; 0 when none was.
    pub status: u16,
    /// What ended it early.
    pub fault: Option<Fault>,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_is_that_of_its_address() {
        for text in ["192.0.2.255", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(PeerAddr::new(ip).text(), ip.to_string().as_bytes());
        }
        assert_eq!(PeerAddr::new([0, 0, 0, 0].into()).text(), b"unknown");
    }
}
