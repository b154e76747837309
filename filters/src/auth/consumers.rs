//! Consumers: the callers that a configuration names, found by whatever they prove.
//!
//! One directory serves all filters of a snapshot. A lookup costs the same for ten consumers and
//! for a hundred thousand: each is one probe of a hash table.

mod principals;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::constant_time;
use ringgate_core::principal::Principal;
use ringgate_core::tls::ClientIdentity;

pub(crate) use principals::Principals;

/// A named caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Box<str>,
    /// The groups that it is in.
    pub groups: Box<[Box<str>]>,
    /// What it is marked with.
    pub tags: Box<[Box<str>]>,
}

impl Consumer {
    /// What its own credential proves, such as an API key.
    pub fn principal(&self, scheme: &'static str) -> Principal {
        let mut principal = Principal {
            schemes: vec![scheme],
            ..Principal::default()
        };
        self.add_to(&mut principal);
        principal
    }

    /// Makes it the consumer of what a credential of somebody else's has proved, such as a token
    /// of an issuer; groups and tags are added to those that are there.
    pub fn add_to(&self, principal: &mut Principal) {
        principal.consumer = Some(self.name.clone());
        add(&mut principal.groups, &self.groups);
        add(&mut principal.tags, &self.tags);
    }
}

fn add(to: &mut Vec<Box<str>>, more: &[Box<str>]) {
    for one in more {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

/// A consumer with what proves it.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// Who it is.
    pub consumer: Consumer,
    /// Its API keys.
    pub keys: Vec<StoredKey>,
    /// Issuers and subjects of tokens.
    pub subjects: Vec<(Box<str>, Box<str>)>,
    /// Its user name.
    pub user: Option<Box<str>>,
    /// Certificates.
    pub certificates: Vec<CertificateName>,
}

/// An API key, as far as the gateway knows it.
#[derive(Clone)]
pub struct StoredKey {
    /// What is known of the key's text.
    pub proof: KeyProof,
    /// It is good from this moment on, in milliseconds since the UNIX epoch; 0 is always.
    pub begins_ms: u64,
    /// It is good before this moment; [`u64::MAX`] is always.
    pub ends_ms: u64,
}

/// What a key's text is compared with.
#[derive(Clone)]
pub enum KeyProof {
    /// Its SHA-256.
    Digest([u8; 32]),
    /// The text is `id.secret`, and this is a password hash of the secret (PHC string format).
    Hash {
        /// Which one it is.
        id: Box<str>,
        /// The hash.
        hash: Box<str>,
    },
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey")
    }
}

/// How a certificate is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// By its SHA-256, as 64 hexadecimal digits in lower case.
    Fingerprint(Box<str>),
    /// By its subject, as [`ClientIdentity::subject`] has it.
    Subject(Box<str>),
    /// By one of its alternative names, with its kind or without: `DNS:a.example`, `a.example`.
    San(Box<str>),
}

/// All consumers of a configuration.
pub struct Directory {
    consumers: Box<[Consumer]>,
    names: Map<u32>,
    /// In the order of digests.
    digests: Box<[DigestEntry]>,
    /// The first entry in `digests` whose digest begins so.
    prefixes: HashMap<u64, u32, ahash::RandomState>,
    hashes: Map<HashEntry>,
    subjects: Map<Map<u32>>,
    users: Map<u32>,
    fingerprints: Map<u32>,
    certificate_subjects: Map<u32>,
    sans: Map<u32>,
    serial: u64,
}

type Map<V> = HashMap<Box<str>, V, ahash::RandomState>;

struct DigestEntry {
    digest: [u8; 32],
    life: Life,
    consumer: u32,
}

struct HashEntry {
    hash: Arc<str>,
    life: Life,
    consumer: u32,
}

#[derive(Clone, Copy)]
struct Life {
    begins_ms: u64,
    ends_ms: u64,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Nothing.
    Unknown,
    /// Its time has not come.
    Early,
    /// Its time is over.
    Expired,
    /// It is good, and it is the key of this one.
    Of(ConsumerIndex),
}

/// A consumer's place in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerIndex(u32);

/// Every directory has a number of its own, so that what a core remembers of an earlier one is
/// not taken for this one's.
static SERIALS: AtomicU64 = AtomicU64::new(1);

impl Directory {
    /// Of these. Names, digests, users and the like belong to one consumer each: the
    /// configuration was checked for that, and where it was not the first one has it.
    pub fn new(registered: impl IntoIterator<Item = Registered>) -> Directory {
        let mut directory = Directory {
            consumers: Box::default(),
            names: Map::default(),
            digests: Box::default(),
            prefixes: HashMap::default(),
            hashes: Map::default(),
            subjects: Map::default(),
            users: Map::default(),
            fingerprints: Map::default(),
            certificate_subjects: Map::default(),
            sans: Map::default(),
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
        };
        let (mut consumers, mut digests) = (Vec::new(), Vec::new());
        for (index, one) in (0..).zip(registered) {
            directory.register(index, &one, &mut digests);
            consumers.push(one.consumer);
        }
        digests.sort_unstable_by_key(|entry| entry.digest);
        for (place, entry) in (0..).zip(&digests) {
            let prefix = prefix(&entry.digest);
            directory.prefixes.entry(prefix).or_insert(place);
        }
        directory.digests = digests.into();
        directory.consumers = consumers.into();
        directory
    }

