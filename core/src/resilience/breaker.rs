//! Circuit breakers: an origin that fails too often is left alone for a while, then tried with
//! a set number of requests.
//!
//! One word says whether the breaker is closed, open or half open, since which change of that
//! (its generation) and until when; cores decide by exchanging it. Each core counts in a window
//! of its own, with plain stores; once in `reconcile` whoever notices adds them up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::window::{self, Lookout, Tally, Window};
use super::{Counts, Outcome};
use crate::fleet::UpstreamState;
use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

mod view;
mod word;

use word::{Kind, Tickets, Word};

/// The breaker of an upstream or an endpoint, shared by all cores.
#[derive(Debug)]
pub struct Breaker {
    shared: CachePadded<Shared>,
    tickets: CachePadded<AtomicU64>,
    lookout: Lookout,
    cores: usize,
    /// What cores count, some 800 bytes each: made where a breaker is asked for.
    counted: OnceLock<PerCore<Counted>>,
}

/// What one core counts.
#[derive(Debug, Default)]
struct Counted {
    window: Window,
    refused: Counter,
}

/// Read with each request, written when the breaker turns.
#[derive(Debug, Default)]
struct Shared {
    word: AtomicU64,
    /// Trials in a row that failed.
    failed_trials: AtomicU32,
    /// When it turned, in nanoseconds of [`Moment`].
    since: AtomicU64,
    why: LastWhy,
    opened: AtomicU64,
    closed: AtomicU64,
}

/// Why it opened, for pages: a reader may see two reasons mixed while the breaker turns.
#[derive(Debug, Default)]
struct LastWhy {
    cause: AtomicU8,
    requests: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// What became of a request that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is let pass is recorded once it has ended"]
pub enum Admission {
    /// It passes; the breaker is closed.
    Closed(Pass),
    /// It passes as one of the trial requests.
    Probe(Pass),
    /// It does not.
    Open {
        /// When it pays to ask again.
        until: Moment,
    },
}

impl Admission {
    /// Whether the request must not be sent.
    pub const fn is_open(self) -> bool {
        matches!(self, Admission::Open { .. })
    }
}

/// Which state of the breaker let a request pass: what ends under another one is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(Word);

/// Where a breaker stands, for pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// None passes.
    Open {
        /// When it opened.
        since: Moment,
        /// When a trial begins.
        until: Moment,
        /// Why.
        why: Why,
    },
    /// A set number of requests passes.
    HalfOpen {
        /// When the trial began.
        since: Moment,
        /// Trial requests that were let pass.
        issued: u16,
        /// Those of them that succeeded.
        succeeded: u16,
        /// Why it had opened.
        why: Why,
    },
}

/// What a breaker opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// The criterion.
    pub cause: Cause,
    /// The window as it was then; for [`Cause::Trial`], that of the first opening.
    pub counts: Counts,
}

/// A criterion of breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The share of failures.
    Errors,
    /// The share of slow requests.
    Slow,
    /// A trial request failed or was slow.
    Trial,
}

impl Cause {
    /// The name in pages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Errors => "error_ratio",
            Cause::Slow => "slow_ratio",
            Cause::Trial => "probe_failed",
        }
    }
}

impl Breaker {
    /// A closed breaker for `cores` cores.
    pub fn new(cores: usize) -> Breaker {
        Breaker {
            shared: CachePadded::default(),
            tickets: CachePadded::default(),
            lookout: Lookout::default(),
            cores,
            counted: OnceLock::new(),
        }
    }

    /// Makes what cores count in, so that no worker has to: for whoever configures the breaker.
    pub fn prepare(&self) {
        self.counted();
    }

    #[inline]
    fn counted(&self) -> &PerCore<Counted> {
        self.counted.get_or_init(|| PerCore::new(self.cores))
    }

    /// Asks whether a request may be sent. What is let pass is reported with
    /// [`Breaker::record`] exactly once.
    #[inline]
    pub fn admit(
        &self,
        spec: &policy::Breaker,
        upstream: &UpstreamState,
        core: CoreIndex,
        now: Moment,
    ) -> Admission {
        let word = self.word();
        if word.kind() == Kind::Closed {
            if !self.looks(spec, core, now) {
                return Admission::Closed(Pass(word));
            }
            self.look(spec, upstream, now, word);
        }
        let admission = self.admit_slowly(spec, upstream, now);
        if admission.is_open() {
            self.counted().of(core).refused.add(1);
        }
        admission
    }

