//! What a token costs: one that this core remembers, and one that it sees for the first time,
//! with the head's field looked up and the claims made into a principal.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_core::chain::{Attributes, Filter as _, RequestPhase, Verdict};
use ringgate_core::http::RequestHead;
use ringgate_core::rt::clock::Stamp;
use ringgate_filters::auth::api_key::Credential;
use ringgate_filters::auth::jwt::{
    Algorithm, Algorithms, Expiry, Issuer, Jwt, Key, KeySource, Place, Settings, Types,
};
use ringgate_filters::auth::{self, Authenticate, Directory, Otherwise, Scheme, Tell};
use ringgate_filters::{Core, Filter, Scratch};

const NOW: u64 = 1_800_000_000_000;

fn payload() -> String {
    let exp = NOW / 1_000 + 300;
    format!(
        r#"{{"iss":"https://issuer.example","sub":"5b1c6c1e-6b0c-4d2a-9a5f-1f2e3d4c5b6a","aud":"api","exp":{exp},"iat":1799999990,"jti":"0d9b6e3f-87b0-4f0a-9c1c-2f6d3b1a4e5f","scope":"read write","tenant":"blue","realm_access":{{"roles":["staff","admin"]}}}}"#
    )
}

fn signed(algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","kid":"2026-11","typ":"at+jwt"}}"#);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload().as_bytes())
    );
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

fn filter(algorithm: Algorithm, spki: &[u8], cache_max: usize) -> Filter {
    let algorithms = Algorithms::new([algorithm]);
    let key = Key::public(Some("2026-11"), algorithms, spki).unwrap();
    let issuer = Issuer {
        name: "main".into(),
        issuer: "https://issuer.example".into(),
        algorithms,
        audiences: ["api".into()].into(),
        leeway_ms: 0,
        expiry: Expiry::Required,
        age_max_ms: None,
        types: Types::Usual,
        claims_required: [].into(),
        groups_claim: Some("realm_access.roles".into()),
        keys: Arc::new(KeySource::fixed(vec![key])),
        wait_max: Duration::from_secs(1),
    };
    let jwt = Jwt::new(Settings {
        issuers: [Arc::new(issuer)].into(),
        audiences: [].into(),
        places: [Place::Bearer].into(),
        token_max: 8_192,
        cache_max,
        credential: Credential::Passed,
        directory: Arc::new(Directory::new([])),
    });
    Filter::Authenticate(Box::new(Authenticate::new(auth::Settings {
        alternatives: [[Arc::new(Scheme::Jwt(jwt))].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "bench".into(),
        tell: Tell::default(),
    })))
}

fn tokens(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let es256 = signed("ES256", |text| {
        ec.sign(&random, text).unwrap().as_ref().to_vec()
    });
    let rs256 = signed("RS256", |text| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
            .unwrap();
        signature
    });
    let ec = ec.public_key().as_der().unwrap();
    let rsa = rsa.public_key().as_der().unwrap();
    let mut group = criterion.benchmark_group("token");
    for (name, filter, token) in [
        (
            "remembered ES256",
            filter(Algorithm::Es256, ec.as_ref(), 100),
            &es256,
        ),
        (
            "remembered RS256",
            filter(Algorithm::Rs256, rsa.as_ref(), 100),
            &rs256,
        ),
        (
            "first seen ES256",
            filter(Algorithm::Es256, ec.as_ref(), 0),
            &es256,
        ),
        (
            "first seen RS256",
            filter(Algorithm::Rs256, rsa.as_ref(), 0),
            &rs256,
        ),
    ] {
        let mut head = RequestHead::default();
        let line = format!("Bearer {token}");
        head.fields.add("authorization", line.as_bytes()).unwrap();
        let mut attributes = Attributes::default();
        let (mut core, mut scratch) = (Core::default(), Scratch::default());
        let now = Stamp::now();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                attributes.principal = None;
                let verdict = filter.request_head(black_box(&mut RequestPhase {
                    head: &mut head,
                    attributes: &mut attributes,
                    core: &mut core,
                    scratch: &mut scratch,
                    now,
                    unix_ms: NOW,
                }));
                assert!(matches!(verdict, Verdict::Continue));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);
