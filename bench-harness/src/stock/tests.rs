//! The stock proxy before the bench's own origin, asked by plain sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

fn proxy() -> SocketAddr {
    let any = "127.0.0.1:0".parse().unwrap();
    let origin = crate::origin::start(any, 1, None, DriverChoice::Auto, None).unwrap();
    start(any, origin, None, DriverChoice::Auto).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

#[test]
fn passes_requests_and_responses_on_a_kept_connection() {
    let mut connection = crate::http::Connection::open(proxy()).unwrap();
    for _ in 0..3 {
        let answer = connection.get("/").unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 47));
    }
    assert_eq!(connection.get("/?size=300000").unwrap().body.len(), 300_000);
    assert_eq!(connection.get("/?status=404").unwrap().status, 404);
}

#[test]
fn passes_request_bodies_and_closes_when_asked() {
    let mut stream = connect(proxy());
    let mut request = b"POST / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\
                        Content-Length: 100000\r\n\r\n"
        .to_vec();
    request.resize(request.len() + 100_000, b'b');
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close\r\n"),
        "{answer}"
    );
}

#[test]
fn an_origin_that_is_away_is_a_502() {
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let address = start(any, gone, None, DriverChoice::Auto).unwrap();
    assert_eq!(crate::http::fetch(address, "/").unwrap().status, 502);
}
