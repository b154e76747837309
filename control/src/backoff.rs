//! Waiting times: doubling after failures, and spread so that peers do not act in step.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubles from `first` to `ceiling` with every step.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, ceiling: Duration) -> Self {
        Self {
            first,
            ceiling,
            next: first,
        }
    }

    /// How long to wait now; the next wait is twice as long.
    pub(crate) fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.ceiling);
        now
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// `time` and up to a tenth more of it.
pub(crate) fn jittered(time: Duration) -> Duration {
    time + time.mul_f64(random_fraction() / 10.0)
}

/// From 0 to below 1.
pub(crate) fn random_fraction() -> f64 {
    // A fresh RandomState hashes with fresh keys: enough randomness for spreading load.
    let random = RandomState::new().build_hasher().finish() % 65_536;
    random as f64 / 65_536.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let steps: Vec<_> = (0..5).map(|_| backoff.step().as_secs()).collect();
        assert_eq!(steps, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.step().as_secs(), 1);
    }

    #[test]
    fn jitter_adds_at_most_a_tenth() {
        for _ in 0..1_000 {
            let time = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(10)..=Duration::from_secs(11)).contains(&time));
        }
    }
}
