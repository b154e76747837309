//! Where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Cap, FilterId, Limits, ListenerTls, Name};
use crate::Spanned;
use crate::keys::words;

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: Spanned<Name>,
    /// Unique among listeners, but for port 0.
    pub listen: Spanned<ListenAddr>,
    /// What a client's FIN after its request means.
    pub half_close: HalfClose,
    /// `[limits]` with this listener's overrides applied.
    pub limits: Limits,
    /// What its connections carry.
    pub protocol: ListenerProtocol,
    /// Where all bytes go with [`ListenerProtocol::Tcp`], those of unlisted names with
    /// [`ListenerProtocol::Tls`]; `None` with [`ListenerProtocol::Http`]. An upstream of this
    /// name exists.
    pub upstream: Option<Spanned<Name>>,
    /// Where the bytes of listed names go; only with [`ListenerProtocol::Tls`].
    pub sni: Vec<SniRoute>,
    /// There when the listener has a certificate or `acme` names; only with
    /// [`ListenerProtocol::Http`].
    pub tls: Option<ListenerTls>,
    /// Whether a connection without TLS may begin with HTTP/2's preface.
    pub h2c: bool,
    /// Bounds of its HTTP/2 connections.
    pub http2: Http2,
    /// Peers whose connections begin with a PROXY protocol header.
    pub proxy_protocol_from: Vec<Spanned<IpNet>>,
    /// Host names in lower case whose certificates are ordered by [`Acme`](super::Acme); none
    /// twice.
    pub acme: Vec<Spanned<Box<str>>>,
    /// Filters in the order they run, before a request has a route; no filter twice, only with
    /// [`ListenerProtocol::Http`].
    pub filters: Vec<Spanned<FilterId>>,
}

/// What a listener's connections carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP, routed request by request.
    Http,
    /// Bytes for one upstream.
    Tcp,
    /// TLS passed on undecrypted, by the name that its first message asks for.
    Tls,
}

/// `[[listener.sni]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniRoute {
    /// Host names in lower case, or `*.` and a suffix; never empty, and in no other entry of the
    /// listener.
    pub names: Vec<Spanned<Box<str>>>,
    /// Where their connections go; an upstream of this name exists.
    pub upstream: Spanned<Name>,
}

/// `[listener.http2]`: what an HTTP/2 connection may cost. The budgets are for ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2 {
    /// Streams open at a time.
    pub streams_max: u32,
    /// Bytes of one request's body under way unread; 65535 to 2^31 - 1.
    pub stream_window: u32,
    /// Bytes of all bodies together under way unread; 65535 to 2^31 - 1.
    pub connection_window: u32,
    /// Streams that the client may cancel.
    pub resets_max: u32,
    /// PING frames.
    pub pings_max: u32,
    /// SETTINGS frames.
    pub settings_max: u32,
    /// Frames that carry nothing.
    pub empty_frames_max: u32,
    /// Requests begun within one second.
    pub requests_per_second_max: Cap<NonZeroU32>,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// An IP address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What it means that a client shuts its sending side down after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// It has gone: its request is cancelled.
    Abort,
    /// It still reads: the response is sent, then the connection closes.
    Allow,
}

words!(HalfClose { Abort = "abort", Allow = "allow" });
words!(ListenerProtocol { Http = "http", Tcp = "tcp", Tls = "tls" });
