//! The reference page's list of keys, out of the same table that the reader uses.

use std::fmt::Write as _;

use crate::keys::{Key, Kind, Need, Section, Stage};
use crate::read::{INCLUDED, ROOT};

/// Markdown that lists every key by table: type, default and meaning.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for section in sections() {
        let _ = write!(out, "## {}\n\n{}\n\n", section.title, section.doc);
        out.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                key.name,
                type_of(&key.kind),
                default_of(key),
                meaning(key)
            );
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn type_of(kind: &Kind) -> String {
    let text = match kind {
        Kind::Table(section) => format!("table, see {}", link(section)),
        Kind::Tables(section) => format!("tables, see {}", link(section)),
        Kind::List(inner) => format!("list of: {}", type_of(inner)),
        Kind::Map(inner) => format!("table of names, each with: {}", type_of(inner)),
        Kind::Either(kinds) => {
            let each: Vec<String> = kinds.iter().map(type_of).collect();
            each.join("; or ")
        }
        Kind::Tagged(variants) => {
            let each: Vec<String> = variants.iter().map(|v| link(v.section)).collect();
            format!("tables by name, see {}", each.join(", "))
        }
        other => other.describe(),
    };
    text.replace('|', "\\|")
}

fn link(section: &Section) -> String {
    format!(
        "[{}](#{})",
        section.title.replace(['[', ']'], ""),
        slug(section.title)
    )
}

/// The anchor that a forge gives a heading.
fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| {
            if c == ' ' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

fn default_of(key: &Key) -> String {
    match key.need {
        Need::Required => "required".to_owned(),
        Need::Optional => "none".to_owned(),
        Need::Default(_) => format!("`{}`", crate::schema::default_value(key)),
    }
}

fn meaning(key: &Key) -> String {
    let text = key.doc.replace('|', "\\|");
    match key.stage {
        Stage::Now => text,
        Stage::Later => format!("{text} **Not supported yet.**"),
    }
}

/// Every section once, each after the one that refers to it.
fn sections() -> Vec<&'static Section> {
    let mut out = vec![];
    collect(&ROOT, &mut out);
    out.insert(1, &INCLUDED);
    out
}

fn collect(section: &'static Section, out: &mut Vec<&'static Section>) {
    if out.iter().any(|known| std::ptr::eq(*known, section)) {
        return;
    }
    out.push(section);
    for key in section.keys {
        collect_kind(&key.kind, out);
    }
}

fn collect_kind(kind: &Kind, out: &mut Vec<&'static Section>) {
    match kind {
        Kind::Table(section) | Kind::Tables(section) => collect(section, out),
        Kind::List(inner) | Kind::Map(inner) => collect_kind(inner, out),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| collect_kind(kind, out)),
        Kind::Tagged(variants) => variants.iter().for_each(|v| collect(v.section, out)),
        _ => {}
    }
}
