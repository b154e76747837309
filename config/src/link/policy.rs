//! Traffic policies among themselves and with the upstreams that they name.

use std::collections::HashMap;

use super::Index;
use crate::diagnostic::Diagnostic;
use crate::model::{
    Action, Canary, Fallback, FallbackTo, Filter, FilterKind, Mirror, Name, Quotas, Route,
    RoutePolicy, SplitTarget, Upstream, UpstreamId,
};
use crate::read::{RawFallback, RawPolicy, Reader, Text, quote};
use crate::span::Spanned;

/// The branches whose upstreams exist.
pub(super) fn split(
    r: &mut Reader<'_>,
    targets: Vec<SplitTarget<Spanned<Text>>>,
    upstreams: &mut Index<'_>,
) -> Vec<SplitTarget> {
    let mut out = Vec::with_capacity(targets.len());
    for target in targets {
        if let Some(upstream) = upstreams.upstream(r, &target.upstream) {
            out.push(SplitTarget {
                upstream,
                weight: target.weight,
                headers: target.headers,
                cookies: target.cookies,
            });
        }
    }
    out
}

/// A route's policies, their upstreams found.
pub(super) fn route(r: &mut Reader<'_>, raw: RawPolicy, upstreams: &mut Index<'_>) -> RoutePolicy {
    let canary = raw.canary.and_then(|raw| {
        Some(Canary {
            upstream: upstreams.named(r, &raw.upstream)?,
            from: raw.from,
            to: raw.to,
            over: raw.over,
            halt: raw.halt,
        })
    });
    let mirror = raw.mirror.and_then(|raw| {
        Some(Mirror {
            upstream: upstreams.named(r, &raw.upstream)?,
            share: raw.share,
            body_max: raw.body_max,
        })
    });
    RoutePolicy {
        balance: raw.balance,
        split_key: raw.split_key,
        canary,
        mirror,
        retry: raw.retry,
        concurrency: raw.concurrency,
        fallback: raw.fallback.and_then(|raw| fallback(r, raw, upstreams)),
        urgency: raw.urgency,
        deadline_header: raw.deadline_header,
    }
}

/// The fallbacks of upstreams, by the upstreams' index.
pub(super) fn fallbacks(
    r: &mut Reader<'_>,
    raw: Vec<(usize, RawFallback)>,
    upstreams: &mut Index<'_>,
) -> Vec<(usize, Fallback)> {
    let mut out = Vec::with_capacity(raw.len());
    for (index, raw) in raw {
        out.extend(fallback(r, raw, upstreams).map(|fallback| (index, fallback)));
    }
    out
}

fn fallback(r: &mut Reader<'_>, raw: RawFallback, upstreams: &mut Index<'_>) -> Option<Fallback> {
    let to = match raw.to {
        FallbackTo::Upstream(name) => FallbackTo::Upstream(upstreams.named(r, &name)?),
        FallbackTo::Respond(respond) => FallbackTo::Respond(respond),
    };
    Some(Fallback {
        statuses: raw.statuses,
        to,
    })
}

/// Whether what filters keep their counts in is there.
pub(super) fn check_stores(
    r: &mut Reader<'_>,
    filters: &[Filter],
    quotas: Option<&Quotas>,
    redis: &mut Index<'_>,
) {
    for filter in filters {
        match &filter.kind {
            FilterKind::RateLimit(limit) => {
                if let Some(name) = &limit.redis {
                    let written = r.sources.snippet(name.span).trim_matches('"');
                    let text = Text {
                        value: name.as_str().into(),
                        written: written.contains("${").then(|| written.into()),
                    };
                    redis.resolve(r, &Spanned::new(text, name.span));
                }
            }
            FilterKind::Quota(_) if quotas.is_none() && !super::has_errors(r) => {
                let message = format!(
                    "{} is a quota, but there is no [quotas]",
                    quote(&filter.name)
                );
                r.report(
                    Diagnostic::error("missing-key", message, filter.name.span)
                        .label("nothing says where what was used is kept")
                        .help("add [quotas] with `store = \"/var/lib/ringgate/quotas.redb\"` to the main file"),
                );
            }
            _ => {}
        }
    }
}

/// Reports policies that lead back to where they come from.
pub(super) fn check(r: &mut Reader<'_>, routes: &[Route], upstreams: &[Upstream]) {
    let by_name: HashMap<&str, &Upstream> = upstreams
        .iter()
        .map(|upstream| (upstream.name.as_str(), upstream))
        .collect();
    for upstream in upstreams {
        let own = [upstream.name.as_str()];
        check_fallback(r, upstream.fallback.as_ref(), &own, &by_name);
    }
    for route in routes {
        let own: Vec<&str> = targets(&route.action)
            .map(|id| upstreams[id.index()].name.as_str())
            .collect();
        check_fallback(r, route.policy.fallback.as_ref(), &own, &by_name);
        if let Some(canary) = &route.policy.canary {
            let help = "name another upstream, or remove `canary`";
            check_other(r, route, ("canary", &canary.upstream), &own, help);
        }
        if let Some(mirror) = &route.policy.mirror {
            let help = "name another upstream, or remove `mirror`: it would get each copied request \
                        twice";
            check_other(r, route, ("mirror", &mirror.upstream), &own, help);
        }
    }
}

/// The upstreams of an action.
fn targets(action: &Action) -> impl Iterator<Item = UpstreamId> + '_ {
    let (one, several) = match action {
        Action::Upstream(id) => (Some(id.value), &[][..]),
        Action::Split(targets) => (None, &targets[..]),
        Action::Respond(_) | Action::Redirect(_) => (None, &[][..]),
    };
    let several = several.iter().map(|target| target.upstream.value);
    one.into_iter().chain(several)
}

fn check_other(
    r: &mut Reader<'_>,
    route: &Route,
    (what, target): (&str, &Spanned<Name>),
    own: &[&str],
    help: &str,
) {
    if own.contains(&target.as_str()) {
        let message = format!("the {what} of this route is its own upstream");
        r.report(
            Diagnostic::error("contradiction", message, target.span)
                .label(format!("{} answers this route already", quote(target)))
                .help(help)
                .related(route.name.span, "this route"),
        );
    }
}

fn check_fallback(
    r: &mut Reader<'_>,
    fallback: Option<&Fallback>,
    own: &[&str],
    by_name: &HashMap<&str, &Upstream>,
) {
    let Some(FallbackTo::Upstream(target)) = fallback.map(|fallback| &fallback.to) else {
        return;
    };
    let Some(other) = by_name.get(target.as_str()) else {
        return;
    };
    let name = quote(&other.name);
    if own == [target.as_str()] {
        let message = format!("the fallback of {name} is {name} itself");
        r.report(
            Diagnostic::error("contradiction", message, target.span)
                .label("would fail in the same way")
                .help("name another upstream, or a constant answer with `respond`")
                .related(other.name.span, "this upstream"),
        );
    } else if other.fallback.is_some() {
        let message = format!("{name} is a fallback and has a fallback of its own");
        r.report(
            Diagnostic::warning("no-effect", message, target.span)
                .label("a request falls back once: its own is not asked")
                .help("name an upstream without a fallback, if that is not what you want")
                .related(other.name.span, "this upstream"),
        );
    }
}