    fn register(&mut self, index: u32, one: &Registered, digests: &mut Vec<DigestEntry>) {
        let name = one.consumer.name.clone();
        self.names.entry(name).or_insert(index);
        for key in &one.keys {
            let life = Life {
                begins_ms: key.begins_ms,
                ends_ms: key.ends_ms,
            };
            match &key.proof {
                KeyProof::Digest(digest) => digests.push(DigestEntry {
                    digest: *digest,
                    life,
                    consumer: index,
                }),
                KeyProof::Hash { id, hash } => {
                    let entry = self.hashes.entry(id.clone());
                    entry.or_insert_with(|| HashEntry {
                        hash: (&**hash).into(),
                        life,
                        consumer: index,
                    });
                }
            }
        }
        for (issuer, subject) in &one.subjects {
            let subjects = self.subjects.entry(issuer.clone()).or_default();
            subjects.entry(subject.clone()).or_insert(index);
        }
        if let Some(user) = &one.user {
            self.users.entry(user.clone()).or_insert(index);
        }
        for certificate in &one.certificates {
            let (map, text) = match certificate {
                CertificateName::Fingerprint(text) => (&mut self.fingerprints, text),
                CertificateName::Subject(text) => (&mut self.certificate_subjects, text),
                CertificateName::San(text) => (&mut self.sans, text),
            };
            map.entry(text.clone()).or_insert(index);
        }
    }

    /// Its number, which no other directory of the process has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// How many consumers there are.
    pub fn len(&self) -> usize {
        self.consumers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.consumers.is_empty()
    }

    /// The consumer of a name.
    pub fn by_name(&self, name: &str) -> Option<&Consumer> {
        self.at(self.names.get(name))
    }

    /// The consumer that a token of this issuer is for when it says this subject.
    pub fn by_subject(&self, issuer: &str, subject: &str) -> Option<&Consumer> {
        self.at(self.subjects.get(issuer)?.get(subject))
    }

    /// The consumer that a user is.
    pub fn by_user(&self, user: &str) -> Option<&Consumer> {
        self.at(self.users.get(user))
    }

    /// The consumer that a certificate belongs to: by its fingerprint, then by its alternative
    /// names in their order, then by its subject.
    pub fn by_certificate(&self, identity: &ClientIdentity) -> Option<&Consumer> {
        let named = |san: &str| {
            let bare = san.split_once(':').map(|(_, name)| name);
            let bare = || bare.and_then(|name| self.sans.get(name));
            self.sans.get(san).or_else(bare)
        };
        let subject = || {
            let subject = Some(&identity.subject).filter(|subject| !subject.is_empty());
            subject.and_then(|subject| self.certificate_subjects.get(subject))
        };
        let found = self.fingerprints.get(&identity.fingerprint);
        let found = found.or_else(|| identity.sans.iter().find_map(|san| named(san)));
        self.at(found.or_else(subject))
    }

    /// What is known of the key with this SHA-256. Digests are compared in constant time; what
    /// the table is asked for by is no secret, as nobody can choose a digest.
    pub fn key(&self, digest: &[u8; 32], unix_ms: u64) -> KeyState {
        let prefix_of_key = prefix(digest);
        let Some(first) = self.prefixes.get(&prefix_of_key) else {
            return KeyState::Unknown;
        };
        let same = self.digests[*first as usize..]
            .iter()
            .take_while(|entry| prefix(&entry.digest) == prefix_of_key);
        for entry in same {
            if constant_time::verify_slices_are_equal(&entry.digest, digest).is_ok() {
                return entry.life.state(unix_ms, entry.consumer);
            }
        }
        KeyState::Unknown
    }

    /// What is known of the key that is stored as a password hash under this id, and its hash.
    pub fn hashed_key(&self, id: &str, unix_ms: u64) -> Option<(&Arc<str>, KeyState)> {
        let entry = self.hashes.get(id)?;
        Some((&entry.hash, entry.life.state(unix_ms, entry.consumer)))
    }

    /// The consumer at a place that this directory gave out.
    pub fn consumer(&self, index: ConsumerIndex) -> Option<&Consumer> {
        self.at(Some(&index.0))
    }

    fn at(&self, index: Option<&u32>) -> Option<&Consumer> {
        self.consumers.get(*index? as usize)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} consumers)", self.consumers.len())
    }
}

impl Life {
    fn state(self, unix_ms: u64, consumer: u32) -> KeyState {
        match unix_ms {
            now if now < self.begins_ms => KeyState::Early,
            now if now >= self.ends_ms => KeyState::Expired,
            _ => KeyState::Of(ConsumerIndex(consumer)),
        }
    }
}

fn prefix(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
