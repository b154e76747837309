//! What filters add to an exchange. Filters change the heads, so each round receives both of
//! them first: `no filter` is what to take off.
//!
//! The decision of the rate limiter has a bench of its own: `limiter`.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../core/benches/messages/mod.rs"]
mod messages;
mod route;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use messages::{SMALL_REQUEST, SMALL_RESPONSE};
use ringgate_core::block::{Block, BlockClass};
use ringgate_filters::Filter;
use route::Exchange;

fn chains(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heads of an exchange");
    let mut bench = |name: &str, filters: Vec<Filter>| {
        let mut exchange = Exchange::on(filters, SMALL_REQUEST, SMALL_RESPONSE);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                exchange.receive(SMALL_REQUEST, SMALL_RESPONSE);
                assert!(exchange.filter_request() && exchange.filter_response());
            });
        });
    };
    bench("no filter", Vec::new());
    for count in [1, 4, 16] {
        bench(&format!("headers x {count}"), route::header_filters(count));
    }
    bench("body_limit", route::body_limit());
    bench("rewrite", route::rewrite());
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("piece of a request body");
    let mut piece = Block::new(BlockClass::Small);
    piece.append(&[b'x'; 8 << 10]);
    let mut exchange = Exchange::on(route::body_limit(), SMALL_REQUEST, SMALL_RESPONSE);
    group.bench_function("body_limit", |bencher| {
        bencher.iter(|| assert!(exchange.filter_body(black_box(&mut piece))));
    });
    group.finish();
}

criterion_group!(benches, chains, bodies);
criterion_main!(benches);
