//! How upstreams and their endpoints stand, all things together: checks, operators, ejections,
//! breakers, balancing.

use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::model::Upstream as Written;
use ringgate_control::health::State as Checked;
use ringgate_core::balance::{Mode, Place, Roster, Standing};
use ringgate_core::policy::{Breaker as Spec, BreakerScope};
use ringgate_core::resilience::breaker::{self, Breaker, BreakerState};
use ringgate_core::resilience::budget::Usage;
use ringgate_core::resilience::outlier;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::{Endpoint, Upstream};
use ringgate_core::stats::{CoreIndex, Registry};
use serde_json::{Value, json};

use super::State;
use super::health::{self, rfc3339};
use crate::{compile, words};

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Moment,
    wall: SystemTime,
}

impl Clock {
    pub(super) fn read() -> Clock {
        Clock {
            now: Moment::now(),
            wall: SystemTime::now(),
        }
    }

    /// The calendar's time of a moment.
    pub(super) fn wall(&self, at: Moment) -> SystemTime {
        match at > self.now {
            true => self.wall + at.since(self.now),
            false => self.wall - self.now.since(at),
        }
    }

    /// The same as RFC 3339 has it.
    pub(super) fn show(&self, at: Moment) -> String {
        rfc3339(self.wall(at))
    }
}

/// An upstream as its workers see it, and what is known beside that.
pub(super) struct View<'v> {
    state: &'v State,
    pub(super) written: &'v Written,
    pub(super) upstream: &'v Upstream,
    /// Its endpoints as they are now.
    pub(super) all: Arc<[Endpoint]>,
    roster: Roster,
    clock: Clock,
}

/// How an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is taken out, by an operator or by its weight.
    Drained,
    /// Its checks fail.
    Unhealthy,
    /// It failed requests.
    Ejected,
    /// Its breaker is open.
    CircuitOpen,
    /// It is back, with a growing share.
    SlowStart,
    /// Its checks are good.
    Healthy,
    /// Nothing is said against it.
    Unchecked,
}

impl Word {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Word::Drained => "drained",
            Word::Unhealthy => "unhealthy",
            Word::Ejected => "ejected",
            Word::CircuitOpen => "circuit_open",
            Word::SlowStart => "slow_start",
            Word::Healthy => "healthy",
            Word::Unchecked => "unchecked",
        }
    }
}

/// How an endpoint stands, why, since when and until when.
#[derive(Debug, Clone)]
pub(super) struct Stands {
    pub(super) word: Word,
    why: String,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Stands {
    fn new(word: Word, why: impl Into<String>) -> Stands {
        Stands {
            word,
            why: why.into(),
            since: None,
            until: None,
        }
    }

    fn between(self, since: Option<SystemTime>, until: Option<SystemTime>) -> Stands {
        Stands {
            since,
            until,
            ..self
        }
    }
}

/// Every upstream in force, sorted as a worker would sort it now.
pub(super) fn views<'v>(
    state: &'v State,
    registry: &'v Registry,
) -> impl Iterator<Item = View<'v>> {
    let clock = Clock::read();
    let written = state.config.upstreams.iter();
    let pairs = written.zip(&state.snapshot.upstreams);
    pairs.map(move |(written, upstream)| View::new(state, written, upstream, registry, clock))
}

