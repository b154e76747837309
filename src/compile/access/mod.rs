//! Access control: what its filters need that lies outside the configuration.

mod consumers;
pub(super) mod edge;
pub mod htpasswd;
mod identity;
mod issuers;
pub(super) mod rules;
mod schemes;
mod services;
mod sources;

use std::fmt;
use std::sync::Arc;

use ringgate_filters::TokenPlaces;
use ringgate_filters::auth::store::{NoStore, Store};
use ringgate_filters::auth::verify::{NoVerifier, Verifier};

pub use issuers::Issuers;
pub(super) use schemes::{Schemes, reserved, secret_parameters};
pub use sources::{KeySources, place};

/// Whom filters ask who decide who makes a request: they work off the data plane, and are the
/// same over reloads.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Compares passwords with hashes.
    pub verifier: Arc<dyn Verifier>,
    /// Has the stores of consumers.
    pub stores: Arc<dyn Stores>,
    /// Has the gateway's own tokens.
    pub tokens: Arc<TokenPlaces>,
    /// Keys of issuers that are fetched.
    pub keys: Arc<KeySources>,
}

/// Whoever has stores of consumers.
pub trait Stores: Send + Sync + fmt::Debug {
    /// The store at this address whose entries' names begin so. The address may have a password
    /// in it.
    fn store(&self, url: &str, prefix: &str) -> Arc<dyn Store>;
}

/// None of them answers.
#[derive(Debug)]
struct NoStores;

impl Stores for NoStores {
    fn store(&self, _: &str, _: &str) -> Arc<dyn Store> {
        Arc::new(NoStore)
    }
}

impl Backends {
    /// Those that never answer, where requests are only explained.
    pub fn none() -> Backends {
        Backends {
            verifier: Arc::new(NoVerifier),
            stores: Arc::new(NoStores),
            tokens: Arc::new(TokenPlaces::pretending()),
            keys: Arc::default(),
        }
    }
}
