//! From parts to a whole: names become ids, and what only shows when everything is known is
//! checked: duplicates, unknown and unused things, templates of shared filters.

mod access;
mod acme;
mod advice;
mod authorize;
mod issuers;
mod listeners;
mod policy;
mod services;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{
    Action, Config, Filter, FilterId, FilterKind, Listener, ListenerProtocol, Name, PathRewrite,
    Route, Upstream, UpstreamId, UpstreamProtocol,
};
use crate::nearest::nearest;
use crate::read::{Parts, RawAction, RawListener, RawRoute, Reader, Text, quote};
use crate::span::{Sources, Span, Spanned};

/// How often a lookup of the nearest name is worth its time; a file with more unknown names has
/// one cause, not many.
const SUGGESTIONS_MAX: usize = 64;

/// Names of one kind of thing, with their ids and whether anything uses them.
struct Index<'a> {
    /// What they are called in messages.
    kind: &'static str,
    places: HashMap<&'a str, u32>,
    names: Vec<(&'a Spanned<Name>, Use)>,
    suggestions: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Never,
    Used,
}

impl<'a> Index<'a> {
    fn new(
        r: &mut Reader<'_>,
        kind: &'static str,
        names: impl Iterator<Item = &'a Spanned<Name>>,
    ) -> Self {
        let names: Vec<_> = names.map(|name| (name, Use::Never)).collect();
        let mut places = HashMap::with_capacity(names.len());
        for (id, (name, _)) in (0..).zip(&names) {
            if let Some(first) = places.get(name.as_str()) {
                let (first, _): &(&Spanned<Name>, Use) = &names[*first as usize];
                duplicate(r, &format!("{kind} {}", quote(name)), first.span, name.span);
            } else {
                places.insert(name.as_str(), id);
            }
        }
        Self {
            kind,
            places,
            names,
            suggestions: 0,
        }
    }

    fn resolve(&mut self, r: &mut Reader<'_>, name: &Spanned<Text>) -> Option<u32> {
        let id = self.places.get(&*name.value.value).copied();
        match id {
            Some(id) => self.names[id as usize].1 = Use::Used,
            None => self.unknown(r, name),
        }
        id
    }

    /// The id of an upstream, with the place that names it.
    fn upstream(
        &mut self,
        r: &mut Reader<'_>,
        name: &Spanned<Text>,
    ) -> Option<Spanned<UpstreamId>> {
        let id = self.resolve(r, name)?;
        Some(Spanned::new(UpstreamId(id), name.span))
    }

    /// The name of something that exists, with the place that names it.
    fn named(&mut self, r: &mut Reader<'_>, name: &Spanned<Text>) -> Option<Spanned<Name>> {
        let id = self.resolve(r, name)?;
        Some(Spanned::new(self.name(id), name.span))
    }

    fn name(&self, id: u32) -> Name {
        self.names[id as usize].0.value.clone()
    }

    fn unknown(&mut self, r: &mut Reader<'_>, name: &Spanned<Text>) {
        let kind = self.kind;
        let message = format!("unknown {kind} {}", quote(name.shown()));
        let diagnostic = Diagnostic::error("unknown-name", message, name.span)
            .label(format!("no {kind} has this name"));
        let near = if self.suggestions < SUGGESTIONS_MAX && !name.is_expanded() {
            self.suggestions += 1;
            nearest(&name.value.value, self.places.keys().copied())
        } else {
            None
        };
        let place = near.and_then(|near| self.places.get(near));
        r.report(match (near, place) {
            (Some(near), Some(place)) => {
                diagnostic.help(format!("did you mean `{near}`?")).related(
                    self.names[*place as usize].0.span,
                    format!("this {kind} exists"),
                )
            }
            _ if self.places.is_empty() => {
                diagnostic.help(format!("no {kind} is defined at all: add one"))
            }
            _ => diagnostic.help(self.some_names()),
        });
    }

    fn some_names(&self) -> String {
        const SHOWN_MAX: usize = 8;
        let names = self.names.iter().take(SHOWN_MAX);
        let mut out: Vec<String> = names.map(|(name, _)| quote(name)).collect();
        if self.names.len() > SHOWN_MAX {
            out.push("...".to_owned());
        }
        format!("there are: {}", out.join(", "))
    }

    fn warn_unused(&self, r: &mut Reader<'_>) {
        let kind = self.kind;
        for (name, used) in &self.names {
            if *used == Use::Never {
                let message = format!("{kind} {} is never used", quote(name));
                r.report(
                    Diagnostic::warning("unused", message, name.span)
                        .label(format!("{} refers to this {kind}", nobody(kind)))
                        .help(format!("remove it, or name it in {}", place(kind))),
                );
            }
        }
    }
}

/// Who might use such a thing, and does not.
fn nobody(kind: &str) -> &'static str {
    match kind {
        "upstream" => "no route or listener",
        "redis" | "issuer" | "oauth_client" => "no filter",
        _ => "no route",
    }
}

