//! Forward authentication: a service of the operator's own is asked about each request, and
//! says whether it passes, who makes it and what its origin is told.
//!
//! Whatever the service does not say clearly is a failure: no answer, one that is too long, a
//! status that is neither 2xx nor one for the client. By default nobody passes then.

mod question;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringgate_core::answer;
use ringgate_core::chain::{Answer, CallOutcome, CallResponse, RequestPhase, Verdict};
use ringgate_core::http::{FieldLine, Method};
use ringgate_core::key::{Key, KeyNames, RouteNames};
use ringgate_core::principal::Principal;

use super::cache::Cache;
use super::flight::{Flights, Follower, Landed, Lead, Turn};
use super::service::{Consumers, Service, count};
use super::{Finding, Refusal};
use crate::Filter;

/// The service said that a request may not pass.
pub const AUTH_REFUSED: &str = "auth_refused";
/// A request passed although nobody could say who makes it, as the configuration has it.
pub const AUTH_UNCHECKED: &str = "auth_unchecked";

/// A service that is asked about each request.
#[derive(Debug)]
pub struct ForwardAuth {
    settings: Arc<Settings>,
    routes: Arc<[RouteNames]>,
}

/// Settings of [`ForwardAuth`]. Names of fields are in lower case.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// Who is asked.
    pub service: Service,
    /// Fields of the request that the service gets.
    pub request_fields: Box<[Box<str>]>,
    /// Fields of its answer that the origin gets, and nobody else's of these names.
    pub response_fields: Box<[Box<str>]>,
    /// Fields of its answer that the client gets when it is refused.
    pub client_fields: Box<[Box<str>]>,
    /// What becomes of requests while it does not answer.
    pub on_failure: OnFailure,
    /// Whether its answers are kept.
    pub cache: Option<Caching>,
    /// What its answer says of who makes the request.
    pub identity: Identity,
    /// Whom its answers name.
    pub directory: Consumers,
    /// Whether origins get what the service was shown.
    pub shown: Shown,
}

/// What becomes of requests while nobody can say who makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// 503.
    Refuse,
    /// They pass.
    Allow,
}

/// Which answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    /// An answer is for all requests that have the same of this, and only requests that have all
    /// of it share any.
    pub key: Key,
    /// For how long.
    pub ttl: Duration,
    /// How many, on each core.
    pub entries_max: usize,
}

/// Fields of the answer that say who makes the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Has what its bearer is called.
    pub subject: Option<Box<str>>,
    /// Has the consumer's name.
    pub consumer: Option<Box<str>>,
    /// Has groups, with commas between them.
    pub groups: Option<Box<str>>,
}

/// Whether origins get the fields that the service was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// They do.
    Passed,
    /// They are taken out of the request.
    Hidden,
}

/// What one core remembers of one such filter.
#[derive(Debug)]
pub(crate) struct Memory {
    answers: Cache<Judgement>,
    flights: Flights<Judgement>,
}

/// What the service said.
#[derive(Clone, Debug)]
enum Judgement {
    Granted(Rc<Granted>),
    Denied(Rc<Denied>),
    /// Nothing of use, and why.
    Failed(&'static str),
}

#[derive(Debug)]
struct Granted {
    principal: Rc<Principal>,
    lines: Box<[FieldLine]>,
}

#[derive(Debug)]
struct Denied {
    status: u16,
    fields: Vec<(Box<str>, Box<[u8]>)>,
    body: Bytes,
}

/// Who an answer is for, beside the request that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Requests of the same key, now and later.
    Kept,
    /// Those that wait for it.
    Waiting,
    /// Nobody.
    Own,
}

/// Where a request stands with such filters.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    asking: Option<Asking>,
    /// What services have said that takes effect when the request is admitted: by the filter's
    /// address, as each is for one filter alone.
    granted: Vec<(usize, Option<Rc<Granted>>)>,
}

#[derive(Debug)]
enum Asking {
    Own(Lead<Judgement>),
    Others(Follower<Judgement>),
}

