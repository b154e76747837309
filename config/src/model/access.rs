//! Who may use what the gateway serves: consumers, and the filters that ask for credentials.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ForwardAuth, HeaderName, Introspection, Name, Secret, TokenFilter};
use crate::Spanned;

/// `[[consumer]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Unique.
    pub name: Spanned<Name>,
    /// What it is in; none twice.
    pub groups: Vec<Box<str>>,
    /// What it is marked with; none twice.
    pub tags: Vec<Box<str>>,
    /// Digests and ids belong to one consumer each.
    pub api_keys: Vec<Spanned<ConsumerKey>>,
    /// Tokens that are its; each belongs to one consumer.
    pub subjects: Vec<Spanned<TokenSubject>>,
    /// Certificates that are its; each belongs to one consumer.
    pub certificates: Vec<Spanned<CertificateName>>,
    /// The user that it is; unique.
    pub user: Option<Spanned<Box<str>>>,
}

/// An entry of `api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerKey {
    /// What is known of the key.
    pub proof: KeyProof,
    /// What people call it; a key with a hash has one.
    pub id: Option<Box<str>>,
    /// It is good from then on, in milliseconds since the UNIX epoch.
    pub not_before: Option<u64>,
    /// It is good before then, likewise; later than `not_before`.
    pub expires: Option<u64>,
}

/// What is known of an API key.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyProof {
    /// The SHA-256 of its text.
    Digest([u8; 32]),
    /// Its text is `id.secret`, and this is an argon2 hash of the secret.
    Hash(Secret),
}

impl fmt::Debug for KeyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a token says of its issuer and its subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenSubject {
    /// `iss`
    pub issuer: Box<str>,
    /// `sub`
    pub subject: Box<str>,
}

/// `[consumers]`: consumers that are kept in Redis, under the digests of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStore {
    /// A server of the configuration.
    pub redis: Spanned<Name>,
    /// What stands before a key's digest in the names of entries.
    pub prefix: Box<str>,
    /// For how long a consumer that was found is not asked for again.
    pub ttl: Duration,
    /// The same, for a key that is nobody's.
    pub ttl_unknown: Duration,
}

impl ConsumerStore {
    /// The server.
    #[must_use]
    pub fn server<'c>(&self, config: &'c super::Config) -> Option<&'c super::Redis> {
        let mut servers = config.redis.iter();
        servers.find(|redis| redis.name.value == self.redis.value)
    }
}

/// How a certificate is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// Its SHA-256: 64 hexadecimal digits in lower case.
    Fingerprint(Box<str>),
    /// Its subject, as RFC 4514 writes it.
    Subject(Box<str>),
    /// One of its alternative names, with its kind or without.
    San(Box<str>),
}

/// `[access]`: the fields by which origins are told who makes a request; `None` is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Has the consumer's name.
    pub consumer_header: Option<HeaderName>,
    /// Has what the credential calls its bearer.
    pub subject_header: Option<HeaderName>,
    /// Has the groups.
    pub groups_header: Option<HeaderName>,
    /// Has the scopes.
    pub scopes_header: Option<HeaderName>,
}

/// A filter that asks who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// What it asks for.
    pub scheme: AuthScheme,
    /// What becomes of requests without a credential.
    pub otherwise: Otherwise,
    /// What challenges call the protected space.
    pub realm: Box<str>,
    /// Whether the credential is taken out of what the origin gets.
    pub hide: bool,
    /// Headers for the origin, and the claims whose values they have; no header twice.
    pub claims: Vec<(Spanned<HeaderName>, Box<str>)>,
}

/// What becomes of a request without a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is refused.
    Refuse,
    /// It passes, as nobody's.
    Pass,
    /// It passes as that of this consumer, which exists.
    Anonymous(Spanned<Name>),
}

/// The schemes of authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `type = "api_key"`
    ApiKey(KeyPlaces),
    /// `type = "jwt"`
    Jwt(Box<TokenFilter>),
    /// `type = "basic"`
    Basic(Basic),
    /// `type = "mtls"`
    Mtls(Mtls),
    /// `type = "introspection"`
    Introspection(Box<Introspection>),
    /// `type = "forward_auth"`
    Forward(Box<ForwardAuth>),
    /// `type = "any_of"`: filters that ask for one scheme, or for all of some; at least one.
    AnyOf(Vec<Spanned<Name>>),
    /// `type = "all_of"`: filters that ask for one scheme; at least one.
    AllOf(Vec<Spanned<Name>>),
}

/// Users and their passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// Names and hashes of passwords; no name twice.
    pub users: Vec<(Box<str>, Secret)>,
    /// A file that has more of them.
    pub htpasswd: Option<Spanned<PathBuf>>,
    /// For how long a password that was right is not compared again.
    pub remember: Duration,
    /// The same, of one that was wrong.
    pub remember_wrong: Duration,
}

/// Client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtls {
    /// Whether a certificate has to belong to a consumer.
    pub require_consumer: bool,
}

/// Where an API key may come; at least one of the three is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlaces {
    /// A header.
    pub header: Option<HeaderName>,
    /// What the header has before the key, with its space; empty for nothing.
    pub prefix: Box<str>,
    /// A query parameter.
    pub query: Option<Box<str>>,
    /// A cookie.
    pub cookie: Option<Box<str>>,
}
