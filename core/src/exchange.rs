//! An exchange: one request and its answer, and the account that is kept of it.
//!
//! Exchanges are pooled per core: heads, tables and buffers keep their memory, so a warm
//! core serves without allocating.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::access::{DRY_RUN_MAX, Plain, Record, Said, Timing};
use crate::chain::{Attributes, Filter, Run, Summary, Watched};
use crate::error::{Fault, Origin, Phase};
use crate::halves::Deadline;
use crate::http::h1::BodyDecoder;
use crate::http::query::mask;
use crate::http::{BodyLen, Known, RequestHead, ResponseHead};
use crate::resilience::Outcome;
use crate::resilience::canary::Side;
use crate::rt::clock::Stamp;
use crate::snapshot::Snapshot;
use crate::upstream::Placed;
use crate::worker::{Installed, Worker};

/// One request and its answer.
pub(crate) struct Exchange<F: Filter> {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) attributes: Attributes,
    pub(crate) scratch: RefCell<F::Scratch>,
    pub(crate) request_body: BodyDecoder,
    pub(crate) response_body: BodyDecoder,
    /// Heads are written here before they are put in front of a body.
    pub(crate) out: Vec<u8>,
    /// A path or another text on its way into a head.
    pub(crate) text: Vec<u8>,
    masked: Masked,
    pub(crate) deadline: Deadline,
    /// The tick at which the request began.
    pub(crate) began: u32,
    pub(crate) account: Account,
}

/// What is known of an exchange's course.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) began: Stamp,
    pub(crate) head_at: Stamp,
    pub(crate) decided_at: Option<Stamp>,
    pub(crate) connected_at: Option<Stamp>,
    pub(crate) answered_at: Option<Stamp>,
    pub(crate) phase: Phase,
    pub(crate) parsed: Parsed,
    pub(crate) route: Option<usize>,
    pub(crate) upstream: Option<usize>,
    /// The side of a canary release that it fell to.
    pub(crate) side: Option<Side>,
    pub(crate) endpoint: Option<Rc<Placed>>,
    /// The filter that answered, by its place in the program.
    pub(crate) answered_by: Option<usize>,
    pub(crate) attempts: u8,
    /// How the upstream did that somebody else answers for.
    pub(crate) replaced: Option<Outcome>,
    /// The upstream that somebody else has answered for.
    pub(crate) fallback_for: Option<usize>,
    /// Filters that would have refused it, known in the end.
    pub(crate) watched: Watched,
    /// Whether the client's doing ended the attempt.
    pub(crate) spared: bool,
    /// Whether any of the request's body has been taken from the client.
    pub(crate) body_begun: bool,
    /// The status sent; 0 until then.
    pub(crate) status: u16,
    pub(crate) fault: Option<Fault>,
    /// The log code of a filter's or a route's own answer.
    pub(crate) code: &'static str,
    pub(crate) sent: u64,
    /// Body bytes from the client, where the decoder does not count them.
    pub(crate) received: u64,
}

/// What is logged in place of texts that hold credentials; empty where they hold none.
#[derive(Debug, Default)]
struct Masked {
    target: Vec<u8>,
    referer: Vec<u8>,
}

/// Whether what the client sent is a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parsed {
    #[default]
    No,
    Yes,
}

impl<F: Filter> Default for Exchange<F> {
    fn default() -> Exchange<F> {
        Exchange {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            attributes: Attributes::default(),
            scratch: RefCell::default(),
            request_body: BodyDecoder::default(),
            response_body: BodyDecoder::default(),
            out: Vec::new(),
            text: Vec::new(),
            masked: Masked::default(),
            deadline: Deadline::default(),
            began: 0,
            account: Account::default(),
        }
    }
}

/// Buffers of an exchange that grew beyond this are given back to the allocator.
const KEPT_CAPACITY_MAX: usize = 64 << 10;

