//! What this node has taken of each key, window by window: the figure that stands beside the
//! bound.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The tokens taken for each key in the window that runs, and the most of the one before.
#[derive(Debug)]
pub(super) struct Tally {
    per: Duration,
    began: Instant,
    taken: HashMap<u64, i64>,
    most: u64,
}

impl Tally {
    pub(super) fn new(per: Duration, now: Instant) -> Self {
        Self {
            per,
            began: now,
            taken: HashMap::new(),
            most: 0,
        }
    }

    /// Takes note of tokens that a key got, beside what went back.
    pub(super) fn note(&mut self, hash: u64, tokens: u64, back: u64, now: Instant) {
        self.roll(now);
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        let change = tokens.saturating_sub_unsigned(back);
        if change == 0 || self.taken.len() >= KEYS_MAX && !self.taken.contains_key(&hash) {
            return;
        }
        let taken = self.taken.entry(hash).or_default();
        *taken = taken.saturating_add(change);
    }

    /// The most that one key has got in the last whole window.
    pub(super) fn most(&mut self, now: Instant) -> u64 {
        self.roll(now);
        self.most
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        if passed < self.per {
            return;
        }
        let most = self.taken.values().copied().max().unwrap_or(0);
        self.most = match passed < self.per * 2 {
            true => u64::try_from(most).unwrap_or(0),
            false => 0,
        };
        self.taken.clear();
        self.began = now;
    }
}

/// Keys that are followed; the busiest come early in a window.
const KEYS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_busiest_key_of_the_last_whole_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally::new(Duration::from_secs(1), start);
        tally.note(1, 10, 0, at(100));
        tally.note(1, 5, 2, at(200));
        tally.note(2, 12, 0, at(900));
        assert_eq!(tally.most(at(999)), 0, "the window still runs");
        assert_eq!(tally.most(at(1_000)), 13);
        tally.note(2, 1, 0, at(1_500));
        assert_eq!(tally.most(at(2_000)), 1);
        assert_eq!(tally.most(at(9_000)), 0, "a quiet time");
    }
}
