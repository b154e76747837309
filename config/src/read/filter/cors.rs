//! `type = "cors"` and `type = "csrf"`: which web origins' pages may read, and which may change
//! something.

use std::time::Duration;

use super::TYPE;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{Cors, Csrf, FilterKind, OriginPattern, Origins, WithoutOrigin};
use crate::read::reader::{Reader, quote};
use crate::read::table::{Item, Table};
use crate::span::{Span, Spanned};

const ORIGIN: &Kind = &Kind::Text("an origin such as \"https://app.example.com\"");

const REGEX: Kind = Kind::Text("a regular expression such as 'https://pr-[0-9]+\\.example\\.com'");

const HEADER: &Kind = &Kind::Text("a header name, or \"*\"");

pub(super) static CORS: Section = Section {
    title: "[filter.NAME] of type \"cors\"",
    doc: "Lets pages of other origins read what the routes answer. Preflights are answered here, \
          before any other filter is asked. What the origin server says of CORS is replaced. An \
          origin that is not listed gets no CORS headers, and its browser keeps the answer from \
          the page.",
    keys: &[
        TYPE,
        Key::default(
            "origins",
            Kind::List(ORIGIN),
            "[]",
            "Origins whose pages may read: whole ones, all hosts below a name \
             (\"https://*.example.com\"), all ports of a host (\"http://localhost:*\"), \"null\", \
             or \"*\" for every page in the world.",
        ),
        Key::optional(
            "origin_regex",
            REGEX,
            "Origins that it matches from their first to their last character are allowed too.",
        ),
        Key::default(
            "methods",
            Kind::List(&Kind::Text("a method, or \"*\"")),
            "[\"GET\", \"HEAD\", \"POST\"]",
            "Methods that pages may use.",
        ),
        Key::default(
            "headers",
            Kind::List(HEADER),
            "[]",
            "Request headers that pages may set beyond those that every page may. \"*\" is all \
             but `Authorization`.",
        ),
        Key::default(
            "expose_headers",
            Kind::List(HEADER),
            "[]",
            "Response headers that pages may read beyond the few that every page may.",
        ),
        Key::default(
            "credentials",
            Kind::Bool,
            "false",
            "Whether browsers may send cookies and other credentials along.",
        ),
        Key::default(
            "max_age",
            Kind::Duration {
                min: "0s",
                max: "1d",
            },
            "10m",
            "How long a browser may go without asking again, in whole seconds. Browsers cap it at \
             two hours or a day.",
        ),
        Key::default(
            "allow_private_network",
            Kind::Bool,
            "false",
            "Whether pages of public networks may ask a gateway in a private one.",
        ),
        Key::default(
            "refuse",
            Kind::Bool,
            "false",
            "Whether requests of other origins get 403 (`cross_site`) instead of an answer that \
             their browser hides. The gateway's own origin is none of the others.",
        ),
    ],
};

pub(super) static CSRF: Section = Section {
    title: "[filter.NAME] of type \"csrf\"",
    doc: "Refuses requests that pages of other sites make a browser send, with 403 and the code \
          `cross_site`: requests of every method but GET, HEAD and OPTIONS, and WebSocket \
          handshakes. `Sec-Fetch-Site` and `Origin` have to say that a page of the gateway's own \
          origin asks, or one of those listed here.",
    keys: &[
        TYPE,
        Key::default(
            "origins",
            Kind::List(ORIGIN),
            "[]",
            "Origins that may ask beside the gateway's own.",
        ),
        Key::optional(
            "origin_regex",
            REGEX,
            "Origins that it matches from their first to their last character may ask too.",
        ),
        Key::default(
            "referer",
            Kind::Bool,
            "false",
            "Whether `Referer` is asked where neither of the two headers is there.",
        ),
        Key::default(
            "without_origin",
            Kind::Choice(WithoutOrigin::WORDS),
            "no_cookie",
            "What becomes of requests that do not say where they come from, which no current \
             browser sends: \"no_cookie\" lets those pass that carry no cookie.",
        ),
    ],
};

