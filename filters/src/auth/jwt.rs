//! JSON Web Tokens (RFC 7519), signed in the compact form.
//!
//! Nothing of a token decides how it is verified: the issuer's settings say which algorithms
//! there are, a key verifies those of its own family and curve and no others, and a token's
//! `kid` is a text to compare keys' names with. Claims are checked before the signature, as
//! that costs less and tells nobody more than they know; nothing is proved before both are.
//!
//! What was verified is remembered on each core by the whole token, until the token expires or
//! its key is gone.

mod algorithm;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod attack_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod claim_attack_tests;
pub(super) mod claims;
pub mod fuzz;
mod issuer;
pub(super) mod json;
pub mod jwks;
mod key;
mod memory;
pub(super) mod place;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod rfc_tests;
mod source;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "jwt/testing_tests.rs"]
mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod token;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::errand::Errand;

use super::api_key::Credential;
use super::{Directory, Finding, Refusal};
use crate::Filter;
pub use algorithm::{Algorithm, Algorithms};
pub use issuer::{Expiry, Issuer, Types};
use json::Json;
pub use key::{Key, KeyError};
pub(crate) use memory::Memory;
use memory::{Known, Life};
use place::Found;
pub use place::Place;
pub use source::KeySource;
use source::Refetch;
use token::Unverified;

/// What is asked of tokens. The configuration has checked it.
#[derive(Debug)]
pub struct Settings {
    /// Whose tokens are taken; no two have the same `iss`.
    pub issuers: Box<[Arc<Issuer>]>,
    /// In place of the issuers' own audiences, where it is not empty.
    pub audiences: Box<[Box<str>]>,
    /// Where tokens are.
    pub places: Box<[Place]>,
    /// Bytes of a token; longer ones are not looked at.
    pub token_max: usize,
    /// Tokens that each core remembers; none is remembered at 0.
    pub cache_max: usize,
    /// Whether the origin gets the token.
    pub credential: Credential,
    /// Whose tokens they are.
    pub directory: Arc<Directory>,
}

/// The scheme.
#[derive(Debug)]
pub struct Jwt {
    settings: Settings,
    /// Cores remember tokens for as long as this lives.
    life: Arc<Life>,
}

/// The name that logs, metrics and principals know tokens by.
pub(super) const NAME: &str = "jwt";

/// Why a token proves nothing.
enum Trouble {
    Refused(Refusal),
    /// Everything else of it is in order, and none of its issuer's keys is the one.
    NoKey(Arc<Issuer>),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble::Refused(refusal)
    }
}

/// Whether keys may be fetched for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Last,
}

impl Jwt {
    /// By these settings.
    pub fn new(settings: Settings) -> Jwt {
        Jwt {
            settings,
            life: Arc::default(),
        }
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        self.find(phase, Attempt::First)
    }

    /// The keys have been fetched, or it has taken too long.
    pub(super) fn resume(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        self.find(phase, Attempt::Last)
    }

    fn find(&self, phase: &mut RequestPhase<'_, Filter>, attempt: Attempt) -> Finding {
        let token = match Place::find(&self.settings.places, phase.head) {
            Found::Nothing => return Finding::Absent,
            Found::One(token) => token,
            Found::Several => {
                return Finding::Refused(Refusal {
                    status: 400,
                    error: "invalid_request",
                    ..Refusal::invalid("it carries more than one token")
                });
            }
        };
        if token.len() > self.settings.token_max {
            return Finding::Refused(Refusal::invalid("its token is too long"));
        }
        let now = phase.unix_ms;
        let memory = &mut phase.core.auth.jwt;
        if let Some(known) = memory.recall(&self.life, token, now)
            && self.is_current(known)
        {
            return Finding::Proved(Rc::clone(&known.principal));
        }
        match self.verify(token, now) {
            Ok((known, until)) => {
                let principal = Rc::clone(&known.principal);
                let max = self.settings.cache_max;
                memory.keep(&self.life, max, token, known, until, now);
                Finding::Proved(principal)
            }
            Err(Trouble::Refused(refusal)) => Finding::Refused(refusal),
            Err(Trouble::NoKey(issuer)) => no_key(issuer, attempt, now),
        }
    }

    /// Whether the key that a token was verified with is still one of its issuer's.
    #[inline]
    fn is_current(&self, known: &Known) -> bool {
        let Some(issuer) = self.settings.issuers.get(known.issuer) else {
            return false;
        };
        let generation = issuer.keys.generation();
        if generation == known.generation.get() {
            return true;
        }
        let held = issuer.keys.held();
        let stays = held.as_ref().is_some_and(|set| set.has(&known.key));
        if stays {
            known.generation.set(generation);
        }
        stays
    }

