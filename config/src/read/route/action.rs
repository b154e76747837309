//! What answers the requests of a route.

use super::conditions::{CONDITIONS, conditions};
use super::{REFERENCE, template};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Redirect, Respond, SplitTarget};
use crate::read::Text;
use crate::read::filter::fields;
use crate::read::reader::Reader;
use crate::read::table::{Item, Table, bounded_integer};
use crate::span::Spanned;

/// What answers, with upstreams still by name.
#[derive(Debug)]
pub(crate) enum RawAction {
    Upstream(Spanned<Text>),
    Split(Vec<SplitTarget<Spanned<Text>>>),
    Respond(Respond),
    Redirect(Redirect),
}

pub(super) static SPLIT: Section = Section {
    title: "an entry of `split`",
    doc: "One branch of a split. The first branch whose conditions hold gets a request, whatever \
          the weights; one that no conditions hold for is drawn by weight.",
    keys: &[
        Key::required("upstream", *REFERENCE, "Where its share goes."),
        Key::optional(
            "weight",
            Kind::Integer {
                min: 0,
                max: 65_535,
            },
            "Its share of the draw beside the other branches. 1 where it is not written, but 0 for \
             a branch with conditions: only they lead to it.",
        ),
        Key::optional(
            "headers",
            CONDITIONS,
            "Conditions on request headers; all of them must hold.",
        ),
        Key::optional(
            "cookies",
            CONDITIONS,
            "Conditions on cookies, beside those on headers. Their names depend on case.",
        ),
    ],
};

pub(crate) static RESPOND: Section = Section {
    title: "`respond`",
    doc: "A constant answer.",
    keys: &[
        Key::default(
            "status",
            Kind::Integer { min: 200, max: 599 },
            "200",
            "The status code.",
        ),
        Key::default(
            "body",
            Kind::Text("a string"),
            "",
            "The body; none is allowed with 204 and 304.",
        ),
        Key::default(
            "content_type",
            Kind::Text("a media type such as \"application/json\""),
            "text/plain; charset=utf-8",
            "`Content-Type` of the body.",
        ),
        Key::optional(
            "headers",
            Kind::Map(&Kind::Text("a header value")),
            "Further headers of the answer.",
        ),
    ],
};

pub(super) static REDIRECT: Section = Section {
    title: "`redirect`",
    doc: "A redirect.",
    keys: &[
        Key::required(
            "to",
            Kind::Text("a path such as \"/api/{rest}\", or a URL"),
            "Template of `Location`, with the route's captures. The request's query is appended \
             unless the template has one.",
        ),
        Key::default(
            "status",
            Kind::Integer { min: 300, max: 399 },
            "307",
            "301, 302, 303, 307 or 308. The default is not cached and keeps the method.",
        ),
    ],
};

/// The keys of which a route has exactly one.
const ACTIONS: [&str; 4] = ["upstream", "split", "respond", "redirect"];

pub(super) fn action(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    path: Option<&Spanned<Text>>,
) -> Option<RawAction> {
    let written: Vec<Item<'_>> = ACTIONS.iter().filter_map(|key| table.item(key)).collect();
    if written.is_empty() {
        r.report(
            Diagnostic::error("no-action", "a route that does nothing", table.span)
                .label("says not what answers its requests")
                .help("add one of `upstream`, `split`, `respond` and `redirect`"),
        );
    }
    if let [first, second, ..] = written[..] {
        r.report(
            Diagnostic::error(
                "conflicting-keys",
                format!("`{}` and `{}` exclude each other", first.name, second.name),
                second.span(),
            )
            .label("a route has one action")
            .help("keep one of them")
            .related(first.span(), "the other one"),
        );
    }
    let mut action = None;
    for item in &written {
        let read = match item.name {
            "upstream" => r.text(item).map(RawAction::Upstream),
            "split" => split(r, item).map(RawAction::Split),
            "respond" => respond(r, item).map(RawAction::Respond),
            _ => redirect(r, item, table, path).map(RawAction::Redirect),
        };
        action = action.or(read);
    }
    action
}

