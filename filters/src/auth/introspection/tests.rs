use ringgate_core::chain::{Call, CallResponse};
use ringgate_core::http::ResponseHead;
use ringgate_core::stats::AskStats;

use super::*;
use crate::auth::{Authenticate, Directory, Otherwise, Scheme, Tell};
use crate::testing::{Exchange, passes};

fn settings() -> Settings {
    Settings {
        service: Service {
            upstream: 0,
            name: "as".into(),
            host: "as.internal".into(),
            target: "/introspect".into(),
            timeout: Duration::from_secs(1),
            answer_max: 1024,
            stats: Arc::new(AskStats::default()),
        },
        client: Client::basic("gw", "s3cret"),
        places: [Place::Bearer].into(),
        token_max: 64,
        wanted: Wanted::default(),
        active_ttl: Duration::from_secs(60),
        refused_ttl: Duration::from_secs(5),
        entries_max: 16,
        directory: Consumers(Arc::new(Directory::new([]))),
        shown: Shown::Passed,
    }
}

fn filter(settings: Settings) -> Filter {
    let scheme = Scheme::Introspection(Introspection::new(settings));
    Filter::Authenticate(Box::new(Authenticate::new(crate::auth::Settings {
        alternatives: [[Arc::new(scheme)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "r".into(),
        tell: Tell::default(),
    })))
}

fn request(token: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.unix_ms = NOW_MS;
    let value = format!("Bearer {token}");
    let fields = &mut exchange.head.fields;
    fields.add("authorization", value.as_bytes()).unwrap();
    exchange
}

const NOW_MS: u64 = 1_000_000;

fn says(status: u16, body: &str) -> CallOutcome {
    let mut head = ResponseHead::default();
    head.status = status;
    Ok(CallResponse {
        head,
        body: body.into(),
    })
}

fn question(verdict: Verdict) -> Call {
    match verdict {
        Verdict::Call(mut calls) => calls.calls.remove(0),
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> (u16, &'static str) {
    match verdict {
        Verdict::Respond(answer) => (answer.status, answer.code),
        other => panic!("{other:?}"),
    }
}

/// What becomes of a request whose token the server says this of.
fn outcome(settings: Settings, body: &str) -> Verdict {
    let filter = filter(settings);
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    exchange.answered(&filter, &[says(200, body)])
}

#[test]
fn the_server_is_asked_by_a_form() {
    let filter = filter(settings());
    let call = question(request("a+b/c==").request_head(&filter));
    assert_eq!((call.method, &*call.target), (Method::Post, "/introspect"));
    let form = b"token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token";
    assert_eq!(&call.body[..], form);
    let sent = call
        .fields
        .iter()
        .find(|(name, _)| &**name == "authorization");
    assert_eq!(&*sent.unwrap().1, b"Basic Z3c6czNjcmV0");
}

#[test]
fn an_active_token_names_who_it_is_of() {
    let filter = filter(settings());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    let body = r#"{"active":true,"sub":"alice","client_id":"app","scope":"a b","exp":1060,"org":{"id":7}}"#;
    assert!(passes(&exchange.answered(&filter, &[says(200, body)])));
    let principal = exchange.attributes.principal.clone().unwrap();
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert!(principal.may("a") && principal.may("b"));
    assert_eq!(principal.claims.values("org.id").next(), Some("7"));
    let again = |exchange: &mut Exchange, unix_ms| {
        exchange.attributes.principal = None;
        exchange.unix_ms = unix_ms;
        exchange.request_head(&filter)
    };
    assert!(passes(&again(&mut exchange, 1_059_999)), "it is remembered");
    question(again(&mut exchange, 1_060_000));
}

#[test]
fn only_true_is_true() {
    for body in [
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"sub":"alice"}"#,
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"sub":"a","sub":"b"}"#,
        r#"{"active":true,"exp":"later"}"#,
        r#"{"active":true,"sub":["alice"]}"#,
        r#"[true]"#,
        "true",
        "",
    ] {
        let verdict = outcome(settings(), body);
        assert_eq!(refused(verdict), (503, "auth_unavailable"), "{body}");
    }
    let verdict = outcome(settings(), r#"{"active":false,"sub":"alice"}"#);
    assert_eq!(refused(verdict), (401, "invalid_credentials"));
}

#[test]
fn what_is_asked_of_a_token_is_asked() {
    let wants = || Settings {
        wanted: Wanted {
            issuer: Some("https://as".into()),
            audiences: ["api".into()].into(),
            scopes: ["read".into()].into(),
            leeway_ms: 0,
        },
        ..settings()
    };
    let good = r#"{"active":true,"iss":"https://as","aud":["x","api"],"scope":"read"}"#;
    assert!(passes(&outcome(wants(), good)));
    for (from, to, expected) in [
        ("https://as", "https://as/", (401, "invalid_credentials")),
        ("\"api\"", "\"apis\"", (401, "invalid_credentials")),
        ("read", "reader", (403, "forbidden")),
        ("true", "true,\"exp\":1000", (401, "expired_credentials")),
        ("true", "true,\"nbf\":1001", (401, "expired_credentials")),
    ] {
        let body = good.replace(from, to);
        assert_eq!(refused(outcome(wants(), &body)), expected, "{body}");
    }
}

#[test]
fn nobody_is_asked_about_what_is_no_token() {
    let filter = filter(settings());
    let long = "x".repeat(65);
    for token in ["a b", "a\"b", "", &long] {
        let verdict = request(token).request_head(&filter);
        assert_eq!(refused(verdict), (401, "invalid_credentials"), "{token:?}");
    }
}

#[test]
fn tokens_that_are_not_active_are_remembered_briefly() {
    let filter = filter(settings());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    let no = says(200, r#"{"active":false}"#);
    refused(exchange.answered(&filter, &[no]));
    exchange.unix_ms = NOW_MS + 4_999;
    refused(exchange.request_head(&filter));
    exchange.unix_ms = NOW_MS + 5_000;
    question(exchange.request_head(&filter));
}

#[test]
fn a_dead_connection_is_no_answer_but_the_second_time() {
    let filter = filter(settings());
    let mut exchange = request("t");
    question(exchange.request_head(&filter));
    question(exchange.answered(&filter, &[Err(Fault::OriginClosed)]));
    let verdict = exchange.answered(&filter, &[Err(Fault::OriginClosed)]);
    assert_eq!(refused(verdict), (503, "auth_unavailable"));
}

#[test]
fn a_server_that_fails_lets_nobody_pass() {
    for outcome in [
        says(401, r#"{"active":true}"#),
        says(500, ""),
        Err(Fault::RequestTimeout),
        Err(Fault::BodyTooLarge),
    ] {
        let filter = filter(settings());
        let mut exchange = request("t");
        question(exchange.request_head(&filter));
        let verdict = exchange.answered(&filter, &[outcome]);
        assert_eq!(refused(verdict), (503, "auth_unavailable"));
        // It is asked again: nothing is known.
        question(exchange.request_head(&filter));
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", filter(settings()));
    assert!(
        !shown.contains("s3cret") && !shown.contains("Z3c6czNjcmV0"),
        "{shown}"
    );
}
