//! What a well-meaning peer is asked, and what its answer is worth.

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::failure::Failure;
use super::super::grpc::Serving;
use super::super::probe::Probe;
use super::super::{Question, Speaks};
use super::{asked, check, grpc, head, http, place, run, target};

async fn answered(question: Question, answer: &'static str) -> Result<(), Failure> {
    asked(check(question), async move |mut stream: TcpStream| {
        let asked = head(&mut stream).await;
        assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: 127.0.0.1:"), "{asked}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(stream);
    })
    .await
}

#[test]
fn any_2xx_is_good_unless_said_otherwise() {
    run(async {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let moved = "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answered(http(), ok).await, Ok(()));
        assert_eq!(answered(http(), interim).await, Ok(()));
        assert_eq!(answered(http(), moved).await, Err(Failure::Status(302)));
        let expecting = || Question::Http {
            path: "/healthz".to_owned(),
            expect: vec![302, 401],
            body: None,
        };
        assert_eq!(answered(expecting(), moved).await, Ok(()));
        assert_eq!(answered(expecting(), ok).await, Err(Failure::Status(200)));
    });
}

#[test]
fn an_expected_text_has_to_be_in_the_body() {
    run(async {
        let wanting = |text: &str| Question::Http {
            path: "/healthz".to_owned(),
            expect: Vec::new(),
            body: Some(text.to_owned()),
        };
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       4\r\nall \r\n7\r\nis well\r\n0\r\n\r\n";
        assert_eq!(answered(wanting("all is well"), chunked).await, Ok(()));
        let lacking = answered(wanting("All"), chunked).await;
        assert_eq!(lacking, Err(Failure::Body));
        let failing = "HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nwell";
        let result = answered(wanting("well"), failing).await;
        assert_eq!(result, Err(Failure::Status(500)), "the status comes first");
    });
}

#[test]
fn a_text_far_into_a_body_is_not_looked_for() {
    run(async {
        let question = Question::Http {
            path: "/healthz".to_owned(),
            expect: Vec::new(),
            body: Some("well".to_owned()),
        };
        let result = asked(check(question), async |mut stream: TcpStream| {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = stream.write_all(&[b'x'; 64 << 10]).await;
            let _ = stream.write_all(b"well").await;
        });
        assert_eq!(result.await, Err(Failure::Body));
    });
}

#[test]
fn a_connection_is_all_that_a_tcp_check_asks_for() {
    run(async {
        let result = asked(check(Question::Tcp), async |mut stream: TcpStream| {
            let mut read = Vec::new();
            let _ = stream.read_to_end(&mut read).await;
            assert!(read.is_empty(), "{read:?}");
        });
        assert_eq!(result.await, Ok(()));
    });
}

#[test]
fn an_endpoint_that_refuses_is_not_connected_to() {
    run(async {
        for question in [http(), Question::Tcp] {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let probe = Probe::new(&target("app", check(question), &[]), &place(address));
            let result = probe.check().await;
            assert!(matches!(result, Err(Failure::Connect(_))), "{result:?}");
        }
    });
}

/// A gRPC server that answers one call.
async fn serve(stream: TcpStream, body: &'static [u8], status: &'static str) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["grpc-timeout"], "20000m");
    let driven = tokio::spawn(async move { connection.accept().await.is_none() });
    let asked = request.into_body().data().await.unwrap().unwrap();
    assert_eq!(asked, Bytes::from_static(b"\0\0\0\0\x05\x0a\x03a.B"));
    let response = Response::builder().header("content-type", "application/grpc");
    if body.is_empty() {
        let response = response.header("grpc-status", status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
    } else {
        let response = response.body(()).unwrap();
        let mut out = respond.send_response(response, false).unwrap();
        out.send_data(Bytes::from_static(body), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        out.send_trailers(trailers).unwrap();
    }
    driven.await.unwrap();
}

#[test]
fn a_grpc_service_is_healthy_when_it_says_serving() {
    run(async {
        let says = |body, status| asked(check(grpc()), move |stream| serve(stream, body, status));
        assert_eq!(says(b"\0\0\0\0\x02\x08\x01", "0").await, Ok(()));
        assert_eq!(
            says(b"\0\0\0\0\x02\x08\x02", "0").await,
            Err(Failure::NotServing(Serving::No))
        );
        assert_eq!(says(b"", "12").await, Err(Failure::GrpcStatus(Some(12))));
        assert_eq!(
            says(b"\0\0\0\0\x02\x08\x01", "5").await,
            Err(Failure::GrpcStatus(Some(5)))
        );
    });
}

#[test]
fn http_checks_speak_http2_where_requests_do() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = target("app", check(http()), &[]);
        target.way.speaks = Speaks::Http2;
        let probe = Probe::new(&target, &place(listener.local_addr().unwrap()));
        let checked = tokio::spawn(async move { probe.check().await });
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(
            (request.method(), request.uri().path()),
            (&http::Method::GET, "/healthz")
        );
        let refused = Response::builder().status(503).body(()).unwrap();
        respond.send_response(refused, true).unwrap();
        assert!(connection.accept().await.is_none());
        assert_eq!(checked.await.unwrap(), Err(Failure::Status(503)));
    });
}
