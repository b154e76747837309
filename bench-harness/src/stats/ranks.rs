//! How far two sides are apart, from ranks alone: nothing is assumed about the shape of the
//! noise, and an outlier counts no more than any other value. The intervals are exact for every
//! number of values, not only for many (Hollander and Wolfe, Nonparametric Statistical Methods,
//! sections 3.2, 3.3, 4.2 and 4.3).

/// An estimate of how far two sides are apart, with the interval that holds the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The estimate of Hodges and Lehmann (1963).
    pub estimate: f64,
    /// The truth is below with at most the probability that was asked for.
    pub low: f64,
    /// The truth is above with at most that probability.
    pub high: f64,
}

impl Shift {
    /// The centre of differences between values that were measured in pairs: the median of the
    /// means of any two of them, its ends by inverting Wilcoxon's signed-rank test. It asks that
    /// a difference is as likely above its centre as below, which holds for pairs in alternating
    /// order. `None` for fewer than [`pairs_min`].
    pub fn of_pairs(differences: &[f64], tail: f64) -> Option<Shift> {
        let skipped = below(&signed_rank(differences.len()), tail)?;
        let mut means = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
        for (index, first) in differences.iter().enumerate() {
            let rest = &differences[index..];
            means.extend(rest.iter().map(|second| f64::midpoint(*first, *second)));
        }
        Some(Shift::inner(means, skipped))
    }

    /// By how much the second sample lies above the first, when they were measured apart: the
    /// median of all differences across, its ends by inverting the rank-sum test of Wilcoxon,
    /// Mann and Whitney. `None` when there are too few for this tail.
    pub fn between(first: &[f64], second: &[f64], tail: f64) -> Option<Shift> {
        let skipped = below(&rank_sum(first.len(), second.len()), tail)?;
        let across = second.iter().flat_map(|b| first.iter().map(move |a| b - a));
        Some(Shift::inner(across.collect(), skipped))
    }

    fn inner(mut values: Vec<f64>, skipped: usize) -> Shift {
        // A whole sort would take most of the time of a simulation.
        let (_, low, rest) = values.select_nth_unstable_by(skipped, f64::total_cmp);
        let low = *low;
        if rest.is_empty() {
            return Shift {
                estimate: low,
                low,
                high: low,
            };
        }
        // As many are skipped at the end as were in front.
        let last = rest.len() - 1 - skipped;
        let (inner, high, _) = rest.select_nth_unstable_by(last, f64::total_cmp);
        let high = *high;
        Shift {
            // With both ends gone the middle is still the middle.
            estimate: match inner.is_empty() {
                true => f64::midpoint(low, high),
                false => median(inner),
            },
            low,
            high,
        }
    }
}

/// Of at least one value, in any order.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match is_even {
        true => f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), *upper),
        false => *upper,
    }
}

/// How many pairs it takes to have an interval with this probability beyond each of its ends.
pub fn pairs_min(tail: f64) -> u32 {
    // The least likely of the 2^n outcomes must be rare enough.
    (-tail.log2()).ceil().max(1.0) as u32
}

/// How many of the lowest values lie outside: the most that the statistic stays below with a
/// probability of at most `tail`.
fn below(distribution: &[f64], tail: f64) -> Option<usize> {
    let mut sum = 0.0;
    let count = distribution.iter().take_while(|probability| {
        sum += **probability;
        // What rounding adds must not cost the exact level 2^-n.
        sum <= tail * (1.0 + 1e-9)
    });
    count.count().checked_sub(1)
}

/// The distribution of the signed-rank statistic of `count` values, from 0 upwards.
fn signed_rank(count: usize) -> Vec<f64> {
    let mut chances = vec![0.0; count * (count + 1) / 2 + 1];
    chances[0] = 1.0;
    for rank in 1..=count {
        // Ranks so far do not reach beyond this.
        for sum in (0..=rank * (rank + 1) / 2).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |less| chances[less]);
            chances[sum] = f64::midpoint(chances[sum], with);
        }
    }
    chances
}

