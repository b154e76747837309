//! `[filter.NAME]`.

mod address;
mod cors;
mod limiter;
mod security_headers;
mod trial;

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::access;
use super::oauth;
use super::reader::{Reader, quote};
use super::table::{Item, Table, entries_of};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Stage, Variant};
use crate::leaf;
use crate::model::{
    BodyLimit, Field, Filter, FilterKind, HeaderEdits, HeaderFilter, HeaderName, PathRewrite,
};
use crate::nearest::nearest;
use crate::span::Spanned;

pub(crate) const TYPE: Key = Key::required(
    "type",
    Kind::Text("a filter type, in quotes"),
    "Which filter this is; it decides the other keys.",
);

const VALUE: &Kind = &Kind::Text("a header value");

const NAME: Kind = Kind::Text("a header name");

static EDITS: Section = Section {
    title: "the edits of a headers filter",
    doc: "Changes to one head, in the order remove, set, add. `content-length`, \
          `transfer-encoding`, `connection` and the other fields that frame messages or belong \
          to one connection cannot be named here, nor can `host`.",
    keys: &[
        Key::optional(
            "set",
            Kind::Map(VALUE),
            "Headers that replace all of their name.",
        ),
        Key::optional(
            "add",
            Kind::Map(VALUE),
            "Headers added beside those of their name.",
        ),
        Key::optional(
            "remove",
            Kind::List(&NAME),
            "Names whose headers are dropped.",
        ),
    ],
};

static HEADERS: Section = Section {
    title: "[filter.NAME] of type \"headers\"",
    doc: "Sets, adds and removes headers.",
    keys: &[
        TYPE,
        Key::optional(
            "request",
            Kind::Table(&EDITS),
            "Applied before the request is sent upstream.",
        ),
        Key::optional(
            "response",
            Kind::Table(&EDITS),
            "Applied before the response is sent to the client.",
        ),
    ],
};

static REWRITE: Section = Section {
    title: "[filter.NAME] of type \"rewrite\"",
    doc: "Changes the path before the request is sent upstream; the query stays. Either `path`, \
          or one or both of the prefixes.",
    keys: &[
        TYPE,
        Key::optional(
            "path",
            Kind::Text("a path template such as \"/v2/users/{rest}\""),
            "The whole new path, with the captures of each route that uses the filter.",
        ),
        Key::optional(
            "strip_prefix",
            Kind::Text("a path such as \"/api\""),
            "Taken off the front of the path, where it ends a segment.",
        ),
        Key::optional(
            "add_prefix",
            Kind::Text("a path such as \"/v2\""),
            "Put in front of the path, after `strip_prefix` is taken off.",
        ),
    ],
};

static BODY_LIMIT: Section = Section {
    title: "[filter.NAME] of type \"body_limit\"",
    doc: "Refuses long request bodies with 413, beside `limits.body_max`.",
    keys: &[
        TYPE,
        Key::required(
            "max",
            Kind::Size {
                min: "0B",
                max: "1024GiB",
            },
            "Bytes of a request body; \"0B\" allows none.",
        ),
    ],
};

static GRPC_WEB: Section = Section {
    title: "[filter.NAME] of type \"grpc_web\"",
    doc: "Translates gRPC-Web, which is what browsers can speak, to gRPC and its answers back: the \
          binary and the text form (`application/grpc-web` and `application/grpc-web-text`). Other \
          requests pass as they came. The upstream must speak HTTP/2.",
    keys: &[TYPE],
};

const fn now(tag: &'static str, section: &'static Section) -> Variant {
    Variant {
        tag,
        section,
        stage: Stage::Now,
    }
}

/// Every filter type.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        tag: "headers",
        section: &HEADERS,
        stage: Stage::Now,
    },
    Variant {
        tag: "rewrite",
        section: &REWRITE,
        stage: Stage::Now,
    },
    Variant {
        tag: "body_limit",
        section: &BODY_LIMIT,
        stage: Stage::Now,
    },
    Variant {
        tag: "grpc_web",
        section: &GRPC_WEB,
        stage: Stage::Now,
    },
    Variant {
        tag: "rate_limit",
        section: &limiter::RATE_LIMIT,
        stage: Stage::Now,
    },
    Variant {
        tag: "quota",
        section: &limiter::QUOTA,
        stage: Stage::Now,
    },
    Variant {
        tag: "concurrency_limit",
        section: &limiter::CONCURRENCY_LIMIT,
        stage: Stage::Now,
    },
    Variant {
        tag: "fault",
        section: &trial::FAULT,
        stage: Stage::Now,
    },
    Variant {
        tag: "maintenance",
        section: &trial::MAINTENANCE,
        stage: Stage::Now,
    },
    now("address", &address::ADDRESS),
    now("cors", &cors::CORS),
    now("security_headers", &security_headers::SECURITY_HEADERS),
    now("csrf", &cors::CSRF),
    Variant {
        tag: "api_key",
        section: &access::API_KEY,
        stage: Stage::Now,
    },
    Variant {
        tag: "jwt",
        section: &access::JWT,
        stage: Stage::Now,
    },
    Variant {
        tag: "basic",
        section: &access::BASIC,
        stage: Stage::Now,
    },
    Variant {
        tag: "mtls",
        section: &access::MTLS,
        stage: Stage::Now,
    },
    Variant {
        tag: "authorize",
        section: &access::AUTHORIZE,
        stage: Stage::Now,
    },
    Variant {
        tag: "introspection",
        section: &access::INTROSPECTION,
        stage: Stage::Now,
    },
    Variant {
        tag: "client_credentials",
        section: &oauth::CLIENT_CREDENTIALS,
        stage: Stage::Now,
    },
    Variant {
        tag: "forward_auth",
        section: &access::FORWARD_AUTH,
        stage: Stage::Now,
    },
    Variant {
        tag: "any_of",
        section: &access::ANY_OF,
        stage: Stage::Now,
    },
    Variant {
        tag: "all_of",
        section: &access::ALL_OF,
        stage: Stage::Now,
    },
];

