//! Key sets of token issuers (RFC 7517), fetched ahead of the tokens that need them. Nothing
//! here is needed to go on: while an issuer is away, the keys that were there stay in use.

mod board;
mod fetch;
mod keeper;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use board::Board;
pub(crate) use keeper::Keeper;

/// What decides which keys are fetched: two issuers with the same have the same keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where they are.
    pub location: Location,
    /// PEM file with the roots of the server's certificate; the system's without one.
    pub ca: Option<PathBuf>,
    /// Over which connections.
    pub transport: Transport,
}

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// At this address.
    Set(String),
    /// Where the description of this issuer says (OpenID Connect Discovery 1.0, 4).
    Discovery(String),
}

/// Over which connections keys may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Encrypted ones, and those of this machine.
    Encrypted,
    /// Any.
    Any,
}

impl fmt::Display for Place {
    /// The address that is asked first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Set(url) => f.write_str(url),
            Location::Discovery(issuer) => f.write_str(&description_of(issuer)),
        }
    }
}

fn description_of(issuer: &str) -> String {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{base}/.well-known/openid-configuration")
}

/// Keys to fetch.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where.
    pub place: Place,
    /// The names of the issuers that they are of; at least one.
    pub issuers: Vec<String>,
    /// How often, where the answer does not say.
    pub refresh: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// Told when somebody needs a key that is not there.
    pub wanted: Arc<Notify>,
}

/// What may be known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// The name that tokens call it by.
    pub kid: Option<String>,
    /// What it may be used for.
    pub algorithms: Vec<&'static str>,
}

impl fmt::Display for KeyFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kid = self.kid.as_deref().unwrap_or("without a name");
        write!(f, "{kid} ({})", self.algorithms.join(", "))
    }
}

/// A document that was fetched, as the node took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The keys that it has.
    pub keys: Vec<KeyFacts>,
    /// Keys in it that are for other things, or not good.
    pub left_out: usize,
}

/// An issuer of the configuration in force.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name.
    pub name: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What they may be signed with.
    pub algorithms: Vec<&'static str>,
    /// Its keys; `None` before they were fetched.
    pub keys: Option<Vec<KeyFacts>>,
    /// Where they are fetched; `None` of those that are written, or in a file.
    pub place: Option<Place>,
    /// Tokens so far whose key was not there.
    pub unknown_keys: u64,
}
