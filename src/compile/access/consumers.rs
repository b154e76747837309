//! Consumers, as filters find them.

use ringgate_config::Config;
use ringgate_config::model;
use ringgate_filters::auth::Directory;
use ringgate_filters::auth::consumers::{
    CertificateName, Consumer, KeyProof, Registered, StoredKey,
};

/// The directory of a configuration's consumers.
pub(super) fn directory(config: &Config) -> Directory {
    Directory::new(config.consumers.iter().map(registered))
}

fn registered(written: &model::Consumer) -> Registered {
    let keys = written.api_keys.iter().filter_map(|key| stored(key));
    let subjects = written.subjects.iter();
    let certificates = written.certificates.iter();
    Registered {
        consumer: Consumer {
            name: written.name.as_str().into(),
            groups: written.groups.clone().into(),
            tags: written.tags.clone().into(),
        },
        keys: keys.collect(),
        subjects: subjects
            .map(|one| (one.issuer.clone(), one.subject.clone()))
            .collect(),
        user: written.user.as_ref().map(|user| user.value.clone()),
        certificates: certificates.map(|name| certificate(&name.value)).collect(),
    }
}

/// A key as filters compare it; one with a hash and without an id is found by nobody.
fn stored(key: &model::ConsumerKey) -> Option<StoredKey> {
    let proof = match &key.proof {
        model::KeyProof::Digest(digest) => KeyProof::Digest(*digest),
        model::KeyProof::Hash(hash) => KeyProof::Hash {
            id: key.id.clone()?,
            hash: hash.expose().into(),
        },
    };
    Some(StoredKey {
        proof,
        begins_ms: key.not_before.unwrap_or(0),
        ends_ms: key.expires.unwrap_or(u64::MAX),
    })
}

fn certificate(name: &model::CertificateName) -> CertificateName {
    match name {
        model::CertificateName::Fingerprint(text) => CertificateName::Fingerprint(text.clone()),
        model::CertificateName::Subject(text) => CertificateName::Subject(text.clone()),
        model::CertificateName::San(text) => CertificateName::San(text.clone()),
    }
}
