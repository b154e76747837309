//! `type = "authorize"`

use toml::de::DeValue;

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Authorize, FilterKind, Hours, Rule};
use crate::read::filter::TYPE;
use crate::read::reader::Reader;
use crate::read::table::{Table, entries_of};

use super::distinct;

const WORD: Kind = Kind::Text("a word");
const VALUES: Kind = Kind::List(&Kind::Text("a value"));

pub(crate) static AUTHORIZE: Section = Section {
    title: "[filter.NAME] of type \"authorize\"",
    doc: "Says who may do what. A rule of `deny` wins; where `allow` is written, one of its rules \
          has to hold. It stands behind the filters that ask who makes a request.",
    keys: &[
        TYPE,
        Key::optional(
            "allow",
            Kind::Tables(&RULE),
            "What is allowed; all else is refused. An empty list refuses everything.",
        ),
        Key::optional(
            "deny",
            Kind::Tables(&RULE),
            "What is refused whatever `allow` says.",
        ),
    ],
};

static RULE: Section = Section {
    title: "a rule of an authorize filter",
    doc: "Holds when all that it says is true; of a list, one entry has to be.",
    keys: &[
        Key::optional(
            "name",
            Kind::Text("a word"),
            "What `ringgate explain` calls it; without, it is called by its place, as in \
             \"allow[0]\".",
        ),
        Key::default(
            "authenticated",
            Kind::Bool,
            "false",
            "Whether somebody has to be known; an anonymous consumer is not.",
        ),
        Key::default(
            "consumers",
            Kind::List(&Kind::Text("the name of a consumer")),
            "[]",
            "Who makes the request.",
        ),
        Key::default("groups", Kind::List(&WORD), "[]", "Groups of who makes it."),
        Key::default("scopes", Kind::List(&WORD), "[]", "Scopes of its token."),
        Key::default(
            "scopes_all",
            Kind::List(&WORD),
            "[]",
            "Scopes of its token, all of which it has to have.",
        ),
        Key::optional(
            "claims",
            Kind::Map(&VALUES),
            "Claims and the values that they may have: { org = [\"a\", \"b\"] }. With an empty list \
             any value will do.",
        ),
        Key::default(
            "addresses",
            Kind::List(&Kind::Text("an IP network, such as \"10.0.0.0/8\"")),
            "[]",
            "Networks of the client, as trusted proxies tell it.",
        ),
        Key::default(
            "methods",
            Kind::List(&Kind::Text("a method such as \"GET\"")),
            "[]",
            "Methods; GET does not stand for HEAD.",
        ),
        Key::optional("times", Kind::Tables(&HOURS), "When the request comes."),
    ],
};

static HOURS: Section = Section {
    title: "an entry of `times`",
    doc: "A stretch of some days of the week. One that ends at or before its begin ends on the \
          next day.",
    keys: &[
        Key::default(
            "days",
            Kind::List(&Kind::Text(
                "a day such as \"mon\", or days such as \"mon-fri\"",
            )),
            "[\"mon-sun\"]",
            "The days on which it begins.",
        ),
        Key::default(
            "from",
            Kind::Text("a time such as \"08:00\""),
            "00:00",
            "When it begins.",
        ),
        Key::default(
            "to",
            Kind::Text("a time such as \"18:00\""),
            "24:00",
            "When it is over.",
        ),
        Key::default(
            "zone",
            Kind::Text("\"UTC\" or an offset such as \"+02:00\""),
            "UTC",
            "By which clock. An offset knows no summer time.",
        ),
    ],
};

pub(crate) fn authorize(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let allow = table.item("allow").map(|_| rules(r, table, "allow"));
    let deny = rules(r, table, "deny");
    if allow.is_none() && deny.is_empty() {
        r.report(
            Diagnostic::error(
                "no-effect",
                "an authorize filter that allows all",
                table.span,
            )
            .label("neither `allow` nor `deny` says anything")
            .help("add for example allow = [{ groups = [\"staff\"] }]"),
        );
        return None;
    }
    Some(FilterKind::Authorize(Box::new(Authorize { allow, deny })))
}

fn rules(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> Vec<Rule> {
    let tables = table.tables(r, key);
    tables.iter().map(|table| rule(r, table)).collect()
}

fn rule(r: &mut Reader<'_>, table: &Table<'_>) -> Rule {
    if table.entries.iter().all(|(key, _)| key.get_ref() == "name") {
        r.report(
            Diagnostic::error("no-effect", "a rule that says nothing", table.span)
                .label("it would hold for every request")
                .help("say of whom, such as authenticated = true"),
        );
    }
    let mut list = |key, what, parse| {
        let items = table.list(r, key);
        distinct(r, items, what, parse)
    };
    let groups = list("groups", "group", leaf::group as fn(&str) -> _);
    let scopes = list("scopes", "scope", leaf::group as fn(&str) -> _);
    let scopes_all = list("scopes_all", "scope", leaf::group as fn(&str) -> _);
    let methods = list("methods", "method", leaf::method as fn(&str) -> _);
    let mut consumers = Vec::new();
    for item in table.list(r, "consumers") {
        consumers.extend(r.name(&item));
    }
    let mut addresses = Vec::new();
    for item in table.list(r, "addresses") {
        addresses.extend(r.parsed(&item, leaf::network).map(|net| net.value));
    }
    let times = table.tables(r, "times");
    Rule {
        name: table.parsed(r, "name", leaf::group).map(|name| name.value),
        authenticated: table.bool_or_default(r, "authenticated"),
        consumers,
        groups,
        scopes,
        scopes_all,
        claims: claims(r, table),
        addresses,
        methods,
        times: times.iter().filter_map(|table| hours(r, table)).collect(),
    }
}

fn claims(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<(Box<str>, Vec<Box<str>>)> {
    let Some(item) = table.item("claims") else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut claims = Vec::new();
    for (span, entry) in entries_of(item.file, entries, &VALUES) {
        let name = match leaf::claim(entry.name) {
            Ok(name) => name,
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        let values = r.list(&entry).unwrap_or_default();
        let values = distinct(r, values, "value", |text| Ok(Box::from(text)));
        claims.push((name, values));
    }
    claims
}

fn hours(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Hours> {
    let mut days = 0;
    for item in table.list(r, "days") {
        days |= r.parsed(&item, leaf::days).map_or(0, |days| days.value);
    }
    if table.item("days").is_none() {
        days = leaf::ALL_DAYS;
    }
    let mut minute = |key, usual| match table.item(key) {
        Some(item) => r.parsed(&item, leaf::minute_of_day).map(|at| at.value),
        None => Some(usual),
    };
    let (from, to) = (minute("from", 0), minute("to", 1440));
    let offset = match table.item("zone") {
        Some(item) => r.parsed(&item, leaf::zone).map(|zone| zone.value),
        None => Some(0),
    };
    let hours = Hours {
        days,
        from: from?,
        to: to?,
        offset: offset?,
    };
    if hours.from == 1440 || days == 0 {
        r.report(
            Diagnostic::error("no-effect", "a stretch of time that never is", table.span)
                .label("it has no day, or begins where days end")
                .help(
                    "write for example { days = [\"mon-fri\"], from = \"08:00\", to = \"18:00\" }",
                ),
        );
        return None;
    }
    Some(hours)
}
