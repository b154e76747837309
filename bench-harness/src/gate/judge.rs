//! The method of the gate, apart from how anything is measured. A gate says `regression` of a
//! candidate that is within the threshold, or `no regression` of one that is beyond it, in at
//! most 5 of 100 runs each, over all of its figures and all of its looks together.

use crate::fault::{Fault, Result};
use crate::results::{GateFigure, Verdict};
use crate::stats::ranks::{self, Shift};

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Figure {
    /// CPU time per request at saturation.
    Cpu,
    /// Median latency at a fixed rate.
    P50,
    /// 99th percentile of latency at a fixed rate.
    P99,
}

impl Figure {
    /// All of them.
    pub const ALL: [Figure; 3] = [Figure::Cpu, Figure::P50, Figure::P99];

    /// As the command line and the results spell it.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Cpu => "cpu_us",
            Figure::P50 => "p50_us",
            Figure::P99 => "p99_us",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Figure> {
        Figure::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// Whether it is taken at a fixed rate, and not at saturation.
    pub fn is_latency(self) -> bool {
        self != Figure::Cpu
    }
}

/// A figure and the rise that is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What is judged.
    pub figure: Figure,
    /// A share: 0.03.
    pub threshold: f64,
}

/// After how many rounds the gate looks at what it has, and how sure each look must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Looks {
    /// Rising; the last is the most there are.
    rounds: Vec<u32>,
    /// The error that one look at one figure may make on either side.
    tail: f64,
}

impl Looks {
    /// A first look after `first` rounds, then whenever they have doubled, the last after `max`.
    /// Numbers are made even, so that each side comes first equally often.
    ///
    /// # Errors
    /// When the first look would be too early to say anything: how many rounds it takes.
    pub fn plan(first: u32, max: u32, figures: usize) -> Result<Looks> {
        let even = |count: u32| count + count % 2;
        let (first, max) = (even(first), even(max.max(first)));
        let mut rounds = vec![first];
        while let Some(last) = rounds.last().copied()
            && last < max
        {
            // A last look just behind another would cost much and bring little.
            rounds.push(if last * 3 > max { max } else { last * 2 });
        }
        // Bonferroni's inequality: errors of single looks at single figures add up at most.
        let tail = ERROR / (rounds.len() * figures.max(1)) as f64;
        let least = even(ranks::pairs_min(tail));
        match first < least {
            true => Err(Fault::Setup(format!(
                "{first} rounds are too few to be sure of {figures} figures in {} looks: \
                 give at least --rounds {least}, fewer --figures, or a --rounds-max that is not \
                 above --rounds",
                rounds.len()
            ))),
            false => Ok(Looks { rounds, tail }),
        }
    }

    /// The numbers of rounds.
    pub fn rounds(&self) -> &[u32] {
        &self.rounds
    }

    /// The error that one look at one figure may make on either side.
    pub fn tail(&self) -> f64 {
        self.tail
    }
}

/// What the candidate is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Against<'a> {
    /// The base, measured next to it in every round.
    Base,
    /// A build that was measured earlier: its figure over the anchor's, one a round. This time
    /// the anchor is what is measured next to the candidate.
    Saved(&'a [f64]),
}

/// The verdict on one figure after a look. `other` was measured next to `candidate` in every
/// round: the base, or the anchor.
///
/// # Errors
/// When a value is not above zero, so that there is no ratio.
pub fn judge(
    judged: Judged,
    against: Against<'_>,
    other: &[f64],
    candidate: &[f64],
    tail: f64,
) -> Result<GateFigure> {
    let name = judged.figure.name();
    let ratios: Vec<f64> = candidate.iter().zip(other).map(|(c, o)| c / o).collect();
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    let (shift, base, candidate) = match against {
        Against::Base => (
            Shift::of_pairs(&logs(&ratios), tail),
            other.to_vec(),
            candidate.to_vec(),
        ),
        Against::Saved(saved) => (
            Shift::between(&logs(saved), &logs(&ratios), tail),
            saved.to_vec(),
            ratios,
        ),
    };
    let finite = |shift: &Shift| shift.low.is_finite() && shift.high.is_finite();
    let shift = shift.filter(finite).ok_or_else(|| {
        Fault::Premise(format!(
            "{name} was zero in some round, or there were too few rounds: measure for longer \
             with --seconds"
        ))
    })?;
    let (low, high) = (shift.low.exp(), shift.high.exp());
    let verdict = verdict(low, high, 1.0 + judged.threshold);
    let rounds = candidate.len();
    Ok(GateFigure {
        name: name.to_owned(),
        threshold: judged.threshold,
        base,
        candidate,
        ratio: shift.estimate.exp(),
        low,
        high,
        verdict,
        rounds_needed: (verdict == Verdict::TooNoisy)
            .then(|| rounds_needed(shift, judged.threshold, rounds))
            .flatten(),
    })
}

/// What an interval says about a limit.
fn verdict(low: f64, high: f64, limit: f64) -> Verdict {
    if high < limit {
        Verdict::NoRegression
    } else if low > limit {
        Verdict::Regression
    } else {
        Verdict::TooNoisy
    }
}

/// The worst of them, which is the gate's.
pub fn worst(figures: &[GateFigure]) -> Verdict {
    let verdicts = figures.iter().map(|figure| figure.verdict);
    verdicts.max().unwrap_or(Verdict::TooNoisy)
}

