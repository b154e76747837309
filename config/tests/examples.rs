//! The examples are whole configurations that load without a complaint.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;

use ringgate_config::model::{Action, Cap, EndpointAddr, ListenAddr, Upgrade, Workers};
use ringgate_config::{Config, Loaded, Style, Verdict, load, render};

fn example(name: &str) -> Loaded {
    let path = Path::new("../examples").join(name);
    load(&path, &|_| None, &common::Patterns)
}

fn runnable(name: &str) -> Config {
    let loaded = example(name);
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    assert_eq!(said, "", "{name}");
    assert_eq!(loaded.verdict(), Verdict::Runnable);
    loaded.config.unwrap()
}

#[test]
fn every_example_loads_without_findings() {
    let mut count = 0;
    for entry in std::fs::read_dir("../examples").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            runnable(&name);
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn the_contract_arrives_in_the_typed_tree() {
    let config = runnable("contract.toml");
    assert_eq!(*config.runtime.workers, Workers::Auto);
    assert_eq!(config.limits.head_max, 32 * 1024);
    assert_eq!(config.limits.body_max, Cap::At(16 << 20));
    assert_eq!(config.limits.connections_max.get(), 100_000);
    assert_eq!(config.listeners.len(), 2);
    let users = &config.upstreams[0];
    assert_eq!(users.endpoints[1].weight.get(), 2);
    assert_eq!(users.response_timeout.as_secs(), 15);
    let orders = &config.upstreams[1];
    assert!(
        matches!(&*orders.endpoints[1].address, EndpointAddr::Unix(path) if path.ends_with("orders.sock"))
    );
    let names: Vec<&str> = config
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["user-by-id", "users-v2", "orders", "health", "old"]);
    let by_id = &config.routes[0];
    assert_eq!(&*by_id.hosts[1].value, "*.example.org");
    assert_eq!(
        &*config.filter(by_id.filters[1].value).name.value,
        "api-key"
    );
    let Action::Split(targets) = &config.routes[2].action else {
        panic!("not a split");
    };
    assert_eq!(targets[0].weight, 95);
    assert_eq!(
        &*config.upstream(targets[1].upstream.value).name.value,
        "users"
    );
    assert_eq!(config.consumers[0].name.as_str(), "mobile-app");
    assert_eq!(config.consumers[0].api_keys.len(), 1);
    let Action::Redirect(redirect) = &config.routes[4].action else {
        panic!("not a redirect");
    };
    assert_eq!((redirect.status, &*redirect.to.value), (308, "/api/{rest}"));
}

#[test]
fn the_edge_example_overrides_limits_for_one_listener() {
    let config = runnable("edge.toml");
    let [public, health] = &config.listeners[..] else {
        panic!("not two listeners");
    };
    assert_eq!(public.limits, config.limits);
    assert_eq!(public.limits.requests_per_connection_max, Cap::Off);
    assert_eq!(health.limits.connections_max.get(), 1000);
    assert_eq!(health.limits.uri_max, config.limits.uri_max);
    assert_eq!(config.forwarded.trusted.len(), 2);
    assert!(matches!(&*public.listen, ListenAddr::Tcp(address) if address.port() == 8080));
}

#[test]
fn the_websocket_example_allows_upgrades_where_it_says_so() {
    let config = runnable("websocket.toml");
    let upgrades: Vec<Upgrade> = config.routes.iter().map(|route| route.upgrade).collect();
    assert_eq!(
        upgrades,
        [Upgrade::WebSocket, Upgrade::Forbid, Upgrade::Forbid]
    );
    assert_eq!(config.routes[1].timeout, Some(Cap::Off));
}
