//! Time: a cycle counter for durations within a request, and wall time kept by the tick.
//!
//! Reading the counter costs a few nanoseconds; it is calibrated once against the monotonic
//! clock. Where the processor has no invariant counter, the monotonic clock itself is read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A point in time, in counter units since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// Now.
    #[inline]
    pub fn now() -> Stamp {
        #[cfg(target_arch = "x86_64")]
        if COUNTER_RUNS.load(Ordering::Acquire) {
            // SAFETY: every x86-64 processor has RDTSC; it touches no memory.
            return Stamp(unsafe { core::arch::x86_64::_rdtsc() });
        }
        Stamp::measured()
    }

    /// Now, when the counter is not calibrated yet or cannot be used.
    #[cold]
    fn measured() -> Stamp {
        let scale = scale();
        match scale.source {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as in `Stamp::now`.
            Source::Counter => Stamp(unsafe { core::arch::x86_64::_rdtsc() }),
            _ => Stamp(scale.start.elapsed().as_nanos() as u64),
        }
    }

    /// Nanoseconds from `earlier` to here; zero when `earlier` is later.
    #[inline]
    pub fn nanos_since(self, earlier: Stamp) -> u64 {
        let per_unit = u128::from(NANOS_PER_UNIT.load(Ordering::Relaxed));
        ((self.units_since(earlier) * per_unit) >> NANOS_SHIFT) as u64
    }

    /// Microseconds from `earlier` to here; zero when `earlier` is later.
    #[inline]
    pub fn micros_since(self, earlier: Stamp) -> u64 {
        // The upper half of one multiplication.
        let per_unit = u128::from(MICROS_PER_UNIT.load(Ordering::Relaxed));
        ((self.units_since(earlier) * per_unit) >> MICROS_SHIFT) as u64
    }

    /// This much later, and not less: for a clock that is told.
    pub fn after(self, span: Duration) -> Stamp {
        let per_unit = u128::from(NANOS_PER_UNIT.load(Ordering::Relaxed)).max(1);
        let units = (span.as_nanos() << NANOS_SHIFT).div_ceil(per_unit);
        Stamp(
            self.0
                .saturating_add(u64::try_from(units).unwrap_or(u64::MAX)),
        )
    }

    #[inline]
    fn units_since(self, earlier: Stamp) -> u128 {
        u128::from(self.0.saturating_sub(earlier.0))
    }
}

/// A point in time in nanoseconds since this process first read its clock, plus a second; the
/// same on every core. For what outlives a request: windows, leases, ejections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Now.
    #[inline]
    pub fn now() -> Moment {
        Stamp::now().moment()
    }

    /// This much later.
    #[inline]
    pub const fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span.as_nanos() as u64))
    }

    /// From `earlier` to here; zero when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Stamp {
    /// The same point in time as a [`Moment`].
    #[inline]
    pub fn moment(self) -> Moment {
        let start = Stamp(START.load(Ordering::Relaxed));
        Moment(FIRST_MOMENT + self.nanos_since(start))
    }
}

/// Zero stays free for "never".
const FIRST_MOMENT: u64 = 1_000_000_000;
/// The stamp that moments count from.
static START: AtomicU64 = AtomicU64::new(0);

/// Whether stamps are read from the counter. Set once, when it is calibrated, after the scale
/// below.
static COUNTER_RUNS: AtomicBool = AtomicBool::new(false);
/// The scale, apart from [`scale`] so that a duration costs no look whether it is there yet:
/// zero until the first stamp is taken, and all stamps that are older than that are alike.
static NANOS_PER_UNIT: AtomicU64 = AtomicU64::new(0);
static MICROS_PER_UNIT: AtomicU64 = AtomicU64::new(0);

enum Source {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Counter,
    Monotonic,
}

struct Scale {
    source: Source,
    start: Instant,
}

/// [`NANOS_PER_UNIT`] is shifted left by this.
const NANOS_SHIFT: u32 = 32;
/// [`MICROS_PER_UNIT`] is shifted left by this: a unit is less than a microsecond, or the
/// counter is not used.
const MICROS_SHIFT: u32 = 64;
/// How long the calibration compares the two clocks: long enough that reading them does not
/// matter, short enough that nobody sees it at start.
const CALIBRATION: Duration = Duration::from_millis(5);

/// How often both clocks are read at either end of the calibration.
#[cfg(target_arch = "x86_64")]
const READS: usize = 32;

