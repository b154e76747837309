//! What an endpoint is chosen by.

use super::Choice;
use crate::balance;
use crate::chain::Filter;
use crate::exchange::Exchange;
use crate::policy::{self, Algorithm};
use crate::rt::clock::Moment;
use crate::snapshot::{Route, Upstream};

/// What an endpoint is chosen by.
pub(crate) struct Asked<'a> {
    /// The upstream as configured.
    pub(crate) spec: &'a Upstream,
    /// The way of picking.
    pub(crate) choice: &'a policy::Choice,
    /// Of the key or the address that the way asks for.
    pub(crate) hash: u64,
    pub(crate) random: u64,
    pub(crate) now: Moment,
    /// Endpoints that are left for the last.
    pub(crate) tried: Tried,
    /// The id of the endpoint that the client's cookie names.
    pub(crate) pinned: Option<u64>,
}

/// The endpoints that an exchange has tried, the last ones of many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tried {
    ids: [u64; TRIED_MAX],
    len: usize,
}

/// More attempts than any policy makes need not all be remembered.
pub(super) const TRIED_MAX: usize = 8;

impl<'a> Asked<'a> {
    /// For a request that only its upstream says something about.
    pub(crate) fn of(spec: &'a Upstream, random: u64) -> Asked<'a> {
        Asked {
            spec,
            choice: &spec.policy.balance.choice,
            hash: random,
            random,
            now: Moment::now(),
            tried: Tried::default(),
            pinned: None,
        }
    }
}

/// What an endpoint is hashed by, where the way of picking hashes.
pub(crate) fn balance_hash<F: Filter>(
    choice: &policy::Choice,
    route: &Route<F>,
    exchange: &Exchange<F>,
    random: u64,
) -> u64 {
    let names = route.key_names();
    let (head, attributes) = (&exchange.request, &exchange.attributes);
    match (choice.algorithm, &choice.key) {
        // What has nothing of the key belongs nowhere, and spreads.
        (Algorithm::ConsistentHash, Some(key)) if key.is_missing(head, attributes, &names) => {
            random
        }
        (Algorithm::ConsistentHash, Some(key)) => key.hash(0, head, attributes, &names),
        (Algorithm::IpHash, _) => balance::hash_address(attributes.client.ip),
        _ => 0,
    }
}

impl Tried {
    /// These and one more.
    pub(crate) fn with(mut self, choice: &Choice) -> Tried {
        if self.len == TRIED_MAX {
            self.ids.rotate_left(1);
            self.len -= 1;
        }
        self.ids[self.len] = choice.endpoint.id;
        self.len += 1;
        self
    }

    /// These without the one that was added last.
    pub(crate) fn without_last(mut self) -> Tried {
        self.len = self.len.saturating_sub(1);
        self
    }

    pub(crate) fn has(&self, choice: &Choice) -> bool {
        self.ids().contains(&choice.endpoint.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ids(&self) -> &[u64] {
        &self.ids[..self.len]
    }
}
