use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32};

use proptest::prelude::*;

use super::*;

/// A key's hash: any spread will do.
fn hash(key: u64) -> u64 {
    let mut x = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn at(ms: u64) -> Moment {
    Moment(1_000_000_000 + ms * 1_000_000)
}

#[test]
fn a_key_has_its_places_and_no_more() {
    let counts = Counts::new(100);
    let first = counts.try_enter(hash(1), 2).unwrap();
    let second = counts.try_enter(hash(1), 2).unwrap();
    assert!(counts.try_enter(hash(1), 2).is_none());
    let other = counts.try_enter(hash(2), 2).unwrap();
    assert_eq!((counts.taken(hash(1)), counts.taken(hash(2))), (2, 1));
    counts.leave(first);
    let again = counts.try_enter(hash(1), 2).unwrap();
    for place in [second, other, again] {
        counts.leave(place);
    }
    assert_eq!((counts.taken(hash(1)), counts.taken(hash(2))), (0, 0));
}

#[test]
fn nothing_passes_a_limit_of_nothing() {
    assert!(Counts::new(10).try_enter(hash(1), 0).is_none());
}

#[test]
fn a_smaller_limit_holds_for_places_taken_under_a_larger_one() {
    let counts = Counts::new(10);
    let places: Vec<Place> = (0..5)
        .map(|_| counts.try_enter(hash(1), 5).unwrap())
        .collect();
    assert!(counts.try_enter(hash(1), 3).is_none());
    places.into_iter().for_each(|place| counts.leave(place));
    assert!(counts.try_enter(hash(1), 3).is_some());
}

#[test]
fn newcomers_to_a_full_table_share_a_count_and_the_others_keep_theirs() {
    // One set: seven words for keys.
    let counts = Counts::new(1);
    let known: Vec<Place> = (0..7)
        .map(|key| counts.try_enter(hash(key), 2).unwrap())
        .collect();
    let shared = [8, 9].map(|key| counts.try_enter(hash(key), 2).unwrap());
    assert!(counts.try_enter(hash(10), 2).is_none(), "both are taken");
    assert!(counts.try_enter(hash(8), 2).is_none());
    let second = counts.try_enter(hash(3), 2).unwrap();
    // A word is free again, but nobody knows whose the shared places are.
    let [gone, ..] = known[..] else {
        unreachable!()
    };
    counts.leave(gone);
    assert!(counts.try_enter(hash(8), 2).is_none());
    shared.into_iter().for_each(|place| counts.leave(place));
    let own = [8, 8].map(|key| counts.try_enter(hash(key), 2).unwrap());
    assert!(counts.try_enter(hash(8), 2).is_none());
    let rest = own.into_iter().chain([second]).chain(known[1..].to_vec());
    rest.for_each(|place| counts.leave(place));
    assert!((0..11).all(|key| counts.taken(hash(key)) == 0));
}

#[test]
fn cores_together_never_take_more_places_than_there_are() {
    // Tables that hold all keys, and some that are full all the time.
    for (keys_max, keys) in [(1_000, 40), (1, 3), (1, 20), (6, 60)] {
        let counts = Counts::new(keys_max);
        let held: Vec<AtomicU32> = (0..keys).map(|_| AtomicU32::new(0)).collect();
        let broken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for core in 0..4u64 {
                let (counts, held, broken) = (&counts, &held, &broken);
                scope.spawn(move || {
                    let mut places: Vec<(usize, Place)> = Vec::new();
                    for turn in 0..30_000u64 {
                        let draw = hash(core << 40 | turn);
                        let key = (draw >> 8) as usize % keys;
                        if draw.is_multiple_of(2) || places.len() > 6 {
                            if let Some((key, place)) = places.pop() {
                                held[key].fetch_sub(1, Ordering::SeqCst);
                                counts.leave(place);
                            }
                        } else if let Some(place) = counts.try_enter(hash(key as u64), MAX) {
                            if held[key].fetch_add(1, Ordering::SeqCst) >= MAX {
                                broken.store(true, Ordering::SeqCst);
                            }
                            places.push((key, place));
                        }
                    }
                    for (key, place) in places {
                        held[key].fetch_sub(1, Ordering::SeqCst);
                        counts.leave(place);
                    }
                });
            }
        });
        assert!(
            !broken.into_inner(),
            "{keys} keys in a table for {keys_max}"
        );
        assert!((0..keys as u64).all(|key| counts.taken(hash(key)) == 0));
        let places = (0..MAX).map(|_| counts.try_enter(hash(0), MAX).is_some());
        assert!(places.collect::<Vec<_>>().iter().all(|entered| *entered));
    }
}

