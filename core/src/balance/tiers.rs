//! Who is available, and how much each group of endpoints takes: groups are tried in order of
//! priority and, within one, those of the node's own zone first.

use crate::policy::Balance;
use crate::rt::clock::Moment;

/// What stands against an endpoint by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    Fit,
    Unhealthy,
    Ejected { until: Moment },
    Broken { until: Moment },
    Drained,
}

/// What is known of an endpoint when groups are weighed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) weight: u32,
    pub(super) rank: Rank,
    pub(super) fitness: Fitness,
    /// Whether checks and ejections let it pass, whatever its breaker says.
    pub(super) trust: Trust,
    /// Share of its weight that it gets while it starts slowly, above 0.0.
    pub(super) ramp: f64,
}

/// What checks and ejections say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Good,
    Bad,
}

/// Where a group stands in the order: by priority, then whether its zone is another one than
/// the node's.
pub(super) type Rank = (u8, bool);

/// Whether what checks and ejections say is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Belief {
    #[default]
    Believed,
    /// Too few endpoints would be left: they are ignored.
    Ignored,
}

/// A group of endpoints.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) rank: Rank,
    /// Weight of all its endpoints.
    weight: u64,
    /// Of those that no operator has taken out.
    wanted: u64,
    /// Of those that checks and ejections let pass.
    trusted: u64,
    /// Of those that may be picked.
    usable: u64,
    /// The same, with slow starts counted in.
    ramped: f64,
    /// Share of the requests that it takes, 0.0 to 1.0.
    pub(super) share: f64,
}

impl Tier {
    fn add(&mut self, fact: &Fact) {
        let weight = u64::from(fact.weight);
        self.weight += weight;
        if fact.fitness != Fitness::Drained {
            self.wanted += weight;
            if fact.trust == Trust::Good {
                self.trusted += weight;
            }
        }
    }

    /// Weight in proportion to the other endpoints of all groups.
    pub(super) fn scaled(&self, fact: &Fact) -> f64 {
        f64::from(fact.weight) * fact.ramp * self.share / self.ramped
    }
}

/// Sorts the facts into groups and gives each its share.
///
/// A group takes what is left in proportion to its available weight, all of it from
/// `failover_below` on, so that its endpoints never get more than `1 / failover_below` of what
/// they are meant for while others can help.
pub(super) fn weigh(policy: &Balance, facts: &[Fact], tiers: &mut Vec<Tier>) -> Belief {
    tiers.clear();
    for fact in facts {
        let at = match tiers.binary_search_by_key(&fact.rank, |tier| tier.rank) {
            Ok(at) => at,
            Err(at) => {
                tiers.insert(at, Tier::empty(fact.rank));
                at
            }
        };
        if let Some(tier) = tiers.get_mut(at) {
            tier.add(fact);
        }
    }
    let belief = belief(policy, tiers);
    for fact in facts.iter().filter(|fact| is_usable(fact, belief)) {
        let mut tiers = tiers.iter_mut();
        if let Some(tier) = tiers.find(|tier| tier.rank == fact.rank) {
            tier.usable += u64::from(fact.weight);
            tier.ramped += f64::from(fact.weight) * fact.ramp;
        }
    }
    share_out(policy, tiers);
    belief
}

/// Whether an endpoint may be picked.
pub(super) fn is_usable(fact: &Fact, belief: Belief) -> bool {
    match fact.fitness {
        Fitness::Fit => fact.weight > 0,
        Fitness::Unhealthy | Fitness::Ejected { .. } => {
            belief == Belief::Ignored && fact.weight > 0
        }
        Fitness::Broken { .. } | Fitness::Drained => false,
    }
}

/// Checks are believed while there is a group of which enough is left, or nobody is out.
fn belief(policy: &Balance, tiers: &[Tier]) -> Belief {
    let wanted: u64 = tiers.iter().map(|tier| tier.wanted).sum();
    let trusted: u64 = tiers.iter().map(|tier| tier.trusted).sum();
    let enough = |tier: &Tier| {
        tier.trusted > 0 && tier.trusted as f64 >= policy.panic_below * tier.wanted as f64
    };
    match trusted == wanted || tiers.iter().any(enough) {
        true => Belief::Believed,
        false => Belief::Ignored,
    }
}

fn share_out(policy: &Balance, tiers: &mut [Tier]) {
    let mut left = 1.0;
    for tier in tiers.iter_mut() {
        let available = tier.usable as f64 / tier.weight as f64;
        let able = match tier.usable {
            0 => 0.0,
            _ if available >= policy.failover_below => 1.0,
            _ => available / policy.failover_below,
        };
        tier.share = f64::min(able, left);
        left -= tier.share;
    }
    // What nobody has room for goes to all in the same proportion.
    let taken = 1.0 - left;
    for tier in tiers.iter_mut().filter(|tier| tier.share > 0.0) {
        tier.share /= taken;
    }
}