impl Progress {
    /// The alternative has failed: nothing of what services have said takes effect.
    pub(super) fn forget(&mut self) {
        self.granted.clear();
    }
}

impl ForwardAuth {
    /// Asks by these settings; `routes` are the names of all routes, by index.
    pub fn new(settings: Settings, routes: Arc<[RouteNames]>) -> ForwardAuth {
        ForwardAuth {
            settings: Arc::new(settings),
            routes,
        }
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let mut key = std::mem::take(&mut phase.core.text);
        key.clear();
        let finding = match self.key(phase, &mut key) {
            Some(()) => self.look_up(phase, &key),
            None => self.ask_alone(phase),
        };
        phase.core.text = key;
        finding
    }

    /// What an answer is kept by; none when it is for this request alone.
    fn key(&self, phase: &RequestPhase<'_, Filter>, key: &mut Vec<u8>) -> Option<()> {
        let caching = self.settings.cache.as_ref()?;
        let names = KeyNames::of(&self.routes, phase.attributes);
        let written = caching
            .key
            .write_whole(phase.head, phase.attributes, &names, key);
        written.filter(|()| key.len() <= KEY_BYTES_MAX)
    }

    fn look_up(&self, phase: &mut RequestPhase<'_, Filter>, key: &[u8]) -> Finding {
        let unix_ms = phase.unix_ms;
        let memory = self.memory(phase);
        if let Some(known) = memory.answers.get(key, unix_ms) {
            let known = known.clone();
            return self.find(phase, known);
        }
        let timeout = self.settings.service.timeout;
        match memory.flights.board(key, timeout) {
            Turn::Ask(lead) => self.ask(phase, lead),
            Turn::Wait(follower, errand) => {
                phase.scratch.auth.forward.asking = Some(Asking::Others(follower));
                Finding::Needs(Verdict::Ask(errand))
            }
            Turn::Full => self.find(phase, Judgement::Failed(CROWDED)),
        }
    }

    fn ask_alone(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        match self.memory(phase).flights.alone() {
            Turn::Ask(lead) => self.ask(phase, lead),
            _ => self.find(phase, Judgement::Failed(CROWDED)),
        }
    }

    fn ask(&self, phase: &mut RequestPhase<'_, Filter>, lead: Lead<Judgement>) -> Finding {
        let fields = question::fields(&self.settings.request_fields, phase);
        phase.scratch.auth.forward.asking = Some(Asking::Own(lead));
        let service = &self.settings.service;
        Finding::Needs(service.ask(Method::Get, fields, Bytes::new()))
    }

    pub(super) fn resume(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        outcomes: &[CallOutcome],
    ) -> Finding {
        match phase.scratch.auth.forward.asking.take() {
            Some(Asking::Own(lead)) => {
                let (judgement, reach) = self.judge(outcomes.first());
                let (ttl, unix_ms) = (self.ttl_ms(), phase.unix_ms);
                let memory = self.memory(phase);
                if let Some(key) = lead.key()
                    && reach == Reach::Kept
                {
                    let until = unix_ms.saturating_add(ttl);
                    memory.answers.put(key, judgement.clone(), until, unix_ms);
                }
                let shared = (reach != Reach::Own).then(|| judgement.clone());
                memory.flights.land(lead, shared);
                self.find(phase, judgement)
            }
            Some(Asking::Others(follower)) => match follower.landed() {
                Landed::Answer(judgement) => self.find(phase, judgement),
                Landed::Nothing => self.ask_alone(phase),
                Landed::TooLate => self.find(phase, Judgement::Failed("it took too long")),
            },
            None => self.find(phase, Judgement::Failed("nobody was asked")),
        }
    }

    fn ttl_ms(&self) -> u64 {
        let ttl = self.settings.cache.as_ref().map(|caching| caching.ttl);
        ttl.unwrap_or_default().as_millis() as u64
    }

