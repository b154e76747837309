//! Tokens that the gateway gets for itself.

use std::path::PathBuf;
use std::time::Duration;

use super::{HeaderName, Name, Secret};
use crate::Spanned;
use crate::keys::words;

/// `[[oauth_client]]`: what the gateway is to an authorisation server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthClient {
    /// Unique.
    pub name: Spanned<Name>,
    /// The token endpoint: an `http` or `https` URL.
    pub token_url: Spanned<Box<str>>,
    /// What the server calls the gateway.
    pub client_id: Box<str>,
    /// What proves it.
    pub client_secret: Secret,
    /// How that is sent.
    pub client_auth: ClientCredentialsIn,
    /// What the token is to allow.
    pub scopes: Vec<Box<str>>,
    /// Whom it is for, where the server knows `audience`.
    pub audience: Option<Box<str>>,
    /// Whom it is for (RFC 8707).
    pub resource: Option<Box<str>>,
    /// Roots for the server's certificate; `None` is the system's.
    pub ca: Option<Spanned<PathBuf>>,
    /// For a whole exchange with the server.
    pub timeout: Duration,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCredentialsIn {
    /// By `Authorization`.
    Basic,
    /// In the form.
    Post,
}

words!(ClientCredentialsIn { Basic = "basic", Post = "post" });

/// A filter of type "client_credentials".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginToken {
    /// The client; it exists.
    pub client: Spanned<Name>,
    /// The header that gets the token.
    pub header: HeaderName,
}
