//! Traffic policies, as the data plane gets them.

use std::time::Duration;

use ringgate_core::key::Part;
use ringgate_core::policy::{self, Algorithm, BreakerScope, FallbackTo, Urgency};
use ringgate_core::snapshot::Endpoint;

use super::*;

const SPARE: &str = "[[upstream]]\nname = \"spare\"\nendpoints = [\"127.0.0.1:2\"]\n";
const ROUTE: &str = "[[route]]\nname = \"r\"\npath = \"/{id}\"\n";

fn of_upstream(more: &str) -> snapshot::Upstream {
    let text = format!(
        "[node]\nzone = \"east\"\n{LISTENER}{UPSTREAM}{more}{SPARE}{ROUTE}upstream = \"a\"\n\
         [[route]]\nname = \"s\"\npath = \"/s/{{id}}\"\nupstream = \"spare\"\n"
    );
    snapshot(&text).upstreams.swap_remove(0)
}

fn of_route(more: &str) -> snapshot::Route<Filter> {
    let text = format!("{LISTENER}{UPSTREAM}{SPARE}{ROUTE}{more}");
    snapshot(&text).routes.swap_remove(0)
}

#[test]
fn nothing_written_is_what_the_data_plane_does_by_itself() {
    let upstream = of_upstream("").policy;
    let usual = policy::Balance::default();
    assert_eq!(upstream.balance.choice.algorithm, Algorithm::RoundRobin);
    assert_eq!(upstream.balance.zone.as_deref(), Some("east"));
    assert!((upstream.balance.failover_below - usual.failover_below).abs() < 1e-9);
    assert!((upstream.balance.panic_below - usual.panic_below).abs() < 1e-9);
    assert_eq!(upstream.balance.slow_start, Duration::ZERO);
    assert!(upstream.balance.sticky.is_none() && upstream.breaker.is_none());
    assert!(upstream.outlier.is_none() && upstream.retry.is_none());
    assert!(upstream.concurrency.is_none() && upstream.fallback.is_none());
    assert_eq!(upstream.endpoint_requests_max, 0);
}

#[test]
fn ways_of_balancing_reach_the_data_plane() {
    let upstream = of_upstream(
        "balance = \"consistent_hash\"\nhash_key = [\"header:X-User\", \"client_ip\"]\n\
         bounded_load = 1.25\nslow_start = \"30s\"\nendpoint_requests_max = 7\n\
         sticky = { secret = \"0123456789abcdef\", max_age = \"1h\" }\n",
    );
    let balance = upstream.policy.balance;
    assert_eq!(balance.choice.algorithm, Algorithm::ConsistentHash);
    let key = balance.choice.key.unwrap();
    assert_eq!(*key.parts, [Part::Header("x-user".into()), Part::ClientIp]);
    assert_eq!((key.ipv4_prefix, key.ipv6_prefix), (32, 64));
    assert_eq!(balance.choice.bounded_load, Some(1.25));
    assert_eq!(balance.slow_start, Duration::from_secs(30));
    let sticky = balance.sticky.unwrap();
    assert_eq!(&*sticky.cookie, "ringgate-node");
    assert_eq!(&*sticky.secret, b"0123456789abcdef");
    assert_eq!(sticky.max_age, Some(Duration::from_secs(3600)));
    assert_eq!(upstream.policy.endpoint_requests_max, 7);
}

#[test]
fn endpoints_have_a_place_and_drained_ones_no_weight() {
    let text = format!(
        "{LISTENER}[[upstream]]\nname = \"a\"\nendpoints = [\n\
         {{ address = \"127.0.0.1:1\", weight = 3, priority = 2, zone = \"east\" }},\n\
         {{ address = \"127.0.0.1:2\", weight = 3, drain = true }}]\n{ROUTE}upstream = \"a\"\n"
    );
    let upstream = snapshot(&text).upstreams.swap_remove(0);
    let shown = |endpoint: &Endpoint| {
        let zone = endpoint.zone.as_deref().map(str::to_owned);
        (endpoint.weight, endpoint.priority, zone)
    };
    let shown: Vec<_> = upstream.endpoints.iter().map(shown).collect();
    assert_eq!(shown, [(3, 2, Some("east".to_owned())), (0, 0, None)]);
}