/// About how many rounds would do if the estimate is right: the interval narrows with the square
/// root of their number. `None` when the estimate is so close to the threshold that there is no
/// sensible number.
fn rounds_needed(shift: Shift, threshold: f64, rounds: usize) -> Option<u32> {
    let distance = threshold.ln_1p() - shift.estimate;
    let reach = match distance > 0.0 {
        true => shift.high - shift.estimate,
        false => shift.estimate - shift.low,
    };
    let needed = (rounds as f64 * LUCK * (reach / distance).powi(2)).ceil();
    // No fewer than there were: those did not do.
    let needed = needed.max(rounds as f64 + 2.0);
    (needed <= f64::from(ROUNDS_SENSIBLE_MAX)).then_some(needed as u32)
}

/// The error of a whole gate on either side.
pub const ERROR: f64 = 0.05;

/// With just enough rounds every second gate would still be undecided; with this many times as
/// many, one in five.
const LUCK: f64 = 1.8;
/// Hours, on most machines.
const ROUNDS_SENSIBLE_MAX: u32 = 1_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CPU: Judged = Judged {
        figure: Figure::Cpu,
        threshold: 0.03,
    };

    fn judged(ratios: &[f64]) -> GateFigure {
        let base = vec![20.0; ratios.len()];
        let candidate: Vec<f64> = ratios.iter().map(|ratio| ratio * 20.0).collect();
        judge(CPU, Against::Base, &base, &candidate, 0.025).unwrap()
    }

    #[test]
    fn an_interval_on_the_limit_decides_nothing() {
        assert_eq!(verdict(0.9, 1.03, 1.03), Verdict::TooNoisy);
        assert_eq!(verdict(1.03, 1.1, 1.03), Verdict::TooNoisy);
        assert_eq!(verdict(0.9, 1.029, 1.03), Verdict::NoRegression);
        assert_eq!(verdict(1.031, 1.1, 1.03), Verdict::Regression);
        assert_eq!(verdict(1.031, f64::NAN, 1.03), Verdict::Regression);
        assert_eq!(verdict(f64::NAN, f64::NAN, 1.03), Verdict::TooNoisy);
    }

    #[test]
    fn steady_rounds_are_decided_and_wild_ones_are_not() {
        let same = judged(&[1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.0]);
        assert_eq!(same.verdict, Verdict::NoRegression);
        assert_eq!(same.rounds_needed, None);
        let worse = judged(&[1.07, 1.06, 1.08, 1.07, 1.05, 1.09, 1.07, 1.07]);
        assert_eq!(worse.verdict, Verdict::Regression);
        assert!((worse.ratio - 1.07).abs() < 0.005, "{}", worse.ratio);
        let wild = judged(&[1.2, 0.8, 1.1, 0.9, 1.15, 0.85, 1.0, 1.05]);
        assert_eq!(wild.verdict, Verdict::TooNoisy);
        assert!(wild.rounds_needed.unwrap() > 8, "{wild:?}");
    }

    #[test]
    fn half_the_noise_takes_a_quarter_of_the_rounds() {
        let shift = |reach: f64| Shift {
            estimate: 0.0,
            low: -reach,
            high: reach,
        };
        let wide = rounds_needed(shift(0.2), 0.03, 10).unwrap();
        let narrow = rounds_needed(shift(0.1), 0.03, 10).unwrap();
        assert!((wide as f64 / narrow as f64 - 4.0).abs() < 0.05);
        let near = Shift {
            estimate: 0.03_f64.ln_1p(),
            low: -0.1,
            high: 0.1,
        };
        assert_eq!(rounds_needed(near, 0.03, 10), None);
    }

    #[test]
    fn a_saved_build_is_compared_by_its_ratio_to_the_anchor() {
        let saved: Vec<f64> = (0..10).map(|n| 1.5 + f64::from(n) / 1000.0).collect();
        // The whole machine is twice as slow now, and the candidate a tenth worse than that.
        let anchor = [26.0; 10];
        let candidate: Vec<f64> = saved.iter().map(|ratio| ratio * 26.0 * 1.1).collect();
        let figure = judge(CPU, Against::Saved(&saved), &anchor, &candidate, 0.025).unwrap();
        assert_eq!(figure.verdict, Verdict::Regression);
        assert!((figure.ratio - 1.1).abs() < 0.001);
        assert_eq!(figure.base, saved);
    }

    #[test]
    fn a_value_of_zero_is_no_figure() {
        let fault = judge(CPU, Against::Base, &[1.0; 8], &[0.0; 8], 0.025).unwrap_err();
        assert!(fault.to_string().contains("cpu_us was zero"), "{fault}");
    }

    #[test]
    fn the_worst_figure_is_the_verdict() {
        let mut figures = vec![judged(&[1.0; 8]), judged(&[1.2; 8])];
        assert_eq!(worst(&figures), Verdict::Regression);
        figures[1].verdict = Verdict::TooNoisy;
        assert_eq!(worst(&figures), Verdict::TooNoisy);
        assert_eq!(worst(&[]), Verdict::TooNoisy);
    }

    #[test]
    fn looks_double_and_end_at_the_most() {
        let looks = |first, max| Looks::plan(first, max, 1).unwrap().rounds;
        assert_eq!(looks(12, 48), [12, 24, 48]);
        assert_eq!(looks(12, 12), [12]);
        assert_eq!(looks(11, 40), [12, 24, 40]);
        assert_eq!(looks(12, 30), [12, 30]);
        assert_eq!(looks(12, 4), [12]);
    }

    #[test]
    fn more_looks_and_figures_must_each_be_surer() {
        assert_eq!(Looks::plan(12, 12, 1).unwrap().tail(), 0.05);
        let strict = Looks::plan(12, 48, 3).unwrap();
        assert!((strict.tail() - 0.05 / 9.0).abs() < 1e-12);
        let fault = Looks::plan(6, 48, 3).unwrap_err().to_string();
        assert!(fault.contains("--rounds 8"), "{fault}");
    }
}
