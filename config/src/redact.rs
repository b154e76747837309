//! A configuration as JSON that may be shown: made from the texts as they were written, so that
//! what came from the environment cannot be in it, with defaults filled in and secrets left out.

use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use crate::keys::{Key, Kind, Need, Section};
use crate::leaf::is_credential;
use crate::limits::LIMITS;
use crate::model::Config;
use crate::read::ROOT;
use crate::schema::default_value;

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// The whole configuration with its defaults, included files merged: for the admin API.
    /// References stay as written (`${env:NAME}`); key digests and credentials are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for file in self.sources.ids() {
            // The same text parsed without errors when this configuration was loaded.
            let (table, _) = DeTable::parse_recoverable(self.sources.text(file));
            merge(&mut root, read(table.get_ref(), &ROOT, Fill::Nothing));
        }
        for key in ROOT.keys {
            fill_top(&mut root, key);
        }
        root.remove("include");
        Value::Object(root)
    }
}

/// Whether absent keys get their defaults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fill {
    Defaults,
    Nothing,
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Top-level tables that are absent still say what holds.
fn fill_top(root: &mut Map<String, Value>, key: &Key) {
    let Kind::Table(section) = key.kind else {
        return;
    };
    // One that must hold something is not there unless it is written.
    let is_whole = section.keys.iter().all(|key| key.need != Need::Required);
    if is_whole && !root.contains_key(key.name) {
        let mut table = Map::new();
        fill(&mut table, section);
        root.insert(key.name.to_owned(), Value::Object(table));
    }
}

fn fill(table: &mut Map<String, Value>, section: &'static Section) {
    for key in section.keys {
        let default = default_value(key);
        if !default.is_null() && !table.contains_key(key.name) {
            table.insert(key.name.to_owned(), default);
        }
    }
}

fn read(entries: &DeTable<'_>, section: &'static Section, defaults: Fill) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in entries {
        let Some(key) = section.key(name.get_ref()) else {
            continue;
        };
        let is_override = std::ptr::eq(section, &raw const *listener_section());
        let shown = match key.kind {
            // A listener's limits default to [limits], not to the built-in values.
            Kind::Table(inner) if is_override && std::ptr::eq(inner, &raw const LIMITS) => {
                table(value.get_ref(), inner, Fill::Nothing)
            }
            kind => show(value.get_ref(), &kind),
        };
        out.insert(key.name.to_owned(), shown);
    }
    if defaults == Fill::Defaults {
        fill(&mut out, section);
    }
    out
}

fn listener_section() -> &'static Section {
    match ROOT.key("listener").map(|key| key.kind) {
        Some(Kind::Tables(section)) => section,
        _ => &ROOT,
    }
}

fn table(value: &DeValue<'_>, section: &'static Section, defaults: Fill) -> Value {
    match value.as_table() {
        Some(entries) => Value::Object(read(entries, section, defaults)),
        None => plain(value),
    }
}

fn show(value: &DeValue<'_>, kind: &Kind) -> Value {
    match (kind, value) {
        (Kind::Secret(_), _) => json!(HIDDEN),
        (Kind::Table(section), _) => table(value, section, Fill::Defaults),
        (Kind::Tables(section), DeValue::Array(values)) => values
            .iter()
            .map(|value| table(value.get_ref(), section, Fill::Defaults))
            .collect(),
        (Kind::List(inner), DeValue::Array(values)) => values
            .iter()
            .map(|value| show(value.get_ref(), inner))
            .collect(),
        (Kind::Map(inner), DeValue::Table(entries)) => {
            let each = entries.iter().map(|(name, value)| {
                let name = name.get_ref().to_string();
                let is_credential = is_credential(&name.to_ascii_lowercase());
                let shown = match is_credential {
                    true => json!(HIDDEN),
                    false => show(value.get_ref(), inner),
                };
                (name, shown)
            });
            Value::Object(each.collect())
        }
        (Kind::Tagged(variants), DeValue::Table(entries)) => {
            let each = entries.iter().filter_map(|(name, value)| {
                let tag = value.get_ref().get("type")?.get_ref().as_str()?;
                let section = variants.iter().find(|v| v.tag == tag)?.section;
                Some((
                    name.get_ref().to_string(),
                    table(value.get_ref(), section, Fill::Defaults),
                ))
            });
            Value::Object(each.collect())
        }
        (Kind::Either(kinds), DeValue::Table(_)) => {
            let inner = kinds.iter().find(|kind| matches!(kind, Kind::Table(_)));
            inner.map_or_else(|| plain(value), |kind| show(value, kind))
        }
        (Kind::Either(kinds), _) if kinds.iter().any(|kind| matches!(kind, Kind::Secret(_))) => {
            json!(HIDDEN)
        }
        _ => plain(value),
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(value) => json!(value),
        DeValue::Datetime(value) => json!(value.to_string()),
        DeValue::Array(values) => values.iter().map(|value| plain(value.get_ref())).collect(),
        DeValue::Table(entries) => {
            let each = entries.iter();
            let each =
                each.map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref())));
            Value::Object(each.collect())
        }
    }
}
