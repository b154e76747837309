//! Issuers of tokens, and the filters that take theirs.

use super::{Index, repeated};
use crate::diagnostic::Diagnostic;
use crate::model::{AuthScheme, Filter, FilterKind, Issuer, IssuerKeys, TokenFilter};
use crate::read::{Reader, Text, quote};
use crate::span::Spanned;

/// Filters that take tokens: of issuers that exist, and that a token can tell apart.
pub(super) fn check(
    r: &mut Reader<'_>,
    filters: &[Filter],
    issuers: &[Issuer],
    index: &mut Index<'_>,
) {
    for issuer in issuers {
        check_keys(r, issuer);
    }
    for filter in filters {
        if let FilterKind::Authentication(asked) = &filter.kind
            && let AuthScheme::Jwt(tokens) = &asked.scheme
        {
            check_filter(r, filter, tokens, issuers, index);
        }
    }
}

fn check_filter(
    r: &mut Reader<'_>,
    filter: &Filter,
    tokens: &TokenFilter,
    issuers: &[Issuer],
    index: &mut Index<'_>,
) {
    let mut found: Vec<&Issuer> = Vec::new();
    for name in &tokens.issuers {
        let text = Text {
            value: name.value.as_str().into(),
            written: None,
        };
        let id = index.resolve(r, &Spanned::new(text, name.span));
        found.extend(id.and_then(|id| issuers.get(id as usize)));
    }
    let said = found
        .iter()
        .map(|one| (&*one.issuer.value, one.issuer.span));
    for (issuer, first, second) in repeated(said) {
        let message = format!(
            "two issuers of {} are both {}",
            quote(&filter.name),
            quote(issuer)
        );
        r.report(
            Diagnostic::error("duplicate-entry", message, filter.name.span)
                .label("no token says which of the two it is of")
                .help("put their keys and algorithms into one issuer, or use two filters")
                .related(first, "one of them")
                .related(second, "the other"),
        );
    }
    let open = found.iter().find(|one| one.audiences.is_empty());
    if let Some(open) = open.filter(|_| tokens.audiences.is_empty()) {
        let message = format!("filter {} takes tokens for anybody", quote(&filter.name));
        r.report(
            Diagnostic::warning("any-audience", message, filter.name.span)
                .label("a token that was made for another service is good here")
                .help("write `audiences` here or in the issuer")
                .related(open.name.span, "this issuer has none"),
        );
    }
}

/// What no token could be verified with, as the algorithms are.
fn check_keys(r: &mut Reader<'_>, issuer: &Issuer) {
    let algorithms = &issuer.algorithms;
    let keys = match &issuer.keys {
        // That one could not be read.
        IssuerKeys::Written(keys) if keys.is_empty() => return,
        IssuerKeys::Written(keys) => &keys[..],
        IssuerKeys::File(_) | IssuerKeys::Fetched(_) => {
            let secret = algorithms.iter().find(|one| one.value.is_symmetric());
            if let Some(secret) = secret {
                let message = format!("{} needs a secret, and key sets have none", secret.value);
                r.report(
                    Diagnostic::error("no-effect", message, secret.span)
                        .label("no token could be verified")
                        .help("remove it, or write the secret in `keys`"),
                );
            }
            return;
        }
    };
    for key in keys {
        if algorithms.iter().all(|one| one.value != key.algorithm) {
            let message = format!("this key is for {}, which is not allowed", key.algorithm);
            r.report(
                Diagnostic::error("no-effect", message, key.span)
                    .label("`algorithms` does not have it")
                    .help("add it there, or remove the key"),
            );
        }
    }
    for algorithm in algorithms {
        if keys.iter().all(|key| key.algorithm != algorithm.value) {
            let message = format!("no key is for {}", algorithm.value);
            r.report(
                Diagnostic::warning("no-effect", message, algorithm.span)
                    .label("no token could be verified")
                    .help("remove it, or add the key"),
            );
        }
    }
    let named = keys.iter().filter_map(|key| {
        let kid = key.kid.as_deref()?;
        Some(((kid, key.algorithm), key.span))
    });
    for ((kid, _), first, second) in repeated(named) {
        super::duplicate(r, &format!("key {}", quote(kid)), first, second);
    }
}
