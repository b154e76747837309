use std::sync::Arc;

use ringgate_core::chain::{CallOutcome, CallResponse};
use ringgate_core::error::Fault;
use ringgate_core::http::ResponseHead;
use ringgate_core::key::Part;
use ringgate_core::stats::AskStats;

use super::*;
use crate::auth::{Authenticate, Otherwise, Scheme, Tell};
use crate::testing::{Exchange, passes};

fn settings() -> Settings {
    Settings {
        service: Service {
            upstream: 3,
            name: "auth".into(),
            host: "auth.internal".into(),
            target: "/verify?x=1".into(),
            timeout: Duration::from_secs(1),
            answer_max: 1024,
            stats: Arc::new(AskStats::default()),
        },
        request_fields: ["authorization".into(), "x-forwarded-uri".into()].into(),
        response_fields: ["x-user".into()].into(),
        client_fields: ["location".into()].into(),
        on_failure: OnFailure::Refuse,
        cache: None,
        identity: Identity {
            subject: Some("x-user".into()),
            consumer: Some("x-app".into()),
            groups: Some("x-groups".into()),
        },
        directory: Consumers(Arc::new(crate::auth::Directory::new([]))),
        shown: Shown::Passed,
    }
}

fn caching(parts: &[Part]) -> Settings {
    Settings {
        cache: Some(Caching {
            key: Key {
                parts: parts.into(),
                ipv4_prefix: 32,
                ipv6_prefix: 128,
            },
            ttl: Duration::from_secs(30),
            entries_max: 16,
        }),
        ..settings()
    }
}

fn by_token() -> Settings {
    caching(&[Part::Header("authorization".into())])
}

