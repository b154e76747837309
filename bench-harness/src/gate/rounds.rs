//! The order of a gate's rounds: pairs, each side first in every second one, until the method
//! can tell or the rounds are used up.

use super::judge::{self, Against, Judged, Looks};
use crate::fault::{Fault, Result};
use crate::results::{GateFigure, Verdict};

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The base, or the anchor in its place.
    Base,
    /// The build that is judged.
    Candidate,
}

impl Side {
    /// The order within round `index`, counted from 0: base first, then candidate first, and so
    /// on. What a round does to whoever comes second falls on both equally often.
    pub fn order(index: u32) -> [Side; 2] {
        match index % 2 {
            0 => [Side::Base, Side::Candidate],
            _ => [Side::Candidate, Side::Base],
        }
    }
}

/// Something that can be measured again and again.
pub trait Bench {
    /// Measures one side once: its figures, in the order of the gate's.
    ///
    /// # Errors
    /// When there is no figure.
    fn measure(&mut self, side: Side) -> Result<Vec<f64>>;

    /// Both sides of this round, counted from 1, were measured.
    fn paired(&mut self, round: u32, base: &[f64], candidate: &[f64]);

    /// A round was thrown away, both sides of it, because a premise did not hold.
    fn again(&mut self, round: u32, fault: &Fault);

    /// A look was taken, and this is what it showed.
    fn looked(&mut self, figures: &[GateFigure]);
}

/// What the gate decides on.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The figures, in their order.
    pub judged: &'a [Judged],
    /// What each is compared with, in the same order.
    pub against: Vec<Against<'a>>,
    /// When it looks.
    pub looks: Looks,
}

/// Values by figure, one a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Of the base, or the anchor in its place.
    pub base: Vec<Vec<f64>>,
    /// Of the candidate.
    pub candidate: Vec<Vec<f64>>,
    /// Rounds that were measured again.
    pub thrown: u32,
}

impl Columns {
    /// Adds rounds until there are as many.
    ///
    /// # Errors
    /// What the bench fails with.
    pub fn fill(&mut self, bench: &mut impl Bench, rounds: u32) -> Result<()> {
        let done = self.base.first().map_or(0, Vec::len) as u32;
        for index in done..rounds {
            let (base, candidate) = self.round(bench, index)?;
            bench.paired(index + 1, &base, &candidate);
            append(&mut self.base, &base);
            append(&mut self.candidate, &candidate);
        }
        Ok(())
    }

    /// One round. A premise that fails now and then costs the round and not the gate: what is
    /// thrown away is both sides, so that none gains by it.
    fn round(&mut self, bench: &mut impl Bench, index: u32) -> Result<(Vec<f64>, Vec<f64>)> {
        loop {
            match pair(bench, index) {
                Err(fault @ Fault::Premise(_)) if self.thrown < THROWN_MAX => {
                    self.thrown += 1;
                    bench.again(index + 1, &fault);
                }
                outcome => return outcome,
            }
        }
    }
}

fn pair(bench: &mut impl Bench, index: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut base, mut candidate) = (Vec::new(), Vec::new());
    for side in Side::order(index) {
        match side {
            Side::Base => base = bench.measure(side)?,
            Side::Candidate => candidate = bench.measure(side)?,
        }
    }
    Ok((base, candidate))
}

fn append(columns: &mut Vec<Vec<f64>>, values: &[f64]) {
    columns.resize(values.len(), Vec::new());
    for (column, value) in columns.iter_mut().zip(values) {
        column.push(*value);
    }
}

/// Measures pairs until no figure is too noisy, one is a regression, or the rounds are used up.
///
/// # Errors
/// What the bench fails with.
pub fn decide(bench: &mut impl Bench, rules: &Rules<'_>) -> Result<Vec<GateFigure>> {
    let mut columns = Columns::default();
    let mut figures = Vec::new();
    for &rounds in rules.looks.rounds() {
        columns.fill(bench, rounds)?;
        figures = look(rules, &columns)?;
        bench.looked(&figures);
        let verdicts = || figures.iter().map(|figure| figure.verdict);
        let caught = verdicts().any(|verdict| verdict == Verdict::Regression);
        if caught || verdicts().all(|verdict| verdict == Verdict::NoRegression) {
            break;
        }
    }
    Ok(figures)
}

