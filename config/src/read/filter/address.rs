//! `type = "address"`: who is let in and who is kept out, by their networks.

use super::TYPE;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{AddressFilter, FilterKind, NetworkLists};
use crate::read::reader::Reader;
use crate::read::table::{Table, file_path};

const NETWORK: &Kind = &Kind::Text("an IP network or address, such as \"10.0.0.0/8\"");

const FILE: &Kind = &Kind::Text("the path of a file");

pub(super) static ADDRESS: Section = Section {
    title: "[filter.NAME] of type \"address\"",
    doc: "Keeps clients out by their addresses, with 403 and the code `address_blocked`. The \
          client is who it is behind the proxies of `forwarded.trusted`, and nobody else's word \
          is taken for it. Of all networks that a client is in the longest decides; one that is \
          on lists of both kinds keeps out. Files hold one network or address a line; what \
          follows a `#` is a comment. They are watched: a change is a reload.",
    keys: &[
        TYPE,
        Key::optional(
            "allow",
            Kind::List(NETWORK),
            "Networks whose clients are let in. With this or `allow_files`, clients of all \
             others are kept out.",
        ),
        Key::default(
            "block",
            Kind::List(NETWORK),
            "[]",
            "Networks whose clients are kept out.",
        ),
        Key::optional(
            "allow_files",
            Kind::List(FILE),
            "Files of networks that are let in.",
        ),
        Key::default(
            "block_files",
            Kind::List(FILE),
            "[]",
            "Files of networks that are kept out.",
        ),
    ],
};

pub(super) fn address(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let only_allowed = ["allow", "allow_files"]
        .into_iter()
        .any(|key| table.item(key).is_some());
    let filter = AddressFilter {
        allow: lists(r, table, "allow", "allow_files"),
        block: lists(r, table, "block", "block_files"),
        only_allowed,
    };
    let is_empty = |key| match table.item(key) {
        Some(item) => item
            .value
            .get_ref()
            .as_array()
            .is_some_and(|all| all.is_empty()),
        None => true,
    };
    if ["allow", "allow_files", "block", "block_files"]
        .into_iter()
        .all(is_empty)
    {
        let (message, help) = match only_allowed {
            true => (
                "an address filter that lets nobody in",
                "name those to let in, or remove the routes",
            ),
            false => (
                "an address filter that keeps nobody out",
                "add for example block = [\"192.0.2.0/24\"]",
            ),
        };
        r.report(
            Diagnostic::error("no-effect", message, table.span)
                .label("no list names any network")
                .help(help),
        );
        return None;
    }
    Some(FilterKind::Address(Box::new(filter)))
}

fn lists(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    inline: &'static str,
    files: &'static str,
) -> NetworkLists {
    let mut lists = NetworkLists::default();
    for item in table.list(r, inline) {
        lists.inline.extend(r.parsed(&item, leaf::network));
    }
    for item in table.list(r, files) {
        lists.files.extend(file_path(r, &item));
    }
    lists
}
