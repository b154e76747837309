//! What it costs to ask who makes a request. Schemes change the heads, so each round receives
//! both of them first: `no filter` is what to take off.
//!
//! Requests go through a thousand keys of all there are, in an order that no cache foresees.
#![allow(clippy::unwrap_used, missing_docs)]

mod route;

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_filters::auth::api_key::{ApiKey, Credential, KeyPlaces};
use ringgate_filters::auth::consumers::{Consumer, KeyProof, KeyState, Registered, StoredKey};
use ringgate_filters::auth::verify::NoVerifier;
use ringgate_filters::auth::{Directory, Otherwise, Scheme, Settings, Tell};
use ringgate_filters::{Authenticate, Filter};
use route::Exchange;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// As long as those that `ringgate key new` makes.
fn key(number: usize) -> String {
    format!("rg_{number:043}")
}

fn digest_of(number: usize) -> [u8; 32] {
    let digest = digest(&SHA256, key(number).as_bytes());
    digest.as_ref().try_into().unwrap()
}

fn directory(consumers: usize) -> Arc<Directory> {
    let registered = (0..consumers).map(|number| Registered {
        consumer: Consumer {
            name: format!("consumer-{number}").into(),
            groups: ["partners".into()].into(),
            ..Consumer::default()
        },
        keys: vec![StoredKey {
            proof: KeyProof::Digest(digest_of(number)),
            begins_ms: 0,
            ends_ms: u64::MAX,
        }],
        ..Registered::default()
    });
    Arc::new(Directory::new(registered))
}

fn filter(directory: Arc<Directory>) -> Filter {
    let scheme = Scheme::ApiKey(ApiKey {
        places: KeyPlaces {
            header: Some("x-api-key".into()),
            ..KeyPlaces::default()
        },
        credential: Credential::Hidden,
        directory,
        store: None,
        verifier: Arc::new(NoVerifier),
    });
    Filter::Authenticate(Box::new(Authenticate::new(Settings {
        alternatives: [[Arc::new(scheme)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "ringgate".into(),
        tell: Tell {
            consumer: Some("x-consumer".into()),
            groups: Some("x-consumer-groups".into()),
            ..Tell::default()
        },
    })))
}

/// Numbers of a thousand of so many consumers, far from each other.
fn numbers(consumers: usize) -> Vec<usize> {
    (0..1000).map(|at| at * 7919 % consumers).collect()
}

fn api_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("api key");
    for consumers in [10, 100_000] {
        let heads = numbers(consumers).into_iter().map(|number| {
            let key = key(number);
            format!("GET /orders/7 HTTP/1.1\r\nhost: a.test\r\nx-api-key: {key}\r\n\r\n")
        });
        let heads: Vec<String> = heads.collect();
        let mut bench = |name: &str, filters: Vec<Filter>| {
            let mut exchange = Exchange::on(filters, heads[0].as_bytes(), RESPONSE);
            let mut turn = heads.iter().cycle();
            group.bench_function(format!("{name}, {consumers} consumers"), |bencher| {
                bencher.iter(|| {
                    exchange.receive(turn.next().unwrap().as_bytes(), RESPONSE);
                    assert!(exchange.filter_request());
                });
            });
        };
        bench("no filter", Vec::new());
        bench("api_key", vec![filter(directory(consumers))]);
    }
    group.finish();
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key of a digest");
    for consumers in [10, 100_000] {
        let directory = directory(consumers);
        let digests: Vec<[u8; 32]> = numbers(consumers).into_iter().map(digest_of).collect();
        let mut turn = digests.iter().cycle();
        group.bench_function(format!("{consumers} consumers"), |bencher| {
            bencher.iter(|| {
                let state = directory.key(black_box(turn.next().unwrap()), 1);
                assert!(matches!(state, KeyState::Of(_)));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, api_keys, lookups);
criterion_main!(benches);
