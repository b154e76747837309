//! Clients against the bench's own servers, and against OpenSSL, over loopback.

pub(crate) mod fixtures;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ringgate_core::block::BlockClass;
use ringgate_core::rt::Likely;
use rustls::CertificateError;

use super::*;
use fixtures::{Certificate, on_runtime, stranger};

const DEADLINE: Ticks = Ticks(200);

/// What comes of a handshake with an origin that has these protocols and this certificate.
fn shaken(client: ClientTls, server: ServerTls) -> io::Result<()> {
    let address = started(server);
    on_runtime(move || async move {
        let connected = connect(&Addr::Tcp(address), Some(&client), DEADLINE).await;
        connected.map(drop)
    })
}

fn started(tls: ServerTls) -> SocketAddr {
    let listen = "127.0.0.1:0".parse().unwrap();
    let driver = serve::DriverChoice::Auto;
    crate::origin::start(listen, 1, None, driver, Some(tls)).unwrap()
}

fn certificate_error(shaken: io::Result<()>) -> CertificateError {
    let error = shaken.unwrap_err();
    assert!(is_of_tls(&error), "{error}");
    match TlsError::of(&error) {
        Some(TlsError::Protocol(rustls::Error::InvalidCertificate(error))) => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_protocol_that_the_server_does_not_speak_is_refused() {
    let certificate = Certificate::new();
    let server = certificate.server(&[Alpn::Http1], Resumption::Off);
    let error = shaken(certificate.client(Alpn::H2, Resumption::Off), server).unwrap_err();
    assert!(is_of_tls(&error), "{error}");
}

#[test]
fn a_server_without_protocols_speaks_http_1_only() {
    let certificate = Certificate::new();
    let shaken = |wanted| {
        let server = certificate.server(&[], Resumption::Off);
        shaken(certificate.client(wanted, Resumption::Off), server)
    };
    assert!(shaken(Alpn::Http1).is_ok());
    let error = shaken(Alpn::H2).unwrap_err();
    assert!(is_of_tls(&error), "{error}");
    let said = error.to_string();
    assert_eq!(said, "TLS: the server does not speak h2, it picked nothing");
}

#[test]
fn strangers_are_believed_only_where_nobody_looks() {
    let certificate = Certificate::new();
    let known = certificate.client(Alpn::Http1, Resumption::Off);
    assert!(matches!(
        certificate_error(shaken(known, stranger())),
        CertificateError::UnknownIssuer | CertificateError::BadSignature
    ));
    let blind = tls::client("elsewhere", &Trust::Anyone, Alpn::Http1, Resumption::Off);
    assert!(shaken(blind.unwrap(), stranger()).is_ok());
}

#[test]
fn an_authority_may_present_itself_where_it_is_known() {
    let certificate = Certificate::of_authority();
    let server = certificate.server(&[], Resumption::Off);
    assert!(shaken(certificate.client(Alpn::Http1, Resumption::Off), server).is_ok());
}

#[test]
fn another_name_is_refused() {
    let certificate = Certificate::new();
    let trust = Trust::File(certificate.chain.clone());
    let client = tls::client("example.org", &trust, Alpn::Http1, Resumption::Off).unwrap();
    let server = certificate.server(&[], Resumption::Off);
    assert!(matches!(
        certificate_error(shaken(client, server)),
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName
    ));
}

#[test]
fn the_second_connection_resumes_the_first() {
    let certificate = Certificate::new();
    for (of_client, of_server, second) in [
        (Resumption::On, Resumption::On, true),
        (Resumption::Off, Resumption::On, false),
        (Resumption::On, Resumption::Off, false),
    ] {
        let address = started(certificate.server(&[Alpn::Http1], of_server));
        let client = certificate.client(Alpn::Http1, of_client);
        let resumed = on_runtime(move || async move {
            let mut resumed = Vec::new();
            for _ in 0..2 {
                let (wire, _) = asked(address, &client).await;
                resumed.push(is_resumed(&wire));
            }
            resumed
        });
        assert_eq!(resumed, [false, second]);
    }
}

/// A connection that has carried one request, and the answer.
async fn asked(address: SocketAddr, client: &ClientTls) -> (Wire, Vec<u8>) {
    let wire = connect(&Addr::Tcp(address), Some(client), DEADLINE).await;
    let wire = wire.unwrap();
    let request = b"GET /?size=300000 HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n";
    let sent = wire.send(Block::from_slice(request), || DEADLINE).await;
    sent.unwrap();
    let mut answer = Vec::new();
    loop {
        let (result, block) = wire.recv_block(BlockClass::Small, Likely::Later).await;
        if result.unwrap() == 0 {
            return (wire, answer);
        }
        answer.extend_from_slice(&block);
    }
}

#[test]
fn the_origin_answers_over_tls() {
    let certificate = Certificate::new();
    let address = started(certificate.server(&[Alpn::Http1], Resumption::On));
    let client = certificate.client(Alpn::Http1, Resumption::Off);
    let answer = on_runtime(move || async move { asked(address, &client).await.1 });
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&[b'x'; 300_000]));
}

#[test]
fn openssl_understands_the_origin() {
    let certificate = Certificate::new();
    let address = started(certificate.server(&[Alpn::Http1], Resumption::On));
    for version in ["-tls1_2", "-tls1_3"] {
        let client = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-servername", "localhost"])
            .args([version, "-alpn", "http/1.1", "-connect"])
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut client) = client else {
            // Not installed here.
            return;
        };
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.take().unwrap().write_all(request).unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
        assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
        assert!(output.status.success(), "{text}");
    }
}
