//! Consumers, and the filters that ask for them.

use std::collections::{HashMap, HashSet};

use super::{Index, duplicate, repeated, report_duplicates};
use crate::diagnostic::Diagnostic;
use crate::model::{
    AuthScheme, Authentication, Consumer, ConsumerStore, Filter, FilterId, FilterKind, KeyPart,
    KeyProof, Listener, Name, Otherwise, Override, Route,
};
use crate::read::{Reader, quote};
use crate::span::{Span, Spanned};

/// What proves a consumer belongs to it alone.
pub(super) fn check_consumers(r: &mut Reader<'_>, consumers: &[Consumer]) {
    let names = consumers.iter().map(|consumer| &consumer.name);
    report_duplicates(r, "consumer", names);
    let keys = || consumers.iter().flat_map(|consumer| &consumer.api_keys);
    let digests = keys().filter_map(|key| match &key.proof {
        KeyProof::Digest(digest) => Some((digest, key.span)),
        KeyProof::Hash(_) => None,
    });
    for (_, first, second) in repeated(digests) {
        r.report(
            Diagnostic::error("duplicate-key", "this API key is there twice", second)
                .label("nobody could tell whose it is")
                .help("give every consumer keys of its own: `ringgate key new`")
                .related(first, "first here"),
        );
    }
    let ids = keys().filter_map(|key| Some((&**key.id.as_ref()?, key.span)));
    for (id, first, second) in repeated(ids) {
        duplicate(r, &format!("API key {}", quote(id)), first, second);
    }
    let subjects = consumers.iter().flat_map(|consumer| &consumer.subjects);
    for (subject, first, second) in repeated(subjects.map(|one| (&one.value, one.span))) {
        let what = format!("subject {}", quote(&subject.subject));
        taken(r, &what, first, second);
    }
    let certificates = consumers.iter().flat_map(|one| &one.certificates);
    for (_, first, second) in repeated(certificates.map(|one| (&one.value, one.span))) {
        taken(r, "this certificate", first, second);
    }
    let users = consumers.iter().filter_map(|one| one.user.as_ref());
    for (user, first, second) in repeated(users.map(|user| (&*user.value, user.span))) {
        taken(r, &format!("user {}", quote(user)), first, second);
    }
}

fn taken(r: &mut Reader<'_>, what: &str, first: Span, second: Span) {
    r.report(
        Diagnostic::error("duplicate-entry", format!("{what} is listed twice"), second)
            .label("nobody could tell whose it is")
            .help("list it with one consumer")
            .related(first, "first here"),
    );
}

/// Where consumers are kept, and whether anybody asks for them.
pub(super) fn check_store(
    r: &mut Reader<'_>,
    store: Option<&ConsumerStore>,
    filters: &[Filter],
    redis: &mut Index<'_>,
) {
    let Some(store) = store else {
        return;
    };
    let written = r.sources.snippet(store.redis.span).trim_matches('"');
    let text = crate::read::Text {
        value: store.redis.as_str().into(),
        written: written.contains("${").then(|| written.into()),
    };
    redis.resolve(r, &Spanned::new(text, store.redis.span));
    let mut kinds = filters.iter().map(|filter| &filter.kind);
    let asks = kinds.any(|kind| match kind {
        FilterKind::Authentication(asked) => matches!(asked.scheme, AuthScheme::ApiKey(_)),
        _ => false,
    });
    if !asks {
        let message = "consumers are kept that nobody asks for";
        r.report(
            Diagnostic::warning("no-effect", message, store.redis.span)
                .label("no filter is of type \"api_key\"")
                .help("add one, or remove [consumers]"),
        );
    }
}

/// Filters that ask who makes a request: those they are made of, and consumers they name.
pub(super) fn check_filters(
    r: &mut Reader<'_>,
    filters: &[Filter],
    (consumers, store): (&[Consumer], Option<&ConsumerStore>),
    index: &mut Index<'_>,
) {
    let names = consumers.iter().map(|one| (one.name.as_str(), &one.name));
    let names: HashMap<&str, &Spanned<_>> = names.collect();
    for filter in filters {
        let asked = match &filter.kind {
            FilterKind::Authentication(asked) => asked,
            kind => {
                for name in overridden(kind) {
                    if !names.contains_key(name.as_str()) {
                        unknown_consumer(r, name);
                    }
                }
                continue;
            }
        };
        if let Otherwise::Anonymous(name) = &asked.otherwise
            && !names.contains_key(name.as_str())
        {
            unknown_consumer(r, name);
        }
        let (members, tag) = match &asked.scheme {
            AuthScheme::AnyOf(members) => (members, "any_of"),
            AuthScheme::AllOf(members) => (members, "all_of"),
            // What they ask for, `issuers` looks at.
            AuthScheme::Jwt(_) => continue,
            AuthScheme::ApiKey(_) => {
                if store.is_none() {
                    check_keys(r, filter, consumers);
                }
                continue;
            }
            AuthScheme::Basic(_) | AuthScheme::Mtls(_) => continue,
            AuthScheme::Forward(_) | AuthScheme::Introspection(_) => continue,
        };
        for member in members {
            check_member(r, filters, index, member, tag);
        }
    }
}

fn unknown_consumer(r: &mut Reader<'_>, name: &Spanned<Name>) {
    let message = format!("unknown consumer {}", quote(name));
    r.report(
        Diagnostic::error("unknown-name", message, name.span)
            .label("no consumer has this name")
            .help("add a [[consumer]] of this name; it needs no credentials"),
    );
}

