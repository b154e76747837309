//! HTTP/2 on either side of the engine: what only shows between two connections.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "clients and origins are threads of their own"
)]

mod support;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use ringgate_core::chain::Filter;
use ringgate_core::rt::Driver;
use ringgate_core::snapshot::UpstreamProtocol;
use support::{ask, connect, engine, engine_of, origin};
use tokio::net::{TcpListener, TcpStream};

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

struct Nothing;

impl Filter for Nothing {
    type Core = ();
    type Scratch = ();

    fn describe(&self) -> String {
        String::new()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// An origin of HTTP/2: `serve` has each connection, with its number.
fn streams_origin<S, T>(serve: S) -> SocketAddr
where
    S: Fn(u32, h2::server::Connection<TcpStream, Bytes>) -> T + Send + 'static,
    T: Future<Output = ()> + 'static,
{
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime(), async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol();
                let connection = builder.handshake(socket).await.unwrap();
                tokio::task::spawn_local(serve(number, connection));
            }
        });
    });
    told.recv().unwrap()
}

/// A client of HTTP/2 without TLS.
async fn client(addr: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    requests.ready().await.unwrap()
}

fn websocket() -> http::Request<()> {
    let mut request = http::Request::builder()
        .method(http::Method::CONNECT)
        .uri("http://x/chat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request
}

/// A client whose connection has told that tunnels are taken.
async fn tunnel_client(addr: SocketAddr) -> SendRequest<Bytes> {
    let requests = client(addr).await;
    while !requests.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    requests
}

async fn whole(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[test]
fn an_origin_that_says_goodbye_gets_no_further_request() {
    for driver in DRIVERS {
        let goodbyes = Arc::new(AtomicU32::new(0));
        let said = Arc::clone(&goodbyes);
        let addr = streams_origin(move |number, mut connection| {
            let said = Arc::clone(&said);
            async move {
                let mut held = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if request.uri().path() == "/held" {
                        held.push((request, respond));
                        connection.graceful_shutdown();
                        said.fetch_add(1, Ordering::SeqCst);
                        continue;
                    }
                    let response = http::Response::new(());
                    let mut body = respond.send_response(response, false).unwrap();
                    let text = format!("connection {number}");
                    body.send_data(Bytes::from(text), true).unwrap();
                }
            }
        });
        let engine = engine_of::<Nothing>(driver, addr, vec![], |snapshot| {
            snapshot.upstreams[0].protocol = UpstreamProtocol::Http2;
        });
        let mut held = connect(engine.addr);
        held.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        support::eventually(|| goodbyes.load(Ordering::SeqCst) == 1);
        // The goodbye may be under way still.
        std::thread::sleep(Duration::from_millis(100));
        for method in ["GET", "POST"] {
            let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = ask(engine.addr, &request);
            assert!(answer.contains("connection 1"), "{answer}");
        }
    }
}

#[test]
fn an_answer_to_a_tunnel_that_opens_none_is_no_success() {
    for driver in DRIVERS {
        let (addr, _heads) =
            origin(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec());
        let engine = engine::<Nothing>(driver, addr, vec![]);
        runtime().block_on(async {
            let mut requests = tunnel_client(engine.addr).await;
            let (response, _body) = requests.send_request(websocket(), false).unwrap();
            let status = response.await.unwrap().status();
            assert!(!status.is_success(), "{status}");
        });
    }
}

#[test]
fn a_tunnel_on_a_stream_ends_with_its_origin() {
    for driver in DRIVERS {
        let addr = streams_origin(|_, mut connection| async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let response = http::Response::new(());
                let mut body = respond.send_response(response, false).unwrap();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    body.send_reset(Reason::CANCEL);
                });
            }
        });
        let engine = engine_of::<Nothing>(driver, addr, vec![], |snapshot| {
            snapshot.upstreams[0].protocol = UpstreamProtocol::Http2;
        });
        runtime().block_on(async {
            let mut requests = tunnel_client(engine.addr).await;
            let (response, mut body) = requests.send_request(websocket(), false).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let ended = poll_fn(|cx| body.poll_reset(cx));
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(ended.is_ok(), "the client was never told");
        });
    }
}

#[test]
fn many_small_pieces_for_a_slow_client_do_not_end_the_connection_of_others() {
    const PIECES: usize = 10_000;
    for driver in DRIVERS {
        let addr = streams_origin(|_, mut connection| async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let response = http::Response::new(());
                let mut body = respond.send_response(response, false).unwrap();
                if request.uri().path() != "/small" {
                    body.send_data(Bytes::from_static(b"fine"), true).unwrap();
                    continue;
                }
                for piece in 0..PIECES {
                    let last = piece + 1 == PIECES;
                    body.send_data(Bytes::from_static(b"0123456789"), last)
                        .unwrap();
                }
            }
        });
        let engine = engine_of::<Nothing>(driver, addr, vec![], |snapshot| {
            snapshot.upstreams[0].protocol = UpstreamProtocol::Http2;
        });
        runtime().block_on(async {
            let socket = TcpStream::connect(engine.addr).await.unwrap();
            let mut builder = h2::client::Builder::new();
            // Nothing of a body is taken until it is asked for.
            builder.initial_window_size(10);
            let (requests, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
            tokio::spawn(async move {
                let _ = connection.await;
            });
            let mut requests = requests.ready().await.unwrap();
            let request = |path: &str| http::Request::get(format!("http://x{path}")).body(());
            let (slow, _) = requests
                .send_request(request("/small").unwrap(), true)
                .unwrap();
            let slow = slow.await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (other, _) = requests
                .send_request(request("/other").unwrap(), true)
                .unwrap();
            let other = other.await.unwrap();
            assert_eq!(whole(other.into_body()).await.unwrap(), b"fine");
            let bytes = whole(slow.into_body()).await.unwrap();
            assert_eq!(bytes.len(), 10 * PIECES);
        });
    }
}
