//! A decision of the rate limiter: what the request-head phase of the filter costs with the
//! hashing of the key, for one key and for a million of them in a random order. Each decision is
//! made a little later than the one before, as on a core that is busy.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_core::key::{Key, Part};
use ringgate_core::rt::clock::Moment;
use ringgate_filters::rate_limit::{
    Algorithm, Bench, Enforcement, Ledgers, Limit, Period, RateLimit, ResponseFields, Settings,
    Weight,
};

const KEYS: u64 = 1_000_000;
/// Nanoseconds from one decision to the next.
const STEP: u64 = 100;

fn limit(algorithm: Algorithm, limit: u64, burst: u64, per: Duration) -> RateLimit {
    let settings = Settings {
        name: "bench".into(),
        key: Key {
            parts: [Part::ClientIp].into(),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        },
        routes: Arc::new([]),
        limits: [Limit {
            limit,
            burst,
            period: Period::Span(per),
            algorithm,
            reconcile: Duration::from_millis(10),
        }]
        .into(),
        weight: Weight::default(),
        keys_max: KEYS as usize,
        enforcement: Enforcement::Enforce,
        fields: ResponseFields::Silent,
        status: 429,
        cluster: None,
    };
    RateLimit::new(settings, &Ledgers::new(1, 7), BEGIN)
}

const BEGIN: Moment = Moment(1_000_000_000);

/// Numbers in an order that a cache cannot foresee.
fn scatter(turn: u64) -> u64 {
    turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17
}

/// Which key a turn has.
#[derive(Clone, Copy)]
enum Keys {
    One,
    /// All as often: no cache holds any of it.
    Evenly,
    /// The n-th most frequent a n-th as often as the first (Zipf), as clients come in life.
    AsInLife,
}

impl Keys {
    fn live(self) -> u64 {
        match self {
            Keys::One => 1,
            Keys::Evenly | Keys::AsInLife => KEYS,
        }
    }

    fn order(self) -> Vec<u32> {
        const TURNS: u64 = 1 << 22;
        let draw = |turn| match self {
            Keys::One => 0,
            Keys::Evenly => scatter(turn) % KEYS,
            Keys::AsInLife => {
                let part = (scatter(turn) % (1 << 24)) as f64 / f64::from(1 << 24);
                let rank = (KEYS as f64).powf(part) as u64;
                rank.min(KEYS) - 1
            }
        };
        (0..TURNS).map(|turn| draw(turn) as u32).collect()
    }
}

/// What one read costs that has to wait for the one before, in a table as large as that of a
/// million leases: the yardstick for decisions over keys that no cache holds.
fn reads(criterion: &mut Criterion) {
    let lines = KEYS / 2;
    let mut order: Vec<u64> = (0..lines).collect();
    order.sort_by_key(|line| scatter(*line + 1) % (1 << 40));
    let mut table = vec![[0_u64; 8]; lines as usize];
    for (at, line) in order.iter().enumerate() {
        table[*line as usize][0] = order[(at + 1) % order.len()];
    }
    let mut at = 0;
    criterion.bench_function("a dependent read of 32 MB", |bencher| {
        bencher.iter(|| at = table[at as usize][0]);
    });
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    let mut bench = |name: &str, limit: &RateLimit, keys: Keys, step: u64| {
        let mut core = Bench::new(limit);
        let mut now = BEGIN;
        // Leases grow with use: those of so many rounds last for what is measured.
        let rounds = if step == 0 { 40 } else { 1 };
        for _ in 0..rounds {
            for key in 0..keys.live() {
                core.decide(key, now);
            }
        }
        let order = keys.order();
        let mut turns = order.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now = Moment(now.0 + step);
                let key = turns.next().copied().unwrap_or(0);
                black_box(core.decide(u64::from(key), now))
            });
        });
    };
    let plenty = limit(Algorithm::TokenBucket, 1_000_000_000, 1_000_000, second);
    bench("one key, leased", &plenty, Keys::One, STEP);
    let none = limit(Algorithm::TokenBucket, 1, 0, hour);
    bench("one key, refused", &none, Keys::One, STEP);
    let hourly = limit(Algorithm::TokenBucket, 1000, 1000, hour);
    bench("a million keys as in life", &hourly, Keys::AsInLife, STEP);
    bench(
        "a million keys evenly, token bucket",
        &hourly,
        Keys::Evenly,
        STEP,
    );
    bench("a million keys evenly, refused", &none, Keys::Evenly, STEP);
    let sliding = limit(Algorithm::SlidingWindow, 1000, 0, hour);
    bench(
        "a million keys evenly, sliding window",
        &sliding,
        Keys::Evenly,
        STEP,
    );
    let fixed = limit(Algorithm::FixedWindow, 1000, 0, hour);
    bench(
        "a million keys evenly, fixed window",
        &fixed,
        Keys::Evenly,
        STEP,
    );
    let leased = limit(Algorithm::TokenBucket, 60_000, 60_000, hour);
    bench(
        "a million keys evenly, leases in force",
        &leased,
        Keys::Evenly,
        0,
    );
    group.finish();
}

criterion_group!(benches, decisions, reads);
criterion_main!(benches);