    fn memory<'m>(&self, phase: &'m mut RequestPhase<'_, Filter>) -> &'m mut Memory {
        phase
            .core
            .auth
            .forward
            .of(&self.settings, |settings| Memory {
                answers: Cache::new(settings.cache.as_ref().map_or(1, |by| by.entries_max)),
                flights: Flights::default(),
            })
    }

    /// What an answer says.
    fn judge(&self, outcome: Option<&CallOutcome>) -> (Judgement, Reach) {
        let judged = match outcome {
            Some(Ok(response)) => match response.head.status {
                200..=299 => self.granted(response),
                304 => Err("its status says nothing"),
                300..=499 => Ok(self.denied(response)),
                _ => Err("its status says that it cannot tell"),
            },
            Some(Err(_)) => Err("it did not answer"),
            None => Err("nobody was asked"),
        };
        match (judged, outcome) {
            (Ok(judgement), Some(Ok(response))) => (judgement, reach(response)),
            (judged, _) => {
                count(&self.settings.service.stats.failed);
                let why = judged.err().unwrap_or_default();
                (Judgement::Failed(why), Reach::Waiting)
            }
        }
    }

    fn granted(&self, response: &CallResponse) -> Result<Judgement, &'static str> {
        let fields = &response.head.fields;
        let malformed = "its answer has a field that is no text";
        let text = |name: &Option<Box<str>>| -> Result<Option<Box<str>>, &'static str> {
            let Some(name) = name else {
                return Ok(None);
            };
            let mut values = fields.values_of(name);
            let value = values.next().unwrap_or_default();
            if values.next().is_some() {
                return Err("its answer names two callers");
            }
            let value = std::str::from_utf8(value).map_err(|_| malformed)?.trim();
            Ok((!value.is_empty()).then(|| value.into()))
        };
        let identity = &self.settings.identity;
        let mut groups: Vec<Box<str>> = Vec::new();
        if let Some(name) = &identity.groups {
            for line in fields.values_of(name) {
                let line = std::str::from_utf8(line).map_err(|_| malformed)?;
                let named = line.split(',').map(str::trim);
                groups.extend(named.filter(|group| !group.is_empty()).map(Into::into));
            }
        }
        let mut lines = Vec::new();
        for name in &self.settings.response_fields {
            for value in fields.values_of(name) {
                let value = std::str::from_utf8(value).map_err(|_| malformed)?;
                lines.push(FieldLine::new(name, value).map_err(|_| malformed)?);
            }
        }
        let consumer = text(&identity.consumer)?;
        let mut principal = Principal {
            schemes: vec![NAME],
            subject: text(&identity.subject)?,
            groups,
            ..Principal::default()
        };
        let directory = &self.settings.directory.0;
        match consumer.as_ref().and_then(|name| directory.by_name(name)) {
            Some(known) => known.add_to(&mut principal),
            None => principal.consumer = consumer,
        }
        Ok(Judgement::Granted(Rc::new(Granted {
            principal: Rc::new(principal),
            lines: lines.into(),
        })))
    }

    fn denied(&self, response: &CallResponse) -> Judgement {
        let wanted = self.settings.client_fields.iter().map(|name| &**name);
        // Without it nobody can read the body.
        let encoded = [CONTENT_ENCODING].into_iter();
        let encoded = encoded.filter(|name| wanted.clone().all(|wanted| wanted != *name));
        let mut fields: Vec<(Box<str>, Box<[u8]>)> = Vec::new();
        for name in wanted.clone().chain(encoded) {
            let values = response.head.fields.values_of(name);
            fields.extend(values.map(|value| (name.into(), value.into())));
        }
        Judgement::Denied(Rc::new(Denied {
            status: response.head.status,
            fields,
            body: Bytes::copy_from_slice(&response.body),
        }))
    }

    /// What a judgement means for this request.
    fn find(&self, phase: &mut RequestPhase<'_, Filter>, judgement: Judgement) -> Finding {
        let stats = &self.settings.service.stats;
        let own = self.address();
        match (judgement, self.settings.on_failure) {
            (Judgement::Granted(granted), _) => {
                let principal = Rc::clone(&granted.principal);
                phase
                    .scratch
                    .auth
                    .forward
                    .granted
                    .push((own, Some(granted)));
                Finding::Proved(principal)
            }
            (Judgement::Denied(denied), _) => Finding::Refused(denied.refusal(phase)),
            (Judgement::Failed(_), OnFailure::Allow) => {
                phase.scratch.auth.forward.granted.push((own, None));
                Finding::Proved(Rc::default())
            }
            (Judgement::Failed(why), OnFailure::Refuse) => {
                count(&stats.refused);
                Finding::Refused(Refusal::unavailable(why))
            }
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The request is admitted: the origin gets what the service says, and nobody else's of
    /// these names.
    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        let own = self.address();
        let fields = &mut phase.head.fields;
        let known = &mut phase.scratch.auth.forward.granted;
        // Another alternative may have proved who makes the request.
        let Some(place) = known.iter().position(|(by, _)| *by == own) else {
            return;
        };
        let (_, granted) = known.swap_remove(place);
        for name in &self.settings.response_fields {
            fields.remove(name);
        }
        if self.settings.shown == Shown::Hidden {
            for name in &self.settings.request_fields {
                fields.remove(name);
            }
        }
        match granted {
            Some(granted) => {
                for line in &granted.lines {
                    // A head that is full loses a field; it never gains one of the client's.
                    let _ = fields.add_line(line);
                }
            }
            None => {
                count(&self.settings.service.stats.let_through);
                phase.attributes.note = AUTH_UNCHECKED;
            }
        }
    }

    pub(super) fn describe(&self) -> String {
        let service = &self.settings.service;
        let mut text = format!("forward auth of {} by GET {}", service.name, service.target);
        if let Some(caching) = &self.settings.cache {
            text.push_str(&format!(", answers kept by {}", caching.key));
        }
        if self.settings.on_failure == OnFailure::Allow {
            text.push_str(", all pass while it does not answer");
        }
        text
    }

    /// What is asked, for `explain`.
    pub(super) fn asks(&self, phase: &RequestPhase<'_, Filter>) -> String {
        let service = &self.settings.service;
        let sent = self.settings.request_fields.iter();
        let sent: Vec<&str> = sent
            .map(|name| &**name)
            .filter(|name| phase.head.fields.value_of(name).is_some())
            .collect();
        let sent = match sent.is_empty() {
            true => "none of the fields it may see".to_owned(),
            false => sent.join(", "),
        };
        format!(
            "asks upstream {}: GET {}, with {sent}",
            service.name, service.target
        )
    }
}

