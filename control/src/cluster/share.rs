//! What one node admits of a limit while the server is away: its part of the limit, flowing
//! evenly and empty at first, so that whatever was leased before stays within the limit
//! together with it. What is granted is owed, and settled when the server is back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Algorithm, Terms, Want};

/// The shares of a limit's keys.
#[derive(Debug)]
pub(super) struct Shares {
    terms: Terms,
    /// Tokens a second.
    flow: f64,
    /// Tokens that a key which was quiet may use at once.
    capacity: f64,
    since: Instant,
    keys: HashMap<u64, Share>,
}

/// The share of one key.
#[derive(Debug)]
struct Share {
    /// Below zero after credit.
    tokens: f64,
    filled: Instant,
    owed: Owed,
}

/// What a key owes: used of late, by parts of `per`.
#[derive(Debug, Default)]
struct Owed {
    parts: [u64; PARTS],
    /// The number of the part that is written, from the time the server went away.
    part: u64,
}

impl Shares {
    /// The share of one of `nodes` nodes, whose grants are good for `lease`.
    pub(super) fn new(terms: Terms, nodes: u32, lease: Duration, now: Instant) -> Self {
        let nodes = f64::from(nodes.max(1));
        let per = terms.per.as_secs_f64().max(1e-6);
        let limit = terms.limit as f64 / nodes;
        let (capacity, flowing) = match terms.algorithm {
            Algorithm::TokenBucket => ((terms.burst as f64 / nodes).max(1.0), limit),
            // Flow and capacity together are what any window holds.
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                let at_once = (limit * lease.as_secs_f64() / per).max(1.0);
                let flowing = limit - at_once;
                match flowing > limit / 2.0 {
                    true => (at_once, flowing),
                    false => (1.0, limit),
                }
            }
        };
        Self {
            terms,
            flow: flowing / per,
            capacity,
            since: now,
            keys: HashMap::new(),
        }
    }

    /// Goes on by other terms. What keys have used and owe stays.
    pub(super) fn adopt(&mut self, terms: Terms, nodes: u32, lease: Duration, now: Instant) {
        let Self { flow, capacity, .. } = Self::new(terms, nodes, lease, now);
        let part = self.part(now);
        let per = std::mem::replace(&mut self.terms, terms).per;
        let part_of_these = self.part(now);
        for share in self.keys.values_mut() {
            share.fill(self.flow, self.capacity, now);
            share.tokens = share.tokens.min(capacity);
            // Parts of another length: all counts as if it were of the one that is written.
            if per != terms.per {
                let owed = share.owed.of_late(part);
                share.owed = Owed::default();
                share.owed.add(part_of_these, owed);
            }
        }
        (self.flow, self.capacity) = (flow, capacity);
    }

    /// The server is away from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
        self.keys.clear();
    }

    /// What a key that asks gets of its share; what it had on credit comes out of it too.
    pub(super) fn grant(&mut self, want: &Want, now: Instant) -> u64 {
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&want.hash) {
            self.forget_quiet(now);
            if self.keys.len() >= KEYS_MAX {
                return 0;
            }
        }
        let (since, flow, capacity) = (self.since, self.flow, self.capacity);
        let part = self.part(now);
        let share = self.keys.entry(want.hash).or_insert_with(|| Share {
            tokens: 0.0,
            filled: since,
            owed: Owed::default(),
        });
        share.fill(flow, capacity, now);
        let granted = (share.tokens - want.debt as f64).floor().max(0.0) as u64;
        let granted = granted.min(want.asked);
        share.tokens -= (granted + want.debt) as f64;
        share.owed.add(part, granted + want.debt);
        granted
    }

    /// Takes note of what a key owes beside its share.
    pub(super) fn owe(&mut self, hash: u64, debt: u64, now: Instant) {
        let want = Want {
            hash,
            debt,
            ..Want::default()
        };
        self.grant(&want, now);
    }

    /// Takes out what keys owe, for a server that is back.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Want> {
        let part = self.part(now);
        let leaked = |share: &mut Share| match self.terms.algorithm {
            // What has flowed in meanwhile is paid: the server's bucket has filled as well.
            Algorithm::TokenBucket => {
                share.fill(self.flow, self.capacity, now);
                (self.capacity - share.tokens).max(0.0).ceil() as u64
            }
            Algorithm::FixedWindow | Algorithm::SlidingWindow => u64::MAX,
        };
        let keys = std::mem::take(&mut self.keys);
        let owed = keys.into_iter().map(|(hash, mut share)| Want {
            hash,
            debt: share.owed.of_late(part).min(leaked(&mut share)),
            ..Want::default()
        });
        owed.filter(|want| want.debt > 0).collect()
    }

    fn part(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since).as_nanos();
        let part = (self.terms.per.as_nanos() / (PARTS as u128 - 1)).max(1);
        (passed / part) as u64
    }

    /// Forgets keys that neither used nor owe anything of late.
    fn forget_quiet(&mut self, now: Instant) {
        let part = self.part(now);
        let (flow, capacity) = (self.flow, self.capacity);
        self.keys.retain(|_, share| {
            share.fill(flow, capacity, now);
            share.tokens < capacity || share.owed.of_late(part) > 0
        });
    }
}

impl Share {
    fn fill(&mut self, flow: f64, capacity: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * flow).min(capacity);
        self.filled = self.filled.max(now);
    }
}

