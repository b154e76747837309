//! `type = "security_headers"`: what browsers are told to be careful about.

use super::TYPE;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Cap, FilterKind, SecurityHeaders};
use crate::read::reader::Reader;
use crate::read::table::Table;
use crate::span::Spanned;

const REFERRER: &[&str] = &[
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
    "off",
];

const FRAME: &[&str] = &["deny", "same_origin", "off"];

const OPENER: &[&str] = &[
    "same-origin",
    "same-origin-allow-popups",
    "noopener-allow-popups",
    "unsafe-none",
    "off",
];

const RESOURCE: &[&str] = &["same-origin", "same-site", "cross-origin", "off"];

const EMBEDDER: &[&str] = &["require-corp", "credentialless", "unsafe-none", "off"];

const PRELOAD_AGE_MIN: u64 = 365 * 24 * 60 * 60; // what the browsers' list asks for

pub(super) static SECURITY_HEADERS: Section = Section {
    title: "[filter.NAME] of type \"security_headers\"",
    doc: "Tells browsers to be careful with what the routes answer. Without further keys: HTTPS \
          only, no guessing of types, no address in `Referer` for other sites, no frames.",
    keys: &[
        TYPE,
        Key::default(
            "hsts_max_age",
            Kind::Either(&[
                Kind::Duration {
                    min: "0s",
                    max: "3650d",
                },
                Kind::Choice(&["off"]),
            ]),
            "365d",
            "`Strict-Transport-Security`: how long browsers use nothing but HTTPS. Sent over TLS \
             alone. \"0s\" takes it back.",
        ),
        Key::default(
            "hsts_subdomains",
            Kind::Bool,
            "false",
            "Whether that holds for all names below.",
        ),
        Key::default(
            "hsts_preload",
            Kind::Bool,
            "false",
            "Whether browsers may be shipped with it. Asks for `hsts_subdomains` and a year.",
        ),
        Key::default(
            "content_type_options",
            Kind::Bool,
            "true",
            "`X-Content-Type-Options: nosniff`: what is not said to be a script is none.",
        ),
        Key::default(
            "referrer_policy",
            Kind::Choice(REFERRER),
            "strict-origin-when-cross-origin",
            "`Referrer-Policy`.",
        ),
        Key::default(
            "frame",
            Kind::Choice(FRAME),
            "deny",
            "`X-Frame-Options`: whose pages may show it in a frame.",
        ),
        Key::optional(
            "frame_ancestors",
            Kind::List(&Kind::Text("a source such as \"https://app.example.com\"")),
            "Whose pages may show it in a frame, in `Content-Security-Policy`, in the place of \
             `frame`.",
        ),
        Key::optional(
            "content_security_policy",
            Kind::Text("a policy such as \"default-src 'self'\""),
            "`Content-Security-Policy`.",
        ),
        Key::optional(
            "permissions_policy",
            Kind::Text("a policy such as \"camera=(), geolocation=()\""),
            "`Permissions-Policy`.",
        ),
        Key::default(
            "cross_origin_opener",
            Kind::Choice(OPENER),
            "off",
            "`Cross-Origin-Opener-Policy`.",
        ),
        Key::default(
            "cross_origin_resource",
            Kind::Choice(RESOURCE),
            "off",
            "`Cross-Origin-Resource-Policy`.",
        ),
        Key::default(
            "cross_origin_embedder",
            Kind::Choice(EMBEDDER),
            "off",
            "`Cross-Origin-Embedder-Policy`.",
        ),
        Key::default(
            "keep",
            Kind::Bool,
            "false",
            "Whether headers that the origin server has set stay as they are.",
        ),
        Key::default(
            "hide_server",
            Kind::Bool,
            "false",
            "Whether `Server` and `X-Powered-By` are taken out of responses.",
        ),
    ],
};

