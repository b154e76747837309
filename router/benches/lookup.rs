//! Lookups beside `matchit`, on the same tables and the same paths: GitHub's REST API, and
//! 10,000 and 100,000 generated routes. Also what loading a table costs.
//!
//! matchit gets the path only; ours decides host, method and predicates too.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringgate_router::path::{PathPolicy, normalise};
use ringgate_router::{
    Captures, HostPattern, Lookup, MethodSet, PathPattern, Request, RouteSpec, Router,
    RouterBuilder, RouterOptions,
};

/// Paths per iteration; enough that large tables do not stay in the first cache.
const PATHS: usize = 4096;

/// A small reproducible generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next() % from.len()]
    }
}

fn github() -> Vec<String> {
    include_str!("github.txt")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Routes as a fleet of services has them: a service, a version, collections and actions.
fn generated(count: usize) -> Vec<String> {
    let words = [
        "users", "orders", "products", "invoices", "payments", "carts", "search", "reviews",
        "stock", "prices", "sessions", "devices", "events", "metrics", "reports", "exports",
    ];
    let actions = [
        "activate", "archive", "history", "items", "notes", "owners", "status", "tags",
    ];
    let mut random = Random(7);
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let number = routes.len();
        let service = format!(
            "/{}-{}/v{}",
            random.pick(&words),
            number / 8,
            1 + number % 2
        );
        let collection = random.pick(&words);
        routes.push(match number % 8 {
            0 | 1 => format!("{service}/{collection}"),
            2 | 3 => format!("{service}/{collection}/{{id}}"),
            4 | 5 => format!("{service}/{collection}/{{id}}/{}", random.pick(&actions)),
            6 => format!(
                "{service}/{collection}/{{id}}/{}/{{item}}",
                random.pick(&actions)
            ),
            _ => format!("{service}/files/{{rest*}}"),
        });
    }
    routes.sort();
    routes.dedup();
    routes
}

/// Requests for random routes of the table.
fn paths(routes: &[String]) -> Vec<String> {
    let values = ["7", "octocat", "hello-world", "2f9a4c1d", "1234567890"];
    let mut random = Random(11);
    let mut fill = |route: &String| {
        let mut path = String::new();
        let mut rest = route.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            path.push_str(before);
            let (name, after) = after.split_once('}').unwrap();
            path.push_str(if name.ends_with('*') {
                "src/main.rs"
            } else {
                random.pick(&values)
            });
            rest = after;
        }
        path + rest
    };
    let mut order = Random(13);
    (0..PATHS)
        .map(|_| fill(&routes[order.next() % routes.len()]))
        .collect()
}

fn ours(routes: &[String]) -> Router {
    let mut builder = RouterBuilder::new(RouterOptions::default());
    for route in routes {
        builder.route(RouteSpec::new(PathPattern::parse(route).unwrap()));
    }
    builder.build().unwrap()
}

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

fn lookup(router: &Router, path: &str) -> Lookup {
    let request = Request {
        host: b"api.example.com",
        path: path.as_bytes(),
        query: b"",
        method: b"GET",
    };
    let mut captures = Captures::new();
    let found = router.lookup(&request, &(), &mut captures);
    black_box(&captures);
    found
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
