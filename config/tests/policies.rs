//! What traffic policies, limiters and stores arrive as in the typed tree and in what is shown.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use ringgate_config::model::{
    Algorithm, Cap, FallbackTo, FilterKind, HealthQuestion, KeyPart, Period, RateLimit,
};
use ringgate_config::{Config, Style, load_str, render};

const LISTENER: &str = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n";
const UPSTREAM: &str = "[[upstream]]\nname = \"a\"\nendpoints = [\"10.0.0.1:80\"]\n";
const ROUTE: &str = "[[route]]\nname = \"r\"\npath = \"/{id}\"\nupstream = \"a\"\n";

fn good(text: &str) -> Config {
    let loaded = load_str("t.toml", text, &common::env, &common::Patterns);
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    loaded.config.unwrap_or_else(|| panic!("{said}"))
}

fn limiter(more: &str) -> RateLimit {
    let config = good(&format!(
        "{LISTENER}{UPSTREAM}[filter.f]\ntype = \"rate_limit\"\n{more}{ROUTE}filters = [\"f\"]\n"
    ));
    match config.filters[0].kind.clone() {
        FilterKind::RateLimit(limit) => *limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rate_limit_has_the_algorithm_that_fits_its_burst() {
    let plain = limiter("key = \"client_ip\"\nlimit = 5\nper = \"1s\"\n");
    assert_eq!(plain.algorithm, Algorithm::SlidingWindow);
    assert_eq!(plain.reconcile, Duration::from_millis(10));
    assert_eq!((plain.key.ipv4_prefix, plain.key.ipv6_prefix), (32, 64));
    assert_eq!(
        (plain.status, plain.fields, plain.dry_run),
        (429, true, false)
    );
    assert_eq!(plain.weight.max, 100);
    let burst = limiter("key = \"route\"\nlimit = 5\nper = \"1s\"\nburst = 3\n");
    assert_eq!(burst.algorithm, Algorithm::TokenBucket);
    let several = limiter(
        "key = [\"header:X-Key\", \"method\"]\nalgorithm = \"fixed_window\"\n\
         limits = [{ limit = 10, per = \"1s\" }, { limit = 100, per = \"1h\", burst = 2 }]\n",
    );
    assert_eq!(several.algorithm, Algorithm::FixedWindow);
    assert_eq!(several.limits.len(), 2);
    let parts: Vec<&KeyPart> = several.key.parts.iter().map(|part| &part.value).collect();
    assert_eq!(parts, [&KeyPart::Header("x-key".into()), &KeyPart::Method]);
}

#[test]
fn a_quota_has_a_calendar_period_and_a_store() {
    let config = good(&format!(
        "[quotas]\nstore = \"q.redb\"\n{LISTENER}{UPSTREAM}[filter.f]\ntype = \"quota\"\n\
         key = \"cookie:uid\"\nlimit = 1000\nper = \"month\"\n{ROUTE}filters = [\"f\"]\n"
    ));
    let FilterKind::Quota(quota) = &config.filters[0].kind else {
        panic!("not a quota");
    };
    assert_eq!((quota.limit, quota.per), (1000, Period::Month));
    assert!(config.quotas.unwrap().store.value.ends_with("q.redb"));
}

#[test]
fn limits_of_connections_are_overridden_and_switched_off_by_listener() {
    let config = good(&format!(
        "[limits]\nconnection_rate = {{ limit = 100, per = \"1s\", burst = 50 }}\n\
         connections_per_address_max = 9\n{LISTENER}limits.connection_rate = \"off\"\n\
         {UPSTREAM}{ROUTE}"
    ));
    let Cap::At(rate) = config.limits.connection_rate else {
        panic!("no rate");
    };
    assert_eq!((rate.limit, rate.burst), (100, 50));
    let own = &config.listeners[0].limits;
    assert_eq!(own.connection_rate, Cap::Off);
    assert_eq!(own.connections_per_address_max, 9);
}

#[test]
fn moving_upstreams_changes_no_policy() {
    let spare = "[[upstream]]\nname = \"spare\"\nendpoints = [\"10.0.0.2:80\"]\n";
    let fallback = "[upstream.fallback]\nupstream = \"spare\"\n";
    let route = format!("{ROUTE}mirror = {{ upstream = \"spare\" }}\n");
    let one = good(&format!("{LISTENER}{UPSTREAM}{fallback}{spare}{route}"));
    let other = good(&format!("{LISTENER}{spare}{UPSTREAM}{fallback}{route}"));
    assert_eq!(one.upstreams[0], other.upstreams[1]);
    assert_eq!(one.routes[0].policy, other.routes[0].policy);
    let fallback = one.upstreams[0].fallback.as_ref().unwrap();
    assert!(matches!(&fallback.to, FallbackTo::Upstream(name) if name.as_str() == "spare"));
}

#[test]
fn health_checks_may_ask_for_a_connection_or_a_text() {
    let question = |more: &str| {
        let text = format!("{LISTENER}{UPSTREAM}[upstream.health]\n{more}{ROUTE}");
        good(&text).upstreams[0].health.clone().unwrap().question
    };
    assert_eq!(question("type = \"tcp\"\n"), HealthQuestion::Tcp);
    let HealthQuestion::Http { body, .. } = question("path = \"/h\"\nbody = \"ready\"\n") else {
        panic!("not HTTP");
    };
    assert_eq!(body.as_deref(), Some("ready"));
}

#[test]
fn secrets_of_policies_and_stores_are_not_shown() {
    let config = good(&format!(
        "[redis.main]\nurl = \"redis://:topsecretkey@127.0.0.1:6379/0\"\n{LISTENER}{UPSTREAM}\
         sticky = {{ secret = \"topsecretkey-topsecretkey\" }}\n\
         [filter.m]\ntype = \"maintenance\"\n\
         header = {{ name = \"x-preview\", value = \"topsecretkey\" }}\n\
         [filter.f]\ntype = \"rate_limit\"\nkey = \"route\"\nlimit = 5\nper = \"1s\"\nredis = \"main\"\n\
         {ROUTE}filters = [\"m\", \"f\"]\n"
    ));
    let view = config.to_json();
    assert_eq!(view["redis"]["main"]["url"], "(hidden)");
    assert_eq!(view["redis"]["main"]["timeout"], "100ms");
    assert_eq!(view["upstream"][0]["sticky"]["secret"], "(hidden)");
    assert_eq!(view["upstream"][0]["sticky"]["cookie"], "ringgate-node");
    assert_eq!(view["filter"]["m"]["header"]["value"], "(hidden)");
    assert_eq!(view["filter"]["f"]["keys_max"], 100_000);
    assert!(!view.to_string().contains("topsecretkey"));
    for debugged in [
        format!("{:?}", config.redis),
        format!("{:?}", config.upstreams),
    ] {
        assert!(!debugged.contains("topsecretkey"), "{debugged}");
    }
    assert!(config.redis[0].url.expose().contains("topsecretkey"));
}
