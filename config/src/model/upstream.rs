//! Where requests are sent.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::{Breaker, Choice, Concurrency, Fallback, Name, Outlier, Retry, Sticky, UpstreamTls};
use crate::Spanned;
use crate::keys::words;

/// `[[upstream]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Unique among upstreams.
    pub name: Spanned<Name>,
    /// How an endpoint is picked.
    pub balance: Choice,
    /// Share of a group's weight that must be available for it to take all requests.
    pub failover_below: f64,
    /// Share of all weight that must be available for checks and ejections to be believed.
    pub panic_below: f64,
    /// How long an endpoint that is back takes to get its full share; zero is at once.
    pub slow_start: Duration,
    /// Requests at a time and endpoint; 0 is no limit.
    pub endpoint_requests_max: u32,
    /// A cookie that keeps a client with its endpoint.
    pub sticky: Option<Sticky>,
    /// Never empty.
    pub endpoints: Vec<Endpoint>,
    /// Limit for opening a connection.
    pub connect_timeout: Duration,
    /// Limit from the end of the request to the end of the response head.
    pub response_timeout: Duration,
    /// Limit between two pieces of a response body.
    pub read_timeout: Duration,
    /// How long an unused connection stays in the pool.
    pub idle_timeout: Duration,
    /// Unused connections kept by each worker; 0 closes each after its response.
    pub keepalive_max: usize,
    /// What its connections speak.
    pub protocol: UpstreamProtocol,
    /// How they speak it over TLS; `None` speaks plain.
    pub tls: Option<UpstreamTls>,
    /// Bounds of its HTTP/2 connections.
    pub http2: UpstreamHttp2,
    /// The header that each connection begins with; not beside HTTP/2.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How its endpoints are checked; `None` does not check them.
    pub health: Option<HealthCheck>,
    /// Its circuit breaker.
    pub breaker: Option<Breaker>,
    /// When endpoints are ejected.
    pub outlier: Option<Outlier>,
    /// Its retries; a route's own go before them.
    pub retry: Option<Retry>,
    /// Requests at a time.
    pub concurrency: Option<Concurrency>,
    /// Who answers in its place; a route's own goes before it.
    pub fallback: Option<Fallback>,
}

/// `[upstream.health]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked and which answer is good.
    pub question: HealthQuestion,
    /// From one check to the next.
    pub interval: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// Failed checks in a row that take an endpoint out; at least 1.
    pub unhealthy_after: u32,
    /// Good checks in a row that bring it back; at least 1.
    pub healthy_after: u32,
}

/// What a health check asks, and which answer is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthQuestion {
    /// A GET.
    Http {
        /// Begins with a slash; may have a query.
        path: Box<str>,
        /// The good statuses; empty = any 2xx.
        expect: Vec<u16>,
        /// A text that the answer's body must contain; never empty.
        body: Option<Box<str>>,
    },
    /// The Check call of grpc.health.v1.Health; good is SERVING.
    Grpc {
        /// The service that is asked about; empty = the server as a whole.
        service: Box<str>,
    },
    /// A connection, without TLS; good is one that can be opened.
    Tcp,
}

/// The type of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthKind {
    /// [`HealthQuestion::Http`]
    Http,
    /// [`HealthQuestion::Grpc`]
    Grpc,
    /// [`HealthQuestion::Tcp`]
    Tcp,
}

/// What an upstream's connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on over TLS, known without it.
    Http2,
    /// What the origin picks over TLS; HTTP/1.1 without it.
    Auto,
}

/// `[upstream.http2]`, for each worker and endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Connections at a time.
    pub connections_max: u32,
    /// Requests on one connection at a time, if the origin takes as many.
    pub streams_max: u32,
    /// Bytes of one response's body under way unread; 65535 to 2^31 - 1.
    pub stream_window: u32,
    /// Bytes of all bodies together under way unread; 65535 to 2^31 - 1.
    pub connection_window: u32,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// One place that serves an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Spanned<EndpointAddr>,
    /// Its share beside the other endpoints.
    pub weight: NonZeroU16,
    /// The group that it belongs to: the lowest number goes first.
    pub priority: u8,
    /// Where it stands.
    pub zone: Option<Spanned<Name>>,
    /// Whether it gets no new requests.
    pub drain: bool,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddr {
    /// An IP address and a port other than 0.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
    /// A name that the control plane resolves.
    Name {
        /// In lower case, without a final dot.
        host: Box<str>,
        /// The port at each of its addresses.
        port: NonZeroU16,
    },
}

impl fmt::Display for EndpointAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

words!(UpstreamProtocol { Http1 = "http/1.1", Http2 = "h2", Auto = "auto" });
words!(HealthKind { Http = "http", Grpc = "grpc", Tcp = "tcp" });
words!(ProxyVersion { V1 = "v1", V2 = "v2" });
