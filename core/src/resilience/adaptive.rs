//! A concurrency limit that follows latency.
//!
//! Once in an interval the mean latency is held against the best of the last intervals. As long
//! as it is no more than `tolerance` times as long, requests do not queue up at the origin, and
//! the limit grows by its square root, which is the queue that is put up with. Above that the
//! limit shrinks in proportion, by half at most. This is the gradient of Netflix's
//! concurrency-limits ("gradient2"), with means of intervals in place of single samples, so that
//! routes of different cost do not look like queueing.
//!
//! The best latency is only worth something if it was had without a queue. So the limit is
//! halved for two intervals out of every thirty, the second of which is measured; as long as
//! that finds the latency much better than any before, the next trial comes soon. What was best
//! is forgotten after a few trials, so that an origin that has become slower gets a new measure
//! (Envoy's gradient controller samples its minimum in the same way).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::window::Lookout;
use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

/// Answers below which an interval goes on.
const SAMPLES_MIN: u64 = 10;
/// Intervals from one trial of half the limit to the next, the trial included.
const TRIAL_EVERY: u32 = 30;
/// The same at first and behind a trial that has found a queue.
const TRIAL_SOON: u32 = 8;
/// Less than this share of the best latency so far is much better.
const MUCH_BETTER: f64 = 0.9;
/// Intervals of a trial.
const TRIAL: u32 = 2;
/// Intervals whose means are remembered: two trials and a half.
const REMEMBERED: usize = 75;
/// How much of the way to its aim the limit goes at once.
const STEP: f64 = 0.5;

/// A limit that moves.
#[derive(Debug)]
pub(super) struct Gradient {
    shared: CachePadded<Shared>,
    lookout: Lookout,
    samples: PerCore<Samples>,
}

/// Written by the core that looks, once in an interval.
#[derive(Debug)]
struct Shared {
    /// The limit as a float's bits; zero before the first interval.
    limit: AtomicU64,
    /// Intervals so far.
    intervals: AtomicU32,
    /// Intervals to the end of the next trial; the last ones are the trial.
    left: AtomicU32,
    /// Whether the interval is the first one behind a trial.
    is_behind_trial: AtomicBool,
    /// What the samples were when the interval began.
    count: AtomicU64,
    sum_us: AtomicU64,
    /// Means of the last intervals; zero for one that says nothing.
    means_us: [AtomicU64; REMEMBERED],
}

/// What one core has seen.
#[derive(Debug, Default)]
struct Samples {
    count: Counter,
    sum_us: Counter,
    look_at: Counter,
}

impl Gradient {
    pub(super) fn new(cores: usize) -> Gradient {
        Gradient {
            shared: CachePadded::new(Shared {
                limit: AtomicU64::default(),
                intervals: AtomicU32::default(),
                left: AtomicU32::new(TRIAL_SOON),
                is_behind_trial: AtomicBool::default(),
                count: AtomicU64::default(),
                sum_us: AtomicU64::default(),
                means_us: [const { AtomicU64::new(0) }; REMEMBERED],
            }),
            lookout: Lookout::default(),
            samples: PerCore::new(cores),
        }
    }

    /// Counts an answer. Only the owning core calls this.
    #[inline]
    pub(super) fn record(&self, core: CoreIndex, took: Duration) {
        let own = self.samples.of(core);
        own.count.add(1);
        own.sum_us.add((took.as_micros() as u64).max(1));
    }

    /// Whether the caller is to move the limit.
    #[inline]
    pub(super) fn is_due(&self, spec: &policy::Adaptive, core: CoreIndex, now: Moment) -> bool {
        let own = self.samples.of(core);
        self.lookout.elects(&own.look_at, spec.interval, now)
    }

    /// The limit in force: at least one place, at most `max`.
    #[inline]
    pub(super) fn limit(&self, max: u32, spec: &policy::Adaptive) -> u32 {
        let limit = self.target(max, spec);
        let limit = match self.shared.left.load(Ordering::Relaxed) > TRIAL {
            true => limit,
            false => within(limit / 2.0, max, spec),
        };
        (limit as u32).max(1)
    }

    /// The limit outside of trials. Where none is known yet, it starts half way between its
    /// bounds, by their logarithms.
    fn target(&self, max: u32, spec: &policy::Adaptive) -> f64 {
        let known = f64::from_bits(self.shared.limit.load(Ordering::Relaxed));
        let limit = match known > 0.0 {
            true => known,
            false => (f64::from(spec.min.max(1)) * f64::from(max)).sqrt(),
        };
        within(limit, max, spec)
    }

    /// Moves the limit by what was seen since the last time. `pressed` tells whether requests
    /// used what there is: a limit that nobody needs does not grow.
    #[cold]
    pub(super) fn adjust(&self, max: u32, spec: &policy::Adaptive, pressed: bool) {
        let shared = &self.shared;
        let (count, sum_us) = self.samples.iter().fold((0u64, 0u64), |(count, sum), own| {
            let (more, us) = (own.count.value(), own.sum_us.value());
            (count.wrapping_add(more), sum.wrapping_add(us))
        });
        let seen = count.wrapping_sub(shared.count.load(Ordering::Relaxed));
        if seen < SAMPLES_MIN {
            return;
        }
        shared.count.store(count, Ordering::Relaxed);
        let spent_us = sum_us.wrapping_sub(shared.sum_us.swap(sum_us, Ordering::Relaxed));
        let mean = (spent_us as f64 / seen as f64).max(1.0);
        let interval = shared.intervals.fetch_add(1, Ordering::Relaxed) as usize;
        let slot = &shared.means_us[interval % REMEMBERED];
        slot.store(0, Ordering::Relaxed);
        let known_best = self.best_us();

        let left = shared.left.load(Ordering::Relaxed);
        let next = match (left, known_best) {
            (2.., _) => left - 1,
            (_, Some(best)) if mean < best * MUCH_BETTER => TRIAL_SOON,
            _ => TRIAL_EVERY,
        };
        shared.left.store(next, Ordering::Relaxed);
        let is_trial = left <= TRIAL;
        let was_behind_trial = shared.is_behind_trial.swap(left <= 1, Ordering::Relaxed);
        // Requests of the time before still end in the first interval of a trial, and those of
        // the trial in the first one behind it.
        if left == TRIAL || was_behind_trial {
            return;
        }
        slot.store(mean as u64, Ordering::Relaxed);
        if is_trial {
            return;
        }
        let best = known_best.map_or(mean, |best| best.min(mean));
        let limit = self.target(max, spec);
        let gradient = (spec.tolerance.max(1.0) * best / mean).clamp(0.5, 1.0);
        let aim = limit * gradient + limit.sqrt();
        let moved = limit + (aim - limit) * STEP;
        let moved = match pressed {
            true => moved,
            false => moved.min(limit),
        };
        let moved = within(moved, max, spec);
        shared.limit.store(moved.to_bits(), Ordering::Relaxed);
    }

    /// The best mean that is remembered.
    fn best_us(&self) -> Option<f64> {
        let means = self.shared.means_us.iter();
        let means = means.map(|mean| mean.load(Ordering::Relaxed));
        let best = means.filter(|mean| *mean > 0).min();
        best.map(|best| best as f64)
    }
}

fn within(limit: f64, max: u32, spec: &policy::Adaptive) -> f64 {
    let max = f64::from(max);
    limit.max(f64::from(spec.min)).min(max)
}

#[cfg(test)]
mod tests;
