//! Parts of the configuration that are checked in full but that this build does not act on.
//! Whoever opens a table that holds them reports that (see [`Stage`](crate::keys::Stage)).

use super::reader::Reader;
use super::table::Table;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::Name;
use crate::span::Spanned;

pub(crate) static CONSUMER: Section = Section {
    title: "[[consumer]]",
    doc: "Who may use the API. Not supported yet.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among consumers.",
        ),
        Key::optional(
            "api_keys",
            Kind::List(&Kind::Secret("\"sha256:\" and the digest of a key")),
            "Digests of the consumer's keys. They are never shown.",
        ),
    ],
};

pub(crate) static API_KEY: Section = Section {
    title: "[filter.NAME] of type \"api_key\"",
    doc: "Asks for the key of a consumer. Not supported yet.",
    keys: &[
        super::filter::TYPE,
        Key::default(
            "header",
            Kind::Text("a header name"),
            "x-api-key",
            "The header that carries the key.",
        ),
    ],
};

/// Checks a filter of a type that this build does not run.
pub(crate) fn filter(r: &mut Reader<'_>, table: &Table<'_>, tag: &str) {
    match tag {
        "api_key" => {
            table.parsed(r, "header", leaf::header_name);
        }
        _ => debug_assert!(false, "no checks for {tag}"),
    }
}

/// Checks a consumer; its name is checked against the others later.
pub(crate) fn consumer(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Spanned<Name>> {
    for item in table.list(r, "api_keys") {
        r.hidden(&item, leaf::key_digest);
    }
    table.required(r, "name").and_then(|item| r.name(&item))
}