impl<F: Filter> Exchange<F> {
    /// Makes it ready for the next request; keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        // The blocks of the heads go back to the core's free list.
        drop(self.request.fields.take_text());
        drop(self.response.fields.take_text());
        // It counts the bytes of its body until it starts with another.
        self.request_body.start(BodyLen::None);
        self.out.clear();
        self.out.shrink_to(KEPT_CAPACITY_MAX);
        self.text.clear();
        self.masked.target.clear();
        self.masked.referer.clear();
        self.deadline = Deadline::default();
        self.account = Account::default();
        // What cannot be read is logged before anybody asks who sent it.
        self.attributes.principal = None;
        self.attributes.note = "";
    }

    /// Notes a fault; the first one counts.
    pub(crate) fn note(&mut self, fault: Fault) {
        self.account.fault.get_or_insert(fault);
    }

    /// Books the exchange: counters, filters, access log.
    pub(crate) fn settle(&mut self, worker: &Worker<F>, installed: &Installed<F>) {
        let now = Stamp::now();
        let snapshot = &*installed.snapshot;
        if let Some(fault) = &mut self.account.fault
            && worker.has_cut()
        {
            // Whatever it looks like from here, it was the end of the grace.
            *fault = Fault::Shutdown;
        }
        let account = &self.account;
        let total = now.micros_since(account.began);
        let received = account.received.max(self.request_body.received());
        let class = usize::from(account.status / 100).min(5);
        let stats = worker.stats();
        if let Some(fault) = account.fault {
            stats.faults.fault(fault);
            if fault == Fault::SlowClient {
                stats.slow_clients.add(1);
            }
        } else if let Some(code) = self.code() {
            stats.faults.answer(code);
        }
        match account.route.and_then(|route| snapshot.routes.get(route)) {
            Some(route) => {
                let stats = route.stats.of(worker.core());
                stats.responses[class].add(1);
                stats.latency.record(total);
                stats.received.add(received);
                stats.sent.add(account.sent);
                if let (Some(spec), Some(side)) = (&route.policy.canary, account.side) {
                    let (ramp, now) = (&route.state.ramp, now.moment());
                    ramp.record(spec, side, worker.core(), now, account.outcome());
                }
            }
            None => stats.unrouted[class].add(1),
        }
        if let Some(program) = snapshot.program(account.route, self.attributes.listener) {
            let run = Run::new(program, worker.core(), &worker.filters, &self.scratch);
            let watched = run.end(&Summary {
                status: account.status,
                fault: account.fault,
                received,
                sent: account.sent,
            });
            self.account.watched = watched;
        }
        let secret = &snapshot.forwarding.secret_parameters;
        if !secret.is_empty() {
            self.mask(secret);
        }
        worker.log(|| self.record(worker, snapshot, now, received));
    }

    fn record<'a>(
        &'a self,
        worker: &Worker<F>,
        snapshot: &'a Snapshot<F>,
        now: Stamp,
        received: u64,
    ) -> Record<'a> {
        let account = &self.account;
        let request = &self.request;
        let principal = self.attributes.principal.as_deref();
        Record {
            unix_ms: worker.wall().unix_ms(account.began),
            // Made here, or accepted because it needs no escape anywhere.
            request_id: Plain::known(self.attributes.request_id.as_bytes()),
            client: Plain::known(self.attributes.client.text()),
            listener: snapshot
                .listeners
                .get(self.attributes.listener)
                .map_or("", |listener| &listener.name),
            said: self.said(),
            consumer: principal.and_then(|known| known.consumer.as_deref()),
            scheme: principal.and_then(|known| known.schemes.first().copied()),
            status: account.status,
            route: account
                .route
                .and_then(|route| snapshot.routes.get(route))
                .map(|route| &*route.name),
            upstream: name_of(account.upstream, snapshot),
            fallback_for: name_of(account.fallback_for, snapshot),
            dry_run: self.watching(snapshot),
            endpoint: account.endpoint.as_deref().map(|placed| &*placed.label),
            attempts: account.attempts,
            received,
            sent: account.sent,
            timing: account.timing(now),
            termination: account.termination(),
            code: account
                .fault
                .map(|fault| fault.row().code)
                .or_else(|| self.code()),
            referer: match &self.masked.referer[..] {
                b"" => request.fields.value(Known::Referer),
                masked => Some(masked),
            },
            user_agent: request.fields.value(Known::UserAgent),
        }
    }

    /// The names of filters that would have refused the request.
    fn watching<'a>(&self, snapshot: &'a Snapshot<F>) -> [Option<&'a str>; DRY_RUN_MAX] {
        let mut names = [None; DRY_RUN_MAX];
        if !self.account.watched.is_empty()
            && let Some(program) = snapshot.program(self.account.route, self.attributes.listener)
        {
            let steps = program.steps();
            for (name, at) in names.iter_mut().zip(self.account.watched.steps()) {
                *name = steps.get(at).map(|step| &*step.name);
            }
        }
        names
    }

    /// Makes what is logged of texts that hold credentials. Only a request that has some pays
    /// for it, and the memory is kept.
    fn mask(&mut self, secret: &[Box<str>]) {
        let mut masked = std::mem::take(&mut self.masked);
        let said = match self.account.parsed {
            Parsed::No => self.line(),
            Parsed::Yes => self.request.target(),
        };
        mask(said, secret, &mut masked.target);
        let referer = self.request.fields.value(Known::Referer);
        mask(referer.unwrap_or_default(), secret, &mut masked.referer);
        self.masked = masked;
    }

    /// The first line of what is no request.
    fn line(&self) -> &[u8] {
        let bytes = &self.request.fields.text()[..];
        let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'));
        &bytes[..end.unwrap_or(bytes.len())]
    }

    /// The log code of an exchange without a fault.
    fn code(&self) -> Option<&'static str> {
        let codes = [self.account.code, self.attributes.note];
        codes.into_iter().find(|code| !code.is_empty())
    }

    fn said(&self) -> Said<'_> {
        let request = &self.request;
        let masked = &self.masked.target[..];
        if self.account.parsed == Parsed::No {
            return Said::Line(if masked.is_empty() {
                self.line()
            } else {
                masked
            });
        }
        Said::Request {
            method: request.method_text(),
            host: request.authority(),
            target: match masked {
                b"" => request.target(),
                masked => masked,
            },
            version: request.version,
        }
    }
}

