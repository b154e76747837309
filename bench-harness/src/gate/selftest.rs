//! `gate self-test`: whether the gate keeps its promise on this machine. It compares a build with
//! itself several times, then with a known cost added, without touching the gateway.
//!
//! The cost is a filter on every route that removes request fields which no request has: user
//! time for each request, and not a byte on the wire. How much one name costs is measured in
//! paired rounds at a dose several times larger than the one that is needed, so that the noise
//! of that measurement is small beside it, and small enough to be proportional.

use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;

use super::arena::{Contender, News};
use super::args::{self, Effort, Traffic, Whose};
use super::judge::{Against, Figure, Judged};
use super::rounds::{Columns, Side};
use super::{MatchUp, present, to_json, write};
use crate::Ended;
use crate::cores::Places;
use crate::fault::{Fault, Result};
use crate::gateway::Binary;
use crate::output;
use crate::results::{GateRun, Saved, Verdict};
use crate::stats::ranks::Shift;

/// Options of `gate self-test`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SelfTest {
    /// The build; without it, the release build beside this program.
    #[arg(long, value_name = "PROGRAM")]
    candidate: Option<PathBuf>,
    /// Comparisons of the build with itself.
    #[arg(long, value_name = "N", default_value_t = 10)]
    same: u32,
    /// Comparisons with the cost added.
    #[arg(long, value_name = "N", default_value_t = 3)]
    handicapped: u32,
    /// The cost that is added, as a share of the CPU time per request.
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    handicap: String,
    /// The rise that is a regression.
    #[arg(long, value_name = "SHARE", default_value = "3%")]
    threshold: String,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    effort: Effort,
    /// Writes the result of every comparison to this directory, for `report`.
    #[arg(long, value_name = "DIRECTORY")]
    save: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
The cost is a filter on every route that removes request fields which no request has: user time \
for each request, and not a byte on the wire. How many names cost the share that is asked for is \
measured first, in paired rounds at about four times the dose.

Exit codes: 0 every verdict was right, 3 one was false, 4 one could not be given.";

/// How many names cost how much.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Dose {
    names: u32,
    /// Cost of all of them as a share, and the ends of its interval.
    cost: f64,
    low: f64,
    high: f64,
}

impl Dose {
    /// The number of names that costs `share`, and what it costs by this measurement.
    fn scaled(self, share: f64) -> Dose {
        let names = (f64::from(self.names) * share / self.cost).round().max(1.0);
        let part = names / f64::from(self.names);
        Dose {
            names: names as u32,
            cost: self.cost * part,
            low: self.low * part,
            high: self.high * part,
        }
    }
}

impl SelfTest {
    /// Runs the comparisons.
    ///
    /// # Errors
    /// When something is missing or a premise does not hold.
    pub fn run(&self) -> Result<Ended> {
        let share = args::share(&self.handicap)?;
        // Asked for once: setting a stage narrows what this thread may use.
        let places = self.effort.places()?;
        let binary = Rc::new(Binary::find(self.candidate.as_deref())?);
        if let Some(directory) = &self.save {
            std::fs::create_dir_all(directory)
                .map_err(|error| Fault::io(&format!("make {}", directory.display()), &error))?;
        }
        let mut runs = Vec::new();
        for number in 1..=self.same {
            let run = self.compare(&binary, &places, None)?;
            self.keep(&format!("same-{number:02}.json"), &run)?;
            runs.push((Kind::Same, run));
            progress(&runs, self.same + self.handicapped);
        }
        let mut dose = None;
        if self.handicapped > 0 {
            let measured = self.measure_dose(&binary, &places, share)?.scaled(share);
            output::complain(&format!("the cost: {}", describe(measured)));
            dose = Some(measured);
            for number in 1..=self.handicapped {
                let run = self.compare(&binary, &places, Some(measured.names))?;
                self.keep(&format!("handicapped-{number:02}.json"), &run)?;
                runs.push((Kind::Handicapped, run));
                progress(&runs, self.same + self.handicapped);
            }
        }
        Ok(Ended {
            text: text(&runs, dose),
            code: code(&runs),
        })
    }

    fn compare(&self, binary: &Rc<Binary>, places: &Places, names: Option<u32>) -> Result<GateRun> {
        let mut match_up = self.match_up(binary, places, names)?;
        match_up.arena.try_out(Side::Base)?;
        let mut run = match_up.decide(vec![Against::Base], None)?;
        if let Some(names) = names {
            let burden = format!(" with a filter that removes {names} absent fields");
            run.candidate.push_str(&burden);
        }
        Ok(run)
    }

