//! Runs over TLS and HTTP/2, against a server of the `h2` crate on the bench's own wires.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ringgate_core::block::Block;
use ringgate_core::rt::{self, Driver, Listener};
use ringgate_core::tls::ServerTls;
use ringgate_core::wire::Wire;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{load, nothing};
use crate::wire::{self, Alpn, Resumption, STUCK_AFTER, serve};

/// A running server; it ends with the process.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    body_bytes: Arc<AtomicU64>,
}

impl Server {
    fn start(tls: Option<ServerTls>) -> Server {
        let (address, mut sockets) = serve::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
        let server = Server {
            address,
            requests: Arc::default(),
            body_bytes: Arc::default(),
        };
        let counts = (Arc::clone(&server.requests), Arc::clone(&server.body_bytes));
        let socket = sockets.pop().unwrap();
        let begin = move || {
            let listener = Listener::adopt(socket).unwrap();
            rt::spawn(accept(listener, tls, counts));
            async { Ok(()) }
        };
        serve::start("h2-test", None, Driver::Epoll, begin).unwrap();
        server
    }
}

type Counts = (Arc<AtomicU64>, Arc<AtomicU64>);

async fn accept(listener: Listener, tls: Option<ServerTls>, counts: Counts) {
    loop {
        listener.ready().await.unwrap();
        while let Ok(Some(accepted)) = listener.accept() {
            let (tls, counts) = (tls.clone(), counts.clone());
            rt::spawn(async move {
                let (socket, _) = accepted.adopt().unwrap();
                if let Ok(wire) = wire::accept(socket, tls.as_ref()).await {
                    connection(wire, counts).await;
                }
            });
        }
    }
}

async fn connection(wire: Wire, counts: Counts) {
    let channel = wire::channel(&Rc::new(wire), Block::empty(), STUCK_AFTER);
    let Ok(mut connection) = h2::server::handshake(channel).await else {
        return;
    };
    let mut number = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        counts.0.fetch_add(1, Ordering::SeqCst);
        number += 1;
        if request.uri().path() == "/leaves" && number == 5 {
            connection.graceful_shutdown();
        }
        rt::spawn(answer(request, respond, Arc::clone(&counts.1)));
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    body_bytes: Arc<AtomicU64>,
) {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        body_bytes.fetch_add(data.len() as u64, Ordering::SeqCst);
        let _ = body.flow_control().release_capacity(data.len());
    }
    match path.as_str() {
        "/refused" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "/silent" => FORGOTTEN.with_borrow_mut(|forgotten| forgotten.push(Rc::new(respond))),
        _ => {
            let stream = respond.send_response(http::Response::new(()), false);
            let _ = stream.map(|mut stream| stream.send_data(Bytes::from_static(b"hello"), true));
        }
    }
}

thread_local! {
    static FORGOTTEN: RefCell<Vec<Rc<h2::server::SendResponse<Bytes>>>> = RefCell::default();
}

fn tls(protocols: &[Alpn]) -> ServerTls {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![made.cert.der().clone()];
    wire::tls::server(chain, PrivateKeyDer::from(key), protocols, Resumption::On).unwrap()
}

fn http(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address)
}

#[test]
fn streams_are_counted_as_the_server_counts_them() {
    let server = Server::start(None);
    let run = load(&http(&server, "/"), "-p h2 -c 2 -i 5 -s 0.3").unwrap();
    assert_eq!(run.statuses, BTreeMap::from([(200, run.requests)]));
    assert_eq!((run.failures(), run.opened), (0, 2));
    assert_eq!(run.body_bytes, run.requests * 5);
    let beyond = server.requests.load(Ordering::SeqCst) - run.requests;
    assert!(run.requests > 0 && beyond <= 10, "{beyond} beyond");
}

#[test]
fn an_open_loop_runs_over_streams() {
    let server = Server::start(None);
    let options = "-p h2 -c 2 -i 3 -s 0.5 --rate 200 --idle 3";
    let run = load(&http(&server, "/"), options).unwrap();
    assert_eq!((run.requests + run.unsent, run.failures()), (100, 0));
    assert_eq!(server.requests.load(Ordering::SeqCst), run.requests + 3);
}

#[test]
fn bodies_are_sent_whole_within_flow_control() {
    let server = Server::start(None);
    let options = "-p h2 -c 1 -i 2 -s 0.3 --rate 30 --body-size 300KiB";
    let run = load(&http(&server, "/"), options).unwrap();
    let bytes = server.body_bytes.load(Ordering::SeqCst);
    assert_eq!((run.failures(), bytes), (0, run.requests * 300 * 1024));
    assert!(run.requests > 0);
}

