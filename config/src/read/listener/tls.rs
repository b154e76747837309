//! How a listener speaks TLS: `certificate`, `alpn` and `[listener.tls]`.

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::model::{
    Alpn, Certificate, CipherSuite, ClientAuth, ListenerProtocol, ListenerTls, TlsVersion,
};
use crate::read::reader::Reader;
use crate::read::table::{Table, add_distinct, file_path, no_entries};
use crate::span::Spanned;

pub(crate) const PEM: Kind = Kind::Text("the path of a PEM file");

pub(crate) static CERTIFICATE: Section = Section {
    title: "[[listener.certificate]]",
    doc: "A certificate for TLS. A client gets the one for the name that it asks for: that of the \
          exact name before a wildcard's, and the first one when none fits or no name is sent. \
          Two for one name are for an ECDSA and an RSA key: the client gets the first that it can \
          verify. The names are those in the certificate. Paths are relative to the file that has \
          them, and the files are read again when they change.",
    keys: &[
        Key::required(
            "cert",
            PEM,
            "The certificate, followed by the intermediate certificates up to the root.",
        ),
        Key::required(
            "key",
            PEM,
            "The private key: PKCS #8, PKCS #1 or SEC 1, without a passphrase.",
        ),
        Key::optional(
            "ocsp",
            Kind::Text("the path of a DER file"),
            "An OCSP response that is stapled to the certificate, kept up to date by somebody \
             else.",
        ),
    ],
};

pub(crate) static TLS: Section = Section {
    title: "[listener.tls]",
    doc: "How TLS is spoken to clients, for a listener with certificates or `acme` names.",
    keys: &[
        Key::default(
            "min_version",
            Kind::Choice(TlsVersion::WORDS),
            "1.2",
            "The lowest version spoken. Older ones than 1.2 are not to be had (RFC 8996).",
        ),
        Key::default(
            "max_version",
            Kind::Choice(TlsVersion::WORDS),
            "1.3",
            "The highest version spoken.",
        ),
        Key::optional(
            "ciphers",
            Kind::List(&Kind::Choice(CipherSuite::WORDS)),
            "The only cipher suites used, best first, by their IANA names. All of them have \
             forward secrecy. Without this list the TLS library's own order holds. A list without \
             a suite of a version switches that version off.",
        ),
        Key::default(
            "strict_sni",
            Kind::Bool,
            "false",
            "Whether a client that asks for no name, or for one without a certificate, is \
             refused in the handshake instead of getting the first certificate.",
        ),
        Key::default(
            "handshake_timeout",
            Kind::Duration {
                min: "100ms",
                max: "5m",
            },
            "10s",
            "For a whole handshake, counted from the accept.",
        ),
        Key::default(
            "session_tickets",
            Kind::Bool,
            "true",
            "Whether clients may resume sessions with tickets, on every worker. A resumed \
             handshake costs a fraction of a full one.",
        ),
        Key::default(
            "ticket_rotation",
            Kind::Duration {
                min: "1m",
                max: "84h",
            },
            "12h",
            "How long tickets are made with one key; it then still opens tickets for as long \
             again, and a week is the most that a ticket may live. Whoever steals it can read what was sent over TLS 1.2 under its tickets.",
        ),
        Key::default(
            "client_auth",
            Kind::Choice(ClientAuth::WORDS),
            "off",
            "Whether clients show certificates: not asked for; optional, but good if shown; or \
             required. Needs `client_ca`.",
        ),
        Key::optional(
            "client_ca",
            PEM,
            "The authorities that clients' certificates must come from.",
        ),
        Key::optional(
            "client_crl",
            Kind::List(&PEM),
            "Lists of revoked client certificates, from the authorities in `client_ca`.",
        ),
        Key::default(
            "client_identity_headers",
            Kind::Bool,
            "false",
            "Whether origins get `X-Client-Cert-Subject`, `-San` and `-Fingerprint`. Clients' own \
             fields of these names are taken out of every request, whatever is set here.",
        ),
    ],
};

