//! One attempt at an endpoint, as policies see it: what it counts for, and whether its answer is
//! wanted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::chain::Filter;
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::http::{Known, RequestHead, ResponseHead};
use crate::policy::{Algorithm, BreakerScope, Fallback, Retry};
use crate::resilience::breaker::{Admission, Breaker};
use crate::resilience::retry::{self, Ask, Ended, Idempotency, Replay};
use crate::resilience::{Outcome, outlier};
use crate::rt::clock::{Moment, Stamp};
use crate::snapshot::Upstream;
use crate::stats::CoreIndex;
use crate::upstream::Placed;

/// An attempt under way. Whatever becomes of it, breakers and ejection hear of it exactly once.
pub(crate) struct Trial<'a> {
    upstream: &'a Upstream,
    endpoint: Rc<Placed>,
    core: CoreIndex,
    /// When the origin's own time began.
    began: Cell<Stamp>,
    /// What the breakers of the upstream and of the endpoint said.
    admitted: [Option<Admission>; 2],
    wants: Wants<'a>,
    told: Cell<Told>,
    unwanted: Cell<Option<Unwanted>>,
    /// The value of `Set-Cookie` that keeps the client with this endpoint.
    cookie: Option<Vec<u8>>,
}

/// Which answers an attempt wants.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wants<'a> {
    /// Retries, and what they are asked for with.
    pub(crate) retry: Option<(&'a Retry, Sendable)>,
    /// Who answers instead, where somebody may.
    pub(crate) fallback: Option<&'a Fallback>,
    /// What the endpoint was picked by.
    pub(crate) algorithm: Algorithm,
}

/// What a retry of a request depends on beside its failure.
#[derive(Clone, Copy)]
pub(crate) struct Sendable {
    /// Retries made so far.
    pub(crate) retries: u8,
    pub(crate) key: Idempotency,
    pub(crate) body: Replay,
}

impl Sendable {
    /// What the policy says of another attempt.
    pub(crate) fn decide(
        self,
        policy: &Retry,
        request: &RequestHead,
        ended: Ended,
    ) -> Result<(), retry::Refusal> {
        retry::decide(policy, &self.ask(request, ended))
    }

    pub(crate) fn ask(self, request: &RequestHead, ended: Ended) -> Ask<'_> {
        Ask {
            retries: self.retries,
            ended,
            method: request.method,
            method_name: std::str::from_utf8(request.method_text()).unwrap_or_default(),
            key: self.key,
            body: self.body,
        }
    }
}

/// Whether policies have heard of an attempt's outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// Why an answer is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// Another attempt follows; the budget has paid for it.
    Retried,
    /// Somebody else answers in its place.
    Replaced,
}

