//! Token introspection (RFC 7662): the server that issued a token is asked whether it is good,
//! and for whom. What it says is remembered on each core, bounded in number and in time.

mod answer;
mod form;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringgate_core::chain::{CallOutcome, RequestPhase, Verdict};
use ringgate_core::error::Fault;
use ringgate_core::http::Method;
use ringgate_core::principal::Principal;

use super::cache::Cache;
use super::flight::{Flights, Follower, Landed, Lead, Turn};
use super::forward::Shown;
use super::jwt::Place;
use super::jwt::place::Found;
use super::service::{Consumers, Service, count};
use super::{Finding, Refusal};
use crate::Filter;

/// A server that is asked about tokens.
#[derive(Debug)]
pub struct Introspection {
    settings: Arc<Settings>,
}

/// Settings of [`Introspection`].
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// Who is asked.
    pub service: Service,
    /// Who the gateway is to it.
    pub client: Client,
    /// Where tokens are.
    pub places: Box<[Place]>,
    /// Bytes of a token; nobody is asked about longer ones.
    pub token_max: usize,
    /// What is asked of a token that is active.
    pub wanted: Wanted,
    /// For how long it is remembered that a token is active, at most.
    pub active_ttl: Duration,
    /// For how long it is remembered that one is not.
    pub refused_ttl: Duration,
    /// Tokens that each core remembers, of either kind.
    pub entries_max: usize,
    /// Whose tokens they are.
    pub directory: Consumers,
    /// Whether origins get the token.
    pub shown: Shown,
}

/// What is asked of a token that is active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its `iss`; without one any will do, and none.
    pub issuer: Option<Box<str>>,
    /// It has to be for one of these, where there are any.
    pub audiences: Box<[Box<str>]>,
    /// It has to have all of these.
    pub scopes: Box<[Box<str>]>,
    /// Milliseconds by which clocks may differ.
    pub leeway_ms: u64,
}

/// How the gateway proves to the server who it is (RFC 6749, 2.3.1).
#[derive(Clone, PartialEq, Eq)]
pub enum Client {
    /// By this value of `Authorization`.
    Basic(Box<[u8]>),
    /// By these members of the form, encoded.
    Post(Box<str>),
}

impl Client {
    /// In `Authorization`.
    pub fn basic(id: &str, secret: &str) -> Client {
        Client::Basic(form::basic(id, secret).into())
    }

    /// In the form.
    pub fn post(id: &str, secret: &str) -> Client {
        let mut form = String::new();
        form::add(&mut form, "client_id", id.as_bytes());
        form::add(&mut form, "client_secret", secret.as_bytes());
        Client::Post(form.into())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What one core remembers of one such filter. Tokens that are not active have a place of their
/// own, or whoever makes some up could push out the others.
#[derive(Debug)]
pub(crate) struct Memory {
    active: Cache<Rc<Principal>>,
    refused: Cache<Refusal>,
    flights: Flights<Judgement>,
}

/// What the server said.
#[derive(Clone, Debug)]
enum Judgement {
    Active(Rc<Principal>),
    Refused(Refusal),
    /// Nothing of use, and why.
    Failed(&'static str),
}

/// Where a request stands with such filters.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    asking: Option<Asking>,
}

#[derive(Debug)]
enum Asking {
    Own(Lead<Judgement>, Attempt),
    Others(Follower<Judgement>),
}

/// The question changes nothing, so one that found a dead connection is asked again. The engine
/// does that only for methods that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Last,
}

impl Introspection {
    /// Asks by these settings.
    pub fn new(settings: Settings) -> Introspection {
        Introspection {
            settings: Arc::new(settings),
        }
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let mut token = std::mem::take(&mut phase.core.text);
        token.clear();
        let finding = match self.token(phase, &mut token) {
            Ok(true) => self.look_up(phase, &token),
            Ok(false) => Finding::Absent,
            Err(refusal) => Finding::Refused(refusal),
        };
        // It is a secret, and the buffer is for everybody.
        token.clear();
        phase.core.text = token;
        finding
    }

    /// Puts the token of the request into `token`; whether there is one.
    fn token(
        &self,
        phase: &RequestPhase<'_, Filter>,
        token: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        match Place::find(&self.settings.places, phase.head) {
            Found::Nothing => Ok(false),
            Found::Several => Err(Refusal {
                status: 400,
                error: "invalid_request",
                ..Refusal::invalid("it carries more than one token")
            }),
            Found::One(found) if found.len() > self.settings.token_max => {
                Err(Refusal::invalid("its token is too long"))
            }
            Found::One(found) if !is_token(found) => {
                Err(Refusal::invalid("its token has bytes that no token has"))
            }
            Found::One(found) => {
                token.extend_from_slice(found);
                Ok(true)
            }
        }
    }

    fn look_up(&self, phase: &mut RequestPhase<'_, Filter>, token: &[u8]) -> Finding {
        let unix_ms = phase.unix_ms;
        let memory = self.memory(phase);
        if let Some(principal) = memory.active.get(token, unix_ms) {
            return Finding::Proved(Rc::clone(principal));
        }
        if let Some(refusal) = memory.refused.get(token, unix_ms) {
            return Finding::Refused(refusal.clone());
        }
        match memory.flights.board(token, self.settings.service.timeout) {
            Turn::Ask(lead) => self.ask(phase, lead, Attempt::First),
            Turn::Wait(follower, errand) => {
                phase.scratch.auth.introspection.asking = Some(Asking::Others(follower));
                Finding::Needs(Verdict::Ask(errand))
            }
            Turn::Full => self.find(Judgement::Failed("too many requests ask already")),
        }
    }

