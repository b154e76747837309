//! `type = "jwt"`

use super::{ANONYMOUS, CLAIMS, OPTIONAL, REALM, SHOW, authentication, distinct};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{AuthScheme, FilterKind, TokenFilter};
use crate::read::filter::TYPE;
use crate::read::reader::Reader;
use crate::read::table::{Table, add_distinct, no_entries};

pub(crate) static JWT: Section = Section {
    title: "[filter.NAME] of type \"jwt\"",
    doc: "Asks for a signed token (RFC 7519) of one of the issuers. The token may come in any of \
          the places that are named; two in one request are refused.",
    keys: &[
        TYPE,
        Key::required(
            "issuers",
            Kind::List(&Kind::Text("the name of an issuer")),
            "Whose tokens are taken. A token's `iss` says which of them it has to be of.",
        ),
        Key::default(
            "audiences",
            Kind::List(&Kind::Text("an audience")),
            "[]",
            "In place of the issuers' own `audiences`, where any is written.",
        ),
        Key::optional(
            "header",
            Kind::Text("a header name"),
            "A header that carries the token: \"authorization\" behind the word `Bearer`, any other \
             by itself. Without `header`, `query` and `cookie` it is \"authorization\".",
        ),
        Key::optional(
            "cookie",
            Kind::Text("the name of a cookie"),
            "A cookie that carries the token.",
        ),
        Key::optional(
            "query",
            Kind::Text("the name of a query parameter"),
            "A query parameter that carries the token. Other logs than this gateway's may keep it: \
             a header is better.",
        ),
        Key::default(
            "token_max",
            Kind::Size {
                min: "256B",
                max: "64KiB",
            },
            "8KiB",
            "Bytes of a token; longer ones are not looked at.",
        ),
        Key::default(
            "cache_max",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "10000",
            "Verified tokens that each core remembers until they expire.",
        ),
        SHOW,
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) fn jwt(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let mut issuers = Vec::new();
    if let Some(item) = table.required(r, "issuers") {
        let entries = r.list(&item)?;
        let is_empty = entries.is_empty();
        for entry in entries {
            if let Some(name) = r.name(&entry) {
                add_distinct(r, &mut issuers, name, "issuer");
            }
        }
        if is_empty {
            no_entries(r, &item, "nobody's tokens are taken", "name an [[issuer]]");
        }
    }
    let audiences = table.list(r, "audiences");
    let audiences = distinct(r, audiences, "audience", leaf::claim);
    let header = table.parsed(r, "header", leaf::header_name);
    let cookie = table.parsed(r, "cookie", leaf::cookie_name);
    let query = table.parsed(r, "query", leaf::parameter_name);
    if let Some(header) = &header
        && let Some(help) = leaf::untouchable(header)
    {
        let message = format!("{} cannot carry a token", crate::read::quote(header));
        r.report(Diagnostic::error("forbidden-header", message, header.span).help(help));
    }
    let mut places = ["header", "cookie", "query"].into_iter();
    let header = match places.any(|key| table.item(key).is_some()) {
        true => header.map(|name| name.value),
        false => Some(Box::from("authorization")),
    };
    let cache_max = table.integer_or_default(r, "cache_max");
    let filter = TokenFilter {
        issuers,
        audiences,
        header,
        cookie: cookie.map(|name| name.value),
        query: query.map(|name| name.value),
        token_max: table.size_or_default(r, "token_max"),
        cache_max: u64::try_from(cache_max).unwrap_or_default(),
    };
    let scheme = AuthScheme::Jwt(Box::new(filter));
    Some(authentication(r, table, scheme))
}
