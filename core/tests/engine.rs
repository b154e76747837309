//! The engine with chains of the tests' own: what needs no configuration is proved here.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use ringgate_core::chain::{Filter, RequestPhase, Verdict};
use ringgate_core::rt::Driver;
use support::{ask, engine, origin};

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

struct Nothing;

impl Filter for Nothing {
    type Core = ();
    type Scratch = ();

    fn describe(&self) -> String {
        String::new()
    }
}

#[test]
fn forwards_a_request_and_its_answer() {
    for driver in DRIVERS {
        let (addr, heads) = origin(|_| ok("hello"));
        let engine = engine::<Nothing>(driver, addr, vec![]);
        let answer = ask(engine.addr, "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"),
            "{answer}"
        );
        let head = heads.recv().unwrap();
        assert!(
            head.starts_with("GET /a?b HTTP/1.1\r\nHost: x\r\n"),
            "{head}"
        );
        assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
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

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("fine"));
        let engine = engine(driver, addr, vec![Panics]);
        let mut other = support::connect(engine.addr);
        assert_eq!(
            ask(engine.addr, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n"),
            ""
        );
        std::io::Write::write_all(&mut other, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(support::read_response(&mut other).ends_with("fine"));
        let stats = engine.registry.workers.iter().next().unwrap();
        assert_eq!(stats.panics.value(), 1);
        // The client reads its answer before the worker has booked the exchange.
        support::eventually(|| stats.active.value() == 0);
    }
}
