//! Where requests are sent.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::{Name, UpstreamTls};
use crate::Spanned;
use crate::keys::words;

/// `[[upstream]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Unique among upstreams.
    pub name: Spanned<Name>,
    /// How an endpoint is picked.
    pub balance: Balance,
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
    },
    /// The Check call of grpc.health.v1.Health; good is SERVING.
    Grpc {
        /// The service that is asked about; empty = the server as a whole.
        service: Box<str>,
    },
}

/// The type of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthKind {
    /// [`HealthQuestion::Http`]
    Http,
    /// [`HealthQuestion::Grpc`]
    Grpc,
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

/// How an endpoint is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The fewest requests in flight.
    LeastConnections,
    /// By the client's address.
    IpHash,
    /// The less loaded of two picked at random.
    RandomTwo,
    /// By a key, moving few keys when endpoints change.
    ConsistentHash,
}

/// One place that serves an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Spanned<EndpointAddr>,
    /// Its share beside the other endpoints.
    pub weight: NonZeroU16,
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

words!(Balance {
    RoundRobin = "round_robin",
    LeastConnections = "least_connections",
    IpHash = "ip_hash",
    RandomTwo = "random_two",
    ConsistentHash = "consistent_hash",
});
words!(UpstreamProtocol { Http1 = "http/1.1", Http2 = "h2", Auto = "auto" });
words!(HealthKind { Http = "http", Grpc = "grpc" });
words!(ProxyVersion { V1 = "v1", V2 = "v2" });
