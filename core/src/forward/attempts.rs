//! The attempts of a forwarded exchange: which endpoint, over which connection, and whether
//! another one follows.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::trial::{Sendable, Trial, Unwanted, Wants, idempotency};
use super::{Attempt, Failure};
use crate::block::Block;
use crate::chain::Filter;
use crate::client::Next;
use crate::error::{Fault, Phase};
use crate::exchange::Exchange;
use crate::halves::Source;
use crate::key::cookie;
use crate::policy::{self, BreakerScope, FallbackTo};
use crate::resilience::backoff;
use crate::resilience::retry::{Ended, Replay};
use crate::rt;
use crate::rt::clock::Stamp;
use crate::upstream::{Asked, Choice, Lease, Look, Tried, Use, balance_hash};

/// How far the attempts of an exchange have come.
#[derive(Default)]
pub(super) struct Tries {
    /// Attempts that the retry policy gave.
    extra: u8,
    /// Endpoints that were tried.
    tried: Cell<Tried>,
    /// Whether the last connection had carried requests before.
    last: Cell<Option<Use>>,
    /// Whether connections may come from the pool.
    pooled: Pooled,
}

impl Tries {
    /// Whether nothing has been tried before the endpoint that was chosen last.
    pub(super) fn is_first(&self) -> bool {
        self.extra == 0 && self.tried.get().len() == 1
    }

