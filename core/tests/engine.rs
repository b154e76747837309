//! The engine with chains of the tests' own: what needs no configuration is proved here.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use ringgate_core::block::Block;
use ringgate_core::chain::{
    Answer, BodyMode, BodyPhase, BodyVerdict, Call, CallOutcome, Calls, Filter, RequestPhase,
    Verdict,
};
use ringgate_core::http::Method;
use ringgate_core::rt::Driver;
use ringgate_core::rt::wheel::Ticks;
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

#[test]
fn a_refused_head_tells_nothing_of_the_request_before() {
    let id_of = |answer: &str| {
        let fields = answer.lines().map(|line| line.split_once(": "));
        let ids = fields.flatten().filter(|(name, _)| *name == "X-Request-Id");
        ids.map(|(_, id)| id.to_owned()).next().unwrap()
    };
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("hello"));
        let engine = engine::<Nothing>(driver, addr, vec![]);
        let served = ask(engine.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let refused = ask(engine.addr, "GET / HTTP/1.1\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        assert_ne!(id_of(&served), id_of(&refused));
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

/// Asks the origin about the request before it passes: 200 lets it through.
struct AsksFirst;

impl Filter for AsksFirst {
    type Core = ();
    type Scratch = ();

    fn request_head(&self, _: &mut RequestPhase<'_, Self>) -> Verdict {
        let call = |target: &str| Call {
            upstream: 0,
            method: Method::Get,
            target: target.into(),
            host: "auth".into(),
            fields: vec![("x-asked".into(), b"yes".as_slice().into())],
            body: Default::default(),
            response_max: 1024,
        };
        Verdict::Call(Box::new(Calls {
            calls: vec![call("/auth/one"), call("/auth/two")],
            timeout: Ticks(50),
        }))
    }

    fn resume(&self, phase: &mut RequestPhase<'_, Self>, outcomes: &[CallOutcome]) -> Verdict {
        let bodies: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(response) if response.head.status == 200 => response.body.clone(),
                _ => b"refused".to_vec(),
            })
            .collect();
        if bodies.iter().any(|body| body == b"refused") {
            return Verdict::Respond(Box::new(Answer {
                status: 403,
                code: "asked_and_refused",
                ..Answer::default()
            }));
        }
        phase
            .head
            .fields
            .set("x-answers", &bodies.join(&b"+"[..]))
            .unwrap();
        Verdict::Continue
    }

    fn describe(&self) -> String {
        String::new()
    }
}

#[test]
fn calls_run_side_by_side_and_resume_their_filter() {
    for driver in DRIVERS {
        let (addr, heads) = origin(|head| match head.split(' ').nth(1) {
            Some("/auth/one") => ok("1"),
            Some("/auth/two") => ok("2"),
            _ => ok("through"),
        });
        let engine = engine(driver, addr, vec![AsksFirst]);
        assert!(ask(engine.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").ends_with("through"));
        let last = heads
            .iter()
            .find(|head| head.starts_with("GET / "))
            .unwrap();
        assert!(last.contains("x-answers: 1+2\r\n"), "{last}");
    }
}

#[test]
fn a_call_that_is_refused_answers_for_the_filter() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|head| match head.split(' ').nth(1) {
            Some("/auth/two") => b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => ok("1"),
        });
        let engine = engine(driver, addr, vec![AsksFirst]);
        let answer = ask(engine.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}

/// Sees bodies in one of the modes.
struct Bodies(BodyMode);

impl Bodies {
    fn shout(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        if phase.piece.starts_with(b"refuse") {
            return BodyVerdict::Refuse(Box::new(Answer {
                status: 422,
                code: "refused_body",
                ..Answer::default()
            }));
        }
        if self.0 != BodyMode::Observe {
            let shouted = [&phase.piece.to_ascii_uppercase()[..], b"!"].concat();
            if !phase.piece.is_empty() || matches!(self.0, BodyMode::Whole { .. }) {
                *phase.piece = Block::from_slice(&shouted);
            }
        }
        BodyVerdict::Continue
    }
}

impl Filter for Bodies {
    type Core = ();
    type Scratch = ();

    fn request_body_mode(&self) -> BodyMode {
        self.0
    }

    fn response_body_mode(&self) -> BodyMode {
        self.0
    }

    fn request_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        self.shout(phase)
    }

    fn response_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        self.shout(phase)
    }

    fn describe(&self) -> String {
        String::new()
    }
}

const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_whole_body_is_rewritten_with_its_new_length() {
    for driver in DRIVERS {
        let (addr, heads) = origin(|_| ok("answer"));
        let engine = engine(driver, addr, vec![Bodies(BodyMode::Whole { max: 100 })]);
        let answer = ask(engine.addr, POST);
        assert!(
            answer.contains("Content-Length: 7\r\n") && answer.ends_with("\r\n\r\nANSWER!"),
            "{answer}"
        );
        let seen = heads.recv().unwrap();
        assert!(
            seen.contains("Content-Length: 6\r\n") && seen.ends_with("HELLO!"),
            "{seen}"
        );
    }
}

#[test]
fn a_whole_body_over_its_limit_is_refused() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("answer"));
        let engine = engine(driver, addr, vec![Bodies(BodyMode::Whole { max: 3 })]);
        let answer = ask(engine.addr, POST);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[test]
fn a_rewritten_body_is_chunked() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("answer"));
        let engine = engine(driver, addr, vec![Bodies(BodyMode::Rewrite)]);
        let answer = ask(
            engine.addr,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(
            answer.contains("Transfer-Encoding: chunked\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\n7\r\nANSWER!\r\n0\r\n\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn an_observed_body_keeps_its_framing_and_may_be_refused() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("answer"));
        let engine = engine(driver, addr, vec![Bodies(BodyMode::Observe)]);
        let answer = ask(engine.addr, POST);
        assert!(
            answer.contains("Content-Length: 6\r\n") && answer.ends_with("\r\n\r\nanswer"),
            "{answer}"
        );
        let refused = POST
            .replace("hello", "refuse")
            .replace("Length: 5", "Length: 6");
        let answer = ask(engine.addr, &refused);
        assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    }
}
