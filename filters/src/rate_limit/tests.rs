//! The filter as a whole: refusals, fields, several limits, weights, reloads, quotas.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use ringgate_core::chain::{Answer, Filter as _, PeerAddr};
use ringgate_core::http::ResponseHead;
use ringgate_core::key::Part;

use super::*;
use crate::testing::{Exchange, passes};

const SECOND: Duration = Duration::from_secs(1);

fn limit(limit: u64, per: Duration) -> Limit {
    Limit {
        limit,
        burst: 0,
        period: Period::Span(per),
        algorithm: Algorithm::SlidingWindow,
        reconcile: Duration::from_millis(10),
    }
}

fn settings(limits: &[Limit]) -> Settings {
    Settings {
        name: "per-client".into(),
        key: Key {
            parts: [Part::ClientIp].into(),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        },
        routes: Arc::new([]),
        limits: limits.into(),
        weight: Weight::default(),
        keys_max: 1000,
        enforcement: Enforcement::Enforce,
        fields: ResponseFields::Told,
        status: 429,
        cluster: None,
    }
}

fn filter(settings: Settings) -> Filter {
    let ledgers = Ledgers::new(1, 7);
    ledgers.set_wall(1_770_724_800_000, Moment::now());
    Filter::RateLimit(Box::new(RateLimit::new(settings, &ledgers, Moment::now())))
}

fn from(ip: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.attributes.client = PeerAddr::new(ip.parse::<IpAddr>().unwrap());
    exchange.attributes.request_id.set(b"id-7");
    exchange
}

fn refused(verdict: Verdict) -> Box<Answer> {
    match verdict {
        Verdict::Respond(answer) => answer,
        verdict => panic!("{verdict:?}"),
    }
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let found = answer.fields.iter().find(|(field, _)| **field == *name);
    std::str::from_utf8(&found.unwrap().1).unwrap()
}

fn fields(exchange: &mut Exchange, filter: &Filter) -> [Option<String>; 2] {
    let mut head = ResponseHead::default();
    exchange.response_head(filter, &mut head);
    ["ratelimit-policy", "ratelimit"].map(|name| {
        let value = head.fields.value_of(name)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    })
}

#[test]
fn what_is_too_much_is_answered_with_429() {
    let hour = 3600 * SECOND;
    let filter = filter(settings(&[limit(2, hour)]));
    let mut client = from("192.0.2.1");
    assert!(passes(&client.request_head(&filter)));
    assert!(passes(&client.request_head(&filter)));
    let answer = refused(client.request_head(&filter));
    assert_eq!((answer.status, answer.code), (429, "rate_limited"));
    let wait: u64 = field(&answer, "retry-after").parse().unwrap();
    assert!((3500..=3700).contains(&wait), "{wait}");
    assert_eq!(
        std::str::from_utf8(&answer.body).unwrap(),
        "{\"status\":429,\"error\":\"Too Many Requests\",\"code\":\"rate_limited\",\"request_id\":\"id-7\"}\n"
    );
    // Another client has a window of its own.
    assert!(passes(&from("192.0.2.2").request_head(&filter)));
}

#[test]
fn clients_are_told_what_is_left() {
    let filter = filter(settings(&[limit(100, 60 * SECOND)]));
    let mut client = from("192.0.2.1");
    assert!(passes(&client.request_head(&filter)));
    let [policy, left] = fields(&mut client, &filter);
    assert_eq!(policy.as_deref(), Some("\"per-client\";q=100;w=60"));
    assert_eq!(left.as_deref(), Some("\"per-client\";r=99;t=60"));
    // A response of an exchange that was not decided on is left alone.
    assert_eq!(fields(&mut from("192.0.2.1"), &filter), [None, None]);
}

#[test]
fn silent_limits_tell_nothing() {
    let filter = filter(Settings {
        fields: ResponseFields::Silent,
        ..settings(&[limit(1, SECOND)])
    });
    let mut client = from("192.0.2.1");
    assert!(passes(&client.request_head(&filter)));
    assert_eq!(fields(&mut client, &filter), [None, None]);
}

#[test]
fn all_limits_hold_and_none_is_taken_from_in_vain() {
    let hour = 3600 * SECOND;
    let filter = filter(settings(&[limit(10, hour), limit(3, hour)]));
    let Filter::RateLimit(inner) = &filter else {
        panic!()
    };
    let mut client = from("192.0.2.1");
    for _ in 0..3 {
        assert!(passes(&client.request_head(&filter)));
    }
    for _ in 0..20 {
        refused(client.request_head(&filter));
    }
    let stats = |at: usize| {
        let stats = inner.ledgers()[at].stats();
        (
            stats.sum(|stats| &stats.admitted),
            stats.sum(|stats| &stats.limited),
        )
    };
    assert_eq!((stats(0), stats(1)), ((3, 0), (3, 20)));
}

#[test]
fn a_dry_run_only_counts() {
    let filter = filter(Settings {
        enforcement: Enforcement::DryRun,
        ..settings(&[limit(1, 3600 * SECOND)])
    });
    let Filter::RateLimit(inner) = &filter else {
        panic!()
    };
    let mut client = from("192.0.2.1");
    for _ in 0..5 {
        assert!(passes(&client.request_head(&filter)));
    }
    let stats = inner.ledgers()[0].stats();
    assert_eq!(stats.sum(|stats| &stats.dry_limited), 4);
    assert_eq!(fields(&mut client, &filter), [None, None]);
    assert!(
        filter.describe().ends_with("dry run"),
        "{}",
        filter.describe()
    );
}

