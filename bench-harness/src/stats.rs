//! Medians, their spread, and how sure they are.

pub mod ranks;

use serde::Serialize;

/// The middle and the ends of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value; not-a-number of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Spread {
            median: median_of_sorted(&values),
            min: values.first().copied().unwrap_or(f64::NAN),
            max: values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

/// Where the true median lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// By the percentile bootstrap (Efron, 1979): the medians of many samples drawn from the
    /// values with replacement. The draws are the same in every run.
    pub fn of_median(values: &[f64]) -> Interval {
        let mut draws = Draws::from(0x5269_6e67_6761_7465);
        let mut sample = vec![0.0; values.len()];
        let mut medians: Vec<f64> = Vec::with_capacity(RESAMPLES);
        for _ in 0..RESAMPLES {
            for slot in &mut sample {
                *slot = values[draws.below(values.len())];
            }
            sample.sort_by(f64::total_cmp);
            medians.push(median_of_sorted(&sample));
        }
        medians.sort_by(f64::total_cmp);
        Interval {
            low: medians[RESAMPLES * 25 / 1000],
            high: medians[RESAMPLES * 975 / 1000],
        }
    }
}

fn median_of_sorted(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match (values.len(), values.len() % 2) {
        (0, _) => f64::NAN,
        (_, 0) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Random numbers that are the same in every run: SplitMix64 (Steele, Lea, Flood: Fast
/// splittable pseudorandom number generators, 2014).
#[derive(Debug)]
pub struct Draws(u64);

impl From<u64> for Draws {
    fn from(seed: u64) -> Draws {
        Draws(seed)
    }
}

impl Draws {
    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, and without, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // The bias of the product is below `end` in 2^64.
        ((u128::from(self.word()) * end as u128) >> 64) as usize
    }

    /// A number strictly between 0 and 1.
    #[cfg(test)]
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A number of the standard normal distribution, after Box and Muller.
    #[cfg(test)]
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Enough for the ends to be steady to about a hundredth of the interval's width.
const RESAMPLES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_count_is_the_middle_value() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_values() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn the_interval_of_equal_values_is_that_value() {
        let interval = Interval::of_median(&[0.7; 5]);
        assert_eq!((interval.low, interval.high), (0.7, 0.7));
    }

    #[test]
    fn the_interval_holds_the_median_and_stays_within_the_values() {
        let values = [0.61, 0.70, 0.66, 0.68, 0.72, 0.65, 0.69, 0.90, 0.67];
        let interval = Interval::of_median(&values);
        let spread = Spread::of(values);
        assert!(spread.min <= interval.low && interval.low <= spread.median);
        assert!(spread.median <= interval.high && interval.high < spread.max);
        assert_eq!(interval, Interval::of_median(&values));
    }

    #[test]
    fn draws_reach_every_place() {
        let mut draws = Draws::from(1);
        let mut seen = [0_usize; 7];
        for _ in 0..7_000 {
            seen[draws.below(7)] += 1;
        }
        assert!(
            seen.iter().all(|count| (800..1200).contains(count)),
            "{seen:?}"
        );
    }
}
