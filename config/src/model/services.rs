//! Services that are asked about credentials, and those that give the gateway its own.

use std::time::Duration;

use super::{HeaderName, Key, Name};
use crate::Spanned;
use crate::keys::words;

/// A filter of type "forward_auth": a service is asked about each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Who is asked.
    pub service: Service,
    /// Headers of the request that it gets.
    pub request_headers: Vec<HeaderName>,
    /// Headers of its answer that the origin gets.
    pub response_headers: Vec<HeaderName>,
    /// Headers of its answer that the client gets.
    pub client_headers: Vec<HeaderName>,
    /// What becomes of requests while it does not answer.
    pub on_failure: OnFailure,
    /// Whether its answers are kept.
    pub cache: Option<AnswerCache>,
    /// Has what the bearer is called.
    pub subject_header: Option<HeaderName>,
    /// Has the consumer's name.
    pub consumer_header: Option<HeaderName>,
    /// Has groups, with commas between them.
    pub groups_header: Option<HeaderName>,
}

/// A service that is asked through an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The upstream; it exists.
    pub upstream: Spanned<Name>,
    /// Path and query.
    pub path: Box<str>,
    /// The value of `Host`; `None` is the upstream's first endpoint.
    pub host: Option<Box<str>>,
    /// For an answer.
    pub timeout: Duration,
    /// Bytes of the body of an answer.
    pub answer_max: u64,
}

/// What becomes of requests while nobody can say who makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// 503.
    Refuse,
    /// They pass.
    Allow,
}

words!(OnFailure { Refuse = "refuse", Allow = "allow" });

/// Which answers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCache {
    /// Requests that have the same of this share an answer.
    pub key: Key,
    /// For how long.
    pub ttl: Duration,
    /// How many, on each core.
    pub entries_max: u64,
}
