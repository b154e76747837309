//! Filters before the route, errands off the data plane, and preflights.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "errands are done by plain threads"
)]

mod support;

use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::queue::SegQueue;
use ringgate_core::chain::{
    Answer, BodyVerdict, CallOutcome, Filter, Program, RequestPhase, ResponsePhase, Step, Summary,
    Verdict,
};
use ringgate_core::errand::{Done, Errand};
use ringgate_core::principal::Principal;
use ringgate_core::rt::Driver;
use ringgate_core::snapshot::{Action, Route, Snapshot};
use ringgate_core::stats::Registry;
use ringgate_router::{Fact, FactPredicate, RouteSpec, RouterBuilder, RouterOptions, ValueTest};
use support::{ask, engine, engine_of, origin};

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A filter of these tests.
enum Test {
    /// Takes `x-key` for the name of the consumer, and adds its letter to the answer.
    Proves,
    /// Adds the letter to a field of the request and of the answer.
    Marks(&'static str),
    /// Has a thread say who it is, as the errand is meant to go.
    Asks(Errands),
    /// Answers preflights, and refuses everything else.
    Preflights,
}

#[derive(Clone, Copy)]
enum Errands {
    /// Done by another thread in a while.
    Later,
    /// Done before the filter has returned.
    AtOnce,
    /// Given up without a result.
    GivenUp,
    /// Never done.
    Never,
}

#[derive(Default)]
struct Scratch {
    said: Arc<OnceLock<&'static str>>,
    begun: u32,
}

/// What is never done is kept here, or it would be given up.
static NEVER: SegQueue<Done> = SegQueue::new();

fn errand(kind: Errands, said: &Arc<OnceLock<&'static str>>) -> Errand {
    let said = Arc::clone(said);
    Errand {
        timeout: Duration::from_millis(200),
        hand_over: Box::new(move |done: Done| match kind {
            Errands::Later => drop(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                said.set("later").unwrap();
                drop(done);
            })),
            Errands::AtOnce => said.set("at once").unwrap(),
            Errands::GivenUp => drop(done),
            Errands::Never => NEVER.push(done),
        }),
    }
}

impl Filter for Test {
    type Core = ();
    type Scratch = Scratch;

    fn request_head(&self, phase: &mut RequestPhase<'_, Self>) -> Verdict {
        phase.scratch.begun += 1;
        match self {
            Test::Proves => {
                let name = phase.head.fields.value_of("x-key");
                let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
                phase.attributes.principal = name.map(|name| {
                    Rc::new(Principal {
                        consumer: Some(name.into()),
                        ..Principal::default()
                    })
                });
            }
            Test::Marks(letter) => {
                phase.head.fields.add("x-marks", letter.as_bytes()).unwrap();
            }
            Test::Asks(kind) => {
                return Verdict::Ask(Box::new(errand(*kind, &phase.scratch.said)));
            }
            Test::Preflights => {
                return Verdict::Respond(Box::new(Answer {
                    status: 401,
                    ..Answer::default()
                }));
            }
        }
        Verdict::Continue
    }

    fn preflight(&self, phase: &mut RequestPhase<'_, Self>) -> Option<Box<Answer>> {
        let Test::Preflights = self else {
            return None;
        };
        let asked = phase.head.fields.value_of("origin") == Some(b"https://app.example");
        asked.then(|| {
            Box::new(Answer {
                status: 200,
                code: "preflight",
                ..Answer::default()
            })
        })
    }

    fn resume(&self, phase: &mut RequestPhase<'_, Self>, outcomes: &[CallOutcome]) -> Verdict {
        assert!(outcomes.is_empty());
        let said = std::mem::take(&mut phase.scratch.said);
        match said.get() {
            Some(said) => {
                phase.head.fields.set("x-said", said.as_bytes()).unwrap();
                Verdict::Continue
            }
            None => Verdict::Respond(Box::new(Answer {
                status: 503,
                code: "nobody_said",
                ..Answer::default()
            })),
        }
    }

    fn response_head(&self, phase: &mut ResponsePhase<'_, Self>) -> BodyVerdict {
        if let Test::Marks(letter) = self {
            phase.head.fields.add("x-marks", letter.as_bytes()).unwrap();
        }
        BodyVerdict::Continue
    }

    fn end(&self, _: &Summary, (): &mut (), scratch: &mut Scratch) {
        assert!(scratch.begun <= 3, "every filter begins once");
    }

