//! Latency of one endpoint as one core has seen it of late: an exponentially weighted moving
//! average that takes peaks over at once, as Finagle's "peak EWMA" does. A slow answer counts
//! fully from the moment it is known; trust comes back with time and with good answers.

use crate::rt::clock::Moment;
use crate::stats::Counter;

/// The average. One core writes it, any may read it.
#[derive(Debug, Default)]
pub struct PeakEwma {
    /// Microseconds as the bits of an `f64`; zero while nothing has been recorded.
    micros: Counter,
    /// When it was recorded, in nanoseconds of [`Moment`].
    at: Counter,
}

/// After this much time, in nanoseconds, a value weighs 1/e.
const DECAY_NS: f64 = 10e9;
/// What failures take an estimate for at least: one that fails at once would win every
/// comparison.
const FAILURE_US_MIN: f64 = 1_000.0;
/// And at most.
const FAILURE_US_MAX: f64 = 60_000_000.0;

impl PeakEwma {
    /// Counts an answer that took so many microseconds. Only the owning core calls this.
    pub fn record(&self, micros: u64, now: Moment) {
        let sample = micros.max(1) as f64;
        let value = match self.last() {
            Some((value, _)) if sample >= value => sample,
            Some((value, at)) => {
                let keep = decay(at, now);
                value * keep + sample * (1.0 - keep)
            }
            None => sample,
        };
        self.set(value, now);
    }

    /// Counts a failure: the estimate doubles, so that failing fast attracts nothing. Only the
    /// owning core calls this.
    pub fn fail(&self, now: Moment) {
        let value = self.micros(now).unwrap_or_default() * 2.0;
        self.set(value.clamp(FAILURE_US_MIN, FAILURE_US_MAX), now);
    }

    /// The estimate in microseconds; none while nothing has been recorded. It falls towards
    /// zero while nothing is, so that an endpoint that was slow is tried again.
    pub fn micros(&self, now: Moment) -> Option<f64> {
        let (value, at) = self.last()?;
        Some(value * decay(at, now))
    }

    fn last(&self) -> Option<(f64, Moment)> {
        match self.micros.value() {
            0 => None,
            bits => Some((f64::from_bits(bits), Moment(self.at.value()))),
        }
    }

    fn set(&self, value: f64, now: Moment) {
        self.micros.set(value.to_bits());
        self.at.set(now.0);
    }
}

fn decay(from: Moment, to: Moment) -> f64 {
    (-(to.0.saturating_sub(from.0) as f64) / DECAY_NS).exp()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(1).after(Duration::from_secs(seconds))
    }

    fn micros(ewma: &PeakEwma, now: Moment) -> u64 {
        ewma.micros(now).unwrap_or_default().round() as u64
    }

    #[test]
    fn takes_peaks_at_once_and_forgets_them_slowly() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.micros(at(0)), None);
        ewma.record(1_000, at(0));
        ewma.record(9_000, at(0));
        assert_eq!(micros(&ewma, at(0)), 9_000);
        ewma.record(1_000, at(10));
        let kept = 1.0 / std::f64::consts::E;
        let expected = 9_000.0 * kept + 1_000.0 * (1.0 - kept);
        assert_eq!(micros(&ewma, at(10)), expected.round() as u64);
    }

    #[test]
    fn falls_while_nothing_is_recorded() {
        let ewma = PeakEwma::default();
        ewma.record(10_000, at(0));
        assert!(micros(&ewma, at(30)) < 500);
    }

    #[test]
    fn failures_double_it_within_bounds() {
        let ewma = PeakEwma::default();
        ewma.fail(at(0));
        assert_eq!(micros(&ewma, at(0)), 1_000);
        ewma.fail(at(0));
        assert_eq!(micros(&ewma, at(0)), 2_000);
        for _ in 0..64 {
            ewma.fail(at(0));
        }
        assert_eq!(micros(&ewma, at(0)), 60_000_000);
    }
}
