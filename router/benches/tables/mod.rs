//! Route tables and requests for them: GitHub's REST API, and generated ones as a fleet of
//! services has them. The same on every machine and in every run.
#![allow(dead_code, reason = "each bench uses its part")]

use std::hint::black_box;

use ringgate_router::{
    Captures, Lookup, PathPattern, Request, RouteSpec, Router, RouterBuilder, RouterOptions,
};

/// Paths per iteration; enough that large tables do not stay in the first cache.
pub const PATHS: usize = 4096;

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

/// Routes of GitHub's REST API.
pub fn github() -> Vec<String> {
    include_str!("../github.txt")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Routes as a fleet of services has them: a service, a version, collections and actions.
pub fn generated(count: usize) -> Vec<String> {
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
pub fn paths(routes: &[String]) -> Vec<String> {
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

/// Our router with these routes, numbered in their order.
pub fn ours(routes: &[String]) -> Router {
    let mut builder = RouterBuilder::new(RouterOptions::default());
    for route in routes {
        builder.route(RouteSpec::new(PathPattern::parse(route).unwrap()));
    }
    builder.build().unwrap()
}

/// Looks a path up, as the gateway does for a GET without a query.
pub fn lookup(router: &Router, path: &str) -> Lookup {
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