    #[cold]
    fn admit_slowly(
        &self,
        spec: &policy::Breaker,
        upstream: &UpstreamState,
        now: Moment,
    ) -> Admission {
        loop {
            let word = self.word();
            let is_over = word.until() <= now;
            match word.kind() {
                Kind::Closed => return Admission::Closed(Pass(word)),
                Kind::Open if !is_over => {
                    return Admission::Open {
                        until: word.until(),
                    };
                }
                Kind::Open => {
                    let trial = word.turned(Kind::HalfOpen, now.after(spec.open_for));
                    self.turn(word, trial, upstream, now);
                }
                // Trial requests that nobody has reported by now are lost: others may go.
                Kind::HalfOpen if is_over => {
                    let renewed = word.renewed(now.after(spec.open_for));
                    if self.exchange(word, renewed) {
                        self.change_tickets(renewed, Tickets::reissue);
                        upstream.changed();
                    }
                }
                Kind::HalfOpen => match self.claim(word, spec, upstream) {
                    Claim::Issued => return Admission::Probe(Pass(word)),
                    Claim::Spent => {
                        return Admission::Open {
                            until: word.until(),
                        };
                    }
                    Claim::Turned => {}
                },
            }
        }
    }

    /// Tells how a request ended that was let pass.
    #[inline]
    pub fn record(
        &self,
        spec: &policy::Breaker,
        upstream: &UpstreamState,
        core: CoreIndex,
        now: Moment,
        admission: Admission,
        outcome: Outcome,
    ) {
        let pass = match admission {
            Admission::Closed(pass) => pass,
            Admission::Probe(pass) => {
                return self.report(spec, upstream, now, pass, outcome);
            }
            Admission::Open { .. } => return,
        };
        let Some(tally) = tally(spec, outcome) else {
            return;
        };
        // What was sent before the breaker opened says nothing about the time since.
        let word = self.word();
        if word != pass.0 {
            return;
        }
        let own = &self.counted().of(core).window;
        own.add(word.generation().into(), spec.window, now, tally);
        if self.looks(spec, core, now) {
            self.look(spec, upstream, now, word);
        }
    }

    #[inline]
    fn looks(&self, spec: &policy::Breaker, core: CoreIndex, now: Moment) -> bool {
        let own = &self.counted().of(core).window;
        self.lookout.is_mine(own, spec.reconcile, now)
    }

    /// Adds up all cores' counts and opens the breaker where they ask for it.
    #[cold]
    fn look(&self, spec: &policy::Breaker, upstream: &UpstreamState, now: Moment, word: Word) {
        let counts = self.counts_of(word, spec, now);
        let Some(cause) = verdict(spec, counts) else {
            return;
        };
        let open = word.turned(Kind::Open, now.after(spec.open_for));
        if self.turn(word, open, upstream, now) {
            self.shared.opened.fetch_add(1, Ordering::Relaxed);
            self.shared.why.set(cause, counts);
        }
    }

