//! `[runtime]`, `[admin]`, `[log]`, `[path]` and `[forwarded]`.

use std::num::NonZeroUsize;

use super::reader::Reader;
use super::table::{Table, bounded_integer};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{
    AccessLog, Admin, Backslash, Cores, DotSegments, Driver, EncodedSlash, Forwarded, ListenAddr,
    Log, LogFormat, LogLevel, PathPolicy, Runtime, TrailingSlash, Workers,
};
use crate::span::{Span, Spanned};

const AUTO: Kind = Kind::Choice(&["auto"]);

pub(crate) static RUNTIME: Section = Section {
    title: "[runtime]",
    doc: "Threads of the data plane. Each runs its own event loop and shares nothing with the \
          others.",
    keys: &[
        Key::default(
            "workers",
            Kind::Either(&[AUTO, Kind::Integer { min: 1, max: 1024 }]),
            "auto",
            "Number of data-plane threads; \"auto\" is one for each core that the process's \
             affinity mask and CPU quota allow.",
        ),
        Key::default(
            "cores",
            Kind::Either(&[AUTO, Kind::Text("a list of cores, such as \"0-3,8\"")]),
            "auto",
            "Which cores the workers are pinned to: worker i runs on the i-th core of the list. \
             \"auto\" takes the cores that the process may use, in order.",
        ),
        Key::default(
            "driver",
            Kind::Choice(Driver::WORDS),
            "auto",
            "How workers talk to the kernel; \"auto\" is io_uring, and epoll with a warning where \
             the kernel refuses it.",
        ),
        Key::default(
            "shutdown_grace",
            Kind::Duration {
                min: "0s",
                max: "1h",
            },
            "30s",
            "How long requests in flight may take to end after SIGTERM.",
        ),
        Key::default(
            "backlog",
            Kind::Integer {
                min: 1,
                max: 65_535,
            },
            "4096",
            "Length of each listening socket's accept queue; the kernel caps it at \
             `net.core.somaxconn`.",
        ),
    ],
};

pub(crate) static ADMIN: Section = Section {
    title: "[admin]",
    doc: "The admin API. It has no authentication: bind it to the loopback or a private network.",
    keys: &[
        Key::required(
            "listen",
            Kind::Text(super::listener::LISTEN),
            "Where `/metrics`, `/healthz`, `/readyz`, `/config` and `/upstreams` are served. A \
             Unix socket here is **not supported yet**.",
        ),
        Key::default(
            "hosts",
            Kind::List(&Kind::Text("a host name such as \"metrics.internal\"")),
            "[]",
            "Host names that requests may come under, beside IP addresses and `localhost`. \
             Others get 403, so that no web page reaches the API through a name of its own.",
        ),
    ],
};

pub(crate) static LOG: Section = Section {
    title: "[log]",
    doc: "The operational log goes to standard error, the access log where `access` says.",
    keys: &[
        Key::default(
            "level",
            Kind::Choice(LogLevel::WORDS),
            "info",
            "Least severe message of the operational log that is written.",
        ),
        Key::default(
            "access",
            Kind::Text("\"stdout\", \"off\" or a file path with a `/` in it"),
            "stdout",
            "Where access lines go. A file is opened for appending, relative to the working \
             directory.",
        ),
        Key::default(
            "format",
            Kind::Choice(LogFormat::WORDS),
            "json",
            "How access lines are written: one JSON object each, or the combined log format.",
        ),
    ],
};

pub(crate) static PATH: Section = Section {
    title: "[path]",
    doc: "How a request path is normalised before it is matched and forwarded. Unreserved \
          characters are always decoded and other escapes put in upper case, so that a route \
          sees one spelling of each path.",
    keys: &[
        Key::default(
            "encoded_slash",
            Kind::Choice(EncodedSlash::WORDS),
            "reject",
            "What `%2F` does: 400, stay as it is without ending a segment, or become a slash \
             before routes are matched.",
        ),
        Key::default(
            "backslash",
            Kind::Choice(Backslash::WORDS),
            "reject",
            "What `\\` and `%5C` do: 400, or become a slash.",
        ),
        Key::default(
            "merge_slashes",
            Kind::Bool,
            "true",
            "Whether `//` counts as `/`.",
        ),
        Key::default(
            "dot_segments",
            Kind::Choice(DotSegments::WORDS),
            "resolve",
            "What `.` and `..` segments do, plain or encoded: they are resolved (RFC 3986, section \
             5.2.4), or 400.",
        ),
        Key::default(
            "trailing_slash",
            Kind::Choice(TrailingSlash::WORDS),
            "strict",
            "Whether `/a` and `/a/` are the same path: they differ, they match the same routes, or \
             the one without a route is redirected (308) to the one that has it.",
        ),
    ],
};

