//! Wires against each other over loopback.

pub(crate) mod fixtures;

use std::io::{ErrorKind, Write};

use super::*;
use crate::rt::join;
use crate::tls::{ClientTls, ServerTls};
use fixtures::{
    Certificate, DEADLINE, Tickets, adopt, on_runtime, over, sockets, streams, tls_pair,
};

async fn send(wire: &Wire, bytes: &[u8]) {
    let sent = wire.send(Block::from_slice(bytes), || DEADLINE).await;
    sent.unwrap();
}

async fn received(wire: &Wire, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let (result, block) = wire.recv_block(BlockClass::Small, Likely::Later).await;
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
        certificate.client(&["http/1.1"], Tickets::Yes),
        certificate.server(&["http/1.1"], Tickets::Yes),
    )
}

#[test]
fn both_directions_pass_at_once() {
    on_runtime(|| async {
        let (client, server) = certified();
        let (near, far) = tls_pair(&client, &server).await;
        let bytes: Vec<u8> = (0..2_000_000u32).map(|at| (at % 251) as u8).collect();
        let sending = |wire| {
            let (wire, bytes): (&Wire, _) = (wire, &bytes);
            async move {
                send(wire, bytes).await;
                wire.finish(DEADLINE).await;
            }
        };
        let receiving = |wire| {
            let (wire, bytes): (&Wire, _) = (wire, &bytes);
            async move { assert!(received(wire, usize::MAX).await.unwrap() == *bytes) }
        };
        join(
            join(sending(&near), receiving(&near)),
            join(sending(&far), receiving(&far)),
        )
        .await;
    });
}

#[test]
fn a_cut_stream_is_an_error_and_a_finished_one_is_not() {
    on_runtime(|| async {
        let (client, server) = certified();
        let (near, far) = tls_pair(&client, &server).await;
        send(&near, b"half").await;
        near.shutdown(Shutdown::Write);
        assert_eq!(received(&far, 4).await.unwrap(), b"half");
        let error = received(&far, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(TlsError::of(&error), Some(&TlsError::Truncated));

        let (near, far) = tls_pair(&client, &server).await;
        near.finish(DEADLINE).await;
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
            let (near, far) = tls_pair(&client, &server).await;
            assert_eq!(near.with_session(Session::resumed), Some(Some(expected)));
            // Tickets come behind the handshake: with the first answer.
            send(&far, b"x").await;
            assert_eq!(received(&near, 1).await.unwrap(), b"x");
        }
    });
}

#[test]
fn a_peer_that_does_not_shake_hands_is_given_up() {
    on_runtime(|| async {
        let (client, _) = certified();
        let (near, far) = sockets();
        let error = over(near, &client, Ticks(2)).await.err();
        assert_eq!(error.unwrap().kind(), ErrorKind::TimedOut);
        drop(far);
    });
}

#[test]
fn a_server_that_speaks_no_tls_is_an_error() {
    on_runtime(|| async {
        let (client, _) = certified();
        let (near, mut far) = streams();
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let error = over(adopt(near), &client, DEADLINE).await.err();
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().starts_with("TLS: "), "{error}");
    });
}

#[test]
fn a_plain_wire_is_the_socket() {
    on_runtime(|| async {
        let (near, far) = sockets();
        let (near, far) = (Wire::plain(near), Wire::plain(far));
        send(&near, b"hello").await;
        near.finish(DEADLINE).await;
        assert_eq!(received(&far, 5).await.unwrap(), b"hello");
        assert_eq!(received(&far, 1).await.unwrap(), b"");
        assert_eq!(far.security(), Security::Plain);
        assert_eq!(far.with_session(Session::resumed), None);
    });
}

#[test]
fn a_lent_block_comes_back() {
    on_runtime(|| async {
        let (client, server) = certified();
        let (near, far) = tls_pair(&client, &server).await;
        let mut block = Block::from_slice(b"one");
        for _ in 0..3 {
            block.clear();
            block.append(b"again");
            let (sent, back) = near.send_lent(block, || DEADLINE).await;
            sent.unwrap();
            block = back;
            assert_eq!(received(&far, 5).await.unwrap(), b"again");
        }
    });
}