/// Consumers that a limit has numbers of their own for.
fn overridden(kind: &FilterKind) -> Vec<&Spanned<Name>> {
    match kind {
        FilterKind::RateLimit(limit) => consumers_of(&limit.overrides).collect(),
        FilterKind::Quota(quota) => consumers_of(&quota.overrides).collect(),
        _ => Vec::new(),
    }
}

fn consumers_of<L>(overrides: &[Override<L>]) -> impl Iterator<Item = &Spanned<Name>> {
    overrides.iter().flat_map(|one| &one.consumers)
}

/// Why a filter has to know who makes a request.
fn wants_principal(kind: &FilterKind) -> Option<&'static str> {
    let (key, overrides) = match kind {
        FilterKind::RateLimit(limit) => (&limit.key, !limit.overrides.is_empty()),
        FilterKind::Quota(quota) => (&quota.key, !quota.overrides.is_empty()),
        FilterKind::ConcurrencyLimit(limit) => (&limit.key, false),
        _ => return None,
    };
    let mut parts = key.parts.iter();
    let by_principal = |part: &Spanned<KeyPart>| {
        matches!(
            part.value,
            KeyPart::Consumer | KeyPart::Subject | KeyPart::Claim(_)
        )
    };
    match (parts.any(by_principal), overrides) {
        (true, _) => Some("its `key` has nothing to count by: all requests count together"),
        (false, true) => Some("nobody gets the limits of its overrides"),
        (false, false) => None,
    }
}

/// Limits that go by who makes a request, on routes where nobody has asked before.
pub(super) fn check_order(
    r: &mut Reader<'_>,
    listeners: &[Listener],
    routes: &[Route],
    filters: &[Filter],
) {
    let asks =
        |id: &Spanned<FilterId>| matches!(filters[id.index()].kind, FilterKind::Authentication(_));
    let mut said = HashSet::new();
    let mut check = |r: &mut Reader<'_>, chain: &[Spanned<FilterId>]| {
        for id in chain.iter().take_while(|id| !asks(id)) {
            let filter = &filters[id.index()];
            let Some(why) = wants_principal(&filter.kind) else {
                continue;
            };
            if !said.insert(id.span) {
                continue;
            }
            let name = quote(&filter.name);
            let message = format!("nobody has asked who makes a request before filter {name}");
            r.report(
                Diagnostic::warning("unknown-principal", message, id.span)
                    .label(why)
                    .help("list a filter that asks, such as one of type \"api_key\", before it")
                    .related(filter.name.span, "this filter"),
            );
        }
    };
    for listener in listeners {
        check(r, &listener.filters);
    }
    // Whichever listener a request comes by, it may be the one that asks.
    if !listeners.iter().any(|one| one.filters.iter().any(asks)) {
        for route in routes {
            check(r, &route.filters);
        }
    }
}

/// A key that nobody has.
fn check_keys(r: &mut Reader<'_>, filter: &Filter, consumers: &[Consumer]) {
    if consumers.iter().any(|one| !one.api_keys.is_empty()) {
        return;
    }
    let message = format!(
        "filter {} asks for keys that nobody has",
        quote(&filter.name)
    );
    r.report(
        Diagnostic::warning("no-effect", message, filter.name.span)
            .label("no consumer has `api_keys`")
            .help("`ringgate key new` makes a key, and prints what to paste into a [[consumer]]"),
    );
}

fn check_member(
    r: &mut Reader<'_>,
    filters: &[Filter],
    index: &mut Index<'_>,
    member: &Spanned<Name>,
    tag: &str,
) {
    let text = crate::read::Text {
        value: member.value.as_str().into(),
        written: None,
    };
    let name = Spanned::new(text, member.span);
    let Some(id) = index.resolve(r, &name) else {
        return;
    };
    let found = &filters[id as usize];
    let fault = match &found.kind {
        FilterKind::Invalid => return,
        FilterKind::Authentication(asked) => match (&asked.scheme, tag) {
            (AuthScheme::AnyOf(_), _) => "is itself of type \"any_of\"",
            (AuthScheme::AllOf(_), "all_of") => "is itself of type \"all_of\"",
            _ => {
                check_own_keys(r, found, asked, member.span);
                return;
            }
        },
        _ => "does not ask for a credential",
    };
    let message = format!("filter {} cannot be part of this", quote(member));
    r.report(
        Diagnostic::error("wrong-filter", message, member.span)
            .label(fault)
            .help("name filters that ask for one credential; \"any_of\" may have \"all_of\" in it")
            .related(found.name.span, "this filter"),
    );
}

/// What holds for all alternatives cannot be said of one.
fn check_own_keys(r: &mut Reader<'_>, found: &Filter, asked: &Authentication, place: Span) {
    let key = match &asked.otherwise {
        Otherwise::Refuse => return,
        Otherwise::Pass => "optional",
        Otherwise::Anonymous(_) => "anonymous",
    };
    let message = format!(
        "`{key}` of filter {} has no effect here",
        quote(&found.name)
    );
    r.report(
        Diagnostic::warning("no-effect", message, place)
            .label("only what it asks for counts")
            .help(format!("write `{key}` here instead"))
            .related(found.name.span, "this filter"),
    );
}
