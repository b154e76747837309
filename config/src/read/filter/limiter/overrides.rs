//! `[[filter.NAME.override]]`: limits of some consumers.

use std::collections::HashMap;

use super::{algorithm, limits};
use crate::diagnostic::Diagnostic;
use crate::leaf;
use crate::model::{Algorithm, Name, Override, RateOverride};
use crate::read::reader::{Reader, quote};
use crate::read::table::{Table, add_distinct, bounded_integer};
use crate::span::{Span, Spanned};

/// Overrides of a rate limit; `chosen` is the algorithm that the filter names.
pub(super) fn of_rates(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    chosen: Option<Algorithm>,
) -> Vec<Override<RateOverride>> {
    let read = |r: &mut Reader<'_>, table: &Table<'_>| {
        let limits = limits(r, table);
        let has_burst = limits.iter().any(|limit| limit.burst > 0);
        (!limits.is_empty()).then(|| RateOverride {
            limits,
            algorithm: algorithm(chosen, has_burst),
        })
    };
    overrides(r, table, read)
}

/// Overrides of a quota.
pub(super) fn of_quotas(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Override<u64>> {
    overrides(r, table, |r, table| {
        let item = table.required(r, "limit")?;
        Some(bounded_integer(r, &item)?.unsigned_abs())
    })
}

fn overrides<L>(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    limit: impl Fn(&mut Reader<'_>, &Table<'_>) -> Option<L>,
) -> Vec<Override<L>> {
    let mut seen: HashMap<Name, Span> = HashMap::new();
    let mut overrides = Vec::new();
    for table in table.tables(r, "override") {
        let (consumers, groups) = whose(r, &table);
        for name in &consumers {
            if let Some(first) = seen.insert(name.value.clone(), name.span) {
                let message = format!("consumer {} has two overrides", quote(name));
                r.report(
                    Diagnostic::error("duplicate-entry", message, name.span)
                        .label("the first would count, and this one never")
                        .help("remove it from one of them")
                        .related(first, "first here"),
                );
            }
        }
        let limit = limit(r, &table);
        overrides.extend(limit.map(|limit| Override {
            consumers,
            groups,
            limit,
        }));
    }
    overrides
}

fn whose(r: &mut Reader<'_>, table: &Table<'_>) -> (Vec<Spanned<Name>>, Vec<Box<str>>) {
    let mut consumers = Vec::new();
    for item in table.list(r, "consumers") {
        if let Some(name) = r.name(&item) {
            add_distinct(r, &mut consumers, name, "consumer");
        }
    }
    let mut groups: Vec<Spanned<Box<str>>> = Vec::new();
    for item in table.list(r, "groups") {
        if let Some(group) = r.parsed(&item, leaf::group) {
            add_distinct(r, &mut groups, group, "group");
        }
    }
    let is_written = |key| table.key_span(key).is_some();
    if consumers.is_empty() && groups.is_empty() {
        let both = !is_written("consumers") && !is_written("groups");
        let code = if both { "missing-key" } else { "empty-list" };
        let message = "an override that is for nobody";
        r.report(
            Diagnostic::error(code, message, table.span)
                .label("neither `consumers` nor `groups` names anybody")
                .help("add for example groups = [\"partners\"]"),
        );
    }
    let groups = groups.into_iter().map(|group| group.value).collect();
    (consumers, groups)
}