pub(crate) static FORWARDED: Section = Section {
    title: "[forwarded]",
    doc: "What origins are told about the client, and who is believed about it.",
    keys: &[
        Key::default(
            "trusted",
            Kind::List(&Kind::Text("an IP network, such as \"10.0.0.0/8\"")),
            "[]",
            "Peers, such as a load balancer in front, whose `X-Forwarded-*`, `Forwarded` and \
             request id are believed and extended, and whose `X-Real-IP` is passed on; anybody \
             else's are replaced, and their `X-Real-IP` is removed.",
        ),
        Key::default(
            "x_forwarded",
            Kind::Bool,
            "true",
            "Whether origins get `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.",
        ),
        Key::default(
            "forwarded",
            Kind::Bool,
            "true",
            "Whether origins get `Forwarded` (RFC 7239).",
        ),
        Key::default(
            "via",
            Kind::Text("a name such as \"ringgate\", or \"off\""),
            "ringgate",
            "The name this gateway goes by in `Via` (RFC 9110, section 7.6.3); \"off\" adds no \
             `Via`.",
        ),
        Key::default(
            "request_id",
            Kind::Text("a header name such as \"x-request-id\", or \"off\""),
            "x-request-id",
            "The header that carries the request id to origins and back to clients; \"off\" adds \
             none.",
        ),
    ],
};

pub(crate) fn runtime(r: &mut Reader<'_>, table: Option<Table<'_>>, root: Span) -> Runtime {
    let at = |key| table.map_or(root, |t| t.span_of(key));
    let workers = table.and_then(|t| t.item("workers")).and_then(|item| {
        if item.is_string() && !item.is_reference() {
            let auto = r.parsed(&item, leaf::auto_workers);
            return auto.map(|_| Workers::Auto);
        }
        let count = bounded_integer(r, &item)?;
        let count = usize::try_from(count).ok().and_then(NonZeroUsize::new)?;
        Some(Workers::Count(count))
    });
    let cores = table.and_then(|t| t.item("cores")).and_then(|item| {
        let read = |text: &str| match text {
            "auto" => Ok(Cores::Auto),
            list => leaf::cores(list).map(Cores::List),
        };
        r.parsed(&item, read).map(|cores| cores.value)
    });
    let runtime = Runtime {
        workers: Spanned::new(workers.unwrap_or(Workers::Auto), at("workers")),
        cores: Spanned::new(cores.unwrap_or(Cores::Auto), at("cores")),
        driver: word(r, table, &RUNTIME, "driver"),
        shutdown_grace: match table {
            Some(t) => t.duration_or_default(r, "shutdown_grace"),
            None => RUNTIME.default_duration("shutdown_grace"),
        },
        backlog: match table {
            Some(t) => t.integer_or_default(r, "backlog"),
            None => RUNTIME.default_integer("backlog"),
        }
        .try_into()
        .unwrap_or(u32::MAX),
    };
    check_pinning(r, &runtime);
    runtime
}

fn check_pinning(r: &mut Reader<'_>, runtime: &Runtime) {
    let (Workers::Count(workers), Cores::List(cores)) = (*runtime.workers, &*runtime.cores) else {
        return;
    };
    if workers.get() > cores.len() {
        let message = format!(
            "{workers} workers cannot be pinned to {} cores",
            cores.len()
        );
        r.report(
            Diagnostic::error("impossible-limit", message, runtime.workers.span)
                .label("worker i runs on the i-th core of `cores`")
                .help("name a core for each worker, or leave `workers` at \"auto\"")
                .related(runtime.cores.span, "the cores"),
        );
    }
}

/// A word of a table that may be absent.
fn word<T: Word>(
    r: &mut Reader<'_>,
    table: Option<Table<'_>>,
    section: &'static Section,
    key: &'static str,
) -> T {
    match table {
        Some(table) => table.word_or_default(r, key),
        None => section.default_word(key),
    }
}

