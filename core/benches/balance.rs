//! Balancing: what a pick costs, beside what is done when endpoints change.
//!
//! - `pick`: one pick on one core, as a request asks for it: the test whether the roster is
//!   stale, the pick, and the count of the request that begins and of the one that ends. Time
//!   goes on by 20 us with each, so what other cores count is read as often as at 50,000
//!   requests a second. With 32 cores the others' counters are not written meanwhile: on a busy
//!   machine each read of one is a cache miss more.
//! - `sort`: what a core does when the standing of an endpoint has changed.
//! - `ring`: what the first core does that hashes behind a change of addresses or weights.
//! - `cookie`: signing and verifying one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_core::balance::sticky::Signer;
use ringgate_core::balance::{Ask, Roster};
use ringgate_core::fleet::UpstreamState;
use ringgate_core::policy::{Algorithm, Balance, Choice, Sticky};
use ringgate_core::rt::Addr;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Endpoint;
use ringgate_core::stats::CoreIndex;

const CORE: CoreIndex = CoreIndex(0);
const START: Moment = Moment(5_000_000_000);
const STEP: Duration = Duration::from_micros(20);
/// Requests under way.
const ACTIVE: usize = 64;

struct Scene {
    state: UpstreamState,
    endpoints: Vec<Endpoint>,
    policy: Balance,
    roster: Roster,
    now: Moment,
    random: u64,
    begun: [usize; ACTIVE],
    next: usize,
}

impl Scene {
    fn new(cores: usize, weights: impl Iterator<Item = u32>) -> Scene {
        let state = UpstreamState::new(cores);
        let endpoint = |(at, weight): (usize, u32)| {
            let addr = Addr::Tcp(([10, 0, 0, 1], at as u16 + 1).into());
            Endpoint {
                weight,
                priority: 0,
                zone: None,
                state: state.endpoint(&addr, "origin"),
                authority: "origin".into(),
                addr,
            }
        };
        let mut scene = Scene {
            endpoints: weights.enumerate().map(endpoint).collect(),
            state,
            policy: Balance::default(),
            roster: Roster::new(CORE),
            now: START,
            random: 0,
            begun: [0; ACTIVE],
            next: 0,
        };
        for endpoint in &scene.endpoints {
            endpoint.state.stats.of(CORE).ewma.record(1_000, START);
        }
        scene.endpoints[0]
            .state
            .stats
            .of(CORE)
            .active
            .add(ACTIVE as u64);
        scene.sort();
        scene
    }

    fn sort(&mut self) {
        let (endpoints, now) = (&self.endpoints, self.now);
        self.roster
            .sort(&self.policy, endpoints, &self.state, now, |_| None);
    }

    #[inline]
    fn pick(&mut self, choice: &Choice) -> usize {
        self.now = self.now.after(STEP);
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if self.roster.is_stale(&self.state, self.now) {
            self.sort();
        }
        let ask = Ask {
            choice,
            state: &self.state,
            hash: self.random,
            random: self.random,
            now: self.now,
            tried: &[],
            requests_max: 0,
            pinned: None,
        };
        let at = self.roster.pick(&ask).unwrap();
        self.active(at).add(1);
        let ended = std::mem::replace(&mut self.begun[self.next], at);
        self.next = (self.next + 1) % ACTIVE;
        self.active(ended).sub(1);
        at
    }

    fn active(&self, at: usize) -> &ringgate_core::stats::Counter {
        &self.endpoints[at].state.stats.of(CORE).active
    }
}

fn even(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|_| 1)
}

fn weighted(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|at| 1 + at % 5)
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    let plain = |algorithm| Choice {
        algorithm,
        key: None,
        bounded_load: None,
    };
    for count in [3, 10, 50] {
        let mut scene = Scene::new(2, even(count));
        let mut case = |name: &str, choice: Choice, scene: &mut Scene| {
            group.bench_function(format!("{name}/{count}"), |bencher| {
                bencher.iter(|| scene.pick(black_box(&choice)));
            });
        };
        let turns = || plain(Algorithm::RoundRobin);
        case("round_robin", turns(), &mut scene);
        case(
            "round_robin, weighted",
            turns(),
            &mut Scene::new(2, weighted(count)),
        );
        let least = || plain(Algorithm::LeastConnections);
        case("least_connections", least(), &mut scene);
        case(
            "least_connections, 32 cores",
            least(),
            &mut Scene::new(32, even(count)),
        );
        case("random_two", plain(Algorithm::RandomTwo), &mut scene);
        case("peak_ewma", plain(Algorithm::PeakEwma), &mut scene);
        case(
            "consistent_hash",
            plain(Algorithm::ConsistentHash),
            &mut scene,
        );
        let bounded = Choice {
            bounded_load: Some(1.25),
            ..plain(Algorithm::ConsistentHash)
        };
        case("consistent_hash, bounded", bounded, &mut scene);
    }
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sort");
    for count in [10, 50, 1_000] {
        let mut scene = Scene::new(2, even(count));
        group.bench_function(count.to_string(), |bencher| bencher.iter(|| scene.sort()));
    }
    group.finish();
    let mut group = criterion.benchmark_group("ring");
    for count in [10, 50, 1_000] {
        let mut scene = Scene::new(2, even(count));
        let choice = Choice {
            algorithm: Algorithm::ConsistentHash,
            key: None,
            bounded_load: None,
        };
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| {
                // Another weight is another ring.
                let weight = &mut scene.endpoints[0].weight;
                *weight = 3 - *weight;
                scene.roster.expire();
                scene.pick(&choice)
            });
        });
    }
    group.finish();
}

fn cookies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cookie");
    let signer = Signer::new(&Sticky {
        cookie: "ringgate-node".into(),
        secret: Arc::from(&b"a secret of thirty-two bytes, 123"[..]),
        max_age: Some(Duration::from_secs(3600)),
        secure: true,
    });
    let value = signer.value(1, 1_800_000_000);
    group.bench_function("sign", |bencher| {
        bencher.iter(|| signer.value(black_box(1), 1_800_000_000).len());
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| signer.verify(black_box(value.as_bytes()), 1_800_000_000));
    });
    group.finish();
}

criterion_group!(benches, picks, changes, cookies);
criterion_main!(benches);
