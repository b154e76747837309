//! How the gateway's own tokens stand: written by their sessions, read by the admin API and the
//! metrics. No token is in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Client;
use crate::exposition::{Exposition, Kind};

/// Every client of the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Board {
    clients: Mutex<BTreeMap<Box<str>, Status>>,
}

#[derive(Debug, Default)]
struct Status {
    token_url: Box<str>,
    id: Box<str>,
    scopes: Vec<Box<str>>,
    ends: Option<SystemTime>,
    next: Option<SystemTime>,
    granted: u64,
    failed: u64,
    /// Why the last attempt failed; `None` when it did not.
    why: Option<String>,
}

impl Status {
    /// Seconds that are left of the token.
    fn left(&self, now: SystemTime) -> u64 {
        let left = self.ends.and_then(|ends| ends.duration_since(now).ok());
        left.unwrap_or_default().as_secs()
    }
}

impl Board {
    /// Shows these clients and no others.
    pub(super) fn adopt(&self, clients: &[Client]) {
        let mut known = self.clients();
        known.retain(|name, _| clients.iter().any(|client| client.name == *name));
        for client in clients {
            let status = known.entry(client.name.clone()).or_default();
            if (&status.token_url, &status.id) != (&client.token_url, &client.id) {
                status.ends = None;
            }
            status.token_url = client.token_url.clone();
            status.id = client.id.clone();
            status.scopes = client.scopes.clone();
        }
    }

    pub(super) fn granted(&self, client: &str, ends: SystemTime, pause: Duration) {
        if let Some(status) = self.clients().get_mut(client) {
            status.granted += 1;
            status.ends = Some(ends);
            status.next = Some(SystemTime::now() + pause);
            status.why = None;
        }
    }

    pub(super) fn failed(&self, client: &str, why: &str, pause: Duration) {
        if let Some(status) = self.clients().get_mut(client) {
            status.failed += 1;
            status.next = Some(SystemTime::now() + pause);
            status.why = Some(why.to_owned());
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let now = SystemTime::now();
        let clients = self.clients();
        let each = clients.iter().map(|(name, status)| {
            let left = status.left(now);
            let next = status.next.and_then(|next| next.duration_since(now).ok());
            json!({
                "name": name,
                "token_url": status.token_url,
                "client_id": status.id,
                "scopes": status.scopes,
                "token": if left > 0 { "held" } else { "none" },
                "expires_in_s": left,
                "expires_at": status.ends.map(unix_seconds),
                "next_attempt_in_s": next.unwrap_or_default().as_secs(),
                "granted": status.granted,
                "failed": status.failed,
                "failure": status.why,
            })
        });
        each.collect()
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        let clients = self.clients();
        if clients.is_empty() {
            return;
        }
        out.family(
            "ringgate_oauth_tokens_total",
            Kind::Counter,
            "Attempts to get the gateway's own token for origins, by result.",
        );
        for (name, status) in clients.iter() {
            let name = ("oauth_client", &**name);
            out.sample(&[name, ("result", "granted")], status.granted);
            out.sample(&[name, ("result", "failed")], status.failed);
        }
        out.family(
            "ringgate_oauth_token_expires_seconds",
            Kind::Gauge,
            "Seconds until the gateway's own token for origins ends; 0 when there is none.",
        );
        let now = SystemTime::now();
        for (name, status) in clients.iter() {
            out.sample(&[("oauth_client", name)], status.left(now));
        }
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Status>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
