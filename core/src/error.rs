//! The error table: everything that can end an exchange other than a complete answer.
//!
//! Status, log code, metric label and termination code of a fault derive from its row and
//! from nowhere else.

use ringgate_router::path::PathError;

use crate::http::h1::{BodyError, HeadError};

/// Why an exchange did not run its plain course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request head was refused.
    RequestHead(HeadError),
    /// The path breaks the path policy.
    RequestPath(PathError),
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request body was refused.
    RequestBody(BodyError),
    /// The request body stopped arriving.
    BodyTimeout,
    /// The request body is larger than the limit.
    BodyTooLarge,
    /// The client went away before its answer was complete.
    ClientClosed,
    /// The client did not take its answer in time.
    SendTimeout,
    /// CONNECT, which is for forward proxies.
    TunnelRefused,
    /// TRACE, where no route lists it.
    TraceRefused,
    /// No route takes this host and path.
    NoRoute,
    /// Routes take this path, with other methods.
    MethodNotAllowed,
    /// The listener has its most connections already.
    ConnectionCap,
    /// The upstream has no endpoint with an address.
    NoEndpoint,
    /// The origin refused the connection or cannot be reached.
    ConnectFailed,
    /// The origin did not take the connection in time.
    ConnectTimeout,
    /// The origin closed or reset the connection before its response head.
    OriginClosed,
    /// The origin sent no response head in time.
    ResponseTimeout,
    /// The response head was refused.
    ResponseHead(HeadError),
    /// The response body was refused or cut short.
    ResponseBody(BodyError),
    /// The origin stopped sending within a response, or stopped taking the request.
    ReadTimeout,
    /// The origin switched protocols unasked, or to another one than was asked for.
    BadUpgrade,
    /// The whole request took longer than its limit.
    RequestTimeout,
    /// Nothing passed through a tunnel for too long.
    TunnelIdle,
    /// A filter asked for more than it may, or a subrequest chain ran too deep.
    FilterFailed,
    /// A filter refused a body or a response; its answer says more.
    FilterRefused,
    /// A rewritten target cannot be sent.
    RewriteFailed,
    /// A connection did not begin with the PROXY protocol header that its peer owes.
    ProxyHeader,
    /// The TLS handshake failed.
    TlsHandshake,
    /// The TLS handshake took too long.
    TlsTimeout,
    /// A plain request on a port that speaks TLS.
    PlainOnTls,
    /// What the client sent is not HTTP/2 where it has to be, or breaks it.
    Http2Protocol,
    /// The client sent too many frames of a kind that costs it nothing.
    Http2Flood,
    /// No upstream takes the server name of a passed connection.
    NoServerName,
    /// The handshake with the origin failed, or its stream was cut.
    OriginTls,
    /// The origin's certificate does not prove what it must.
    OriginUntrusted,
    /// The origin does not speak the protocol that the upstream asks for.
    OriginProtocol,
    /// The origin refused the stream before it looked at the request.
    StreamRefused,
    /// The circuit breaker of the upstream, or of all its endpoints, is open.
    CircuitOpen,
    /// As many requests as may be are under way, and as many as may wait do.
    ConcurrencyLimit,
    /// A request waited too long for others to end.
    QueueTimeout,
    /// The worker has too much to do for requests of this urgency.
    Overloaded,
    /// One attempt took longer than it may.
    TryTimeout,
    /// The client sends or takes bytes more slowly than it has to.
    SlowClient,
    /// The client's address has its most connections already, or opens them too fast.
    AddressCap,
    /// A tunnel has lived as long as it may.
    TunnelExpired,
    /// The grace of a shutdown was over.
    Shutdown,
    /// A program error ended the exchange.
    Internal,
}

/// Who a fault came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client or its connection.
    Downstream,
    /// The origin or its connection.
    Upstream,
    /// The gateway: a policy, a limit or an error of its own.
    Internal,
}

impl Origin {
    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Downstream => "client",
            Origin::Upstream => "origin",
            Origin::Internal => "gateway",
        }
    }

    /// As [`Fault::termination`].
    pub const fn termination(self, phase: Phase) -> [u8; 2] {
        let who = match self {
            Origin::Downstream => b'C',
            Origin::Upstream => b'O',
            Origin::Internal => b'G',
        };
        [who, phase.letter() as u8]
    }
}

/// Whether another attempt may be made after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The request is at fault, or has been answered.
    Never,
    /// Nothing of the request reached the origin.
    Unsent,
    /// The origin may have acted on the request: idempotent ones only.
    Idempotent,
}

/// The phase of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading the request head.
    #[default]
    RequestHead,
    /// Routing and filters.
    Policy,
    /// Getting a connection to the origin.
    Connect,
    /// Sending the request to the origin.
    RequestBody,
    /// Waiting for the response head.
    ResponseHead,
    /// Relaying the response body.
    ResponseBody,
    /// Relaying a tunnel.
    Tunnel,
    /// Done.
    End,
}