impl<'v> View<'v> {
    fn new(
        state: &'v State,
        written: &'v Written,
        upstream: &'v Upstream,
        registry: &Registry,
        clock: Clock,
    ) -> View<'v> {
        let all = compile::endpoints(written, &state.addresses, registry);
        let mut roster = Roster::new(CoreIndex(0));
        let spec = endpoint_breaker(upstream);
        let blocked = |index: usize| {
            spec?;
            all.get(index)?.state.breaker.blocked_until(clock.now)
        };
        let (balance, shared) = (&upstream.policy.balance, &upstream.state);
        roster.sort(balance, &all, shared, clock.now, blocked);
        View {
            state,
            written,
            upstream,
            all,
            roster,
            clock,
        }
    }

    /// How the upstream stands as a whole.
    pub(super) fn standing(&self) -> Standing {
        self.roster.standing()
    }

    /// Whether too few endpoints are well.
    pub(super) fn panics(&self) -> bool {
        self.standing().mode == Mode::Panic
    }

    /// Endpoints that are ejected now.
    pub(super) fn ejected(&self) -> usize {
        let out = |endpoint: &&Endpoint| endpoint.state.ejected_until(self.clock.now).is_some();
        self.all.iter().filter(out).count()
    }

    /// What its retries cost and might cost; none without retries.
    pub(super) fn budget(&self) -> Option<Usage> {
        let retry = self.upstream.policy.retry.as_ref()?;
        Some(self.upstream.state.budget.usage(retry, self.clock.now))
    }

    /// The state of an endpoint; of several that hold the one that lasts longest.
    pub(super) fn stands(&self, endpoint: &Endpoint) -> Stands {
        let (shared, clock) = (&endpoint.state, &self.clock);
        if shared.is_drained() {
            let since = self.state.drains.since(&self.written.name, endpoint);
            return Stands::new(Word::Drained, "an operator has drained it").between(since, None);
        }
        if endpoint.weight == 0 {
            return Stands::new(Word::Drained, "the configuration drains it");
        }
        let checked = health::standing(self.written, endpoint, &self.state.health);
        if let Some(bad) = checked.filter(|standing| standing.state == Checked::Unhealthy) {
            return Stands::new(Word::Unhealthy, &*bad.why).between(Some(bad.since), None);
        }
        if let Some(ejection) = shared.ejection_now(clock.now) {
            let (since, until) = (clock.wall(ejection.since), clock.wall(ejection.until));
            let why = why_ejected(&ejection);
            return Stands::new(Word::Ejected, why).between(Some(since), Some(until));
        }
        if endpoint_breaker(self.upstream).is_some()
            && let BreakerState::Open { since, until, why } = shared.breaker.state()
        {
            let (since, until) = (clock.wall(since), clock.wall(until));
            let why = why_open(&why);
            return Stands::new(Word::CircuitOpen, why).between(Some(since), Some(until));
        }
        let back = shared.available_since();
        let full = back.after(self.upstream.policy.balance.slow_start);
        if back.0 > 0 && full > clock.now {
            let (since, until) = (clock.wall(back), clock.wall(full));
            let why = "it is back, and gets a growing share";
            return Stands::new(Word::SlowStart, why).between(Some(since), Some(until));
        }
        match checked {
            Some(standing) => {
                let word = match standing.state {
                    Checked::Unchecked => Word::Unchecked,
                    Checked::Healthy | Checked::Unhealthy => Word::Healthy,
                };
                Stands::new(word, &*standing.why).between(Some(standing.since), None)
            }
            None => Stands::new(Word::Unchecked, "nothing speaks against it"),
        }
    }

    /// An endpoint as JSON.
    pub(super) fn show_endpoint(&self, index: usize, endpoint: &Endpoint) -> Value {
        let stands = self.stands(endpoint);
        let checked = health::standing(self.written, endpoint, &self.state.health);
        let stats = &endpoint.state.stats;
        let share = match self.roster.place(index) {
            Some(Place::Used { share }) => share,
            _ => 0.0,
        };
        let breaker = endpoint_breaker(self.upstream);
        json!({
            "address": endpoint.addr.to_string(),
            "configured": &*endpoint.authority,
            "weight": endpoint.weight,
            "priority": endpoint.priority,
            "zone": endpoint.zone.as_deref(),
            "state": stands.word.as_str(),
            "why": stands.why,
            "since": stands.since.map(rfc3339),
            "until": stands.until.map(rfc3339),
            "share": share,
            "in_flight": endpoint.state.active(),
            "requests": stats.sum(|stats| &stats.requests),
            "failures": stats.sum(|stats| &stats.failures),
            "ejections": endpoint.state.ejections.load(std::sync::atomic::Ordering::Relaxed),
            "health": health::show_endpoint(checked),
            "breaker": breaker.map(|spec| self.show_breaker(&endpoint.state.breaker, spec)),
        })
    }

    /// What holds for the upstream as a whole, as JSON.
    pub(super) fn show_standing(&self) -> Value {
        let standing = self.standing();
        let (policy, shared) = (&self.upstream.policy, &self.upstream.state);
        let breaker = upstream_breaker(self.upstream);
        let budget = self.budget();
        json!({
            "panic": self.panics(),
            "mode": match standing.mode {
                Mode::Usual => "usual",
                Mode::Failover => "failover",
                Mode::Panic => "panic",
            },
            "tiers_in_use": standing.tiers,
            "endpoints_available": standing.available,
            "endpoints_in_use": standing.in_use,
            "endpoints_ejected": self.ejected(),
            "breaker": breaker.map(|spec| self.show_breaker(&shared.breaker, spec)),
            "retry_budget": budget.map(|usage| json!({
                "live": usage.live,
                "spent": usage.spent,
                "allowed": usage.allowed,
            })),
            "gate": policy.concurrency.as_ref().map(|limit| json!({
                "in_flight": shared.gate.inside(),
                "queued": shared.gate.waiting(),
                "max": shared.gate.limit(limit),
            })),
        })
    }

    fn show_breaker(&self, breaker: &Breaker, spec: &Spec) -> Value {
        let counts = breaker.counts(spec, self.clock.now);
        let window = json!({
            "requests": counts.requests,
            "failures": counts.failures,
            "slow": counts.slow,
        });
        let (state, why, since, until) = match breaker.state() {
            BreakerState::Closed => ("closed", None, None, None),
            BreakerState::Open { since, until, why } => {
                ("open", Some(why), Some(since), Some(until))
            }
            BreakerState::HalfOpen { since, why, .. } => {
                ("half_open", Some(why), Some(since), None)
            }
        };
        json!({
            "state": state,
            "why": why.map(|why| why_open(&why)),
            "since": since.map(|at| self.clock.show(at)),
            "until": until.map(|at| self.clock.show(at)),
            "window": window,
            "opened": breaker.opened(),
        })
    }
}