    /// Whether the choice, made last, is of an endpoint that was tried before.
    pub(super) fn has_before(&self, choice: &Choice) -> bool {
        self.tried.get().without_last().has(choice)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Pooled {
    #[default]
    Yes,
    No,
}

/// Attempts behind which a request that origins refuse unseen, or that finds shared connections
/// dead, is given up.
const FREE_ATTEMPTS_MAX: u8 = 3;
/// Endpoints that are passed over in one choice because their breakers have just opened.
const BROKEN_MAX: u8 = 3;

impl<F: Filter> Attempt<'_, F> {
    /// Tries endpoints until one has answered or no attempt is left.
    pub(super) async fn run(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
    ) -> Result<Next, Failure> {
        let mut tries = Tries::default();
        loop {
            let failure = match self.once(exchange, body, whole, &mut tries).await {
                Ok(next) => return Ok(next),
                Err(failure) => failure,
            };
            let wait = self.again(exchange, whole, &mut tries, failure)?;
            if wait.is_zero() {
                continue;
            }
            let left = exchange.deadline.left();
            let pause = rt::sleep(left.map_or(wait, |left| left.min(wait)));
            let paused = self.client.unless_gone(&exchange.request, pause).await;
            paused.map_err(Failure::Fault)?;
            if exchange.deadline.has_passed() {
                return Err(Failure::Fault(Fault::RequestTimeout));
            }
        }
    }

    /// One attempt at one endpoint, or at two when the first is slow.
    async fn once(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
        tries: &mut Tries,
    ) -> Result<Next, Failure> {
        exchange.account.phase = Phase::Connect;
        (exchange.account.connected_at, exchange.account.answered_at) = (None, None);
        let (choice, trial) = self.begin(exchange, whole, tries)?;
        exchange.account.endpoint = Some(Rc::clone(&choice.endpoint));
        exchange.account.attempts += 1;
        if let Some(after) = self.hedge_after(exchange, whole, tries) {
            return Box::pin(self.hedged(exchange, body, whole, tries, (choice, trial), after))
                .await;
        }
        let lease = match self.lease(exchange, whole, &choice, tries).await {
            Ok(lease) => lease,
            Err(fault) => {
                trial.failed(fault);
                return Err(Failure::Fault(fault));
            }
        };
        exchange.account.connected_at = Some(Stamp::now());
        let ran = self.exchange_on(exchange, body, whole, (&choice, &trial), lease);
        match ran.await {
            Ok(Some(next)) => Ok(next),
            Ok(None) => Err(Failure::Unwanted(
                trial.unwanted().unwrap_or(Unwanted::Replaced),
            )),
            Err(fault) => {
                let fault = self.try_fault(fault);
                match fault == Fault::OriginClosed && tries.last.get() == Some(Use::Reused) {
                    // It was dead before the request came to it.
                    true => trial.spared(),
                    false => trial.failed(fault),
                }
                Err(Failure::Fault(fault))
            }
        }
    }

    /// A time-out of the attempt alone is one of its own.
    pub(super) fn try_fault(&self, fault: Fault) -> Fault {
        let shorter = self.answer_timeout() != self.upstream.response_timeout;
        match fault {
            Fault::ResponseTimeout if shorter => Fault::TryTimeout,
            fault => fault,
        }
    }

    /// The endpoint of the next attempt, let through by its breakers.
    pub(super) fn begin(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
    ) -> Result<(Choice, Trial<'_>), Failure> {
        let worker = &self.client.worker;
        let pinned = self.pinned(exchange);
        let before = tries.tried.get();
        let mut tried = before;
        let mut left = BROKEN_MAX;
        let (choice, mut trial) = loop {
            let random = worker.ids.borrow_mut().random();
            let choice = self.pool.choose(&Asked {
                spec: self.upstream,
                choice: self.balance(),
                hash: balance_hash(self.balance(), self.route, exchange, random),
                random,
                now: Stamp::now().moment(),
                tried,
                pinned,
            });
            let choice = choice.map_err(|fault| {
                if fault == Fault::ConcurrencyLimit {
                    self.upstream.stats.of(worker.core()).gate_refused.add(1);
                }
                Failure::Fault(fault)
            })?;
            let wants = self.wants(exchange, whole, tries);
            match Trial::begin(self.upstream, &choice.endpoint, worker.core(), wants) {
                Ok(trial) => break (choice, trial),
                // Its breaker has opened since the endpoints were sorted: there may be others.
                Err(Fault::CircuitOpen)
                    if left > 0 && !tried.has(&choice) && self.breaks_endpoints() =>
                {
                    left -= 1;
                    tried = tried.with(&choice);
                }
                Err(fault) => return Err(Failure::Fault(fault)),
            }
        };
        tries.tried.set(before.with(&choice));
        if let Some(sticky) = &self.upstream.policy.balance.sticky
            && pinned != Some(choice.endpoint.id)
        {
            let now = worker.wall().unix_ms(exchange.account.began) / 1000;
            let mut value = Vec::new();
            let signer = self.pool.signer(sticky);
            signer.set_cookie(choice.endpoint.id, now, &mut value);
            trial.pin(value);
        }
        Ok((choice, trial))
    }

    fn breaks_endpoints(&self) -> bool {
        let breaker = self.upstream.policy.breaker.as_ref();
        breaker.is_some_and(|spec| spec.scope != BreakerScope::Upstream)
    }

    fn wants(&self, exchange: &Exchange<F>, whole: Option<&Block>, tries: &Tries) -> Wants<'_> {
        let retry = self.retry;
        Wants {
            retry: retry.map(|policy| (policy, self.answered(exchange, whole, tries))),
            fallback: self.fallback.get().filter(|fallback| match fallback.to {
                FallbackTo::Respond(_) => true,
                FallbackTo::Upstream(_) => {
                    is_in_hand(exchange, whole) && !exchange.deadline.has_passed()
                }
            }),
            algorithm: self.balance().algorithm,
        }
    }

    /// As for a failure, but what has an answer has been sent as far as it goes.
    fn answered(&self, exchange: &Exchange<F>, whole: Option<&Block>, tries: &Tries) -> Sendable {
        let body = match is_in_hand(exchange, whole) {
            true => Replay::Whole,
            false => Replay::Gone,
        };
        let sendable = self.sendable(exchange, whole, tries);
        Sendable { body, ..sendable }
    }

    fn sendable(&self, exchange: &Exchange<F>, whole: Option<&Block>, tries: &Tries) -> Sendable {
        Sendable {
            retries: tries.extra,
            key: idempotency(exchange),
            body: match is_in_hand(exchange, whole) || !exchange.account.body_begun {
                true => Replay::Whole,
                false => Replay::Gone,
            },
        }
    }

