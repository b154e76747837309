//! Who issues tokens, and what is asked of those.

use std::sync::Arc;
use std::time::Duration;

use super::algorithm::{Algorithm, Algorithms};
use super::source::KeySource;

/// An issuer of tokens.
#[derive(Debug)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The `iss` of its tokens, byte by byte.
    pub issuer: Box<str>,
    /// What its tokens may be signed with.
    pub algorithms: Algorithms,
    /// Of these, a token has to be for one; empty takes tokens for anybody.
    pub audiences: Box<[Box<str>]>,
    /// Milliseconds by which clocks may differ.
    pub leeway_ms: u64,
    /// Whether a token has to say when it expires.
    pub expiry: Expiry,
    /// Milliseconds from its `iat` that a token is good for at most.
    pub age_max_ms: Option<u64>,
    /// What `typ` may be.
    pub types: Types,
    /// Names of claims, or paths to them, that a token has to have.
    pub claims_required: Box<[Box<str>]>,
    /// The claim, or the path to it, that has the groups.
    pub groups_claim: Option<Box<str>>,
    /// Its keys.
    pub keys: Arc<KeySource>,
    /// How long a request waits at most for keys that are being fetched.
    pub wait_max: Duration,
}

/// Whether a token has to say when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It has to.
    Required,
    /// One without `exp` is good as long as its key is.
    Optional,
}

/// What the `typ` of a token may be (RFC 7515, 4.1.9 and RFC 9068, 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// None, `JWT` or `at+jwt`.
    Usual,
    /// One of these, in lower case and without `application/`.
    Only(Box<[Box<str>]>),
}

impl Types {
    pub(super) fn allow(&self, typ: Option<&str>) -> bool {
        let Some(typ) = typ else {
            return *self == Types::Usual;
        };
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        match self {
            Types::Usual => ["jwt", "at+jwt"].contains(&typ),
            Types::Only(types) => types.iter().any(|own| **own == *typ),
        }
    }
}

impl Issuer {
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_without_case_and_prefix() {
        let usual = Types::Usual;
        for (typ, allowed) in [
            (None, true),
            (Some("JWT"), true),
            (Some("jwt"), true),
            (Some("at+JWT"), true),
            (Some("application/at+jwt"), true),
            (Some("logout+jwt"), false),
            (Some(""), false),
            (Some("JWT "), false),
        ] {
            assert_eq!(usual.allow(typ), allowed, "{typ:?}");
        }
        let only = Types::Only(["at+jwt".into()].into());
        assert!(only.allow(Some("AT+JWT")));
        assert!(!only.allow(Some("JWT")));
        assert!(!only.allow(None));
    }
}
