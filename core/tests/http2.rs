//! HTTP/2 on either side of the engine: what only shows between two connections.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "clients and origins are threads of their own"
)]

mod support;

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use ringgate_core::chain::{Filter, RequestPhase, Verdict};
use ringgate_core::rt::Driver;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::snapshot::{Carries, TrustedNetworks, UpstreamProtocol};
use ringgate_core::worker::{Command, Installation};
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

/// Panics for one path.
struct Panics;

impl Filter for Panics {
    type Core = ();
    type Scratch = ();

    fn request_head(&self, phase: &mut RequestPhase<'_, Self>) -> Verdict {
        assert!(phase.head.path() != b"/panic", "as asked");
        Verdict::Continue
    }

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

#[test]
fn a_shared_connection_whose_origin_has_vanished_gets_no_further_request() {
    for driver in DRIVERS {
        let addr = streams_origin(|number, mut connection| async move {
            if number == 0 {
                // Nobody answers any more, and nobody hangs up.
                return std::future::pending().await;
            }
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let response = http::Response::new(());
                let mut body = respond.send_response(response, false).unwrap();
                body.send_data(Bytes::from_static(b"fine"), true).unwrap();
            }
        });
        let engine = engine_of::<Nothing>(driver, addr, vec![], |snapshot| {
            snapshot.upstreams[0].protocol = UpstreamProtocol::Http2;
            snapshot.upstreams[0].response_timeout = Ticks(15);
        });
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let lost = ask(engine.addr, request);
        assert!(lost.starts_with("HTTP/1.1 504 "), "{lost}");
        let answer = ask(engine.addr, request);
        assert!(answer.contains("fine"), "{answer}");
    }
}

/// What a client sends first: the preface, and its settings with the next byte.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `GET http://x/` on the first stream.
const GET: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'x'];

#[test]
fn a_client_whose_preface_is_under_way_at_a_drain_is_served_and_leaves() {
    for (driver, sent) in DRIVERS.into_iter().flat_map(|d| [(d, 0), (d, 16)]) {
        let (addr, _heads) =
            origin(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec());
        let engine = engine::<Nothing>(driver, addr, vec![]);
        let mut early = connect(engine.addr);
        early.write_all(&PREFACE[..sent]).unwrap();
        let stats = engine.registry.workers.iter().next().unwrap();
        support::eventually(|| stats.connections.value() == 1);
        std::thread::sleep(Duration::from_millis(100));
        let (done, drained) = std::sync::mpsc::channel();
        let grace = Ticks(150);
        let drain = Command::Drain { grace, done };
        engine.worker.mailbox.send(drain);
        std::thread::sleep(Duration::from_millis(50));
        early.write_all(&PREFACE[sent..]).unwrap();
        early.write_all(SETTINGS).unwrap();
        early.write_all(GET).unwrap();
        let mut got = Vec::new();
        let _ = early.read_to_end(&mut got);
        let hello = got.windows(5).any(|bytes| bytes == b"hello");
        assert!(hello, "{got:?}");
        let (_, cut) = drained.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(cut, 0);
    }
}

#[test]
fn a_passed_connection_goes_where_its_listener_sent_it_when_it_was_accepted() {
    let says = |name: &'static str| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap().write_all(name.as_bytes()).unwrap();
            }
        });
        addr
    };
    for driver in DRIVERS {
        let (first, second) = (says("first"), says("second"));
        let anyone = || TrustedNetworks::new([([127, 0, 0, 1].into(), 8)]);
        let engine = engine_of::<Nothing>(driver, first, vec![], |snapshot| {
            snapshot.listeners[0].carries = Carries::Tcp(0);
            snapshot.listeners[0].proxies = anyone();
        });
        let mut client = connect(engine.addr);
        client.write_all(b"PROXY TCP4 192.0.2.1").unwrap();
        let stats = engine.registry.workers.iter().next().unwrap();
        support::eventually(|| stats.connections.value() == 1);
        std::thread::sleep(Duration::from_millis(100));
        let mut next =
            support::snapshot_of::<Nothing>(&engine.registry, engine.addr, second, vec![]);
        next.generation = 2;
        next.upstreams[0].name = "other".into();
        let (reply, installed) = std::sync::mpsc::channel();
        engine.worker.mailbox.send(Command::Install(Installation {
            snapshot: Arc::new(next),
            opened: vec![],
            log: None,
            reply,
        }));
        installed.recv().unwrap();
        client.write_all(b" 192.0.2.2 1 2\r\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "first");
    }
}