/// Where such a thing is named.
fn place(kind: &str) -> &'static str {
    match kind {
        "filter" => "the `filters` of a route, a listener or another filter",
        "redis" => "a filter's `redis`",
        "issuer" => "a filter's `issuers`",
        "oauth_client" => "a filter's `client`",
        _ => "a route's `upstream`",
    }
}

fn duplicate(r: &mut Reader<'_>, what: &str, first: Span, second: Span) {
    r.report(
        Diagnostic::error("duplicate-name", format!("{what} is defined twice"), second)
            .label("defined again")
            .help("give one of them another name")
            .related(first, "first defined here"),
    );
}

/// Makes the whole, and reports what is wrong with it. The result must not be used when errors
/// were reported.
pub(crate) fn link(r: &mut Reader<'_>, mut parts: Parts, root: Span) -> Option<Config> {
    listeners::check(r, &parts, root);
    acme::check(r, &parts);
    report_duplicates(
        r,
        "listener",
        parts.listeners.iter().map(|raw| &raw.listener.name),
    );
    access::check_consumers(r, &parts.consumers);
    report_duplicates(r, "route", parts.routes.iter().map(|route| &route.name));
    let mut upstreams = Index::new(r, "upstream", parts.upstreams.iter().map(|one| &one.name));
    let filter_names = parts.filters.iter().map(|filter| &filter.name);
    let mut filters = Index::new(r, "filter", filter_names);
    let any_http = parts.listeners.iter().any(is_http);
    check_served(r, &parts.routes, any_http, root);
    let fallbacks = policy::fallbacks(r, parts.fallbacks, &mut upstreams);
    let mut redis = Index::new(r, "redis", parts.redis.iter().map(|redis| &redis.name));
    policy::check_stores(r, &parts.filters, parts.quotas.as_ref(), &mut redis);
    access::check_store(r, parts.consumer_store.as_ref(), &parts.filters, &mut redis);
    let mut issuers = Index::new(r, "issuer", parts.issuers.iter().map(|one| &one.name));
    issuers::check(r, &parts.filters, &parts.issuers, &mut issuers);
    let known = (&*parts.consumers, parts.consumer_store.as_ref());
    access::check_filters(r, &parts.filters, known, &mut filters);
    authorize::check(r, &parts.filters, known);
    services::check(r, &parts.filters, &mut upstreams);
    let mut clients = services::clients(r, &parts.oauth_clients);
    services::check_clients(r, &parts.filters, &mut clients);
    let all = &parts.filters;
    let routes = parts.routes.into_iter();
    let routes = routes.filter_map(|raw| resolve(r, raw, &mut upstreams, &mut filters, all));
    let routes: Vec<Route> = routes.collect();
    let raw = parts.listeners.into_iter();
    let listeners = raw.map(|raw| listeners::resolve(r, raw, &mut upstreams, &mut filters, all));
    let listeners: Vec<Listener> = listeners.collect();
    listeners::check_nested_tls(r, &listeners, &parts.upstreams);
    listeners::check_filters(r, &listeners, &routes, &parts.filters);
    access::check_order(r, &listeners, &routes, &parts.filters);
    for route in &routes {
        check_grpc_web(r, route, &parts.filters, &parts.upstreams);
    }
    // After an error, what looks unused may be used by what could not be read.
    if !has_errors(r) {
        for index in [&upstreams, &filters, &redis, &issuers, &clients] {
            index.warn_unused(r);
        }
    }
    for (index, fallback) in fallbacks {
        parts.upstreams[index].fallback = Some(fallback);
    }
    policy::check(r, &routes, &parts.upstreams);
    if let Some(limits) = &parts.limits
        && !has_errors(r)
    {
        let all = (&routes[..], &parts.upstreams[..], &parts.filters[..]);
        advice::check(r, &parts.node, limits, all);
    }
    Some(Config {
        runtime: parts.runtime?,
        admin: parts.admin,
        log: parts.log?,
        limits: parts.limits?,
        path: parts.path?,
        forwarded: parts.forwarded?,
        node: parts.node,
        overload: parts.overload,
        redis: parts.redis,
        quotas: parts.quotas,
        acme: parts.acme.and_then(|raw| raw.acme),
        listeners,
        upstreams: parts.upstreams,
        filters: parts.filters,
        access: parts.access,
        consumers: parts.consumers,
        issuers: parts.issuers,
        oauth_clients: parts.oauth_clients,
        consumer_store: parts.consumer_store,
        routes,
        sources: Arc::new(Sources::default()),
    })
}

/// Routes without listeners, and the other way round.
fn check_served(r: &mut Reader<'_>, routes: &[RawRoute], any_http: bool, root: Span) {
    if routes.is_empty() && any_http && !has_errors(r) {
        r.report(
            Diagnostic::warning("no-routes", "no route is defined", root)
                .label("every request will get 404")
                .help("add a [[route]] with a `path` and an action"),
        );
    }
    if let Some(first) = routes.first()
        && !any_http
        && !has_errors(r)
    {
        let message = "no listener serves the routes";
        r.report(
            Diagnostic::warning("unused", message, first.name.span)
                .label("no request gets here")
                .help("every listener passes bytes on: add one of protocol \"http\""),
        );
    }
}

