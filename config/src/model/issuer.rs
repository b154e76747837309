//! Who issues tokens, and the filter that asks for them.

use std::path::PathBuf;
use std::time::Duration;

use super::{HeaderName, Name, Secret};
use crate::Spanned;
use crate::keys::words;

/// `[[issuer]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Unique.
    pub name: Spanned<Name>,
    /// The `iss` of its tokens.
    pub issuer: Spanned<Box<str>>,
    /// What its tokens may be signed with; at least one, none twice.
    pub algorithms: Vec<Spanned<TokenAlgorithm>>,
    /// Its tokens are for one of these; empty is for anybody.
    pub audiences: Vec<Box<str>>,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Whether its tokens have to say when they expire.
    pub expiry: TokenExpiry,
    /// How long after they were issued its tokens are good.
    pub age_max: Option<Duration>,
    /// What `typ` may be, in lower case and without `application/`; empty for the usual.
    pub types: Vec<Box<str>>,
    /// Claims that its tokens must have.
    pub claims_required: Vec<Box<str>>,
    /// The claim that has the groups.
    pub groups_claim: Option<Box<str>>,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKeys {
    /// `keys`; at least one.
    Written(Vec<Spanned<IssuerKey>>),
    /// `jwks_file`
    File(Spanned<PathBuf>),
    /// `jwks_url`, or `discovery`.
    Fetched(Box<KeyFetch>),
}

/// An entry of `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerKey {
    /// The name that tokens call it by.
    pub kid: Option<Box<str>>,
    /// What it is used for.
    pub algorithm: TokenAlgorithm,
    /// The key.
    pub material: KeyMaterial,
}

/// A key, in one of the forms that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A public key or a certificate in PEM.
    Pem(Spanned<Box<str>>),
    /// A file with one.
    File(Spanned<PathBuf>),
    /// A secret that the issuer has too.
    Secret(Spanned<Secret>),
}

/// How keys are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFetch {
    /// The address of the key set; without it the issuer's own description has it (OpenID
    /// Connect Discovery 1.0, 4).
    pub url: Option<Spanned<Box<str>>>,
    /// The authorities of the server's certificate; the system's without it.
    pub ca: Option<Spanned<PathBuf>>,
    /// Whether keys may come over connections that are not encrypted.
    pub insecure_http: bool,
    /// How often, where the answer does not say.
    pub refresh: Duration,
    /// Between two fetches that tokens with unknown keys ask for.
    pub refetch_min: Duration,
    /// For one answer.
    pub timeout: Duration,
}

/// Whether tokens have to say when they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenExpiry {
    /// They have to.
    Required,
    /// They may be good for ever.
    Optional,
}

words! {
    TokenExpiry {
        Required = "required",
        Optional = "optional",
    }
}

/// How tokens are signed (RFC 7518, 3.1; RFC 8037; RFC 9864).
#[allow(missing_docs, reason = "each is what the RFC calls so")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
    Ed25519,
    Hs256,
    Hs384,
    Hs512,
}

words! {
    TokenAlgorithm {
        Rs256 = "RS256",
        Rs384 = "RS384",
        Rs512 = "RS512",
        Ps256 = "PS256",
        Ps384 = "PS384",
        Ps512 = "PS512",
        Es256 = "ES256",
        Es384 = "ES384",
        Es512 = "ES512",
        EdDsa = "EdDSA",
        Ed25519 = "Ed25519",
        Hs256 = "HS256",
        Hs384 = "HS384",
        Hs512 = "HS512",
    }
}

impl TokenAlgorithm {
    /// Whether both sides have the same secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// `type = "jwt"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFilter {
    /// Whose tokens are taken; at least one, and they exist.
    pub issuers: Vec<Spanned<Name>>,
    /// In place of the issuers' own, where there is any.
    pub audiences: Vec<Box<str>>,
    /// A header that carries the token; `authorization` has it behind `Bearer`.
    pub header: Option<HeaderName>,
    /// A cookie that does.
    pub cookie: Option<Box<str>>,
    /// A query parameter that does. At least one of the three is there.
    pub query: Option<Box<str>>,
    /// Bytes of a token.
    pub token_max: u64,
    /// Tokens that each core remembers.
    pub cache_max: u64,
}
