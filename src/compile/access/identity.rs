//! Schemes that need something from outside the configuration: passwords, certificates.

use std::sync::Arc;
use std::time::Duration;

use ringgate_config::{Config, model};
use ringgate_filters::auth::basic::Lifetimes;
use ringgate_filters::auth::mtls::Strangers;
use ringgate_filters::auth::store::{StoredConsumers, Terms};
use ringgate_filters::auth::{Basic, Directory, Mtls};

use super::Backends;
use super::htpasswd::Htpasswds;
use super::schemes::credential;

/// What lies outside.
pub(super) struct Outside<'c> {
    pub(super) backends: &'c Backends,
    pub(super) passwords: &'c Htpasswds,
}

impl Outside<'_> {
    /// Users of the configuration go before those of the file.
    pub(super) fn basic(&self, written: &model::Basic, hide: bool, directory: &Directory) -> Basic {
        let file = written.htpasswd.as_ref();
        let file = file.and_then(|path| self.passwords.of(&path.value));
        let own = written.users.iter();
        let own = own.map(|(name, hash)| (name.clone(), Arc::from(hash.expose())));
        let more = file.into_iter().flatten();
        let more = more.map(|(name, hash)| (name.clone(), Arc::clone(hash)));
        let lifetimes = Lifetimes {
            right: written.remember,
            wrong: written.remember_wrong,
        };
        let verifier = Arc::clone(&self.backends.verifier);
        // Of a name that comes twice, the last one stands.
        let users: Vec<_> = more.chain(own).collect();
        Basic::new(users, directory, lifetimes, credential(hide), verifier)
    }
}

impl Outside<'_> {
    /// Who is asked for keys that the configuration does not have.
    pub(super) fn store(&self, config: &Config) -> Option<StoredConsumers> {
        let written = config.consumer_store.as_ref()?;
        let redis = written.server(config)?;
        let store = self
            .backends
            .stores
            .store(redis.url.expose(), &written.prefix);
        let terms = Terms {
            found: written.ttl,
            nobody: written.ttl_unknown,
            // An exchange that is under way ends first.
            timeout: redis.timeout * 2 + TURN,
        };
        Some(StoredConsumers::new(store, terms))
    }
}

/// What the control plane may take beside the exchanges.
const TURN: Duration = Duration::from_millis(50);

pub(super) fn mtls(written: model::Mtls, directory: &Arc<Directory>) -> Mtls {
    let strangers = match written.require_consumer {
        true => Strangers::Refuse,
        false => Strangers::Accept,
    };
    Mtls::new(Arc::clone(directory), strangers)
}