impl Denied {
    fn refusal(&self, phase: &RequestPhase<'_, Filter>) -> Refusal {
        let id = phase.attributes.request_id.as_bytes();
        let usual = answer::refusal(self.status, AUTH_REFUSED, phase.head, id);
        // A client of gRPC can read nothing but what gRPC has for it.
        let answer = match usual.status == self.status {
            false => usual,
            true => Answer {
                status: self.status,
                fields: self.fields.to_vec(),
                body: self.body.clone(),
                code: AUTH_REFUSED,
            },
        };
        Refusal {
            code: AUTH_REFUSED,
            status: self.status,
            error: "",
            why: "the service refuses it",
            answer: Some(Box::new(answer)),
        }
    }
}

/// Answers that set a cookie, or say so, are for one request.
fn reach(response: &CallResponse) -> Reach {
    let fields = &response.head.fields;
    let mut controls = fields.values_of("cache-control");
    let forbids = controls.any(|line| {
        line.split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-store"))
    });
    match forbids || fields.value_of("set-cookie").is_some() {
        true => Reach::Own,
        false => Reach::Kept,
    }
}

pub(super) const NAME: &str = "forward_auth";
const CONTENT_ENCODING: &str = "content-encoding";
/// A longer key is not worth its memory: its answer is for its request alone.
const KEY_BYTES_MAX: usize = 16 << 10;
const CROWDED: &str = "too many requests ask already";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
