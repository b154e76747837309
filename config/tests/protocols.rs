//! What is said about TLS, HTTP/2, ACME, the PROXY protocol and passed connections arrives in the
//! typed tree, with what goes without saying.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use ringgate_config::model::{
    Alpn, Cap, Challenge, CipherSuite, ClientAuth, HealthCheck, HealthQuestion, Http2, Listener,
    ListenerProtocol, ProxyVersion, TlsVersion, Upstream, UpstreamHttp2, UpstreamProtocol,
};
use ringgate_config::{Config, Style, load, load_str, render};

const LISTENER: &str = "[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:8443\"\n";
const CERTIFICATE: &str =
    "[[listener.certificate]]\ncert = \"certs/a.pem\"\nkey = \"/etc/keys/a.key\"\n";
const UPSTREAM: &str = "[[upstream]]\nname = \"app\"\nendpoints = [\"127.0.0.1:9001\"]\n";
const ROUTE: &str = "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n";

fn good(text: &str) -> Config {
    let loaded = load_str("etc/main.toml", text, &common::env, &common::Patterns);
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    assert_eq!(said, "");
    loaded.config.unwrap()
}

fn listener(text: &str) -> Listener {
    let mut config = good(&format!("{LISTENER}{text}{UPSTREAM}{ROUTE}"));
    config.listeners.remove(0)
}

fn upstream(text: &str) -> Upstream {
    let mut config = good(&format!("{LISTENER}{UPSTREAM}{text}{ROUTE}"));
    config.upstreams.remove(0)
}

#[test]
fn a_listener_without_certificates_speaks_plain_http() {
    let listener = listener("");
    assert_eq!(listener.protocol, ListenerProtocol::Http);
    assert_eq!(listener.tls, None);
    assert!(listener.h2c);
    assert!(listener.acme.is_empty() && listener.proxy_protocol_from.is_empty());
    let bounds = Http2 {
        streams_max: 128,
        stream_window: 256 << 10,
        connection_window: 1 << 20,
        resets_max: 200,
        pings_max: 100,
        settings_max: 50,
        empty_frames_max: 200,
        requests_per_second_max: Cap::Off,
    };
    assert_eq!(listener.http2, bounds);
    assert_eq!(listener.limits.tunnel_timeout, Cap::Off);
}

#[test]
fn a_certificate_makes_a_listener_speak_tls_with_defaults() {
    let tls = listener(CERTIFICATE).tls.unwrap();
    assert_eq!(tls.alpn, [Alpn::Http2, Alpn::Http11]);
    assert_eq!(
        (tls.min_version, tls.max_version),
        (TlsVersion::Tls12, TlsVersion::Tls13)
    );
    assert!(tls.ciphers.is_empty() && !tls.strict_sni && tls.session_tickets);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(10));
    assert_eq!(tls.ticket_rotation, Duration::from_secs(12 * 3600));
    assert_eq!(tls.client_auth, ClientAuth::Off);
    assert_eq!(tls.client_ca, None);
    assert!(!tls.client_identity_headers);
}

#[test]
fn paths_of_certificates_are_relative_to_their_file() {
    let tls = listener(CERTIFICATE).tls.unwrap();
    let [certificate] = &tls.certificates[..] else {
        panic!("not one certificate");
    };
    assert_eq!(*certificate.cert, Path::new("etc/certs/a.pem"));
    assert_eq!(*certificate.key, Path::new("/etc/keys/a.key"));
    assert_eq!(certificate.ocsp, None);
}

#[test]
fn an_included_file_has_its_own_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sites")).unwrap();
    fs::write(
        dir.path().join("sites/a.toml"),
        format!("{LISTENER}{CERTIFICATE}"),
    )
    .unwrap();
    let main = dir.path().join("main.toml");
    fs::write(
        &main,
        format!("include = [\"sites/*.toml\"]\n{UPSTREAM}{ROUTE}"),
    )
    .unwrap();
    let config = load(&main, &common::env, &common::Patterns).config.unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(
        *tls.certificates[0].cert,
        dir.path().join("sites/certs/a.pem")
    );
}

