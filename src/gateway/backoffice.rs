//! Whom filters of access control ask off the data plane. It is there as long as the process.

use std::sync::Arc;

use ringgate_control::Exposition;

use super::StartError;
use super::passwords::Passwords;
use crate::compile::access::Backends;

/// Those who are asked.
pub(super) struct Backoffice {
    passwords: Arc<Passwords>,
    backends: Backends,
}

impl Backoffice {
    pub(super) fn start() -> Result<Backoffice, StartError> {
        let passwords = Passwords::start()?;
        let backends = Backends {
            verifier: Arc::clone(&passwords) as _,
        };
        Ok(Backoffice {
            passwords,
            backends,
        })
    }

    /// As filters are given them.
    pub(super) fn backends(&self) -> &Backends {
        &self.backends
    }

    pub(super) fn write_metrics(&self, out: &mut Exposition) {
        self.passwords.write_metrics(out);
    }
}
