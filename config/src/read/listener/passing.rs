//! `[[listener.sni]]`: connections that are passed on by name.

use super::RawSni;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::read::reader::{Reader, quote};
use crate::read::table::{Table, no_entries};
use crate::span::{Span, Spanned};

pub(crate) static SNI: Section = Section {
    title: "[[listener.sni]]",
    doc: "Where TLS connections that ask for certain names are passed on to. An exact name goes \
          before a wildcard, a longer wildcard before a shorter one.",
    keys: &[
        Key::required(
            "names",
            Kind::List(&Kind::Text(
                "a host name such as \"db.example.com\" or \"*.example.com\"",
            )),
            "Host names; `*.` at the front stands for one label or more.",
        ),
        Key::required(
            "upstream",
            Kind::Text("the name of an upstream"),
            "Where the connections go.",
        ),
    ],
};

pub(super) fn sni(r: &mut Reader<'_>, listener: &Table<'_>) -> Vec<RawSni> {
    let mut seen: Vec<(Box<str>, Span)> = Vec::new();
    let mut entries = Vec::new();
    for table in listener.tables(r, "sni") {
        let names = names(r, &table, &mut seen);
        let upstream = table.required(r, "upstream");
        let upstream = upstream.and_then(|item| r.text(&item));
        entries.extend(upstream.map(|upstream| RawSni { names, upstream }));
    }
    entries
}

fn names(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    seen: &mut Vec<(Box<str>, Span)>,
) -> Vec<Spanned<Box<str>>> {
    let Some(list) = table.required(r, "names") else {
        return Vec::new();
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() && list.value.get_ref().is_array() {
        let help = "name hosts; for any other name set the listener's `upstream`";
        no_entries(r, &list, "fits no connection", help);
    }
    let mut names = Vec::with_capacity(items.len());
    for item in &items {
        let Some(name) = r.parsed(item, leaf::server_pattern) else {
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name.value) {
            let message = format!("the name {} is listed twice", quote(&name));
            r.report(
                Diagnostic::error("duplicate-name", message, name.span)
                    .label("only one upstream can have it")
                    .help("remove one of them")
                    .related(*first, "first listed here"),
            );
            continue;
        }
        seen.push((name.value.clone(), name.span));
        names.push(name);
    }
    names
}