#[test]
fn what_is_said_about_tls_is_what_holds() {
    let tls = listener(&format!(
        "alpn = [\"http/1.1\"]\n{CERTIFICATE}ocsp = \"a.ocsp\"\n[listener.tls]\nmin_version = \"1.3\"\n\
         ciphers = [\"TLS_CHACHA20_POLY1305_SHA256\"]\nstrict_sni = true\n\
         handshake_timeout = \"3s\"\nsession_tickets = false\nticket_rotation = \"1d\"\n\
         client_auth = \"optional\"\nclient_ca = \"ca.pem\"\nclient_crl = [\"ca.crl\"]\n\
         client_identity_headers = true\n"
    ))
    .tls
    .unwrap();
    assert_eq!(tls.alpn, [Alpn::Http11]);
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    assert_eq!(tls.ciphers[0].value, CipherSuite::Tls13ChaCha20);
    assert!(tls.strict_sni && !tls.session_tickets);
    assert_eq!(tls.ticket_rotation, Duration::from_secs(86_400));
    assert_eq!(tls.client_auth, ClientAuth::Optional);
    assert_eq!(**tls.client_ca.as_ref().unwrap(), Path::new("etc/ca.pem"));
    assert_eq!(*tls.client_crl[0], Path::new("etc/ca.crl"));
    let ocsp = tls.certificates[0].ocsp.as_ref().unwrap();
    assert_eq!(**ocsp, Path::new("etc/a.ocsp"));
    assert!(tls.client_identity_headers);
}

#[test]
fn ordered_names_make_a_listener_speak_tls_without_files() {
    let config = good(&format!(
        "[acme]\nstorage = \"acme\"\nterms_agreed = true\nchallenge = \"tls-alpn-01\"\n\
         contact = [\"admin@example.com\", \"mailto:ops@example.com\"]\n\
         {LISTENER}acme = [\"WWW.Example.com\"]\n{UPSTREAM}{ROUTE}"
    ));
    let listener = &config.listeners[0];
    assert_eq!(*listener.acme[0].value, *"www.example.com");
    assert!(listener.tls.as_ref().unwrap().certificates.is_empty());
    let acme = config.acme.unwrap();
    assert_eq!(
        *acme.directory.value,
        *"https://acme-v02.api.letsencrypt.org/directory"
    );
    assert_eq!(*acme.storage, Path::new("etc/acme"));
    assert_eq!(*acme.challenge, Challenge::TlsAlpn01);
    assert_eq!(acme.renew_before, Duration::from_secs(30 * 86_400));
    let contact: Vec<&str> = acme.contact.iter().map(|url| &*url.value).collect();
    assert_eq!(
        contact,
        ["mailto:admin@example.com", "mailto:ops@example.com"]
    );
}

#[test]
fn connections_are_passed_on_by_name() {
    let config = good(&format!(
        "{LISTENER}protocol = \"tls\"\n\
         [[listener.sni]]\nnames = [\"DB.Example.com\", \"*.Example.com\"]\nupstream = \"app\"\n{UPSTREAM}"
    ));
    let listener = &config.listeners[0];
    assert_eq!(listener.protocol, ListenerProtocol::Tls);
    assert_eq!(listener.upstream, None);
    let [entry] = &listener.sni[..] else {
        panic!("not one entry");
    };
    let names: Vec<&str> = entry.names.iter().map(|name| &*name.value).collect();
    assert_eq!(names, ["db.example.com", "*.example.com"]);
    assert_eq!(&*entry.upstream.value, "app");
}

#[test]
fn the_protocol_of_an_upstream_follows_from_its_tls() {
    assert_eq!(upstream("").protocol, UpstreamProtocol::Http1);
    assert_eq!(
        upstream("[upstream.tls]\n").protocol,
        UpstreamProtocol::Auto
    );
    assert_eq!(
        upstream("proxy_protocol = \"v1\"\n[upstream.tls]\n").protocol,
        UpstreamProtocol::Http1,
        "its connections are one client's"
    );
    assert_eq!(
        upstream("protocol = \"h2\"\n").protocol,
        UpstreamProtocol::Http2
    );
}

