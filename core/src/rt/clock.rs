//! Time: a cycle counter for durations within a request, and wall time kept by the tick.
//!
//! Reading the counter costs a few nanoseconds; it is calibrated once against the monotonic
//! clock. Where the processor has no invariant counter, the monotonic clock itself is read.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time, in counter units since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// Now.
    #[inline]
    pub fn now() -> Stamp {
        match scale().source {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every x86-64 processor has RDTSC; it touches no memory.
            Source::Counter => Stamp(unsafe { core::arch::x86_64::_rdtsc() }),
            _ => Stamp(scale().start.elapsed().as_nanos() as u64),
        }
    }

    /// Nanoseconds from `earlier` to here; zero when `earlier` is later.
    #[inline]
    pub fn nanos_since(self, earlier: Stamp) -> u64 {
        let units = self.0.saturating_sub(earlier.0);
        ((u128::from(units) * u128::from(scale().nanos_per_unit_shifted)) >> SHIFT) as u64
    }

    /// Microseconds from `earlier` to here.
    #[inline]
    pub fn micros_since(self, earlier: Stamp) -> u64 {
        self.nanos_since(earlier) / 1000
    }
}

enum Source {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Counter,
    Monotonic,
}

struct Scale {
    source: Source,
    /// Nanoseconds per counter unit, shifted left by [`SHIFT`].
    nanos_per_unit_shifted: u64,
    start: Instant,
}

const SHIFT: u32 = 32;
/// How long the calibration compares the two clocks: long enough that reading them does not
/// matter, short enough that nobody sees it at start.
const CALIBRATION: Duration = Duration::from_millis(5);

#[inline]
fn scale() -> &'static Scale {
    static SCALE: OnceLock<Scale> = OnceLock::new();
    SCALE.get_or_init(calibrate)
}

#[allow(clippy::disallowed_methods, reason = "what stamps are measured by")]
fn calibrate() -> Scale {
    let start = Instant::now();
    let monotonic = Scale {
        source: Source::Monotonic,
        nanos_per_unit_shifted: 1 << SHIFT,
        start,
    };
    #[cfg(target_arch = "x86_64")]
    if has_invariant_counter() {
        // SAFETY: as in `Stamp::now`.
        let first = unsafe { core::arch::x86_64::_rdtsc() };
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let nanos = start.elapsed().as_nanos() as u64;
        // SAFETY: as in `Stamp::now`.
        let units = unsafe { core::arch::x86_64::_rdtsc() }.saturating_sub(first);
        if units > 0 {
            return Scale {
                source: Source::Counter,
                nanos_per_unit_shifted: ((u128::from(nanos) << SHIFT) / u128::from(units)) as u64,
                start,
            };
        }
    }
    monotonic
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
}
