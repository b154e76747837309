//! The reference page, the JSON Schema and the reader know the same keys, and the schema accepts
//! what the reader accepts.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringgate_config::{load_str, reference, schema};
use serde_json::Value;

const PAGE: &str = "../docs/reference/configuration.md";
const MARKER: &str = "<!-- Below this line the page is generated";

#[test]
fn the_reference_page_lists_the_keys_as_they_are() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let marker = page.find(MARKER).unwrap();
    let start = marker + page[marker..].find("-->\n\n").unwrap() + "-->\n\n".len();
    if std::env::var_os("RINGGATE_BLESS").is_some() {
        std::fs::write(PAGE, format!("{}{}", &page[..start], reference())).unwrap();
        return;
    }
    assert!(
        page[start..] == reference(),
        "{PAGE} is out of date; see the note in it"
    );
}

#[test]
fn schema_and_reference_page_hold_the_same_keys() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split('`')
                .next()
                .map(str::to_owned)
        })
        .collect();
    let mut known = BTreeSet::new();
    collect_keys(&schema(), &mut known);
    assert_eq!(known, listed);
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

fn toml_files(dir: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    paths
}

fn as_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap()
}

#[test]
fn schema_accepts_every_example() {
    let schema = schema();
    for path in toml_files("../examples") {
        let fault = validate(&as_json(&path), &schema, &schema, "");
        assert_eq!(fault, Ok(()), "{}", path.display());
    }
}

#[test]
fn schema_refuses_unknown_keys_at_every_depth() {
    let schema = schema();
    for path in toml_files("fixtures") {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("unknown-key-") || name.starts_with("type-") {
            let verdict = validate(&as_json(&path), &schema, &schema, "");
            assert!(verdict.is_err(), "{}", path.display());
        }
    }
}

#[test]
fn every_default_is_within_its_own_range() {
    let schema = schema();
    let mut checked = 0;
    check_defaults(&schema, &schema, &mut checked);
    assert!(checked > 40);
}

fn check_defaults(part: &Value, root: &Value, checked: &mut usize) {
    match part {
        Value::Object(map) => {
            if let Some(default) = map.get("default") {
                assert_eq!(validate(default, part, root, "default"), Ok(()), "{part}");
                *checked += 1;
            }
            map.values()
                .for_each(|value| check_defaults(value, root, checked));
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| check_defaults(value, root, checked)),
        _ => {}
    }
}

#[test]
fn written_defaults_load_without_objection() {
    let mut text = String::new();
    for table in ["runtime", "log", "limits", "path", "forwarded"] {
        text.push_str(&format!("[{table}]\n"));
        let schema = schema();
        let properties = schema["$defs"][table]["properties"].as_object().unwrap();
        for (key, property) in properties {
            text.push_str(&format!("{key} = {}\n", property["default"]));
        }
    }
    let rest = "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n\
                [[route]]\nname = \"a\"\npath = \"/\"\nrespond = {}\n";
    let spelled_out = load_str("a.toml", &(text + rest), &common::env, &common::Patterns);
    assert_eq!(spelled_out.diagnostics, []);
    let spelled_out = spelled_out.config.unwrap();
    let absent = load_str("a.toml", rest, &common::env, &common::Patterns)
        .config
        .unwrap();
    assert_eq!(spelled_out.runtime, absent.runtime);
    assert_eq!(spelled_out.log, absent.log);
    assert_eq!(spelled_out.limits, absent.limits);
    assert_eq!(spelled_out.path, absent.path);
    assert_eq!(spelled_out.forwarded, absent.forwarded);
}

/// As much of JSON Schema as the schema uses, patterns aside.
fn validate(value: &Value, part: &Value, root: &Value, at: &str) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{at}: {why}"));
    if let Some(reference) = part["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        return validate(value, &root["$defs"][name], root, at);
    }
    if let Some(parts) = part["anyOf"].as_array().or(part["oneOf"].as_array()) {
        let each = parts.iter().map(|part| validate(value, part, root, at));
        let faults: Vec<String> = each.filter_map(Result::err).collect();
        return match faults.len() < parts.len() {
            true => Ok(()),
            false => Err(faults.join(" | ")),
        };
    }
    let fits = match part["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        return fail("wrong type");
    }
    if part["enum"]
        .as_array()
        .is_some_and(|words| !words.contains(value))
    {
        return fail("not a known word");
    }
    if part.get("const").is_some_and(|constant| constant != value) {
        return fail("another type");
    }
    let number = value.as_f64();
    let beyond = |bound: &str, wrong: fn(f64, f64) -> bool| matches!((number, part[bound].as_f64()), (Some(n), Some(b)) if wrong(n, b));
    if beyond("minimum", |n, min| n < min) || beyond("maximum", |n, max| n > max) {
        return fail("out of range");
    }
    if part["pattern"]
        .as_str()
        .is_some_and(|pattern| pattern.contains("env:"))
        && !value.as_str().is_some_and(|text| text.contains("${env:"))
    {
        return fail("not a reference");
    }
    for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
        validate(entry, &part["items"], root, &format!("{at}[{index}]"))?;
    }
    let Some(entries) = value.as_object() else {
        return Ok(());
    };
    for key in part["required"].as_array().into_iter().flatten() {
        if !entries.contains_key(key.as_str().unwrap()) {
            return fail("a key is missing");
        }
    }
    for (key, entry) in entries {
        let at = format!("{at}.{key}");
        match (part["properties"].get(key), &part["additionalProperties"]) {
            (Some(property), _) => validate(entry, property, root, &at)?,
            (None, Value::Bool(false)) => return Err(format!("{at}: unknown key")),
            (None, other) => validate(entry, other, root, &at)?,
        }
    }
    Ok(())
}
