//! What a session knows of one limit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::board::Figures;
use super::share::Shares;
use super::tally::Tally;
use super::{LEASE_TURNS, Presence, Supply, Terms, Want};

pub(super) struct Limit {
    identity: usize,
    pub(super) terms: Terms,
    pub(super) reconcile: Duration,
    pub(super) due: Instant,
    pub(super) shares: Shares,
    pub(super) tally: Tally,
    pub(super) figures: Figures,
    /// Keys with a grant, by its end.
    grants: VecDeque<(Instant, u64)>,
    /// What was leased before goes back to nobody.
    returns_from: Instant,
}

impl Limit {
    pub(super) fn new(supply: &dyn Supply, nodes: u32, now: Instant) -> Self {
        let terms = supply.terms();
        let reconcile = supply.reconcile().max(RECONCILE_MIN);
        Self {
            identity: supply.identity(),
            terms,
            reconcile,
            due: now,
            shares: Shares::new(terms, nodes, reconcile * LEASE_TURNS, now),
            tally: Tally::new(terms.per, now),
            figures: Figures {
                policy: supply.policy().into(),
                position: supply.position(),
                bounds: [Presence::Answers, Presence::Away]
                    .map(|presence| terms.bound(nodes, supply.credit(), presence)),
                ..Figures::default()
            },
            grants: VecDeque::new(),
            returns_from: now,
        }
    }

    /// How long what it leases is good.
    pub(super) fn lease(&self) -> Duration {
        self.reconcile * LEASE_TURNS
    }

    /// Whether that was the same limit, perhaps by other terms.
    pub(super) fn succeeds(&self, former: &Self) -> bool {
        let name = |limit: &Self| (limit.figures.policy.clone(), limit.figures.position);
        name(self) == name(former) && self.terms.algorithm == former.terms.algorithm
    }

    /// Goes on where a former one stood.
    pub(super) fn inherit(&mut self, former: Self, nodes: u32, now: Instant) {
        let lease = self.lease();
        if former.identity == self.identity {
            // Grants that were good for longer seem to have been made later than they were.
            let longer = former.lease().saturating_sub(lease);
            self.returns_from = match longer.is_zero() {
                true => former.returns_from,
                false => former.returns_from.max(now + longer),
            };
            self.grants = former.grants;
        }
        self.shares = former.shares;
        self.shares.adopt(self.terms, nodes, lease, now);
        if former.terms.per == self.terms.per {
            self.tally = former.tally;
        }
        self.figures.observed = former.figures.observed;
        self.figures.leased = former.figures.leased;
        self.figures.back = former.figures.back;
        self.figures.debt = former.figures.debt;
    }

    /// Another connection begins, perhaps to another server: nothing of before goes back to it.
    pub(super) fn meet(&mut self, now: Instant) {
        self.returns_from = self.returns_from.max(now);
    }

    /// Takes note of a grant.
    pub(super) fn note_grant(&mut self, hash: u64, until: Instant) {
        if self.grants.len() < GRANTS_MAX {
            self.grants.push_back((until, hash));
        }
    }

    /// What keys ask for, owe and give back.
    pub(super) fn gather(&mut self, supply: &dyn Supply, now: Instant) -> Vec<Want> {
        while let Some((_, hash)) = self.grants.pop_front_if(|(until, _)| *until <= now) {
            supply.end_grant(hash);
        }
        let mut wants = Vec::new();
        supply.wants(&mut |mut want| {
            let leased = want.ended.and_then(|ended| ended.checked_sub(self.lease()));
            if leased.is_none_or(|leased| leased < self.returns_from) {
                want.back = 0;
            }
            if (want.asked, want.back, want.debt) != (0, 0, 0) {
                wants.push(want);
            }
        });
        wants
    }
}

/// Grants whose end is watched; what is left of others is lost to the limit.
const GRANTS_MAX: usize = 65_536;
/// Nothing is settled more often.
pub(super) const RECONCILE_MIN: Duration = Duration::from_millis(1);
