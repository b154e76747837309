//! Peers that send too much, nonsense, or nothing. A check of each ends, as failed.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::Question;
use super::super::failure::{Failure, Late};
use super::{asked, check, grpc, head, http, run};

/// Writes for as long as somebody reads.
async fn pour(stream: &mut TcpStream, first: &[u8], again: &[u8]) {
    let mut open = stream.write_all(first).await.is_ok();
    while open {
        open = stream.write_all(again).await.is_ok();
    }
}

async fn poured(question: Question, first: &'static [u8], again: &'static [u8]) -> Failure {
    let script = async move |mut stream: TcpStream| pour(&mut stream, first, again).await;
    asked(check(question), script).await.unwrap_err()
}

#[test]
fn an_endless_head_is_no_answer() {
    run(async {
        let failure = poured(http(), b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n").await;
        assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
        let failure = poured(http(), b"", &[b'x'; 512]).await;
        assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
    });
}

#[test]
fn an_endless_body_is_not_read_to_the_end() {
    run(async {
        let result = asked(check(http()), async |mut stream: TcpStream| {
            head(&mut stream).await;
            pour(&mut stream, b"HTTP/1.1 500 No\r\n\r\n", &[b'x'; 4096]).await;
        });
        assert_eq!(result.await, Err(Failure::Status(500)));
    });
}

#[test]
fn a_body_that_is_cut_off_is_no_answer() {
    run(async {
        let result = asked(check(http()), async |mut stream: TcpStream| {
            head(&mut stream).await;
            let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
            stream.write_all(cut).await.unwrap();
        });
        let failure = result.await.unwrap_err();
        assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
    });
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    run(async {
        for question in [http(), grpc()] {
            let mut impatient = check(question);
            impatient.timeout = Duration::from_millis(50);
            let result = asked(impatient, async |mut stream: TcpStream| {
                let mut sink = Vec::new();
                let _ = stream.read_to_end(&mut sink).await;
                std::future::pending::<()>().await;
            });
            assert_eq!(result.await, Err(Failure::Late(Late::Answer)));
        }
    });
}

#[test]
fn endless_interim_responses_run_out_of_time() {
    run(async {
        let mut impatient = check(http());
        impatient.timeout = Duration::from_millis(50);
        let result = asked(impatient, async |mut stream: TcpStream| {
            pour(&mut stream, b"", b"HTTP/1.1 100 Continue\r\n\r\n").await;
        });
        assert!(result.await.is_err());
    });
}

#[test]
fn wrong_frames_are_no_answer() {
    run(async {
        let mut frames: Vec<(&'static [u8], &'static [u8])> = Vec::new();
        // No frames at all; a frame beyond the size; DATA on stream 0; HEADERS that nobody
        // asked for; a header block that never ends.
        frames.push((b"HTTP/1.1 400 Bad Request\r\n\r\n", b""));
        frames.push((b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\x01", &[0; 512]));
        frames.push((b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x01\0\0\0\0\0\0x"));
        frames.push((b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x01\x01\x04\0\0\0\x08\x88"));
        frames.push((
            b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\0\0\0\0\x01\x88",
            b"\0\0\x08\x09\0\0\0\0\x01\0\x02ab\x03abc",
        ));
        for (first, again) in frames {
            let result = asked(check(grpc()), async move |mut stream: TcpStream| {
                // The client's preface and its first request have to be there before.
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                match again.is_empty() {
                    true => drop(stream.write_all(first).await),
                    false => pour(&mut stream, first, again).await,
                }
            });
            let failure = result.await.unwrap_err();
            assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
        }
    });
}

#[test]
fn a_message_without_end_is_no_health_answer() {
    run(async {
        let result = asked(check(grpc()), async |stream: TcpStream| {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let response = Response::builder().header("grpc-status", "0");
            let mut out = respond
                .send_response(response.body(()).unwrap(), false)
                .unwrap();
            let much = Bytes::from_static(&[0; 60_000]);
            out.send_data(much, false).unwrap();
            let _ = connection.accept().await;
        });
        assert_eq!(result.await, Err(Failure::GrpcMessage));
    });
}