/// The distribution of how many pairs across two samples are in a given order.
fn rank_sum(first: usize, second: usize) -> Vec<f64> {
    let length = first * second + 1;
    // One row for each size of the second sample, for a first sample that grows.
    let start = |_| {
        let mut row = vec![0.0; length];
        row[0] = 1.0;
        row
    };
    let mut rows: Vec<Vec<f64>> = (0..=second).map(start).collect();
    for m in 1..=first {
        for n in 1..=second {
            let share = m as f64 / (m + n) as f64;
            let (done, open) = rows.split_at_mut(n);
            let (fewer, row) = (&done[n - 1], &mut open[0]);
            for pairs in (0..length).rev() {
                let taken = pairs.checked_sub(n).map_or(0.0, |less| row[less]);
                row[pairs] = share * taken + (1.0 - share) * fewer[pairs];
            }
        }
    }
    rows.swap_remove(second)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stats::Draws;

    /// Of 8 values: Hollander and Wolfe, table A.4.
    #[test]
    fn the_signed_rank_distribution_is_that_of_the_tables() {
        let chances = signed_rank(8);
        let up_to = |end: usize| chances[..=end].iter().sum::<f64>();
        assert!((up_to(3) - 0.0195).abs() < 1e-4, "{}", up_to(3));
        assert!((up_to(5) - 0.0391).abs() < 1e-4, "{}", up_to(5));
        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    /// P(U <= 2) for samples of 5 and 5: 4 of the 252 arrangements.
    #[test]
    fn the_rank_sum_distribution_counts_arrangements() {
        let chances = rank_sum(5, 5);
        let up_to = |end: usize| chances[..=end].iter().sum::<f64>();
        assert!((up_to(2) - 4.0 / 252.0).abs() < 1e-12, "{}", up_to(2));
        let uneven = rank_sum(3, 6);
        assert!((uneven[0] - 1.0 / 84.0).abs() < 1e-12);
        assert!((uneven.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_pairs_have_no_interval() {
        assert_eq!(pairs_min(0.025), 6);
        assert_eq!(pairs_min(1.0 / 256.0), 8);
        assert_eq!(Shift::of_pairs(&[1.0; 5], 0.025), None);
        assert!(Shift::of_pairs(&[1.0; 6], 0.025).is_some());
        assert!(Shift::of_pairs(&[1.0; 8], 1.0 / 256.0).is_some());
        assert_eq!(Shift::between(&[1.0; 2], &[1.0; 2], 0.05), None);
    }

    #[test]
    fn the_estimate_is_the_median_of_all_means() {
        let differences = [0.4, 0.1, 0.3, 0.2, 0.9, 0.7, 0.5];
        let mut means = Vec::new();
        for (index, a) in differences.iter().enumerate() {
            means.extend(differences[index..].iter().map(|b| (a + b) / 2.0));
        }
        means.sort_by(f64::total_cmp);
        let shift = Shift::of_pairs(&differences, 0.05).unwrap();
        let (middle, last) = (means.len() / 2, means.len() - 1);
        assert!((shift.estimate - f64::midpoint(means[middle - 1], means[middle])).abs() < 1e-12);
        // P(T <= 3) of 7 values is 5 in 128.
        assert_eq!((shift.low, shift.high), (means[3], means[last - 3]));
        let shift = Shift::between(&[1.0, 2.0, 3.0], &[11.0, 12.5, 13.0], 0.05).unwrap();
        assert_eq!((shift.low, shift.estimate, shift.high), (8.0, 10.0, 12.0));
    }

    #[test]
    fn one_wild_pair_hardly_moves_the_estimate() {
        let mut differences: Vec<f64> = (0..20).map(|n| f64::from(n) / 1000.0).collect();
        let calm = Shift::of_pairs(&differences, 0.025).unwrap();
        differences[19] = 5.0;
        let wild = Shift::of_pairs(&differences, 0.025).unwrap();
        assert!((calm.estimate - wild.estimate).abs() < 0.001);
        assert!(wild.high < 0.02, "{wild:?}");
    }

    /// The promise itself, for noise with tails far heavier than the normal distribution's.
    #[test]
    fn the_truth_lies_beyond_an_end_as_rarely_as_promised() {
        let mut draws = Draws::from(7);
        let mut cauchy = move || {
            let angle = std::f64::consts::PI * (draws.unit() - 0.5);
            0.03 * angle.tan()
        };
        let (mut pairs_out, mut apart_out) = (0, 0);
        for _ in 0..1000 {
            let differences: Vec<f64> = (0..10).map(|_| 0.5 + cauchy()).collect();
            let shift = Shift::of_pairs(&differences, 0.025).unwrap();
            pairs_out += u32::from(shift.low > 0.5) + u32::from(shift.high < 0.5);
            let first: Vec<f64> = (0..8).map(|_| cauchy()).collect();
            let second: Vec<f64> = (0..9).map(|_| 0.5 + cauchy()).collect();
            let shift = Shift::between(&first, &second, 0.025).unwrap();
            apart_out += u32::from(shift.low > 0.5) + u32::from(shift.high < 0.5);
        }
        // 50 of 1,000 are allowed at most, with 3 standard deviations of the simulation.
        assert!((20..=71).contains(&pairs_out), "{pairs_out}");
        assert!((20..=71).contains(&apart_out), "{apart_out}");
    }
}
