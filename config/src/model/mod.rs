//! The typed tree: what a configuration means once it has been checked. Values that later stages
//! may complain about keep the [`Span`](crate::Span) they were written at.

mod access;
mod acme;
mod authorize;
mod edge;
mod filter;
mod introspection;
mod issuer;
mod limiter;
mod listener;
mod node;
mod oauth;
mod policy;
mod process;
mod route;
mod services;
mod tls;
mod upstream;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use crate::limits::Limits;
pub use access::{
    Access, AuthScheme, Authentication, Basic, CertificateName, Consumer, ConsumerKey,
    ConsumerStore, KeyPlaces, KeyProof, Mtls, Otherwise, TokenSubject,
};
pub use acme::{Acme, Challenge};
pub use authorize::{Authorize, Hours, Rule};
pub use edge::{
    AddressFilter, Cors, Csrf, NetworkLists, OriginHosts, OriginPattern, OriginPort, Origins,
    SecurityHeaders, WithoutOrigin,
};
pub use filter::{BodyLimit, Filter, FilterKind, HeaderEdits, HeaderFilter, PathRewrite};
pub use introspection::Introspection;
pub use issuer::{
    Issuer, IssuerKey, IssuerKeys, KeyFetch, KeyMaterial, TokenAlgorithm, TokenExpiry, TokenFilter,
};
pub use limiter::{
    Algorithm, ConcurrencyLimit, FaultFilter, LimiterKey, Maintenance, Override, Period, Quota,
    Rate, RateLimit, RateOverride, Weight,
};
pub use listener::{HalfClose, Http2, ListenAddr, Listener, ListenerProtocol, SniRoute};
pub use node::{Node, Overload, Quotas, Redis, Secret};
pub use oauth::{ClientCredentialsIn, OauthClient, OriginToken};
pub use policy::{
    Adaptive, Balance, Breaker, BreakerScope, Canary, Choice, Concurrency, Fallback, FallbackTo,
    Halt, Hedge, Key, KeyPart, Mirror, Outlier, Retry, RetryOn, RoutePolicy, Sticky, Urgency,
};
pub use process::{
    AccessLog, Admin, Backslash, Cores, DotSegments, Driver, EncodedSlash, Forwarded, Log,
    LogFormat, LogLevel, PathPolicy, Runtime, TrailingSlash, Workers,
};
pub use route::{
    Action, FieldMatch, Matches, Redirect, Respond, Route, SplitTarget, Upgrade, UpstreamHost,
    ValueMatch,
};
pub use services::{AnswerCache, ForwardAuth, OnFailure, Service};
pub use tls::{Alpn, Certificate, CipherSuite, ClientAuth, ListenerTls, TlsVersion, UpstreamTls};
pub use upstream::{
    Endpoint, EndpointAddr, HealthCheck, HealthKind, HealthQuestion, ProxyVersion, Upstream,
    UpstreamHttp2, UpstreamProtocol,
};

use crate::{Sources, Spanned};

/// A whole configuration, includes merged and references resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads of the data plane.
    pub runtime: Runtime,
    /// The admin listener; absent means none.
    pub admin: Option<Admin>,
    /// Operational and access log.
    pub log: Log,
    /// Limits of every listener that does not override them.
    pub limits: Limits,
    /// How request paths are normalised.
    pub path: PathPolicy,
    /// What is told to origins about the client, and who is believed about it.
    pub forwarded: Forwarded,
    /// What this node is among others.
    pub node: Node,
    /// When requests are refused because there is too much to do.
    pub overload: Overload,
    /// Stores that nodes share limits through; names are unique.
    pub redis: Vec<Redis>,
    /// Where quotas are kept; there when a filter is a quota.
    pub quotas: Option<Quotas>,
    /// What the gateway is to authorisation servers; names are unique.
    pub oauth_clients: Vec<OauthClient>,
    /// Where certificates are ordered; there when a listener has `acme` names.
    pub acme: Option<Acme>,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Indexed by [`UpstreamId`].
    pub upstreams: Vec<Upstream>,
    /// Indexed by [`FilterId`].
    pub filters: Vec<Filter>,
    /// How origins are told who makes a request.
    pub access: Access,
    /// Who may use the API.
    pub consumers: Vec<Consumer>,
    /// Who issues tokens; names are unique.
    pub issuers: Vec<Issuer>,
    /// Where more of them are kept.
    pub consumer_store: Option<ConsumerStore>,
    /// In the order of the files: the main file's first, then the included files' sorted.
    pub routes: Vec<Route>,
    pub(crate) sources: Arc<Sources>,
}

impl Config {
    /// The upstream of an id that this configuration gave out.
    ///
    /// # Panics
    /// If the id is of another, larger configuration.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> &Upstream {
        &self.upstreams[id.index()]
    }

    /// The filter of an id that this configuration gave out.
    ///
    /// # Panics
    /// If the id is of another, larger configuration.
    #[must_use]
    pub fn filter(&self, id: FilterId) -> &Filter {
        &self.filters[id.index()]
    }

    /// The texts that this configuration was read from.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }
}

/// The name of a listener, upstream, filter or route: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it
/// may stand in log lines, metric labels and URLs as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub(crate) Arc<str>);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Index into [`Config::upstreams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub(crate) u32);

impl UpstreamId {
    /// The index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index into [`Config::filters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterId(pub(crate) u32);

impl FilterId {
    /// The index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A limit that can be switched off by writing `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cap<T> {
    /// No limit.
    Off,
    /// At most this.
    At(T),
}

impl<T: Copy> Cap<T> {
    /// The limit, `None` when it is off.
    #[must_use]
    pub fn limit(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// A header name in lower case: a token of RFC 9110, section 5.1.
pub type HeaderName = Box<str>;

/// A header value: visible characters, spaces and tabs, without spaces at its ends
/// (RFC 9110, section 5.5).
pub type HeaderValue = Box<str>;

/// A header field with the places of its two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name, in lower case.
    pub name: Spanned<HeaderName>,
    /// The value.
    pub value: Spanned<HeaderValue>,
}