fn split(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<SplitTarget<Spanned<Text>>>> {
    let items = r.list(item)?;
    let mut targets = Vec::with_capacity(items.len());
    let mut complete = true;
    for entry in &items {
        let Some(table) = r.open(entry, &SPLIT) else {
            complete = false;
            continue;
        };
        let upstream = table.required(r, "upstream").and_then(|item| r.text(&item));
        let headers = conditions(r, &table, "headers", leaf::header_name);
        let cookies = conditions(r, &table, "cookies", leaf::cookie_name);
        let usual = u16::from(headers.is_empty() && cookies.is_empty());
        let weight = table.integer(r, "weight");
        let weight = weight.map_or(usual, |weight| u16::try_from(weight).unwrap_or(u16::MAX));
        complete &= upstream.is_some();
        targets.extend(upstream.map(|upstream| SplitTarget {
            upstream,
            weight,
            headers,
            cookies,
        }));
    }
    let weights = targets.iter().map(|target| u32::from(target.weight));
    let total: u32 = weights.sum();
    if complete && total == 0 {
        r.report(
            Diagnostic::error(
                "no-endpoints",
                "a split that sends nothing anywhere",
                item.span(),
            )
            .label("the weights add up to 0")
            .help("give at least one branch a weight above 0: it gets what no conditions hold for"),
        );
    }
    Some(targets)
}

/// A constant answer.
pub(crate) fn respond(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Respond> {
    let table = r.open(item, &RESPOND)?;
    let status = u16::try_from(table.integer_or_default(r, "status")).unwrap_or(200);
    let body = table.text(r, "body");
    let is_bodiless = matches!(status, 204 | 304);
    if let Some(body) = &body
        && is_bodiless
        && !body.value.value.is_empty()
    {
        r.report(
            Diagnostic::error(
                "impossible-response",
                format!("a response with status {status} has no body"),
                body.span,
            )
            .label("would not be sent")
            .help("remove `body`, or answer with status 200"),
        );
    }
    let body = body.map(|body| body.value.value).unwrap_or_default();
    let content_type = table.parsed(r, "content_type", leaf::header_value);
    let content_type = match content_type {
        _ if is_bodiless || body.is_empty() => None,
        Some(written) => Some(written.value),
        None => Some(Box::from(RESPOND.default_text("content_type"))),
    };
    let headers = fields(r, &table, "headers");
    if let Some(field) = headers
        .iter()
        .find(|field| &*field.name.value == "content-type")
    {
        r.report(
            Diagnostic::error(
                "forbidden-header",
                "`content-type` has a key of its own",
                field.name.span,
            )
            .help("write content_type = \"...\" beside `body`"),
        );
    }
    Some(Respond {
        status,
        body,
        content_type,
        headers,
    })
}

const REDIRECT_STATUSES: [i64; 5] = [301, 302, 303, 307, 308];

fn redirect(
    r: &mut Reader<'_>,
    item: &Item<'_>,
    route: &Table<'_>,
    path: Option<&Spanned<Text>>,
) -> Option<Redirect> {
    let table = r.open(item, &REDIRECT)?;
    let to = table
        .required(r, "to")
        .and_then(|item| template(r, &item, path, leaf::location));
    let status = match table.item("status") {
        Some(item) => redirect_status(r, &item),
        None => Some(REDIRECT.default_integer("status")),
    };
    let (to, status) = (to?, u16::try_from(status?).ok()?);
    // After these a client asks with GET, which the route may not take.
    let may_change_method = matches!(status, 301..=303) && route.item("methods").is_some();
    if let Some(path) = path
        && !may_change_method
    {
        warn_of_loop(r, &to, path);
    }
    Some(Redirect { to, status })
}

/// A redirect to the very path that it answers goes round for ever. One that sets a query may
/// lead to another route.
fn warn_of_loop(r: &mut Reader<'_>, to: &Spanned<Box<str>>, path: &Spanned<Text>) {
    let target = to.split('#').next().unwrap_or_default();
    if target != &*path.value.value {
        return;
    }
    r.report(
        Diagnostic::warning("redirect-loop", "a redirect that points at itself", to.span)
            .label("the path that this route takes")
            .help("name another path, or a URL with another host")
            .related(path.span, "this route's path"),
    );
}

fn redirect_status(r: &mut Reader<'_>, item: &Item<'_>) -> Option<i64> {
    let status = match item.value.get_ref().as_integer() {
        Some(number) => number.as_str().parse::<i64>().unwrap_or_default(),
        None => bounded_integer(r, item)?,
    };
    if REDIRECT_STATUSES.contains(&status) {
        return Some(status);
    }
    r.report(
        Diagnostic::error("invalid-value", "invalid status of a redirect", item.span())
            .label("does not redirect")
            .help("expected 301, 302, 303, 307 or 308"),
    );
    None
}