    fn describe(&self) -> String {
        String::new()
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n";

#[test]
fn a_request_waits_for_its_errand() {
    for driver in DRIVERS {
        for (kind, said) in [(Errands::Later, "later"), (Errands::AtOnce, "at once")] {
            let (addr, heads) = origin(|_| ok("through"));
            let engine = engine(driver, addr, vec![Test::Asks(kind)]);
            let answer = ask(engine.addr, &format!("{GET}\r\n"));
            assert!(answer.ends_with("through"), "{answer}");
            let head = heads.recv().unwrap();
            assert!(head.contains(&format!("x-said: {said}\r\n")), "{head}");
        }
    }
}

#[test]
fn an_errand_without_a_result_ends_in_time() {
    for driver in DRIVERS {
        for kind in [Errands::GivenUp, Errands::Never] {
            let (addr, _heads) = origin(|_| ok("through"));
            let engine = engine(driver, addr, vec![Test::Asks(kind)]);
            for _ in 0..2 {
                let answer = ask(engine.addr, &format!("{GET}\r\n"));
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            }
        }
        // Done long after the request has gone: nobody is woken, nothing breaks.
        while NEVER.pop().is_some() {}
    }
}

#[test]
fn a_preflight_is_answered_before_anybody_asks_for_credentials() {
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /a HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: PUT\r\n\r\n"
        )
    };
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("through"));
        let engine = engine(driver, addr, vec![Test::Preflights]);
        let status = |request: &str| ask(engine.addr, request)[9..12].to_owned();
        assert_eq!(status(&preflight("https://app.example")), "200");
        assert_eq!(status(&preflight("https://evil.example")), "401");
        assert_eq!(status("OPTIONS /a HTTP/1.1\r\nHost: x\r\n\r\n"), "401");
        assert_eq!(status(&format!("{GET}\r\n")), "401");
    }
}

fn steps(registry: &Registry, filters: Vec<Test>) -> Program<Test> {
    let filters = filters.into_iter().map(|filter| Step {
        name: "f".into(),
        filter: Arc::new(filter),
        stats: registry.filter("f"),
    });
    Program::new(filters.collect())
}

/// Two routes for `/a`, the first one for the consumer `alice` alone; the listener's filters
/// prove who it is.
fn chained(snapshot: &mut Snapshot<Test>, registry: &Registry) {
    let before = || vec![Test::Proves, Test::Marks("before")];
    let path = ringgate_router::PathPattern::parse("/a").unwrap();
    let mut router = RouterBuilder::new(RouterOptions::default());
    let alice = FactPredicate::new(Fact::Consumer, ValueTest::exact("alice")).unwrap();
    router.route(RouteSpec {
        facts: vec![alice],
        ..RouteSpec::new(path.clone())
    });
    router.route(RouteSpec::new(path));
    snapshot.router = router.build().unwrap();
    let route = |name: &str, own: Vec<Test>| {
        let mut all = before();
        all.extend(own);
        Route {
            name: name.into(),
            names: Default::default(),
            action: Action::Respond(Box::new(Answer {
                status: 200,
                body: name.to_owned().into(),
                ..Answer::default()
            })),
            program: Program::new(Vec::new()),
            chained: [steps(registry, all)].into(),
            rewrite: None,
            timeout: None,
            body_max: None,
            upstream_host: ringgate_core::snapshot::UpstreamHost::Preserve,
            upgrades: [].into(),
            stats: registry.route(name),
            policy: Default::default(),
            state: registry.route_state(name),
        }
    };
    snapshot.routes = vec![
        route("hers", vec![Test::Marks("own")]),
        route("everybody's", vec![]),
    ];
    snapshot.chains = vec![steps(registry, before())];
    snapshot.listeners[0].chain = Some(0);
}

#[test]
fn filters_of_a_listener_come_before_the_route() {
    for driver in DRIVERS {
        let (addr, _heads) = origin(|_| ok("through"));
        let registry = Registry::new(1);
        let engine = engine_of(driver, addr, vec![], |snapshot| {
            chained(snapshot, &registry)
        });
        let marks = |answer: &str| {
            let lines = answer
                .lines()
                .filter_map(|line| line.strip_prefix("x-marks: "));
            lines.collect::<Vec<_>>().join(" ")
        };
        let hers = ask(engine.addr, &format!("{GET}X-Key: alice\r\n\r\n"));
        assert!(hers.ends_with("hers"), "{hers}");
        assert_eq!(marks(&hers), "own before");
        let other = ask(engine.addr, &format!("{GET}X-Key: bob\r\n\r\n"));
        assert!(other.ends_with("everybody's"), "{other}");
        assert_eq!(marks(&other), "before");
        let nobody = ask(engine.addr, &format!("{GET}\r\n"));
        assert!(nobody.ends_with("everybody's"), "{nobody}");
        let unknown = ask(engine.addr, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
        assert_eq!(marks(&unknown), "before", "an answer without a route");
    }
}
