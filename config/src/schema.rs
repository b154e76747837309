//! The JSON Schema of the configuration, for editors, out of the same table of keys that the
//! reader uses.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, Need, Section, Stage, Variant};
use crate::read::ROOT;

/// The schema of a whole configuration (JSON Schema, draft 2020-12). Included files hold a part
/// of the same keys.
#[must_use]
pub fn schema() -> Value {
    let mut defs = BTreeMap::new();
    defs.insert(
        REFERENCE.to_owned(),
        json!({
            "type": "string",
            "pattern": "\\$\\{env:[A-Za-z0-9_]+\\}",
            "description": "A value from the environment: ${env:NAME}.",
        }),
    );
    let mut root = object(&ROOT, &mut defs);
    let head = root.as_object_mut();
    if let Some(head) = head {
        head.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        head.insert("title".to_owned(), json!("Ringgate configuration"));
        head.insert("$defs".to_owned(), json!(defs));
    }
    root
}

const REFERENCE: &str = "reference";

/// A table's schema, its inner tables put among the definitions.
fn object(section: &'static Section, defs: &mut BTreeMap<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section.keys {
        properties.insert(key.name.to_owned(), property(key, defs));
        if key.need == Need::Required {
            required.push(key.name);
        }
    }
    let mut out = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn property(key: &Key, defs: &mut BTreeMap<String, Value>) -> Value {
    let mut out = value(&key.kind, defs);
    let description = match key.stage {
        Stage::Now => key.doc.to_owned(),
        Stage::Later => format!("{} Not supported yet.", key.doc),
    };
    out["description"] = json!(description);
    if let Need::Default(_) = key.need {
        out["default"] = default_value(key);
    }
    out
}

/// What a key is when it is not written; null when it has no default.
pub(crate) fn default_value(key: &Key) -> Value {
    let Need::Default(text) = key.need else {
        return Value::Null;
    };
    // Numbers, booleans and lists are written in TOML as in JSON; words are not.
    let holds_text = matches!(
        key.kind,
        Kind::Text(_) | Kind::Choice(_) | Kind::Duration { .. } | Kind::Size { .. }
    );
    match serde_json::from_str(text) {
        Ok(value) if !holds_text => value,
        _ => json!(text),
    }
}

fn value(kind: &Kind, defs: &mut BTreeMap<String, Value>) -> Value {
    match kind {
        Kind::Bool => or_reference(json!({ "type": "boolean" })),
        Kind::Integer { min, max } => {
            or_reference(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Kind::Ratio { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => or_reference(json!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
        })),
        Kind::Size { .. } => or_reference(json!({
            "type": "string",
            "pattern": "^[0-9]+(B|KiB|MiB|GiB)$",
        })),
        Kind::Choice(words) => or_reference(json!({ "enum": words })),
        Kind::Text(_) | Kind::Secret(_) => json!({ "type": "string" }),
        Kind::List(inner) => json!({ "type": "array", "items": value(inner, defs) }),
        Kind::Table(section) => reference(section, defs),
        Kind::Tables(section) => {
            json!({ "type": "array", "items": reference(section, defs) })
        }
        Kind::Tagged(variants) => {
            let each: Vec<Value> = variants.iter().map(|v| variant(v, defs)).collect();
            json!({ "type": "object", "additionalProperties": { "oneOf": each } })
        }
        Kind::Map(inner) => {
            json!({ "type": "object", "additionalProperties": value(inner, defs) })
        }
        Kind::Either(kinds) => {
            let each: Vec<Value> = kinds.iter().map(|kind| value(kind, defs)).collect();
            json!({ "anyOf": each })
        }
    }
}

fn or_reference(plain: Value) -> Value {
    json!({ "anyOf": [plain, { "$ref": format!("#/$defs/{REFERENCE}") }] })
}

fn variant(variant: &Variant, defs: &mut BTreeMap<String, Value>) -> Value {
    let mut out = object(variant.section, defs);
    out["properties"]["type"] = json!({ "const": variant.tag });
    out
}

fn reference(section: &'static Section, defs: &mut BTreeMap<String, Value>) -> Value {
    let name = anchor(section.title);
    if !defs.contains_key(&name) {
        defs.insert(name.clone(), Value::Null); // ends a recursion, should there ever be one
        let schema = object(section, defs);
        defs.insert(name.clone(), schema);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A title as an identifier: letters, digits and single dashes.
fn anchor(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}