fn filter(settings: Settings) -> Filter {
    let forward = Scheme::Forward(ForwardAuth::new(settings, Arc::default()));
    Filter::Authenticate(Box::new(Authenticate::new(crate::auth::Settings {
        alternatives: [[Arc::new(forward)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "r".into(),
        tell: Tell::default(),
    })))
}

fn request(token: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.head.set_path(b"/a").unwrap();
    exchange.attributes.routed_path = exchange.head.path_span();
    let fields = &mut exchange.head.fields;
    fields.add("authorization", token.as_bytes()).unwrap();
    fields.add("x-forwarded-uri", b"/forged").unwrap();
    fields.add("x-user", b"mallory").unwrap();
    exchange
}

fn says(status: u16, fields: &[(&str, &str)], body: &str) -> CallOutcome {
    let mut head = ResponseHead::default();
    head.status = status;
    for (name, value) in fields {
        head.fields.add(name, value.as_bytes()).unwrap();
    }
    Ok(CallResponse {
        head,
        body: body.into(),
    })
}

fn question(verdict: Verdict) -> ringgate_core::chain::Call {
    match verdict {
        Verdict::Call(mut calls) => calls.calls.remove(0),
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> Box<Answer> {
    match verdict {
        Verdict::Respond(answer) => answer,
        other => panic!("{other:?}"),
    }
}

const ALICE: [(&str, &str); 3] = [("x-user", "alice"), ("x-app", "app"), ("x-groups", "a, b,")];

#[test]
fn the_service_is_told_in_the_gateways_words() {
    let filter = filter(settings());
    let mut exchange = request("t");
    let call = question(exchange.request_head(&filter));
    assert_eq!(
        (call.upstream, &*call.host, &*call.target),
        (3, "auth.internal", "/verify?x=1")
    );
    assert_eq!((call.method, call.response_max), (Method::Get, 1024));
    let of = |name: &str| -> Vec<&[u8]> {
        let named = call.fields.iter().filter(|(known, _)| **known == *name);
        named.map(|(_, value)| &**value).collect()
    };
    assert_eq!(of("authorization"), [b"t"]);
    assert_eq!(of("x-forwarded-uri"), [b"/a"], "never the client's");
    assert_eq!(of("x-forwarded-method"), [b"GET"]);
    assert_eq!(of("x-forwarded-proto"), [b"http"]);
    assert!(of("x-user").is_empty());
}

#[test]
fn what_it_grants_reaches_the_origin_and_nothing_else_of_the_name() {
    let filter = filter(settings());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    assert!(passes(
        &exchange.answered(&filter, &[says(204, &ALICE, "")])
    ));
    let users: Vec<_> = exchange.head.fields.values_of("x-user").collect();
    assert_eq!(users, [b"alice"]);
    let principal = exchange.attributes.principal.clone().unwrap();
    assert_eq!(principal.consumer.as_deref(), Some("app"));
    assert_eq!(principal.groups, [Box::from("a"), "b".into()]);
    assert_eq!(principal.schemes, [NAME]);
    // An answer without the field takes the client's away as well.
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    assert!(passes(&exchange.answered(&filter, &[says(200, &[], "")])));
    assert_eq!(exchange.head.fields.value_of("x-user"), None);
}

#[test]
fn what_it_refuses_with_is_the_clients() {
    let filter = filter(settings());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    let fields = [("location", "/login"), ("x-secret", "1")];
    let answer = refused(exchange.answered(&filter, &[says(302, &fields, "go")]));
    assert_eq!(
        (answer.status, answer.code, &answer.body[..]),
        (302, AUTH_REFUSED, &b"go"[..])
    );
    let sent: Vec<&str> = answer.fields.iter().map(|(name, _)| &**name).collect();
    assert_eq!(sent, ["location"]);
}

#[test]
fn whatever_is_no_clear_answer_lets_nobody_pass() {
    let two = [("x-user", "alice"), ("x-user", "bob")];
    for outcome in [
        says(500, &[], ""),
        says(304, &[], ""),
        says(600, &[], ""),
        says(200, &two, ""),
        Err(Fault::RequestTimeout),
        Err(Fault::BodyTooLarge),
    ] {
        let settings = settings();
        let stats = Arc::clone(&settings.service.stats);
        let filter = filter(settings);
        let mut exchange = request("t");
        question(exchange.request_head(&filter));
        let answer = refused(exchange.answered(&filter, &[outcome]));
        assert_eq!((answer.status, answer.code), (503, "auth_unavailable"));
        let counted = [&stats.asked, &stats.failed, &stats.refused];
        assert_eq!(
            counted.map(|one| one.load(std::sync::atomic::Ordering::Relaxed)),
            [1; 3]
        );
    }
}

#[test]
fn failing_open_is_noted_and_proves_nothing() {
    let filter = filter(Settings {
        on_failure: OnFailure::Allow,
        ..settings()
    });
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    assert!(passes(
        &exchange.answered(&filter, &[Err(Fault::ConnectFailed)])
    ));
    assert_eq!(exchange.attributes.note, AUTH_UNCHECKED);
    assert_eq!(
        exchange.head.fields.value_of("x-user"),
        None,
        "the client's own"
    );
    let principal = exchange.attributes.principal.clone().unwrap();
    assert_eq!(*principal, Principal::default());
}

#[test]
fn an_answer_is_kept_for_its_key_and_its_time() {
    let filter = filter(by_token());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    assert!(passes(
        &exchange.answered(&filter, &[says(200, &ALICE, "")])
    ));
    let again = |exchange: &mut Exchange, token: &str, unix_ms: u64| {
        let next = request(token);
        exchange.head = next.head;
        exchange.attributes = next.attributes;
        exchange.unix_ms = unix_ms;
        exchange.request_head(&filter)
    };
    assert!(passes(&again(&mut exchange, "t", 29_999)));
    assert_eq!(exchange.head.fields.value_of("x-user"), Some(&b"alice"[..]));
    question(again(&mut exchange, "other", 29_999));
    let denied = says(403, &[], "no");
    assert_eq!(refused(exchange.answered(&filter, &[denied])).status, 403);
    assert_eq!(refused(again(&mut exchange, "other", 29_999)).status, 403);
    question(again(&mut exchange, "t", 30_000));
}

#[test]
fn failures_and_answers_with_cookies_are_not_kept() {
    for outcome in [
        Err(Fault::ConnectFailed),
        says(302, &[("set-cookie", "a=b")], ""),
        says(200, &[("cache-control", "private, No-Store")], ""),
    ] {
        let filter = filter(by_token());
        let mut exchange = request("t");
        question(exchange.request_head(&filter));
        let _ = exchange.answered(&filter, &[outcome]);
        question(exchange.request_head(&filter));
    }
}

#[test]
fn a_request_without_all_of_the_key_is_asked_about_by_itself() {
    let filter = filter(caching(&[
        Part::Header("authorization".into()),
        Part::Cookie("session".into()),
    ]));
    for _ in 0..2 {
        let mut exchange = request("t");
        question(exchange.request_head(&filter));
        assert!(passes(
            &exchange.answered(&filter, &[says(200, &ALICE, "")])
        ));
        question(exchange.request_head(&filter));
    }
}

#[test]
fn requests_that_ask_the_same_at_once_ask_once() {
    let filter = filter(by_token());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    let mut second = request("t");
    second.share_core(&mut exchange);
    let Verdict::Ask(errand) = second.request_head(&filter) else {
        panic!("it asks as well")
    };
    (errand.hand_over)(ringgate_core::errand::Done::unheard());
    second.share_core(&mut exchange);
    assert!(passes(
        &exchange.answered(&filter, &[says(200, &ALICE, "")])
    ));
    second.share_core(&mut exchange);
    assert!(passes(&second.resume(&filter)));
    assert_eq!(second.head.fields.value_of("x-user"), Some(&b"alice"[..]));
}

#[test]
fn whoever_waits_in_vain_is_refused() {
    let filter = filter(by_token());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    let mut second = request("t");
    second.share_core(&mut exchange);
    let _ = second.request_head(&filter);
    let answer = refused(second.resume(&filter));
    assert_eq!(answer.code, "auth_unavailable");
}

#[test]
fn clients_of_grpc_get_what_grpc_has() {
    let filter = filter(settings());
    let mut exchange = request("t");
    exchange
        .head
        .fields
        .add("content-type", b"application/grpc")
        .unwrap();
    question(exchange.request_head(&filter));
    let answer = refused(exchange.answered(&filter, &[says(401, &[], "<html>")]));
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}
