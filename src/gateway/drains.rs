//! Endpoints that an operator has taken out. They stay out over reloads and changes of a name's
//! addresses, until they are brought back or the process ends.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use ringgate_config::Config;
use ringgate_config::model::Upstream as Written;
use ringgate_control::Drain;
use ringgate_control::health::Place;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Endpoint;
use ringgate_core::stats::Registry;
use serde_json::{Value, json};
use tracing::info;

use super::health::place;
use super::{Gateway, State};
use crate::compile::{self, Addresses};

/// Who is out, and since when.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<Box<str>, HashMap<Place, SystemTime>>);

impl Drains {
    /// Since when an operator has an endpoint out, if so.
    pub(super) fn since(&self, upstream: &str, endpoint: &Endpoint) -> Option<SystemTime> {
        self.0.get(upstream)?.get(&place(endpoint)).copied()
    }

    /// Tells the states of endpoints once more, and forgets upstreams that are gone.
    pub(super) fn renew(
        &mut self,
        config: &Config,
        (addresses, registry): (&Addresses, &Registry),
        now: Moment,
    ) {
        self.0.retain(|name, places| {
            let mut upstreams = config.upstreams.iter();
            let Some(written) = upstreams.find(|written| **written.name == **name) else {
                return false;
            };
            let mut news = false;
            for endpoint in compile::endpoints(written, addresses, registry).iter() {
                let out = places.contains_key(&place(endpoint));
                news |= endpoint.state.set_drained(out, now);
            }
            if news {
                registry.upstream_state(name).changed();
            }
            !places.is_empty()
        });
    }

    /// Tells whether that is news.
    fn set(&mut self, upstream: &str, endpoint: &Endpoint, to: Drain) -> bool {
        let places = self.0.entry(upstream.into()).or_default();
        match to {
            Drain::Begin => {
                let now = SystemTime::now();
                let is_out = places.contains_key(&place(endpoint));
                places.entry(place(endpoint)).or_insert(now);
                !is_out
            }
            Drain::End => places.remove(&place(endpoint)).is_some(),
        }
    }
}

impl Gateway {
    /// Takes an endpoint out, or brings it back, and tells what there is to wait for.
    ///
    /// # Errors
    /// That there is no such endpoint, and which there are.
    pub(super) fn drain_endpoint(
        &self,
        upstream: &str,
        named: &str,
        to: Drain,
    ) -> Result<Value, String> {
        let state = &mut *self.state();
        let mut upstreams = state.config.upstreams.iter();
        let written = upstreams.find(|written| &**written.name == upstream);
        let written = written.ok_or_else(|| no_upstream(state, upstream))?;
        let all = compile::endpoints(written, &state.addresses, &self.registry);
        let fits = |endpoint: &&Endpoint| {
            endpoint.addr.to_string() == named || &*endpoint.authority == named
        };
        let meant: Vec<&Endpoint> = all.iter().filter(fits).collect();
        if meant.is_empty() {
            return Err(no_endpoint(written, &all, named));
        }
        let mut changed = false;
        for endpoint in &meant {
            changed |= state.drains.set(upstream, endpoint, to);
        }
        let around = (&state.addresses, &*self.registry);
        state.drains.renew(&state.config, around, Moment::now());
        let addresses: Vec<String> = meant.iter().map(|one| one.addr.to_string()).collect();
        let active: u64 = meant.iter().map(|one| one.state.active()).sum();
        let takes = |one: &&Endpoint| one.weight > 0 && !one.state.is_drained();
        let left = all.iter().filter(takes).count();
        let stays = to == Drain::End && meant.iter().any(|one| one.weight == 0);
        let what = match to {
            Drain::Begin => "an operator has the endpoint drained: it gets no new requests",
            Drain::End => "an operator has brought the endpoint back",
        };
        // Who waits for the requests under way asks again and again.
        if changed {
            info!(
                upstream,
                endpoints = addresses.join(" "),
                active,
                left,
                "{what}"
            );
        }
        Ok(json!({
            "upstream": upstream,
            "endpoints": addresses,
            "drained": to == Drain::Begin,
            "changed": changed,
            "in_flight": active,
            "endpoints_left": left,
            "note": stays.then_some("the configuration drains it, so it stays out"),
        }))
    }
}

fn no_upstream(state: &State, upstream: &str) -> String {
    let upstreams = state.config.upstreams.iter();
    let names: Vec<&str> = upstreams.map(|written| &**written.name).collect();
    format!("no upstream {upstream:?}; there is {}", names.join(", "))
}

fn no_endpoint(written: &Written, all: &[Endpoint], named: &str) -> String {
    let name = &**written.name;
    let mut known: Vec<String> = all.iter().map(|one| one.addr.to_string()).collect();
    known.extend(all.iter().map(|one| one.authority.to_string()));
    known.sort();
    known.dedup();
    match known.is_empty() {
        true => format!("upstream {name:?} has no endpoint with an address"),
        false => format!(
            "upstream {name:?} has no endpoint {named:?}; there is {}",
            known.join(", ")
        ),
    }
}
