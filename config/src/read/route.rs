//! `[[route]]`.

use std::time::Duration;

use toml::de::DeValue;

use super::filter::fields;
use super::reader::{Reader, Text, quote};
use super::table::{Item, Table, bounded_integer, entries_of};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{
    Cap, FieldMatch, Matches, Name, Redirect, Respond, Upgrade, UpstreamHost, ValueMatch,
};
use crate::span::Spanned;

/// A [`Route`](crate::model::Route) whose references are still names.
#[derive(Debug)]
pub(crate) struct RawRoute {
    pub name: Spanned<Name>,
    pub hosts: Vec<Spanned<Box<str>>>,
    pub path: Spanned<Box<str>>,
    pub methods: Vec<Spanned<Box<str>>>,
    pub priority: Spanned<i32>,
    pub matches: Matches,
    pub filters: Vec<Spanned<Text>>,
    pub action: RawAction,
    pub rewrite: Option<Spanned<Box<str>>>,
    pub timeout: Option<Cap<Duration>>,
    pub body_max: Option<Cap<u64>>,
    pub upstream_host: UpstreamHost,
    pub upgrade: Upgrade,
}

#[derive(Debug)]
pub(crate) enum RawAction {
    Upstream(Spanned<Text>),
    Split(Vec<(Spanned<Text>, u16)>),
    Respond(Respond),
    Redirect(Redirect),
}

const REFERENCE: &Kind = &Kind::Text("the name of an [[upstream]]");

static SPLIT: Section = Section {
    title: "an entry of `split`",
    doc: "One branch of a split.",
    keys: &[
        Key::required("upstream", *REFERENCE, "Where its share goes."),
        Key::default(
            "weight",
            Kind::Integer {
                min: 0,
                max: 65_535,
            },
            "1",
            "Its share beside the other branches; 0 sends nothing.",
        ),
    ],
};

static RESPOND: Section = Section {
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

static REDIRECT: Section = Section {
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

static CONDITION: Section = Section {
    title: "a condition",
    doc: "A condition on a value; exactly one key. A bare string is `exact`.",
    keys: &[
        Key::optional("exact", Kind::Text("a string"), "The value is this text."),
        Key::optional(
            "any",
            Kind::List(&Kind::Text("a string")),
            "The value is one of these texts.",
        ),
        Key::optional(
            "prefix",
            Kind::Text("a string"),
            "The value begins with this text.",
        ),
        Key::optional(
            "present",
            Kind::Bool,
            "Whether the header or parameter must be there, whatever its value, or must not.",
        ),
    ],
};

const CONDITIONS: Kind = Kind::Map(&CONDITION_KIND);
static CONDITION_KIND: Kind = Kind::Either(&[Kind::Text("a string"), Kind::Table(&CONDITION)]);

static MATCH: Section = Section {
    title: "[route.match]",
    doc: "Conditions beyond host, path and method; all must hold.",
    keys: &[
        Key::optional(
            "headers",
            CONDITIONS,
            "On request headers; names do not depend on case.",
        ),
        Key::optional("query", CONDITIONS, "On query parameters, decoded."),
    ],
};

pub(crate) static ROUTE: Section = Section {
    title: "[[route]]",
    doc: "Which requests go where. Exactly one of `upstream`, `split`, `respond` and `redirect` \
          says what answers.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among routes; logs, metrics and `explain` use it.",
        ),
        Key::optional(
            "hosts",
            Kind::List(&Kind::Text(
                "a host such as \"api.example.com\" or \"*.example.org\"",
            )),
            "Hosts it serves; absent means any. `*.` stands for one or more labels.",
        ),
        Key::required(
            "path",
            Kind::Text("a path pattern such as \"/api/users/{id}\""),
            "Path pattern: `{name}` is one segment, `{name*}` at the end is the rest.",
        ),
        Key::optional(
            "methods",
            Kind::List(&Kind::Text("a method such as \"GET\"")),
            "Methods it serves; absent means any but CONNECT.",
        ),
        Key::optional(
            "match",
            Kind::Table(&MATCH),
            "Conditions on headers and query.",
        ),
        Key::default(
            "priority",
            Kind::Integer {
                min: -1_000_000,
                max: 1_000_000,
            },
            "0",
            "The highest wins among routes with the same host and path pattern; see the \
             precedence of routes.",
        ),
        Key::optional(
            "filters",
            Kind::List(&Kind::Text("the name of a [filter.NAME]")),
            "Filters, in the order they run.",
        ),
        Key::optional("upstream", *REFERENCE, "The upstream that answers."),
        Key::optional(
            "split",
            Kind::List(&Kind::Table(&SPLIT)),
            "Upstreams that answer in turn, by weight.",
        ),
        Key::optional("respond", Kind::Table(&RESPOND), "A constant answer."),
        Key::optional("redirect", Kind::Table(&REDIRECT), "A redirect."),
        Key::optional(
            "rewrite",
            Kind::Text("a path template such as \"/v2/users/{rest}\""),
            "The path that the origin sees, with the route's captures; only with `upstream` and \
             `split`. The query stays.",
        ),
        Key::optional(
            "timeout",
            Kind::Either(&[
                Kind::Duration {
                    min: "1ms",
                    max: "24h",
                },
                OFF,
            ]),
            "Overrides `limits.request_timeout` for this route.",
        ),
        Key::optional(
            "body_max",
            Kind::Either(&[
                Kind::Size {
                    min: "0B",
                    max: "1024GiB",
                },
                OFF,
            ]),
            "Overrides `limits.body_max` for this route, up or down.",
        ),
        Key::default(
            "upstream_host",
            Kind::Text("\"preserve\", \"upstream\" or a host"),
            "preserve",
            "The `Host` that the origin sees: the client's, the endpoint's as configured, or this \
             one.",
        ),
        Key::default(
            "upgrade",
            Kind::List(&Kind::Choice(UPGRADES)),
            "[\"websocket\"]",
            "Protocol upgrades that pass; `[]` forbids them.",
        ),
    ],
};

