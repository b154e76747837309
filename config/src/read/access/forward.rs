//! `type = "forward_auth"`, and what all filters have in common that ask a service.

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{
    AnswerCache, AuthScheme, Authentication, FilterKind, ForwardAuth, HeaderName, KeyPart,
    OnFailure, Otherwise, Service,
};
use crate::read::filter::TYPE;
use crate::read::policy::{KEY, key};
use crate::read::reader::{Reader, quote};
use crate::read::table::{Table, add_distinct};
use crate::span::Spanned;

const NAME: Kind = Kind::Text("a header name");

/// Of every filter that asks a service.
pub(super) const UPSTREAM: Key = Key::required(
    "upstream",
    Kind::Text("the name of an upstream"),
    "Through which the service is asked.",
);

/// Of every filter that asks a service.
pub(super) const PATH: Key = Key::required(
    "path",
    Kind::Text("a path such as \"/verify\""),
    "Path and query of the question.",
);

/// Of every filter that asks a service.
pub(super) const HOST: Key = Key::optional(
    "host",
    Kind::Text("a host such as \"auth.internal\""),
    "`Host` of the question; without it, the upstream's first endpoint.",
);

/// Of every filter that asks a service.
pub(super) const TIMEOUT: Key = Key::default(
    "timeout",
    Kind::Duration {
        min: "100ms",
        max: "1m",
    },
    "2s",
    "How long a request waits for an answer.",
);

/// Of every filter that asks a service.
pub(super) const ANSWER_MAX: Key = Key::default(
    "answer_max",
    Kind::Size {
        min: "1KiB",
        max: "1MiB",
    },
    "64KiB",
    "Bytes of an answer's body; a longer answer is none.",
);

pub(crate) static FORWARD_AUTH: Section = Section {
    title: "[filter.NAME] of type \"forward_auth\"",
    doc: "Asks a service of your own about each request, by a `GET` without body. 2xx lets it \
          pass; any other answer below 500 is the client's. The service is told of the request by \
          `x-forwarded-method`, `-host`, `-uri`, `-for` and `-proto`, which are the gateway's own \
          words, and by `request_headers`.",
    keys: &[
        TYPE,
        UPSTREAM,
        PATH,
        HOST,
        TIMEOUT,
        ANSWER_MAX,
        Key::default(
            "request_headers",
            Kind::List(&NAME),
            "[\"authorization\", \"cookie\"]",
            "Headers of the request that the service gets.",
        ),
        Key::default(
            "response_headers",
            Kind::List(&NAME),
            "[]",
            "Headers of the service's answer that the origin gets. What clients send under these \
             names is taken out, on all routes, unless a service is to see it.",
        ),
        Key::default(
            "client_headers",
            Kind::List(&NAME),
            "[\"www-authenticate\", \"location\", \"set-cookie\", \"content-type\"]",
            "Headers of the service's answer that the client gets when it is refused.",
        ),
        Key::default(
            "on_failure",
            Kind::Choice(OnFailure::WORDS),
            "refuse",
            "What becomes of requests while the service does not answer, or says nothing clear: \
             503, or they pass **without anybody having looked**.",
        ),
        Key::optional(
            "cache",
            Kind::Table(&CACHE),
            "Answers are kept; without this, every request is a question.",
        ),
        Key::optional(
            "subject_header",
            NAME,
            "Header of the answer with what the caller is called.",
        ),
        Key::optional(
            "consumer_header",
            NAME,
            "Header of the answer with the consumer's name.",
        ),
        Key::optional(
            "groups_header",
            NAME,
            "Header of the answer with the caller's groups, with commas between them.",
        ),
        Key::default(
            "hide",
            Kind::Bool,
            "false",
            "Whether `request_headers` are taken out of what the origin gets.",
        ),
    ],
};

static CACHE: Section = Section {
    title: "`cache` of a forward_auth filter",
    doc: "Which answers of the service hold for other requests. Answers with `set-cookie` or \
          `cache-control: no-store` never do.",
    keys: &[
        Key::required(
            "key",
            KEY,
            "Requests that have the same of all of this share an answer, whatever else they ask \
             for: name \"method\", \"host\" and \"path\" where the service looks at them. A request \
             that lacks a part is asked about by itself. The query counts only parameter by \
             parameter.",
        ),
        Key::default(
            "ttl",
            Kind::Duration {
                min: "1s",
                max: "1h",
            },
            "30s",
            "How long an answer is good: who is shut out meanwhile still passes.",
        ),
        Key::default(
            "max",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "10000",
            "Answers that each worker keeps.",
        ),
    ],
};

