//! Access control: what its filters need that lies outside the configuration.

#![allow(dead_code, reason = "filters that ask are added one by one")]

mod consumers;
pub(super) mod edge;
mod issuers;
mod schemes;

use std::sync::Arc;

use ringgate_filters::auth::verify::{NoVerifier, Verifier};

pub use issuers::Issuers;
pub(super) use schemes::{Schemes, reserved, secret_parameters};

/// Whom filters ask who decide who makes a request: they work off the data plane, and are the
/// same over reloads.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Compares passwords with hashes.
    pub verifier: Arc<dyn Verifier>,
}

impl Backends {
    /// Those that never answer, where requests are only explained.
    pub fn none() -> Backends {
        Backends {
            verifier: Arc::new(NoVerifier),
        }
    }
}
