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

/// Keys in an order that a cache cannot foresee.
fn key(turn: u64) -> u64 {
    (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17) % KEYS
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    let mut bench = |name: &str, limit: &RateLimit, keys: u64, step: u64| {
        let mut core = Bench::new(limit);
        let mut now = BEGIN;
        for key in 0..keys {
            core.decide(key, now);
        }
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn += 1;
                now = Moment(now.0 + step);
                let key = if keys == 1 { 0 } else { key(turn) };
                black_box(core.decide(key, now))
            });
        });
    };
    let plenty = limit(Algorithm::TokenBucket, 1_000_000_000, 1_000_000, second);
    bench("one key, leased", &plenty, 1, STEP);
    let none = limit(Algorithm::TokenBucket, 1, 0, hour);
    bench("one key, refused", &none, 1, STEP);
    let hourly = limit(Algorithm::TokenBucket, 1000, 1000, hour);
    bench("a million keys, token bucket", &hourly, KEYS, STEP);
    bench("a million keys, refused", &none, KEYS, STEP);
    let sliding = limit(Algorithm::SlidingWindow, 1000, 0, hour);
    bench("a million keys, sliding window", &sliding, KEYS, STEP);
    let fixed = limit(Algorithm::FixedWindow, 1000, 0, hour);
    bench("a million keys, fixed window", &fixed, KEYS, STEP);
    let leased = limit(Algorithm::TokenBucket, 60_000, 60_000, hour);
    bench("a million keys, leases in force", &leased, KEYS, 0);
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
