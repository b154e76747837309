//! Keys: what of a request something is counted, hashed or shared out by.

use crate::diagnostic::Diagnostic;
use crate::keys::Kind;
use crate::leaf::{self, Part};
use crate::model::Key;
use crate::read::reader::Reader;
use crate::read::table::{Item, add_distinct, no_entries};

const PART: Kind = Kind::Text(
    "\"client_ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"capture:NAME\", \"route\", \
     \"host\", \"path\", \"method\" or \"identity\"",
);

/// One part or several.
pub(crate) const KEY: Kind = Kind::Either(&[PART, Kind::List(&PART)]);

const LIMITER_PART: Kind = Kind::Text(
    "\"client_ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"capture:NAME\", \"route\", \
     \"host\", \"path\", \"method\", \"identity\", \"consumer\" or \"claim:NAME\"",
);

/// The same for limiters, which will count for consumers as well.
pub(crate) const LIMITER_KEY: Kind = Kind::Either(&[LIMITER_PART, Kind::List(&LIMITER_PART)]);

/// What a key turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// This.
    Key(Key),
    /// One with a part that this build does not know of yet; that is reported.
    Later,
}

/// Reads a part or a list of parts; `None` when something was wrong.
pub(crate) fn key(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Read> {
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
    let (mut complete, mut later) = (true, false);
    for entry in &entries {
        let Some(part) = r.parsed(entry, leaf::key_part) else {
            complete = false;
            continue;
        };
        match part.value {
            Part::Now(value) => {
                let part = crate::span::Spanned::new(value, part.span);
                add_distinct(r, &mut parts, part, "part");
            }
            Part::Later(what) => {
                later = true;
                r.unsupported(&format!("the key \"{what}\""), part.span);
            }
        }
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
    match (complete, later) {
        (false, _) => None,
        (true, true) => Some(Read::Later),
        (true, false) => Some(Read::Key(parts)),
    }
}

const PARTS_MAX: usize = 8; // more is a mistake, and each is looked up at every request
