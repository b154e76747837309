//! Issuers of tokens: their keys are read and judged here, off the data plane.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringgate_config::model::{self, IssuerKeys, KeyMaterial, Name, TokenAlgorithm, TokenExpiry};
use ringgate_config::{Config, Diagnostic, Span};
use ringgate_filters::auth::jwt::{
    Algorithm, Algorithms, Expiry, Issuer, Key, KeyError, KeySource, Types, jwks,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::{KeySources, place};

/// The issuers of a configuration, with their keys.
#[derive(Debug, Default)]
pub struct Issuers {
    made: HashMap<Name, Arc<Issuer>>,
}

/// What reading the keys of a configuration came to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Those whose keys could be read; there is an error about every other one.
    pub issuers: Issuers,
    /// What is wrong; with an error among them the configuration cannot run.
    pub findings: Vec<Diagnostic>,
    /// The files that were read or missed.
    pub files: Vec<PathBuf>,
}

impl Issuers {
    /// Reads the keys that a configuration names; those that are fetched are in `sources`.
    pub fn load(config: &Config, sources: &KeySources) -> Loaded {
        let mut loaded = Loaded::default();
        for written in &config.issuers {
            if let Some(keys) = loaded.keys(written, sources) {
                let name = written.name.value.clone();
                let made = Arc::new(issuer(written, keys));
                loaded.issuers.made.insert(name, made);
            }
        }
        loaded
    }

    /// The issuer of a name.
    pub fn named(&self, name: &Name) -> Option<&Arc<Issuer>> {
        self.made.get(name)
    }
}

impl Loaded {
    fn keys(&mut self, written: &model::Issuer, sources: &KeySources) -> Option<Arc<KeySource>> {
        match &written.keys {
            IssuerKeys::Written(written) => {
                let keys: Vec<Option<Key>> = written
                    .iter()
                    .map(|key| self.written(&key.value, key.span))
                    .collect();
                let keys: Option<Vec<Key>> = keys.into_iter().collect();
                keys.map(|keys| Arc::new(KeySource::fixed(keys)))
            }
            IssuerKeys::File(path) => {
                let document = self.content(&path.value, path.span)?;
                let set = jwks::read(&document);
                let set = set.map_err(|why| self.refuse(path.span, "is no key set", why));
                let set = set.ok()?;
                if set.keys.is_empty() {
                    let why = set.left_out.first().copied().unwrap_or("the list is empty");
                    self.refuse(path.span, "has no key that can be used", why);
                    return None;
                }
                Some(Arc::new(KeySource::fixed(set.keys)))
            }
            IssuerKeys::Fetched(_) => place(written).map(|(place, _)| sources.of(place)),
        }
    }

    fn written(&mut self, key: &model::IssuerKey, span: Span) -> Option<Key> {
        let kid = key.kid.as_deref();
        let algorithm = algorithm(key.algorithm)?;
        let made = match &key.material {
            KeyMaterial::Secret(secret) => Key::shared(kid, algorithm, secret.value.expose()),
            KeyMaterial::Pem(pem) => public(kid, algorithm, pem.value.as_bytes()),
            KeyMaterial::File(path) => {
                let pem = self.content(&path.value, path.span)?;
                public(kid, algorithm, &pem)
            }
        };
        made.map_err(|error| {
            let message = format!("this is no key for {}", key.algorithm);
            self.findings.push(
                Diagnostic::error("issuer-key", message, span)
                    .label(error.to_string())
                    .help(advice(error)),
            );
        })
        .ok()
    }

    fn content(&mut self, path: &Path, span: Span) -> Option<Vec<u8>> {
        self.files.push(path.to_owned());
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| {
            let mut bounded = file.take(FILE_BYTES_MAX + 1);
            bounded.read_to_end(&mut content)
        });
        match read {
            Ok(_) if content.len() as u64 > FILE_BYTES_MAX => {
                self.refuse(span, "is no file with keys", "it is too long");
                None
            }
            Ok(_) => Some(content),
            Err(error) => {
                self.refuse(span, "cannot be read", &error.to_string());
                None
            }
        }
    }

    fn refuse(&mut self, span: Span, what: &str, why: &str) {
        let message = format!("this file {what}");
        self.findings
            .push(Diagnostic::error("issuer-key", message, span).label(why.to_owned()));
    }
}

fn advice(error: KeyError) -> &'static str {
    match error {
        KeyError::Unreadable | KeyError::Unused => {
            "RS and PS want an RSA key, ES256 one on P-256, ES384 on P-384, ES512 on P-521, and \
             EdDSA an Ed25519 key; in PEM, as a public key or a certificate"
        }
        KeyError::RsaSize => "have the issuer make a longer key",
        KeyError::WeakSecret => {
            "make one that cannot be guessed, such as with: openssl rand -base64 64"
        }
    }
}

/// Of a public key or a certificate in PEM, the key.
fn public(kid: Option<&str>, algorithm: Algorithm, pem: &[u8]) -> Result<Key, KeyError> {
    let algorithms = Algorithms::new([algorithm]);
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        return Key::public(kid, algorithms, &key);
    }
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| KeyError::Unreadable)?;
    let parsed = X509Certificate::from_der(&certificate);
    let (_, parsed) = parsed.map_err(|_| KeyError::Unreadable)?;
    Key::public(kid, algorithms, parsed.public_key().raw)
}

fn issuer(written: &model::Issuer, keys: Arc<KeySource>) -> Issuer {
    let algorithms = written.algorithms.iter();
    let wait_max = match &written.keys {
        IssuerKeys::Fetched(fetched) => fetched.timeout,
        IssuerKeys::Written(_) | IssuerKeys::File(_) => Duration::ZERO,
    };
    Issuer {
        name: written.name.as_str().into(),
        issuer: written.issuer.value.clone(),
        algorithms: Algorithms::new(algorithms.filter_map(|one| algorithm(one.value))),
        audiences: written.audiences.clone().into(),
        leeway_ms: millis(written.leeway),
        expiry: match written.expiry {
            TokenExpiry::Required => Expiry::Required,
            TokenExpiry::Optional => Expiry::Optional,
        },
        age_max_ms: written.age_max.map(millis),
        types: match written.types.is_empty() {
            true => Types::Usual,
            false => Types::Only(written.types.clone().into()),
        },
        claims_required: written.claims_required.clone().into(),
        groups_claim: written.groups_claim.clone(),
        keys,
        wait_max,
    }
}

/// Both sides have the names of the RFC.
fn algorithm(written: TokenAlgorithm) -> Option<Algorithm> {
    Algorithm::of(written.as_str())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A hundred keys of the longest kind with their certificates.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