fn flag(
    r: &mut Reader<'_>,
    table: Option<Table<'_>>,
    section: &'static Section,
    key: &'static str,
) -> bool {
    match table {
        Some(table) => table.bool_or_default(r, key),
        None => section.default_bool(key),
    }
}

pub(crate) fn admin(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Admin> {
    let item = table.required(r, "listen")?;
    let listen = r.parsed(&item, leaf::listen)?;
    if let ListenAddr::Tcp(address) = &listen.value
        && address.ip().is_unspecified()
    {
        let message = "the admin API is open to every network of this machine";
        r.report(
            Diagnostic::warning("open-admin", message, listen.span)
                .label("anybody who reaches this address can read the configuration")
                .help("listen on \"127.0.0.1:9901\" or on an address of a private network"),
        );
    }
    if let ListenAddr::Unix(_) = &listen.value {
        r.unsupported("a Unix socket as `listen` of [admin]", listen.span);
    }
    let mut hosts = Vec::new();
    for item in table.list(r, "hosts") {
        let host = r.parsed(&item, leaf::admin_host);
        hosts.extend(host.map(|host| host.value));
    }
    Some(Admin { listen, hosts })
}

pub(crate) fn log(r: &mut Reader<'_>, table: Option<Table<'_>>) -> Log {
    let access = table.and_then(|t| {
        t.parsed(r, "access", |text| match text {
            "off" => Ok(AccessLog::Off),
            "stdout" => Ok(AccessLog::Stdout),
            path => leaf::log_path(path).map(AccessLog::File),
        })
    });
    Log {
        level: word(r, table, &LOG, "level"),
        access: access.map_or(AccessLog::Stdout, |access| access.value),
        format: word(r, table, &LOG, "format"),
    }
}

pub(crate) fn path(r: &mut Reader<'_>, table: Option<Table<'_>>) -> PathPolicy {
    PathPolicy {
        encoded_slash: word(r, table, &PATH, "encoded_slash"),
        backslash: word(r, table, &PATH, "backslash"),
        merge_slashes: flag(r, table, &PATH, "merge_slashes"),
        dot_segments: word(r, table, &PATH, "dot_segments"),
        trailing_slash: word(r, table, &PATH, "trailing_slash"),
    }
}

pub(crate) fn forwarded(r: &mut Reader<'_>, table: Option<Table<'_>>) -> Forwarded {
    let mut trusted = Vec::new();
    for item in table.map(|t| t.list(r, "trusted")).unwrap_or_default() {
        let Some(net) = r.parsed(&item, leaf::network) else {
            continue;
        };
        if net.value.prefix_len() == 0 {
            let message = "every client is trusted to say who it is";
            r.report(
                Diagnostic::warning("open-trust", message, net.span)
                    .label("this network is the whole internet")
                    .help("name the networks of the proxies in front of this gateway"),
            );
        }
        trusted.push(net);
    }
    let via = table.and_then(|t| t.parsed(r, "via", or_off(leaf::via)));
    let request_id = table.and_then(|t| {
        let name = t.parsed(r, "request_id", or_off(leaf::header_name))?;
        if let Some(help) = name.value.as_deref().and_then(leaf::untouchable) {
            let message = "the request id cannot be carried in this header";
            r.report(Diagnostic::error("forbidden-header", message, name.span).help(help));
        }
        Some(name)
    });
    Forwarded {
        trusted,
        x_forwarded: flag(r, table, &FORWARDED, "x_forwarded"),
        forwarded: flag(r, table, &FORWARDED, "forwarded"),
        via: via.map_or_else(
            || Some(Box::from(FORWARDED.default_text("via"))),
            |via| via.value,
        ),
        request_id: request_id.map_or_else(
            || Some(Box::from(FORWARDED.default_text("request_id"))),
            |id| id.value,
        ),
    }
}

/// `"off"`, or what a parser makes of the text.
fn or_off<T>(
    parse: impl FnOnce(&str) -> Result<T, leaf::Fault>,
) -> impl FnOnce(&str) -> Result<Option<T>, leaf::Fault> {
    |text| match text {
        "off" => Ok(None),
        text => parse(text).map(Some),
    }
}
