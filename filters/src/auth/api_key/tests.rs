use super::*;
use crate::auth::consumers::{Consumer, KeyProof, Registered, StoredKey};
use crate::auth::{Authenticate, Otherwise, Scheme, Settings, Tell};
use crate::testing::{Exchange, passes};
use ringgate_core::chain::Verdict;

fn stored(key: &str, begins_ms: u64, ends_ms: u64) -> StoredKey {
    let digest = digest(&SHA256, key.as_bytes());
    StoredKey {
        proof: KeyProof::Digest(digest.as_ref().try_into().unwrap()),
        begins_ms,
        ends_ms,
    }
}

fn filter(places: KeyPlaces, credential: Credential) -> Filter {
    let app = Registered {
        consumer: Consumer {
            name: "app".into(),
            ..Consumer::default()
        },
        keys: vec![stored("good", 0, u64::MAX), stored("old", 0, 1000)],
        ..Registered::default()
    };
    let scheme = Scheme::ApiKey(ApiKey {
        places,
        credential,
        directory: Arc::new(Directory::new([app])),
        store: None,
        verifier: Arc::new(crate::auth::verify::NoVerifier),
    });
    Filter::Authenticate(Box::new(Authenticate::new(Settings {
        alternatives: [[Arc::new(scheme)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "ringgate".into(),
        tell: Tell::default(),
    })))
}

fn everywhere() -> KeyPlaces {
    KeyPlaces {
        header: Some("x-api-key".into()),
        prefix: "".into(),
        query: Some("key".into()),
        cookie: Some("key".into()),
    }
}

fn exchange(fields: &[(&str, &str)], query: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.unix_ms = 2000;
    for (name, value) in fields {
        exchange.head.fields.add(name, value.as_bytes()).unwrap();
    }
    let query = Some(query.as_bytes()).filter(|query| !query.is_empty());
    exchange.head.set_query(query).unwrap();
    exchange
}

fn code(fields: &[(&str, &str)], query: &str) -> &'static str {
    let filter = filter(everywhere(), Credential::Hidden);
    match exchange(fields, query).request_head(&filter) {
        Verdict::Continue => "",
        Verdict::Respond(answer) => answer.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_comes_in_a_header_a_parameter_or_a_cookie() {
    for (fields, query) in [
        (&[("X-Api-Key", "good")][..], ""),
        (&[], "a=b&key=good"),
        (&[], "k%65y=%67ood"),
        (&[("Cookie", "a=b; key=good; c=d")], ""),
        (&[("Cookie", "a=b"), ("Cookie", "key=\"good\"")], ""),
        (&[("X-Api-Key", "good"), ("Cookie", "key=good")], "key=good"),
    ] {
        assert_eq!(code(fields, query), "", "{fields:?} {query}");
    }
}

#[test]
fn what_is_no_good_key_is_refused() {
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    for (fields, query, why) in [
        (&[][..], "", "no_credentials"),
        (&[("Cookie", "keys=good")], "keyx=good", "no_credentials"),
        (&[("X-Api-Key", "bad")], "", "invalid_credentials"),
        (&[("X-Api-Key", "")], "", "invalid_credentials"),
        (&[("X-Api-Key", "good, good")], "", "invalid_credentials"),
        (&[("X-Api-Key", "Good")], "", "invalid_credentials"),
        (&[("X-Api-Key", &*long)], "", "invalid_credentials"),
        (&[("X-Api-Key", "old")], "", "expired_credentials"),
        (&[("X-Api-Key", "good")], "key=bad", "invalid_credentials"),
        (&[("X-Api-Key", "good")], "key=", "invalid_credentials"),
        (&[], "key=good&key=bad", "invalid_credentials"),
        (&[], "key", "invalid_credentials"),
        (
            &[("X-Api-Key", "good"), ("X-Api-Key", "old")],
            "",
            "invalid_credentials",
        ),
        (
            &[("Cookie", "key=good; key=bad")],
            "",
            "invalid_credentials",
        ),
    ] {
        assert_eq!(code(fields, query), why, "{fields:?} {query}");
    }
}

#[test]
fn origins_do_not_get_it() {
    let filter_of = |credential| filter(everywhere(), credential);
    let fields = [
        ("X-Api-Key", "good"),
        ("Cookie", "a=b; key=good"),
        ("Cookie", "c=d"),
    ];
    let mut hidden = exchange(&fields, "a=b&key=good&c=%20&k%65y=good");
    assert!(passes(&hidden.request_head(&filter_of(Credential::Hidden))));
    assert_eq!(hidden.head.fields.value_of("x-api-key"), None);
    let cookies: Vec<_> = hidden.head.fields.values_of("cookie").collect();
    assert_eq!(cookies, [b"a=b; c=d"]);
    assert_eq!(hidden.head.query(), Some(&b"a=b&c=%20"[..]));

    let mut only = exchange(&[("Cookie", "key=good")], "key=good");
    assert!(passes(&only.request_head(&filter_of(Credential::Hidden))));
    assert_eq!(only.head.fields.value_of("cookie"), None);
    assert_eq!(only.head.query(), None);

    let mut passed = exchange(&fields, "key=good");
    assert!(passes(&passed.request_head(&filter_of(Credential::Passed))));
    assert_eq!(passed.head.fields.value_of("x-api-key"), Some(&b"good"[..]));
    assert_eq!(passed.head.query(), Some(&b"key=good"[..]));
}

#[test]
fn a_field_may_have_something_before_the_key() {
    let places = KeyPlaces {
        header: Some("authorization".into()),
        prefix: "Bearer ".into(),
        ..KeyPlaces::default()
    };
    let filter = filter(places, Credential::Hidden);
    let answered =
        |value: &str| match exchange(&[("authorization", value)], "").request_head(&filter) {
            Verdict::Continue => String::new(),
            Verdict::Respond(answer) => {
                let mut fields = answer.fields.iter();
                let challenge = fields.find(|(name, _)| &**name == "www-authenticate");
                let challenge = String::from_utf8_lossy(&challenge.unwrap().1).into_owned();
                format!("{} {challenge}", answer.code)
            }
            other => panic!("{other:?}"),
        };
    for good in ["Bearer good", "bearer good", "BEARER  good"] {
        assert_eq!(answered(good), "");
    }
    let plain = "Bearer realm=\"ringgate\"";
    assert_eq!(
        answered("Basic Z29vZA=="),
        format!("no_credentials {plain}")
    );
    for bad in ["Bearer bad", "Bearer", "Bearer good good"] {
        let said = format!("invalid_credentials {plain}, error=\"invalid_token\"");
        assert_eq!(answered(bad), said, "{bad}");
    }
}