impl Owed {
    fn add(&mut self, part: u64, tokens: u64) {
        self.turn(part);
        let now = &mut self.parts[part as usize % PARTS];
        *now = now.saturating_add(tokens);
    }

    /// What was used within the last `per`, or up to a part longer ago.
    fn of_late(&mut self, part: u64) -> u64 {
        self.turn(part);
        self.parts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn turn(&mut self, part: u64) {
        for over in (self.part + 1..=part).take(PARTS) {
            self.parts[over as usize % PARTS] = 0;
        }
        self.part = self.part.max(part);
    }
}

/// Parts of `per`, and one that is being written.
const PARTS: usize = 9;
/// Keys with a share at a time; the next ones get none until others are quiet.
const KEYS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        algorithm: Algorithm::TokenBucket,
        limit: 100,
        per: Duration::from_secs(1),
        burst: 40,
    };

    fn ask(asked: u64) -> Want {
        Want {
            hash: 7,
            asked,
            ..Want::default()
        }
    }

    fn shares(terms: Terms) -> (Shares, Instant) {
        let now = Instant::now();
        (Shares::new(terms, 2, Duration::from_millis(30), now), now)
    }

    #[test]
    fn begins_empty_and_flows() {
        let (mut shares, start) = shares(TERMS);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(shares.grant(&ask(100), at(0)), 0);
        assert_eq!(shares.grant(&ask(100), at(100)), 5);
        assert_eq!(
            shares.grant(&ask(3), at(200)),
            3,
            "no more than is asked for"
        );
        assert_eq!(
            shares.grant(&ask(100), at(60_000)),
            20,
            "its part of the burst"
        );
    }

    #[test]
    fn no_window_holds_more_than_the_share() {
        for algorithm in [
            Algorithm::TokenBucket,
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
        ] {
            let burst = match algorithm {
                Algorithm::TokenBucket => 40,
                _ => 0,
            };
            let (mut shares, start) = shares(Terms {
                algorithm,
                burst,
                ..TERMS
            });
            let granted: Vec<u64> = (0..4_000)
                .map(|ms| shares.grant(&ask(100), start + Duration::from_millis(ms)))
                .collect();
            let most = granted.windows(1_000).map(|w| w.iter().sum::<u64>()).max();
            assert!(most <= Some(50 + burst / 2), "{algorithm:?}: {most:?}");
            assert!(most >= Some(46), "{algorithm:?}: {most:?}");
        }
    }

    #[test]
    fn credit_comes_out_of_the_share() {
        let (mut shares, start) = shares(TERMS);
        let want = Want {
            debt: 10,
            ..ask(100)
        };
        assert_eq!(shares.grant(&want, start), 0);
        let later = start + Duration::from_millis(300);
        assert_eq!(shares.grant(&ask(100), later), 5, "15 have flowed");
    }

    #[test]
    fn other_terms_forget_nothing() {
        let terms = Terms {
            algorithm: Algorithm::SlidingWindow,
            burst: 0,
            ..TERMS
        };
        let (mut shares, start) = shares(terms);
        let at = |ms| start + Duration::from_millis(ms);
        let used: u64 = (0..500).map(|ms| shares.grant(&ask(9), at(ms))).sum();
        assert!(used > 10, "{used}");
        let doubled = Terms {
            limit: 200,
            per: Duration::from_secs(2),
            ..terms
        };
        shares.adopt(doubled, 2, Duration::from_millis(30), at(500));
        assert_eq!(
            shares.grant(&ask(100), at(500)),
            0,
            "what has flowed is used"
        );
        let owed = shares.settle(at(500));
        assert_eq!(owed[0].debt, used);
    }

    #[test]
    fn a_long_absence_is_not_all_owed() {
        let (mut shares, start) = shares(TERMS);
        let end = start + Duration::from_secs(600);
        for second in 1..=600 {
            shares.grant(&ask(100), start + Duration::from_secs(second));
        }
        let owed = shares.settle(end);
        assert_eq!(owed.len(), 1);
        assert!(owed[0].debt <= 20, "the bucket filled meanwhile: {owed:?}");
        assert_eq!(shares.settle(end), [], "settled once");
    }

    #[test]
    fn windows_owe_what_the_last_one_held() {
        let (mut shares, start) = shares(Terms {
            algorithm: Algorithm::FixedWindow,
            burst: 0,
            ..TERMS
        });
        let at = |ms| start + Duration::from_millis(ms);
        let used: u64 = (0..10_000).map(|ms| shares.grant(&ask(9), at(ms))).sum();
        assert!(used > 400);
        let owed = shares.settle(at(10_000))[0].debt;
        assert!((40..=60).contains(&owed), "{owed}");
    }

    #[test]
    fn a_full_table_grants_nothing_to_new_keys() {
        let (mut shares, start) = shares(TERMS);
        let later = start + Duration::from_secs(1);
        for hash in 0..KEYS_MAX as u64 {
            let want = Want { hash, ..ask(1) };
            assert_eq!(shares.grant(&want, later), 1);
        }
        let new = Want {
            hash: u64::MAX,
            ..ask(1)
        };
        assert_eq!(shares.grant(&new, later), 0);
        let quiet = later + Duration::from_secs(10);
        assert_eq!(shares.grant(&new, quiet), 1, "the others are forgotten");
    }
}
