//! `[[listener]]`.

mod passing;
mod tls;

use super::reader::{Reader, quote};
use super::route::filter_names;
use super::table::{Table, add_distinct, no_entries};
use super::{Text, http2};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::limits::{LIMITS, Limits};
use crate::model::{Alpn, HalfClose, ListenAddr, Listener, ListenerProtocol};
use crate::span::Spanned;

pub(crate) use tls::{CERTIFICATE, PEM, TLS, check_versions};

/// A listener whose upstreams may not exist.
#[derive(Debug)]
pub(crate) struct RawListener {
    /// Without `upstream` and `sni`.
    pub listener: Listener,
    pub upstream: Option<Spanned<Text>>,
    pub sni: Vec<RawSni>,
    pub filters: Vec<Spanned<Text>>,
}

/// An entry of `[[listener.sni]]`.
#[derive(Debug)]
pub(crate) struct RawSni {
    pub names: Vec<Spanned<Box<str>>>,
    pub upstream: Spanned<Text>,
}

pub(crate) const LISTEN: &str =
    "an address such as \"127.0.0.1:8080\", \"[::]:8080\" or \"unix:/run/ringgate.sock\"";

pub(crate) static LISTENER: Section = Section {
    title: "[[listener]]",
    doc: "Where clients connect. Every listener of protocol \"http\" serves every route.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among listeners; logs and metrics use it.",
        ),
        Key::required(
            "listen",
            Kind::Text(LISTEN),
            "The address. Each worker has a socket of its own on it (SO_REUSEPORT). Port 0 lets \
             the system choose.",
        ),
        Key::default(
            "protocol",
            Kind::Choice(ListenerProtocol::WORDS),
            "http",
            "What its connections carry: HTTP, routed request by request; \"tcp\": any bytes, for \
             one upstream; \"tls\": TLS that is passed on undecrypted, to an upstream by the name \
             that its first message asks for (SNI).",
        ),
        Key::optional(
            "upstream",
            Kind::Text("the name of an upstream"),
            "Where all connections of protocol \"tcp\" go, which needs it, and those of protocol \
             \"tls\" that ask for no name of `sni`; without it such a connection is closed.",
        ),
        Key::optional(
            "sni",
            Kind::Tables(&passing::SNI),
            "Where connections of protocol \"tls\" go by name.",
        ),
        Key::default(
            "half_close",
            Kind::Choice(HalfClose::WORDS),
            "abort",
            "What a client's FIN after its request means: it has gone and its request is \
             cancelled, or it still reads and gets its response.",
        ),
        Key::optional(
            "limits",
            Kind::Table(&LIMITS),
            "Overrides of [limits] for this listener, with the same keys.",
        ),
        Key::optional(
            "certificate",
            Kind::Tables(&CERTIFICATE),
            "Certificates for TLS; with one, the listener speaks TLS only.",
        ),
        Key::optional(
            "acme",
            Kind::List(&Kind::Text("a host name such as \"www.example.com\"")),
            "Host names whose certificates are ordered from the authority in [acme] and renewed; \
             with one, the listener speaks TLS only. A certificate in a file goes before an \
             ordered one for the same name.",
        ),
        Key::optional(
            "alpn",
            Kind::List(&Kind::Choice(Alpn::WORDS)),
            "Protocols offered in TLS, best first; [\"h2\", \"http/1.1\"] where it is not written.",
        ),
        Key::optional(
            "tls",
            Kind::Table(&TLS),
            "Versions, suites, tickets and client certificates.",
        ),
        Key::default(
            "h2c",
            Kind::Bool,
            "true",
            "Whether a connection without TLS that begins with HTTP/2's preface is one of HTTP/2 \
             (RFC 9113, section 3.3: prior knowledge), or is refused.",
        ),
        Key::optional(
            "http2",
            Kind::Table(&http2::LISTENER_HTTP2),
            "Bounds of HTTP/2 connections.",
        ),
        Key::default(
            "filters",
            Kind::List(&Kind::Text("the name of a filter")),
            "[]",
            "Filters that all requests of this listener go through, in this order, before they are \
             routed and before the filters of their route. What they prove about who makes a request \
             can be a condition of routes.",
        ),
        Key::default(
            "proxy_protocol_from",
            Kind::List(&Kind::Text("an IP network such as \"10.0.0.0/8\"")),
            "[]",
            "Peers whose connections begin with a PROXY protocol header, version 1 or 2, which \
             says who the client is. A connection from them without one is closed; from anybody \
             else the header is no header.",
        ),
    ],
};

/// Keys for whoever speaks HTTP himself.
const HTTP_ONLY: [&str; 7] = [
    "certificate",
    "acme",
    "alpn",
    "tls",
    "h2c",
    "http2",
    "filters",
];

