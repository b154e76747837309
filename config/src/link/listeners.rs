//! Listeners among themselves, and with the upstreams that they pass connections on to.

use super::{Index, has_errors, repeated};
use crate::diagnostic::Diagnostic;
use crate::model::{
    Filter, FilterId, FilterKind, ListenAddr, Listener, ListenerProtocol, Route, SniRoute, Upstream,
};
use crate::read::{Parts, RawListener, Reader, Text, quote};
use crate::span::{Span, Spanned};

pub(super) fn check(r: &mut Reader<'_>, parts: &Parts, root: Span) {
    if parts.listeners.is_empty() && !has_errors(r) {
        r.report(
            Diagnostic::error("no-listener", "no listener is defined", root)
                .label("nobody could connect")
                .help("add a [[listener]] with `name` and `listen = \"127.0.0.1:8080\"`"),
        );
    }
    // Port 0 gives each its own port.
    let fixed = |address: &ListenAddr| !matches!(address, ListenAddr::Tcp(tcp) if tcp.port() == 0);
    let admin = parts.admin.iter().map(|admin| &admin.listen);
    let listeners = parts.listeners.iter().map(|raw| &raw.listener.listen);
    let addresses = admin.chain(listeners).filter(|address| fixed(address));
    for (_, first, second) in repeated(addresses.map(|address| (&address.value, address.span))) {
        r.report(
            Diagnostic::error(
                "duplicate-address",
                "this address is listened on twice",
                second,
            )
            .label("the same address again")
            .help("give one of them another port")
            .related(first, "first here"),
        );
    }
}

/// A listener whose upstreams and filters are known to exist.
pub(super) fn resolve(
    r: &mut Reader<'_>,
    raw: RawListener,
    upstreams: &mut Index<'_>,
    filters: &mut Index<'_>,
    defined: &[Filter],
) -> Listener {
    let mut listener = raw.listener;
    let mut resolve = |name: &Spanned<Text>| upstreams.named(r, name);
    listener.upstream = raw.upstream.as_ref().and_then(&mut resolve);
    for entry in raw.sni {
        let names = entry.names;
        let upstream = resolve(&entry.upstream);
        listener
            .sni
            .extend(upstream.map(|upstream| SniRoute { names, upstream }));
    }
    for name in &raw.filters {
        let Some(id) = filters.resolve(r, name) else {
            continue;
        };
        let filter = &defined[id as usize];
        if let FilterKind::Rewrite(_) = filter.kind {
            let message = format!("filter {} changes the path", quote(&filter.name));
            r.report(
                Diagnostic::error("filter-before-route", message, name.span)
                    .label("a listener's filters run before the path is routed")
                    .help("list it in the `filters` of routes")
                    .related(filter.name.span, "this filter"),
            );
        }
        listener.filters.push(Spanned::new(FilterId(id), name.span));
    }
    listener
}

/// What filters of listeners mean for routes: they run before the routes' own, and what routes
/// ask about who makes a request is known by them alone.
pub(super) fn check_filters(
    r: &mut Reader<'_>,
    listeners: &[Listener],
    routes: &[Route],
    defined: &[Filter],
) {
    let http = listeners
        .iter()
        .filter(|one| one.protocol == ListenerProtocol::Http);
    let asks = |listener: &Listener| !listener.filters.is_empty();
    let nobody_asks = !http.clone().any(asks);
    for route in routes {
        for id in &route.filters {
            let mut twice = http.clone().filter_map(|listener| {
                let same = listener
                    .filters
                    .iter()
                    .find(|other| other.value == id.value)?;
                Some((listener, same))
            });
            let Some((listener, same)) = twice.next() else {
                continue;
            };
            let name = quote(&defined[id.index()].name);
            let message = format!("filter {name} runs twice for requests of this route");
            r.report(
                Diagnostic::error("duplicate-filter", message, id.span)
                    .label(format!(
                        "runs on listener {} already",
                        quote(&listener.name)
                    ))
                    .help("keep it in one of the two places")
                    .related(same.span, "there"),
            );
        }
        if route.matches.ask_who() && nobody_asks {
            let message = format!(
                "nothing is known of who asks when route {} is chosen",
                quote(&route.name)
            );
            r.report(
                Diagnostic::warning("never-matches", message, route.name.span)
                    .label("its conditions on the consumer, group, scope or claims never hold")
                    .help("list a filter that proves it in the `filters` of the listener: those of a route run after the choice"),
            );
        }
    }
}

/// TLS that is passed on must not be wrapped in TLS of our own.
pub(super) fn check_nested_tls(r: &mut Reader<'_>, listeners: &[Listener], upstreams: &[Upstream]) {
    for listener in listeners {
        if listener.protocol != ListenerProtocol::Tls {
            continue;
        }
        let named = listener.sni.iter().map(|entry| &entry.upstream);
        for name in listener.upstream.iter().chain(named) {
            let mut upstreams = upstreams.iter();
            let upstream = upstreams.find(|upstream| upstream.name == *name);
            if let Some(upstream) = upstream.filter(|upstream| upstream.tls.is_some()) {
                let message = format!(
                    "TLS is passed on to {}, which has [upstream.tls]",
                    quote(&upstream.name)
                );
                r.report(
                    Diagnostic::error("contradiction", message, name.span)
                        .label("the client's TLS would be wrapped in another")
                        .help("name an upstream without [upstream.tls]: the client speaks TLS with the origin itself")
                        .related(upstream.name.span, "this upstream"),
                );
            }
        }
    }
}
