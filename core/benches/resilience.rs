//! Resilience: what each policy costs a request that succeeds, on one core of thirty-two.
//!
//! Time goes on by 20 us with each request, as at 50,000 a second, so what a policy does now and
//! then (a window's next bucket, the sum over all cores) is in the mean. The other cores' lines
//! are not written meanwhile: on a busy machine each one that a sum reads is a cache miss more.
//!
//! - `none`: the loop itself.
//! - `breaker`, `outlier`, `budget`, `hedge`, `gate`, `adaptive`, `canary`: a success.
//! - `breaker look`: adding up the cores' windows, once in `reconcile`.
//! - `budget spend`: a retry that is paid for; `hedge measure`: a percentile, at most ten times
//!   a second.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_core::fleet::{RouteState, UpstreamState};
use ringgate_core::policy;
use ringgate_core::resilience::concurrency::Entry;
use ringgate_core::resilience::{Outcome, outlier};
use ringgate_core::rt::Addr;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Endpoint;
use ringgate_core::stats::CoreIndex;

const CORES: usize = 32;
const CORE: CoreIndex = CoreIndex(0);
const STEP: Duration = Duration::from_micros(20);
const TOOK: Duration = Duration::from_millis(3);
const GOOD: Outcome = Outcome::Good { head_after: TOOK };

struct Scene {
    upstream: UpstreamState,
    route: RouteState,
    endpoints: Vec<Endpoint>,
    now: Moment,
}

impl Scene {
    fn new() -> Scene {
        let upstream = UpstreamState::new(CORES);
        let endpoint = |port| {
            let addr = Addr::Tcp(([10, 0, 0, 1], port).into());
            Endpoint {
                weight: 1,
                priority: 0,
                zone: None,
                state: upstream.endpoint(&addr, "origin"),
                authority: "origin".into(),
                addr,
            }
        };
        Scene {
            endpoints: (1..=8).map(endpoint).collect(),
            upstream,
            route: RouteState::new(CORES),
            now: Moment(5_000_000_000),
        }
    }

    fn tick(&mut self) -> Moment {
        self.now = self.now.after(STEP);
        self.now
    }
}

fn breaker() -> policy::Breaker {
    policy::Breaker {
        scope: policy::BreakerScope::Upstream,
        error_ratio: 0.5,
        slow_after: Duration::from_secs(1),
        slow_ratio: 0.8,
        window: Duration::from_secs(10),
        minimum_requests: 20,
        open_for: Duration::from_secs(5),
        open_for_max: Duration::from_secs(60),
        probes: 3,
        reconcile: Duration::from_millis(10),
    }
}

fn ejection() -> policy::Outlier {
    policy::Outlier {
        consecutive_5xx: 5,
        consecutive_gateway: 5,
        interval: Duration::from_secs(10),
        success_rate_deviations: 1.9,
        latency_factor: 3.0,
        minimum_requests: 20,
        ejection: Duration::from_secs(30),
        ejection_max: Duration::from_secs(300),
        ejected_max: 0.5,
    }
}

fn retry(budget: f64) -> policy::Retry {
    policy::Retry {
        attempts: 2,
        on: policy::RetryOn::default(),
        try_timeout: Duration::ZERO,
        backoff: Duration::from_millis(25),
        backoff_max: Duration::from_secs(1),
        methods: Box::new([]),
        body_max: 0,
        budget,
        budget_minimum: 3,
        hedge: None,
    }
}

fn places(adaptive: Option<policy::Adaptive>) -> policy::Concurrency {
    policy::Concurrency {
        max: 1000,
        queue_max: 100,
        queue_timeout: Duration::from_secs(1),
        adaptive,
    }
}