pub(crate) fn listener(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    base: &Limits,
) -> Option<RawListener> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let listen = table
        .required(r, "listen")
        .and_then(|item| r.parsed(&item, leaf::listen));
    let half_close = table.word_or_default(r, "half_close");
    let limits = match table.table(r, "limits") {
        Some(overrides) => base.clone().overridden(r, &overrides),
        None => base.clone(),
    };
    // One that cannot be read is no reason to complain about the keys beside it.
    let protocol = match table.item("protocol") {
        Some(item) => r.word(&item).map(|word| word.value),
        None => Some(ListenerProtocol::Http),
    };
    let acme = acme(r, table);
    let tls = tls::read(r, table, protocol);
    let http2 = http2::listener(r, table);
    let h2c = table.bool_or_default(r, "h2c");
    let networks = proxies(r, table, listen.as_ref());
    let upstream = table.text(r, "upstream");
    let sni = passing::sni(r, table);
    let filters = filter_names(r, table, "listener");
    if let Some(protocol) = protocol {
        check_protocol(r, table, protocol);
    }
    if h2c && tls.is_some() && table.item("h2c").is_some() {
        let message = "`h2c` on a listener that speaks TLS";
        r.report(
            Diagnostic::warning("no-effect", message, table.span_of("h2c"))
                .label("h2c is HTTP/2 without TLS")
                .help("remove it; HTTP/2 over TLS is offered by `alpn`"),
        );
    }
    let listener = Listener {
        name: name?,
        listen: listen?,
        half_close,
        limits,
        protocol: protocol?,
        upstream: None,
        sni: Vec::new(),
        tls,
        h2c,
        http2,
        proxy_protocol_from: networks,
        acme,
        filters: Vec::new(),
    };
    Some(RawListener {
        listener,
        upstream,
        sni,
        filters,
    })
}

fn check_protocol(r: &mut Reader<'_>, table: &Table<'_>, protocol: ListenerProtocol) {
    match protocol {
        ListenerProtocol::Http => {
            for (key, other) in [("upstream", "tcp"), ("sni", "tls")] {
                let help = format!("remove it, or set `protocol = \"{other}\"` to pass bytes on");
                misplaced(
                    r,
                    table,
                    protocol,
                    key,
                    "routes say where requests go",
                    &help,
                );
            }
        }
        ListenerProtocol::Tcp | ListenerProtocol::Tls => {
            for key in HTTP_ONLY {
                let help = "remove it, or leave `protocol` at \"http\"";
                let label = "this listener passes bytes on as they are";
                misplaced(r, table, protocol, key, label, help);
            }
        }
    }
    let nowhere = |message: &'static str, help: &'static str| {
        Diagnostic::error("missing-key", message, table.span)
            .label("nothing says where its connections go")
            .help(help)
    };
    if protocol == ListenerProtocol::Tcp {
        let help = "every connection goes to `upstream`; names are known of protocol \"tls\" only";
        misplaced(r, table, protocol, "sni", "plain bytes name no host", help);
        if table.item("upstream").is_none() {
            let message = "a listener of protocol \"tcp\" has no `upstream`";
            r.report(nowhere(message, "add `upstream`: the name of an upstream"));
        }
    }
    let goes = table.item("upstream").is_some() || table.item("sni").is_some();
    if protocol == ListenerProtocol::Tls && !goes {
        let message = "a listener of protocol \"tls\" has neither `sni` nor `upstream`";
        let help = "add [[listener.sni]] with `names` and `upstream`, or `upstream` for any name";
        r.report(nowhere(message, help));
    }
}

/// Reports a key that listeners of other protocols have.
fn misplaced(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    protocol: ListenerProtocol,
    key: &'static str,
    label: &str,
    help: &str,
) {
    if let Some(span) = table.key_span(key) {
        let message = format!("`{key}` on a listener of protocol \"{protocol}\"");
        r.report(
            Diagnostic::error("contradiction", message, span)
                .label(label)
                .help(help),
        );
    }
}

fn acme(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Box<str>>> {
    let Some(list) = table.item("acme") else {
        return Vec::new();
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() && list.value.get_ref().is_array() {
        no_entries(
            r,
            &list,
            "orders no certificate",
            "name hosts, or remove it",
        );
    }
    let mut names = Vec::with_capacity(items.len());
    for item in &items {
        if let Some(name) = r.parsed(item, leaf::ordered_name) {
            add_distinct(r, &mut names, name, "host");
        }
    }
    names
}

fn proxies(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    listen: Option<&Spanned<ListenAddr>>,
) -> Vec<Spanned<ipnet::IpNet>> {
    let mut networks = Vec::new();
    for item in table.list(r, "proxy_protocol_from") {
        let Some(net) = r.parsed(&item, leaf::network) else {
            continue;
        };
        if net.value.prefix_len() == 0 {
            let message = "every client says itself who it is, by the PROXY protocol";
            r.report(
                Diagnostic::warning("open-trust", message, net.span)
                    .label("this network is the whole internet")
                    .help("name the networks of the proxies in front of this gateway"),
            );
        }
        networks.push(net);
    }
    if let (Some(first), Some(ListenAddr::Unix(_))) = (networks.first(), listen.map(|l| &l.value)) {
        let message = "`proxy_protocol_from` on a Unix socket";
        r.report(
            Diagnostic::warning("no-effect", message, first.span)
                .label(format!(
                    "peers of a Unix socket have no address: {} is never met",
                    quote(&first.to_string())
                ))
                .help("remove it, or listen on an IP address"),
        );
    }
    networks
}