fn scale() -> &'static Scale {
    static SCALE: OnceLock<Scale> = OnceLock::new();
    SCALE.get_or_init(calibrate)
}

#[allow(clippy::disallowed_methods, reason = "what stamps are measured by")]
fn calibrate() -> Scale {
    let start = Instant::now();
    #[cfg(target_arch = "x86_64")]
    if has_invariant_counter() {
        let (first, begin) = both_clocks();
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (last, end) = both_clocks();
        let nanos = end.saturating_duration_since(begin).as_nanos() as u64;
        let units = last.saturating_sub(first);
        if units > nanos / 1000 {
            set_scale(nanos, units);
            START.store(first, Ordering::Relaxed);
            COUNTER_RUNS.store(true, Ordering::Release);
            return Scale {
                source: Source::Counter,
                start,
            };
        }
    }
    set_scale(1, 1);
    Scale {
        source: Source::Monotonic,
        start,
    }
}

/// Both clocks at one moment. A thread that loses its core between the two reads would be off by
/// as much as it rested, so they are read several times and those that lie closest count.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::disallowed_methods, reason = "what stamps are measured by")]
fn both_clocks() -> (u64, Instant) {
    let read = || {
        // SAFETY: as in `Stamp::now`.
        let before = unsafe { core::arch::x86_64::_rdtsc() };
        let instant = Instant::now();
        // SAFETY: as in `Stamp::now`.
        let after = unsafe { core::arch::x86_64::_rdtsc() };
        let apart = after.saturating_sub(before);
        (apart, before + apart / 2, instant)
    };
    let mut best = read();
    for _ in 1..READS {
        let next = read();
        if next.0 < best.0 {
            best = next;
        }
    }
    (best.1, best.2)
}

/// Sets how many nanoseconds so many units are; one unit is less than a microsecond. Rounded
/// up, so that a whole number of microseconds is not taken for one less.
fn set_scale(nanos: u64, units: u64) {
    let (nanos, units) = (u128::from(nanos), u128::from(units));
    let per_unit = (nanos << NANOS_SHIFT) / units;
    NANOS_PER_UNIT.store(per_unit as u64, Ordering::Relaxed);
    let per_unit = (nanos << MICROS_SHIFT).div_ceil(units * 1000);
    MICROS_PER_UNIT.store(per_unit as u64, Ordering::Relaxed);
}

#[cfg(target_arch = "x86_64")]
fn has_invariant_counter() -> bool {
    use core::arch::x86_64::__cpuid;
    /// CPUID leaf 0x8000_0007, EDX bit 8: the counter runs at one rate in every power state.
    const INVARIANT: u32 = 1 << 8;
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & INVARIANT != 0
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_nanoseconds() {
        let (stamp, instant) = (Stamp::now(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (measured, real) = (
            Stamp::now().nanos_since(stamp) as f64,
            instant.elapsed().as_nanos() as f64,
        );
        assert!(
            (measured / real - 1.0).abs() < 0.2,
            "{measured} against {real}"
        );
        assert_eq!(stamp.nanos_since(Stamp::now()), 0);
    }

    #[test]
    fn a_later_stamp_is_no_less_late_than_told() {
        let begin = Stamp::now();
        for nanos in [0, 1, 999, 1_000_000_000, 86_400_000_000_000] {
            let span = Duration::from_nanos(nanos);
            let passed = begin.after(span).nanos_since(begin);
            let off = passed.checked_sub(nanos);
            // A unit is less than a microsecond, and the scale errs by less than one in 2^30.
            assert!(
                off.is_some_and(|off| off <= 1_000 + (nanos >> 30)),
                "{nanos}: {passed}"
            );
            let moment = begin.after(span).moment();
            assert!(moment.since(begin.moment()) + Duration::from_nanos(1) >= span);
        }
    }

    #[test]
    fn microseconds_are_nanoseconds_by_a_thousand() {
        let begin = Stamp::now();
        for units in (0..64).map(|shift| 1 << shift) {
            let end = Stamp(begin.0.saturating_add(units));
            let (nanos, micros) = (end.nanos_since(begin), end.micros_since(begin));
            // The coarser scale of nanoseconds errs by less than one in 2^30.
            let off = (nanos / 1000).abs_diff(micros);
            assert!(
                off <= 1 + (micros >> 30),
                "{units}: {nanos} ns, {micros} us"
            );
            assert_eq!(begin.micros_since(end), 0);
        }
    }
}
