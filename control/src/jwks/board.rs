//! How fetching keys goes: written by the sessions, read by the admin API and the metrics.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Issuer, Place, Source};
use crate::exposition::{Exposition, Kind};

/// Every place of the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Board {
    places: Mutex<HashMap<Place, Status>>,
}

#[derive(Debug, Default)]
struct Status {
    issuers: Vec<String>,
    keys: usize,
    left_out: usize,
    loaded_at: Option<SystemTime>,
    next_at: Option<SystemTime>,
    /// None after a fetch that went well.
    failure: Option<(SystemTime, String)>,
    loaded: u64,
    failed: u64,
}

impl Board {
    /// Shows these places and no others.
    pub(super) fn adopt(&self, sources: &[Source]) {
        let mut places = self.places();
        places.retain(|place, _| sources.iter().any(|source| source.place == *place));
        for source in sources {
            let status = places.entry(source.place.clone()).or_default();
            status.issuers.clone_from(&source.issuers);
        }
    }

    pub(super) fn loaded(&self, place: &Place, keys: usize, left_out: usize) {
        if let Some(status) = self.places().get_mut(place) {
            status.loaded += 1;
            (status.keys, status.left_out) = (keys, left_out);
            status.loaded_at = Some(SystemTime::now());
            status.failure = None;
        }
    }

    pub(super) fn failed(&self, place: &Place, why: String) {
        if let Some(status) = self.places().get_mut(place) {
            status.failed += 1;
            status.failure = Some((SystemTime::now(), why));
        }
    }

    pub(super) fn next(&self, place: &Place, at: SystemTime) {
        if let Some(status) = self.places().get_mut(place) {
            status.next_at = Some(at);
        }
    }

    /// For the admin API.
    pub(crate) fn to_json(&self, issuers: &[Issuer], now: SystemTime) -> Value {
        let places = self.places();
        let each = issuers.iter().map(|issuer| {
            let keys = issuer.keys.as_ref().map(|keys| {
                let each = keys.iter();
                let each = each.map(|key| json!({ "kid": key.kid, "algorithms": key.algorithms }));
                each.collect::<Vec<_>>()
            });
            let place = issuer.place.as_ref();
            let status = place.and_then(|place| places.get(place));
            json!({
                "name": issuer.name,
                "issuer": issuer.issuer,
                "algorithms": issuer.algorithms,
                "keys": keys,
                "unknown_keys": issuer.unknown_keys,
                "fetch": place.map(|place| json!({
                    "url": place.to_string(),
                    "loaded_seconds_ago": status
                        .and_then(|status| status.loaded_at)
                        .map(|at| seconds(at, now)),
                    "next_in_seconds": status
                        .and_then(|status| status.next_at)
                        .map(|at| seconds(now, at)),
                    "loaded": status.map_or(0, |status| status.loaded),
                    "failed": status.map_or(0, |status| status.failed),
                    "left_out": status.map_or(0, |status| status.left_out),
                    "error": status
                        .and_then(|status| status.failure.as_ref())
                        .map(|(_, why)| why),
                })),
            })
        });
        json!({ "issuers": each.collect::<Vec<_>>() })
    }

    /// Nothing where nothing is fetched.
    pub(crate) fn write(&self, out: &mut Exposition) {
        let places = self.places();
        let mut rows: Vec<(&str, &Status)> = Vec::new();
        for status in places.values() {
            rows.extend(status.issuers.iter().map(|name| (&**name, status)));
        }
        if rows.is_empty() {
            return;
        }
        rows.sort_by_key(|(name, _)| *name);
        out.family(
            "ringgate_jwks_fetches_total",
            Kind::Counter,
            "Fetches of an issuer's keys by result.",
        );
        for (name, status) in &rows {
            let issuer = ("issuer", *name);
            out.sample(&[issuer, ("result", "loaded")], status.loaded);
            out.sample(&[issuer, ("result", "failed")], status.failed);
        }
        out.family(
            "ringgate_jwks_age_seconds",
            Kind::Gauge,
            "Since an issuer's keys were last fetched; absent before the first time.",
        );
        let now = SystemTime::now();
        for (name, status) in &rows {
            if let Some(at) = status.loaded_at {
                out.sample(&[("issuer", name)], seconds(at, now));
            }
        }
        out.family(
            "ringgate_jwks_keys",
            Kind::Gauge,
            "Keys of an issuer that can be used.",
        );
        for (name, status) in &rows {
            out.sample(&[("issuer", name)], status.keys as u64);
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Place, Status>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole seconds from one moment to a later one.
fn seconds(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).unwrap_or_default().as_secs()
}
