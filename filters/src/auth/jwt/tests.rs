//! The scheme as a filter: what becomes of requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringgate_core::chain::Verdict;

use super::testing::*;
use super::*;
use crate::auth::{Authenticate, Otherwise, Scheme, Settings as Asked, Tell};
use crate::testing::{Exchange, passes};

pub(super) fn filter(settings: Settings) -> Filter {
    Filter::Authenticate(Box::new(Authenticate::new(Asked {
        alternatives: [[Arc::new(Scheme::Jwt(Jwt::new(settings)))].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "api".into(),
        tell: Tell {
            subject: Some("x-subject".into()),
            claims: [("tenant".into(), "x-tenant".into())].into(),
            ..Tell::default()
        },
    })))
}

/// Status, code and challenge.
pub(super) fn answer(verdict: Verdict) -> (u16, &'static str, String) {
    let Verdict::Respond(answer) = verdict else {
        panic!("no answer: {verdict:?}")
    };
    let mut fields = answer.fields.iter();
    let challenge = fields.find(|(name, _)| &**name == "www-authenticate");
    let challenge = challenge.map_or_else(String::new, |(_, value)| {
        String::from_utf8(value.to_vec()).unwrap()
    });
    (answer.status, answer.code, challenge)
}

fn exchange(token: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.unix_ms = NOW;
    let line = format!("Bearer {token}");
    let fields = &mut exchange.head.fields;
    fields.add("Authorization", line.as_bytes()).unwrap();
    exchange
}

#[test]
fn a_good_token_passes_and_the_origin_is_told() {
    let filter = filter(settings(vec![ec_issuer()]));
    let mut exchange = exchange(&good(r#","tenant":"blue""#));
    assert!(passes(&exchange.request_head(&filter)));
    let fields = &exchange.head.fields;
    assert_eq!(fields.value_of("x-subject"), Some(&b"alice"[..]));
    assert_eq!(fields.value_of("x-tenant"), Some(&b"blue"[..]));
    assert!(fields.value_of("authorization").is_some());
    let principal = exchange.attributes.principal.as_ref().unwrap();
    assert_eq!(principal.schemes, ["jwt"]);
}

#[test]
fn challenges_say_what_rfc_6750_has_them_say() {
    let filter = filter(settings(vec![ec_issuer()]));
    let none = answer(Exchange::default().request_head(&filter));
    assert_eq!(
        none,
        (401, "no_credentials", r#"Bearer realm="api""#.to_owned())
    );
    let (status, code, challenge) = answer(exchange("nonsense").request_head(&filter));
    assert_eq!((status, code), (401, "invalid_credentials"));
    assert_eq!(
        challenge,
        r#"Bearer realm="api", error="invalid_token", error_description="the token is not valid""#
    );
    let mut late = exchange(&good(""));
    late.unix_ms = NOW + 300_000;
    let (status, code, challenge) = answer(late.request_head(&filter));
    assert_eq!((status, code), (401, "expired_credentials"));
    assert!(challenge.contains("not valid at this time"), "{challenge}");
}

#[test]
fn two_tokens_in_one_request_are_a_bad_request() {
    let mut settings = settings(vec![ec_issuer()]);
    settings.places = [Place::Bearer, Place::Cookie("token".into())].into();
    let filter = filter(settings);
    let mut both = exchange(&good(""));
    both.head
        .fields
        .add("cookie", format!("token={}", good("")).as_bytes())
        .unwrap();
    let (status, code, _) = answer(both.request_head(&filter));
    assert_eq!((status, code), (400, "invalid_credentials"));
}

#[test]
fn a_token_is_hidden_where_it_is_asked_for() {
    let mut settings = settings(vec![ec_issuer()]);
    settings.credential = Credential::Hidden;
    let filter = filter(settings);
    let mut exchange = exchange(&good(""));
    assert!(passes(&exchange.request_head(&filter)));
    assert_eq!(exchange.head.fields.value_of("authorization"), None);
}

#[test]
fn a_token_is_of_the_consumer_with_its_subject() {
    use crate::auth::consumers::{Consumer, Registered};
    let mut settings = settings(vec![ec_issuer()]);
    settings.directory = Arc::new(Directory::new([Registered {
        consumer: Consumer {
            name: "mobile".into(),
            groups: ["partners".into()].into(),
            tags: [].into(),
        },
        subjects: vec![(ISSUER.into(), "alice".into())],
        ..Registered::default()
    }]));
    let filter = filter(settings);
    let mut exchange = exchange(&good(r#","realm":{"roles":["staff"]}"#));
    assert!(passes(&exchange.request_head(&filter)));
    let principal = exchange.attributes.principal.unwrap();
    assert_eq!(principal.consumer.as_deref(), Some("mobile"));
    assert!(principal.is_in("staff") && principal.is_in("partners"));
}

/// The second look at a token shares the principal of the first.
#[test]
fn a_token_is_remembered_until_it_expires() {
    let filter = filter(settings(vec![ec_issuer()]));
    let token = good("");
    let mut exchange = exchange(&token);
    let mut look = |ms| {
        exchange.unix_ms = NOW + ms;
        exchange.attributes.principal = None;
        let verdict = exchange.request_head(&filter);
        (passes(&verdict), exchange.attributes.principal.clone())
    };
    let (_, first) = look(0);
    let (_, second) = look(299_999);
    assert!(Rc::ptr_eq(
        first.as_ref().unwrap(),
        second.as_ref().unwrap()
    ));
    assert!(!look(300_000).0);
}

#[test]
fn a_remembered_token_is_forgotten_with_its_key() {
    let issuer = ec_issuer();
    let source = Arc::clone(&issuer.keys);
    let filter = filter(settings(vec![issuer]));
    let mut exchange = exchange(&good(""));
    let mut look = || {
        exchange.attributes.principal = None;
        let verdict = exchange.request_head(&filter);
        (passes(&verdict), exchange.attributes.principal.clone())
    };
    let (_, first) = look();
    let ec = || P256.key(Some("ec"), &[Algorithm::Es256]);
    let other = || P384.key(Some("new"), &[Algorithm::Es384]);
    // Another key beside it changes nothing.
    source.replace(vec![other(), ec()]);
    let (_, second) = look();
    assert!(Rc::ptr_eq(
        first.as_ref().unwrap(),
        second.as_ref().unwrap()
    ));
    // The same name for another key is another key.
    source.replace(vec![other()]);
    assert!(!look().0);
    source.replace(vec![ec()]);
    assert!(look().0);
}

#[test]
fn before_keys_were_fetched_nobody_is_let_in() {
    let mut issuer = ec_issuer();
    issuer.keys = Arc::new(KeySource::fetched(Box::new(|| {})));
    let filter = filter(settings(vec![issuer]));
    let (status, code, challenge) = answer(exchange(&good("")).request_head(&filter));
    assert_eq!((status, code, &*challenge), (503, "auth_unavailable", ""));
    // What is wrong whatever its key is needs none.
    let (status, code, _) = answer(exchange("x.y.z").request_head(&filter));
    assert_eq!((status, code), (401, "invalid_credentials"));
}

/// An issuer whose keys are fetched; how often somebody asked; the source.
fn fetched() -> (Filter, Arc<AtomicUsize>, Arc<KeySource>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let source = Arc::new(KeySource::fetched(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    })));
    source.set_refetch_min(Duration::from_secs(10));
    source.replace(vec![P384.key(Some("old"), &[Algorithm::Es384])]);
    let mut issuer = ec_issuer();
    issuer.keys = Arc::clone(&source);
    (filter(settings(vec![issuer])), asked, source)
}

#[test]
fn a_token_of_a_new_key_waits_until_the_keys_were_fetched() {
    let (filter, asked, source) = fetched();
    let mut exchange = exchange(&good(""));
    let verdict = exchange.request_head(&filter);
    assert!(matches!(verdict, Verdict::Ask(_)), "{verdict:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    source.replace(vec![P256.key(Some("ec"), &[Algorithm::Es256])]);
    assert!(passes(&exchange.resume(&filter)));
}

#[test]
fn a_token_of_a_key_that_does_not_come_is_refused() {
    let (filter, asked, source) = fetched();
    let mut exchange = exchange(&good(""));
    assert!(matches!(exchange.request_head(&filter), Verdict::Ask(_)));
    source.replace(vec![P384.key(Some("old"), &[Algorithm::Es384])]);
    let (status, code, _) = answer(exchange.resume(&filter));
    assert_eq!((status, code), (401, "invalid_credentials"));
    // The next one is not worth another fetch.
    let (status, code, _) = answer(exchange.request_head(&filter));
    assert_eq!((status, code), (401, "invalid_credentials"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn while_the_issuer_is_away_nobody_knows_whether_a_new_key_is_its() {
    let (filter, _, source) = fetched();
    let mut exchange = exchange(&good(""));
    assert!(matches!(exchange.request_head(&filter), Verdict::Ask(_)));
    // It takes too long.
    let (status, code, _) = answer(exchange.resume(&filter));
    assert_eq!((status, code), (503, "auth_unavailable"));
    source.fail();
    let (status, code, _) = answer(exchange.request_head(&filter));
    assert_eq!((status, code), (503, "auth_unavailable"));
    // Keys that are there stay good meanwhile.
    let mut issuer = ec_issuer();
    issuer.keys = Arc::clone(&source);
    let old = token(
        &P384,
        Algorithm::Es384,
        r#"{"alg":"ES384","kid":"old"}"#,
        &payload(""),
    );
    issuer.algorithms = Algorithms::new([Algorithm::Es384]);
    proves(&jwt(vec![issuer]), &old);
}

/// Tokens that another implementation has signed.
#[test]
fn what_jsonwebtoken_signs_is_verified() {
    use jsonwebtoken::{EncodingKey, crypto::sign};
    let random = |len| vec![b'k'; len];
    let (ec256, ec384) = (
        rcgen_key(&rcgen::PKCS_ECDSA_P256_SHA256),
        rcgen_key(&rcgen::PKCS_ECDSA_P384_SHA384),
    );
    let ed = rcgen_key(&rcgen::PKCS_ED25519);
    let spki = |key: &rcgen::KeyPair| rcgen::PublicKeyData::subject_public_key_info(key);
    let cases = [
        (
            Algorithm::Es256,
            EncodingKey::from_ec_der(&ec256.serialize_der()),
            spki(&ec256),
        ),
        (
            Algorithm::Es384,
            EncodingKey::from_ec_der(&ec384.serialize_der()),
            spki(&ec384),
        ),
        (
            Algorithm::EdDsa,
            EncodingKey::from_ed_der(&ed.serialize_der()),
            spki(&ed),
        ),
        (
            Algorithm::Hs256,
            EncodingKey::from_secret(&random(32)),
            random(32),
        ),
        (
            Algorithm::Hs384,
            EncodingKey::from_secret(&random(48)),
            random(48),
        ),
        (
            Algorithm::Hs512,
            EncodingKey::from_secret(&random(64)),
            random(64),
        ),
    ];
    for (algorithm, signing, verifying) in cases {
        let signed = format!(
            "{}.{}",
            encode(format!(r#"{{"alg":"{algorithm}"}}"#)),
            encode(payload(""))
        );
        let named = algorithm.name().parse().unwrap();
        let signature = sign(signed.as_bytes(), &signing, named).unwrap();
        let key = match algorithm.is_symmetric() {
            true => Key::secret(None, algorithm, &verifying),
            false => Key::public(None, Algorithms::new([algorithm]), &verifying),
        };
        let jwt = jwt(vec![issuer(vec![key.unwrap()])]);
        proves(&jwt, &format!("{signed}.{signature}"));
        let forged = format!("{signed}x.{signature}");
        assert!(jwt.verify(forged.as_bytes(), NOW).is_err());
    }
}

fn rcgen_key(algorithm: &'static rcgen::SignatureAlgorithm) -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(algorithm).unwrap()
}