fn successes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("success");
    let mut scene = Scene::new();
    group.bench_function("none", |bencher| bencher.iter(|| black_box(scene.tick())));

    let (mut scene, spec) = (Scene::new(), breaker());
    group.bench_function("breaker", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            let upstream = &scene.upstream;
            let admission = upstream.breaker.admit(&spec, upstream, CORE, now);
            let breaker = &upstream.breaker;
            breaker.record(&spec, upstream, CORE, now, black_box(admission), GOOD);
        });
    });

    let (mut scene, spec) = (Scene::new(), ejection());
    group.bench_function("outlier", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            let (upstream, endpoints) = (&scene.upstream, &scene.endpoints);
            let endpoint = &endpoints[now.0 as usize % 8].state;
            outlier::record(&spec, endpoint, upstream, endpoints, now, black_box(GOOD))
        });
    });

    let mut scene = Scene::new();
    group.bench_function("budget", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            scene.upstream.budget.live(CORE, black_box(now));
        });
    });

    let mut scene = Scene::new();
    group.bench_function("hedge", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            scene.upstream.latency.record(CORE, now, black_box(TOOK));
        });
    });
    group.finish();
}

fn gates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("success");
    let adaptive = policy::Adaptive {
        min: 10,
        tolerance: 1.5,
        interval: Duration::from_secs(1),
    };
    for (name, spec) in [("gate", places(None)), ("adaptive", places(Some(adaptive)))] {
        let mut scene = Scene::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let now = scene.tick();
                let gate = &scene.upstream.gate;
                let entry = gate.try_enter(&spec, CORE, |_, _| {});
                assert!(matches!(black_box(entry), Entry::Entered));
                gate.record(&spec, CORE, now, GOOD, |_, _| {});
                gate.leave(&spec, |_, _| {});
            });
        });
    }

    let halt = policy::Halt {
        error_ratio: 0.05,
        minimum_requests: 50,
        window: Duration::from_secs(60),
    };
    let over = Duration::from_secs(3600);
    let spec = policy::Canary::new((1, "v2"), (0.05, 0.5), over, Some(halt));
    let (mut scene, mut point) = (Scene::new(), 0u64);
    group.bench_function("canary", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            point = point.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let ramp = &scene.route.ramp;
            let side = ramp.side(&spec, now, point);
            ramp.record(&spec, side, CORE, now, black_box(GOOD));
        });
    });
    group.finish();
}

fn now_and_then(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("now and then");
    let (mut scene, spec) = (Scene::new(), breaker());
    let each = policy::Breaker {
        reconcile: Duration::ZERO,
        ..breaker()
    };
    for core in 0..CORES as u32 * 100 {
        let (core, now) = (CoreIndex(core % CORES as u32), scene.tick());
        let upstream = &scene.upstream;
        let admission = upstream.breaker.admit(&spec, upstream, core, now);
        upstream
            .breaker
            .record(&spec, upstream, core, now, admission, GOOD);
    }
    group.bench_function("breaker look", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            let upstream = &scene.upstream;
            upstream
                .breaker
                .admit(&each, upstream, CORE, black_box(now))
        });
    });

    let (mut scene, spec) = (Scene::new(), retry(1.0));
    group.bench_function("budget spend", |bencher| {
        bencher.iter(|| {
            let now = scene.tick();
            let budget = &scene.upstream.budget;
            budget.live(CORE, now);
            budget.try_spend(&spec, CORE, black_box(now))
        });
    });

    let mut scene = Scene::new();
    let spec = policy::Hedge {
        after_percentile: 0.95,
        after_minimum: Duration::ZERO,
    };
    for core in 0..CORES as u32 * 100 {
        let took = Duration::from_micros(u64::from(core) * 7);
        let core = CoreIndex(core % CORES as u32);
        scene.upstream.latency.record(core, scene.now, took);
    }
    group.bench_function("hedge measure", |bencher| {
        bencher.iter(|| {
            // Old enough for a new one each time, and soon without samples: the sum is the same.
            scene.now = scene.now.after(Duration::from_millis(100));
            scene.upstream.latency.after(&spec, black_box(scene.now))
        });
    });
    group.finish();
}

criterion_group!(benches, successes, gates, now_and_then);
criterion_main!(benches);
