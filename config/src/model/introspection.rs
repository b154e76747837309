//! Tokens that their server is asked about.

use std::time::Duration;

use super::{ClientCredentialsIn, HeaderName, Secret, Service};

/// A filter of type "introspection".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    /// Who is asked.
    pub service: Service,
    /// What the server calls the gateway.
    pub client_id: Box<str>,
    /// What proves it.
    pub client_secret: Secret,
    /// How that is sent.
    pub client_auth: ClientCredentialsIn,
    /// A header that has the token; with none of the three it is in `Authorization`.
    pub header: Option<HeaderName>,
    /// A cookie that has it.
    pub cookie: Option<Box<str>>,
    /// A query parameter that has it.
    pub query: Option<Box<str>>,
    /// Bytes of a token.
    pub token_max: u64,
    /// What `iss` has to be.
    pub issuer: Option<Box<str>>,
    /// The token has to be for one of these, where there are any.
    pub audiences: Vec<Box<str>>,
    /// It has to allow all of these.
    pub scopes: Vec<Box<str>>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// How long it is remembered that a token is good.
    pub active_ttl: Duration,
    /// How long it is remembered that one is not.
    pub refused_ttl: Duration,
    /// Tokens of either kind that each core remembers.
    pub entries_max: u64,
}