const OFF: Kind = Kind::Choice(&["off"]);
const UPGRADES: &[&str] = &["websocket"];

/// The keys of which a route has exactly one.
const ACTIONS: [&str; 4] = ["upstream", "split", "respond", "redirect"];

pub(crate) fn route(r: &mut Reader<'_>, table: &Table<'_>) -> Option<RawRoute> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let hosts = hosts(r, table);
    let path = path(r, table);
    let methods = methods(r, table);
    let matches = table
        .table(r, "match")
        .map(|t| matches(r, &t))
        .unwrap_or_default();
    let priority = Spanned::new(
        i32::try_from(table.integer_or_default(r, "priority")).unwrap_or_default(),
        table.span_of("priority"),
    );
    let filters = filter_names(r, table);
    let action = action(r, table, path.as_ref());
    let rewrite = rewrite(r, table, path.as_ref());
    let timeout = table.duration_cap(r, "timeout");
    let body_max = table.size_cap(r, "body_max");
    let upstream_host = upstream_host(r, table);
    let upgrade = upgrade(r, table);
    Some(RawRoute {
        name: name?,
        hosts,
        path: path?.map(|path| path.value),
        methods,
        priority,
        matches,
        filters,
        action: action?,
        rewrite,
        timeout,
        body_max,
        upstream_host,
        upgrade,
    })
}

fn hosts(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Box<str>>> {
    let items = table.list(r, "hosts");
    if items.is_empty()
        && let Some(item) = table.item("hosts")
        && item.value.get_ref().is_array()
    {
        empty_list(r, &item, "hosts");
    }
    let mut hosts = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = r.text(item) else {
            continue;
        };
        match r.checks.host(&text.value.value) {
            Ok(()) => hosts.push(text.map(|text| text.value)),
            Err(fault) => {
                r.refuse_pattern("host pattern", &text, fault);
            }
        }
    }
    hosts
}

fn empty_list(r: &mut Reader<'_>, item: &Item<'_>, what: &str) {
    r.report(
        Diagnostic::error(
            "empty-list",
            format!("a route with an empty list of {what} matches nothing"),
            item.span(),
        )
        .label("nothing is listed")
        .help(format!("remove `{}` to match any", item.name)),
    );
}

