//! `h2` over channels, plain and TLS, client and server on one thread.

use bytes::Bytes;
use h2::{RecvStream, SendStream};

use super::*;
use crate::wire::tests::fixtures::{
    Certificate, DEADLINE, Tickets, accepted, on_runtime, over, sockets,
};

const STREAMS: usize = 20;
const SIZE: usize = 300_000;

fn channel(wire: Wire) -> Channel {
    Channel::new(Rc::new(wire), Block::empty(), None, DEADLINE)
}

/// Sends bytes as the peer's windows allow.
async fn send_bytes(stream: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.unwrap().unwrap();
        let piece = bytes.split_to(capacity.min(bytes.len()));
        stream.send_data(piece, false).unwrap();
    }
}

async fn echo(mut request: RecvStream, mut response: SendStream<Bytes>) {
    while let Some(bytes) = request.data().await {
        let bytes = bytes.unwrap();
        request
            .flow_control()
            .release_capacity(bytes.len())
            .unwrap();
        send_bytes(&mut response, bytes).await;
    }
    response.send_data(Bytes::new(), true).unwrap();
}

async fn serve(wire: Wire) {
    let mut connection = h2::server::handshake(channel(wire)).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else {
            return;
        };
        let response = respond.send_response(http::Response::new(()), false);
        rt::spawn(echo(request.into_body(), response.unwrap()));
    }
}

/// Many streams at once that send and receive more than any window or buffer holds.
async fn echo_streams(wire: Wire) -> usize {
    let (requests, connection) = h2::client::handshake(channel(wire)).await.unwrap();
    rt::spawn(async move { connection.await.unwrap() });
    let whole = Rc::new(Cell::new(0));
    for stream in 0..STREAMS {
        let (whole, requests) = (Rc::clone(&whole), requests.clone());
        rt::spawn(async move {
            let mut requests = requests.ready().await.unwrap();
            let request = http::Request::post("http://localhost/").body(()).unwrap();
            let (response, mut body) = requests.send_request(request, false).unwrap();
            let bytes = Bytes::from(vec![stream as u8; SIZE]);
            let sending = async {
                send_bytes(&mut body, bytes.clone()).await;
                body.send_data(Bytes::new(), true).unwrap();
            };
            let receiving = async {
                let mut body = response.await.unwrap().into_body();
                let mut echoed = Vec::new();
                while let Some(bytes) = body.data().await {
                    let bytes = bytes.unwrap();
                    body.flow_control().release_capacity(bytes.len()).unwrap();
                    echoed.extend_from_slice(&bytes);
                }
                echoed
            };
            let ((), echoed) = rt::join(sending, receiving).await;
            assert!(echoed == bytes);
            whole.set(whole.get() + 1);
        });
    }
    drop(requests);
    while whole.get() < STREAMS {
        rt::pause(Ticks(1)).await;
    }
    whole.get()
}

#[test]
fn parallel_echo_streams_over_plain_wires() {
    let whole = on_runtime(|| async {
        let (near, far) = sockets();
        rt::spawn(serve(Wire::plain(far)));
        echo_streams(Wire::plain(near)).await
    });
    assert_eq!(whole, STREAMS);
}

#[test]
fn parallel_echo_streams_over_tls() {
    let certificate = Certificate::new();
    let whole = on_runtime(move || async move {
        let (near, far) = sockets();
        let server = certificate.server(&["h2"], Tickets::No);
        rt::spawn(async move {
            serve(accepted(far, &server).await.unwrap()).await;
        });
        let client = certificate.client(&["h2"], Tickets::No);
        let wire = over(near, &client, DEADLINE).await.unwrap();
        assert!(wire.speaks_http2());
        echo_streams(wire).await
    });
    assert_eq!(whole, STREAMS);
}

async fn write_all(channel: &mut Channel, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| Pin::new(&mut *channel).poll_write(cx, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn flush(channel: &mut Channel) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *channel).poll_flush(cx)).await
}

#[test]
fn writes_up_to_a_flush_are_one_send() {
    on_runtime(|| async {
        let (near, far) = sockets();
        let mut channel = channel(Wire::plain(near));
        for piece in [&b"one "[..], b"and ", b"two"] {
            write_all(&mut channel, piece).await.unwrap();
        }
        rt::yield_turn().await;
        assert_eq!(far.liveness(), rt::Liveness::Quiet);
        flush(&mut channel).await.unwrap();
        let (_, block) = far.recv_block(BlockClass::Head, Likely::Later).await;
        assert_eq!(&block[..], b"one and two");
    });
}

#[test]
fn a_dropped_channel_sends_what_was_written_first() {
    on_runtime(|| async {
        let (near, far) = sockets();
        let mut channel = channel(Wire::plain(near));
        write_all(&mut channel, b"last words").await.unwrap();
        drop(channel);
        let (_, block) = far.recv_block(BlockClass::Head, Likely::Later).await;
        assert_eq!(&block[..], b"last words");
        assert_eq!(
            far.recv_block(BlockClass::Head, Likely::Later)
                .await
                .0
                .unwrap(),
            0
        );
    });
}

#[test]
fn what_waits_for_a_slow_peer_is_bounded() {
    on_runtime(|| async {
        let (near, _far) = sockets();
        let mut channel = channel(Wire::plain(near));
        let (mut written, piece) = (0, [0; 16 << 10]);
        // The kernel's buffers hold some megabytes; then it must end.
        let is_full = loop {
            let polled =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut channel).poll_write(cx, &piece))).await;
            match polled {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending if channel.writing.waiting.borrow().len() == WAITING_MAX => {
                    rt::pause(Ticks(1)).await;
                    if channel.writing.waiting.borrow().len() == WAITING_MAX {
                        break true;
                    }
                }
                Poll::Pending => rt::yield_turn().await,
            }
            if written > 100 << 20 {
                break false;
            }
        };
        assert!(is_full, "{written} bytes");
    });
}

#[test]
fn shutdown_waits_for_the_peer_to_be_sent_everything() {
    on_runtime(|| async {
        let (near, far) = sockets();
        let mut channel = channel(Wire::plain(near));
        write_all(&mut channel, &[1; 100_000]).await.unwrap();
        poll_fn(|cx| Pin::new(&mut channel).poll_shutdown(cx))
            .await
            .unwrap();
        let mut total = 0;
        loop {
            let (result, _) = far.recv_block(BlockClass::Large, Likely::Later).await;
            match result.unwrap() {
                0 => break,
                count => total += count,
            }
        }
        assert_eq!(total, 100_000);
        let refused = write_all(&mut channel, b"more").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    });
}
