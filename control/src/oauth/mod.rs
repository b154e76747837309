//! The gateway's own tokens for origins: got from authorisation servers by client credentials
//! (RFC 6749, 4.4), ahead of time and again before they end. No request waits for a server; while
//! one is away, its last token is used until it ends.

mod board;
mod fetch;
mod keeper;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use board::Board;
pub(crate) use keeper::Keeper;

/// A client of an authorisation server, which the gateway is.
#[derive(Clone)]
pub struct Client {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The token endpoint: an `http` or `https` URL.
    pub token_url: Box<str>,
    /// What the server calls it.
    pub id: Box<str>,
    /// What proves it.
    pub secret: Box<str>,
    /// How that is sent.
    pub style: Style,
    /// What the token is to allow; with none the server chooses.
    pub scopes: Vec<Box<str>>,
    /// Whom it is for, where the server knows `audience`.
    pub audience: Option<Box<str>>,
    /// Whom it is for (RFC 8707).
    pub resource: Option<Box<str>>,
    /// The roots that the server's certificate is checked with; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// For a whole exchange with the server.
    pub timeout: Duration,
    /// Where its tokens go.
    pub place: Arc<dyn Place>,
}

/// How a client proves who it is (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// By `Authorization`.
    Basic,
    /// In the form.
    Post,
}

/// Where the token of a client is kept for whoever sends it.
pub trait Place: Send + Sync {
    /// Replaces the token; `token_type` is `Bearer`.
    fn put(&self, token: &str, ends: SystemTime);

    /// Leaves none.
    fn clear(&self);
}

impl Client {
    /// Whether tokens of the one are tokens of the other.
    fn is_same(&self, other: &Client) -> bool {
        let texts = |client: &Client| {
            let texts = [&client.name, &client.token_url, &client.id, &client.secret];
            texts.map(Clone::clone)
        };
        let rest = |client: &Client| (client.style, client.scopes.clone(), client.timeout);
        let targets = |client: &Client| {
            (
                client.audience.clone(),
                client.resource.clone(),
                client.ca.clone(),
            )
        };
        texts(self) == texts(other) && rest(self) == rest(other) && targets(self) == targets(other)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {:?})", self.name, self.token_url)
    }
}
