//! Why a check failed, in words that need no packet trace.

use std::fmt;

use super::grpc::Serving;

/// Why a check failed. Texts of a peer are never in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection.
    Connect(String),
    /// A connection, but no TLS.
    Handshake(String),
    /// HTTP/2 is needed and was not agreed on.
    NoHttp2,
    /// The time was over.
    Late(Late),
    /// The request cannot be written.
    Request(String),
    /// The connection ended, or what came is not the protocol.
    Broken(String),
    /// Another status than wanted.
    Status(u16),
    /// The expected text is not in what was read of the body.
    Body,
    /// A gRPC status other than OK; absent without one.
    GrpcStatus(Option<u16>),
    /// A gRPC answer that is no health answer.
    GrpcMessage,
    /// The service says that it does not serve.
    NotServing(Serving),
    /// The check panicked.
    Panicked,
}

/// What had not come when the time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    Connection,
    Answer,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "no connection: {cause}"),
            Self::Handshake(cause) => write!(f, "no TLS: {cause}"),
            Self::NoHttp2 => f.write_str("the endpoint did not agree to HTTP/2 in TLS"),
            Self::Late(Late::Connection) => f.write_str("no connection in time"),
            Self::Late(Late::Answer) => f.write_str("no whole answer in time"),
            Self::Request(cause) => write!(f, "the check cannot be asked: {cause}"),
            Self::Broken(cause) => write!(f, "no proper answer: {cause}"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Body => f.write_str("the body lacks the expected text"),
            Self::GrpcStatus(None) => f.write_str("an answer without a gRPC status"),
            Self::GrpcStatus(Some(code)) => match grpc_word(*code) {
                Some(word) => write!(f, "gRPC status {code} ({word})"),
                None => write!(f, "gRPC status {code}"),
            },
            Self::GrpcMessage => f.write_str("a gRPC answer that is no health answer"),
            Self::NotServing(serving) => write!(f, "the service says {serving}"),
            Self::Panicked => f.write_str("the check panicked; please report this"),
        }
    }
}

/// The statuses that a health service has reason to answer.
fn grpc_word(code: u16) -> Option<&'static str> {
    match code {
        1 => Some("CANCELLED"),
        2 => Some("UNKNOWN"),
        4 => Some("DEADLINE_EXCEEDED"),
        5 => Some("NOT_FOUND: it knows no such service"),
        7 => Some("PERMISSION_DENIED"),
        8 => Some("RESOURCE_EXHAUSTED"),
        12 => Some("UNIMPLEMENTED: it has no health service"),
        13 => Some("INTERNAL"),
        14 => Some("UNAVAILABLE"),
        16 => Some("UNAUTHENTICATED"),
        _ => None,
    }
}