#[test]
fn a_slow_client_has_its_whole_answer_at_a_drain() {
    const SIZE: usize = 2 << 20;
    const STREAMS: u8 = 24;
    const ALL: usize = SIZE * STREAMS as usize;
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + SIZE, b'x');
            answer
        });
        let engine = engine::<Nothing>(driver, addr, vec![]);
        let (addr, mailbox) = (engine.addr, engine.worker.mailbox.clone());
        let stats = engine.registry.workers.iter().next().unwrap();
        runtime().block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(64 << 10).unwrap();
            let mut socket = socket.connect(addr).await.unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            socket.write_all(PREFACE).await.unwrap();
            // Windows of two gigabytes: only the connection itself holds the answer back.
            socket
                .write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff])
                .await
                .unwrap();
            socket
                .write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0])
                .await
                .unwrap();
            for stream in 0..STREAMS {
                let mut get = GET.to_vec();
                get[8] = 2 * stream + 1;
                socket.write_all(&get).await.unwrap();
            }
            let (mut total, mut drained) = (0, None);
            let mut bytes = vec![0; 64 << 10];
            loop {
                let count = socket.read(&mut bytes).await.unwrap_or(0);
                total += count;
                if count == 0 {
                    break;
                }
                if total > ALL / 2 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                if drained.is_none() && stats.active.value() == 0 && total > ALL / 2 {
                    let (done, over) = std::sync::mpsc::channel();
                    let grace = Ticks(300);
                    mailbox.send(Command::Drain { grace, done });
                    // Longer than a client gets that has nothing to wait for.
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    drained = Some(over);
                }
            }
            assert!(total >= ALL, "{total} bytes");
            let (_, cut) = drained
                .unwrap()
                .recv_timeout(Duration::from_secs(40))
                .unwrap();
            assert_eq!(cut, 0);
        });
    }
}

#[test]
fn a_panic_ends_its_stream_and_nothing_else() {
    for driver in DRIVERS {
        let (addr, _heads) =
            origin(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec());
        let engine = engine(driver, addr, vec![Panics]);
        runtime().block_on(async {
            let mut requests = client(engine.addr).await;
            let get = |path: &str| http::Request::get(format!("http://x{path}")).body(());
            let (lost, _) = requests.send_request(get("/panic").unwrap(), true).unwrap();
            assert!(lost.await.unwrap_err().is_reset());
            let (kept, _) = requests.send_request(get("/").unwrap(), true).unwrap();
            let body = kept.await.unwrap().into_body();
            assert_eq!(whole(body).await.unwrap(), b"fine");
        });
        let stats = engine.registry.workers.iter().next().unwrap();
        assert_eq!(stats.panics.value(), 1);
        support::eventually(|| stats.active.value() == 0 && stats.streams.value() == 0);
    }
}

#[test]
fn an_origin_that_resets_a_stream_gets_the_request_once() {
    for driver in DRIVERS {
        let seen = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&seen);
        let addr = streams_origin(move |_, mut connection| {
            let count = Arc::clone(&count);
            async move {
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if request.uri().path() == "/poison" {
                        count.fetch_add(1, Ordering::SeqCst);
                        respond.send_reset(Reason::INTERNAL_ERROR);
                        continue;
                    }
                    respond
                        .send_response(http::Response::new(()), true)
                        .unwrap();
                }
            }
        });
        let engine = engine_of::<Nothing>(driver, addr, vec![], |snapshot| {
            snapshot.upstreams[0].protocol = UpstreamProtocol::Http2;
        });
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = ask(engine.addr, &request("/"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = ask(engine.addr, &request("/poison"));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
}
