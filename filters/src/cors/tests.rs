use super::*;
use crate::testing::{Exchange, passes};
use ringgate_core::http::ResponseHead;

fn cors() -> Cors {
    Cors {
        origins: Origins {
            exact: [b"https://app.test".as_slice().into()].into(),
            ..Origins::default()
        },
        methods: "GET, PUT".into(),
        headers: "x-one".into(),
        expose_headers: FieldLine::new("access-control-expose-headers", "x-two").ok(),
        credentials: Credentials::Include,
        max_age: 60,
        private_network: PrivateNetwork::Allow,
        others: Others::Pass,
    }
}

fn everybody() -> Cors {
    let mut cors = cors();
    cors.origins = Origins {
        every: Every::Any,
        ..Origins::default()
    };
    cors.credentials = Credentials::Omit;
    cors
}

fn request(fields: &[(&str, &str)]) -> Exchange {
    let mut exchange = Exchange::default();
    for (name, value) in fields {
        let added = exchange.head.fields.add(name, value.as_bytes());
        added.unwrap();
    }
    exchange
}

fn asks(origin: &str) -> Exchange {
    let mut exchange = request(&[
        ("origin", origin),
        ("access-control-request-method", "PUT"),
        ("access-control-request-private-network", "true"),
    ]);
    exchange.head.method = Method::Options;
    exchange
}

fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut named = answer.fields.iter().filter(|(known, _)| **known == *name);
    let value = named.next().map(|(_, value)| &**value);
    assert!(named.next().is_none(), "{name} comes twice");
    value.map(|value| std::str::from_utf8(value).unwrap())
}

/// The fields of a response behind the filter, of an origin server that says something itself.
fn told(cors: Cors, exchange: &mut Exchange, own: &[(&str, &str)]) -> Vec<String> {
    let mut head = ResponseHead::default();
    for (name, value) in own {
        head.fields.add(name, value.as_bytes()).unwrap();
    }
    exchange.response_head(&Filter::Cors(Box::new(cors)), &mut head);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let fields = head.fields.iter();
    let mut all: Vec<String> = fields
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect();
    all.sort();
    all
}

#[test]
fn a_preflight_of_an_allowed_origin_is_told_what_it_may() {
    let filter = Filter::Cors(Box::new(cors()));
    let answer = asks("https://app.test").preflight(&filter).unwrap();
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-one"),
        ("access-control-max-age", "60"),
        ("access-control-allow-private-network", "true"),
    ] {
        assert_eq!(field(&answer, name), Some(value));
    }
    assert!(field(&answer, "vary").unwrap().starts_with("Origin, "));
}

#[test]
fn a_preflight_of_another_origin_is_told_nothing() {
    for origin in ["https://evil.test", "null", "https://app.test.evil.test"] {
        let filter = Filter::Cors(Box::new(cors()));
        let answer = asks(origin).preflight(&filter).unwrap();
        assert_eq!((answer.status, answer.fields.len()), (204, 1), "{origin}");
        let strict = Filter::Cors(Box::new(Cors {
            others: Others::Refuse,
            ..cors()
        }));
        let answer = asks(origin).preflight(&strict).unwrap();
        assert_eq!((answer.status, answer.code), (403, "cross_site"));
    }
}

#[test]
fn the_answer_to_a_preflight_stays_as_it_is() {
    let filter = Filter::Cors(Box::new(cors()));
    let mut exchange = asks("https://app.test");
    exchange.preflight(&filter).unwrap();
    let own = [("access-control-allow-methods", "GET")];
    let told = told(cors(), &mut exchange, &own);
    assert_eq!(told, ["access-control-allow-methods: get"]);
}

#[test]
fn what_the_origin_server_says_is_replaced() {
    let own = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "DELETE"),
        ("vary", "accept-encoding"),
    ];
    let mut allowed = request(&[("origin", "https://app.test")]);
    assert_eq!(
        told(cors(), &mut allowed, &own),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://app.test",
            "access-control-expose-headers: x-two",
            "vary: accept-encoding",
            "vary: origin",
        ]
    );
    for origin in [
        &[("origin", "https://evil.test")][..],
        &[],
        &[
            ("origin", "https://app.test"),
            ("origin", "https://evil.test"),
        ],
    ] {
        let told = told(cors(), &mut request(origin), &own);
        assert_eq!(told, ["vary: accept-encoding", "vary: origin"]);
    }
}

#[test]
fn what_is_the_same_for_everybody_does_not_vary() {
    for origin in [&[("origin", "https://x.test")][..], &[]] {
        assert_eq!(
            told(everybody(), &mut request(origin), &[]),
            [
                "access-control-allow-origin: *",
                "access-control-expose-headers: x-two"
            ]
        );
    }
    let told = told(cors(), &mut request(&[]), &[("vary", "Accept, ORIGIN")]);
    assert_eq!(told, ["vary: accept, origin"]);
}

#[test]
fn others_are_refused_where_that_is_asked_for() {
    let filter = Filter::Cors(Box::new(Cors {
        others: Others::Refuse,
        ..cors()
    }));
    let refuses = |fields: &[(&str, &str)]| {
        let mut exchange = request(fields);
        exchange.head.set_authority(b"api.test").unwrap();
        exchange.attributes.authority = exchange.head.authority_span();
        !passes(&exchange.request_head(&filter))
    };
    assert!(!refuses(&[]));
    assert!(!refuses(&[("origin", "https://app.test")]));
    // A page of the gateway's own origin sends one with every POST.
    assert!(!refuses(&[("origin", "http://api.test")]));
    assert!(refuses(&[("origin", "https://evil.test")]));
    assert!(refuses(&[("origin", "null")]));
}
