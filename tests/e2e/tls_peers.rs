//! TLS to clients with openssl as the client: versions, names, protocols, resumption, stapling,
//! client certificates, and certificates that change while they are used.

mod origins;
mod reloads;

use crate::support::certificates::{Authority, Pair};
use crate::support::process::{Output, output, tool};
use crate::support::{Client, Driver, Gateway, Origin, Setup, get, on_both_drivers};

on_both_drivers!(
    speaks_tls_1_2_and_1_3,
    refuses_versions_that_it_must_not_speak,
    speaks_the_suites_it_is_told,
    shows_the_certificate_for_the_name,
    refuses_other_names_where_it_is_strict,
    agrees_on_a_protocol,
    resumes_sessions_on_every_worker,
    resumes_nothing_without_tickets,
    staples_an_ocsp_response,
    takes_clients_without_certificate_where_it_is_optional,
    refuses_clients_without_certificate_where_it_is_required,
    refuses_revoked_and_foreign_client_certificates,
    tells_origins_who_the_client_is,
    takes_forged_identities_out,
    answers_plain_http_on_a_tls_port,
    closes_a_client_that_never_shakes_hands,
    logs_what_came_in_tls,
);

/// An HTTP/1.1 request whose answer ends the connection, and openssl with it.
const LAST: &[u8] = b"GET /a HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";

/// A handshake and a request by `openssl s_client`.
#[track_caller]
fn s_client(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = tool("openssl");
    command
        .args(["s_client", "-connect", gateway.address(), "-ign_eof"])
        .args(arguments);
    output(command, LAST)
}

/// The same with the name that all certificates here have.
#[track_caller]
fn shake(gateway: &Gateway, arguments: &[&str]) -> String {
    let named = ["-servername", "gateway.test"];
    s_client(gateway, &[&named, arguments].concat()).all()
}

#[track_caller]
fn expect_answer(said: &str) {
    assert!(said.contains("HTTP/1.1 200"), "{said}");
}

#[track_caller]
fn expect_refusal(said: &str) {
    assert!(!said.contains("HTTP/1.1"), "{said}");
    assert!(
        said.contains("alert") || said.contains("errno") || said.contains("error"),
        "{said}"
    );
}

fn setup(driver: Driver, origin: &Origin, pair: &Pair) -> Setup {
    Setup::proxy(driver, origin.address()).certificates(&[pair])
}

fn speaks_tls_1_2_and_1_3(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"])).start();
    let ca = authority.trust();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = shake(&gateway, &[flag, "-CAfile", &ca, "-verify_return_error"]);
        expect_answer(&said);
        assert!(said.contains(version), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
}

fn refuses_versions_that_it_must_not_speak(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let pair = authority.server(&["gateway.test"]);
    let gateway = setup(driver, &origin, &pair)
        .set("listener", "tls.min_version", "\"1.3\"")
        .start();
    expect_refusal(&shake(&gateway, &["-tls1_2"]));
    expect_answer(&shake(&gateway, &["-tls1_3"]));
    let gateway = setup(driver, &origin, &pair)
        .set("listener", "tls.max_version", "\"1.2\"")
        .start();
    expect_refusal(&shake(&gateway, &["-tls1_3"]));
    expect_answer(&shake(&gateway, &["-tls1_2"]));
    // Security level 0, or openssl itself would not try.
    expect_refusal(&shake(&gateway, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]));
}

fn speaks_the_suites_it_is_told(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"]))
        .set(
            "listener",
            "tls.ciphers",
            "[\"TLS_AES_256_GCM_SHA384\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]",
        )
        .start();
    let said = shake(&gateway, &["-tls1_3"]);
    assert!(said.contains("TLS_AES_256_GCM_SHA384"), "{said}");
    expect_refusal(&shake(
        &gateway,
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
    ));
    let said = shake(&gateway, &["-tls1_2"]);
    assert!(said.contains("ECDHE-ECDSA-AES128-GCM-SHA256"), "{said}");
}

fn shows_the_certificate_for_the_name(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let pairs = [
        authority.server(&["default.test"]),
        authority.server(&["exact.wild.test"]),
        authority.server(&["*.wild.test"]),
    ];
    let gateway = Setup::proxy(driver, origin.address())
        .certificates(&[&pairs[0], &pairs[1], &pairs[2]])
        .start();
    for (asked, shown) in [
        (Some("default.test"), "default.test"),
        (Some("exact.wild.test"), "exact.wild.test"),
        (Some("EXACT.wild.test"), "exact.wild.test"),
        (Some("other.wild.test"), "*.wild.test"),
        // RFC 6125, section 6.4.3: a wildcard stands for one label.
        (Some("two.labels.wild.test"), "default.test"),
        (Some("wild.test"), "default.test"),
        (Some("unknown.test"), "default.test"),
        (None, "default.test"),
    ] {
        let said = match asked {
            Some(name) => s_client(&gateway, &["-servername", name]),
            None => s_client(&gateway, &["-noservername"]),
        };
        let said = said.all();
        let subject = said.lines().find(|line| line.starts_with("subject="));
        let subject = subject.unwrap_or_else(|| panic!("{asked:?}: {said}"));
        assert!(
            subject.ends_with(&format!("CN = {shown}")),
            "{asked:?}: {subject}"
        );
    }
}

