//! The latency of several rounds together. The distribution functions are averaged by the number
//! of requests, so that a quantile is that of all requests of all rounds, as exactly as the
//! curves of the rounds are known.

use crate::results::Latency;

/// Of rounds, each with its number of requests; `None` of no requests.
pub fn merge(rounds: &[(u64, &Latency)]) -> Option<Latency> {
    let total: u64 = rounds.iter().map(|(count, _)| count).sum();
    if total == 0 {
        return None;
    }
    let share = |count: u64| count as f64 / total as f64;
    let mean = |part: fn(&Latency) -> f64| -> f64 {
        rounds
            .iter()
            .map(|(count, one)| share(*count) * part(one))
            .sum()
    };
    let mean_us = mean(|one| one.mean_us);
    // The mean of the squares is what adds up.
    let squares = mean(|one| one.deviation_us.powi(2) + one.mean_us.powi(2));
    let least = rounds.iter().map(|(_, one)| one.min_us);
    let greatest = rounds.iter().map(|(_, one)| one.max_us);
    let curves: Vec<(f64, Curve)> = rounds
        .iter()
        .map(|(count, one)| (share(*count), Curve::of(one)))
        .collect();
    let at = |quantile: f64| value_at(&curves, quantile);
    let mut quantiles: Vec<f64> = rounds
        .iter()
        .flat_map(|(_, one)| one.curve.iter().map(|point| point[0]))
        .collect();
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    Some(Latency {
        mean_us,
        deviation_us: (squares - mean_us.powi(2)).max(0.0).sqrt(),
        min_us: least.fold(f64::INFINITY, f64::min),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: greatest.fold(0.0, f64::max),
        curve: quantiles.into_iter().map(|q| [q, at(q)]).collect(),
    })
}

/// One round's distribution: points of rising quantile and value, from the least to the
/// greatest.
struct Curve(Vec<[f64; 2]>);

impl Curve {
    fn of(latency: &Latency) -> Curve {
        let inner = latency.curve.iter().copied();
        let known = [
            [0.5, latency.p50_us],
            [0.9, latency.p90_us],
            [0.99, latency.p99_us],
            [0.999, latency.p99_9_us],
        ];
        let mut points: Vec<[f64; 2]> = [[0.0, latency.min_us]]
            .into_iter()
            .chain(inner)
            .chain(known)
            .chain([[1.0, latency.max_us]])
            .collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        Curve(points)
    }

    /// The share of requests that took at most `value`, straight between points.
    fn share(&self, value: f64) -> f64 {
        let above = self.0.partition_point(|point| point[1] <= value);
        match (above.checked_sub(1).map(|at| self.0[at]), self.0.get(above)) {
            (None, _) => 0.0,
            (Some(_), None) => 1.0,
            (Some([q0, v0]), Some([q1, v1])) => q0 + (q1 - q0) * (value - v0) / (v1 - v0),
        }
    }
}

/// The least value that a share of all requests does not exceed.
fn value_at(curves: &[(f64, Curve)], quantile: f64) -> f64 {
    let values = || curves.iter().flat_map(|(_, curve)| &curve.0).map(|p| p[1]);
    let (mut low, mut high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    let share = |value: f64| -> f64 {
        let parts = curves
            .iter()
            .map(|(weight, curve)| weight * curve.share(value));
        parts.sum()
    };
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        match share(middle) >= quantile - ROUNDING {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

/// Enough for a millionth of an hour's latency.
const HALVINGS: u32 = 52;
/// The weights need not sum up to exactly one.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Evenly spread between two values.
    fn even(low: f64, high: f64) -> Latency {
        let at = |q: f64| low + (high - low) * q;
        Latency {
            mean_us: at(0.5),
            deviation_us: (high - low) / 12_f64.sqrt(),
            min_us: low,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: high,
            curve: [0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
                .map(|q| [q, at(q)])
                .into(),
        }
    }

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.01, "{value} is not {expected}");
    }

    #[test]
    fn one_round_stays_what_it_is() {
        let one = even(100.0, 300.0);
        let merged = merge(&[(1_000, &one)]).unwrap();
        close(merged.p50_us, 200.0);
        close(merged.p99_us, one.p99_us);
        close(merged.deviation_us, one.deviation_us);
        assert_eq!((merged.min_us, merged.max_us), (100.0, 300.0));
    }

    #[test]
    fn rounds_count_by_their_requests() {
        // A quarter of all requests took 0..100, three quarters 100..200.
        let (fast, slow) = (even(0.0, 100.0), even(100.0, 200.0));
        let merged = merge(&[(1_000, &fast), (3_000, &slow)]).unwrap();
        close(merged.p50_us, 100.0 + 100.0 / 3.0);
        close(merged.mean_us, 125.0);
        let quarter = merged.curve.iter().find(|point| point[0] == 0.25).unwrap();
        close(quarter[1], 100.0);
        assert!(
            merged
                .curve
                .is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1])
        );
    }

    #[test]
    fn nothing_has_no_latency() {
        assert_eq!(merge(&[]), None);
        assert_eq!(merge(&[(0, &even(1.0, 2.0))]), None);
    }
}
