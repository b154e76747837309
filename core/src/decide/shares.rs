//! Which upstream gets a request that several of them share.

use super::Caller;
use crate::chain::Filter;
use crate::exchange::Exchange;
use crate::resilience::canary::Side;
use crate::snapshot::Route;

/// The upstream, or the canary that takes a share of its requests.
pub(super) fn canary<F: Filter>(
    caller: &Caller<'_, F>,
    route: &Route<F>,
    exchange: &mut Exchange<F>,
    upstream: usize,
) -> usize {
    let Some(spec) = &route.policy.canary else {
        return upstream;
    };
    let point = point(caller, route, exchange);
    let side = route.state.ramp.side(spec, caller.now().moment(), point);
    exchange.account.side = Some(side);
    match side {
        Side::Baseline => upstream,
        Side::Canary => spec.upstream,
    }
}

/// What a share is drawn by: a stable hash of the route's key; chance where there is none, and for
/// requests that have nothing of it.
pub(super) fn point<F: Filter>(
    caller: &Caller<'_, F>,
    route: &Route<F>,
    exchange: &Exchange<F>,
) -> u64 {
    let (head, attributes) = (&exchange.request, &exchange.attributes);
    let names = route.key_names();
    match &route.policy.split_key {
        Some(key) if !key.is_missing(head, attributes, &names) => {
            key.hash(0, head, attributes, &names)
        }
        _ => caller.ids.borrow_mut().random(),
    }
}