    fn match_up(
        &self,
        binary: &Rc<Binary>,
        places: &Places,
        names: Option<u32>,
    ) -> Result<MatchUp> {
        let judged = vec![Judged {
            figure: Figure::Cpu,
            threshold: args::share(&self.threshold)?,
        }];
        let mut match_up = MatchUp::set(
            &self.traffic,
            &self.effort,
            places.clone(),
            judged,
            News::None,
        )?;
        for (side, whose) in [
            (Side::Base, Whose::Base),
            (Side::Candidate, Whose::Candidate),
        ] {
            let contender = match_up.arena.contender(binary, &self.traffic, whose)?;
            match_up.arena.seat(side, contender);
        }
        if let Some(names) = names {
            let burdened = burdened(match_up.arena.contender_of(Side::Candidate), names);
            match_up.arena.seat(Side::Candidate, burdened);
        }
        Ok(match_up)
    }

    /// What a dose costs that is several times the one that is needed.
    fn measure_dose(&self, binary: &Rc<Binary>, places: &Places, share: f64) -> Result<Dose> {
        let mut names = FIRST_NAMES;
        let mut match_up = self.match_up(binary, places, Some(names))?;
        for _ in 0..TRIES_MAX {
            let burdened = burdened(match_up.arena.contender_of(Side::Candidate), names);
            match_up.arena.seat(Side::Candidate, burdened);
            let mut columns = Columns::default();
            columns.fill(&mut match_up.arena, ROUGH_ROUNDS)?;
            let rough = dose(names, &columns, 0.2)?.cost;
            if (2.5..=6.0).contains(&(rough / share)) {
                columns.fill(&mut match_up.arena, EXACT_ROUNDS)?;
                return dose(names, &columns, 0.025);
            }
            // Where noise hides the cost, four times as much may show it.
            let factor = (4.0 * share / rough.max(share / 4.0)).clamp(0.05, 4.0);
            names = ((f64::from(names) * factor).round() as u32).clamp(1, NAMES_MAX);
        }
        Err(Fault::Premise(format!(
            "no number of header names costs a steady {:.0} % on this machine: it is too noisy",
            share * 400.0
        )))
    }

    fn keep(&self, name: &str, run: &GateRun) -> Result<()> {
        let file = self.save.as_ref().map(|directory| directory.join(name));
        write(file.as_deref(), &to_json(&Saved::Gate(run.clone())))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Handicapped,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Same => "same build",
            Kind::Handicapped => "cost added",
        }
    }

    /// The verdict that would be false.
    fn false_verdict(self) -> Verdict {
        match self {
            Kind::Same => Verdict::Regression,
            Kind::Handicapped => Verdict::NoRegression,
        }
    }
}

fn burdened(contender: &Contender, names: u32) -> Contender {
    let mut contender = contender.clone();
    contender.burden(names);
    contender
}

fn dose(names: u32, columns: &Columns, tail: f64) -> Result<Dose> {
    let sides = columns.base.iter().zip(&columns.candidate);
    let logs = sides.flat_map(|(base, candidate)| base.iter().zip(candidate));
    let logs: Vec<f64> = logs
        .map(|(base, candidate)| (candidate / base).ln())
        .collect();
    let shift = Shift::of_pairs(&logs, tail)
        .ok_or_else(|| Fault::Setup("too few rounds to know a cost".to_owned()))?;
    Ok(Dose {
        names,
        cost: shift.estimate.exp_m1(),
        low: shift.low.exp_m1(),
        high: shift.high.exp_m1(),
    })
}

fn describe(dose: Dose) -> String {
    let per_cent = |share: f64| format!("{:.1} %", share * 100.0);
    format!(
        "a filter that removes {} absent request fields, {} of the CPU time (95 % interval {} to \
         {})",
        dose.names,
        per_cent(dose.cost),
        per_cent(dose.low),
        per_cent(dose.high)
    )
}

fn progress(runs: &[(Kind, GateRun)], of: u32) {
    if let Some((kind, run)) = runs.last() {
        let verdict = present::words(run.verdict);
        let number = runs.len();
        output::complain(&format!("{number} of {of}, {}: {verdict}", kind.name()));
    }
}