    /// Whether the origin acting twice on the request would do no harm.
    pub(super) fn is_repeatable(&self, exchange: &Exchange<F>, whole: Option<&Block>) -> bool {
        exchange.request.method.is_idempotent() && is_in_hand(exchange, whole)
    }

    /// A connection to the chosen endpoint.
    pub(super) async fn lease(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        choice: &Choice,
        tries: &Tries,
    ) -> Result<Lease, Fault> {
        let look = match self.is_repeatable(exchange, whole) {
            true => Look::Usual,
            false => Look::Close,
        };
        let idle = match tries.pooled {
            Pooled::Yes => self.pool.take(choice, self.upstream, look),
            Pooled::No => None,
        };
        let lease = match idle {
            Some(lease) => lease,
            None => {
                let wait = self.upstream.connect_timeout.or_shorter(self.try_timeout());
                let wait = exchange.deadline.within(wait);
                let peer = self.client.told_ends();
                let opened = self.pool.open(choice, self.upstream, wait, peer).await;
                opened.map_err(|fault| exchange.deadline.fault_if(fault, Fault::ConnectTimeout))?
            }
        };
        let stats = self.upstream.stats.of(self.client.worker.core());
        stats.requests.add(1);
        tries.last.set(Some(lease.use_count));
        Ok(lease)
    }

    /// Whether another attempt follows, and behind which pause.
    fn again(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &mut Tries,
        failure: Failure,
    ) -> Result<Duration, Failure> {
        let worker = &self.client.worker;
        let stats = self.upstream.stats.of(worker.core());
        let fault = match failure {
            Failure::Unwanted(Unwanted::Retried) => None,
            Failure::Unwanted(Unwanted::Replaced) => return Err(failure),
            Failure::Fault(fault) => Some(fault),
        };
        if exchange.account.status != 0 {
            return Err(failure);
        }
        if let Some(fault) = fault {
            let last = tries.last.take();
            let few = exchange.account.attempts < FREE_ATTEMPTS_MAX;
            let died = fault == Fault::OriginClosed && last == Some(Use::Reused);
            // A pooled connection was dead already, or the origin has not looked at it.
            if few
                && is_in_hand(exchange, whole)
                && (fault == Fault::StreamRefused
                    || died && exchange.request.method.is_idempotent())
            {
                stats.retries.add(1);
                tries.pooled = Pooled::No;
                tries.tried.set(tries.tried.get().without_last());
                return Ok(Duration::ZERO);
            }
            let Some(policy) = self.retry else {
                return Err(failure);
            };
            let sendable = self.sendable(exchange, whole, tries);
            let asked = sendable.decide(policy, &exchange.request, Ended::Fault(fault));
            if asked.is_err() || exchange.deadline.has_passed() {
                return Err(failure);
            }
            let now = Stamp::now().moment();
            if !self
                .upstream
                .state
                .budget
                .try_spend(policy, worker.core(), now)
            {
                stats.retries_denied.add(1);
                return Err(failure);
            }
        }
        let Some(policy) = self.retry else {
            return Err(failure);
        };
        tries.extra += 1;
        stats.retries.add(1);
        let random = worker.ids.borrow_mut().random();
        Ok(backoff::pause(policy, tries.extra, random))
    }
}

impl<F: Filter> Attempt<'_, F> {
    /// The way of picking that holds for the route.
    fn balance(&self) -> &policy::Choice {
        let own = self.route.policy.balance.as_ref();
        own.unwrap_or(&self.upstream.policy.balance.choice)
    }

    /// The endpoint that the client's cookie names.
    fn pinned(&self, exchange: &Exchange<F>) -> Option<u64> {
        let sticky = self.upstream.policy.balance.sticky.as_ref()?;
        let now = self.client.worker.wall().unix_ms(exchange.account.began) / 1000;
        let value = cookie(&exchange.request.fields, &sticky.cookie)?;
        self.pool.signer(sticky).verify(value, now)
    }
}

/// Whether all of the body is here still.
pub(super) fn is_in_hand<F: Filter>(exchange: &Exchange<F>, whole: Option<&Block>) -> bool {
    exchange.request.framing.is_empty() || whole.is_some()
}