#[test]
fn heavy_requests_cost_more() {
    let filter = filter(Settings {
        weight: Weight {
            header: Some("x-cost".into()),
            max: 100,
            ..Weight::default()
        },
        ..settings(&[limit(10, 3600 * SECOND)])
    });
    let mut heavy = from("192.0.2.1");
    heavy.head.fields.add("x-cost", b"8").unwrap();
    assert!(passes(&heavy.request_head(&filter)));
    refused(heavy.request_head(&filter));
    // A lighter one still passes.
    assert!(passes(&from("192.0.2.1").request_head(&filter)));
}

#[test]
fn quotas_are_known_by_their_day_and_by_name() {
    let day = Limit {
        period: Period::Day,
        algorithm: Algorithm::FixedWindow,
        ..limit(3, SECOND)
    };
    let ledgers = Ledgers::new(1, 7);
    let now = Moment::now();
    ledgers.set_wall(1_770_724_800_000, now);
    let filter = RateLimit::new(settings(&[day]), &ledgers, now);
    let ledger = Arc::clone(&filter.ledgers()[0]);
    let filter = Filter::RateLimit(Box::new(filter));
    let mut client = from("192.0.2.1");
    assert!(passes(&client.request_head(&filter)));
    let (hash, text) = ledger.take_named().unwrap();
    assert_eq!((&*text, ledger.take_named()), ("192.0.2.1", None));
    let today = ledger.window(now).number;
    assert_eq!(today, 20_494);
    // What a store remembers counts, but not yesterday's.
    ledger.restore(hash, today - 1, 3, now);
    assert_eq!(ledger.entry_of(hash, now).unwrap().used, 1);
    ledger.restore(hash, today, 3, now);
    let answer = refused(from("192.0.2.1").request_head(&filter));
    assert_eq!(answer.code, "quota_exceeded");
    assert!((43_000..=43_200).contains(&field(&answer, "retry-after").parse().unwrap()));
    let mut entries = Vec::new();
    ledger.entries(now, |entry| {
        entries.push((entry.hash, entry.used, entry.limit))
    });
    assert_eq!(entries, [(hash, 3, 3)]);
    assert!(ledger.reset(hash, now) && !ledger.reset(hash + 1, now));
    assert!(passes(&from("192.0.2.1").request_head(&filter)));
}

#[test]
fn ledgers_are_found_again_by_name_and_key() {
    let ledgers = Ledgers::new(2, 7);
    let now = Moment::now();
    let ledger_of = |settings: Settings| {
        let filter = RateLimit::new(settings, &ledgers, now);
        Arc::clone(&filter.ledgers()[0])
    };
    let first = ledger_of(settings(&[limit(10, SECOND)]));
    let second = RateLimit::new(settings(&[limit(20, SECOND)]), &ledgers, now);
    assert!(Arc::ptr_eq(&first, &second.ledgers()[0]));
    // Its numbers hold when it is put in force.
    assert_eq!(first.limit().limit, 10);
    second.hold(&ledgers, now);
    assert_eq!(first.limit().limit, 20);
    let mut other = settings(&[limit(10, SECOND)]);
    other.key.ipv6_prefix = 56;
    assert!(!Arc::ptr_eq(&first, &ledger_of(other)));
    let quota = |period| {
        settings(&[Limit {
            period,
            algorithm: Algorithm::FixedWindow,
            ..limit(10, SECOND)
        }])
    };
    let day = ledger_of(quota(Period::Day));
    assert!(Arc::ptr_eq(&day, &ledger_of(quota(Period::Day))));
    assert!(!Arc::ptr_eq(&day, &ledger_of(quota(Period::Month))));
    drop(day);
    assert_eq!(ledgers.all().len(), 0, "nobody holds the last one");
    drop(first);
    assert!(ledgers.find("per-client", 0).is_none());
}

#[test]
fn explain_tells_how_the_account_stands() {
    let filter = filter(settings(&[limit(100, 60 * SECOND)]));
    assert_eq!(
        filter.describe(),
        "rate_limit: 100 per 60s (sliding window) by client_ip"
    );
}

#[test]
fn some_consumers_have_limits_of_their_own() {
    let ledgers = Ledgers::new(1, 0);
    let now = Moment::now();
    let limited = |name: &str, tokens: u64| {
        let settings = Settings {
            name: name.into(),
            ..settings(&[limit(tokens, SECOND * 3600)])
        };
        RateLimit::new(settings, &ledgers, now)
    };
    let whose = |consumers: &[&str], groups: &[&str]| Whose {
        consumers: consumers.iter().map(|name| (*name).into()).collect(),
        groups: groups.iter().map(|name| (*name).into()).collect(),
    };
    let filter = limited("all", 1).with_overrides(Overrides::new([
        (whose(&["app"], &[]), limited("all@app", 3)),
        (whose(&[], &["partners"]), limited("all@@partners", 2)),
    ]));
    assert_eq!(filter.all_ledgers().count(), 3);
    let filter = Filter::RateLimit(Box::new(filter));
    let admitted = |consumer: Option<&str>, groups: &[&str]| {
        let mut exchange = Exchange::default();
        exchange.attributes.principal = consumer.map(|name| {
            std::rc::Rc::new(ringgate_core::principal::Principal {
                consumer: Some(name.into()),
                groups: groups.iter().map(|group| (*group).into()).collect(),
                ..Default::default()
            })
        });
        (0..5)
            .take_while(|_| passes(&exchange.request_head(&filter)))
            .count()
    };
    assert_eq!(admitted(None, &[]), 1);
    assert_eq!(
        admitted(Some("app"), &["partners"]),
        3,
        "a name goes before a group"
    );
    assert_eq!(admitted(Some("other"), &["staff", "partners"]), 2);
    assert_eq!(
        admitted(Some("other"), &["staff"]),
        0,
        "counted with everybody"
    );
}