    fn verify(&self, text: &[u8], unix_ms: u64) -> Result<(Known, claims::Until), Trouble> {
        let token = Unverified::parse(text).map_err(Refusal::invalid)?;
        let said = token.payload.member("iss").and_then(Json::text);
        let said = said.ok_or(Refusal::invalid("it names no issuer"))?;
        let mut issuers = self.settings.issuers.iter().enumerate();
        let found = issuers.find(|(_, issuer)| *issuer.issuer == *said);
        let (index, issuer) = found.ok_or(Refusal::invalid("its issuer is not known here"))?;
        if !issuer.allows(token.algorithm) {
            return Err(Refusal::invalid("its issuer signs with other algorithms").into());
        }
        if !issuer.types.allow(token.typ.as_deref()) {
            return Err(Refusal::invalid("its `typ` is another").into());
        }
        let audiences = match self.settings.audiences.is_empty() {
            true => &issuer.audiences,
            false => &self.settings.audiences,
        };
        let until = claims::check(&token.payload, issuer, audiences, unix_ms)?;
        // Before the set is looked at: a newer one is then seen to be newer.
        let generation = issuer.keys.generation();
        let held = issuer.keys.held();
        let Some(set) = held.as_ref() else {
            let why = "all of it but its signature is in order, and its issuer's keys are not here";
            return Err(Refusal::unavailable(why).into());
        };
        let mut candidates = set
            .candidates(token.kid.as_deref(), token.algorithm)
            .peekable();
        if candidates.peek().is_none() {
            return Err(Trouble::NoKey(Arc::clone(issuer)));
        }
        let signature = token.signature.bytes();
        let key = candidates.find(|key| key.verifies(token.algorithm, token.signed, signature));
        let key = key.ok_or(Refusal::invalid("its signature is not its issuer's"))?;
        let mut principal = claims::principal(&token.payload, issuer);
        if let Some(subject) = &principal.subject
            && let Some(consumer) = self.settings.directory.by_subject(said, subject)
        {
            consumer.add_to(&mut principal);
        }
        let known = Known {
            principal: Rc::new(principal),
            issuer: index,
            key: *key.fingerprint(),
            generation: Cell::new(generation),
        };
        Ok((known, until))
    }

    /// RFC 6750, 3: the reason only where a token came.
    pub(super) fn challenge(realm: &str, refusal: Option<&Refusal>) -> String {
        let mut text = format!("Bearer realm=\"{realm}\"");
        if let Some(refusal) = refusal.filter(|refusal| !refusal.error.is_empty()) {
            let description = match refusal.code {
                super::EXPIRED_CREDENTIALS => "the token is not valid at this time",
                _ => "the token is not valid",
            };
            text.push_str(", error=\"");
            text.push_str(refusal.error);
            text.push_str("\", error_description=\"");
            text.push_str(description);
            text.push('"');
        }
        text
    }

    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        if self.settings.credential == Credential::Hidden {
            for place in &self.settings.places {
                place.hide(phase.head);
            }
        }
    }

    pub(super) fn describe(&self) -> String {
        let issuers = self.settings.issuers.iter();
        let issuers: Vec<&str> = issuers.map(|issuer| &*issuer.name).collect();
        format!("a token of {}", issuers.join(" or "))
    }
}

/// The issuer may have a new key: a token by it is worth a look, but not many.
#[cold]
fn no_key(issuer: Arc<Issuer>, attempt: Attempt, unix_ms: u64) -> Finding {
    let state = match attempt {
        Attempt::First => issuer.keys.refetch(unix_ms),
        Attempt::Last => issuer.keys.fetched_state(),
    };
    match (state, attempt) {
        (Refetch::UnderWay, Attempt::First) => {
            let timeout = issuer.wait_max;
            let hand_over = Box::new(move |done| issuer.keys.wait(done));
            Finding::Needs(Verdict::Ask(Box::new(Errand { hand_over, timeout })))
        }
        (Refetch::Settled, _) => Finding::Refused(Refusal::invalid(
            "none of its issuer's keys is the one that it names",
        )),
        (Refetch::UnderWay | Refetch::Unreachable, _) => Finding::Refused(Refusal::unavailable(
            "its issuer cannot be asked for the key that it names",
        )),
    }
}
