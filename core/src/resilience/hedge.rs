//! When a second attempt starts beside the first: behind a percentile of the latencies that the
//! upstream has had of late, over all cores.
//!
//! Buckets are sixteen to each power of two, so that a percentile is off by a 32nd at most. Each
//! core halves its own counts every ten seconds; a reader does it in mind for a core that has
//! been idle.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

/// Fewer samples than this say nothing.
pub const SAMPLES_MIN: u64 = 100;
/// A sample's weight falls to the half in this time.
pub const HALF_LIFE: Duration = Duration::from_secs(10);
/// How old a percentile may be that is used.
pub const AGE_MAX: Duration = Duration::from_millis(100);

/// Buckets of a power of two, and microseconds that have one each.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Up to two minutes.
const BUCKETS: usize = 384;
/// What a sample counts for, so that a single one is still seen after some halvings.
const SAMPLE: u32 = 16;

/// Latencies of an upstream.
#[derive(Debug)]
pub struct Percentile {
    cores: PerCore<Latencies>,
    /// Percentiles that were asked for of late: routes may have different ones.
    known: [CachePadded<Known>; 4],
}

/// One core's.
#[derive(Debug)]
struct Latencies {
    buckets: [AtomicU32; BUCKETS],
    /// When the counts are halved next, in nanoseconds of [`Moment`].
    halve_at: Counter,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
            halve_at: Counter::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// The percentile in units of 1/10,000 above, microseconds in the lower 48 bits; zero for
    /// too few samples.
    value: AtomicU64,
    at: AtomicU64,
}

const MICROS_BITS: u32 = 48;

impl Percentile {
    /// No latencies, of `cores` cores.
    pub fn new(cores: usize) -> Percentile {
        Percentile {
            cores: PerCore::new(cores),
            known: Default::default(),
        }
    }

    /// Counts an attempt whose response head took this long. Of an attempt that was given up
    /// for a faster one the time it had taken until then is counted as well: without it a
    /// percentile would fall with each hedge. Only the owning core calls this.
    #[inline]
    pub fn record(&self, core: CoreIndex, now: Moment, took: Duration) {
        let own = self.cores.of(core);
        if now.0 >= own.halve_at.value() {
            own.halve(now);
        }
        let bucket = &own.buckets[bucket_of(took.as_micros() as u64)];
        let count = bucket.load(Ordering::Relaxed).saturating_add(SAMPLE);
        bucket.store(count, Ordering::Relaxed);
    }

    /// How long after the first attempt a second one starts; nothing while too little is known.
    pub fn after(&self, spec: &policy::Hedge, now: Moment) -> Option<Duration> {
        let percentile = (spec.after_percentile.clamp(0.0, 1.0) * 10_000.0).round() as u64;
        let known = &self.known[percentile as usize % self.known.len()];
        let at = known.at.load(Ordering::Relaxed);
        let mut value = known.value.load(Ordering::Relaxed);
        let is_fresh = now < Moment(at).after(AGE_MAX) && value >> MICROS_BITS == percentile;
        if !is_fresh && self.elect(known, at, now) {
            let micros = self.measure(percentile, now).unwrap_or(0);
            value = percentile << MICROS_BITS | micros;
            known.value.store(value, Ordering::Relaxed);
        }
        // While another core measures, the last value will do; that of another percentile not.
        let micros = value & ((1 << MICROS_BITS) - 1);
        (value >> MICROS_BITS == percentile && micros > 0)
            .then(|| Duration::from_micros(micros).max(spec.after_minimum))
    }

