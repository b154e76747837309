//! The policies together, on a simulated clock: what an origin gets to do while it fails.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use super::breaker::{Admission, BreakerState};
use super::retry::{Ask, Ended, Idempotency, Replay};
use super::*;
use crate::fleet::UpstreamState;
use crate::http::Method;
use crate::policy;
use crate::rt::Addr;
use crate::rt::clock::Moment;
use crate::snapshot::Endpoint;
use crate::stats::CoreIndex;

const CORES: u64 = 16;
const ENDPOINTS: usize = 4;
const PER_SECOND: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// What happens next: at a time, to a request, and in which attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Moment,
    request: u64,
    retries: u8,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Begins,
    Ends { endpoint: usize, admission: u8 },
}

struct Simulation {
    upstream: UpstreamState,
    endpoints: Vec<Endpoint>,
    breaker: Option<policy::Breaker>,
    outlier: Option<policy::Outlier>,
    retry: policy::Retry,
    /// Whether an endpoint answers 503 at a time.
    fails: fn(usize, Moment) -> bool,
    events: BinaryHeap<Reverse<Event>>,
    admissions: Vec<Admission>,
    turn: usize,
    /// By second: attempts that reached an origin, by endpoint, and requests that failed.
    attempts: Vec<[u64; ENDPOINTS]>,
    failures: Vec<u64>,
}