static ANY: Kind = Kind::Tagged(VARIANTS);

/// Reads `[filter]`, whose keys are the filters' names.
pub(crate) fn filters(r: &mut Reader<'_>, item: &Item<'_>, out: &mut Vec<Filter>) {
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(item);
        return;
    };
    for (span, entry) in entries_of(item.file, entries, &ANY) {
        let name = match leaf::name(entry.name) {
            Ok(name) => Some(Spanned::new(name, span)),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                None
            }
        };
        if !entry.is_table() {
            r.report(
                Diagnostic::error(
                    "wrong-type",
                    "filters are tables under names of your choice",
                    span,
                )
                .label("this would be a filter's name")
                .help("write [filter.NAME] and put `type` and the other keys below it"),
            );
            continue;
        }
        // A filter with errors keeps its name, so that its routes do not seem wrong as well.
        let kind = filter(r, &entry).unwrap_or(FilterKind::Invalid);
        out.extend(name.map(|name| Filter { name, kind }));
    }
}

fn filter(r: &mut Reader<'_>, entry: &Item<'_>) -> Option<FilterKind> {
    let entries = entry.value.get_ref().as_table()?;
    let Some(value) = entries.get("type") else {
        let types: Vec<&str> = VARIANTS.iter().map(|variant| variant.tag).collect();
        let message = format!("filter {} has no `type`", quote(entry.name));
        r.report(
            Diagnostic::error("missing-key", message, entry.span())
                .label("`type` is missing")
                .help(format!("add `type`: {}", crate::keys::words_or(&types))),
        );
        return None;
    };
    let item = Item {
        value,
        name: "type",
        kind: &TYPE.kind,
        file: entry.file,
    };
    let text = r.text(&item)?;
    let Some(variant) = VARIANTS.iter().find(|v| *v.tag == *text.value.value) else {
        let types: Vec<&str> = VARIANTS.iter().map(|variant| variant.tag).collect();
        let help = match nearest(&text.value.value, types.iter().copied()) {
            Some(near) if !text.is_expanded() => format!("did you mean \"{near}\"?"),
            _ => format!("known types: {}", crate::keys::words_or(&types)),
        };
        let message = format!("unknown filter type {}", quote(text.shown()));
        r.report(
            Diagnostic::error("unknown-filter-type", message, text.span)
                .label("no filter has this type")
                .help(help),
        );
        return None;
    };
    if variant.stage == Stage::Later {
        r.unsupported(
            &format!("`type = \"{}\"` of a filter", variant.tag),
            text.span,
        );
    }
    let table = r.open(entry, variant.section)?;
    match variant.tag {
        "headers" => Some(FilterKind::Headers(headers(r, &table))),
        "rewrite" => rewrite(r, &table).map(FilterKind::Rewrite),
        "body_limit" => {
            let item = table.required(r, "max")?;
            let max = r.size(&item)?;
            Some(FilterKind::BodyLimit(BodyLimit { max }))
        }
        "grpc_web" => Some(FilterKind::GrpcWeb),
        "rate_limit" => limiter::rate_limit(r, &table),
        "quota" => limiter::quota(r, &table),
        "concurrency_limit" => limiter::concurrency_limit(r, &table),
        "fault" => trial::fault(r, &table),
        "maintenance" => trial::maintenance(r, &table),
        "api_key" => access::api_key(r, &table),
        "jwt" => access::jwt(r, &table),
        "basic" => access::basic(r, &table),
        "mtls" => access::mtls(r, &table),
        "authorize" => access::authorize(r, &table),
        "introspection" => access::introspection(r, &table),
        "client_credentials" => oauth::client_credentials(r, &table),
        "forward_auth" => access::forward_auth(r, &table),
        "any_of" => access::any_of(r, &table),
        "all_of" => access::all_of(r, &table),
        "address" => address::address(r, &table),
        "cors" => cors::cors(r, &table),
        "security_headers" => security_headers::security_headers(r, &table),
        "csrf" => cors::csrf(r, &table),
        tag => {
            debug_assert!(false, "nothing reads {tag}");
            None
        }
    }
}