impl<'a> Trial<'a> {
    /// Begins an attempt.
    ///
    /// # Errors
    /// [`Fault::CircuitOpen`] when a breaker keeps it out.
    pub(crate) fn begin(
        upstream: &'a Upstream,
        endpoint: &Rc<Placed>,
        core: CoreIndex,
        wants: Wants<'a>,
    ) -> Result<Trial<'a>, Fault> {
        let mut trial = Trial {
            upstream,
            endpoint: Rc::clone(endpoint),
            core,
            began: Cell::new(Stamp::now()),
            admitted: [None; 2],
            wants,
            told: Cell::new(Told::No),
            unwanted: Cell::new(None),
            cookie: None,
        };
        endpoint.state.stats.of(core).active.add(1);
        if let Some(spec) = &upstream.policy.breaker {
            let now = trial.began.get().moment();
            for index in 0..trial.admitted.len() {
                if !covers(spec.scope, index) {
                    continue;
                }
                let admission = trial.breaker(index).admit(spec, &upstream.state, core, now);
                if admission.is_open() {
                    upstream.stats.of(core).breaker_rejected.add(1);
                    return Err(Fault::CircuitOpen);
                }
                trial.admitted[index] = Some(admission);
            }
        }
        Ok(trial)
    }

    fn breaker(&self, index: usize) -> &Breaker {
        match index {
            0 => &self.upstream.state.breaker,
            _ => &self.endpoint.state.breaker,
        }
    }

    /// Has the client come back to this endpoint.
    pub(super) fn pin(&mut self, cookie: Vec<u8>) {
        self.cookie = Some(cookie);
    }

    /// What the client is told so that it comes back to this endpoint.
    pub(crate) fn cookie(&self) -> Option<&[u8]> {
        self.cookie.as_deref()
    }

    /// The answer's head has come: whether it is wanted.
    pub(crate) fn answered(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
    ) -> Option<Unwanted> {
        let head_after = Duration::from_nanos(Stamp::now().nanos_since(self.began.get()));
        self.tell(Outcome::of_status(response.status, head_after));
        if self.wants.retry.is_none() && self.wants.fallback.is_none() {
            return None;
        }
        let unwanted = self.judge(request, response);
        self.unwanted.set(unwanted);
        unwanted
    }

    /// It is a connection that carries what nobody here reads, and it stands.
    pub(crate) fn connected(&self) {
        let head_after = Duration::from_nanos(Stamp::now().nanos_since(self.began.get()));
        self.tell(Outcome::Good { head_after });
    }

    /// A call's answer has come.
    pub(crate) fn ended_with(&self, status: u16) {
        let head_after = Duration::from_nanos(Stamp::now().nanos_since(self.began.get()));
        self.tell(Outcome::of_status(status, head_after));
    }

    fn judge(&self, request: &RequestHead, response: &ResponseHead) -> Option<Unwanted> {
        if let Some((policy, sendable)) = self.wants.retry {
            let grpc = response.fields.value(Known::GrpcStatus);
            let grpc = grpc.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            let mut ended = [Some(Ended::Status(response.status)), grpc.map(Ended::Grpc)]
                .into_iter()
                .flatten();
            let again = ended.any(|ended| sendable.decide(policy, request, ended).is_ok());
            if again && self.may_spend(policy) {
                return Some(Unwanted::Retried);
            }
        }
        let fallback = self.wants.fallback?;
        let listed = fallback.statuses.contains(&response.status);
        listed.then_some(Unwanted::Replaced)
    }

    /// Whether the budget has another attempt to give.
    pub(crate) fn may_spend(&self, policy: &Retry) -> bool {
        let budget = &self.upstream.state.budget;
        let spent = budget.try_spend(policy, self.core, Moment::now());
        if !spent {
            self.upstream.stats.of(self.core).retries_denied.add(1);
        }
        spent
    }

    /// Why its answer was not wanted, if it was not.
    pub(crate) fn unwanted(&self) -> Option<Unwanted> {
        self.unwanted.get()
    }

    /// The origin has the whole request: from here on it is its time.
    pub(crate) fn sent(&self) {
        self.began.set(Stamp::now());
    }

    /// What ended it says nothing of the origin.
    pub(crate) fn spared(&self) {
        self.tell(Outcome::Neutral);
    }

    /// It has ended without an answer.
    pub(crate) fn failed(&self, fault: Fault) {
        self.tell(match fault {
            // It has not looked at the request, which goes elsewhere.
            Fault::StreamRefused => Outcome::Neutral,
            fault => Outcome::of_fault(fault),
        });
    }

    fn tell(&self, outcome: Outcome) {
        if self.told.replace(Told::Yes) == Told::Yes {
            return;
        }
        let (upstream, endpoint) = (self.upstream, &self.endpoint);
        endpoint.state.stats.of(self.core).record(outcome);
        let policy = &upstream.policy;
        let ewma = self.wants.algorithm == Algorithm::PeakEwma;
        if !ewma && policy.breaker.is_none() && policy.outlier.is_none() {
            return;
        }
        let now = Moment::now();
        if ewma {
            let estimate = &endpoint.state.stats.of(self.core).ewma;
            match outcome {
                Outcome::Good { head_after } => {
                    estimate.record(head_after.as_micros() as u64, now);
                }
                Outcome::Failed { .. } | Outcome::Unreachable => estimate.fail(now),
                Outcome::Neutral => {}
            }
        }
        if let Some(spec) = &policy.breaker {
            for (index, admission) in self.admitted.into_iter().enumerate() {
                if let Some(admission) = admission {
                    let breaker = self.breaker(index);
                    breaker.record(spec, &upstream.state, self.core, now, admission, outcome);
                }
            }
        }
        if let Some(spec) = &policy.outlier {
            let (state, siblings) = (&upstream.state, endpoint.siblings());
            // What it ejects it counts by itself.
            let _ = outlier::record(spec, &endpoint.state, state, siblings, now, outcome);
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // Cancelled, or given up for another: that says nothing of the origin.
        self.tell(Outcome::Neutral);
        self.endpoint.state.stats.of(self.core).active.sub(1);
    }
}

fn covers(scope: BreakerScope, index: usize) -> bool {
    match scope {
        BreakerScope::Upstream => index == 0,
        BreakerScope::Endpoint => index == 1,
        BreakerScope::Both => true,
    }
}

/// Whether the client takes care that a request may be sent twice.
pub(super) fn idempotency<F: Filter>(exchange: &Exchange<F>) -> Idempotency {
    match exchange.request.fields.value_of("idempotency-key") {
        Some(_) => Idempotency::Key,
        None => Idempotency::None,
    }
}
