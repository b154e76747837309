//! What the policies of a route and its upstream do about one request, in words.

use ringgate_core::explain::ChosenBy;
use ringgate_core::http::Method;
use ringgate_core::policy::{Choice, Retry, UpstreamPolicy, Urgency};
use serde::Serialize;

use super::request::Asked;
use crate::compile::Snapshot;
use crate::words;

/// A policy that concerns a request.
#[derive(Debug, Clone, Serialize)]
pub struct Policy {
    /// Which: `balance`, `retry`, `hedge`, `breaker` ...
    pub policy: &'static str,
    /// What it does about the request.
    pub text: String,
}

/// Every policy that concerns a request for an upstream, in the order in which they have a say.
pub fn of(snapshot: &Snapshot, route: usize, upstream: usize, asked: &Asked) -> Vec<Policy> {
    let name = |index: usize| snapshot.upstreams.get(index).map_or("", |one| &*one.name);
    let target = upstream;
    let route = &snapshot.routes[route].policy;
    let choices = snapshot.upstreams[upstream].endpoints.len();
    let upstream = &snapshot.upstreams[upstream].policy;
    let mut said = Vec::new();
    let mut say = |policy, text: String| said.push(Policy { policy, text });
    if route.urgency != Urgency::default() {
        say("urgency", urgency(route.urgency));
    }
    for (whose, limit) in [
        ("of the route", &route.concurrency),
        ("of the upstream", &upstream.concurrency),
    ] {
        if let Some(limit) = limit {
            let text = words::concurrency(limit);
            say("concurrency", format!("{whose}: {text}"));
        }
    }
    if let Some(breaker) = &upstream.breaker {
        say("breaker", words::breaker(breaker));
    }
    let (own, shared) = (&route.balance, &upstream.balance.choice);
    if choices > 1 {
        say("balance", balance(own.as_ref(), shared, upstream));
    }
    if let Some(outlier) = &upstream.outlier {
        say("outlier", words::outlier(outlier));
    }
    let retry = route.retry.as_ref().or(upstream.retry.as_ref());
    if let Some(retry) = retry {
        say("retry", retries(retry, asked));
        if let Some(hedge) = &retry.hedge {
            say("hedge", hedges(retry, words::hedge(hedge), asked));
        }
    }
    let fallback = route.fallback.as_ref().or(upstream.fallback.as_ref());
    if let Some(fallback) = fallback {
        say("fallback", words::fallback(fallback, name));
    }
    if let Some(canary) = &route.canary {
        let this = match target == canary.upstream {
            true => "this request is among them",
            false => "this request is not among them",
        };
        let text = words::canary(canary, name);
        say("canary", format!("{text}; {this}"));
    }
    if let Some(mirror) = &route.mirror {
        say("mirror", words::mirror(mirror, name));
    }
    if let Some(field) = &route.deadline_field {
        let text = format!("the origin is told the milliseconds left in {field}");
        say("deadline", text);
    }
    said
}

/// What made the choice among several upstreams.
pub fn chosen_by(chosen_by: &ChosenBy) -> String {
    match chosen_by {
        ChosenBy::Conditions => "the conditions of its branch, which hold".to_owned(),
        ChosenBy::Key(key) => {
            format!("the hash of {key:?}: the same key goes the same way")
        }
        ChosenBy::Chance => "a draw; each request draws anew".to_owned(),
    }
}

fn urgency(urgency: Urgency) -> String {
    let word = words::urgency(urgency);
    let when = match urgency {
        Urgency::Low => "refused first",
        Urgency::Normal => "refused after those of low urgency",
        Urgency::High => "refused last",
        Urgency::Critical => "never refused",
    };
    format!("{word}: {when} when a worker has too much to do")
}

fn balance(own: Option<&Choice>, shared: &Choice, upstream: &UpstreamPolicy) -> String {
    let mut text = words::choice(own.unwrap_or(shared));
    if own.is_some() {
        text.push_str(" (the route's own)");
    }
    for more in words::balance(&upstream.balance) {
        text.push_str("; ");
        text.push_str(&more);
    }
    if upstream.endpoint_requests_max > 0 {
        let limit = upstream.endpoint_requests_max;
        text.push_str(&format!("; at most {limit} requests at a time on one"));
    }
    text
}

/// Whether this request may be sent twice, and what makes it be.
fn retries(retry: &Retry, asked: &Asked) -> String {
    let budget = words::budget(retry);
    match why_once(retry, asked) {
        None => format!("{}; {budget}", words::retry(retry)),
        Some(why) => format!("only what surely never reached the origin, as {why}; {budget}"),
    }
}

fn hedges(retry: &Retry, text: String, asked: &Asked) -> String {
    match why_once(retry, asked) {
        None => text,
        Some(why) => format!("no second attempt, as {why}"),
    }
}

/// Why a request that may have reached the origin is not sent again; none if it may be.
fn why_once(retry: &Retry, asked: &Asked) -> Option<String> {
    let method = &*asked.method;
    let idempotent = Method::of(method.as_bytes()).is_idempotent();
    let listed = retry.methods.iter().any(|one| **one == *method);
    if !idempotent && !listed && !asked.has("idempotency-key") {
        return Some(format!(
            "{method} is not idempotent, not among `methods`, and there is no Idempotency-Key"
        ));
    }
    match asked.body_length {
        Some(length) if length > retry.body_max => Some(format!(
            "its body of {length} bytes is longer than `body_max` ({})",
            words::size(retry.body_max)
        )),
        _ => None,
    }
}