#[test]
fn tls_to_an_origin_is_verified_unless_said_otherwise() {
    let plain = upstream("");
    assert_eq!(plain.tls, None);
    assert_eq!(plain.proxy_protocol, None);
    let bounds = UpstreamHttp2 {
        connections_max: 8,
        streams_max: 100,
        stream_window: 256 << 10,
        connection_window: 1 << 20,
    };
    assert_eq!(plain.http2, bounds);
    let tls = upstream("[upstream.tls]\n").tls.unwrap();
    assert!(tls.verify && tls.ca.is_none() && tls.cert.is_none() && tls.key.is_none());
    let mutual = upstream(
        "proxy_protocol = \"v2\"\n\
         tls = { server_name = \"API.internal\", cert = \"a.pem\", key = \"a.key\" }\n",
    );
    assert_eq!(mutual.proxy_protocol, Some(ProxyVersion::V2));
    let tls = mutual.tls.unwrap();
    assert_eq!(*tls.server_name.unwrap().value, *"api.internal");
    assert_eq!(*tls.cert.unwrap(), Path::new("etc/a.pem"));
    assert_eq!(*tls.key.unwrap(), Path::new("etc/a.key"));
}

#[test]
fn a_reload_that_moves_upstreams_changes_no_listener() {
    let other = "[[upstream]]\nname = \"other\"\nendpoints = [\"127.0.0.1:9002\"]\n";
    let passing = format!("{LISTENER}protocol = \"tcp\"\nupstream = \"app\"\n");
    let second = "[[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:1\"\nprotocol = \"tcp\"\nupstream = \"other\"\n";
    let one = good(&format!("{passing}{second}{UPSTREAM}{other}"));
    let two = good(&format!("{passing}{second}{other}{UPSTREAM}"));
    assert_eq!(one.listeners, two.listeners);
}

#[test]
fn the_redacted_view_shows_tls_as_it_was_written_with_defaults() {
    let config = good(&format!(
        "{LISTENER}{CERTIFICATE}[listener.tls]\nstrict_sni = true\n\
         {UPSTREAM}[upstream.tls]\nca = \"${{env:RG_SECRET}}.pem\"\n{ROUTE}"
    ));
    let view = config.to_json();
    let listener = &view["listener"][0];
    assert_eq!(listener["certificate"][0]["cert"], "certs/a.pem");
    assert_eq!(listener["tls"]["strict_sni"], true);
    assert_eq!(listener["tls"]["min_version"], "1.2");
    assert_eq!(listener["protocol"], "http");
    assert_eq!(view["upstream"][0]["tls"]["verify"], true);
    assert_eq!(view["upstream"][0]["tls"]["ca"], "${env:RG_SECRET}.pem");
    assert_eq!(view["acme"], serde_json::Value::Null, "there is none");
}

#[test]
fn endpoints_are_checked_only_when_that_is_asked_for() {
    assert_eq!(upstream("").health, None);
    let check = upstream("[upstream.health]\npath = \"/healthz?full\"\n").health;
    let expected = HealthCheck {
        question: HealthQuestion::Http {
            path: "/healthz?full".into(),
            expect: Vec::new(),
            body: None,
        },
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
    };
    assert_eq!(check, Some(expected));
    let check = upstream("[upstream.health]\npath = \"/\"\nexpect = [200, 401]\n").health;
    let HealthQuestion::Http { expect, .. } = check.unwrap().question else {
        panic!("not http");
    };
    assert_eq!(expect, [200, 401]);
}

#[test]
fn a_grpc_check_asks_about_the_server_or_a_service() {
    let service = |more: &str| {
        let text = format!("protocol = \"h2\"\n[upstream.health]\ntype = \"grpc\"\n{more}");
        upstream(&text).health.unwrap().question
    };
    let asks = |service: &str| HealthQuestion::Grpc {
        service: service.into(),
    };
    assert_eq!(service(""), asks(""));
    assert_eq!(service("service = \"a.B\"\n"), asks("a.B"));
}