/// Who is asked.
pub(super) fn service(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Service> {
    let upstream = table.required(r, "upstream");
    let upstream = upstream.and_then(|item| r.name(&item));
    let path = table.required(r, "path");
    let path = path.and_then(|item| r.parsed(&item, leaf::absolute_path));
    let host = table.parsed(r, "host", leaf::authority);
    Some(Service {
        upstream: upstream?,
        path: path?.value,
        host: host.map(|host| host.value),
        timeout: table.duration_or_default(r, "timeout"),
        answer_max: table.size_or_default(r, "answer_max"),
    })
}

pub(crate) fn forward_auth(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let service = service(r, table);
    let cache = table.table(r, "cache").map(|table| cache(r, &table));
    let request_headers = headers(r, table, "request_headers", &REQUEST_HEADERS);
    let response_headers = headers(r, table, "response_headers", &[]);
    let client_headers = headers(r, table, "client_headers", &CLIENT_HEADERS);
    let on_failure: OnFailure = table.word_or_default(r, "on_failure");
    if on_failure == OnFailure::Allow {
        let message = "whoever stops the service may come in";
        r.report(
            Diagnostic::warning("fails-open", message, table.span_of("on_failure"))
                .label("requests pass unchecked while it does not answer")
                .help("remove it, unless the origin asks for credentials itself"),
        );
    }
    let mut name = |key| {
        let name = table.parsed(r, key, leaf::header_name);
        name.map(|name| name.value)
    };
    let (subject_header, consumer_header) = (name("subject_header"), name("consumer_header"));
    let groups_header = name("groups_header");
    let hide = table.bool_or_default(r, "hide");
    let cache = match cache {
        Some(None) => return None,
        Some(cache) => cache,
        None => None,
    };
    Some(FilterKind::Authentication(Box::new(Authentication {
        scheme: AuthScheme::Forward(Box::new(ForwardAuth {
            service: service?,
            request_headers,
            response_headers,
            client_headers,
            on_failure,
            cache,
            subject_header,
            consumer_header,
            groups_header,
        })),
        // The service decides about requests without credentials as well.
        otherwise: Otherwise::Refuse,
        realm: Box::default(),
        hide,
        claims: Vec::new(),
    })))
}

const REQUEST_HEADERS: [&str; 2] = ["authorization", "cookie"];
const CLIENT_HEADERS: [&str; 4] = ["www-authenticate", "location", "set-cookie", "content-type"];

fn cache(r: &mut Reader<'_>, table: &Table<'_>) -> Option<AnswerCache> {
    let item = table.required(r, "key")?;
    let key = key(r, &item)?;
    let tells_callers_apart = |part: &Spanned<KeyPart>| {
        !matches!(
            part.value,
            KeyPart::Route | KeyPart::Host | KeyPart::Path | KeyPart::Method | KeyPart::Capture(_)
        )
    };
    if !key.iter().any(tells_callers_apart) {
        r.report(
            Diagnostic::error(
                "contradiction",
                "answers that are for everybody",
                item.span(),
            )
            .label("what one caller may, all others could")
            .help("name what the service knows callers by, such as \"header:authorization\""),
        );
        return None;
    }
    Some(AnswerCache {
        key,
        ttl: table.duration_or_default(r, "ttl"),
        entries_max: table.integer_or_default(r, "max").unsigned_abs(),
    })
}

/// Names of headers that go from one message into another.
fn headers(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    usual: &[&str],
) -> Vec<HeaderName> {
    if table.item(key).is_none() {
        return usual.iter().map(|name| Box::from(*name)).collect();
    }
    let mut names: Vec<Spanned<HeaderName>> = Vec::new();
    for item in table.list(r, key) {
        let Some(name) = r.parsed(&item, leaf::header_name) else {
            continue;
        };
        if let Some(help) = forbidden(&name.value) {
            let message = format!("{} cannot be passed on here", quote(&name));
            r.report(
                Diagnostic::error("forbidden-header", message, name.span)
                    .label("is the gateway's own")
                    .help(help),
            );
            continue;
        }
        add_distinct(r, &mut names, name, "header");
    }
    names.into_iter().map(|name| name.value).collect()
}

fn forbidden(name: &str) -> Option<&'static str> {
    let told = name.starts_with("x-forwarded-") || name.starts_with("x-client-cert-");
    match told || name == "forwarded" || name == "via" {
        true => Some("the gateway says itself what is known of the client; remove this entry"),
        false => leaf::untouchable(name),
    }
}
