//! Whom filters of access control ask off the data plane. It is there as long as the process.

use std::sync::Arc;

use ringgate_config::Config;
use ringgate_control::Exposition;

use super::StartError;
use super::consumers::Consumers;
use super::passwords::Passwords;
use crate::compile::access::Backends;

/// Those who are asked.
pub(super) struct Backoffice {
    passwords: Arc<Passwords>,
    pub(super) consumers: Arc<Consumers>,
    backends: Backends,
}

impl Backoffice {
    pub(super) fn start() -> Result<Backoffice, StartError> {
        let passwords = Passwords::start()?;
        let consumers = Arc::<Consumers>::default();
        let backends = Backends {
            verifier: Arc::clone(&passwords) as _,
            stores: Arc::clone(&consumers) as _,
            tokens: Arc::default(),
            keys: Arc::default(),
        };
        Ok(Backoffice {
            passwords,
            consumers,
            backends,
        })
    }

    /// As filters are given them.
    pub(super) fn backends(&self) -> &Backends {
        &self.backends
    }

    pub(super) fn write_metrics(&self, config: &Config, out: &mut Exposition) {
        self.passwords.write_metrics(out);
        self.consumers.write_metrics(config, out);
    }
}
