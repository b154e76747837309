//! `[upstream.health]`: how endpoints are checked, and that its keys suit each other.

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{HealthCheck, HealthKind, HealthQuestion, UpstreamProtocol};
use crate::read::reader::Reader;
use crate::read::table::{Table, bounded_integer, no_entries};

pub(crate) static HEALTH: Section = Section {
    title: "[upstream.health]",
    doc: "Active health checks. The control plane asks each endpoint; one that fails gets no new \
          requests until it has recovered. While all of an upstream fail, all are used.",
    keys: &[
        Key::default(
            "type",
            Kind::Choice(HealthKind::WORDS),
            "http",
            "What is asked: a GET of `path`, over TLS where the upstream has it; the Check call of \
             gRPC's health protocol, which is good when the answer is SERVING; or only whether a \
             TCP connection can be opened.",
        ),
        Key::optional(
            "path",
            Kind::Text("a path such as \"/healthz\""),
            "What is asked for. Required for \"http\", not allowed otherwise.",
        ),
        Key::optional(
            "expect",
            Kind::List(&STATUS),
            "The statuses that are good, for \"http\"; any 2xx without it.",
        ),
        Key::optional(
            "body",
            Kind::Text("a text of 1 to 1024 bytes"),
            "A text that must be in the first 64 KiB of a good answer, for \"http\".",
        ),
        Key::optional(
            "service",
            Kind::Text("a service such as \"users.v1.Users\""),
            "The service that is asked about, for \"grpc\"; the server as a whole without it.",
        ),
        Key::default(
            "interval",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "2s",
            "From one check to the next, and up to a tenth longer.",
        ),
        Key::default(
            "timeout",
            Kind::Duration {
                min: "10ms",
                max: "1m",
            },
            "1s",
            "For a whole check: connection, TLS and answer.",
        ),
        Key::default(
            "unhealthy_after",
            Kind::Integer { min: 1, max: 1000 },
            "3",
            "Failed checks in a row that take an endpoint out.",
        ),
        Key::default(
            "healthy_after",
            Kind::Integer { min: 1, max: 1000 },
            "2",
            "Good checks in a row that bring it back.",
        ),
    ],
};

/// Interim responses are no answers.
const STATUS: Kind = Kind::Integer { min: 200, max: 599 };

/// Reads `[upstream.health]`; `None` when it is not there or cannot be used.
pub(super) fn health(
    r: &mut Reader<'_>,
    upstream: &Table<'_>,
    protocol: UpstreamProtocol,
) -> Option<HealthCheck> {
    let table = upstream.table(r, "health")?;
    let kind = table.word_or_default::<HealthKind>(r, "type");
    let question = match kind {
        HealthKind::Http => http(r, &table),
        HealthKind::Grpc => grpc(r, &table, upstream, protocol),
        HealthKind::Tcp => {
            for key in ["path", "expect", "body"] {
                foreign_key(r, &table, key, HealthKind::Http);
            }
            foreign_key(r, &table, "service", HealthKind::Grpc);
            Some(HealthQuestion::Tcp)
        }
    };
    let count = |r: &mut Reader<'_>, key| {
        u32::try_from(table.integer_or_default(r, key)).unwrap_or(u32::MAX)
    };
    Some(HealthCheck {
        interval: table.duration_or_default(r, "interval"),
        timeout: table.duration_or_default(r, "timeout"),
        unhealthy_after: count(r, "unhealthy_after"),
        healthy_after: count(r, "healthy_after"),
        question: question?,
    })
}

fn http(r: &mut Reader<'_>, table: &Table<'_>) -> Option<HealthQuestion> {
    foreign_key(r, table, "service", HealthKind::Grpc);
    let path = table.required(r, "path");
    let path = path.and_then(|item| r.parsed(&item, leaf::absolute_path));
    let mut expect = Vec::new();
    if let Some(item) = table.item("expect") {
        let entries = table.list(r, "expect");
        if entries.is_empty() {
            no_entries(
                r,
                &item,
                "no status would be good",
                "list the good statuses, or remove it: any 2xx is good then",
            );
        }
        for entry in &entries {
            let status = bounded_integer(r, entry);
            expect.extend(status.and_then(|status| u16::try_from(status).ok()));
        }
    }
    let body = table.parsed(r, "body", leaf::body_part);
    Some(HealthQuestion::Http {
        path: path?.value,
        expect,
        body: body.map(|body| body.value),
    })
}

fn grpc(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    upstream: &Table<'_>,
    protocol: UpstreamProtocol,
) -> Option<HealthQuestion> {
    foreign_key(r, table, "path", HealthKind::Http);
    foreign_key(r, table, "expect", HealthKind::Http);
    foreign_key(r, table, "body", HealthKind::Http);
    if protocol == UpstreamProtocol::Http1 {
        let message = "gRPC health checks of an upstream that is spoken to in HTTP/1.1";
        let out = Diagnostic::warning("grpc-without-http2", message, table.span_of("type"))
            .label("checks go over HTTP/2, requests do not")
            .help("set `protocol = \"h2\"` in the upstream, or check by `type = \"http\"`");
        let written = upstream.item("protocol");
        r.report(match written {
            Some(item) => out.related(item.span(), "the protocol of requests"),
            None => out,
        });
    }
    let service = table.parsed(r, "service", leaf::grpc_service);
    Some(HealthQuestion::Grpc {
        service: service.map(|name| name.value).unwrap_or_default(),
    })
}

/// A key of the other type of check.
fn foreign_key(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str, of: HealthKind) {
    let Some(item) = table.item(key) else {
        return;
    };
    let out = Diagnostic::error(
        "contradiction",
        format!("`{key}` in a health check that is not `type = \"{of}\"`"),
        item.span(),
    )
    .label(format!("only for `type = \"{of}\"`"))
    .help(format!("remove `{key}`, or set `type = \"{of}\"`"));
    r.report(match table.item("type") {
        Some(written) => out.related(written.span(), "the type"),
        None => out,
    });
}
