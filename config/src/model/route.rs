//! Which requests go where.

use std::time::Duration;

use super::{Cap, Field, FilterId, Name, RoutePolicy, UpstreamId};
use crate::Spanned;

/// `[[route]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Unique among routes.
    pub name: Spanned<Name>,
    /// Host patterns; empty means any host.
    pub hosts: Vec<Spanned<Box<str>>>,
    /// Path pattern.
    pub path: Spanned<Box<str>>,
    /// Methods in upper case; empty means any method.
    pub methods: Vec<Spanned<Box<str>>>,
    /// The highest wins among routes that match equally well.
    pub priority: Spanned<i32>,
    /// Conditions on fields and query.
    pub matches: Matches,
    /// Filters in the order they run; no filter twice.
    pub filters: Vec<Spanned<FilterId>>,
    /// What answers the request.
    pub action: Action,
    /// Template of the path that the origin sees; only with upstream actions.
    pub rewrite: Option<Spanned<Box<str>>>,
    /// Overrides `limits.request_timeout`.
    pub timeout: Option<Cap<Duration>>,
    /// Overrides `limits.body_max`, in bytes.
    pub body_max: Option<Cap<u64>>,
    /// The `Host` that the origin sees.
    pub upstream_host: UpstreamHost,
    /// Which protocol upgrades pass.
    pub upgrade: Upgrade,
    /// Its traffic policies.
    pub policy: RoutePolicy,
}

/// Conditions beyond host, path and method; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// On request fields; names in lower case, each name once.
    pub headers: Vec<FieldMatch>,
    /// On query parameters; names as they are after decoding, each name once.
    pub query: Vec<FieldMatch>,
    /// On the consumer that makes the request.
    pub consumer: Option<Spanned<ValueMatch>>,
    /// On the groups of who makes it.
    pub group: Option<Spanned<ValueMatch>>,
    /// On the scopes of its token.
    pub scope: Option<Spanned<ValueMatch>>,
    /// On the claims of its token; each name once.
    pub claims: Vec<FieldMatch>,
}

impl Matches {
    /// Whether there are conditions on who makes the request.
    pub fn ask_who(&self) -> bool {
        let one = [&self.consumer, &self.group, &self.scope];
        one.iter().any(|condition| condition.is_some()) || !self.claims.is_empty()
    }
}

/// A condition on one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMatch {
    /// Of the field or parameter.
    pub name: Spanned<Box<str>>,
    /// What its value must be.
    pub value: Spanned<ValueMatch>,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// This text.
    Exact(Box<str>),
    /// Any of these texts; never empty.
    Any(Vec<Box<str>>),
    /// A text that begins so; never empty.
    Prefix(Box<str>),
    /// There, whatever its value.
    Present,
    /// Not there.
    Absent,
}

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// One upstream.
    Upstream(Spanned<UpstreamId>),
    /// One of several upstreams, by conditions, then by weight; never empty, the weights add up
    /// to at least 1.
    Split(Vec<SplitTarget>),
    /// A constant answer.
    Respond(Respond),
    /// A redirect.
    Redirect(Redirect),
}

/// One branch of a split; `U` is how it names its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitTarget<U = Spanned<UpstreamId>> {
    /// Where its share goes.
    pub upstream: U,
    /// Its share; 0 sends nothing but what its conditions hold for.
    pub weight: u16,
    /// A request that has all of these fields goes here whatever the weights.
    pub headers: Vec<FieldMatch>,
    /// A request that has all of these cookies, and the fields, goes here.
    pub cookies: Vec<FieldMatch>,
}

/// A constant answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Empty for 204 and 304.
    pub body: Box<str>,
    /// `Content-Type`; `None` when there is no body.
    pub content_type: Option<Box<str>>,
    /// Further fields; neither framing nor `content-type`.
    pub headers: Vec<Field>,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Template of `Location`: a path, or an absolute `http://` or `https://` URL.
    pub to: Spanned<Box<str>>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The `Host` that the origin sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamHost {
    /// The client's.
    Preserve,
    /// The endpoint's address as configured.
    Endpoint,
    /// This one.
    Literal(Box<str>),
}

/// Which protocol upgrades pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// None: the request goes on without its `Upgrade` field.
    Forbid,
    /// `websocket` (RFC 6455).
    WebSocket,
}