/// The path, if it passed.
fn path(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Spanned<Text>> {
    let item = table.required(r, "path")?;
    let text = r.text(&item)?;
    match r.checks.path(&text.value.value) {
        Ok(()) => Some(text),
        Err(fault) => {
            r.refuse_pattern("path pattern", &text, fault);
            None
        }
    }
}

fn methods(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Box<str>>> {
    let items = table.list(r, "methods");
    if items.is_empty()
        && let Some(item) = table.item("methods")
        && item.value.get_ref().is_array()
    {
        empty_list(r, &item, "methods");
    }
    let mut methods: Vec<Spanned<Box<str>>> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(method) = r.parsed(item, leaf::method) else {
            continue;
        };
        if let Some(first) = methods.iter().find(|other| **other == method) {
            r.report(
                Diagnostic::warning(
                    "duplicate-method",
                    format!("method {} is listed twice", quote(&method)),
                    method.span,
                )
                .label("has no effect")
                .related(first.span, "first here"),
            );
            continue;
        }
        methods.push(method);
    }
    methods
}

fn matches(r: &mut Reader<'_>, table: &Table<'_>) -> Matches {
    Matches {
        headers: conditions(r, table, "headers", |name| leaf::header_name(name)),
        query: conditions(r, table, "query", |name| Ok(Box::from(name))),
    }
}

fn conditions(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    parse_name: impl Fn(&str) -> Result<Box<str>, leaf::Fault>,
) -> Vec<FieldMatch> {
    let Some(item) = table.item(key) else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut conditions: Vec<FieldMatch> = Vec::new();
    for (span, entry) in entries_of(item.file, entries, &CONDITION_KIND) {
        let name = match parse_name(entry.name) {
            Ok(name) => Spanned::new(name, span),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        if let Some(first) = conditions.iter().find(|other| other.name == name) {
            let first = first.name.span;
            r.report(
                Diagnostic::error(
                    "duplicate-header",
                    format!("two conditions on header {}", quote(&name)),
                    span,
                )
                .label("header names do not depend on case")
                .related(first, "the other one"),
            );
        }
        if let Some(value) = condition(r, &entry) {
            let value = Spanned::new(value, entry.span());
            conditions.push(FieldMatch { name, value });
        }
    }
    conditions
}

fn condition(r: &mut Reader<'_>, entry: &Item<'_>) -> Option<ValueMatch> {
    if !entry.is_table() {
        return Some(ValueMatch::Exact(r.text(entry)?.value.value));
    }
    let table = r.open(entry, &CONDITION)?;
    let mut found = None;
    let mut count = 0;
    if let Some(text) = table.text(r, "exact") {
        found = Some(ValueMatch::Exact(text.value.value));
        count += 1;
    }
    if table.item("any").is_some() {
        let items = table.list(r, "any");
        let texts = items.iter().filter_map(|item| r.text(item));
        found = Some(ValueMatch::Any(
            texts.map(|text| text.value.value).collect(),
        ));
        count += 1;
    }
    if let Some(text) = table.text(r, "prefix") {
        found = Some(ValueMatch::Prefix(text.value.value));
        count += 1;
    }
    if let Some(present) = table.item("present").and_then(|item| r.boolean(&item)) {
        found = Some(match present {
            true => ValueMatch::Present,
            false => ValueMatch::Absent,
        });
        count += 1;
    }
    let written = CONDITION
        .keys
        .iter()
        .filter(|key| table.item(key.name).is_some());
    if written.count() != 1 {
        let message = format!(
            "the condition on {} needs exactly one key",
            quote(entry.name)
        );
        let label = if count == 0 {
            "has none"
        } else {
            "has several"
        };
        r.report(
            Diagnostic::error("conflicting-keys", message, entry.span())
                .label(label)
                .help("one of `exact`, `any`, `prefix` and `present`"),
        );
        return None;
    }
    let is_empty = match &found {
        Some(ValueMatch::Any(texts)) => texts.is_empty(),
        Some(ValueMatch::Prefix(text)) => text.is_empty(),
        _ => false,
    };
    if is_empty {
        let message = format!("the condition on {} says nothing", quote(entry.name));
        r.report(
            Diagnostic::error("empty-list", message, entry.span())
                .label("is empty")
                .help("to ask for the name alone write { present = true }"),
        );
    }
    found
}

fn filter_names(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Text>> {
    let mut names: Vec<Spanned<Text>> = Vec::new();
    for item in table.list(r, "filters") {
        let Some(name) = r.text(&item) else {
            continue;
        };
        let same = |other: &&Spanned<Text>| other.value.value == name.value.value;
        if let Some(first) = names.iter().find(same) {
            r.report(
                Diagnostic::error(
                    "duplicate-filter",
                    format!("filter {} runs twice on this route", quote(name.shown())),
                    name.span,
                )
                .label("listed again")
                .help("keep it once; for a second one with other settings, define another filter")
                .related(first.span, "first here"),
            );
        }
        names.push(name);
    }
    names
}

fn action(
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
            _ => redirect(r, item, path).map(RawAction::Redirect),
        };
        action = action.or(read);
    }
    action
}

fn split(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<(Spanned<Text>, u16)>> {
    let items = r.list(item)?;
    let mut targets = Vec::with_capacity(items.len());
    let mut complete = true;
    for entry in &items {
        let Some(table) = r.open(entry, &SPLIT) else {
            complete = false;
            continue;
        };
        let upstream = table.required(r, "upstream").and_then(|item| r.text(&item));
        let weight = u16::try_from(table.integer_or_default(r, "weight")).unwrap_or_default();
        complete &= upstream.is_some();
        targets.extend(upstream.map(|upstream| (upstream, weight)));
    }
    let total: u32 = targets.iter().map(|(_, weight)| u32::from(*weight)).sum();
    if complete && total == 0 {
        r.report(
            Diagnostic::error(
                "no-endpoints",
                "a split that sends nothing anywhere",
                item.span(),
            )
            .label("the weights add up to 0")
            .help("give at least one branch a weight above 0"),
        );
    }
    Some(targets)
}

fn respond(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Respond> {
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

fn redirect(r: &mut Reader<'_>, item: &Item<'_>, path: Option<&Spanned<Text>>) -> Option<Redirect> {
    let table = r.open(item, &REDIRECT)?;
    let to = table
        .required(r, "to")
        .and_then(|item| template(r, &item, path, leaf::location));
    let status = match table.item("status") {
        Some(item) => redirect_status(r, &item),
        None => Some(REDIRECT.default_integer("status")),
    };
    Some(Redirect {
        to: to?,
        status: u16::try_from(status?).ok()?,
    })
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

/// A template whose captures must be those of the path.
fn template(
    r: &mut Reader<'_>,
    item: &Item<'_>,
    path: Option<&Spanned<Text>>,
    parse: fn(&str) -> Result<Box<str>, leaf::Fault>,
) -> Option<Spanned<Box<str>>> {
    let text = r.text(item)?;
    if let Err(fault) = parse(&text.value.value) {
        r.refuse(item, &text.value, fault);
        return None;
    }
    if let Some(path) = path
        && let Err(fault) = r.checks.template(&text.value.value, &path.value.value)
    {
        let place = path.span;
        if let Some(diagnostic) = r.refuse_pattern("template", &text, fault) {
            let note = "captures come from this path".to_owned();
            diagnostic.related.push(crate::Related {
                span: place,
                message: note,
            });
        }
        return None;
    }
    Some(text.map(|text| text.value))
}

fn rewrite(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    path: Option<&Spanned<Text>>,
) -> Option<Spanned<Box<str>>> {
    let item = table.item("rewrite")?;
    if let Some(action) = table.item("respond").or(table.item("redirect")) {
        r.report(
            Diagnostic::error(
                "conflicting-keys",
                format!("`rewrite` has no effect with `{}`", action.name),
                item.span(),
            )
            .label("no origin sees this path")
            .help("remove it")
            .related(action.span(), "answers without an origin"),
        );
    }
    template(r, &item, path, leaf::template)
}

fn upstream_host(r: &mut Reader<'_>, table: &Table<'_>) -> UpstreamHost {
    let host = table.parsed(r, "upstream_host", |text| match text {
        "preserve" => Ok(UpstreamHost::Preserve),
        "upstream" => Ok(UpstreamHost::Endpoint),
        host => leaf::authority(host).map(UpstreamHost::Literal),
    });
    host.map_or(UpstreamHost::Preserve, |host| host.value)
}

fn upgrade(r: &mut Reader<'_>, table: &Table<'_>) -> Upgrade {
    let Some(item) = table.item("upgrade") else {
        return Upgrade::WebSocket;
    };
    let mut upgrade = Upgrade::Forbid;
    for entry in r.list(&item).unwrap_or_default() {
        if let Some(text) = r.text(&entry)
            && r.choice(&entry, &text, UPGRADES).is_some()
        {
            upgrade = Upgrade::WebSocket;
        }
    }
    upgrade
}
