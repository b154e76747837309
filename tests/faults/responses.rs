//! Responses mutated at random from fixed seeds: the client sees a strict response, an
//! honest cut or a 502, and nobody gets the remains of another's answer.

use std::thread;

use crate::support::message::ReadError;
use crate::support::{Driver, Gateway, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(no_mutated_response_reaches_a_client_ambiguously);

const MUTATIONS: usize = 2400;

/// Lawful responses to begin with.
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: 1.1 x\r\nContent-Length: 1\r\n\r\nx",
];

const MORSELS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\r\n\r\n",
    b"\r\n ",
    b"chunked",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"\xff",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    b"Connection: keep-alive\r\n",
    b"-",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"9",
];

fn mutated(turn: usize) -> Vec<u8> {
    let mut state = (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound.max(1)
    };
    let mut bytes = RESPONSES[below(RESPONSES.len())].as_bytes().to_vec();
    for _ in 0..=below(2) {
        let at = below(bytes.len());
        match below(5) {
            0 | 1 => drop(bytes.splice(at..at, MORSELS[below(MORSELS.len())].iter().copied())),
            2 => drop(bytes.splice(at..(at + 1).min(bytes.len()), std::iter::empty())),
            3 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            _ => {
                let end = (at + below(30)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes
}

fn no_mutated_response_reaches_a_client_ambiguously(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.strip_prefix("/mutated/") {
                // The connection stays: were it used again, the remains would show.
                Some(turn) => conn.send(mutated(turn.parse().unwrap())),
                None => conn.send(ok(&request.target)),
            };
        }
    });
    let gateway = Setup::new(driver)
        .upstream(
            "app",
            origin.address(),
            "response_timeout = \"200ms\"\nread_timeout = \"200ms\"",
        )
        .catch_all("app")
        .start();
    let threads = 24;
    thread::scope(|scope| {
        for first in 0..threads {
            let gateway = &gateway;
            scope.spawn(move || {
                for turn in (first..MUTATIONS).step_by(threads) {
                    one(gateway, turn);
                }
            });
        }
    });
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}

fn one(gateway: &Gateway, turn: usize) {
    let bytes = mutated(turn);
    let shown = String::from_utf8_lossy(&bytes);
    let mut client = gateway.client();
    client.send(get(&format!("/mutated/{turn}")));
    for _ in 0..40 {
        match client.try_response("GET") {
            Ok(response) if response.status < 200 => {}
            Ok(_) | Err(ReadError::Closed | ReadError::Cut(_)) => break,
            Err(error) => panic!("turn {turn}: {error} from {shown:?}"),
        }
    }
    let path = format!("/probe/{turn}");
    let probe = gateway.get(&path);
    // On a machine that is busy the short deadline may strike a probe.
    if probe.status != 504 {
        assert_eq!(probe.text(), path, "turn {turn}, after {shown:?}");
    }
}