impl Phase {
    /// The letter in termination codes.
    pub const fn letter(self) -> char {
        match self {
            Phase::RequestHead => 'H',
            Phase::Policy => 'P',
            Phase::Connect => 'C',
            Phase::RequestBody => 'Q',
            Phase::ResponseHead => 'W',
            Phase::ResponseBody => 'R',
            Phase::Tunnel => 'T',
            Phase::End => '-',
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Who it came from.
    pub origin: Origin,
    /// The status that answers it when no answer has begun; `None` where nobody listens.
    pub status: Option<u16>,
    /// The code in logs and metrics.
    pub code: &'static str,
    /// Whether another attempt may be made.
    pub retry: Retry,
}

impl Fault {
    /// The fault's row.
    pub fn row(self) -> Row {
        use Origin::{Downstream, Internal, Upstream};
        use Retry::{Idempotent, Never, Unsent};
        let (origin, status, code, retry) = match self {
            Fault::RequestHead(error) => (Downstream, error.status(), error.code(), Never),
            Fault::RequestPath(error) => (Downstream, 400, error.code(), Never),
            Fault::HeadTimeout => (Downstream, 408, "head_timeout", Never),
            Fault::RequestBody(error) => (Downstream, error.status(), error.code(), Never),
            Fault::BodyTimeout => (Downstream, 408, "body_timeout", Never),
            Fault::BodyTooLarge => (Internal, 413, "body_too_large", Never),
            Fault::ClientClosed => (Downstream, 0, "client_closed", Never),
            Fault::SendTimeout => (Downstream, 0, "send_timeout", Never),
            Fault::TunnelRefused => (Internal, 405, "tunnel_refused", Never),
            Fault::TraceRefused => (Internal, 405, "trace_refused", Never),
            Fault::NoRoute => (Internal, 404, "no_route", Never),
            Fault::MethodNotAllowed => (Internal, 405, "method_not_allowed", Never),
            Fault::ConnectionCap => (Internal, 503, "connection_cap", Never),
            Fault::NoEndpoint => (Upstream, 503, "no_endpoint", Never),
            Fault::ConnectFailed => (Upstream, 502, "connect_failed", Unsent),
            Fault::ConnectTimeout => (Upstream, 504, "connect_timeout", Unsent),
            Fault::OriginClosed => (Upstream, 502, "origin_closed", Idempotent),
            Fault::ResponseTimeout => (Upstream, 504, "response_timeout", Idempotent),
            Fault::ResponseHead(error) => (Upstream, 502, error.code(), Never),
            Fault::ResponseBody(error) => (Upstream, 502, error.code(), Never),
            Fault::ReadTimeout => (Upstream, 504, "read_timeout", Never),
            Fault::BadUpgrade => (Upstream, 502, "bad_upgrade", Never),
            Fault::RequestTimeout => (Internal, 504, "request_timeout", Never),
            Fault::TunnelIdle => (Internal, 0, "tunnel_idle", Never),
            Fault::FilterFailed => (Internal, 500, "filter_failed", Never),
            Fault::FilterRefused => (Internal, 403, "filter_refused", Never),
            Fault::RewriteFailed => (Internal, 500, "rewrite_failed", Never),
            Fault::ProxyHeader => (Downstream, 0, "proxy_header", Never),
            Fault::TlsHandshake => (Downstream, 0, "tls_handshake", Never),
            Fault::TlsTimeout => (Downstream, 0, "tls_timeout", Never),
            Fault::PlainOnTls => (Downstream, 400, "plain_on_tls", Never),
            Fault::Http2Protocol => (Downstream, 0, "http2_protocol", Never),
            Fault::Http2Flood => (Downstream, 0, "http2_flood", Never),
            Fault::NoServerName => (Downstream, 0, "no_server_name", Never),
            Fault::OriginTls => (Upstream, 502, "origin_tls", Unsent),
            Fault::OriginUntrusted => (Upstream, 502, "origin_untrusted", Never),
            Fault::OriginProtocol => (Upstream, 502, "origin_protocol", Never),
            Fault::StreamRefused => (Upstream, 503, "stream_refused", Unsent),
            Fault::CircuitOpen => (Internal, 503, "circuit_open", Never),
            Fault::ConcurrencyLimit => (Internal, 503, "concurrency_limit", Never),
            Fault::QueueTimeout => (Internal, 503, "queue_timeout", Never),
            Fault::Overloaded => (Internal, 503, "overloaded", Never),
            Fault::TryTimeout => (Upstream, 504, "try_timeout", Idempotent),
            Fault::SlowClient => (Downstream, 408, "slow_client", Never),
            Fault::AddressCap => (Internal, 0, "address_cap", Never),
            Fault::TunnelExpired => (Internal, 0, "tunnel_expired", Never),
            Fault::Shutdown => (Internal, 0, "shutdown", Never),
            Fault::Internal => (Internal, 500, "internal", Never),
        };
        Row {
            origin,
            status: match status {
                0 => None,
                status => Some(status),
            },
            code,
            retry,
        }
    }

    /// Whether it says that an upstream cannot answer: its own faults, and those of the policies
    /// that protect it.
    pub fn is_of_upstream(self) -> bool {
        let protected = matches!(
            self,
            Fault::CircuitOpen | Fault::ConcurrencyLimit | Fault::QueueTimeout
        );
        protected || self.row().origin == Origin::Upstream
    }

    /// Two letters for the access log: who ended the exchange (`C`lient, `O`rigin,
    /// `G`ateway) and in which phase.
    pub fn termination(self, phase: Phase) -> [u8; 2] {
        self.row().origin.termination(phase)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.row().code)
    }
}

impl std::error::Error for Fault {}
