//! Never more than `limit + burst` in any window.

use proptest::prelude::*;

use super::*;

/// What happens in a run.
#[derive(Clone, Debug)]
struct Story {
    cores: usize,
    limit: Limit,
    skew: Skew,
    /// Requests beside the limit, in hundredths.
    demand: u64,
    weight_max: u32,
    keys: u64,
    keys_max: usize,
    /// One request in so many stalls its core for a time.
    stalls: u64,
    /// Nanoseconds by which cores decide by an earlier moment than others at most.
    lag: u64,
    seed: u64,
}

impl Story {
    fn run(&self) -> Node {
        let per = self.limit.period.nanos();
        let mut node = Node::new(self.cores, &self.limit, self.keys_max, None);
        let mut random = Random(self.seed);
        let mut stalled_until = vec![0; self.cores];
        let mut seen = vec![BEGIN; self.cores];
        let gap = (per * 100 / (self.limit.limit * self.keys * self.demand)).max(1);
        let end = BEGIN + 4 * per;
        let mut now = BEGIN;
        for _ in 0..REQUESTS_MAX {
            if now > end {
                break;
            }
            let core = self.skew.core(self.cores, now, &mut random);
            // A flood, then nothing: what was leased and not used comes back in between.
            now += match random.below(64) {
                0 => per / 3,
                _ => random.below(2 * gap) + 1,
            };
            if now < stalled_until[core] {
                continue;
            }
            if self.stalls > 0 && random.below(self.stalls) == 0 {
                stalled_until[core] = now + random.below(per / 4);
            }
            // A core's own clock never goes back.
            seen[core] = (now - random.below(self.lag + 1)).max(seen[core]);
            let key = (1 + random.below(self.keys)).wrapping_mul(0x0101_0101_0101_0101);
            let need = 1 + random.below(u64::from(self.weight_max)) as u32;
            node.request(core, key, need, seen[core]);
        }
        node
    }

    fn check(&self) {
        let mut node = self.run();
        let bound = self.limit.limit + self.limit.burst;
        node.log.check(&self.limit, bound, &format!("{self:?}"));
    }
}

/// A run that would take longer ends early.
const REQUESTS_MAX: usize = 10_000;

fn story() -> impl Strategy<Value = Story> {
    let algorithm = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
    ];
    let limit = (
        algorithm,
        prop_oneof![1..20u64, 20..2000u64],
        prop_oneof![Just(0), 1..50u64, 50..5000u64],
        prop_oneof![Just(10), Just(1000), Just(60_000), Just(3_600_000)],
        prop_oneof![Just(1), Just(10), Just(1000)],
    );
    let limit = limit.prop_map(|(algorithm, limit, burst, per_ms, reconcile_ms)| Limit {
        limit,
        burst,
        period: Period::Span(Duration::from_millis(per_ms)),
        algorithm,
        reconcile: Duration::from_millis(reconcile_ms),
    });
    let place = (1..=64usize, 0..SKEWS.len(), 20..1000u64, any::<u64>());
    let load = (1..=20u32, prop_oneof![Just(1), 1..200u64], 1..64usize);
    let trouble = (
        prop_oneof![Just(0), 1..200u64],
        prop_oneof![Just(0), 0..2_000_000u64],
    );
    (limit, place, load, trouble).prop_map(|(limit, place, load, trouble)| Story {
        limit,
        cores: place.0,
        skew: SKEWS[place.1],
        demand: place.2,
        weight_max: load.0,
        keys: load.1,
        keys_max: load.2,
        stalls: trouble.0,
        lag: trouble.1,
        seed: place.3,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_story_breaks_the_bound(story in story()) {
        story.check();
    }

    #[test]
    fn no_reload_breaks_the_bound(
        algorithm in 0..3usize,
        (one, two) in ((1..500u64, 0..300u64), (1..500u64, 0..300u64)),
        every_ms in 1..400u64,
        seed in any::<u64>(),
    ) {
        let algorithm = [
            Algorithm::TokenBucket,
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
        ][algorithm];
        let per = Duration::from_secs(1);
        let numbers = [
            limit(algorithm, one.0, one.1, per),
            limit(algorithm, two.0, two.1, per),
        ];
        let mut node = Node::new(8, &numbers[0], 16, None);
        let mut random = Random(seed);
        let mut now = BEGIN;
        let mut next = BEGIN;
        let mut turn = 0;
        while now < BEGIN + 4 * SECOND {
            if now >= next {
                turn += 1;
                node.reload(&numbers[turn % 2], now);
                next += every_ms * 1_000_000;
            }
            let core = Skew::Halving.core(8, now, &mut random);
            node.request(core, 5, 1, now);
            now += random.below(4_000_000);
        }
        let bound = one.0.max(two.0) + one.1.max(two.1);
        node.log.check(&numbers[0], bound, "two numbers by turns");
    }
}

#[test]
fn a_thousand_reloads_grant_nothing() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        let day = Duration::from_secs(24 * 3600);
        let numbers = [
            limit(algorithm, 100, 50, day),
            limit(algorithm, 40, 10, day),
        ];
        let mut node = Node::new(4, &numbers[0], 16, None);
        let mut now = BEGIN;
        let mut admitted = 0;
        for turn in 0..1000 {
            node.reload(&numbers[turn % 2], now);
            admitted += (0..4).filter(|core| node.request(*core, 5, 1, now)).count();
            now += 1_000_000;
        }
        // The token that the bucket has beyond its burst.
        assert!(admitted <= 151, "{algorithm:?}: {admitted}");
    }
}

