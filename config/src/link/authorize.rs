//! Rules of who may do what: whom they name, and whether anybody can be known.

use std::collections::HashSet;

use crate::diagnostic::Diagnostic;
use crate::model::{Authorize, Consumer, ConsumerStore, Filter, FilterKind, Rule};
use crate::read::{Reader, quote};

/// Whether rules go by what there is: consumers, and anybody who is known at all.
pub(super) fn check(
    r: &mut Reader<'_>,
    filters: &[Filter],
    (consumers, store): (&[Consumer], Option<&ConsumerStore>),
) {
    if store.is_none() {
        check_consumers(r, filters, consumers);
    }
    let mut kinds = filters.iter().map(|filter| &filter.kind);
    if kinds.any(|kind| matches!(kind, FilterKind::Authentication(_))) {
        return;
    }
    for (filter, rules) in rules_of(filters) {
        if all(rules).any(Rule::is_about_somebody) {
            let message = format!("nobody is ever known to {}", quote(&filter.name));
            r.report(
                Diagnostic::warning("no-effect", message, filter.name.span)
                    .label("its rules go by who makes a request, and no filter asks for that")
                    .help(
                        "add a filter such as one of type \"api_key\", and name it before this one",
                    ),
            );
        }
    }
}

/// Whether there are the consumers that rules name.
fn check_consumers(r: &mut Reader<'_>, filters: &[Filter], consumers: &[Consumer]) {
    let names: HashSet<&str> = consumers.iter().map(|one| one.name.as_str()).collect();
    let rules = rules_of(filters).flat_map(|(_, rules)| all(rules));
    for consumer in rules.flat_map(|rule| &rule.consumers) {
        if !names.contains(consumer.as_str()) {
            let message = format!("unknown consumer {}", quote(consumer));
            r.report(
                Diagnostic::error("unknown-name", message, consumer.span)
                    .label("no consumer has this name")
                    .help("add a [[consumer]] of this name"),
            );
        }
    }
}

fn rules_of(filters: &[Filter]) -> impl Iterator<Item = (&Filter, &Authorize)> {
    filters.iter().filter_map(|filter| match &filter.kind {
        FilterKind::Authorize(rules) => Some((filter, &**rules)),
        _ => None,
    })
}

fn all(rules: &Authorize) -> impl Iterator<Item = &Rule> {
    rules.allow.iter().flatten().chain(&rules.deny)
}
