//! The origin over loopback, asked by plain sockets of the standard library.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::*;

fn origin() -> SocketAddr {
    let listen = "127.0.0.1:0".parse().unwrap();
    start(listen, 1, None, DriverChoice::Auto, None).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes and reads until the origin closes.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// One request that asks for the connection to be closed; head and body of the answer.
fn ask(address: SocketAddr, target: &str) -> (String, Vec<u8>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
    split(&exchange(address, request.as_bytes()))
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let at = at.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8(answer[..at + 4].to_vec()).unwrap();
    (head, answer[at + 4..].to_vec())
}

const READY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n\
                     {\"id\":7,\"name\":\"Ada\",\"email\":\"ada@example.com\"}";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: o\r\n\r\n";

#[test]
fn answers_again_on_a_kept_connection() {
    let mut stream = connect(origin());
    let requests: [&[u8]; 4] = [GET, GET, b"GET /x?q=1 HTTP/1.1\r\nHost: o\r\n\r\n", GET];
    for request in requests {
        stream.write_all(request).unwrap();
        let mut answer = vec![0; READY.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, READY.as_bytes());
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn answers_what_was_pipelined_in_order() {
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for at in 0..500 {
        let size = at % 7 * 1000;
        let target = format!("GET /?size={size}&n={at} HTTP/1.1\r\nHost: o\r\n\r\n");
        requests.extend_from_slice(target.as_bytes());
        requests.extend_from_slice(GET);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {size}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.resize(expected.len() + size, b'x');
        expected.extend_from_slice(READY.as_bytes());
    }
    let mut stream = connect(origin());
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(&requests).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    sending.join().unwrap();
    assert!(answers == expected, "{} bytes", answers.len());
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut stream = connect(origin());
    for byte in GET {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = vec![0; READY.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, READY.as_bytes());
}

#[test]
fn bodies_have_the_size_that_was_asked_for() {
    let address = origin();
    for size in [0, 1, 47, 4096, 4097, 65_536, 262_144, 262_145, 3_000_000] {
        let (head, body) = ask(address, &format!("/?size={size}"));
        assert!(
            head.contains(&format!("Content-Length: {size}\r\n")),
            "{head}"
        );
        assert!(head.contains("Connection: close\r\n"), "{head}");
        assert!(body.len() == size && body.iter().all(|byte| *byte == b'x'));
    }
}

#[test]
fn chunks_have_the_size_that_was_asked_for() {
    let address = origin();
    let (head, body) = ask(address, "/?size=10&chunked=4");
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(body, b"4\r\nxxxx\r\n4\r\nxxxx\r\n2\r\nxx\r\n0\r\n\r\n");
    let (_, body) = ask(address, "/?size=100000&chunked=32k");
    assert_eq!(
        body.len(),
        100_000 + 4 * 4 + "800080008000".len() + "6a0".len() + 4 + 1
    );
    assert!(body.starts_with(b"8000\r\nx") && body.ends_with(b"x\r\n0\r\n\r\n"));
    let (_, body) = ask(address, "/?chunked=1k");
    assert!(body.starts_with(b"2f\r\nx"), "the constant in chunks");
}

#[test]
fn http_1_0_gets_no_chunks_and_is_told_that_the_connection_stays() {
    let request = b"GET /?size=9&chunked=4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let last = b"GET / HTTP/1.0\r\n\r\n";
    let answer = exchange(origin(), &[&request[..], &last[..]].concat());
    let (head, rest) = split(&answer);
    assert!(head.contains("Content-Length: 9\r\n"), "{head}");
    assert!(head.contains("Connection: keep-alive\r\n"), "{head}");
    let (head, body) = split(&rest[9..]);
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(body.len(), 47);
}

#[test]
fn statuses_and_errors() {
    let address = origin();
    let (head, body) = ask(address, "/?status=404");
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
    assert_eq!(body.len(), 47);
    let (head, body) = ask(address, "/?status=204");
    assert!(!head.contains("Content-Length"), "{head}");
    assert_eq!(body, b"");
    let (head, _) = ask(address, "/?error=1&size=10");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let (head, _) = ask(address, "/?error=1&error_status=500");
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    let (head, _) = ask(address, "/?error=0");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn a_wrong_value_is_explained_and_the_connection_stays() {
    let wrong = b"GET /?size=big HTTP/1.1\r\nHost: o\r\n\r\n";
    let last = b"GET / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n";
    let answer = exchange(origin(), &[&wrong[..], &last[..]].concat());
    let (head, rest) = split(&answer);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("size big: a number of bytes"), "{rest}");
    assert!(rest.contains("HTTP/1.1 200 OK\r\n"), "{rest}");
}

#[test]
fn head_has_no_body() {
    let requests = b"HEAD /?size=70000 HTTP/1.1\r\nHost: o\r\n\r\n\
                     HEAD / HTTP/1.1\r\nHost: o\r\n\r\n\
                     HEAD /?chunked=4 HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(exchange(origin(), requests)).unwrap();
    let heads: Vec<&str> = answer.split_inclusive("\r\n\r\n").collect();
    assert_eq!(heads.len(), 3, "{answer}");
    assert!(heads.iter().all(|head| head.starts_with("HTTP/1.1 200 ")));
    assert!(heads[0].contains("Content-Length: 70000\r\n"));
}

#[test]
fn closes_as_asked() {
    let address = origin();
    let get = |close: &str| {
        format!("GET /?size=100000&close={close} HTTP/1.1\r\nHost: o\r\n\r\n").into_bytes()
    };
    let (head, body) = split(&exchange(address, &get("after")));
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(body.len(), 100_000);
    assert_eq!(exchange(address, &get("before")), b"");
    let (head, body) = split(&exchange(address, &get("mid")));
    assert!(head.contains("Content-Length: 100000\r\n"), "{head}");
    assert_eq!(body.len(), 50_000);
    let (_, body) = split(&exchange(
        address,
        b"GET /?size=10&chunked=4&close=mid HTTP/1.1\r\nHost: o\r\n\r\n",
    ));
    assert_eq!(body, b"4\r\nxxxx\r\n1\r\nx\r\n");
    let mut stream = connect(address);
    stream.write_all(&get("reset")).unwrap();
    let ended = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn request_bodies_are_dropped_whatever_their_framing() {
    let address = origin();
    let mut requests = b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 5\r\n\r\nhello\
        POST / HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        POST / HTTP/1.1\r\nHost: o\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
        .to_vec();
    requests.resize(requests.len() + 1_000_000, b'b');
    let answer = String::from_utf8(exchange(address, &requests)).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
}

#[test]
fn a_client_that_waits_for_it_is_told_to_go_on() {
    let mut stream = connect(origin());
    let head = b"PUT / HTTP/1.1\r\nHost: o\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\
                 Connection: close\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn what_is_no_request_gets_400_and_the_connection_ends() {
    let address = origin();
    for wrong in [
        &b"hello\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: o\n\n",
        b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let (head, _) = split(&exchange(address, &[wrong, GET].concat()));
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(head.contains("Connection: close\r\n"), "{head}");
    }
}

#[test]
fn a_head_without_end_is_refused() {
    let mut request = b"GET / HTTP/1.1\r\nHost: o\r\nX: ".to_vec();
    request.resize(80_000, b'y');
    let (head, _) = split(&exchange(origin(), &request));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[test]
fn delayed_answers_come_after_undelayed_ones() {
    let address = origin();
    let mut slow = connect(address);
    slow.write_all(b"GET /?delay=fixed:300ms HTTP/1.1\r\nHost: o\r\n\r\n")
        .unwrap();
    let (head, _) = ask(address, "/");
    assert!(head.starts_with("HTTP/1.1 200 "));
    slow.set_nonblocking(true).unwrap();
    let early = slow.read(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    slow.set_nonblocking(false).unwrap();
    let mut answer = vec![0; READY.len()];
    slow.read_exact(&mut answer).unwrap();
}

#[test]
fn a_stall_holds_up_everybody_on_the_thread() {
    let address = origin();
    let mut staller = connect(address);
    let mut other = connect(address);
    // Both are served before the stall begins.
    for stream in [&mut staller, &mut other] {
        stream.write_all(GET).unwrap();
        stream.read_exact(&mut vec![0; READY.len()]).unwrap();
    }
    staller
        .write_all(b"GET /?stall=300ms&status=201 HTTP/1.1\r\nHost: o\r\n\r\n")
        .unwrap();
    other.write_all(GET).unwrap();
    other.read_exact(&mut vec![0; READY.len()]).unwrap();
    staller.set_nonblocking(true).unwrap();
    // The stalling answer was sent first, whatever the clock says.
    assert!(staller.read(&mut [0; 512]).unwrap() > 0);
}

#[test]
fn the_counts_do_not_count_who_looks_at_them() {
    let address = origin();
    let stats = || String::from_utf8(ask(address, "/-/stats").1).unwrap();
    assert_eq!(stats(), r#"{"accepted":0,"requests":0,"open":0}"#);
    let mut stream = connect(address);
    for _ in 0..3 {
        stream.write_all(GET).unwrap();
        stream.read_exact(&mut vec![0; READY.len()]).unwrap();
    }
    assert_eq!(stats(), r#"{"accepted":1,"requests":3,"open":1}"#);
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let closed = r#"{"accepted":1,"requests":3,"open":0}"#;
    // It closes its side before it leaves the counts.
    assert!((0..1000).any(|_| stats() == closed), "{}", stats());
}
