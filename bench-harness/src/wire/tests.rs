//! Wires against each other, and against OpenSSL, over loopback.

pub(crate) mod fixtures;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use super::*;
use fixtures::{Certificate, on_runtime};

const DEADLINE: Ticks = Ticks(200);

/// A connected pair: the client's side of the standard library, and the accepted socket.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn adopt(stream: TcpStream) -> Socket {
    Socket::adopt(OwnedFd::from(stream)).unwrap()
}

/// Both ends of a TLS connection on this thread.
async fn tls_pair(client: ClientTls, server: ServerTls) -> (Wire, Wire) {
    let (near, far) = sockets();
    let (near, far) = ringgate_core::rt::join(
        Wire::over(adopt(near), &client, DEADLINE),
        Wire::accept(adopt(far), Some(&server), DEADLINE),
    )
    .await;
    (near.unwrap(), far.unwrap())
}

async fn received(wire: &Wire, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let (result, block) = wire.recv_block(BlockClass::Small).await;
        if result? == 0 {
            break;
        }
        bytes.extend_from_slice(&block);
    }
    Ok(bytes)
}

fn certified() -> (ClientTls, ServerTls) {
    let certificate = Certificate::new();
    (
        certificate.client(Alpn::Http1, Resumption::On),
        certificate.server(&[Alpn::Http1], Resumption::On),
    )
}

#[test]
fn both_directions_pass_at_once() {
    on_runtime(|| async {
        let (client, server) = certified();
        let (near, far) = tls_pair(client, server).await;
        assert_eq!(near.alpn(), Some(Alpn::Http1));
        let bytes: Vec<u8> = (0..2_000_000u32).map(|at| (at % 251) as u8).collect();
        let sending = |wire| {
            let (wire, bytes): (&Wire, _) = (wire, Block::from_slice(&bytes));
            async move {
                wire.send(bytes).await.0.unwrap();
                wire.finish().await.unwrap();
            }
        };
        let receiving = |wire| {
            let (wire, bytes): (&Wire, _) = (wire, &bytes);
            async move { assert!(received(wire, usize::MAX).await.unwrap() == *bytes) }
        };
        ringgate_core::rt::join(
            ringgate_core::rt::join(sending(&near), receiving(&near)),
            ringgate_core::rt::join(sending(&far), receiving(&far)),
        )
        .await;
    });
}

#[test]
fn a_cut_stream_is_an_error_and_a_finished_one_is_not() {
    on_runtime(|| async {
        let (client, server) = certified();
        let (near, far) = tls_pair(client.clone(), server.clone()).await;
        near.send(Block::from_slice(b"half")).await.0.unwrap();
        near.socket().shutdown(Shutdown::Write);
        assert_eq!(received(&far, 4).await.unwrap(), b"half");
        let error = received(&far, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inside, Some(&TlsError::Truncated));

        let (near, far) = tls_pair(client, server).await;
        near.finish().await.unwrap();
        assert_eq!(received(&far, 1).await.unwrap(), b"");
        // It stays so.
        assert_eq!(received(&far, 1).await.unwrap(), b"");
    });
}

#[test]
fn the_second_connection_resumes_the_first() {
    on_runtime(|| async {
        let (client, server) = certified();
        for expected in [Resumed::No, Resumed::Yes] {
            let (near, far) = tls_pair(client.clone(), server.clone()).await;
            assert_eq!(near.resumed(), Some(expected));
            // Tickets come behind the handshake: with the first answer.
            far.send(Block::from_slice(b"x")).await.0.unwrap();
            assert_eq!(received(&near, 1).await.unwrap(), b"x");
        }
    });
}

#[test]
fn a_peer_that_does_not_shake_hands_is_given_up() {
    on_runtime(|| async {
        let (client, _) = certified();
        let (near, far) = sockets();
        let error = Wire::over(adopt(near), &client, Ticks(2)).await.err();
        assert_eq!(error.unwrap().kind(), ErrorKind::TimedOut);
        drop(far);
    });
}

#[test]
fn a_server_that_speaks_no_tls_is_an_error() {
    on_runtime(|| async {
        let (client, _) = certified();
        let (near, mut far) = sockets();
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let error = Wire::over(adopt(near), &client, DEADLINE).await.err();
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().starts_with("TLS: "), "{error}");
    });
}

#[test]
fn a_plain_wire_is_the_socket() {
    on_runtime(|| async {
        let (near, far) = sockets();
        let (near, far) = (Wire::plain(adopt(near)), Wire::plain(adopt(far)));
        near.send(Block::from_slice(b"hello")).await.0.unwrap();
        near.finish().await.unwrap();
        assert_eq!(received(&far, 5).await.unwrap(), b"hello");
        assert_eq!(received(&far, 1).await.unwrap(), b"");
        assert_eq!((far.alpn(), far.resumed()), (None, None));
    });
}

fn tls_origin(certificate: &Certificate) -> SocketAddr {
    let tls = certificate.server(&[Alpn::Http1], Resumption::On);
    let listen = "127.0.0.1:0".parse().unwrap();
    let driver = serve::DriverChoice::Auto;
    crate::origin::start(listen, 1, None, driver, Some(tls)).unwrap()
}

#[test]
fn the_origin_answers_over_tls() {
    let certificate = Certificate::new();
    let address = tls_origin(&certificate);
    let client = certificate.client(Alpn::Http1, Resumption::Off);
    let answer = on_runtime(move || async move {
        let address = Addr::Tcp(address);
        let wire = Wire::connect(&address, Some(&client), DEADLINE)
            .await
            .unwrap();
        let request = b"GET /?size=300000 HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n";
        wire.send(Block::from_slice(request)).await.0.unwrap();
        received(&wire, usize::MAX).await.unwrap()
    });
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&[b'x'; 300_000]));
}

#[test]
fn openssl_understands_the_origin() {
    let certificate = Certificate::new();
    let address = tls_origin(&certificate);
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
