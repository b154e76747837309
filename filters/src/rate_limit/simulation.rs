//! What the limiter promises, on a clock of its own: cores that share a ledger, demand that is
//! skewed and moves, cores that stall, reloads, and more keys than there are slots. Every
//! admission is written down, and every window is added up.
#![allow(clippy::unwrap_used)]

mod bound;
mod nodes;
mod threads;
mod utilisation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringgate_core::rt::clock::Moment;

use super::lease::{Claim, Hold, Leases};
use super::ledger::{Ledger, LedgerSpec};
use super::{Algorithm, Cluster, Ledgers, Limit, Period};

/// When a simulation begins.
const BEGIN: u64 = 5_000_000_123;
const SECOND: u64 = 1_000_000_000;
/// As the engine ticks.
const TICK: u64 = SECOND / 10;

/// Numbers that look random and are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

fn limit(algorithm: Algorithm, limit: u64, burst: u64, per: Duration) -> Limit {
    Limit {
        limit,
        burst,
        period: Period::Span(per),
        algorithm,
        reconcile: Duration::from_millis(10),
    }
}

/// Cores that share one ledger.
struct Node {
    ledgers: Ledgers,
    ledger: Arc<Ledger>,
    cores: Vec<Leases>,
    keys_max: usize,
    cluster: Option<Cluster>,
    log: Log,
    next_tick: u64,
}

impl Node {
    fn new(cores: usize, limit: &Limit, keys_max: usize, cluster: Option<Cluster>) -> Node {
        let ledgers = Ledgers::new(cores, 7);
        let spec = LedgerSpec {
            limit: limit.clone(),
            keys_max,
            cluster: cluster.clone(),
        };
        let ledger = ledgers.ledger("test", 0, "key", &spec, Moment(BEGIN));
        Node {
            ledgers,
            ledger,
            cores: (0..cores).map(|_| Leases::default()).collect(),
            keys_max,
            cluster,
            log: Log::default(),
            next_tick: BEGIN + TICK,
        }
    }

    /// A reload: the ledger stays, the numbers may change.
    fn reload(&mut self, limit: &Limit, now: u64) {
        let spec = LedgerSpec {
            limit: limit.clone(),
            keys_max: self.keys_max,
            cluster: self.cluster.clone(),
        };
        let ledger = self.ledgers.ledger("test", 0, "key", &spec, Moment(now));
        assert!(Arc::ptr_eq(&ledger, &self.ledger));
        self.ledgers.hold(&ledger, &spec, Moment(now));
    }

    /// Has the cores tick as often as they would have by now.
    fn tick(&mut self, now: u64) {
        while now >= self.next_tick {
            let at = Moment(self.next_tick);
            self.cores.iter_mut().for_each(|core| core.tick(at));
            self.next_tick += TICK;
        }
    }

    /// A request; tells whether it was admitted.
    fn request(&mut self, core: usize, key: u64, need: u32, now: u64) -> bool {
        self.tick(now);
        let admitted = decide(&mut self.cores[core], &self.ledger, key, need, now);
        if let Some(at) = admitted {
            self.log.add(key, at, need);
        }
        admitted.is_some()
    }
}

/// The moment that a request was admitted by.
fn decide(core: &mut Leases, ledger: &Arc<Ledger>, key: u64, need: u32, now: u64) -> Option<u64> {
    let claim = Claim {
        hash: key,
        need,
        now: Moment(now),
    };
    let (Hold::Enough { at }, _) = core.hold(ledger, &claim) else {
        return None;
    };
    core.take(ledger, &claim);
    Some(at.0)
}

/// What was admitted, by key: when, and how much.
#[derive(Default)]
struct Log(BTreeMap<u64, Vec<(u64, u32)>>);

impl Log {
    fn add(&mut self, key: u64, now: u64, tokens: u32) {
        self.0.entry(key).or_default().push((now, tokens));
    }

    fn total(&self, from: u64) -> u64 {
        let all = self.0.values().flatten();
        all.filter(|(at, _)| *at >= from)
            .map(|(_, tokens)| u64::from(*tokens))
            .sum()
    }

    /// The most tokens of one key in any half-open window of `per`.
    fn fullest_window(&mut self, per: u64) -> u64 {
        let mut fullest = 0;
        for admissions in self.0.values_mut() {
            admissions.sort_unstable();
            let (mut first, mut sum) = (0, 0);
            for &(at, tokens) in &*admissions {
                sum += u64::from(tokens);
                while admissions[first].0 + per <= at {
                    sum -= u64::from(admissions[first].1);
                    first += 1;
                }
                fullest = fullest.max(sum);
            }
        }
        fullest
    }

    /// The most tokens of one key between two multiples of `per`.
    fn fullest_aligned(&self, per: u64) -> u64 {
        let mut fullest = 0;
        for admissions in self.0.values() {
            let mut sums = BTreeMap::<u64, u64>::new();
            for (at, tokens) in admissions {
                *sums.entry(at / per).or_default() += u64::from(*tokens);
            }
            fullest = fullest.max(sums.into_values().max().unwrap_or(0));
        }
        fullest
    }

    /// Asserts what the algorithm promises.
    fn check(&mut self, limit: &Limit, bound: u64, what: &str) {
        let per = limit.period.nanos();
        let fullest = match limit.algorithm {
            Algorithm::FixedWindow => self.fullest_aligned(per),
            Algorithm::TokenBucket | Algorithm::SlidingWindow => self.fullest_window(per),
        };
        assert!(fullest <= bound, "{what}: {fullest} of {bound} in a window");
    }
}

/// Where requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skew {
    /// On all cores alike.
    Even,
    /// On one core.
    One,
    /// Half on the first, a quarter on the second, and so on.
    Halving,
    /// On one core, another one each time so many nanoseconds have passed.
    Moving(u64),
}

const SKEWS: [Skew; 5] = [
    Skew::Even,
    Skew::One,
    Skew::Halving,
    Skew::Moving(SECOND),
    Skew::Moving(3 * SECOND / 100),
];

impl Skew {
    fn core(self, cores: usize, now: u64, random: &mut Random) -> usize {
        match self {
            Skew::Even => random.below(cores as u64) as usize,
            Skew::One => 0,
            Skew::Halving => (random.next().trailing_ones() as usize).min(cores - 1),
            Skew::Moving(every) => {
                let turn = now / every;
                Random(turn).below(cores as u64) as usize
            }
        }
    }
}