fn refuses_other_names_where_it_is_strict(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"]))
        .set("listener", "tls.strict_sni", "true")
        .start();
    expect_answer(&shake(&gateway, &[]));
    expect_refusal(&s_client(&gateway, &["-servername", "other.test"]).all());
    expect_refusal(&s_client(&gateway, &["-noservername"]).all());
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "tls_handshake")], 2.0);
    let lines = gateway.log(3);
    let told = |name: &str| {
        let line = format!("TLS: strict_sni, and no certificate for {name:?}");
        lines.iter().any(|logged| logged["line"] == line)
    };
    assert!(told("other.test") && told(""), "{lines:?}");
}

fn agrees_on_a_protocol(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let pair = authority.server(&["gateway.test"]);
    let gateway = setup(driver, &origin, &pair).start();
    let said = shake(&gateway, &["-alpn", "http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    expect_answer(&said);
    // HTTP/1 bytes on HTTP/2: the handshake is what counts.
    for offered in ["h2", "http/1.1,h2"] {
        let said = shake(&gateway, &["-alpn", offered]);
        assert!(said.contains("ALPN protocol: h2"), "{offered}: {said}");
    }
    let said = shake(&gateway, &[]);
    assert!(said.contains("No ALPN negotiated"), "{said}");
    expect_answer(&said);
    // RFC 7301, section 3.2: no_application_protocol.
    expect_refusal(&shake(&gateway, &["-alpn", "spdy/3"]));
    let gateway = setup(driver, &origin, &pair)
        .set("listener", "alpn", "[\"http/1.1\"]")
        .start();
    let said = shake(&gateway, &["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
}

fn resumes_sessions_on_every_worker(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"]))
        .set("runtime", "workers", "2")
        .start();
    let dir = tempfile::tempdir().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = dir.path().join(version);
        let session = session.to_str().unwrap();
        let said = shake(&gateway, &[version, "-sess_out", session]);
        assert!(said.contains("\nNew, TLS"), "{said}");
        // Enough that each of the two workers has had some of them.
        for _ in 0..16 {
            let said = shake(&gateway, &[version, "-sess_in", session]);
            assert!(said.contains("\nReused, TLS"), "{version}: {said}");
            expect_answer(&said);
        }
    }
    for worker in ["0", "1"] {
        let accepted = gateway.metric("ringgate_worker_accepted_total", &[("worker", worker)]);
        assert!(accepted > 0.0, "worker {worker} has had no connection");
    }
}

fn resumes_nothing_without_tickets(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"]))
        .set("listener", "tls.session_tickets", "false")
        .start();
    let dir = tempfile::tempdir().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = dir.path().join(version);
        let session = session.to_str().unwrap();
        shake(&gateway, &[version, "-sess_out", session]);
        // Without a ticket there may be nothing that openssl could have written.
        if dir.path().join(version).exists() {
            let said = shake(&gateway, &[version, "-sess_in", session]);
            assert!(said.contains("\nNew, TLS"), "{said}");
        }
    }
}

fn staples_an_ocsp_response(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let pair = authority.server(&["gateway.test"]);
    let ocsp = authority.ocsp(&pair);
    let certificate = format!(
        "[{{ cert = {:?}, key = {:?}, ocsp = {ocsp:?} }}]",
        pair.cert, pair.key
    );
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "certificate", &certificate)
        .start();
    let ca = authority.trust();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = shake(&gateway, &["-status", version, "-CAfile", &ca]);
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
        expect_answer(&said);
    }
}

/// A gateway that asks for client certificates of `clients`.
fn asking(driver: Driver, origin: &Origin, clients: &Authority, how: &str) -> Setup {
    let pair = clients.server(&["gateway.test"]);
    setup(driver, origin, &pair)
        .set("listener", "tls.client_auth", &format!("{how:?}"))
        .set("listener", "tls.client_ca", &format!("{:?}", clients.ca()))
        .set("listener", "tls.client_identity_headers", "true")
}

fn takes_clients_without_certificate_where_it_is_optional(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let gateway = asking(driver, &origin, &clients, "optional").start();
    let pair = clients.client("someone", &[]);
    let shown = ["-cert", pair.cert(), "-key", pair.key()];
    for version in ["-tls1_2", "-tls1_3"] {
        expect_answer(&shake(&gateway, &[version]));
        expect_answer(&shake(&gateway, &[&[version], &shown[..]].concat()));
    }
    let foreign = Authority::new().client("someone", &[]);
    let shown = ["-cert", foreign.cert(), "-key", foreign.key()];
    expect_refusal(&shake(&gateway, &shown));
}