const MAX: u32 = 3;

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let spec = RateSpec::new(10, Duration::from_secs(1), 3);
    let rates = Rates::new(100);
    let single = Rate::default();
    let both = |now| {
        let taken = rates.try_take(hash(1), spec, now);
        assert_eq!(single.try_take(spec, now), taken, "{now:?}");
        taken
    };
    assert!((0..3).all(|_| both(at(0))));
    assert!(!both(at(0)) && !both(at(99)));
    assert!(both(at(101)) && !both(at(101)));
    assert!(rates.try_take(hash(2), spec, at(101)), "a key of its own");
    // Long idle fills it, and no further.
    assert!((0..3).all(|_| both(at(60_000))));
    assert!(!both(at(60_000)));
}

#[test]
fn keys_beyond_the_table_share_a_bucket() {
    let spec = RateSpec::new(1, Duration::from_secs(1), 2);
    let rates = Rates::new(1);
    assert!((0..7).all(|key| rates.try_take(hash(key), spec, at(0))));
    let newcomers = (10..20).filter(|key| rates.try_take(hash(*key), spec, at(1)));
    assert_eq!(newcomers.count(), 2);
    assert!(rates.try_take(hash(3), spec, at(1)), "has a token left");
    // Full buckets are forgotten.
    assert!((20..27).all(|key| rates.try_take(hash(key), spec, at(5_000))));
}

proptest! {
    /// In any window no key gets more than the rate of that time and one burst.
    #[test]
    fn no_window_gets_more_than_its_rate_and_a_burst(
        limit in 1u32..50, burst in 1u32..20, keys_max in 1usize..12,
        asks in prop::collection::vec((0u64..20, 0u64..400), 1..400),
    ) {
        let spec = RateSpec::new(limit, Duration::from_secs(1), burst);
        let rates = Rates::new(keys_max);
        let mut granted: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut ms = 0;
        for (key, pause) in asks {
            ms += pause;
            if rates.try_take(hash(key), spec, at(ms)) {
                granted.entry(key).or_default().push(ms);
            }
        }
        for times in granted.values() {
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let most = (to - from) as f64 * f64::from(limit) / 1_000.0 + f64::from(burst);
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6);
                }
            }
        }
    }
}

#[test]
fn cores_together_take_no_more_tokens_than_there_are() {
    let spec = RateSpec::new(1_000, Duration::from_secs(1), 50);
    // Time moves on where nothing is forgotten meanwhile: a thread may be stopped between its
    // look at the clock and its turn.
    for (keys_max, keys, moves) in [(1_000, 20u64, 1), (1, 30, 0)] {
        let rates = Rates::new(keys_max);
        let taken: Vec<AtomicU32> = (0..keys).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for core in 0..4u64 {
                let (rates, taken) = (&rates, &taken);
                scope.spawn(move || {
                    for turn in 0..40_000u64 {
                        let key = hash(core << 40 | turn) % keys;
                        if rates.try_take(hash(key), spec, at(turn / 200 * moves)) {
                            taken[key as usize].fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let most = taken.iter().map(|taken| taken.load(Ordering::SeqCst)).max();
        assert!(
            most <= Some(50 + 200 * moves as u32),
            "{most:?} of {keys} keys"
        );
    }
}