#[test]
fn a_server_that_goes_away_in_order_makes_no_errors() {
    let server = Server::start(None);
    let run = load(&http(&server, "/leaves"), "-p h2 -c 1 -i 2 -s 0.3").unwrap();
    assert!(run.requests > 5 && run.opened > 1, "{run:?}");
    assert_eq!(run.errors, BTreeMap::new());
}

#[test]
fn reset_and_silent_streams_are_told_apart() {
    let server = Server::start(None);
    let what = nothing(&http(&server, "/refused"), "-p h2 -c 1 -s 0.1");
    assert!(what.contains("\nreset: "), "{what}");
    let options = "-p h2 -c 1 -i 2 -s 0.5 --timeout 0.1";
    let what = nothing(&http(&server, "/silent"), options);
    assert!(what.contains("\ntimeout: "), "{what}");
}

#[test]
fn streams_run_over_tls() {
    let server = Server::start(Some(tls(&[Alpn::H2])));
    let url = format!("https://{}/", server.address);
    let run = load(&url, "-p h2 --insecure -c 2 -i 3 -s 0.3").unwrap();
    assert!(run.tls && run.requests > 0 && run.failures() == 0);
    let run = load(&url, "-p h2 --insecure -c 1 -s 0.3 --new-connections").unwrap();
    assert!(run.opened >= run.requests && run.failures() == 0);
}

#[test]
fn as_many_handshakes_are_resumed_as_there_are_tickets_for() {
    let server = Server::start(Some(tls(&[Alpn::H2])));
    let url = format!("https://{}/", server.address);
    let options = "-p h2 --insecure -c 32 -s 0.5 --new-connections";
    let run = load(&url, options).unwrap();
    let full = run.opened - run.resumed;
    // The first on each connection, and those whose end came before their tickets.
    assert!(
        run.failures() == 0 && full <= 64,
        "{full} of {}",
        run.opened
    );
    let run = load(&url, &format!("{options} --no-resumption")).unwrap();
    assert_eq!(run.resumed, 0);
}

#[test]
fn a_server_that_does_not_speak_the_protocol_is_no_figure() {
    let server = Server::start(Some(tls(&[Alpn::H2])));
    let url = format!("https://{}/", server.address);
    let what = nothing(&url, "--insecure -c 1 -s 0.1");
    assert!(what.contains("TLS"), "{what}");
    let what = nothing(&url, "-p h2 -c 1 -s 0.1");
    assert!(
        what.contains("certificate") && what.contains("--ca"),
        "{what}"
    );
}

fn origin() -> SocketAddr {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    crate::origin::start(listen, 1, None, serve::DriverChoice::Auto, None).unwrap()
}

#[test]
fn grpc_calls_are_answered_by_the_origin() {
    let url = format!("http://{}/package.Service/Method", origin());
    let run = load(&url, "-p h2 --grpc --body-size 1KiB -c 2 -i 5 -s 0.3").unwrap();
    assert_eq!(run.statuses, BTreeMap::from([(200, run.requests)]));
    assert_eq!((run.failures(), run.opened), (0, 2));
    assert_eq!(run.body_bytes, run.requests * (5 + 47));
    let run = load(&format!("{url}?size=200000"), "-p h2 --grpc -c 1 -s 0.2").unwrap();
    assert_eq!(run.failures(), 0);
    assert_eq!(run.body_bytes, run.requests * 200_005);
}

#[test]
fn a_failed_call_is_no_answer() {
    let url = format!("http://{}/package.Service/Method?error=1", origin());
    let what = nothing(&url, "-p h2 --grpc -c 1 -s 0.1");
    assert!(
        what.contains("\ngrpc: grpc-status 14 as asked for"),
        "{what}"
    );
    let server = Server::start(None);
    let what = nothing(&http(&server, "/"), "-p h2 --grpc -c 1 -s 0.1");
    assert!(what.contains("no grpc-status"), "{what}");
}

#[test]
fn calls_are_not_made_over_http_1() {
    let what = match load("http://127.0.0.1:1/", "--grpc") {
        Err(crate::fault::Fault::Setup(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(what.contains("--protocol h2"), "{what}");
}

#[test]
fn the_origin_answers_http_2_with_what_the_query_asks_for() {
    let origin = origin();
    for (query, status, bytes) in [("", 200, 47), ("?size=100k&status=404", 404, 102_400)] {
        let run = load(
            &format!("http://{origin}/x{query}"),
            "-p h2 -c 1 -i 3 -s 0.2",
        )
        .unwrap();
        assert_eq!(run.statuses, BTreeMap::from([(status, run.requests)]));
        assert_eq!((run.failures(), run.body_bytes), (0, run.requests * bytes));
    }
}
