//! Active health checks: each endpoint is asked on its own, once for the whole process, and
//! what comes of it is told to the node. An endpoint is healthy until checks have shown
//! otherwise, and what is known of it outlives reloads that do not change what is asked.

mod board;
mod body;
mod checker;
mod failure;
mod grpc;
mod http1;
mod http2;
mod probe;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

pub(crate) use board::Board;
pub(crate) use checker::Checker;

/// An upstream whose endpoints are checked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub upstream: String,
    /// How each endpoint is checked.
    pub check: Check,
    /// How an endpoint is spoken to.
    pub way: Way,
    /// The endpoints, each once.
    pub places: Vec<Place>,
}

/// How an endpoint is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked and which answer is good.
    pub question: Question,
    /// From one check to the next; up to a tenth is added.
    pub interval: Duration,
    /// For a whole check: connection, TLS and answer.
    pub timeout: Duration,
    /// Failed checks in a row that take an endpoint out.
    pub unhealthy_after: u32,
    /// Good checks in a row that bring it back.
    pub healthy_after: u32,
}

/// What is asked, and which answer is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A GET.
    Http {
        /// Begins with a slash; may have a query.
        path: String,
        /// The good statuses; empty = any 2xx.
        expect: Vec<u16>,
        /// What the body of a good answer has among its first 64 KiB; none asks for nothing.
        body: Option<String>,
    },
    /// The Check call of grpc.health.v1.Health; good is SERVING.
    Grpc {
        /// The service that is asked about; empty = the server as a whole.
        service: String,
    },
    /// Nothing: an endpoint that takes a connection is good.
    Tcp,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone)]
pub struct Way {
    /// What HTTP checks speak. gRPC is always HTTP/2.
    pub speaks: Speaks,
    /// TLS, where it is spoken.
    pub tls: Option<Tls>,
    /// What each connection begins with, before TLS: a PROXY protocol header, or nothing.
    pub prelude: &'static [u8],
}

impl PartialEq for Way {
    /// TLS is the same when its configuration is the same object.
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some(one), Some(two)) => Arc::ptr_eq(&one.config, &two.config) && one.name == two.name,
            (None, None) => true,
            _ => false,
        };
        same_tls && self.speaks == other.speaks && self.prelude == other.prelude
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: agreed on over TLS, known without it.
    Http2,
    /// What is agreed on over TLS; HTTP/1.1 without it.
    Agreed,
}

/// How TLS is spoken to endpoints.
#[derive(Debug, Clone)]
pub struct Tls {
    /// As requests use it. Checks keep sessions of their own.
    pub config: Arc<ClientConfig>,
    /// The name to ask for and verify; none takes that of the endpoint's authority.
    pub name: Option<ServerName<'static>>,
}

/// An endpoint: what tells it from the others of its upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Where it is.
    pub address: Address,
    /// Host and port as configured, as requests without a host of their own name it.
    pub authority: String,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What follows for requests.
    pub state: State,
    /// Why, in words.
    pub why: String,
    /// Since when it is so.
    pub since: SystemTime,
}

/// What checks have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing yet: it is used.
    Unchecked,
    /// It is used.
    Healthy,
    /// It gets no new requests.
    Unhealthy,
}

impl State {
    /// The word for it on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether checks let it have requests.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Unchecked | Self::Healthy)
    }
}