/// The policy of breakers that endpoints have of their own.
pub(super) fn endpoint_breaker(upstream: &Upstream) -> Option<&Spec> {
    let spec = upstream.policy.breaker.as_ref();
    spec.filter(|spec| spec.scope != BreakerScope::Upstream)
}

/// The policy of the upstream's own breaker.
pub(super) fn upstream_breaker(upstream: &Upstream) -> Option<&Spec> {
    let spec = upstream.policy.breaker.as_ref();
    spec.filter(|spec| spec.scope != BreakerScope::Endpoint)
}

pub(super) fn why_ejected(ejection: &outlier::Ejection) -> String {
    let cause = match ejection.cause {
        outlier::Cause::Failures => "requests to it failed in a row",
        outlier::Cause::Gateway => "it could not be reached, or answered 502, 503 or 504, in a row",
        outlier::Cause::SuccessRate => "it fails more often than the others",
        outlier::Cause::Latency => "it is slower than the others",
    };
    match ejection.times {
        0 | 1 => cause.to_owned(),
        times => format!("{cause}, for the {} time of late", words::nth(times.into())),
    }
}

pub(super) fn why_open(why: &breaker::Why) -> String {
    let counts = &why.counts;
    match why.cause {
        breaker::Cause::Errors => {
            let all = words::count(counts.requests, "request");
            format!("{} of {all} failed", counts.failures)
        }
        breaker::Cause::Slow => {
            let all = words::count(counts.requests, "request");
            format!("{} of {all} were slow", counts.slow)
        }
        breaker::Cause::Trial => "a trial request failed".to_owned(),
    }
}

/// Has endpoints that came to a running upstream begin with a small share.
pub(super) fn begin_slowly(former: &[Endpoint], fresh: &[Endpoint], now: Moment) {
    let was_there = |endpoint: &Endpoint| {
        let mut former = former.iter();
        former.any(|one| one.addr == endpoint.addr && one.authority == endpoint.authority)
    };
    if former.is_empty() {
        return;
    }
    for endpoint in fresh.iter().filter(|endpoint| !was_there(endpoint)) {
        endpoint.state.available_from(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringgate_core::fleet::EndpointState;
    use ringgate_core::rt::Addr;

    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            addr: Addr::Tcp(([127, 0, 0, 1], port).into()),
            weight: 1,
            priority: 0,
            zone: None,
            state: Arc::new(EndpointState::new(1)),
            authority: "origin".into(),
        }
    }

    #[test]
    fn only_what_comes_to_a_running_upstream_begins_slowly() {
        let (old, new) = (endpoint(1), endpoint(2));
        begin_slowly(&[], std::slice::from_ref(&old), Moment(5));
        begin_slowly(
            std::slice::from_ref(&old),
            &[old.clone(), new.clone()],
            Moment(5),
        );
        assert_eq!(old.state.available_since(), Moment(0), "always was");
        assert_eq!(new.state.available_since(), Moment(5));
    }
}