fn is_http(raw: &RawListener) -> bool {
    raw.listener.protocol == ListenerProtocol::Http
}

fn has_errors(r: &Reader<'_>) -> bool {
    r.diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn report_duplicates<'a>(
    r: &mut Reader<'_>,
    kind: &str,
    names: impl Iterator<Item = &'a Spanned<Name>>,
) {
    let pairs = names.map(|name| (name.as_str(), name.span));
    for (name, first, second) in repeated(pairs) {
        duplicate(r, &format!("{kind} {}", quote(name)), first, second);
    }
}

/// Each thing that occurs again, with its first place and the other one.
fn repeated<T: Eq + Hash + Copy>(things: impl Iterator<Item = (T, Span)>) -> Vec<(T, Span, Span)> {
    let mut seen: HashMap<T, Span> = HashMap::new();
    let mut out = Vec::new();
    for (thing, span) in things {
        match seen.get(&thing) {
            Some(first) => out.push((thing, *first, span)),
            None => {
                seen.insert(thing, span);
            }
        }
    }
    out
}

fn resolve(
    r: &mut Reader<'_>,
    raw: RawRoute,
    upstreams: &mut Index<'_>,
    filters: &mut Index<'_>,
    defined: &[Filter],
) -> Option<Route> {
    let mut used = Vec::with_capacity(raw.filters.len());
    for name in &raw.filters {
        let Some(id) = filters.resolve(r, name) else {
            continue;
        };
        used.push(Spanned::new(FilterId(id), name.span));
        check_shared_template(r, &defined[id as usize], &raw, name.span);
    }
    let action = match raw.action {
        RawAction::Upstream(name) => Action::Upstream(upstreams.upstream(r, &name)?),
        RawAction::Split(targets) => Action::Split(policy::split(r, targets, upstreams)),
        RawAction::Respond(respond) => Action::Respond(respond),
        RawAction::Redirect(redirect) => Action::Redirect(redirect),
    };
    let policy = policy::route(r, raw.policy, upstreams);
    Some(Route {
        name: raw.name,
        hosts: raw.hosts,
        path: raw.path,
        methods: raw.methods,
        priority: raw.priority,
        matches: raw.matches,
        filters: used,
        action,
        rewrite: raw.rewrite,
        timeout: raw.timeout,
        body_max: raw.body_max,
        upstream_host: raw.upstream_host,
        upgrade: raw.upgrade,
        policy,
    })
}

/// A rewrite filter's template must fit every route that uses it.
fn check_shared_template(r: &mut Reader<'_>, filter: &Filter, route: &RawRoute, place: Span) {
    let FilterKind::Rewrite(PathRewrite::Template(template)) = &filter.kind else {
        return;
    };
    if let Err(fault) = r.checks.template(template, &route.path.value) {
        let shown = r
            .sources
            .snippet(template.span)
            .trim_matches('"')
            .to_owned();
        let is_reference = shown.contains("${");
        let message = format!(
            "filter {} does not fit this route's path",
            quote(&filter.name)
        );
        let label = match is_reference {
            true => "its template needs other captures".to_owned(),
            false => fault.message,
        };
        r.report(
            Diagnostic::error("invalid-pattern", message, place)
                .label(label)
                .help("use it only on routes whose path has its captures")
                .related(template.span, "the filter's template")
                .related(route.path.span, "the route's path"),
        );
    }
}

/// What gRPC-Web is translated to can only be said in HTTP/2.
fn check_grpc_web(r: &mut Reader<'_>, route: &Route, filters: &[Filter], upstreams: &[Upstream]) {
    let mut used = route.filters.iter();
    let Some(filter) = used.find(|id| filters[id.index()].kind == FilterKind::GrpcWeb) else {
        return;
    };
    let targets: Vec<&Spanned<UpstreamId>> = match &route.action {
        Action::Upstream(id) => vec![id],
        Action::Split(targets) => targets.iter().map(|target| &target.upstream).collect(),
        Action::Respond(_) | Action::Redirect(_) => Vec::new(),
    };
    for id in targets {
        let upstream = &upstreams[id.index()];
        if upstream.protocol == UpstreamProtocol::Http1 {
            let name = quote(&upstream.name);
            let message = format!("gRPC goes to {name}, which is spoken to in HTTP/1.1");
            r.report(
                Diagnostic::warning("grpc-without-http2", message, id.span)
                    .label("gRPC needs HTTP/2")
                    .help(format!("set `protocol = \"h2\"` in the upstream {name}"))
                    .related(upstream.name.span, "this upstream")
                    .related(filter.span, "the route's filter"),
            );
        }
    }
}
