//! Times the load of a generated configuration, by default of 10,000 routes: `cargo run --release
//! -p ringgate-config --example load_time -- 10000`
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::time::Instant;

use ringgate_config::{AnyPattern, load_str};

const RUNS: usize = 9;

fn main() {
    let routes = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    let text = generate(routes);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let loaded = load_str("generated.toml", &text, &|_| None, &AnyPattern);
        times.push(start.elapsed());
        assert_eq!(
            loaded.config.map(|config| config.routes.len()),
            Some(routes)
        );
    }
    times.sort();
    println!(
        "{routes} routes, {} KiB: median {:?}, fastest {:?}, slowest {:?} of {RUNS}",
        text.len() / 1024,
        times[RUNS / 2],
        times[0],
        times[RUNS - 1],
    );
}

fn generate(routes: usize) -> String {
    let mut out = String::from(
        "[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:8080\"\n\
         [filter.tag]\ntype = \"headers\"\nrequest.set = { x-gateway = \"ringgate\" }\n",
    );
    let upstreams = routes / 20 + 1;
    for id in 0..upstreams {
        let _ = write!(
            out,
            "[[upstream]]\nname = \"service-{id}\"\nendpoints = [\"10.0.{}.{}:8080\", \"10.1.{}.{}:8080\"]\n",
            id / 256 % 256,
            id % 256,
            id / 256 % 256,
            id % 256,
        );
    }
    for id in 0..routes {
        let _ = write!(
            out,
            "[[route]]\nname = \"route-{id}\"\nhosts = [\"api{}.example.com\"]\n\
             path = \"/v1/service{id}/items/{{item}}\"\nmethods = [\"GET\", \"POST\"]\n\
             filters = [\"tag\"]\nupstream = \"service-{}\"\n",
            id % 100,
            id % upstreams,
        );
        if id % 4 == 0 {
            out.push_str("match.headers = { x-version = \"2\" }\ntimeout = \"5s\"\n");
        }
    }
    out
}
