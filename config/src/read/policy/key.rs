//! Keys: what of a request something is counted, hashed or shared out by.

use crate::diagnostic::Diagnostic;
use crate::keys::Kind;
use crate::leaf;
use crate::model::Key;
use crate::read::reader::Reader;
use crate::read::table::{Item, add_distinct, no_entries};

const PART: Kind = Kind::Text(
    "\"client_ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"capture:NAME\", \"route\", \
     \"host\", \"path\", \"method\", \"identity\", \"consumer\", \"subject\" or \"claim:NAME\"",
);

/// One part or several.
pub(crate) const KEY: Kind = Kind::Either(&[PART, Kind::List(&PART)]);

/// Reads a part or a list of parts; `None` when something was wrong.
pub(crate) fn key(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Key> {
    let entries = match item.is_string() {
        true => vec![*item],
        false => r.list(item)?,
    };
    if entries.is_empty() {
        let help = "name at least one part, such as \"client_ip\"";
        no_entries(r, item, "all requests would be alike", help);
        return None;
    }
    let mut parts: Key = Vec::with_capacity(entries.len());
    let mut complete = true;
    for entry in &entries {
        let Some(part) = r.parsed(entry, leaf::key_part) else {
            complete = false;
            continue;
        };
        add_distinct(r, &mut parts, part, "part");
    }
    if parts.len() > PARTS_MAX {
        let message = format!("`{}` has more than {PARTS_MAX} parts", item.name);
        r.report(
            Diagnostic::error("out-of-range", message, item.span())
                .label("each costs time at every request")
                .help("leave out what the other parts imply"),
        );
        return None;
    }
    complete.then_some(parts)
}

const PARTS_MAX: usize = 8; // more is a mistake, and each is looked up at every request
