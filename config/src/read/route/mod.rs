//! `[[route]]`.

mod action;
mod conditions;
mod policy;

use std::time::Duration;

use super::Text;
use super::reader::{Reader, quote};
use super::table::{Item, Table};
use crate::diagnostic::{Diagnostic, Related};
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Cap, Matches, Name, Upgrade, UpstreamHost};
use crate::span::Spanned;
use action::{REDIRECT, SPLIT, action};
use conditions::{MATCH, matches};

pub(crate) use action::{RESPOND, RawAction, respond};
pub(crate) use policy::RawPolicy;

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
    pub policy: RawPolicy,
}

const REFERENCE: &Kind = &Kind::Text("the name of an [[upstream]]");

pub(crate) static ROUTE: Section = Section {
    title: "[[route]]",
    doc: "Which requests go where. Exactly one of `upstream`, `split`, `respond` and `redirect` \
          says what answers.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(crate::read::upstream::NAME),
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
            "Upstreams that answer by their conditions, then by weight.",
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
            Kind::Either(&[
                Kind::List(&Kind::Choice(UPGRADES)),
                Kind::Choice(UPGRADE_WORDS),
            ]),
            "[\"websocket\"]",
            "Protocol upgrades that pass: a list, or one word; `[]` and \"off\" forbid them.",
        ),
        policy::KEYS[0],
        policy::KEYS[1],
        policy::KEYS[2],
        policy::KEYS[3],
        policy::KEYS[4],
        policy::KEYS[5],
        policy::KEYS[6],
        policy::KEYS[7],
        policy::KEYS[8],
        policy::KEYS[9],
        policy::KEYS[10],
    ],
};

const OFF: Kind = Kind::Choice(&["off"]);
const UPGRADES: &[&str] = &["websocket"];
const UPGRADE_WORDS: &[&str] = &["websocket", "off"];

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
    let filters = filter_names(r, table, "route");
    let action = action(r, table, path.as_ref());
    let rewrite = rewrite(r, table, path.as_ref());
    let timeout = table.deadline_cap(r, "timeout");
    let body_max = table.size_cap(r, "body_max");
    let upstream_host = upstream_host(r, table);
    let upgrade = upgrade(r, table);
    let policy = policy::policy(r, table);
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
        policy,
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
            Ok(()) => {
                let host = text.map(|text| text.value);
                warn_of_repeated(r, &hosts, &host);
                hosts.push(host);
            }
            Err(fault) => {
                r.refuse_pattern("host pattern", &text, fault);
            }
        }
    }
    hosts
}

/// A host that is there twice is most often another one misspelt.
fn warn_of_repeated(r: &mut Reader<'_>, hosts: &[Spanned<Box<str>>], host: &Spanned<Box<str>>) {
    let first = hosts
        .iter()
        .find(|first| first.eq_ignore_ascii_case(&host.value));
    if let Some(first) = first {
        let message = format!("the host {} is listed twice", quote(host));
        r.report(
            Diagnostic::warning("duplicate-host", message, host.span)
                .label("adds nothing: host names have no case")
                .help("remove it, or correct it if another host was meant")
                .related(first.span, "the first one"),
        );
    }
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

/// The names under `filters`, of filters that all run where this table says.
pub(crate) fn filter_names(r: &mut Reader<'_>, table: &Table<'_>, on: &str) -> Vec<Spanned<Text>> {
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
                    format!("filter {} runs twice on this {on}", quote(name.shown())),
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
            diagnostic.related.push(Related {
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
    let (entries, words) = match item.is_string() {
        true => (vec![item], UPGRADE_WORDS),
        false => (r.list(&item).unwrap_or_default(), UPGRADES),
    };
    let mut upgrade = Upgrade::Forbid;
    for entry in entries {
        if let Some(text) = r.text(&entry)
            && r.choice(&entry, &text, words).is_some()
            && &*text.value.value == "websocket"
        {
            upgrade = Upgrade::WebSocket;
        }
    }
    upgrade
}