/// Keys that a listener without certificates has no use for.
const TLS_ONLY: [&str; 2] = ["alpn", "tls"];

/// Reads it all. `None` for a listener that speaks plain.
pub(super) fn read(
    r: &mut Reader<'_>,
    listener: &Table<'_>,
    protocol: Option<ListenerProtocol>,
) -> Option<ListenerTls> {
    let certificates = listener.tables(r, "certificate");
    let certificates = certificates
        .iter()
        .filter_map(|table| certificate(r, table));
    let certificates = certificates.collect();
    let alpn = alpn(r, listener);
    let table = listener.table_or_empty(r, "tls", &TLS);
    let tls = ListenerTls {
        certificates,
        alpn,
        min_version: table.word_or_default(r, "min_version"),
        max_version: table.word_or_default(r, "max_version"),
        ciphers: ciphers(r, &table),
        strict_sni: table.bool_or_default(r, "strict_sni"),
        handshake_timeout: table.deadline_or_default(r, "handshake_timeout"),
        session_tickets: table.bool_or_default(r, "session_tickets"),
        ticket_rotation: table.duration_or_default(r, "ticket_rotation"),
        client_auth: table.word_or_default(r, "client_auth"),
        client_ca: table.file(r, "client_ca"),
        client_crl: crl(r, &table),
        client_identity_headers: table.bool_or_default(r, "client_identity_headers"),
    };
    check_versions(r, &table, tls.min_version, tls.max_version);
    check_ciphers(r, &table, &tls);
    check_clients(r, &table, &tls);
    let is_plain = listener.item("certificate").is_none() && listener.item("acme").is_none();
    if is_plain && protocol == Some(ListenerProtocol::Http) {
        for key in TLS_ONLY {
            without_certificate(r, listener, key);
        }
    }
    (!is_plain && protocol == Some(ListenerProtocol::Http)).then_some(tls)
}

fn without_certificate(r: &mut Reader<'_>, listener: &Table<'_>, key: &'static str) {
    if let Some(span) = listener.key_span(key) {
        r.report(
            Diagnostic::error(
                "contradiction",
                format!("`{key}` without a certificate"),
                span,
            )
            .label("this listener does not speak TLS")
            .help(
                "add [[listener.certificate]] with `cert` and `key`, or host names in `acme`, \
                     or remove it",
            ),
        );
    }
}

