//! At least 98 % of the limit is used when demand exceeds it, however it arrives.

use super::*;

/// Requests at about twice the limit, small limits more often; the share of the limit that was admitted behind the
/// first window.
fn share_used(cores: usize, limit: &Limit, skew: Skew, windows: u64) -> f64 {
    let per = limit.period.nanos();
    let mut node = Node::new(cores, limit, 64, None);
    let mut random = Random(cores as u64);
    // Whatever counts whole requests loses the time until the next one comes.
    let gap = per / (2 * limit.limit).max(200);
    let end = BEGIN + (windows + 2) * per;
    let mut now = BEGIN;
    while now < end {
        let core = skew.core(cores, now, &mut random);
        node.request(core, 11, 1, now);
        now += gap / 2 + random.below(gap.max(1)) + 1;
    }
    let what = format!("{limit:?} on {cores} cores, {skew:?}");
    node.log.check(limit, limit.limit + limit.burst, &what);
    // From one multiple of the window on, so that whole windows are counted.
    let from = BEGIN.next_multiple_of(per) + per;
    let until = from + windows * per;
    let admitted = node.log.total(from) - node.log.total(until);
    admitted as f64 / (windows * limit.limit) as f64
}

fn assert_used(cores: &[usize], limit: &Limit, windows: u64) {
    for cores in cores {
        for skew in SKEWS {
            let share = share_used(*cores, limit, skew, windows);
            assert!(
                share >= 0.98,
                "{share:.4} of {limit:?} on {cores} cores, {skew:?}"
            );
        }
    }
}

const PER: Duration = Duration::from_secs(1);
const ALL: &[usize] = &[1, 2, 8, 64];

#[test]
fn a_bucket_is_used_up() {
    assert_used(ALL, &limit(Algorithm::TokenBucket, 10, 5, PER), 20);
    assert_used(ALL, &limit(Algorithm::TokenBucket, 1000, 0, PER), 3);
    assert_used(&[64], &limit(Algorithm::TokenBucket, 20_000, 100, PER), 1);
}

#[test]
fn a_fixed_window_is_used_up() {
    assert_used(ALL, &limit(Algorithm::FixedWindow, 10, 0, PER), 10);
    assert_used(ALL, &limit(Algorithm::FixedWindow, 1000, 0, PER), 2);
    assert_used(&[64], &limit(Algorithm::FixedWindow, 20_000, 0, PER), 1);
}

#[test]
fn a_sliding_window_is_used_up() {
    assert_used(ALL, &limit(Algorithm::SlidingWindow, 10, 0, PER), 60);
    assert_used(ALL, &limit(Algorithm::SlidingWindow, 1000, 0, PER), 8);
    assert_used(&[64], &limit(Algorithm::SlidingWindow, 20_000, 0, PER), 4);
}

#[test]
fn long_windows_are_used_up() {
    let hour = Duration::from_secs(3600);
    assert_used(&[8], &limit(Algorithm::TokenBucket, 1000, 100, hour), 2);
    assert_used(&[8], &limit(Algorithm::SlidingWindow, 1000, 0, hour), 8);
}

#[test]
fn a_high_limit_is_used_up_by_one_core_and_by_many() {
    let high = limit(Algorithm::TokenBucket, 200_000, 1000, PER / 10);
    for (cores, skew) in [(1, Skew::One), (64, Skew::Even), (64, Skew::Halving)] {
        let share = share_used(cores, &high, skew, 1);
        assert!(share >= 0.98, "{share:.4} on {cores} cores, {skew:?}");
    }
}