#[test]
fn a_longer_window_keeps_what_was_used() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let short = limit(algorithm, 100, 20, Duration::from_secs(1));
        let long = limit(algorithm, 100, 20, Duration::from_secs(3600));
        let mut node = Node::new(1, &short, 16, None);
        while node.request(0, 5, 1, BEGIN) {}
        node.reload(&long, BEGIN + 1000);
        let admitted = (0..200)
            .filter(|_| node.request(0, 5, 1, BEGIN + 2000))
            .count();
        assert_eq!(admitted, 0, "{algorithm:?}");
    }
}

#[test]
fn keys_without_a_slot_are_refused_and_counted() {
    // One group of 64 slots, and a thousand keys that all use theirs.
    let numbers = limit(Algorithm::FixedWindow, 5, 0, Duration::from_secs(10));
    let mut node = Node::new(2, &numbers, 40, None);
    let mut admitted = 0;
    for key in 1..=1000 {
        admitted += usize::from(node.request(0, key, 1, BEGIN + key));
    }
    assert_eq!(admitted, 64);
    assert_eq!(node.ledger.stats().sum(|stats| &stats.crowded), 936);
    assert_eq!(node.ledger.stats().sum(|stats| &stats.keys), 64);
    // In the next window all are idle, so others may have their slots.
    let later = BEGIN + 10 * SECOND;
    let again = (2001..=2064)
        .filter(|key| node.request(0, *key, 1, later))
        .count();
    assert_eq!(again, 64);
}

#[test]
fn a_key_that_was_away_for_long_is_as_good_as_new() {
    let numbers = limit(Algorithm::SlidingWindow, 5, 0, Duration::from_secs(1));
    for minutes in [1, 69, 90, 139, 200] {
        let mut node = Node::new(2, &numbers, 40, None);
        assert!(node.request(0, 5, 1, BEGIN));
        for key in 101..=163 {
            assert!(node.request(0, key, 5, BEGIN + key));
        }
        let later = BEGIN + minutes * 60 * SECOND;
        assert!(node.request(1, 5, 1, later), "after {minutes} min");
        // The others are idle, so their slots are to be had.
        for key in 1001..=1063 {
            assert!(node.request(0, key, 5, later), "after {minutes} min");
        }
    }
}

#[test]
fn a_key_comes_back_to_numbers_that_have_run_round() {
    let millisecond = Duration::from_millis(1);
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        for numbers in [
            limit(algorithm, 1, 0, millisecond),
            limit(algorithm, 1_000_000_000, 1_000_000_000, millisecond),
        ] {
            for bit in 3..32 {
                // Half a turn of each number of bits and a little more, in milliseconds.
                let mut node = Node::new(2, &numbers, 16, None);
                assert!(node.request(0, 5, 1, BEGIN));
                node.next_tick = u64::MAX;
                let later = BEGIN + (3 << bit) * 500_000;
                assert!(node.request(1, 5, 1, later), "{numbers:?} after {bit} bits");
            }
        }
    }
}

