//! `type = "introspection"`

use super::forward::{ANSWER_MAX, HOST, PATH, TIMEOUT, UPSTREAM, service};
use super::{ANONYMOUS, CLAIMS, OPTIONAL, REALM, SHOW, authentication};
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{AuthScheme, FilterKind, Introspection};
use crate::read::filter::TYPE;
use crate::read::oauth::{CLIENT_AUTH, CLIENT_ID, CLIENT_SECRET, credentials};
use crate::read::reader::Reader;
use crate::read::table::Table;

pub(crate) static INTROSPECTION: Section = Section {
    title: "[filter.NAME] of type \"introspection\"",
    doc: "Asks for a bearer token, and asks the server that issued it whether it is good \
          (RFC 7662). What the server says is remembered.",
    keys: &[
        TYPE,
        UPSTREAM,
        PATH,
        HOST,
        TIMEOUT,
        ANSWER_MAX,
        CLIENT_ID,
        CLIENT_SECRET,
        CLIENT_AUTH,
        Key::optional(
            "header",
            Kind::Text("a header name"),
            "A header whose whole value is the token. With none of the three, it stands in \
             `Authorization` behind `Bearer`.",
        ),
        Key::optional(
            "cookie",
            Kind::Text("a cookie's name"),
            "A cookie that has the token.",
        ),
        Key::optional(
            "query",
            Kind::Text("a parameter's name"),
            "A query parameter that has the token; tokens in URLs end up in histories.",
        ),
        Key::default(
            "token_max",
            Kind::Size {
                min: "16B",
                max: "16KiB",
            },
            "4KiB",
            "Bytes of a token; nobody is asked about a longer one.",
        ),
        Key::optional(
            "issuer",
            Kind::Text("a text"),
            "What the answer's `iss` has to be; without it any will do, and none.",
        ),
        Key::default(
            "audiences",
            Kind::List(&Kind::Text("a text")),
            "[]",
            "The token has to be for one of these; with none, for anybody.",
        ),
        Key::default(
            "scopes",
            Kind::List(&Kind::Text("a word")),
            "[]",
            "The token has to allow all of these, else 403.",
        ),
        Key::default(
            "leeway",
            Kind::Duration {
                min: "0s",
                max: "5m",
            },
            "0s",
            "By how much the clocks of the server and the gateway may differ.",
        ),
        Key::default(
            "cache_ttl",
            Kind::Duration {
                min: "0s",
                max: "1h",
            },
            "60s",
            "How long it is remembered that a token is good, or as long as it is, if that is \
             shorter: a token that is revoked meanwhile still passes.",
        ),
        Key::default(
            "refused_ttl",
            Kind::Duration {
                min: "0s",
                max: "1m",
            },
            "5s",
            "How long it is remembered that a token is not good.",
        ),
        Key::default(
            "cache_max",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "10000",
            "Tokens that each worker remembers: so many good ones, and so many others.",
        ),
        OPTIONAL,
        ANONYMOUS,
        REALM,
        SHOW,
        CLAIMS,
    ],
};

pub(crate) fn introspection(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let service = service(r, table);
    let credentials = credentials(r, table);
    let header = table.parsed(r, "header", leaf::header_name);
    let cookie = table.parsed(r, "cookie", leaf::cookie_name);
    let query = table.parsed(r, "query", leaf::parameter_name);
    let issuer = table.parsed(r, "issuer", leaf::visible_text);
    let mut list = |key: &'static str, parse: fn(&str) -> Result<Box<str>, leaf::Fault>| {
        let items = table.list(r, key);
        let each = items.iter().filter_map(|item| r.parsed(item, parse));
        each.map(|text| text.value).collect::<Vec<_>>()
    };
    let audiences = list("audiences", leaf::visible_text);
    let scopes = list("scopes", leaf::scope);
    let token_max = table.size_or_default(r, "token_max");
    let leeway = table.duration_or_default(r, "leeway");
    let active_ttl = table.duration_or_default(r, "cache_ttl");
    let refused_ttl = table.duration_or_default(r, "refused_ttl");
    let entries_max = table.integer_or_default(r, "cache_max").unsigned_abs();
    let (client_id, client_secret, client_auth) = credentials?;
    let scheme = Introspection {
        service: service?,
        client_id,
        client_secret,
        client_auth,
        header: header.map(|name| name.value),
        cookie: cookie.map(|name| name.value),
        query: query.map(|name| name.value),
        token_max,
        issuer: issuer.map(|issuer| issuer.value),
        audiences,
        scopes,
        leeway,
        active_ttl,
        refused_ttl,
        entries_max,
    };
    let scheme = AuthScheme::Introspection(Box::new(scheme));
    Some(authentication(r, table, scheme))
}
