//! Keys that are fetched: kept over reloads by the place that they come from.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringgate_config::Config;
use ringgate_config::model::{self, IssuerKeys, KeyFetch};
use ringgate_control::jwks::{Location, Place, Source, Transport};
use ringgate_filters::auth::jwt::KeySource;
use tokio::sync::Notify;

/// The keys of all places, as long as a configuration names them.
#[derive(Default)]
pub struct KeySources {
    known: Mutex<HashMap<Place, Known>>,
}

struct Known {
    keys: Arc<KeySource>,
    wanted: Arc<Notify>,
}

impl KeySources {
    /// The keys of a place; none are there yet when it is new.
    pub(super) fn of(&self, place: Place) -> Arc<KeySource> {
        let mut known = self.known();
        let entry = known.entry(place).or_insert_with(|| {
            let wanted = Arc::new(Notify::new());
            let asked = Arc::clone(&wanted);
            // It takes a lock of its own for a moment, but once in `refetch_min` at most.
            let keys = KeySource::fetched(Box::new(move || asked.notify_one()));
            Known {
                keys: Arc::new(keys),
                wanted,
            }
        });
        Arc::clone(&entry.keys)
    }

    /// The keys of a place that is known.
    pub fn known_of(&self, place: &Place) -> Option<Arc<KeySource>> {
        let known = self.known();
        known.get(place).map(|known| Arc::clone(&known.keys))
    }

    /// What the control plane fetches for a configuration in force; the rest is forgotten.
    pub fn wanted(&self, config: &Config) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        let mut known = self.known();
        for issuer in &config.issuers {
            let Some((place, fetch)) = place(issuer) else {
                continue;
            };
            let name = issuer.name.to_string();
            if let Some(same) = sources.iter_mut().find(|source| source.place == place) {
                same.issuers.push(name);
                same.refresh = same.refresh.min(fetch.refresh);
                same.timeout = same.timeout.max(fetch.timeout);
                continue;
            }
            let Some(found) = known.get(&place) else {
                continue;
            };
            found.keys.set_refetch_min(fetch.refetch_min);
            sources.push(Source {
                issuers: vec![name],
                refresh: fetch.refresh,
                timeout: fetch.timeout,
                wanted: Arc::clone(&found.wanted),
                place,
            });
        }
        // One that is not in force may be of a configuration that is being compiled.
        known.retain(|place, known| {
            let in_force = sources.iter().any(|source| source.place == *place);
            in_force || Arc::strong_count(&known.keys) > 1
        });
        sources
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeySources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known().keys()).finish()
    }
}

/// Where the keys of an issuer are fetched, and how; `None` when they are not.
pub fn place(issuer: &model::Issuer) -> Option<(Place, &KeyFetch)> {
    let IssuerKeys::Fetched(fetch) = &issuer.keys else {
        return None;
    };
    let location = match &fetch.url {
        Some(url) => Location::Set(url.value.to_string()),
        None => Location::Discovery(issuer.issuer.value.to_string()),
    };
    let place = Place {
        location,
        ca: fetch.ca.as_ref().map(|path| path.value.clone()),
        transport: match fetch.insecure_http {
            true => Transport::Any,
            false => Transport::Encrypted,
        },
    };
    Some((place, fetch))
}
