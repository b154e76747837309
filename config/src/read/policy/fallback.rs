//! `[upstream.fallback]` and `[route.fallback]`.

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::{Fallback, FallbackTo};
use crate::read::Text;
use crate::read::reader::Reader;
use crate::read::route::{RESPOND, respond};
use crate::read::table::{Table, add_distinct, bounded_integer, no_entries};
use crate::span::Spanned;

pub(crate) static UPSTREAM_FALLBACK: Section = Section {
    title: "[upstream.fallback]",
    doc: "Who answers in place of an upstream that cannot: when the answer, the origin's or the \
          gateway's own, has one of `statuses` after all retries. Exactly one of `upstream` and \
          `respond`.",
    keys: KEYS,
};

pub(crate) static ROUTE_FALLBACK: Section = Section {
    title: "[route.fallback]",
    doc: "The keys of [upstream.fallback], for one route in place of its upstream's.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key::default(
        "statuses",
        Kind::List(&Kind::Integer { min: 400, max: 599 }),
        "[502, 503, 504]",
        "The statuses that are replaced.",
    ),
    Key::optional(
        "upstream",
        Kind::Text("the name of an [[upstream]]"),
        "The upstream that answers instead; its own fallback is not asked. Only requests whose \
         body is still at hand can be sent there.",
    ),
    Key::optional("respond", Kind::Table(&RESPOND), "A constant answer."),
];

/// A fallback whose upstream is still a name.
pub(crate) type RawFallback = Fallback<Spanned<Text>>;

/// Reads the fallback of an upstream or a route; `None` without the table, or a usable one.
pub(crate) fn fallback(r: &mut Reader<'_>, parent: &Table<'_>) -> Option<RawFallback> {
    let table = parent.table(r, "fallback")?;
    let statuses = statuses(r, &table);
    let upstream = table.item("upstream");
    let constant = table.item("respond");
    match (upstream, constant) {
        (Some(upstream), Some(constant)) => {
            let message = "`upstream` and `respond` exclude each other";
            r.report(
                Diagnostic::error("conflicting-keys", message, constant.span())
                    .label("a fallback has one action")
                    .help("keep one of them")
                    .related(upstream.span(), "the other one"),
            );
            None
        }
        (None, None) => {
            r.report(
                Diagnostic::error("no-action", "a fallback that does nothing", table.span)
                    .label("says not who answers")
                    .help("add `upstream = \"NAME\"` or `respond = { status = 503 }`"),
            );
            None
        }
        (Some(item), None) => {
            let to = FallbackTo::Upstream(r.text(&item)?);
            Some(Fallback { statuses, to })
        }
        (None, Some(item)) => {
            let to = FallbackTo::Respond(Box::new(respond(r, &item)?));
            Some(Fallback { statuses, to })
        }
    }
}

fn statuses(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<u16> {
    let Some(list) = table.item("statuses") else {
        return vec![502, 503, 504];
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() && list.value.get_ref().is_array() {
        let help = "list statuses, or remove it for [502, 503, 504]";
        no_entries(r, &list, "nothing is replaced", help);
    }
    let mut statuses: Vec<Spanned<u16>> = Vec::with_capacity(items.len());
    for item in &items {
        let status = bounded_integer(r, item).and_then(|status| u16::try_from(status).ok());
        if let Some(status) = status {
            let status = Spanned::new(status, item.span());
            add_distinct(r, &mut statuses, status, "status");
        }
    }
    statuses.iter().map(|status| status.value).collect()
}
