//! Counts over a sliding window, one set per core, and the election of who adds them up.
//!
//! Each bucket carries the time that it began at: one that is older than the window counts for
//! nothing, whenever somebody looks, and another length of window at a reload needs no care.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::rt::clock::Moment;
use crate::stats::{Counter, PerCore};

/// Buckets of a window. One of them is being filled, so that between ten elevenths and the whole
/// of the window's length is looked at.
const BUCKETS: usize = 12;

/// Requests of a window, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them whose response head took too long.
    pub slow: u64,
}

impl Counts {
    /// Share of failures; 0.0 without requests.
    pub fn failure_ratio(self) -> f64 {
        self.failures as f64 / self.requests.max(1) as f64
    }

    /// Share of slow requests; 0.0 without requests.
    pub fn slow_ratio(self) -> f64 {
        self.slow as f64 / self.requests.max(1) as f64
    }
}

/// One request, as a window counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// 0 or 1.
    pub(super) failures: u64,
    /// 0 or 1.
    pub(super) slow: u64,
}

/// What one core counts.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Counts belong to a generation: those of another one are void.
    generation: AtomicU64,
    /// The end of the bucket that is being filled, in nanoseconds of [`Moment`].
    until: Counter,
    filling: Counter,
    /// When this core thinks of looking at all the others again.
    look_at: Counter,
    buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Default)]
struct Bucket {
    /// In nanoseconds of [`Moment`].
    start: AtomicU64,
    requests: Counter,
    failures: Counter,
    slow: Counter,
}

impl Window {
    /// Counts one request. Only the owning core calls this.
    #[inline]
    pub(super) fn add(&self, generation: u64, span: Duration, now: Moment, tally: Tally) {
        if self.generation.load(Ordering::Relaxed) != generation {
            self.clear(generation);
        }
        if now.0 >= self.until.value() {
            self.turn(span, now);
        }
        let bucket = &self.buckets[self.filling.value() as usize % BUCKETS];
        bucket.requests.add(1);
        if tally.failures > 0 {
            bucket.failures.add(tally.failures);
        }
        if tally.slow > 0 {
            bucket.slow.add(tally.slow);
        }
    }

    #[cold]
    fn clear(&self, generation: u64) {
        for bucket in &self.buckets {
            bucket.start.store(0, Ordering::Relaxed);
        }
        self.until.set(0);
        // Behind the rest: who sees the new generation sees no bucket of the former one.
        self.generation.store(generation, Ordering::Release);
    }

    #[cold]
    fn turn(&self, span: Duration, now: Moment) {
        let width = (span.as_nanos() as u64 / (BUCKETS as u64 - 1)).max(1);
        let turn = now.0 / width;
        let bucket = &self.buckets[turn as usize % BUCKETS];
        bucket.requests.set(0);
        bucket.failures.set(0);
        bucket.slow.set(0);
        // Behind the rest: who sees the new start does not see the former counts.
        bucket.start.store(turn * width, Ordering::Release);
        self.filling.set(turn % BUCKETS as u64);
        self.until.set((turn + 1).saturating_mul(width));
    }

    fn add_to(&self, sum: &mut Counts, generation: u64, since: u64) {
        if self.generation.load(Ordering::Acquire) != generation {
            return;
        }
        for bucket in &self.buckets {
            if bucket.start.load(Ordering::Acquire) > since {
                sum.requests += bucket.requests.value();
                sum.failures += bucket.failures.value();
                sum.slow += bucket.slow.value();
            }
        }
    }
}

/// The sum over the window that ends at `now`.
pub(super) fn sum<'a>(
    windows: impl Iterator<Item = &'a Window>,
    generation: u64,
    span: Duration,
    now: Moment,
) -> Counts {
    let since = now.0.saturating_sub(span.as_nanos() as u64);
    let mut sum = Counts::default();
    windows.for_each(|window| window.add_to(&mut sum, generation, since));
    sum
}

/// Whose turn it is to look at all cores' counts: one core's in each interval, and that of any
/// core that has something to do then.
#[derive(Debug, Default)]
pub(super) struct Lookout(CachePadded<AtomicU64>);

impl Lookout {
    /// Whether the caller is to look. Reads nothing shared before the interval is over.
    #[inline]
    pub(super) fn is_mine(&self, own: &Window, every: Duration, now: Moment) -> bool {
        self.elects(&own.look_at, every, now)
    }

    /// The same with the core's own stamp of its next look.
    #[inline]
    pub(super) fn elects(&self, look_at: &Counter, every: Duration, now: Moment) -> bool {
        now.0 >= look_at.value() && self.elect(look_at, every, now)
    }

    #[cold]
    fn elect(&self, look_at: &Counter, every: Duration, now: Moment) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let due = Moment(last).after(every);
        if last > 0 && now < due {
            look_at.set(due.0);
            return false;
        }
        look_at.set(now.after(every).0);
        let exchange = self
            .0
            .compare_exchange(last, now.0, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    }
}

/// Every core's window.
pub(super) fn of_all(cores: &PerCore<Window>) -> impl Iterator<Item = &Window> {
    cores.iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(11);
    const FAILURE: Tally = Tally {
        failures: 1,
        slow: 0,
    };

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    #[test]
    fn what_is_older_than_the_window_counts_for_nothing() {
        let window = Window::default();
        for second in 1..=40 {
            window.add(0, SPAN, at(second), FAILURE);
        }
        let sum = |now| sum([&window].into_iter(), 0, SPAN, at(now)).failures;
        assert_eq!((sum(40), sum(45), sum(51)), (11, 6, 0));
    }

    #[test]
    fn another_generation_starts_empty() {
        let window = Window::default();
        window.add(0, SPAN, at(5), FAILURE);
        let sum = |generation| sum([&window].into_iter(), generation, SPAN, at(6)).failures;
        assert_eq!((sum(0), sum(1)), (1, 0));
        window.add(1, SPAN, at(6), FAILURE);
        assert_eq!((sum(0), sum(1)), (0, 1));
    }

    #[test]
    fn a_longer_window_keeps_what_was_counted() {
        let window = Window::default();
        window.add(0, SPAN, at(5), FAILURE);
        let longer = 4 * SPAN;
        window.add(0, longer, at(10), FAILURE);
        assert_eq!(sum([&window].into_iter(), 0, longer, at(40)).failures, 2);
    }

    #[test]
    fn one_core_looks_in_each_interval() {
        let lookout = Lookout::default();
        let windows = [Window::default(), Window::default()];
        let every = Duration::from_secs(2);
        let looks = |second| {
            windows
                .iter()
                .filter(|own| lookout.is_mine(own, every, at(second)))
                .count()
        };
        let looks: Vec<usize> = (10..16).map(looks).collect();
        assert_eq!(looks, [1, 0, 1, 0, 1, 0]);
    }
}
