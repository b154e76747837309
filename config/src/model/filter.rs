//! What is done to requests and responses on the way.

use super::{
    AddressFilter, Authentication, Authorize, ConcurrencyLimit, Cors, Csrf, FaultFilter, Field,
    HeaderName, Maintenance, Name, OriginToken, Quota, RateLimit, SecurityHeaders,
};
use crate::Spanned;

/// `[filter.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The key under `filter`.
    pub name: Spanned<Name>,
    /// What it does.
    pub kind: FilterKind,
}

/// A filter's `type` with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterKind {
    /// `type = "headers"`
    Headers(HeaderFilter),
    /// `type = "rewrite"`
    Rewrite(PathRewrite),
    /// `type = "body_limit"`
    BodyLimit(BodyLimit),
    /// `type = "grpc_web"`
    GrpcWeb,
    /// `type = "rate_limit"`
    RateLimit(Box<RateLimit>),
    /// `type = "quota"`
    Quota(Box<Quota>),
    /// `type = "concurrency_limit"`
    ConcurrencyLimit(ConcurrencyLimit),
    /// `type = "fault"`
    Fault(FaultFilter),
    /// `type = "authorize"`
    Authorize(Box<Authorize>),
    /// `type = "client_credentials"`
    OriginToken(OriginToken),
    /// `type = "maintenance"`
    Maintenance(Box<Maintenance>),
    /// Any type that asks who makes a request.
    Authentication(Box<Authentication>),
    /// One that could not be read: it keeps its name, so that its routes do not seem wrong as
    /// well. No configuration without errors has it.
    Invalid,
    /// `type = "address"`
    Address(Box<AddressFilter>),
    /// `type = "cors"`
    Cors(Box<Cors>),
    /// `type = "security_headers"`
    SecurityHeaders(Box<SecurityHeaders>),
    /// `type = "csrf"`
    Csrf(Box<Csrf>),
}

/// Changes to the fields of requests and responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderFilter {
    /// Applied before the request is sent upstream.
    pub request: HeaderEdits,
    /// Applied before the response is sent to the client.
    pub response: HeaderEdits,
}

/// Changes to one head, applied in the order remove, set, add. Hop-by-hop and framing fields
/// never occur in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields that replace all of their name.
    pub set: Vec<Field>,
    /// Fields added beside those of their name.
    pub add: Vec<Field>,
    /// Names whose fields are dropped.
    pub remove: Vec<Spanned<HeaderName>>,
}

/// How the path changes before the request is sent upstream. The query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path, from a template with the route's captures.
    Template(Spanned<Box<str>>),
    /// `strip` is taken off the front when the path has it at a segment's end, then `add` is put
    /// there. Each is empty or begins with `/` and does not end with one.
    Prefix {
        /// Taken off.
        strip: Box<str>,
        /// Put in front.
        add: Box<str>,
    },
}

/// The largest request body that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// Bytes; a larger body gets 413.
    pub max: u64,
}
