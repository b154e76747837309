//! Authentication: who makes a request, asked of one or several schemes.
//!
//! A scheme looks for its credential in the request head and says what it found (`Finding`).
//! What it cannot decide alone it has the engine fetch (a call) or done (an errand), and is
//! asked again. [`Authenticate`] goes through alternatives of schemes in order: the first
//! alternative whose schemes all prove something makes the principal. A credential that came
//! and is not good is never taken for none: such a request is refused even where none is
//! needed, unless another alternative proves who it is.

#![allow(dead_code, reason = "schemes are added one by one")]

pub mod api_key;
pub mod basic;
pub(crate) mod cache;
pub mod consumers;
mod flight;
pub mod forward;
pub mod introspection;
pub mod jwt;
pub mod mtls;
mod scheme;
mod service;
pub mod slot;
pub mod store;
mod tell;
pub mod verify;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringgate_core::answer;
use ringgate_core::chain::{Answer, CallOutcome, RequestPhase, Verdict};
use ringgate_core::principal::Principal;

use crate::Filter;
pub use api_key::ApiKey;
pub use basic::Basic;
pub use consumers::Directory;
pub use forward::ForwardAuth;
pub use introspection::Introspection;
pub use jwt::Jwt;
pub use mtls::Mtls;
pub use scheme::Scheme;
pub use service::{Consumers, Service};
pub use tell::Tell;

/// No credential came, and one is needed.
pub const NO_CREDENTIALS: &str = "no_credentials";
/// A credential came that is not good.
pub const INVALID_CREDENTIALS: &str = "invalid_credentials";
/// A credential came whose time is over, or has not come.
pub const EXPIRED_CREDENTIALS: &str = "expired_credentials";
/// Whoever has to be asked about a credential cannot be.
pub const AUTH_UNAVAILABLE: &str = "auth_unavailable";

/// What a scheme says of a request.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It carries no credential of this scheme.
    Absent,
    /// It carries a good one.
    Proved(Rc<Principal>),
    /// It carries one that is not good.
    Refused(Refusal),
    /// The engine has to do something first: a call, or an errand.
    Needs(Verdict),
}

/// Why a credential is not accepted.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The log code.
    pub(crate) code: &'static str,
    /// 401, 403 or 503.
    pub(crate) status: u16,
    /// What a challenge says of it (RFC 6750, 3.1), such as `invalid_token`; empty for nothing.
    pub(crate) error: &'static str,
    /// For `explain` and nobody else: what is wrong, without any part of the credential.
    pub(crate) why: &'static str,
    /// Somebody else's answer in the place of the gateway's.
    pub(crate) answer: Option<Box<Answer>>,
}

impl Refusal {
    /// 401 for a credential that is not good.
    pub(crate) fn invalid(why: &'static str) -> Refusal {
        Refusal {
            code: INVALID_CREDENTIALS,
            status: 401,
            error: "invalid_token",
            why,
            answer: None,
        }
    }

    /// 401 for one whose time is not now.
    pub(crate) fn expired(why: &'static str) -> Refusal {
        Refusal {
            code: EXPIRED_CREDENTIALS,
            ..Refusal::invalid(why)
        }
    }

    /// 503 while whoever would know cannot be asked.
    pub(crate) fn unavailable(why: &'static str) -> Refusal {
        Refusal {
            code: AUTH_UNAVAILABLE,
            status: 503,
            error: "",
            why,
            answer: None,
        }
    }
}

/// What schemes of one core remember between requests.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) api_key: api_key::Memory,
    pub(crate) jwt: jwt::Memory,
    pub(crate) basic: basic::Memory,
    pub(crate) mtls: mtls::Memory,
    pub(crate) store: store::Memory,
    forward: service::Kept<forward::Settings, forward::Memory>,
    introspection: service::Kept<introspection::Settings, introspection::Memory>,
}

/// What becomes of a request without any credential.
#[derive(Clone, Debug)]
pub enum Otherwise {
    /// 401.
    Refuse,
    /// It passes, and nothing is known of who makes it.
    Pass,
    /// It passes as this consumer.
    Anonymous(Arc<Principal>),
}

/// Settings of [`Authenticate`].
#[derive(Debug)]
pub struct Settings {
    /// Tried in order. Of one alternative, all schemes have to prove something.
    pub alternatives: Box<[Box<[Arc<Scheme>]>]>,
    /// What becomes of a request without credentials.
    pub otherwise: Otherwise,
    /// What challenges call the protected space; a checked value without quotes.
    pub realm: Box<str>,
    /// What origins are told.
    pub tell: Tell,
}