pub(super) fn cors(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let origins = origins(r, table);
    if origins.listed.is_empty() && origins.regex.is_none() {
        nothing_allowed(r, table);
        return None;
    }
    let names = |r: &mut Reader<'_>, key| -> Vec<Box<str>> {
        let items = table.list(r, key);
        let names = items.iter().map(|item| r.parsed(item, leaf::header_name));
        names.flatten().map(|name| name.value).collect()
    };
    let filter = Cors {
        methods: methods(r, table),
        headers: names(r, "headers"),
        expose_headers: names(r, "expose_headers"),
        credentials: table.bool_or_default(r, "credentials"),
        max_age: whole_seconds(table.duration_or_default(r, "max_age")),
        private_network: table.bool_or_default(r, "allow_private_network"),
        refuse: table.bool_or_default(r, "refuse"),
        origins,
    };
    if filter.credentials {
        with_credentials(r, table, &filter);
    }
    Some(FilterKind::Cors(Box::new(filter)))
}

pub(super) fn csrf(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let origins = origins(r, table);
    for origin in &origins.listed {
        let (message, label) = match origin.value {
            OriginPattern::Any => (
                "a filter against cross-site requests that allows every site",
                "every page in the world may make browsers send requests",
            ),
            OriginPattern::Null => (
                "a filter against cross-site requests that allows `null`",
                "every site can make a page of this origin, in a sandboxed frame",
            ),
            _ => continue,
        };
        r.report(
            Diagnostic::error("dangerous-origin", message, origin.span)
                .label(label)
                .help("name the origins whose pages may change something"),
        );
    }
    Some(FilterKind::Csrf(Box::new(Csrf {
        origins,
        referer: table.bool_or_default(r, "referer"),
        without_origin: table.word_or_default(r, "without_origin"),
    })))
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn nothing_allowed(r: &mut Reader<'_>, table: &Table<'_>) {
    // A faulty list has been reported already.
    let written = ["origins", "origin_regex"].map(|key| table.item(key));
    let is_faulty = written.into_iter().flatten().any(|item| {
        let array = item.value.get_ref().as_array();
        array.is_none_or(|all| !all.is_empty())
    });
    if !is_faulty {
        r.report(
            Diagnostic::error("no-effect", "a cors filter that allows nobody", table.span)
                .label("neither `origins` nor `origin_regex` names an origin")
                .help("add for example origins = [\"https://app.example.com\"]"),
        );
    }
}

fn methods(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Box<str>> {
    match table.item("methods") {
        None => ["GET", "HEAD", "POST"].map(Box::from).into(),
        Some(item) => {
            let items = r.list(&item).unwrap_or_default();
            let methods = items.iter().map(|item| r.parsed(item, leaf::method));
            methods.flatten().map(|method| method.value).collect()
        }
    }
}

fn origins(r: &mut Reader<'_>, table: &Table<'_>) -> Origins {
    let mut listed: Vec<Spanned<OriginPattern>> = Vec::new();
    for item in table.list(r, "origins") {
        listed.extend(r.parsed(&item, leaf::origin));
    }
    let any = listed
        .iter()
        .find(|origin| origin.value == OriginPattern::Any);
    if let Some(any) = any.cloned()
        && let Some(other) = listed
            .iter()
            .find(|origin| origin.value != OriginPattern::Any)
    {
        r.report(
            Diagnostic::warning("no-effect", "origins beside \"*\"", other.span)
                .label("\"*\" allows this one already")
                .related(any.span, "all of them"),
        );
    }
    let regex = table.item("origin_regex");
    Origins {
        regex: regex.and_then(|item| regex_of(r, &item)),
        listed,
    }
}

/// Origins that no expression should match by accident.
const STRANGERS: &[&str] = &["https://stranger.invalid", "http://stranger.invalid"];

fn regex_of(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<Box<str>>> {
    let text = r.text(item)?;
    let pattern = &text.value.value;
    let matched = match r.checks.origin(pattern, STRANGERS) {
        Ok(matched) => matched,
        Err(fault) => {
            r.refuse_pattern("regular expression", &text, fault);
            return None;
        }
    };
    let warning = |what: &str, label: &str, help: &str, span| {
        Diagnostic::warning("lookalike-origin", what, span)
            .label(label)
            .help(help)
    };
    if matched {
        let what = "`origin_regex` matches origins of anybody";
        let label = "matches `https://stranger.invalid`";
        let help = "write out the domain, with `\\.` for its dots";
        r.report(warning(what, label, help, text.span));
    } else if let Some((range, label)) = lookalike(pattern) {
        let span = r.part_of(text.span, pattern, range);
        let what = format!(
            "{} also matches names that look alike",
            quote(text.value.shown())
        );
        let help = "write `\\.` for a dot, and `[a-z0-9-]+\\.` for a label in front of a domain";
        r.report(warning(&what, label, help, span));
    }
    Some(Spanned::new(pattern.clone(), text.span))
}

/// Where an expression takes more than who wrote it is likely to have meant.
fn lookalike(pattern: &str) -> Option<(std::ops::Range<usize>, &'static str)> {
    let bytes = pattern.as_bytes();
    let end = pattern.strip_suffix('$').unwrap_or(pattern);
    if end.ends_with(".*") || end.ends_with(".+") {
        let at = end.len() - 2;
        return Some((at..end.len(), "anybody may own what follows here"));
    }
    let (mut at, mut in_class) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'.' if !in_class => match (bytes.get(at + 1), bytes.get(at + 2)) {
                (Some(b'*' | b'+'), Some(next)) if next.is_ascii_alphanumeric() => {
                    let label = "the name may begin before this: `notexample.com`";
                    return Some((at..at + 2, label));
                }
                (Some(next), _) if next.is_ascii_alphanumeric() || *next == b'(' => {
                    return Some((at..at + 1, "matches any character, not only a dot"));
                }
                _ => {}
            },
            _ => {}
        }
        at += 1;
    }
    None
}

/// What would hand a user's session to a page that nobody meant.
fn with_credentials(r: &mut Reader<'_>, table: &Table<'_>, filter: &Cors) {
    for origin in &filter.origins.listed {
        match &origin.value {
            OriginPattern::Any => r.report(dangerous(
                "`credentials` with every origin",
                "any page in the world could act as its visitor",
                "name the origins",
                origin.span,
            )),
            OriginPattern::Null => r.report(dangerous(
                "`credentials` with the origin `null`",
                "every site can make a page of this origin, in a sandboxed frame",
                "remove it, or `credentials`",
                origin.span,
            )),
            pattern if is_plain(pattern) => r.report(
                Diagnostic::warning(
                    "plain-origin",
                    "`credentials` with an origin of plain HTTP",
                    origin.span,
                )
                .label("whoever is on the way to it can write its pages, and act as the user")
                .help("allow its https:// origin instead"),
            ),
            _ => {}
        }
    }
    for (key, has_all) in [
        ("methods", filter.methods.iter().any(|name| **name == *"*")),
        ("headers", filter.headers.iter().any(|name| **name == *"*")),
        (
            "expose_headers",
            filter.expose_headers.iter().any(|name| **name == *"*"),
        ),
    ] {
        if has_all {
            r.report(dangerous(
                &format!("`credentials` with \"*\" in `{key}`"),
                "with credentials, browsers take it for a name",
                "write out what pages use",
                table.span_of(key),
            ));
        }
    }
}

fn dangerous(message: &str, label: &str, help: &str, span: Span) -> Diagnostic {
    Diagnostic::error("dangerous-origin", message, span)
        .label(label)
        .help(help)
}

/// Whether the way to an origin is open to others; that of one's own machine is not.
fn is_plain(pattern: &OriginPattern) -> bool {
    let (scheme, host) = match pattern {
        OriginPattern::Exact(text) => text.split_once("://").unwrap_or_default(),
        OriginPattern::Hosts(hosts) => (&*hosts.scheme, &*hosts.host),
        OriginPattern::Any | OriginPattern::Null => return false,
    };
    let host = match host.strip_prefix('[') {
        Some(_) => host,
        None => host.split(':').next().unwrap_or(host),
    };
    let is_here = host == "localhost" || host == "127.0.0.1" || host.starts_with("[::1]");
    scheme == "http" && !is_here && !host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_match_lookalikes_are_seen() {
        for pattern in [
            "https://app.example\\.com",
            "https://.*example\\.com",
            "https://example\\.com.*",
            "https://example\\.com.*$",
            "https://example.(com|org)",
        ] {
            assert!(lookalike(pattern).is_some(), "{pattern}");
        }
        for pattern in [
            "https://[a-z0-9-]+\\.example\\.com",
            "https://.*\\.example\\.com",
            "https://[a-z.]+\\.example\\.com(:[0-9]+)?",
        ] {
            assert_eq!(lookalike(pattern), None, "{pattern}");
        }
    }
}