pub(super) fn security_headers(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let mut filter = SecurityHeaders {
        hsts: hsts(r, table),
        keep: table.bool_or_default(r, "keep"),
        hide_server: table.bool_or_default(r, "hide_server"),
        ..SecurityHeaders::default()
    };
    let mut put = |name: &str, value: Box<str>| filter.fields.push((name.into(), value));
    if table.bool_or_default(r, "content_type_options") {
        put("x-content-type-options", "nosniff".into());
    }
    for (key, words, name) in [
        ("referrer_policy", REFERRER, "referrer-policy"),
        ("cross_origin_opener", OPENER, "cross-origin-opener-policy"),
        (
            "cross_origin_resource",
            RESOURCE,
            "cross-origin-resource-policy",
        ),
        (
            "cross_origin_embedder",
            EMBEDDER,
            "cross-origin-embedder-policy",
        ),
    ] {
        if let Some(word) = word(r, table, key, words) {
            put(name, word.into());
        }
    }
    for (key, name) in [
        ("content_security_policy", "content-security-policy"),
        ("permissions_policy", "permissions-policy"),
    ] {
        if let Some(value) = table.parsed(r, key, leaf::header_value) {
            put(name, value.value);
        }
    }
    let ancestors = ancestors(r, table);
    let frame = word(r, table, "frame", FRAME);
    match (ancestors, frame) {
        (Some(sources), _) => {
            let value = format!("frame-ancestors {}", sources.join(" ")).into();
            filter
                .beside
                .push(("content-security-policy".into(), value));
        }
        (None, Some("deny")) => put("x-frame-options", "DENY".into()),
        (None, Some(_)) => put("x-frame-options", "SAMEORIGIN".into()),
        (None, None) => {}
    }
    if filter == SecurityHeaders::default() {
        r.report(
            Diagnostic::error(
                "no-effect",
                "a security_headers filter that changes nothing",
                table.span,
            )
            .label("everything is off")
            .help("remove it, or leave some of its defaults"),
        );
        return None;
    }
    Some(FilterKind::SecurityHeaders(Box::new(filter)))
}

/// The word of a key, unless it is `off`.
fn word(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    words: &'static [&'static str],
) -> Option<&'static str> {
    let written = match table.item(key) {
        Some(item) => {
            let text = r.text(&item)?;
            words[r.choice(&item, &text, words)?]
        }
        None => table.section.default_text(key),
    };
    (written != "off").then_some(written)
}

fn hsts(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Box<str>> {
    let age = match table.duration_cap(r, "hsts_max_age") {
        Some(Cap::Off) => None,
        Some(Cap::At(age)) => Some(age.as_secs()),
        None => Some(table.section.default_duration("hsts_max_age").as_secs()),
    };
    let subdomains = table.bool_or_default(r, "hsts_subdomains");
    let preload = table.bool_or_default(r, "hsts_preload");
    let is_enough = subdomains && age.is_some_and(|age| age >= PRELOAD_AGE_MIN);
    if preload && !is_enough {
        r.report(
            Diagnostic::error(
                "conflicting-keys",
                "`hsts_preload` without what it asks for",
                table.span_of("hsts_preload"),
            )
            .label("the browsers' list takes whole domains, for a year or more")
            .help("add hsts_subdomains = true and hsts_max_age = \"365d\", or remove it"),
        );
    }
    let mut value = format!("max-age={}", age?);
    if subdomains {
        value.push_str("; includeSubDomains");
    }
    if preload {
        value.push_str("; preload");
    }
    Some(value.into())
}

fn ancestors(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<Box<str>>> {
    let item = table.item("frame_ancestors")?;
    if let Some(frame) = table.item("frame") {
        r.report(
            Diagnostic::error(
                "conflicting-keys",
                "`frame` and `frame_ancestors` exclude each other",
                frame.span(),
            )
            .label("browsers that know the other do not look at this")
            .help("keep one of the two")
            .related(item.span(), "`frame_ancestors`"),
        );
    }
    let items = r.list(&item)?;
    let sources = items.iter().map(|item| r.parsed(item, leaf::policy_source));
    let sources: Vec<Spanned<Box<str>>> = sources.flatten().collect();
    let mut sources: Vec<Box<str>> = sources.into_iter().map(|source| source.value).collect();
    if sources.is_empty() {
        sources.push("'none'".into());
    }
    Some(sources)
}