/// Asks who makes a request.
#[derive(Debug)]
pub struct Authenticate {
    settings: Settings,
    /// Its challenges to those who come without credentials, where such requests pass.
    offered: Arc<[String]>,
}

/// Where the alternatives of one request stand.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    alternative: usize,
    scheme: usize,
    /// What the schemes of this alternative have proved so far.
    proved: Option<Rc<Principal>>,
    /// The first credential that was not good, with the scheme it was for.
    refused: Option<(usize, usize, Refusal)>,
    /// For `explain`: why the request was refused.
    why: Option<&'static str>,
    /// How a request that passed without proving anything could have: what filters behind this
    /// one tell whom they refuse.
    offered: Option<Arc<[String]>>,
    pub(crate) basic: Option<basic::Waiting>,
    pub(crate) store: Option<store::Waiting>,
    /// For `explain`: whether a scheme waits for others.
    waits: bool,
    forward: forward::Progress,
    introspection: introspection::Progress,
    /// A key that is being compared with its hash.
    api_key: Option<api_key::Waiting>,
}

impl Authenticate {
    /// Asks by these settings.
    pub fn new(settings: Settings) -> Authenticate {
        let mut authenticate = Authenticate {
            settings,
            offered: Arc::default(),
        };
        if !matches!(authenticate.settings.otherwise, Otherwise::Refuse) {
            authenticate.offered = authenticate.challenges(None).into();
        }
        authenticate
    }

    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let offered = phase.scratch.auth.offered.take();
        phase.scratch.auth = Progress {
            offered,
            ..Progress::default()
        };
        self.go_on(phase, None)
    }

    pub(crate) fn resume(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        outcomes: &[CallOutcome],
    ) -> Verdict {
        self.go_on(phase, Some(outcomes))
    }

    fn go_on(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        mut outcomes: Option<&[CallOutcome]>,
    ) -> Verdict {
        phase.scratch.auth.waits = false;
        loop {
            let (at, place) = (phase.scratch.auth.alternative, phase.scratch.auth.scheme);
            let Some(alternative) = self.settings.alternatives.get(at) else {
                return self.without(phase);
            };
            let Some(scheme) = alternative.get(place) else {
                return self.admit(phase);
            };
            let finding = match outcomes.take() {
                Some(outcomes) => scheme.resume(phase, outcomes),
                None => scheme.check(phase),
            };
            let refusal = match finding {
                Finding::Needs(verdict) => {
                    phase.scratch.auth.waits = true;
                    return verdict;
                }
                Finding::Proved(principal) => match self.add(phase, principal) {
                    Ok(()) => {
                        phase.scratch.auth.scheme += 1;
                        continue;
                    }
                    Err(refusal) => Some(refusal),
                },
                Finding::Refused(refusal) => Some(refusal),
                Finding::Absent => None,
            };
            let progress = &mut phase.scratch.auth;
            if let Some(refusal) = refusal {
                progress.refused.get_or_insert((at, place, refusal));
            }
            (progress.alternative, progress.scheme) = (at + 1, 0);
            progress.proved = None;
            progress.forward.forget();
        }
    }

    /// What this scheme has proved is added to what others of its alternative have.
    fn add(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        principal: Rc<Principal>,
    ) -> Result<(), Refusal> {
        let progress = &mut phase.scratch.auth;
        progress.proved = Some(match progress.proved.take() {
            None => principal,
            Some(earlier) => Rc::new(both(&earlier, &principal)?),
        });
        Ok(())
    }

    fn admit(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let proved = phase.scratch.auth.proved.take();
        let Some(mut proved) = proved else {
            // An alternative without schemes proves nothing.
            return self.without(phase);
        };
        // A filter before this one may have proved something as well.
        if let Some(earlier) = &phase.attributes.principal {
            proved = match both(earlier, &proved) {
                Ok(both) => Rc::new(both),
                Err(refusal) => return self.refuse(phase, &refusal),
            };
        }
        // Credentials of the other alternatives are no business of the origin's either.
        for scheme in self.settings.alternatives.iter().flatten() {
            scheme.hide(phase);
        }
        self.settings.tell.put(&proved, phase);
        phase.attributes.principal = Some(proved);
        Verdict::Continue
    }

    /// No alternative has proved anything.
    fn without(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        if let Some((_, _, refusal)) = phase.scratch.auth.refused.clone() {
            return self.refuse(phase, &refusal);
        }
        if !self.offered.is_empty() {
            phase.scratch.auth.offered = Some(Arc::clone(&self.offered));
        }
        match &self.settings.otherwise {
            Otherwise::Refuse => {
                let none = Refusal {
                    code: NO_CREDENTIALS,
                    error: "",
                    ..Refusal::invalid("it carries no credential")
                };
                self.refuse(phase, &none)
            }
            Otherwise::Pass => Verdict::Continue,
            Otherwise::Anonymous(principal) => {
                if phase.attributes.principal.is_none() {
                    let principal = Rc::new((**principal).clone());
                    self.settings.tell.put(&principal, phase);
                    phase.attributes.principal = Some(principal);
                }
                Verdict::Continue
            }
        }
    }

    #[cold]
    fn refuse(&self, phase: &mut RequestPhase<'_, Filter>, refusal: &Refusal) -> Verdict {
        phase.scratch.auth.why = Some(refusal.why);
        if let Some(answer) = &refusal.answer {
            return Verdict::Respond(answer.clone());
        }
        let id = phase.attributes.request_id.as_bytes();
        let mut answer = answer::refusal(refusal.status, refusal.code, phase.head, id);
        if refusal.status == 401 {
            let challenges = self.challenges(phase.scratch.auth.refused.as_ref());
            for challenge in challenges {
                let challenge = challenge.into_bytes().into();
                answer.fields.push(("www-authenticate".into(), challenge));
            }
        }
        Verdict::Respond(Box::new(answer))
    }

    /// One challenge per scheme, the refused one with its reason.
    fn challenges(&self, refused: Option<&(usize, usize, Refusal)>) -> Vec<String> {
        let mut challenges: Vec<String> = Vec::new();
        for (at, alternative) in self.settings.alternatives.iter().enumerate() {
            for (place, scheme) in alternative.iter().enumerate() {
                let about = refused.filter(|(a, p, _)| (*a, *p) == (at, place));
                let about = about.map(|(_, _, refusal)| refusal);
                if let Some(challenge) = scheme.challenge(&self.settings.realm, about)
                    && !challenges.contains(&challenge)
                {
                    challenges.push(challenge);
                }
            }
        }
        challenges
    }

    pub(crate) fn describe(&self) -> String {
        let alternatives = self.settings.alternatives.iter();
        let alternatives = alternatives.map(|all| {
            let all: Vec<String> = all.iter().map(|scheme| scheme.describe()).collect();
            all.join(" and ")
        });
        let alternatives: Vec<String> = alternatives.collect();
        let otherwise = match &self.settings.otherwise {
            Otherwise::Refuse => "",
            Otherwise::Pass => ", or none",
            Otherwise::Anonymous(_) => ", or none as the anonymous consumer",
        };
        format!("authenticate by {}{otherwise}", alternatives.join(" or "))
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        if let Some(why) = phase.scratch.auth.why {
            return Some(why.to_owned());
        }
        let progress = &phase.scratch.auth;
        if progress.waits {
            let alternative = self.settings.alternatives.get(progress.alternative);
            let scheme = alternative.and_then(|all| all.get(progress.scheme));
            return scheme.and_then(|scheme| scheme.asks(phase));
        }
        let Some(proved) = &phase.attributes.principal else {
            return Some("nobody is known to make it".to_owned());
        };
        let name = proved.consumer.as_deref().or(proved.subject.as_deref());
        let schemes = match proved.schemes.is_empty() {
            true => "as nobody else is known".to_owned(),
            false => format!("by {}", proved.schemes.join(" and ")),
        };
        Some(format!("{}, {schemes}", name.unwrap_or("without a name")))
    }
}

/// How a request that came without credentials could have proved something.
pub(crate) fn offered_challenges(scratch: &crate::Scratch) -> Vec<String> {
    let offered = scratch.auth.offered.as_deref();
    offered.unwrap_or_default().to_vec()
}

/// Filters have numbers, so that what a core remembers for one is not taken for another's.
fn next_serial() -> u64 {
    static SERIALS: AtomicU64 = AtomicU64::new(1);
    SERIALS.fetch_add(1, Ordering::Relaxed)
}

fn both(earlier: &Principal, later: &Principal) -> Result<Principal, Refusal> {
    let both = earlier.with(later);
    both.map_err(|_| Refusal::invalid("its credentials belong to different consumers"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
