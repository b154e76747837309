//! `type = "api_key"`

use super::{ANONYMOUS, CLAIMS, HIDE, OPTIONAL, REALM, authentication};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{AuthScheme, FilterKind, KeyPlaces};
use crate::read::filter::TYPE;
use crate::read::reader::Reader;
use crate::read::table::Table;

pub(crate) static API_KEY: Section = Section {
    title: "[filter.NAME] of type \"api_key\"",
    doc: "Asks for the key of a consumer. The key may come in any of the places that are named; \
          two different ones in one request are refused.",
    keys: &[
        TYPE,
        Key::optional(
            "header",
            Kind::Text("a header name"),
            "A header that carries the key. Without `header`, `query` and `cookie` it is \
             \"x-api-key\".",
        ),
        Key::default(
            "prefix",
            Kind::Text("a text such as \"Bearer \", or \"\" for none"),
            "",
            "What `header` has before the key, in any case. A header without it carries no key.",
        ),
        Key::optional(
            "query",
            Kind::Text("the name of a query parameter"),
            "A query parameter that carries the key. Other logs than this gateway's may keep it: \
             a header is better.",
        ),
        Key::optional(
            "cookie",
            Kind::Text("the name of a cookie"),
            "A cookie that carries the key.",
        ),
        HIDE,
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) fn api_key(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let header = table.parsed(r, "header", leaf::header_name);
    let query = table.parsed(r, "query", leaf::parameter_name);
    let cookie = table.parsed(r, "cookie", leaf::cookie_name);
    let prefix = table.parsed(r, "prefix", leaf::key_prefix);
    let prefix = prefix.map(|prefix| prefix.value).unwrap_or_default();
    let mut places = ["header", "query", "cookie"].into_iter();
    let is_named = places.any(|key| table.item(key).is_some());
    if let Some(item) = table.item("prefix")
        && is_named
        && table.item("header").is_none()
    {
        r.report(
            Diagnostic::warning("no-effect", "`prefix` without `header`", item.span())
                .label("only headers have something before the key")
                .help("remove it, or add `header`"),
        );
    }
    if let Some(header) = &header
        && let Some(help) = leaf::untouchable(header)
    {
        let message = format!("{} cannot carry a key", crate::read::quote(header));
        r.report(Diagnostic::error("forbidden-header", message, header.span).help(help));
    }
    let header = match is_named {
        true => header.map(|name| name.value),
        false => Some(Box::from("x-api-key")),
    };
    let places = KeyPlaces {
        header,
        prefix,
        query: query.map(|name| name.value),
        cookie: cookie.map(|name| name.value),
    };
    Some(authentication(r, table, AuthScheme::ApiKey(places)))
}
