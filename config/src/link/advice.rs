//! What works, but cannot be what was meant: times that do not fit into each other, places that
//! nothing stands in, endpoints that get nothing.

use std::collections::HashSet;
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::model::{
    Action, EndpointAddr, Filter, FilterKind, KeyPart, Limits, Node, Retry, Route, Upstream,
};
use crate::nearest::nearest;
use crate::read::{Reader, quote};
use crate::span::{Span, Spanned};
use crate::units::show_duration;

pub(super) fn check(
    r: &mut Reader<'_>,
    node: &Node,
    limits: &Limits,
    (routes, upstreams, filters): (&[Route], &[Upstream], &[Filter]),
) {
    check_zones(r, node, upstreams);
    for upstream in upstreams {
        check_endpoints(r, upstream);
    }
    let mut said = HashSet::new();
    for route in routes {
        let timeout = match route.timeout {
            Some(written) => written.limit(),
            None => limits.request_timeout.limit(),
        };
        let upstream = match &route.action {
            Action::Upstream(id) => Some(&upstreams[id.index()]),
            _ => None,
        };
        let retry = route.policy.retry.as_ref();
        let retry = retry.or(upstream.and_then(|upstream| upstream.retry.as_ref()));
        if let (Some(retry), Some(timeout)) = (retry, timeout) {
            check_retry(r, route, retry, timeout, &mut said);
        }
        check_captures(r, route);
        check_filter_captures(r, route, filters);
    }
}

/// Attempts that the route's timeout leaves no time for.
fn check_retry(
    r: &mut Reader<'_>,
    route: &Route,
    retry: &Retry,
    timeout: Duration,
    said: &mut HashSet<Span>,
) {
    let Some(limit) = retry.try_timeout else {
        return;
    };
    let all = limit.value * (u32::from(retry.attempts) + 1);
    if all <= timeout || !said.insert(limit.span) {
        return;
    }
    let fitting = timeout.as_millis() / limit.value.as_millis().max(1);
    r.report(
        Diagnostic::warning(
            "impossible-limit",
            format!(
                "not all attempts fit into the timeout of route {}",
                quote(&route.name)
            ),
            limit.span,
        )
        .label(format!(
            "{} attempts of {} take {}, and the timeout is {}",
            u32::from(retry.attempts) + 1,
            show_duration(limit.value),
            show_duration(all),
            show_duration(timeout),
        ))
        .help(format!(
            "make `try_timeout` shorter or `timeout` longer: {} would be used in full",
            match fitting {
                0 => "not even one attempt".to_owned(),
                1 => "only one attempt".to_owned(),
                some => format!("only {some} attempts"),
            }
        ))
        .related(route.name.span, "this route"),
    );
}

/// Captures that the route's path does not have.
fn check_captures(r: &mut Reader<'_>, route: &Route) {
    let own = route.policy.balance.as_ref();
    let own = own.and_then(|choice| choice.key.as_ref());
    let parts: Vec<Spanned<KeyPart>> = own
        .into_iter()
        .chain(&route.policy.split_key)
        .flatten()
        .cloned()
        .collect();
    for part in parts {
        if let KeyPart::Capture(name) = &part.value {
            check_capture(r, route, name, part.span);
        }
    }
}

/// Reports a capture at `place` that the route's path does not have.
fn check_capture(r: &mut Reader<'_>, route: &Route, name: &str, place: Span) {
    let template = format!("/{{{name}}}");
    if r.checks.template(&template, &route.path).is_err() {
        let message = format!(
            "the path of route {} has no capture {}",
            quote(&route.name),
            quote(name)
        );
        r.report(
            Diagnostic::error("invalid-pattern", message, place)
                .label("all requests of the route would be alike")
                .help(format!(
                    "name a capture of the path, or add {{{name}}} to it"
                ))
                .related(route.path.span, "the route's path"),
        );
    }
}

fn check_zones(r: &mut Reader<'_>, node: &Node, upstreams: &[Upstream]) {
    let endpoints = upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let zones: Vec<&Spanned<_>> = endpoints
        .filter_map(|endpoint| endpoint.zone.as_ref())
        .collect();
    match (&node.zone, zones.first()) {
        (None, Some(first)) => {
            let message = "endpoints have a `zone`, and this node has none";
            r.report(
                Diagnostic::warning("no-effect", message, first.span)
                    .label("no zone goes before another")
                    .help(
                        "add [node] with `zone`, best as \"${env:NAME}\" where nodes share a file",
                    ),
            );
        }
        (Some(own), Some(_)) if !zones.iter().any(|zone| zone.value == own.value) => {
            let written = r.sources.snippet(own.span);
            // What comes from the environment is not shown, and is no misspelling either.
            let near = match written.contains("${") {
                true => None,
                false => nearest(own, zones.iter().map(|zone| zone.as_str())).map(quote),
            };
            let message = "no endpoint stands in the zone of this node";
            let out = Diagnostic::warning("no-effect", message, own.span)
                .label("no endpoint goes before another");
            r.report(match near {
                Some(near) => out.help(format!("did you mean {near}?")),
                None => out.help("correct it, or give endpoints this `zone`"),
            });
        }
        _ => {}
    }
}

fn check_endpoints(r: &mut Reader<'_>, upstream: &Upstream) {
    let endpoints = &upstream.endpoints;
    if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.drain) {
        let message = format!("every endpoint of {} is drained", quote(&upstream.name));
        r.report(
            Diagnostic::warning("no-endpoints", message, upstream.name.span)
                .label("its requests get 503")
                .help("take `drain` away from one of them"),
        );
    }
    // A name may stand for several.
    let is_one = match &endpoints[..] {
        [only] => !matches!(only.address.value, EndpointAddr::Name { .. }),
        _ => false,
    };
    if is_one && upstream.outlier.is_some() {
        let message = format!(
            "{} has one endpoint, which is never ejected",
            quote(&upstream.name)
        );
        r.report(
            Diagnostic::warning("no-effect", message, upstream.name.span)
                .label("[upstream.outlier] compares endpoints")
                .help("add another endpoint, or remove it: [upstream.breaker] is for one"),
        );
    }
}

/// The filters' keys, on the routes that use them.
fn check_filter_captures(r: &mut Reader<'_>, route: &Route, filters: &[Filter]) {
    for id in &route.filters {
        let key = match &filters[id.index()].kind {
            FilterKind::RateLimit(limit) => &limit.key,
            FilterKind::Quota(quota) => &quota.key,
            FilterKind::ConcurrencyLimit(limit) => &limit.key,
            _ => continue,
        };
        for part in &key.parts {
            if let KeyPart::Capture(name) = &part.value {
                check_capture(r, route, name, id.span);
            }
        }
    }
}