fn certificate(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Certificate> {
    let cert = table.required(r, "cert");
    let key = table.required(r, "key");
    let ocsp = table.file(r, "ocsp");
    let cert = cert.and_then(|item| file_path(r, &item));
    let key = key.and_then(|item| file_path(r, &item));
    Some(Certificate {
        cert: cert?,
        key: key?,
        ocsp,
    })
}

fn alpn(r: &mut Reader<'_>, listener: &Table<'_>) -> Vec<Alpn> {
    let Some(list) = listener.item("alpn") else {
        return vec![Alpn::Http2, Alpn::Http11];
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() {
        no_entries(
            r,
            &list,
            "offers nothing",
            "remove it for [\"h2\", \"http/1.1\"]",
        );
    }
    let mut alpn: Vec<Spanned<Alpn>> = Vec::with_capacity(items.len());
    for item in &items {
        if let Some(protocol) = r.word::<Alpn>(item) {
            add_distinct(r, &mut alpn, protocol, "protocol");
        }
    }
    alpn.iter().map(|protocol| protocol.value).collect()
}

fn ciphers(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<CipherSuite>> {
    let Some(list) = table.item("ciphers") else {
        return Vec::new();
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() {
        no_entries(
            r,
            &list,
            "allows no suite",
            "remove it to allow the usual ones",
        );
    }
    let mut ciphers = Vec::with_capacity(items.len());
    for item in &items {
        if let Some(suite) = r.word::<CipherSuite>(item) {
            add_distinct(r, &mut ciphers, suite, "suite");
        }
    }
    ciphers
}

fn crl(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<std::path::PathBuf>> {
    let items = table.list(r, "client_crl");
    items.iter().filter_map(|item| file_path(r, item)).collect()
}

/// Reports a lowest version above the highest.
pub(crate) fn check_versions(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    min: TlsVersion,
    max: TlsVersion,
) {
    if min <= max {
        return;
    }
    let written = table.item("min_version").or(table.item("max_version"));
    let span = written.map_or(table.span, |item| item.span());
    r.report(
        Diagnostic::error(
            "contradiction",
            "`min_version` is above `max_version`",
            span,
        )
        .label(format!("here they are {min} and {max}"))
        .help("no version is left: lower the first or raise the second"),
    );
}

/// A suite belongs to one version: a list may leave a version without any.
fn check_ciphers(r: &mut Reader<'_>, table: &Table<'_>, tls: &ListenerTls) {
    let Some(list) = table.item("ciphers") else {
        return;
    };
    let listed = list.value.get_ref().as_array().map_or(0, |list| list.len());
    if listed == 0 || listed != tls.ciphers.len() {
        return; // it is objected to already
    }
    let has = |version| tls.ciphers.iter().any(|suite| suite.version() == version);
    let spoken = |version: &TlsVersion| (tls.min_version..=tls.max_version).contains(version);
    let spoken: Vec<TlsVersion> = TlsVersion::VALUES.iter().copied().filter(spoken).collect();
    if spoken.is_empty() {
        return;
    }
    let missing: Vec<TlsVersion> = spoken.iter().copied().filter(|v| !has(*v)).collect();
    if missing.len() == spoken.len() {
        let message = "no suite in `ciphers` belongs to a version that is spoken";
        r.report(
            Diagnostic::error("contradiction", message, list.span())
                .label(format!("here TLS {} to {} are", tls.min_version, tls.max_version))
                .help("TLS 1.3 has the suites TLS_AES_... and TLS_CHACHA20_..., TLS 1.2 those with ECDHE in their names"),
        );
    } else if let Some(version) = missing.first() {
        let message = format!("`ciphers` switches TLS {version} off");
        let key = if *version == TlsVersion::Tls12 {
            "min_version = \"1.3\""
        } else {
            "max_version = \"1.2\""
        };
        r.report(
            Diagnostic::warning("no-effect", message, list.span())
                .label(format!("no suite of TLS {version} is listed"))
                .help(format!("add one, or say it with {key}")),
        );
    }
}

fn check_clients(r: &mut Reader<'_>, table: &Table<'_>, tls: &ListenerTls) {
    let is_off = tls.client_auth == ClientAuth::Off;
    if is_off {
        let unreadable = table.item("client_auth").is_some_and(|item| {
            item.value
                .get_ref()
                .as_str()
                .is_none_or(|text| text != "off")
        });
        let idle = [
            ("client_ca", table.item("client_ca").is_some()),
            ("client_crl", table.item("client_crl").is_some()),
            ("client_identity_headers", tls.client_identity_headers),
        ];
        for (key, _) in idle.into_iter().filter(|(_, said)| *said && !unreadable) {
            let message = format!("`{key}`, but clients are not asked for certificates");
            r.report(
                Diagnostic::error("contradiction", message, table.span_of(key))
                    .label("has no effect: `client_auth` is \"off\"")
                    .help("set `client_auth` to \"optional\" or \"required\", or remove this"),
            );
        }
    } else if table.item("client_ca").is_none() {
        let message = "client certificates are asked for, but no authority is trusted for them";
        r.report(
            Diagnostic::error("missing-key", message, table.span_of("client_auth"))
                .label("needs `client_ca`")
                .help("add `client_ca`: the path of a PEM file with the authorities' certificates"),
        );
    }
}