fn refuses_clients_without_certificate_where_it_is_required(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let gateway = asking(driver, &origin, &clients, "required").start();
    let pair = clients.client("someone", &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        expect_refusal(&shake(&gateway, &[version]));
        let shown = [version, "-cert", pair.cert(), "-key", pair.key()];
        expect_answer(&shake(&gateway, &shown));
    }
}

fn refuses_revoked_and_foreign_client_certificates(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let (good, bad) = (clients.client("good", &[]), clients.client("bad", &[]));
    // For another purpose, and of an authority that nobody named.
    let server = clients.server(&["gateway.test"]);
    let foreign = Authority::new().client("good", &[]);
    let list = clients.revocations(&[&bad]);
    let gateway = asking(driver, &origin, &clients, "required")
        .set("listener", "tls.client_crl", &format!("[{list:?}]"))
        .start();
    let shown = |pair: &Pair| {
        let (cert, key) = (pair.cert().to_owned(), pair.key().to_owned());
        shake(&gateway, &["-cert", &cert, "-key", &key])
    };
    expect_answer(&shown(&good));
    for pair in [&bad, &server, &foreign] {
        expect_refusal(&shown(pair));
    }
    assert_eq!(origin.requests().len(), 1);
}

fn tells_origins_who_the_client_is(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let gateway = asking(driver, &origin, &clients, "required").start();
    let pair = clients.client("someone", &["someone.clients.test"]);
    expect_answer(&shake(
        &gateway,
        &["-cert", pair.cert(), "-key", pair.key()],
    ));
    let fields = origin.request().fields;
    assert!(
        fields
            .one("x-client-cert-subject")
            .unwrap()
            .contains("CN=someone"),
        "{fields:?}"
    );
    let san = fields.one("x-client-cert-san").unwrap();
    assert!(san.contains("someone.clients.test"), "{fields:?}");
    let mut command = tool("openssl");
    command.args([
        "x509",
        "-in",
        pair.cert(),
        "-noout",
        "-fingerprint",
        "-sha256",
    ]);
    let expected = output(command, b"")
        .text()
        .replace(':', "")
        .to_ascii_lowercase();
    let expected = expected.trim().rsplit('=').next().unwrap().to_owned();
    let fingerprint = fields.one("x-client-cert-fingerprint").unwrap();
    let fingerprint = fingerprint.replace(':', "").to_ascii_lowercase();
    assert!(
        fingerprint.ends_with(&expected),
        "{fingerprint} is not {expected}"
    );
}

fn takes_forged_identities_out(driver: Driver) {
    // A trusted proxy may speak of addresses; nobody may speak of certificates.
    for trusted in ["[]", "[\"127.0.0.0/8\"]"] {
        let (clients, origin) = (Authority::new(), Origin::named("x"));
        let gateway = asking(driver, &origin, &clients, "optional")
            .set("forwarded", "trusted", trusted)
            .start();
        let mut command = tool("openssl");
        command.args(["s_client", "-connect", gateway.address(), "-ign_eof"]);
        let forged = b"GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\
                       X-Client-Cert-Subject: CN=root\r\nX-Client-Cert-San: root\r\n\
                       x-client-cert-fingerprint: 00\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
        expect_answer(&output(command, forged).all());
        let fields = origin.request().fields;
        for field in ["subject", "san", "fingerprint"] {
            assert!(!fields.has(&format!("x-client-cert-{field}")));
        }
    }
}

fn answers_plain_http_on_a_tls_port(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"])).start();
    let mut client = gateway.client();
    client.send(get("/a"));
    let answer = client.response("GET");
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().to_ascii_lowercase().contains("https"),
        "{}",
        answer.text()
    );
    client.expect_closed();
    let line = gateway.log_line();
    assert_eq!(line["code"], "plain_on_tls");
    assert_eq!(line["status"], 400);
    assert!(origin.requests().is_empty());
}

fn closes_a_client_that_never_shakes_hands(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"]))
        .set("listener", "tls.handshake_timeout", "\"300ms\"")
        .start();
    let mut silent = gateway.client();
    let mut begun = gateway.client();
    // The beginning of a record with a ClientHello that never comes.
    begun.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]);
    silent.rest();
    begun.rest();
    // Who sent nothing at all is no failure: a balancer looks whether the port is open.
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "tls_timeout")], 1.0);
    let mut garbage: Client = gateway.client();
    garbage.send([0x16, 3, 1, 0, 4, 9, 9, 9, 9]);
    garbage.rest();
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "tls_handshake")], 1.0);
    expect_answer(&shake(&gateway, &[]));
}

fn logs_what_came_in_tls(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &authority.server(&["gateway.test"])).start();
    expect_answer(&shake(&gateway, &[]));
    let line = gateway.log_line();
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["end"], "--", "{line}");
    let fields = origin.request().fields;
    assert_eq!(fields.one("x-forwarded-proto"), Some("https"));
    assert!(fields.one("forwarded").unwrap().contains("proto=https"));
}