fn headers(r: &mut Reader<'_>, table: &Table<'_>) -> HeaderFilter {
    let filter = HeaderFilter {
        request: table
            .table(r, "request")
            .map(|t| edits(r, &t))
            .unwrap_or_default(),
        response: table
            .table(r, "response")
            .map(|t| edits(r, &t))
            .unwrap_or_default(),
    };
    if table.item("request").is_none() && table.item("response").is_none() {
        r.report(
            Diagnostic::error(
                "no-effect",
                "a headers filter that changes nothing",
                table.span,
            )
            .label("neither `request` nor `response` is written")
            .help("add for example request.set = { x-gateway = \"ringgate\" }"),
        );
    }
    filter
}

fn edits(r: &mut Reader<'_>, table: &Table<'_>) -> HeaderEdits {
    let set = fields(r, table, "set");
    let add = fields(r, table, "add");
    let mut remove: Vec<Spanned<HeaderName>> = Vec::new();
    for item in table.list(r, "remove") {
        let Some(name) = r.parsed(&item, leaf::header_name) else {
            continue;
        };
        if !is_touchable(r, &name) {
            continue;
        }
        if let Some(other) = set.iter().find(|field| field.name == name) {
            r.report(
                Diagnostic::error(
                    "conflicting-edit",
                    format!("{} is both set and removed", quote(&name)),
                    name.span,
                )
                .label("`set` replaces all headers of a name already")
                .help("keep one of the two")
                .related(other.name.span, "set here"),
            );
        }
        remove.push(name);
    }
    HeaderEdits { set, add, remove }
}

/// Reads a table of header names and values; reports framing fields and names written twice.
pub(crate) fn fields(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> Vec<Field> {
    let Some(item) = table.item(key) else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut seen: BTreeMap<HeaderName, crate::Span> = BTreeMap::new();
    let mut fields = Vec::new();
    for (span, entry) in entries_of(item.file, entries, VALUE) {
        let name = match leaf::header_name(entry.name) {
            Ok(name) => Spanned::new(name, span),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        if let Some(first) = seen.insert(name.value.clone(), span) {
            r.report(
                Diagnostic::error(
                    "duplicate-header",
                    format!("header {} is written twice", quote(&name)),
                    span,
                )
                .label("header names do not depend on case")
                .related(first, "also here"),
            );
        }
        let value = match leaf::is_credential(&name) {
            true => r.hidden(&entry, leaf::header_value),
            false => r.parsed(&entry, leaf::header_value),
        };
        if is_touchable(r, &name)
            && let Some(value) = value
        {
            fields.push(Field { name, value });
        }
    }
    fields
}

pub(super) fn is_touchable(r: &mut Reader<'_>, name: &Spanned<HeaderName>) -> bool {
    let Some(help) = leaf::untouchable(name) else {
        return true;
    };
    r.report(
        Diagnostic::error(
            "forbidden-header",
            format!("{} cannot be changed here", quote(name)),
            name.span,
        )
        .label("decides where a message ends or which connection it uses")
        .help(help),
    );
    false
}

fn rewrite(r: &mut Reader<'_>, table: &Table<'_>) -> Option<PathRewrite> {
    let template = table.item("path");
    let strip = table.item("strip_prefix");
    let add = table.item("add_prefix");
    if let Some(template) = template {
        if let Some(prefix) = strip.or(add) {
            r.report(
                Diagnostic::error(
                    "conflicting-keys",
                    format!("`path` and `{}` exclude each other", prefix.name),
                    prefix.span(),
                )
                .label("`path` is the whole new path already")
                .related(template.span(), "`path`"),
            );
        }
        let path = r.parsed(&template, leaf::template)?;
        return Some(PathRewrite::Template(path));
    }
    if strip.is_none() && add.is_none() {
        r.report(
            Diagnostic::error(
                "no-effect",
                "a rewrite filter that changes nothing",
                table.span,
            )
            .label("neither `path`, `strip_prefix` nor `add_prefix` is written")
            .help("add for example strip_prefix = \"/api\""),
        );
        return None;
    }
    let mut prefix = |item: Option<Item<'_>>| match item {
        Some(item) => r.parsed(&item, leaf::prefix).map(|prefix| prefix.value),
        None => Some(Box::from("")),
    };
    let (strip, add) = (prefix(strip), prefix(add));
    Some(PathRewrite::Prefix {
        strip: strip?,
        add: add?,
    })
}
