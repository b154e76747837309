//! How connections to an origin are made: `protocol`, `[upstream.tls]` and `proxy_protocol`.

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{
    Endpoint, EndpointAddr, ProxyVersion, TlsVersion, UpstreamProtocol, UpstreamTls,
};
use crate::read::listener::{PEM, check_versions};
use crate::read::reader::Reader;
use crate::read::table::Table;

pub(crate) static TLS: Section = Section {
    title: "[upstream.tls]",
    doc: "With this table, even an empty one, an origin is spoken to over TLS. An origin whose \
          certificate is not good is a 502. Paths are relative to the file that has them, and the \
          files are read again when they change.",
    keys: &[
        Key::optional(
            "ca",
            PEM,
            "The only authorities that origins' certificates may come from; the system's without \
             it.",
        ),
        Key::optional(
            "server_name",
            Kind::Text("a host name or IP address"),
            "The name that is asked for (SNI) and that the certificate must be for; the \
             endpoint's own without it. Endpoints that are Unix sockets need it.",
        ),
        Key::default(
            "verify",
            Kind::Bool,
            "true",
            "Whether the origin's certificate is verified. Without that, whoever stands between \
             reads and changes everything.",
        ),
        Key::optional(
            "cert",
            PEM,
            "The certificate, with its chain, that is shown to an origin that asks for one \
             (mutual TLS).",
        ),
        Key::optional("key", PEM, "The private key of `cert`."),
        Key::default(
            "min_version",
            Kind::Choice(TlsVersion::WORDS),
            "1.2",
            "The lowest version spoken.",
        ),
        Key::default(
            "max_version",
            Kind::Choice(TlsVersion::WORDS),
            "1.3",
            "The highest version spoken.",
        ),
    ],
};

/// Reads `[upstream.tls]`; `None` when it is not there.
pub(super) fn tls(
    r: &mut Reader<'_>,
    upstream: &Table<'_>,
    endpoints: &[Endpoint],
) -> Option<UpstreamTls> {
    let table = upstream.table(r, "tls")?;
    let tls = UpstreamTls {
        ca: table.file(r, "ca"),
        server_name: table.parsed(r, "server_name", leaf::server_name),
        verify: table.bool_or_default(r, "verify"),
        cert: table.file(r, "cert"),
        key: table.file(r, "key"),
        min_version: table.word_or_default(r, "min_version"),
        max_version: table.word_or_default(r, "max_version"),
    };
    check_versions(r, &table, tls.min_version, tls.max_version);
    for (key, other, what) in [
        ("cert", "key", "its private key"),
        ("key", "cert", "the certificate"),
    ] {
        if let (Some(item), None) = (table.item(key), table.item(other)) {
            r.report(
                Diagnostic::error(
                    "missing-key",
                    format!("`{key}` without `{other}`"),
                    item.span(),
                )
                .label(format!("`{other}` is missing"))
                .help(format!("add `{other}`: the path of a PEM file with {what}")),
            );
        }
    }
    if !tls.verify {
        unverified(r, &table);
    }
    let unix = endpoints
        .iter()
        .find(|endpoint| matches!(endpoint.address.value, EndpointAddr::Unix(_)));
    if let (Some(endpoint), None) = (unix, table.item("server_name")) {
        let message = "TLS to a Unix socket needs `server_name`";
        r.report(
            Diagnostic::error("missing-key", message, table.span)
                .label("`server_name` is missing")
                .help("add `server_name`: the host name in the origin's certificate")
                .related(endpoint.address.span, "a path is no name to verify"),
        );
    }
    Some(tls)
}

fn unverified(r: &mut Reader<'_>, table: &Table<'_>) {
    let message = "the origin's certificate is not verified";
    let help = "for an authority of your own set `ca` to its certificate and leave `verify` alone";
    let mut out = Diagnostic::warning("unverified-origin", message, table.span_of("verify"))
        .label("whoever stands between reads and changes everything")
        .help(help);
    if let Some(ca) = table.item("ca") {
        out = out.related(ca.span(), "these authorities are not asked");
    }
    r.report(out);
}

/// What is spoken, from what is written and what goes without saying.
pub(super) fn protocol(
    r: &mut Reader<'_>,
    upstream: &Table<'_>,
    proxy: Option<ProxyVersion>,
) -> UpstreamProtocol {
    let has_tls = upstream.item("tls").is_some();
    let Some(item) = upstream.item("protocol") else {
        // A connection that begins with one client's address cannot be shared with others.
        let implied = match has_tls && proxy.is_none() {
            true => UpstreamProtocol::Auto,
            false => UpstreamProtocol::Http1,
        };
        no_http2(r, upstream, implied);
        return implied;
    };
    let Some(protocol) = r.word::<UpstreamProtocol>(&item) else {
        return UpstreamProtocol::Http1;
    };
    if let (Some(_), true) = (proxy, protocol.value != UpstreamProtocol::Http1) {
        let message = format!("`proxy_protocol` beside `protocol = \"{protocol}\"`");
        r.report(
            Diagnostic::error("contradiction", message, upstream.span_of("proxy_protocol"))
                .label("a header for one client, on connections that HTTP/2 shares among many")
                .help("set `protocol = \"http/1.1\"`, or remove `proxy_protocol`: origins get `X-Forwarded-For`")
                .related(protocol.span, "the protocol"),
        );
    }
    if protocol.value == UpstreamProtocol::Auto && !has_tls {
        let message = "`protocol = \"auto\"` without TLS";
        r.report(
            Diagnostic::warning("no-effect", message, protocol.span)
                .label("nothing agrees on a protocol without TLS: HTTP/1.1 is spoken")
                .help("write \"h2\" for an origin that takes HTTP/2 without TLS, or add [upstream.tls]"),
        );
    }
    no_http2(r, upstream, protocol.value);
    protocol.value
}

fn no_http2(r: &mut Reader<'_>, upstream: &Table<'_>, protocol: UpstreamProtocol) {
    if let (UpstreamProtocol::Http1, Some(span)) = (protocol, upstream.key_span("http2")) {
        let message = "[upstream.http2], but HTTP/1.1 is spoken";
        r.report(
            Diagnostic::warning("no-effect", message, span)
                .label("has no effect")
                .help("set `protocol = \"h2\"`, or remove it"),
        );
    }
}