impl Tier {
    fn empty(rank: Rank) -> Tier {
        Tier {
            rank,
            weight: 0,
            wanted: 0,
            trusted: 0,
            usable: 0,
            ramped: 0.0,
            share: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Moment = Moment(9);

    fn fact(priority: u8, fitness: Fitness) -> Fact {
        let trust = match fitness {
            Fitness::Unhealthy | Fitness::Ejected { .. } => Trust::Bad,
            _ => Trust::Good,
        };
        Fact {
            weight: 1,
            rank: (priority, false),
            fitness,
            trust,
            ramp: 1.0,
        }
    }

    /// Endpoints by letters, groups by spaces: fit, unhealthy, ejected, broken, drained.
    fn weighed(text: &str) -> (Belief, Vec<f64>) {
        let mut facts = Vec::new();
        for (priority, group) in text.split(' ').enumerate() {
            facts.extend(group.chars().map(|letter| {
                let fitness = match letter {
                    'f' => Fitness::Fit,
                    'u' => Fitness::Unhealthy,
                    'e' => Fitness::Ejected { until: UNTIL },
                    'b' => Fitness::Broken { until: UNTIL },
                    _ => Fitness::Drained,
                };
                fact(priority as u8, fitness)
            }));
        }
        let mut tiers = Vec::new();
        let belief = weigh(&Balance::default(), &facts, &mut tiers);
        let shares = tiers.iter().map(|tier| (tier.share * 100.0).round());
        (belief, shares.collect())
    }

    #[test]
    fn the_first_group_takes_everything_while_enough_of_it_is_there() {
        for (text, shares) in [
            ("ff ff", [100.0, 0.0]),
            ("ffffffffuu ff", [100.0, 0.0]),
            // Half of it is left: it takes 0.5 / 0.7, the next one the rest.
            ("ffuu ffff", [71.0, 29.0]),
            ("ffdd ffff", [71.0, 29.0]),
            ("fuuu ffff", [36.0, 64.0]),
            ("uuuu ffff", [0.0, 100.0]),
            ("bbbb ffff", [0.0, 100.0]),
            ("dddd ffff", [0.0, 100.0]),
            // Both are short: 0.5 and 0.5 of 0.7 is more than all.
            ("fu fu", [71.0, 29.0]),
        ] {
            assert_eq!(weighed(text), (Belief::Believed, shares.to_vec()), "{text}");
        }
        assert_eq!(weighed("uu ffuu f").1, [0.0, 71.0, 29.0]);
    }

    #[test]
    fn checks_are_ignored_when_too_few_would_be_left() {
        for (text, belief) in [
            // A half is not below a half.
            ("fu", Belief::Believed),
            ("fe", Belief::Believed),
            ("fuu", Belief::Ignored),
            ("fee", Belief::Ignored),
            ("u", Belief::Ignored),
            ("eu", Belief::Ignored),
            // Those that an operator took out do not count.
            ("fddd", Belief::Believed),
            ("fudd", Belief::Believed),
            ("fuudd", Belief::Ignored),
            // A breaker is no check.
            ("fbbb", Belief::Believed),
            ("bbb", Belief::Believed),
            // A whole group that can help is believed before the broken one gets requests.
            ("uuuu ff", Belief::Believed),
            ("uuuu fuu", Belief::Ignored),
            ("d", Belief::Believed),
            ("", Belief::Believed),
        ] {
            assert_eq!(weighed(text).0, belief, "{text}");
        }
    }

    #[test]
    fn in_panic_all_but_drained_and_broken_ones_are_used() {
        assert_eq!(weighed("fuuuu dddd"), (Belief::Ignored, vec![100.0, 0.0]));
        assert_eq!(weighed("fuuub uu").1, [100.0, 0.0]);
        assert_eq!(weighed("bbbb").1, [0.0]);
    }

    #[test]
    fn nothing_panics_at_zero_while_one_is_left() {
        let policy = Balance {
            panic_below: 0.0,
            ..Balance::default()
        };
        let mut tiers = Vec::new();
        let facts = [fact(0, Fitness::Fit), fact(0, Fitness::Unhealthy)];
        assert_eq!(weigh(&policy, &facts, &mut tiers), Belief::Believed);
        assert_eq!(weigh(&policy, &facts[1..], &mut tiers), Belief::Ignored);
    }
}