fn name_of<F: Filter>(upstream: Option<usize>, snapshot: &Snapshot<F>) -> Option<&str> {
    let upstream = snapshot.upstreams.get(upstream?)?;
    Some(&upstream.name)
}

impl Account {
    /// Who ended it, and in which phase.
    fn termination(&self) -> [u8; 2] {
        match self.fault {
            Some(fault) => fault.termination(self.phase),
            None if self.is_of_policy() => Origin::Internal.termination(self.phase),
            None => *b"--",
        }
    }

    /// Whether a filter has answered, or a constant in an upstream's place.
    fn is_of_policy(&self) -> bool {
        let constant = self.fallback_for.is_some() && self.fallback_for == self.upstream;
        self.answered_by.is_some() || !self.code.is_empty() || constant
    }

    /// How the upstream did, as far as it had a part in it.
    pub(crate) fn outcome(&self) -> Outcome {
        if let Some(replaced) = self.replaced {
            return replaced;
        }
        if self.spared {
            return Outcome::Neutral;
        }
        match (self.connected_at, self.answered_at, self.fault) {
            (_, _, Some(fault)) => Outcome::of_fault(fault),
            (_, _, None) if self.status == 0 => Outcome::Neutral,
            (Some(sent), Some(answered), None) => {
                let head_after = Duration::from_nanos(answered.nanos_since(sent));
                Outcome::of_status(self.status, head_after)
            }
            _ => Outcome::Neutral,
        }
    }

    /// The phases so far; one that was under way at the end counts until then.
    fn timing(&self, now: Stamp) -> Timing {
        let forwarded = self.decided_at.filter(|_| self.upstream.is_some());
        let connected = self.connected_at;
        let until = |end: Option<Stamp>, begin: Stamp| end.unwrap_or(now).micros_since(begin);
        Timing {
            total: now.micros_since(self.began),
            head: self.head_at.micros_since(self.began),
            policy: self
                .decided_at
                .map_or(0, |at| at.micros_since(self.head_at)),
            connect: forwarded.map(|begin| until(connected, begin)),
            wait: connected.map(|begin| until(self.answered_at, begin)),
            relay: self.answered_at.map(|begin| until(None, begin)),
        }
    }
}