impl Simulation {
    fn new(fails: fn(usize, Moment) -> bool) -> Simulation {
        let upstream = UpstreamState::new(CORES as usize);
        let endpoint = |port| {
            let addr = Addr::Tcp(([127, 0, 0, 1], port).into());
            Endpoint {
                state: upstream.endpoint(&addr, "origin"),
                addr,
                weight: 1,
                priority: 0,
                zone: None,
                authority: "origin".into(),
            }
        };
        Simulation {
            endpoints: (1..=ENDPOINTS as u16).map(endpoint).collect(),
            upstream,
            breaker: None,
            outlier: None,
            retry: policy::Retry {
                attempts: 3,
                ..retry::tests::spec()
            },
            fails,
            events: BinaryHeap::new(),
            admissions: Vec::new(),
            turn: 0,
            attempts: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn run(&mut self, seconds: u64) {
        self.attempts = vec![[0; ENDPOINTS]; seconds as usize + 10];
        self.failures = vec![0; seconds as usize + 10];
        let begin = |request: u64| {
            Reverse(Event {
                at: Moment(SECOND + request * SECOND / PER_SECOND),
                request,
                retries: 0,
                what: What::Begins,
            })
        };
        self.events.extend((0..seconds * PER_SECOND).map(begin));
        while let Some(Reverse(event)) = self.events.pop() {
            if let Some(spec) = &self.outlier {
                outlier::sweep(spec, &self.endpoints, &self.upstream, event.at);
            }
            match event.what {
                What::Begins => self.begin(event),
                What::Ends {
                    endpoint,
                    admission,
                } => self.end(event, endpoint, usize::from(admission)),
            }
        }
    }

    fn core(event: Event) -> CoreIndex {
        CoreIndex((event.request.wrapping_mul(0x9e37_79b9) >> 7) as u32 % CORES as u32)
    }

    fn begin(&mut self, event: Event) {
        let (core, now) = (Simulation::core(event), event.at);
        if event.retries == 0 {
            self.upstream.budget.live(core, now);
        }
        let upstream = &self.upstream;
        let admission = self
            .breaker
            .as_ref()
            .map(|spec| upstream.breaker.admit(spec, upstream, core, now));
        if admission.is_some_and(Admission::is_open) {
            return self.fail(event);
        }
        let endpoint = self.pick(now);
        self.attempts[(now.0 / SECOND) as usize][endpoint] += 1;
        // Few are under way at a time, so a byte will do for their places.
        let place = (event.request % 251) as usize;
        self.admissions
            .resize_with(256, || Admission::Open { until: now });
        if let Some(admission) = admission {
            self.admissions[place] = admission;
        }
        self.events.push(Reverse(Event {
            at: now.after(Duration::from_millis(5)),
            what: What::Ends {
                endpoint,
                admission: place as u8,
            },
            ..event
        }));
    }

    /// In turn, without those that are ejected.
    fn pick(&mut self, now: Moment) -> usize {
        let is_in = |index: &usize| self.endpoints[*index].state.ejected_until(now).is_none();
        let turns = (self.turn..self.turn + ENDPOINTS).map(|turn| turn % ENDPOINTS);
        let picked = turns.clone().find(is_in).unwrap_or(self.turn % ENDPOINTS);
        self.turn = (picked + 1) % ENDPOINTS;
        picked
    }

    fn end(&mut self, event: Event, endpoint: usize, place: usize) {
        let (core, now) = (Simulation::core(event), event.at);
        let status = match (self.fails)(endpoint, now) {
            true => 503,
            false => 200,
        };
        let outcome = Outcome::of_status(status, Duration::from_millis(5));
        let (upstream, state) = (&self.upstream, &self.endpoints[endpoint].state);
        state.stats.of(core).record(outcome);
        if let Some(spec) = &self.breaker {
            let admission = self.admissions[place];
            upstream
                .breaker
                .record(spec, upstream, core, now, admission, outcome);
        }
        if let Some(spec) = &self.outlier {
            outlier::record(spec, state, upstream, &self.endpoints, now, outcome);
        }
        if status == 200 {
            return;
        }
        let ask = Ask {
            retries: event.retries,
            ended: Ended::Status(status),
            method: Method::Get,
            method_name: "GET",
            key: Idempotency::None,
            body: Replay::Whole,
        };
        let may = retry::decide(&self.retry, &ask).is_ok();
        if !may || !upstream.budget.try_spend(&self.retry, core, now) {
            return self.fail(event);
        }
        let random = event.request.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let pause = backoff::pause(&self.retry, event.retries + 1, random);
        self.events.push(Reverse(Event {
            at: now.after(pause),
            retries: event.retries + 1,
            what: What::Begins,
            ..event
        }));
    }

    fn fail(&mut self, event: Event) {
        self.failures[(event.at.0 / SECOND) as usize] += 1;
    }

    /// Attempts of these seconds.
    fn load(&self, seconds: std::ops::Range<usize>) -> u64 {
        self.attempts[seconds].iter().flatten().sum()
    }
}

/// From the 20th second to the 60th.
fn all_fail(_: usize, now: Moment) -> bool {
    (20 * SECOND..60 * SECOND).contains(&now.0)
}

fn first_fails(endpoint: usize, now: Moment) -> bool {
    endpoint == 0 && now.0 >= 20 * SECOND
}

fn breaker() -> policy::Breaker {
    policy::Breaker {
        scope: policy::BreakerScope::Upstream,
        error_ratio: 0.5,
        slow_after: Duration::ZERO,
        slow_ratio: 1.0,
        window: Duration::from_secs(10),
        minimum_requests: 20,
        open_for: Duration::from_secs(2),
        open_for_max: Duration::from_secs(8),
        probes: 3,
        reconcile: Duration::from_millis(10),
    }
}

#[test]
fn an_outage_brings_no_more_load_than_the_budget_adds() {
    let mut simulation = Simulation::new(all_fail);
    simulation.run(80);
    for second in 11..80 {
        let load = simulation.load(second - 10..second) as f64;
        let live = 10.0 * PER_SECOND as f64;
        // The window moves by whole seconds, and retries wait a little.
        let most = 1.01 * live * (1.0 + simulation.retry.budget) + 30.0;
        assert!(load <= most, "{load} in the ten seconds up to {second}");
    }
    // The budget is used all the same.
    let during = simulation.load(30..60) as f64 / 30_000.0;
    assert!(during > 1.15, "{during}");
    assert!(
        simulation.failures[61..]
            .iter()
            .all(|failures| *failures == 0)
    );
}

#[test]
fn an_open_breaker_leaves_an_origin_its_trial_requests() {
    let mut simulation = Simulation::new(all_fail);
    simulation.breaker = Some(breaker());
    simulation.run(80);
    let opened = simulation.upstream.breaker.opened();
    assert!(opened > 3);
    // Half of ten seconds of requests has to fail first.
    let trials = simulation.load(27..60);
    assert!(trials <= 3 * opened, "{trials} of {opened} trials");
    // It is found well within the longest time that it is left alone.
    assert_eq!(simulation.upstream.breaker.state(), BreakerState::Closed);
    assert!(
        simulation.failures[69..]
            .iter()
            .all(|failures| *failures == 0)
    );
    assert_eq!(simulation.load(70..80), 10 * PER_SECOND);
}

#[test]
fn an_endpoint_that_fails_is_found_and_no_client_notices() {
    let mut simulation = Simulation::new(first_fails);
    simulation.outlier = Some(policy::Outlier {
        consecutive_5xx: 5,
        consecutive_gateway: 5,
        interval: Duration::from_secs(10),
        success_rate_deviations: 1.9,
        latency_factor: 0.0,
        minimum_requests: 20,
        ejection: Duration::from_secs(5),
        ejection_max: Duration::from_secs(60),
        ejected_max: 0.5,
    });
    simulation.run(120);
    assert_eq!(simulation.failures.iter().sum::<u64>(), 0);
    let ejections = simulation.endpoints[0]
        .state
        .ejections
        .load(Ordering::Relaxed);
    assert!(ejections >= 4, "{ejections}");
    let wasted: u64 = simulation.attempts[20..].iter().map(|load| load[0]).sum();
    // Five in a row each time, and what was under way by then.
    assert!(wasted <= 10 * u64::from(ejections) + 10, "{wasted}");
    for index in 1..ENDPOINTS {
        let state = &simulation.endpoints[index].state;
        assert_eq!(state.ejections.load(Ordering::Relaxed), 0);
    }
}
