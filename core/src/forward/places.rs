//! Places under the limits of concurrency of a route and of an upstream.

use std::time::Duration;

use super::{Attempt, Failure};
use crate::chain::Filter;
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::policy::Concurrency;
use crate::resilience::concurrency::Gate;
use crate::stats::Counter;
use crate::worker::Permit;

/// A request's place under its route's limit of concurrency. It is asked for once and kept
/// while somebody stands in; who finds none has an upstream that stands in answer it outside of
/// the limit, rather than queue a second time.
pub(super) enum RoutePlace<'a, F: Filter> {
    NotAsked,
    /// None where there is no limit, or it was refused.
    Asked(Option<Permit<'a, F>>),
}

impl<F: Filter> RoutePlace<'_, F> {
    /// Gives it back, with how the exchange has gone so far.
    pub(super) fn leave(&mut self, exchange: &Exchange<F>) {
        if let RoutePlace::Asked(permit) = self
            && let Some(permit) = permit.take()
        {
            permit.record(exchange.account.outcome());
        }
    }
}

impl<'a, F: Filter> Attempt<'a, F> {
    /// Takes the places that the request has not been given yet; returns that of the upstream.
    pub(super) async fn places(
        &self,
        exchange: &Exchange<F>,
        place: &mut RoutePlace<'a, F>,
    ) -> Result<Option<Permit<'a, F>>, Failure> {
        let core = self.client.worker.core();
        // The route's first: who waits there holds no place of the upstream's.
        if let RoutePlace::NotAsked = place {
            *place = RoutePlace::Asked(None);
            let stats = self.route.stats.of(core);
            let counters = (&stats.gate_refused, &stats.gate_timeouts);
            let gate = (&self.route.state.gate, &self.route.policy.concurrency);
            *place = RoutePlace::Asked(self.permit(exchange, gate, counters).await?);
        }
        let stats = self.upstream.stats.of(core);
        let counters = (&stats.gate_refused, &stats.gate_timeouts);
        let gate = (&self.upstream.state.gate, &self.upstream.policy.concurrency);
        self.permit(exchange, gate, counters).await
    }

    /// A permit of a limit of concurrency, where there is one.
    async fn permit<'g>(
        &self,
        exchange: &Exchange<F>,
        (gate, spec): (&'g Gate, &'g Option<Concurrency>),
        (refused, timeouts): (&Counter, &Counter),
    ) -> Result<Option<Permit<'g, F>>, Failure> {
        let Some(spec) = spec else {
            return Ok(None);
        };
        let left = exchange.deadline.left().unwrap_or(Duration::MAX);
        let entering = self.client.worker.permit(gate, spec, left);
        let entering = self.client.unless_gone(&exchange.request, entering);
        let permit = entering.await.and_then(|permit| permit);
        match permit {
            Ok(_) | Err(Fault::ClientClosed) => {}
            Err(Fault::QueueTimeout) => timeouts.add(1),
            Err(_) => refused.add(1),
        }
        permit.map(Some).map_err(Failure::Fault)
    }
}