fn look(rules: &Rules<'_>, columns: &Columns) -> Result<Vec<GateFigure>> {
    let sides = columns.base.iter().zip(&columns.candidate);
    let each = rules.judged.iter().zip(&rules.against).zip(sides);
    each.map(|((judged, against), (base, candidate))| {
        judge::judge(*judged, *against, base, candidate, rules.looks.tail())
    })
    .collect()
}

/// More would mean that the machine, or the gateway, cannot do what is asked.
const THROWN_MAX: u32 = 2;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::gate::judge::Figure;
    use crate::stats::Draws;

    /// A machine that other work shares: it drifts through a run, every measurement has noise of
    /// its own, some are far out, and whoever comes second has it a little worse.
    struct Simulated {
        draws: Draws,
        /// Standard deviation of one measurement, as a share.
        noise: f64,
        /// Candidate over base in truth, for each figure.
        truth: Vec<f64>,
        drift: f64,
        /// Position within the pair.
        place: u32,
        looks: u32,
        /// Measurements that fail, by their number from 1.
        failing: Vec<u32>,
        measured: u32,
        thrown: Vec<u32>,
    }

    impl Simulated {
        fn new(seed: u64, noise: f64, truth: &[f64]) -> Simulated {
            Simulated {
                draws: Draws::from(seed),
                noise,
                truth: truth.to_vec(),
                drift: 0.0,
                place: 0,
                looks: 0,
                failing: Vec::new(),
                measured: 0,
                thrown: Vec::new(),
            }
        }
    }

    impl Bench for Simulated {
        fn measure(&mut self, side: Side) -> Result<Vec<f64>> {
            self.measured += 1;
            if self.failing.contains(&self.measured) {
                return Err(Fault::Premise("a socket error".to_owned()));
            }
            self.drift += 0.003 + 0.005 * self.draws.normal();
            self.place = 1 - self.place;
            let second = if self.place == 0 { 0.01 } else { 0.0 };
            let mut values = Vec::new();
            for truth in self.truth.clone() {
                let spike = match self.draws.unit() < 0.03 {
                    true => 0.5 * self.draws.unit(),
                    false => 0.0,
                };
                let noise = self.noise * self.draws.normal();
                let own = match side {
                    Side::Base => 0.0,
                    Side::Candidate => f64::ln(truth),
                };
                values.push(20.0 * (own + noise + spike + second + self.drift).exp());
            }
            Ok(values)
        }

        fn paired(&mut self, _: u32, _: &[f64], _: &[f64]) {}

        fn again(&mut self, round: u32, _: &Fault) {
            self.thrown.push(round);
        }

        fn looked(&mut self, _: &[GateFigure]) {
            self.looks += 1;
        }
    }

    fn rules(figures: usize, rounds: u32, rounds_max: u32) -> Rules<'static> {
        const JUDGED: [Judged; 3] = [Judged {
            figure: Figure::Cpu,
            threshold: 0.03,
        }; 3];
        Rules {
            judged: &JUDGED[..figures],
            against: vec![Against::Base; figures],
            looks: Looks::plan(rounds, rounds_max, figures).unwrap(),
        }
    }

    /// How often each verdict comes out of many gates.
    #[derive(Debug, Default, PartialEq)]
    struct Tally {
        sound: u32,
        noisy: u32,
        regressed: u32,
    }

    fn gates(count: u32, rules: &Rules<'_>, noise: f64, truth: &[f64]) -> Tally {
        let mut tally = Tally::default();
        for seed in 0..count {
            let mut bench = Simulated::new(u64::from(seed) << 20 | 77, noise, truth);
            let figures = decide(&mut bench, rules).unwrap();
            match judge::worst(&figures) {
                Verdict::NoRegression => tally.sound += 1,
                Verdict::TooNoisy => tally.noisy += 1,
                Verdict::Regression => tally.regressed += 1,
            }
        }
        tally
    }

    #[test]
    fn a_gate_does_not_cry_wolf_over_the_same_build() {
        for noise in [0.02, 0.05, 0.10] {
            let tally = gates(1000, &rules(1, 12, 48), noise, &[1.0]);
            assert!(tally.regressed < 10, "noise {noise}: {tally:?}");
        }
        let tally = gates(300, &rules(3, 12, 24), 0.07, &[1.0; 3]);
        assert_eq!(tally.regressed, 0, "{tally:?}");
    }

    /// The hardest place: a candidate exactly at the threshold may be called either way in 5 of
    /// 100 gates each, all looks together.
    #[test]
    fn the_error_of_many_looks_is_paid_for() {
        for noise in [0.03, 0.08] {
            let tally = gates(1000, &rules(1, 12, 48), noise, &[1.03]);
            assert!(tally.regressed <= 50, "noise {noise}: {tally:?}");
            assert!(tally.sound <= 50, "noise {noise}: {tally:?}");
        }
        let tally = gates(300, &rules(3, 12, 24), 0.05, &[1.03; 3]);
        assert!(tally.regressed <= 15, "{tally:?}");
    }

    #[test]
    fn a_cost_of_five_percent_is_caught() {
        let tally = gates(200, &rules(1, 12, 48), 0.02, &[1.05]);
        assert!(tally.regressed >= 190 && tally.sound == 0, "{tally:?}");
        // Where the machine is too noisy for these rounds, the gate says so.
        let tally = gates(200, &rules(1, 12, 48), 0.10, &[1.05]);
        assert!(tally.sound <= 10, "{tally:?}");
        // With a cost well beyond the noise it is caught even so.
        let tally = gates(200, &rules(1, 12, 48), 0.10, &[1.20]);
        assert!(tally.regressed >= 190, "{tally:?}");
    }

    #[test]
    fn a_regression_of_one_figure_among_three_is_caught() {
        let tally = gates(100, &rules(3, 12, 48), 0.02, &[1.0, 1.0, 1.08]);
        assert!(tally.regressed >= 95, "{tally:?}");
    }

    /// The estimate of rounds is worth something: with as many, most gates are decided.
    #[test]
    fn the_estimate_of_rounds_is_about_right() {
        let (mut estimates, truth) = (Vec::new(), [1.0]);
        for seed in 0..60 {
            let mut bench = Simulated::new(seed, 0.07, &truth);
            let figures = decide(&mut bench, &rules(1, 12, 12)).unwrap();
            estimates.extend(figures[0].rounds_needed);
        }
        estimates.sort_unstable();
        let needed = estimates[estimates.len() / 2];
        let tally = gates(60, &rules(1, needed, needed), 0.07, &truth);
        assert!(tally.sound >= 35, "{needed} rounds: {tally:?}");
    }

    #[test]
    fn steady_figures_end_the_rounds_at_the_first_look() {
        let mut bench = Simulated::new(1, 0.002, &[0.9]);
        let figures = decide(&mut bench, &rules(1, 12, 48)).unwrap();
        assert_eq!((bench.looks, figures[0].base.len()), (1, 12));
    }

    #[test]
    fn a_round_that_fails_is_measured_again_whole() {
        let mut bench = Simulated::new(1, 0.002, &[1.0]);
        // The second side of the third round, and the first of its repetition.
        bench.failing = vec![6, 7];
        let mut columns = Columns::default();
        columns.fill(&mut bench, 4).unwrap();
        assert_eq!(bench.thrown, [3, 3]);
        assert_eq!((columns.base[0].len(), columns.candidate[0].len()), (4, 4));
        // 4 rounds of 2, the side before the first failure, and the two failures.
        assert_eq!(bench.measured, 11);
    }

    #[test]
    fn failures_that_go_on_end_the_gate() {
        let mut bench = Simulated::new(1, 0.002, &[1.0]);
        bench.failing = vec![2, 4, 6];
        let ended = Columns::default().fill(&mut bench, 4);
        assert!(matches!(ended, Err(Fault::Premise(_))), "{ended:?}");
    }

    #[test]
    fn each_side_comes_first_equally_often() {
        assert_eq!(Side::order(0), [Side::Base, Side::Candidate]);
        assert_eq!(Side::order(1), [Side::Candidate, Side::Base]);
        assert_eq!(Side::order(2), Side::order(0));
    }
}
