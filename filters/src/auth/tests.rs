//! Alternatives, schemes that are wanted together, and requests without a credential.

use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};
use ringgate_core::chain::Answer;

use super::api_key::{Credential, KeyPlaces};
use super::consumers::{Consumer, KeyProof, Registered, StoredKey};
use super::*;
use crate::testing::Exchange;

/// A consumer with a key for each name: `key-of-NAME`.
fn directory(names: &[&str]) -> Arc<Directory> {
    let registered = names.iter().map(|name| {
        let key = format!("key-of-{name}");
        let digest = digest(&SHA256, key.as_bytes());
        Registered {
            consumer: Consumer {
                name: (*name).into(),
                groups: [format!("of-{name}").into()].into(),
                ..Consumer::default()
            },
            keys: vec![StoredKey {
                proof: KeyProof::Digest(digest.as_ref().try_into().unwrap()),
                begins_ms: 0,
                ends_ms: u64::MAX,
            }],
            ..Registered::default()
        }
    });
    Arc::new(Directory::new(registered))
}

/// A scheme that looks at one field.
fn scheme(field: &str, prefix: &str) -> Arc<Scheme> {
    Arc::new(Scheme::ApiKey(ApiKey {
        places: KeyPlaces {
            header: Some(field.into()),
            prefix: prefix.into(),
            ..KeyPlaces::default()
        },
        credential: Credential::Hidden,
        directory: directory(&["app", "batch"]),
        store: None,
        verifier: Arc::new(verify::NoVerifier),
    }))
}

fn one() -> Arc<Scheme> {
    scheme("x-one", "")
}

fn two() -> Arc<Scheme> {
    scheme("authorization", "Bearer ")
}

fn filter(alternatives: &[&[Arc<Scheme>]], otherwise: Otherwise) -> Filter {
    let alternatives = alternatives.iter().map(|all| all.to_vec().into());
    Filter::Authenticate(Box::new(Authenticate::new(Settings {
        alternatives: alternatives.collect(),
        otherwise,
        realm: "r".into(),
        tell: Tell {
            consumer: Some("x-consumer".into()),
            groups: Some("x-groups".into()),
            ..Tell::default()
        },
    })))
}

fn exchange(fields: &[(&str, &str)]) -> Exchange {
    let mut exchange = Exchange::default();
    for (name, value) in fields {
        exchange.head.fields.add(name, value.as_bytes()).unwrap();
    }
    exchange
}

/// The consumer, or the code of the answer; none when it passes as nobody's.
fn asked(filter: &Filter, fields: &[(&str, &str)]) -> Option<String> {
    let mut exchange = exchange(fields);
    match exchange.request_head(filter) {
        Verdict::Continue => {
            let known = exchange.attributes.principal?;
            known.consumer.as_deref().map(str::to_owned)
        }
        Verdict::Respond(answer) => Some(answer.code.to_owned()),
        other => panic!("{other:?}"),
    }
}