#[test]
fn a_refusal_is_believed_for_a_lease_at_most() {
    let hour = Duration::from_secs(3600);
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        let mut node = Node::new(1, &limit(algorithm, 10, 5, hour), 16, None);
        while node.request(0, 5, 1, BEGIN) {}
        assert!(!node.request(0, 5, 1, BEGIN + 5_000_000));
        let asked = node.ledger.stats().sum(|stats| &stats.asked);
        assert!(!node.request(0, 5, 1, BEGIN + 6_000_000));
        assert_eq!(node.ledger.stats().sum(|stats| &stats.asked), asked);
        assert!(node.ledger.reset(5, Moment(BEGIN + 7_000_000)));
        assert!(node.request(0, 5, 1, BEGIN + 20_000_000), "{algorithm:?}");
        while node.request(0, 5, 1, BEGIN + 30_000_000) {}
        node.reload(&limit(algorithm, 100, 50, hour), BEGIN + 31_000_000);
        assert!(node.request(0, 5, 1, BEGIN + 41_000_000), "{algorithm:?}");
    }
}

#[test]
fn leases_of_former_numbers_do_not_come_back() {
    let numbers = limit(Algorithm::FixedWindow, 1000, 0, Duration::from_secs(3600));
    let mut node = Node::new(1, &numbers, 16, None);
    for step in 0..20 {
        assert!(node.request(0, 5, 1, BEGIN + step * 1000));
    }
    let more = limit(Algorithm::FixedWindow, 2000, 0, Duration::from_secs(3600));
    node.reload(&more, BEGIN + 50_000);
    assert!(node.request(0, 6, 1, BEGIN + 10 * TICK));
    assert_eq!(node.ledger.stats().sum(|stats| &stats.returned), 0);
}

#[test]
fn unused_tokens_come_back() {
    // Two cores by turns: what the first leases ahead it does not use, and the second must be
    // able to.
    let numbers = limit(Algorithm::FixedWindow, 1000, 0, Duration::from_secs(3600));
    let mut node = Node::new(2, &numbers, 16, None);
    let mut now = BEGIN;
    for _ in 0..400 {
        assert!(node.request(0, 5, 1, now));
        now += 1000;
    }
    now += 10 * TICK;
    let rest = (0..1000).filter(|_| node.request(1, 5, 1, now)).count();
    assert_eq!(rest, 600);
    assert!(node.ledger.stats().sum(|stats| &stats.returned) > 0);
}

#[test]
fn leases_come_back_after_a_reload_that_has_them_live_shorter() {
    let hour = Duration::from_secs(3600);
    let long = Limit {
        reconcile: Duration::from_secs(1),
        ..limit(Algorithm::FixedWindow, 1000, 0, hour)
    };
    let mut node = Node::new(1, &long, 16, None);
    for step in 0..200 {
        assert!(node.request(0, 5, 1, BEGIN + step * 1000));
    }
    node.reload(
        &limit(Algorithm::FixedWindow, 1000, 0, hour),
        BEGIN + SECOND,
    );
    let returned = |node: &Node| node.ledger.stats().sum(|stats| &stats.returned);
    assert!(node.request(0, 6, 1, BEGIN + SECOND + TICK));
    assert_eq!(returned(&node), 0, "those of before the reload do not");
    // Until a lease has just begun.
    let leased = |node: &Node| node.ledger.stats().sum(|stats| &stats.leased);
    let (mut before, mut step) = (leased(&node), 0);
    while step < 200 || leased(&node) == before {
        before = leased(&node);
        step += 1;
        assert!(node.request(0, 5, 1, BEGIN + SECOND + TICK + step * 1000));
    }
    assert!(node.request(0, 6, 1, BEGIN + SECOND + 3 * TICK));
    assert!(returned(&node) > 0);
}

#[test]
fn a_busy_key_asks_seldom() {
    let numbers = limit(
        Algorithm::TokenBucket,
        1_000_000_000,
        1_000_000,
        Duration::from_secs(1),
    );
    let mut node = Node::new(1, &numbers, 16, None);
    for step in 0..100_000 {
        assert!(node.request(0, 5, 1, BEGIN + step * 100));
    }
    // A lease lasts a 32nd of 10 ms, but for the first few.
    let asked = node.ledger.stats().sum(|stats| &stats.asked);
    assert!(asked <= 64, "{asked}");
}
