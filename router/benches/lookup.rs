//! Lookups beside `matchit`, on the same tables and the same paths: GitHub's REST API, and
//! 10,000 and 100,000 generated routes. Also what loading a table costs.
//!
//! matchit gets the path only; ours decides host, method and predicates too.
#![allow(clippy::unwrap_used, missing_docs)]

mod tables;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringgate_router::path::{PathPolicy, normalise};
use ringgate_router::{
    HostPattern, Lookup, MethodSet, PathPattern, RouteSpec, Router, RouterBuilder, RouterOptions,
};
use tables::{generated, github, lookup, ours, paths};

fn theirs(routes: &[String]) -> matchit::Router<u32> {
    let mut router = matchit::Router::new();
    for (id, route) in routes.iter().enumerate() {
        let route = route
            .replace("{rest*}", "{*rest}")
            .replace("{path*}", "{*path}")
            .replace("{ref*}", "{*ref}");
        router.insert(route, id as u32).unwrap();
    }
    router
}

fn lookups(criterion: &mut Criterion) {
    for (name, routes) in [
        ("github", github()),
        ("generated-10000", generated(10_000)),
        ("generated-100000", generated(100_000)),
    ] {
        let paths = paths(&routes);
        let ours = ours(&routes);
        let theirs = theirs(&routes);
        for path in &paths {
            // Both must do the same work.
            let their = *theirs.at(path).unwrap().value;
            assert_eq!(
                lookup(&ours, path),
                Lookup::Found(ringgate_router::RouteId(their)),
                "{path}"
            );
        }
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(paths.len() as u64));
        group.bench_function("ringgate", |bencher| {
            bencher.iter(|| {
                for path in &paths {
                    black_box(lookup(&ours, black_box(path)));
                }
            });
        });
        group.bench_function("matchit", |bencher| {
            bencher.iter(|| {
                for path in &paths {
                    let _ = black_box(theirs.at(black_box(path)));
                }
            });
        });
        group.finish();
    }
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for count in [10_000, 100_000] {
        let routes = generated(count);
        group.bench_function(format!("{count} parse and build"), |bencher| {
            bencher.iter(|| ours(black_box(&routes)));
        });
        let router = ours(&routes);
        group.bench_function(format!("{count} conflicts"), |bencher| {
            bencher.iter(|| black_box(router.conflicts()));
        });
    }
    let crowded = crowded();
    group.bench_function("10000 conflicts of one path", |bencher| {
        bencher.iter(|| black_box(crowded.conflicts()))
    });
    group.finish();
}

/// 10,000 routes on one path, by host, method and tenant.
fn crowded() -> Router {
    let mut builder = RouterBuilder::new(RouterOptions::default());
    for number in 0..10_000 {
        let mut spec = RouteSpec::new(PathPattern::parse("/api/{rest*}").unwrap());
        if number % 4 == 0 {
            spec.hosts = vec![HostPattern::parse(&format!("t{number}.example.com")).unwrap()];
        }
        spec.methods = MethodSet::of([if number % 2 == 0 { "GET" } else { "POST" }]).unwrap();
        let tenant = ringgate_router::ValueTest::exact(format!("t{number}"));
        spec.headers = vec![ringgate_router::HeaderPredicate::new("x-tenant", tenant).unwrap()];
        builder.route(spec);
    }
    builder.build().unwrap()
}

fn normalising(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("normalise");
    let mut out = Vec::new();
    for (name, path) in [
        (
            "canonical",
            "/repos/octocat/hello-world/issues/1347/comments",
        ),
        (
            "encoded",
            "/repos/octocat/hello%2Dworld/./issues//1347/comments",
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(normalise(
                    black_box(path.as_bytes()),
                    &PathPolicy::default(),
                    &mut out,
                ))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lookups, loading, normalising);
criterion_main!(benches);
