//! Pages of the admin API that show the snapshot in force.

use ringgate_config::model::{self, ProxyVersion, UpstreamTls};
use ringgate_core::policy::UpstreamPolicy;
use ringgate_core::rt::wheel::{TICK, Ticks};
use ringgate_core::snapshot::{Action, Upstream};
use ringgate_core::stats::UpstreamStats;
use serde_json::{Value, json};

use super::endpoints::views;
use super::{Gateway, health, host_word, precedence, shares};
use crate::compile::Snapshot;
use crate::words;

impl Gateway {
    /// Routes in order of precedence.
    pub(super) fn show_routes(&self) -> Value {
        let snapshot = self.state().snapshot.clone();
        let order = precedence::order(&snapshot.router);
        order
            .into_iter()
            .map(|index| {
                let mut shown = route(&snapshot, index);
                merge(&mut shown, shares::show(&snapshot, index, &self.registry));
                shown
            })
            .collect()
    }

    /// Upstreams with their endpoints as they are now.
    pub(super) fn show_upstreams(&self) -> Value {
        let state = self.state();
        let upstreams = views(&state, &self.registry);
        upstreams
            .map(|view| {
                let endpoints = view.all.iter().enumerate();
                let endpoints: Vec<Value> = endpoints
                    .map(|(index, endpoint)| view.show_endpoint(index, endpoint))
                    .collect();
                let mut shown = show_upstream(view.written, view.upstream, &endpoints);
                merge(&mut shown, view.show_standing());
                shown["policy"] = show_policy(&state.snapshot, &view.upstream.policy);
                shown
            })
            .collect()
    }
}

/// Puts the members of one object into another.
fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn show_upstream(written: &model::Upstream, upstream: &Upstream, endpoints: &[Value]) -> Value {
    let sum = |counter: fn(&UpstreamStats) -> &_| upstream.stats.sum(counter);
    json!({
        "name": &*upstream.name,
        "endpoints": endpoints,
        "health": health::show_check(written),
        "connect_timeout_ms": millis(upstream.connect_timeout),
        "response_timeout_ms": millis(upstream.response_timeout),
        "read_timeout_ms": millis(upstream.read_timeout),
        "idle_timeout_ms": millis(upstream.idle_timeout),
        "keepalive_max": upstream.idle_max,
        "protocol": written.protocol.as_str(),
        "tls": written.tls.as_ref().map(show_tls),
        "http2": {
            "connections_max": upstream.http2.connections_max,
            "streams_max": upstream.http2.streams_max,
            "stream_window": upstream.http2.stream_window,
            "connection_window": upstream.http2.connection_window,
        },
        "proxy_protocol": written.proxy_protocol.map(ProxyVersion::as_str),
        "requests": sum(|stats| &stats.requests),
        "active": sum(|stats| &stats.active),
        "idle_connections": sum(|stats| &stats.idle),
        "connects": sum(|stats| &stats.connects),
        "connect_failures": sum(|stats| &stats.connect_failures),
        "reused": sum(|stats| &stats.reused),
        "stale": sum(|stats| &stats.stale),
        "retries": sum(|stats| &stats.retries),
    })
}

/// What an upstream's policies ask for, in words; null for one that it has not.
fn show_policy(snapshot: &Snapshot, policy: &UpstreamPolicy) -> Value {
    let name = |index: usize| snapshot.upstreams.get(index).map_or("", |one| &*one.name);
    let retry = policy.retry.as_ref();
    let hedge = retry.and_then(|retry| retry.hedge.as_ref());
    let limit = policy.endpoint_requests_max;
    json!({
        "balance": words::choice(&policy.balance.choice),
        "placement": words::balance(&policy.balance),
        "failover_below": policy.balance.failover_below,
        "panic_below": policy.balance.panic_below,
        "endpoint_requests_max": (limit > 0).then_some(limit),
        "breaker": policy.breaker.as_ref().map(words::breaker),
        "outlier": policy.outlier.as_ref().map(words::outlier),
        "retry": retry.map(|retry| words::retry(retry)),
        "retry_budget": retry.map(|retry| words::budget(retry)),
        "hedge": hedge.map(words::hedge),
        "concurrency": policy.concurrency.as_ref().map(words::concurrency),
        "fallback": policy.fallback.as_ref().map(|fallback| words::fallback(fallback, name)),
    })
}

/// How TLS is spoken, without where private keys are.
fn show_tls(tls: &UpstreamTls) -> Value {
    json!({
        "verify": tls.verify,
        "ca": tls.ca.as_ref().map(|path| path.display().to_string()),
        "server_name": tls.server_name.as_ref().map(|name| &*name.value),
        "client_certificate": tls.cert.as_ref().map(|path| path.display().to_string()),
        "min_version": tls.min_version.as_str(),
        "max_version": tls.max_version.as_str(),
    })
}

fn route(snapshot: &Snapshot, index: usize) -> Value {
    let route = &snapshot.routes[index];
    let spec = snapshot.router.spec(ringgate_router::RouteId(index as u32));
    let hosts: Vec<String> = spec.map_or(Vec::new(), |spec| {
        spec.hosts.iter().map(ToString::to_string).collect()
    });
    let methods: Vec<&str> = spec.map_or(Vec::new(), |spec| spec.methods.names().collect());
    let filters: Vec<Value> = route
        .program
        .steps()
        .iter()
        .map(|step| {
            let about = ringgate_core::chain::Filter::describe(&*step.filter);
            json!({ "name": &*step.name, "does": about })
        })
        .collect();
    json!({
        "name": &*route.name,
        "hosts": hosts,
        "path": spec.map(|spec| spec.path.as_str()),
        "methods": methods,
        "conditions": spec.map_or(0, |spec| spec.headers.len() + spec.query.len()),
        "priority": spec.map_or(0, |spec| spec.priority),
        "filters": filters,
        "action": action(snapshot, &route.action),
        "upstream_host": host_word(&route.upstream_host),
        "timeout_ms": route.timeout.map(millis),
    })
}

fn action(snapshot: &Snapshot, action: &Action) -> Value {
    let name = |index: usize| {
        snapshot
            .upstreams
            .get(index)
            .map(|upstream| &*upstream.name)
    };
    match action {
        Action::Upstream(upstream) => json!({ "upstream": name(*upstream) }),
        Action::Split(split) => {
            let targets = split.weights();
            let targets: Vec<Value> = targets
                .map(|(upstream, weight)| json!({ "upstream": name(upstream), "weight": weight }))
                .collect();
            json!({ "split": targets })
        }
        Action::Respond(answer) => json!({ "respond": answer.status }),
        Action::Redirect(redirect) => json!({ "redirect": redirect.status }),
    }
}

/// Milliseconds; none for no deadline.
fn millis(ticks: Ticks) -> Option<u64> {
    (ticks != Ticks::NEVER).then(|| u64::from(ticks.0) * TICK.as_millis() as u64)
}