    fn ask(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        lead: Lead<Judgement>,
        attempt: Attempt,
    ) -> Finding {
        let Some(token) = lead.key() else {
            return self.find(Judgement::Failed("nobody was asked"));
        };
        let mut form = String::with_capacity(token.len() + 64);
        form::add(&mut form, "token", token);
        form::add(&mut form, "token_type_hint", b"access_token");
        let mut fields: Vec<(Box<str>, Box<[u8]>)> = vec![
            ("content-type".into(), FORM.as_bytes().into()),
            ("accept".into(), b"application/json".as_slice().into()),
        ];
        match &self.settings.client {
            Client::Basic(value) => fields.push(("authorization".into(), value.clone())),
            Client::Post(members) => {
                form.push('&');
                form.push_str(members);
            }
        }
        phase.scratch.auth.introspection.asking = Some(Asking::Own(lead, attempt));
        let body = Bytes::from(form);
        Finding::Needs(self.settings.service.ask(Method::Post, fields, body))
    }

    pub(super) fn resume(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        outcomes: &[CallOutcome],
    ) -> Finding {
        match phase.scratch.auth.introspection.asking.take() {
            Some(Asking::Own(lead, Attempt::First))
                if matches!(outcomes, [Err(Fault::OriginClosed)]) =>
            {
                self.ask(phase, lead, Attempt::Last)
            }
            Some(Asking::Own(lead, _)) => {
                let judgement = self.judge(phase, &lead, outcomes.first());
                let flights = &mut self.memory(phase).flights;
                flights.land(lead, Some(judgement.clone()));
                self.find(judgement)
            }
            Some(Asking::Others(follower)) => match follower.landed() {
                Landed::Answer(judgement) => self.find(judgement),
                // Whoever asked has gone. The first to notice asks in its place.
                Landed::Nothing => self.check(phase),
                Landed::TooLate => self.find(Judgement::Failed("it took too long")),
            },
            None => self.find(Judgement::Failed("nobody was asked")),
        }
    }

    /// What the answer says; remembers it.
    fn judge(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        lead: &Lead<Judgement>,
        outcome: Option<&CallOutcome>,
    ) -> Judgement {
        let unix_ms = phase.unix_ms;
        let read = match outcome {
            Some(Ok(response)) if response.head.status == 200 => {
                answer::read(&response.body, &self.settings, unix_ms)
            }
            Some(Ok(_)) => Err("its status says that it cannot tell"),
            _ => Err("it did not answer"),
        };
        let memory = self.memory(phase);
        let token = lead.key().unwrap_or_default();
        match read {
            Ok(answer::Answer::Active(principal, ends_ms)) => {
                let until = unix_ms.saturating_add(self.settings.active_ttl.as_millis() as u64);
                let until = until.min(ends_ms);
                memory
                    .active
                    .put(token, Rc::clone(&principal), until, unix_ms);
                Judgement::Active(principal)
            }
            Ok(answer::Answer::Refused(refusal)) => {
                let until = unix_ms.saturating_add(self.settings.refused_ttl.as_millis() as u64);
                memory.refused.put(token, refusal.clone(), until, unix_ms);
                Judgement::Refused(refusal)
            }
            Err(why) => {
                count(&self.settings.service.stats.failed);
                Judgement::Failed(why)
            }
        }
    }

    fn find(&self, judgement: Judgement) -> Finding {
        match judgement {
            Judgement::Active(principal) => Finding::Proved(principal),
            Judgement::Refused(refusal) => Finding::Refused(refusal),
            Judgement::Failed(why) => {
                count(&self.settings.service.stats.refused);
                Finding::Refused(Refusal::unavailable(why))
            }
        }
    }

    fn memory<'m>(&self, phase: &'m mut RequestPhase<'_, Filter>) -> &'m mut Memory {
        let kept = &mut phase.core.auth.introspection;
        kept.of(&self.settings, |settings| Memory {
            active: Cache::new(settings.entries_max),
            refused: Cache::new(settings.entries_max),
            flights: Flights::default(),
        })
    }

    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        if self.settings.shown == Shown::Hidden {
            for place in &self.settings.places {
                place.hide(phase.head);
            }
        }
    }

    pub(super) fn describe(&self) -> String {
        let service = &self.settings.service;
        format!(
            "a token that {} is asked about by POST {}",
            service.name, service.target
        )
    }

    /// What is asked, for `explain`.
    pub(super) fn asks(&self) -> String {
        let service = &self.settings.service;
        format!(
            "asks upstream {}: POST {}, with the token and the gateway's own credentials",
            service.name, service.target
        )
    }
}

/// RFC 6750, 2.1: what a bearer token is made of.
fn is_token(text: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    !text.is_empty() && text.iter().all(known)
}

pub(super) const NAME: &str = "introspection";
const FORM: &str = "application/x-www-form-urlencoded";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
