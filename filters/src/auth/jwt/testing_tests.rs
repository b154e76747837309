//! Keys and tokens of tests.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringgate_core::principal::Principal;

use super::*;

/// Signs tokens.
pub(super) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

pub(super) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(super) static P256: LazyLock<Signer> =
    LazyLock::new(|| ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING));
pub(super) static P384: LazyLock<Signer> =
    LazyLock::new(|| ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING));
pub(super) static P521: LazyLock<Signer> =
    LazyLock::new(|| ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING));
pub(super) static ED25519: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ed(Ed25519KeyPair::generate().unwrap()));
pub(super) static SECRET: LazyLock<Signer> = LazyLock::new(|| Signer::Secret(vec![b's'; 64]));

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Signer {
    Signer::Ec(EcdsaKeyPair::generate(algorithm).unwrap())
}

impl Signer {
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).unwrap();
                out
            }
            Signer::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Secret(secret) => {
                let hash = match algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message)
                    .as_ref()
                    .to_vec()
            }
        }
    }

    /// The public key as SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Signer::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Signer::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Signer::Secret(_) => panic!("a secret is not shown"),
        }
    }

    /// The key that verifies.
    pub(super) fn key(&self, kid: Option<&str>, algorithms: &[Algorithm]) -> Key {
        match self {
            Signer::Secret(secret) => Key::secret(kid, algorithms[0], secret),
            other => Key::public(
                kid,
                Algorithms::new(algorithms.iter().copied()),
                &other.spki(),
            ),
        }
        .unwrap()
    }

    /// The public key as a member list of a JWK, without braces.
    pub(super) fn jwk(&self) -> String {
        match self {
            Signer::Rsa(pair) => {
                let key = pair.public_key();
                let n = encode(key.modulus().big_endian_without_leading_zero());
                let e = encode(key.exponent().big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{n}","e":"{e}""#)
            }
            Signer::Ec(pair) => {
                let raw = pair.public_key().as_ref();
                let (x, y) = raw[1..].split_at(raw.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                let (x, y) = (encode(x), encode(y));
                format!(r#""kty":"EC","crv":"{curve}","x":"{x}","y":"{y}""#)
            }
            Signer::Ed(pair) => {
                let x = encode(pair.public_key().as_ref());
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#)
            }
            Signer::Secret(_) => panic!("a secret is not shown"),
        }
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of this header and payload, as they are written.
pub(super) fn token(signer: &Signer, algorithm: Algorithm, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = signer.sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// Milliseconds since the UNIX epoch in tests.
pub(super) const NOW: u64 = 1_800_000_000_000;
pub(super) const NOW_S: u64 = NOW / 1_000;
pub(super) const ISSUER: &str = "https://issuer.example";

/// The payload of a good token, with more members, each behind a comma.
pub(super) fn payload(more: &str) -> String {
    let exp = NOW_S + 300;
    format!(r#"{{"iss":"{ISSUER}","sub":"alice","aud":"api","exp":{exp}{more}}}"#)
}

/// A good token of the ES256 key, with more members of its payload.
pub(super) fn good(more: &str) -> String {
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    token(&P256, Algorithm::Es256, header, &payload(more))
}

/// An issuer with these keys, all of whose algorithms it may sign with.
pub(super) fn issuer(keys: Vec<Key>) -> Issuer {
    let algorithms = keys
        .iter()
        .flat_map(|key| key.algorithms().iter().collect::<Vec<_>>());
    Issuer {
        name: "main".into(),
        issuer: ISSUER.into(),
        algorithms: Algorithms::new(algorithms),
        audiences: ["api".into(), "other".into()].into(),
        leeway_ms: 0,
        expiry: Expiry::Required,
        age_max_ms: None,
        types: Types::Usual,
        claims_required: [].into(),
        groups_claim: Some("realm.roles".into()),
        keys: Arc::new(KeySource::fixed(keys)),
        wait_max: Duration::from_secs(1),
    }
}

pub(super) fn ec_issuer() -> Issuer {
    issuer(vec![P256.key(Some("ec"), &[Algorithm::Es256])])
}

pub(super) fn settings(issuers: Vec<Issuer>) -> Settings {
    Settings {
        issuers: issuers.into_iter().map(Arc::new).collect(),
        audiences: [].into(),
        places: [Place::Bearer].into(),
        token_max: 8 * 1024,
        cache_max: 16,
        credential: Credential::Passed,
        directory: Arc::new(Directory::new([])),
    }
}

pub(super) fn jwt(issuers: Vec<Issuer>) -> Jwt {
    Jwt::new(settings(issuers))
}

/// Who a token is of.
pub(super) fn proves(jwt: &Jwt, token: &str) -> Principal {
    match jwt.verify(token.as_bytes(), NOW) {
        Ok((known, _)) => (*known.principal).clone(),
        Err(Trouble::Refused(refusal)) => panic!("{}: {token}", refusal.why),
        Err(Trouble::NoKey(_)) => panic!("no key: {token}"),
    }
}

/// Why a token proves nothing, and with which code.
pub(super) fn refusal(jwt: &Jwt, token: &str) -> (&'static str, &'static str) {
    match jwt.verify(token.as_bytes(), NOW) {
        Ok(_) => panic!("it is good: {token}"),
        Err(Trouble::Refused(refusal)) => (refusal.code, refusal.why),
        Err(Trouble::NoKey(_)) => ("", NO_KEY),
    }
}

pub(super) fn why(jwt: &Jwt, token: &str) -> &'static str {
    refusal(jwt, token).1
}

pub(super) const NO_KEY: &str = "no key";
pub(super) const BAD_SIGNATURE: &str = "its signature is not its issuer's";