fn challenges(filter: &Filter, fields: &[(&str, &str)]) -> Vec<String> {
    let Verdict::Respond(answer) = exchange(fields).request_head(filter) else {
        panic!("it passes")
    };
    let Answer { fields, .. } = *answer;
    let named = fields
        .iter()
        .filter(|(name, _)| &**name == "www-authenticate");
    named
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

const APP: (&str, &str) = ("x-one", "key-of-app");
const BAD: (&str, &str) = ("x-one", "key-of-nobody");
const BATCH: (&str, &str) = ("authorization", "Bearer key-of-batch");
const WRONG: (&str, &str) = ("authorization", "Bearer key-of-nobody");

#[test]
fn the_first_alternative_that_proves_something_counts() {
    let filter = filter(&[&[one()], &[two()]], Otherwise::Refuse);
    let said = |fields: &[(&str, &str)]| asked(&filter, fields).unwrap();
    assert_eq!(said(&[APP]), "app");
    assert_eq!(said(&[BATCH]), "batch");
    assert_eq!(said(&[APP, BATCH]), "app");
    assert_eq!(said(&[BAD, BATCH]), "batch");
    assert_eq!(said(&[APP, WRONG]), "app");
    assert_eq!(said(&[BAD]), "invalid_credentials");
    assert_eq!(said(&[]), "no_credentials");
}

#[test]
fn credentials_of_every_alternative_are_hidden() {
    let filter = filter(&[&[one()], &[two()]], Otherwise::Refuse);
    let mut exchange = exchange(&[APP, BATCH]);
    assert!(matches!(exchange.request_head(&filter), Verdict::Continue));
    let fields = &exchange.head.fields;
    assert_eq!(fields.value_of("x-one"), None);
    assert_eq!(fields.value_of("authorization"), None);
    assert_eq!(fields.value_of("x-consumer"), Some(&b"app"[..]));
    assert_eq!(fields.value_of("x-groups"), Some(&b"of-app"[..]));
}

#[test]
fn all_of_some_must_belong_to_one_consumer() {
    let filter = filter(&[&[one(), two()]], Otherwise::Refuse);
    let said = |fields: &[(&str, &str)]| asked(&filter, fields).unwrap();
    assert_eq!(said(&[APP, ("authorization", "Bearer key-of-app")]), "app");
    assert_eq!(said(&[APP, BATCH]), "invalid_credentials");
    assert_eq!(said(&[APP, WRONG]), "invalid_credentials");
    assert_eq!(said(&[APP]), "no_credentials");
    assert_eq!(said(&[BATCH]), "no_credentials");
}

#[test]
fn a_bad_credential_never_counts_as_none() {
    let guest = Otherwise::Anonymous(Arc::new(Principal {
        consumer: Some("guest".into()),
        ..Principal::default()
    }));
    for (otherwise, nobody) in [(Otherwise::Pass, None), (guest, Some("guest"))] {
        let filter = filter(&[&[one()], &[two()]], otherwise);
        assert_eq!(asked(&filter, &[]).as_deref(), nobody);
        for fields in [&[BAD][..], &[WRONG], &[BAD, WRONG]] {
            let said = asked(&filter, fields);
            assert_eq!(said.as_deref(), Some("invalid_credentials"), "{fields:?}");
        }
        assert_eq!(asked(&filter, &[BAD, BATCH]).as_deref(), Some("batch"));
    }
}

#[test]
fn each_scheme_is_challenged_and_the_refused_one_with_its_reason() {
    let filter = filter(&[&[one()], &[two()], &[one(), two()]], Otherwise::Refuse);
    let plain = ["ApiKey realm=\"r\"", "Bearer realm=\"r\""];
    assert_eq!(challenges(&filter, &[]), plain);
    let said = challenges(&filter, &[WRONG]);
    assert_eq!(said[1], "Bearer realm=\"r\", error=\"invalid_token\"");
}

#[test]
fn an_alternative_without_schemes_proves_nothing() {
    for alternatives in [&[&[][..]][..], &[]] {
        let filter = filter(alternatives, Otherwise::Refuse);
        assert_eq!(asked(&filter, &[APP]).as_deref(), Some("no_credentials"));
    }
}

#[test]
fn two_filters_agree_on_the_consumer() {
    let (first, second) = (
        filter(&[&[one()]], Otherwise::Refuse),
        filter(&[&[two()]], Otherwise::Refuse),
    );
    let mut exchange = exchange(&[APP, BATCH]);
    assert!(matches!(exchange.request_head(&first), Verdict::Continue));
    let Verdict::Respond(answer) = exchange.request_head(&second) else {
        panic!("two consumers make one request")
    };
    assert_eq!((answer.status, answer.code), (401, "invalid_credentials"));
    let still: Option<Rc<Principal>> = exchange.attributes.principal.clone();
    assert_eq!(still.unwrap().consumer.as_deref(), Some("app"));
}
