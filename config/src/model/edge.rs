//! Filters that keep out: address rules, CORS, security headers, the origin check against CSRF.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::HeaderName;
use crate::Spanned;
use crate::keys::words;

/// `type = "address"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFilter {
    /// Networks whose clients are let in.
    pub allow: NetworkLists,
    /// Networks whose clients are kept out.
    pub block: NetworkLists,
    /// Whether clients that no list names are kept out: there are lists of those to let in,
    /// perhaps empty ones.
    pub only_allowed: bool,
}

/// Networks, written in the configuration and in files of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLists {
    /// In the configuration.
    pub inline: Vec<Spanned<IpNet>>,
    /// Files of networks, one a line.
    pub files: Vec<Spanned<PathBuf>>,
}

/// Web origins that something is allowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Each of them.
    pub listed: Vec<Spanned<OriginPattern>>,
    /// A regular expression that matches whole origins.
    pub regex: Option<Spanned<Box<str>>>,
}

/// Which origins are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`
    Any,
    /// `null`: pages of no origin, such as local files and sandboxed frames.
    Null,
    /// `https://app.example.com`: this one, as a browser writes it.
    Exact(Box<str>),
    /// `https://*.example.com` or `http://localhost:*`.
    Hosts(OriginHosts),
}

/// Origins of one scheme by their hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginHosts {
    /// Without `://`.
    pub scheme: Box<str>,
    /// In lower case; with `subdomains` not meant itself.
    pub host: Box<str>,
    /// Whether the names below `host` are meant, at any depth.
    pub subdomains: bool,
    /// The ports.
    pub port: OriginPort,
}

/// Ports of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginPort {
    /// The scheme's own, which is not written.
    Usual,
    /// This one.
    Number(u16),
    /// Any.
    Any,
}

/// `type = "cors"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may read answers.
    pub origins: Origins,
    /// What preflights are told; `*` is all of them.
    pub methods: Vec<Box<str>>,
    /// Request headers; `*` is all of them but `Authorization`.
    pub headers: Vec<HeaderName>,
    /// Response headers that pages may read; `*` is all of them.
    pub expose_headers: Vec<HeaderName>,
    /// Whether cookies and other credentials may come along.
    pub credentials: bool,
    /// How long a browser may remember what a preflight was told.
    pub max_age: Duration,
    /// Whether pages of public networks may ask a gateway in a private one.
    pub private_network: bool,
    /// Whether requests of other origins are refused.
    pub refuse: bool,
}

/// `type = "security_headers"`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Sent with every response, in the place of the origin server's.
    pub fields: Vec<(HeaderName, Box<str>)>,
    /// Sent beside the origin server's of the same name.
    pub beside: Vec<(HeaderName, Box<str>)>,
    /// `Strict-Transport-Security`, sent over TLS alone.
    pub hsts: Option<Box<str>>,
    /// Whether what the origin server says stays.
    pub keep: bool,
    /// Whether responses lose what says which software made them.
    pub hide_server: bool,
}

/// `type = "csrf"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csrf {
    /// Whose pages may change something, beside the gateway's own.
    pub origins: Origins,
    /// Whether `Referer` is asked where there is no `Origin`.
    pub referer: bool,
    /// What becomes of requests that do not say where they come from.
    pub without_origin: WithoutOrigin,
}

/// What becomes of requests that do not say where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutOrigin {
    /// They pass if they carry no cookie.
    NoCookie,
    /// They pass.
    Pass,
    /// They are refused.
    Refuse,
}

words!(WithoutOrigin {
    NoCookie = "no_cookie",
    Pass = "pass",
    Refuse = "refuse",
});
