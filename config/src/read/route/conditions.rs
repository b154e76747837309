//! Conditions on headers and query.

use toml::de::DeValue;

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{FieldMatch, Matches, ValueMatch};
use crate::read::reader::{Reader, quote};
use crate::read::table::{Item, Table, entries_of};
use crate::span::Spanned;

static CONDITION: Section = Section {
    title: "a condition",
    doc: "A condition on a value; exactly one key. A bare string is `exact`.",
    keys: &[
        Key::optional("exact", Kind::Text("a string"), "The value is this text."),
        Key::optional(
            "any",
            Kind::List(&Kind::Text("a string")),
            "The value is one of these texts.",
        ),
        Key::optional(
            "prefix",
            Kind::Text("a string"),
            "The value begins with this text.",
        ),
        Key::optional(
            "present",
            Kind::Bool,
            "Whether the header or parameter must be there, whatever its value, or must not.",
        ),
    ],
};

pub(super) const CONDITIONS: Kind = Kind::Map(&CONDITION_KIND);
static CONDITION_KIND: Kind = Kind::Either(&[Kind::Text("a string"), Kind::Table(&CONDITION)]);

pub(super) static MATCH: Section = Section {
    title: "[route.match]",
    doc: "Conditions beyond host, path and method; all must hold.",
    keys: &[
        Key::optional(
            "headers",
            CONDITIONS,
            "On request headers; names do not depend on case.",
        ),
        Key::optional("query", CONDITIONS, "On query parameters, decoded."),
        Key::optional(
            "consumer",
            CONDITION_KIND,
            "On the consumer that makes the request. This and the following conditions need filters \
             of the listener that prove who it is: those of a route run behind the choice of the \
             route.",
        ),
        Key::optional(
            "group",
            CONDITION_KIND,
            "On the groups of who makes the request; one of them has to fit.",
        ),
        Key::optional(
            "scope",
            CONDITION_KIND,
            "On the scopes of the token; one of them has to fit.",
        ),
        Key::optional(
            "claims",
            CONDITIONS,
            "On claims of the token by name; of several values one has to fit. A member of an \
             object is called by its path, as in `realm_access.roles`.",
        ),
    ],
};

pub(super) fn matches(r: &mut Reader<'_>, table: &Table<'_>) -> Matches {
    Matches {
        headers: conditions(r, table, "headers", leaf::header_name),
        query: conditions(r, table, "query", |name| Ok(Box::from(name))),
        consumer: one(r, table, "consumer"),
        group: one(r, table, "group"),
        scope: one(r, table, "scope"),
        claims: conditions(r, table, "claims", |name| Ok(Box::from(name))),
    }
}

/// The condition that a key is.
fn one(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> Option<Spanned<ValueMatch>> {
    let item = table.item(key)?;
    let value = condition(r, &item)?;
    Some(Spanned::new(value, item.span()))
}

pub(super) fn conditions(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    parse_name: impl Fn(&str) -> Result<Box<str>, leaf::Fault>,
) -> Vec<FieldMatch> {
    let Some(item) = table.item(key) else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut conditions: Vec<FieldMatch> = Vec::new();
    for (span, entry) in entries_of(item.file, entries, &CONDITION_KIND) {
        let name = match parse_name(entry.name) {
            Ok(name) => Spanned::new(name, span),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        if let Some(first) = conditions.iter().find(|other| other.name == name) {
            let first = first.name.span;
            r.report(
                Diagnostic::error(
                    "duplicate-header",
                    format!("two conditions on header {}", quote(&name)),
                    span,
                )
                .label("header names do not depend on case")
                .related(first, "the other one"),
            );
        }
        if let Some(value) = condition(r, &entry) {
            let value = Spanned::new(value, entry.span());
            conditions.push(FieldMatch { name, value });
        }
    }
    conditions
}

fn condition(r: &mut Reader<'_>, entry: &Item<'_>) -> Option<ValueMatch> {
    if !entry.is_table() {
        return Some(ValueMatch::Exact(r.text(entry)?.value.value));
    }
    let table = r.open(entry, &CONDITION)?;
    let mut found = None;
    let mut count = 0;
    if let Some(text) = table.text(r, "exact") {
        found = Some(ValueMatch::Exact(text.value.value));
        count += 1;
    }
    if table.item("any").is_some() {
        let items = table.list(r, "any");
        let texts = items.iter().filter_map(|item| r.text(item));
        found = Some(ValueMatch::Any(
            texts.map(|text| text.value.value).collect(),
        ));
        count += 1;
    }
    if let Some(text) = table.text(r, "prefix") {
        found = Some(ValueMatch::Prefix(text.value.value));
        count += 1;
    }
    if let Some(present) = table.item("present").and_then(|item| r.boolean(&item)) {
        found = Some(match present {
            true => ValueMatch::Present,
            false => ValueMatch::Absent,
        });
        count += 1;
    }
    let written = CONDITION
        .keys
        .iter()
        .filter(|key| table.item(key.name).is_some());
    if written.count() != 1 {
        let message = format!(
            "the condition on {} needs exactly one key",
            quote(entry.name)
        );
        let label = if count == 0 {
            "has none"
        } else {
            "has several"
        };
        r.report(
            Diagnostic::error("conflicting-keys", message, entry.span())
                .label(label)
                .help("one of `exact`, `any`, `prefix` and `present`"),
        );
        return None;
    }
    let is_empty = match &found {
        Some(ValueMatch::Any(texts)) => texts.is_empty(),
        Some(ValueMatch::Prefix(text)) => text.is_empty(),
        _ => false,
    };
    if is_empty {
        let message = format!("the condition on {} says nothing", quote(entry.name));
        r.report(
            Diagnostic::error("empty-list", message, entry.span())
                .label("is empty")
                .help("to ask for the name alone write { present = true }"),
        );
    }
    found
}
