//! How an upstream and its endpoints stand, for `explain`, pages and metrics.

use super::Roster;
use super::tiers::{Belief, Fact, Fitness};
use crate::rt::clock::Moment;

/// Where an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// It is picked from.
    Used {
        /// Share of the requests that are meant for it, 0.0 to 1.0.
        share: f64,
    },
    /// It is available, but groups before its own take everything.
    Spare,
    /// Active checks say that it is down.
    Unhealthy,
    /// It is ejected.
    Ejected {
        /// Until then.
        until: Moment,
    },
    /// Its circuit breaker is open.
    Broken {
        /// Until then.
        until: Moment,
    },
    /// An operator has taken it out, or its weight is zero.
    Drained,
}

/// How an upstream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// All its endpoints.
    pub endpoints: usize,
    /// Those that nothing stands against.
    pub available: usize,
    /// Those that are picked from.
    pub in_use: usize,
    /// Groups that are picked from.
    pub tiers: usize,
    /// What decides who is picked from.
    pub mode: Mode,
}

/// What decides which endpoints are picked from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first group takes everything.
    Usual,
    /// It is short of endpoints: others take a share, or everything.
    Failover,
    /// So few endpoints are available that checks and ejections are not believed.
    Panic,
}

impl Place {
    /// Of an endpoint that is not in use.
    pub(super) fn idle(fact: &Fact) -> Place {
        match fact.fitness {
            _ if fact.weight == 0 => Place::Drained,
            Fitness::Fit => Place::Spare,
            Fitness::Unhealthy => Place::Unhealthy,
            Fitness::Ejected { until } => Place::Ejected { until },
            Fitness::Broken { until } => Place::Broken { until },
            Fitness::Drained => Place::Drained,
        }
    }
}

impl Roster {
    /// How the upstream stands, as of the last sort.
    pub fn standing(&self) -> Standing {
        let usual = self.tiers.first().is_none_or(|tier| tier.share >= 1.0);
        let fit = |fact: &&Fact| fact.fitness == Fitness::Fit && fact.weight > 0;
        Standing {
            endpoints: self.slots.len(),
            available: self.facts.iter().filter(fit).count(),
            in_use: self.live.len(),
            tiers: self.tiers.iter().filter(|tier| tier.share > 0.0).count(),
            mode: match self.belief {
                Belief::Ignored => Mode::Panic,
                Belief::Believed if usual => Mode::Usual,
                Belief::Believed => Mode::Failover,
            },
        }
    }

    /// Where an endpoint stands.
    pub fn place(&self, index: usize) -> Option<Place> {
        self.slots.get(index).map(|slot| slot.place)
    }
}