#[test]
fn what_keeps_failures_small_reaches_the_data_plane() {
    let policy = of_upstream(
        "[upstream.breaker]\nscope = \"both\"\nslow_after = \"1s\"\nopen_for = \"2m\"\n\
         [upstream.outlier]\nconsecutive_5xx = 3\n\
         [upstream.retry]\nattempts = 2\non = [\"connect\", \"503\", \"grpc:unavailable\"]\n\
         methods = [\"POST\"]\nhedge = {}\n\
         [upstream.concurrency]\nmax = 50\nqueue_max = 5\nadaptive = {}\n\
         [upstream.fallback]\nupstream = \"spare\"\n",
    )
    .policy;
    let breaker = policy.breaker.unwrap();
    assert_eq!(breaker.scope, BreakerScope::Both);
    assert_eq!(breaker.slow_after, Duration::from_secs(1));
    let minutes = Duration::from_secs(120);
    assert_eq!((breaker.open_for, breaker.open_for_max), (minutes, minutes));
    assert_eq!(policy.outlier.unwrap().consecutive_5xx, 3);
    let retry = policy.retry.unwrap();
    assert!(retry.on.connect && !retry.on.reset);
    assert_eq!(
        (&*retry.on.statuses, &*retry.on.grpc),
        (&[503][..], &[14][..])
    );
    assert_eq!(*retry.methods, [Box::from("POST")]);
    assert_eq!(retry.try_timeout, Duration::ZERO);
    assert!(retry.hedge.is_some());
    let concurrency = policy.concurrency.unwrap();
    assert_eq!((concurrency.max, concurrency.queue_max), (50, 5));
    assert_eq!(concurrency.adaptive.unwrap().min, 10);
    let fallback = policy.fallback.unwrap();
    assert_eq!(*fallback.statuses, [502, 503, 504]);
    assert!(matches!(fallback.to, FallbackTo::Upstream(1)));
}

#[test]
fn policies_of_routes_name_upstreams_by_index() {
    let route = of_route(
        "upstream = \"a\"\nbalance = \"ip_hash\"\nsplit_key = \"capture:id\"\n\
         canary = { upstream = \"spare\", to = 0.5, halt = {} }\n\
         mirror = { upstream = \"spare\", share = 0.1 }\nurgency = \"high\"\n\
         deadline_header = \"X-Left\"\nfallback = { respond = { status = 200, body = \"later\" } }\n",
    );
    let policy = route.policy;
    assert_eq!(policy.balance.unwrap().algorithm, Algorithm::IpHash);
    assert_eq!(
        *policy.split_key.unwrap().parts,
        [Part::Capture("id".into())]
    );
    let canary = policy.canary.unwrap();
    assert_eq!(
        (canary.upstream, canary.over),
        (1, Duration::from_secs(3600))
    );
    assert_eq!(canary.halt.unwrap().minimum_requests, 50);
    assert_eq!(policy.mirror.unwrap().upstream, 1);
    assert_eq!(policy.urgency, Urgency::High);
    assert_eq!(policy.deadline_field.as_deref(), Some("x-left"));
    let fallback = policy.fallback.unwrap();
    assert!(matches!(&fallback.to, FallbackTo::Respond(answer) if answer.status == 200));
}

#[test]
fn a_branch_with_conditions_takes_part_in_no_draw_unless_it_says_so() {
    let route = of_route(
        "split = [{ upstream = \"spare\", cookies = { beta = \"1\" } }, { upstream = \"a\" }]\n",
    );
    let Action::Split(split) = &route.action else {
        panic!("not a split");
    };
    assert_eq!(split.weights().collect::<Vec<_>>(), [(0, 1)]);
    assert_eq!(split.branches().len(), 1);
    assert_eq!(split.branches()[0].upstream, 1);
}

#[test]
fn caps_of_connections_and_overload_reach_the_data_plane() {
    let snapshot = snapshot(&format!(
        "[overload]\nlag_max = \"50ms\"\n[limits]\nrate_min = \"1KiB\"\n\
         connection_rate = {{ limit = 100, per = \"1s\" }}\n{LISTENER}\
         limits = {{ connections_per_address_max = 9, connection_rate = \"off\" }}\n\
         [[listener]]\nname = \"m\"\nlisten = \"127.0.0.1:8081\"\n\
         {UPSTREAM}{ROUTE}upstream = \"a\"\n"
    ));
    assert_eq!(snapshot.overload.lag_max, Duration::from_millis(50));
    assert_eq!(snapshot.overload.memory_max, 0);
    let [first, second] = &snapshot.listeners[..] else {
        panic!("not two listeners");
    };
    assert_eq!(
        (first.caps.per_address_max, first.limits.rate_min),
        (9, 1024)
    );
    assert!(first.caps.rate.is_none() && second.caps.rate.is_some());
    assert_eq!(second.caps.per_address_max, 0);
}

#[test]
fn filters_for_limits_trials_and_breaks_are_made() {
    let route = of_route(
        "upstream = \"a\"\nfilters = [\"c\", \"f\", \"m\"]\n\
         [[route]]\nname = \"s\"\npath = \"/s/{id}\"\nupstream = \"spare\"\n\
         [filter.c]\ntype = \"concurrency_limit\"\nkey = \"client_ip\"\nmax = 4\nipv6_prefix = 48\n\
         [filter.f]\ntype = \"fault\"\ndelay = \"5ms\"\nheader = \"x-fault\"\n\
         [filter.m]\ntype = \"maintenance\"\nenabled = false\n",
    );
    let [places, fault, maintenance] = route.program.steps() else {
        panic!("not three filters");
    };
    let Filter::ConcurrencyLimit(places) = &*places.filter else {
        panic!("no limit");
    };
    assert_eq!((places.max, places.status), (4, 429));
    assert_eq!(places.key.ipv6_prefix, 48);
    assert!(matches!(&*fault.filter, Filter::Fault(fault) if fault.delay.is_some()));
    assert!(matches!(&*maintenance.filter, Filter::Maintenance(_)));
}