    fn elect(&self, known: &Known, at: u64, now: Moment) -> bool {
        let exchange = known
            .at
            .compare_exchange(at, now.0, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    }

    /// Microseconds at a percentile, in units of 1/10,000.
    #[cold]
    fn measure(&self, percentile: u64, now: Moment) -> Option<u64> {
        let mut sums = [0u64; BUCKETS];
        for core in self.cores.iter() {
            let halvings = halvings(core.halve_at.value(), now);
            for (sum, bucket) in sums.iter_mut().zip(&core.buckets) {
                *sum += u64::from(halved(bucket.load(Ordering::Relaxed), halvings));
            }
        }
        let total: u64 = sums.iter().sum();
        if total < SAMPLES_MIN * u64::from(SAMPLE) {
            return None;
        }
        let rank = (total * percentile).div_ceil(10_000).max(1);
        let mut below = 0;
        let reaches = |sum: &u64| {
            below += sum;
            below >= rank
        };
        sums.iter().position(reaches).map(middle_of)
    }
}

impl Latencies {
    #[cold]
    fn halve(&self, now: Moment) {
        let halvings = halvings(self.halve_at.value(), now);
        for bucket in &self.buckets {
            let count = halved(bucket.load(Ordering::Relaxed), halvings);
            bucket.store(count, Ordering::Relaxed);
        }
        self.halve_at.set(now.after(HALF_LIFE).0);
    }
}

/// Halvings that are due.
fn halvings(halve_at: u64, now: Moment) -> u32 {
    match now.0.checked_sub(halve_at) {
        None => 0,
        Some(late) => (1 + late / HALF_LIFE.as_nanos() as u64).min(u32::BITS.into()) as u32,
    }
}

fn halved(count: u32, halvings: u32) -> u32 {
    count.checked_shr(halvings).unwrap_or(0)
}

#[inline]
fn bucket_of(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2();
    let step = (micros >> (power - STEP_BITS)) & (STEPS - 1);
    let bucket = u64::from(power - STEP_BITS + 1) * STEPS + step;
    (bucket as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds and never zero.
fn middle_of(bucket: usize) -> u64 {
    let (power, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    match power {
        0 => step.max(1),
        _ => {
            let width = 1 << (power - 1);
            (STEPS + step) * width + width / 2
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(after_percentile: f64) -> policy::Hedge {
        policy::Hedge {
            after_percentile,
            after_minimum: Duration::from_micros(50),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_five_hundredths(micros in 1u64..60_000_000) {
            let middle = middle_of(bucket_of(micros));
            prop_assert!(middle.abs_diff(micros) * 20 <= micros, "{middle} for {micros}");
        }
    }

    #[test]
    fn buckets_rise_without_a_gap() {
        let mut last = 0;
        for micros in 0..1_000_000 {
            let bucket = bucket_of(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            last = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_of_all_cores() {
        for cores in [1, 2, 7, 64] {
            let latencies = Percentile::new(cores);
            for sample in 1..=1000u64 {
                let core = CoreIndex(sample as u32 % cores as u32);
                latencies.record(core, at(5), Duration::from_micros(sample * 100));
            }
            for (percentile, exact) in [(0.5, 50_000), (0.95, 95_000), (0.999, 99_900)] {
                let after = latencies
                    .after(&spec(percentile), at(5))
                    .unwrap_or_default();
                let off = after.as_micros().abs_diff(exact) as f64 / exact as f64;
                assert!(off <= 0.05, "{percentile} of {cores}: {after:?}");
            }
        }
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let latencies = Percentile::new(1);
        let took = Duration::from_micros(10);
        for sample in 0..SAMPLES_MIN {
            assert_eq!(latencies.after(&spec(0.9), at(1000 * (sample + 1))), None);
            latencies.record(CoreIndex(0), at(100_000), took);
        }
        let least = Some(Duration::from_micros(50));
        assert_eq!(latencies.after(&spec(0.9), at(101_000)), least);
    }

    #[test]
    fn a_percentile_is_kept_for_a_while_and_old_samples_fade() {
        let latencies = Percentile::new(2);
        let record = |core, millis, took| {
            for _ in 0..1000 {
                latencies.record(CoreIndex(core), at(millis), Duration::from_millis(took));
            }
        };
        // Half a bucket is added, so that the tests can be of whole numbers.
        let after = |millis| {
            let after = latencies.after(&spec(0.95), at(millis));
            after.map_or(0, |after| (after.as_millis() as u64 * 33 / 32) / 100)
        };
        record(0, 1000, 100);
        assert_eq!(after(1000), 1);
        record(1, 1001, 1000);
        assert_eq!(after(1050), 1);
        assert_eq!(after(1101), 10);
        // The core with the slow ones is idle from here on.
        for second in 2..80 {
            record(0, second * 1000, 100);
        }
        assert_eq!(after(80_000), 1);
        // Nobody records any more.
        assert_eq!(after(500_000), 0);
    }
}
