//! The gateway's own tokens for origins, between the configuration, the control plane that gets
//! them and the filters that send them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringgate_config::Config;
use ringgate_config::model::ClientCredentialsIn;
use ringgate_control::oauth::{Client, Place, Style};
use ringgate_filters::{Token, TokenPlace, TokenPlaces};

/// The clients of a configuration, with the places of their tokens.
pub(super) fn clients(config: &Config, places: &TokenPlaces) -> Vec<Client> {
    let clients = config.oauth_clients.iter();
    clients
        .map(|written| Client {
            name: written.name.as_str().into(),
            token_url: written.token_url.value.clone(),
            id: written.client_id.clone(),
            secret: written.client_secret.expose().into(),
            style: match written.client_auth {
                ClientCredentialsIn::Basic => Style::Basic,
                ClientCredentialsIn::Post => Style::Post,
            },
            scopes: written.scopes.clone(),
            audience: written.audience.clone(),
            resource: written.resource.clone(),
            ca: written.ca.as_ref().map(|path| path.value.clone()),
            timeout: written.timeout,
            place: Arc::new(OfWorkers(places.of(&written.name))),
        })
        .collect()
}

/// Where workers look.
struct OfWorkers(Arc<TokenPlace>);

impl Place for OfWorkers {
    fn put(&self, token: &str, ends: SystemTime) {
        let ends = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.put(Some(Token {
            value: format!("Bearer {token}").into(),
            ends_ms: ends.as_millis() as u64,
        }));
    }

    fn clear(&self) {
        self.0.put(None);
    }
}