fn count(runs: &[(Kind, GateRun)], kind: Kind, verdict: Verdict) -> usize {
    let wanted = runs
        .iter()
        .filter(|(k, run)| *k == kind && run.verdict == verdict);
    wanted.count()
}

fn text(runs: &[(Kind, GateRun)], dose: Option<Dose>) -> String {
    let heads = ["comparison", "rounds", "change", "low", "high", "verdict"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (kind, run) in runs {
        for figure in &run.figures {
            let change = |ratio: f64| format!("{:+.2} %", (ratio - 1.0) * 100.0);
            rows.push(vec![
                kind.name().to_owned(),
                figure.candidate.len().to_string(),
                change(figure.ratio),
                change(figure.low),
                change(figure.high),
                present::words(figure.verdict).to_owned(),
            ]);
        }
    }
    let tally = |kind: Kind| {
        format!(
            "{}: {} no regression, {} too noisy to tell, {} regression",
            kind.name(),
            count(runs, kind, Verdict::NoRegression),
            count(runs, kind, Verdict::TooNoisy),
            count(runs, kind, Verdict::Regression)
        )
    };
    let mut lines = vec![output::table(&rows), String::new(), tally(Kind::Same)];
    if let Some(dose) = dose {
        lines.push(tally(Kind::Handicapped));
        lines.push(format!("the cost: {}", describe(dose)));
    }
    lines.join("\n")
}

/// As of a gate: 3 when a verdict was false, 4 when one could not be given.
fn code(runs: &[(Kind, GateRun)]) -> u8 {
    let any = |test: fn(&(Kind, GateRun)) -> bool| runs.iter().any(test);
    if any(|(kind, run)| run.verdict == kind.false_verdict()) {
        3
    } else if any(|(_, run)| run.verdict == Verdict::TooNoisy) {
        4
    } else {
        0
    }
}

const FIRST_NAMES: u32 = 200;
const NAMES_MAX: u32 = 9999;
const TRIES_MAX: u32 = 6;
const ROUGH_ROUNDS: u32 = 4;
const EXACT_ROUNDS: u32 = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn runs(verdicts: &[(Kind, Verdict)]) -> Vec<(Kind, GateRun)> {
        let each = verdicts.iter();
        each.map(|(kind, verdict)| (*kind, samples::gate(*verdict)))
            .collect()
    }

    #[test]
    fn a_false_verdict_weighs_more_than_none() {
        let sound = (Kind::Same, Verdict::NoRegression);
        let caught = (Kind::Handicapped, Verdict::Regression);
        let open = (Kind::Same, Verdict::TooNoisy);
        assert_eq!(code(&runs(&[sound, caught])), 0);
        assert_eq!(code(&runs(&[sound, open, caught])), 4);
        assert_eq!(code(&runs(&[open, (Kind::Same, Verdict::Regression)])), 3);
        assert_eq!(
            code(&runs(&[open, (Kind::Handicapped, Verdict::NoRegression)])),
            3
        );
    }

    #[test]
    fn a_dose_is_scaled_to_what_is_needed() {
        let measured = Dose {
            names: 400,
            cost: 0.20,
            low: 0.19,
            high: 0.21,
        };
        let needed = measured.scaled(0.05);
        assert_eq!(needed.names, 100);
        assert!((needed.cost - 0.05).abs() < 1e-9);
        assert!((needed.low - 0.0475).abs() < 1e-9 && (needed.high - 0.0525).abs() < 1e-9);
    }

    #[test]
    fn the_cost_of_a_dose_comes_from_pairs() {
        let columns = Columns {
            base: vec![vec![20.0, 21.0, 22.0, 20.5, 20.0, 20.0]],
            candidate: vec![vec![24.0, 25.2, 26.4, 24.6, 24.0, 24.0]],
            ..Columns::default()
        };
        let dose = dose(200, &columns, 0.025).unwrap();
        assert!((dose.cost - 0.2).abs() < 1e-9);
    }

    #[test]
    fn the_summary_counts_verdicts_and_names_the_cost() {
        let runs = runs(&[
            (Kind::Same, Verdict::NoRegression),
            (Kind::Handicapped, Verdict::Regression),
        ]);
        let dose = Dose {
            names: 84,
            cost: 0.05,
            low: 0.048,
            high: 0.052,
        };
        let text = text(&runs, Some(dose));
        assert!(text.contains("same build: 1 no regression"), "{text}");
        assert!(
            text.contains("removes 84 absent request fields, 5.0 %"),
            "{text}"
        );
    }
}
