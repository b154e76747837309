//! What a route's requests are shared out by, and where that stands: canaries, places.

use ringgate_core::policy::Canary;
use ringgate_core::resilience::canary::{Ramp, Side};
use ringgate_core::stats::Registry;
use serde_json::{Value, json};
use tracing::info;

use super::Gateway;
use super::endpoints::Clock;
use crate::compile::Snapshot;
use crate::words;

/// The policies of a route as JSON: what they ask for, and where they stand.
pub(super) fn show(snapshot: &Snapshot, index: usize, registry: &Registry) -> Value {
    let route = &snapshot.routes[index];
    let policy = &route.policy;
    let name = |index: usize| name_of(snapshot, index);
    let retry = policy.retry.as_ref();
    let canary = policy.canary.as_ref().map(|spec| {
        let state = registry.route_state(&route.name);
        show_canary(snapshot, spec, &state.ramp, Clock::read())
    });
    let gate = policy.concurrency.as_ref().map(|limit| {
        let gate = &registry.route_state(&route.name).gate;
        json!({
            "in_flight": gate.inside(),
            "queued": gate.waiting(),
            "max": gate.limit(limit),
        })
    });
    json!({
        "policy": {
            "balance": policy.balance.as_ref().map(words::choice),
            "retry": retry.map(|retry| words::retry(retry)),
            "retry_budget": retry.map(|retry| words::budget(retry)),
            "hedge": retry.and_then(|retry| retry.hedge.as_ref()).map(words::hedge),
            "concurrency": policy.concurrency.as_ref().map(words::concurrency),
            "fallback": policy.fallback.as_ref().map(|fallback| words::fallback(fallback, name)),
            "mirror": policy.mirror.as_ref().map(|mirror| words::mirror(mirror, name)),
            "urgency": words::urgency(policy.urgency),
            "deadline_header": policy.deadline_field.as_deref(),
            "split_key": policy.split_key.as_ref().map(|key| key.to_string()),
        },
        "canary": canary,
        "gate": gate,
    })
}

fn name_of(snapshot: &Snapshot, index: usize) -> &str {
    snapshot.upstreams.get(index).map_or("", |one| &*one.name)
}

fn show_canary(snapshot: &Snapshot, spec: &Canary, ramp: &Ramp, clock: Clock) -> Value {
    let side = |side| {
        let (requests, failures) = ramp.totals(side);
        json!({ "requests": requests, "failures": failures })
    };
    json!({
        "upstream": name_of(snapshot, spec.upstream),
        "policy": words::canary(spec, |index| name_of(snapshot, index)),
        "share": ramp.share(spec, clock.now),
        "halted": ramp.halted().map(|halted| json!({
            "since": clock.show(halted.since),
            "why": format!(
                "{} of {} failed",
                halted.failures,
                words::count(halted.requests, "request")
            ),
            "share_before": halted.share,
        })),
        "totals": {
            "baseline": side(Side::Baseline),
            "canary": side(Side::Canary),
        },
    })
}

impl Gateway {
    /// Lets a halted canary start anew.
    ///
    /// # Errors
    /// That there is no such route, or none with a canary.
    pub(super) fn resume_canary_of(&self, name: &str) -> Result<Value, String> {
        let snapshot = self.state().snapshot.clone();
        let mut routes = snapshot.routes.iter();
        let route = routes
            .find(|route| &*route.name == name)
            .ok_or_else(|| format!("no route {name:?}"))?;
        let spec = route.policy.canary.as_ref();
        let spec = spec.ok_or_else(|| format!("route {name:?} has no canary"))?;
        let (state, clock) = (self.registry.route_state(name), Clock::read());
        let resumed = state.ramp.resume(clock.now);
        if resumed {
            info!(route = name, "an operator lets the canary start anew");
        }
        Ok(json!({
            "route": name,
            "resumed": resumed,
            "canary": show_canary(&snapshot, spec, &state.ramp, clock),
        }))
    }
}