    /// Takes a trial request's report.
    #[cold]
    fn report(
        &self,
        spec: &policy::Breaker,
        upstream: &UpstreamState,
        now: Moment,
        Pass(pass): Pass,
        outcome: Outcome,
    ) {
        let word = self.word();
        if !word.is_trial(pass.generation()) {
            return;
        }
        match tally(spec, outcome) {
            // It was no trial. A ticket that has expired has its successor already.
            None if word == pass => {
                let was = self.change_tickets(word, Tickets::give_back);
                if was.is_some_and(|was| was.full) {
                    upstream.changed();
                }
            }
            None => {}
            Some(Tally {
                failures: 0,
                slow: 0,
            }) => {
                let was = self.change_tickets(word, Tickets::succeed);
                let enough = was.is_some_and(|was| was.succeeded.saturating_add(1) >= probes(spec));
                if enough && self.end_trial(word, Kind::Closed, Moment(0), upstream, now) {
                    self.shared.failed_trials.store(0, Ordering::Relaxed);
                    self.shared.closed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(_) => {
                let failed = self.shared.failed_trials.load(Ordering::Relaxed) + 1;
                let until = now.after(open_time(spec, failed));
                if self.end_trial(word, Kind::Open, until, upstream, now) {
                    self.shared.failed_trials.store(failed, Ordering::Relaxed);
                    self.shared.opened.fetch_add(1, Ordering::Relaxed);
                    self.shared.why.set_cause(Cause::Trial);
                }
            }
        }
    }

    /// Ends the trial of this generation unless somebody else has.
    fn end_trial(
        &self,
        trial: Word,
        kind: Kind,
        until: Moment,
        upstream: &UpstreamState,
        now: Moment,
    ) -> bool {
        loop {
            // Its tickets may have been renewed meanwhile.
            let word = self.word();
            if !word.is_trial(trial.generation()) {
                return false;
            }
            if self.turn(word, word.turned(kind, until), upstream, now) {
                return true;
            }
        }
    }

    fn claim(&self, word: Word, spec: &policy::Breaker, upstream: &UpstreamState) -> Claim {
        let probes = probes(spec);
        loop {
            let was = Tickets::of(self.tickets.load(Ordering::Acquire));
            let current = was.at(word.generation());
            if self.word() != word {
                return Claim::Turned;
            }
            let Some(claimed) = current.claim(probes) else {
                return Claim::Spent;
            };
            if self.exchange_tickets(was, claimed) {
                if claimed.full {
                    upstream.changed();
                }
                return Claim::Issued;
            }
        }
    }

    /// Changes the tickets of a trial; what they were, or nothing when they are of another one.
    fn change_tickets(&self, word: Word, change: impl Fn(Tickets) -> Tickets) -> Option<Tickets> {
        loop {
            let was = Tickets::of(self.tickets.load(Ordering::Acquire));
            if was.generation != word.generation() {
                return None;
            }
            if self.exchange_tickets(was, change(was)) {
                return Some(was);
            }
        }
    }

    fn exchange_tickets(&self, was: Tickets, becomes: Tickets) -> bool {
        let (was, becomes) = (was.packed(), becomes.packed());
        let exchange =
            self.tickets
                .compare_exchange(was, becomes, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    }

    fn turn(&self, was: Word, becomes: Word, upstream: &UpstreamState, now: Moment) -> bool {
        let turned = self.exchange(was, becomes);
        if turned {
            self.shared.since.store(now.0, Ordering::Relaxed);
            upstream.changed();
        }
        turned
    }

    fn exchange(&self, was: Word, becomes: Word) -> bool {
        let exchange = self.shared.word.compare_exchange(
            was.packed(),
            becomes.packed(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        exchange.is_ok()
    }

    #[inline]
    fn word(&self) -> Word {
        Word::of(self.shared.word.load(Ordering::Acquire))
    }

    fn counts_of(&self, word: Word, spec: &policy::Breaker, now: Moment) -> Counts {
        let cores = self.counted.get().into_iter().flat_map(PerCore::iter);
        let windows = cores.map(|counted| &counted.window);
        window::sum(windows, word.generation().into(), spec.window, now)
    }
}

impl LastWhy {
    fn set(&self, cause: Cause, counts: Counts) {
        self.set_cause(cause);
        self.requests.store(counts.requests, Ordering::Relaxed);
        self.failures.store(counts.failures, Ordering::Relaxed);
        self.slow.store(counts.slow, Ordering::Relaxed);
    }

    fn set_cause(&self, cause: Cause) {
        self.cause.store(cause as u8, Ordering::Relaxed);
    }

    fn value(&self) -> Why {
        let causes = [Cause::Errors, Cause::Slow, Cause::Trial];
        let cause = self.cause.load(Ordering::Relaxed) as usize;
        Why {
            cause: causes[cause.min(causes.len() - 1)],
            counts: Counts {
                requests: self.requests.load(Ordering::Relaxed),
                failures: self.failures.load(Ordering::Relaxed),
                slow: self.slow.load(Ordering::Relaxed),
            },
        }
    }
}

/// What came of asking for a trial request's ticket.
enum Claim {
    Issued,
    Spent,
    /// The breaker is in another state by now.
    Turned,
}

/// What a window counts of an attempt; nothing where it is no evidence.
#[inline]
fn tally(spec: &policy::Breaker, outcome: Outcome) -> Option<Tally> {
    let is_slow = |took: Duration| !spec.slow_after.is_zero() && took > spec.slow_after;
    (outcome != Outcome::Neutral).then(|| Tally {
        failures: outcome.is_failure().into(),
        slow: outcome.head_after().is_some_and(is_slow).into(),
    })
}

/// Whether a window asks for opening, and why.
fn verdict(spec: &policy::Breaker, counts: Counts) -> Option<Cause> {
    if counts.requests < u64::from(spec.minimum_requests.max(1)) {
        return None;
    }
    if counts.failures > 0 && counts.failure_ratio() >= spec.error_ratio {
        return Some(Cause::Errors);
    }
    (counts.slow > 0 && counts.slow_ratio() >= spec.slow_ratio).then_some(Cause::Slow)
}

/// The trial requests of one generation.
fn probes(spec: &policy::Breaker) -> u16 {
    spec.probes.clamp(1, u16::MAX.into()) as u16
}

/// How long it stays open after so many failed trials in a row.
fn open_time(spec: &policy::Breaker, failed_trials: u32) -> Duration {
    let doubled = spec.open_for.saturating_mul(1 << failed_trials.min(20));
    doubled.min(spec.open_for_max.max(spec.open_for))
}

#[cfg(test)]
mod tests;
