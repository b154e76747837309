//! `ringgate-bench gate`: whether a build is slower than another one. The method is in [`judge`]
//! and [`rounds`], apart from everything that measures; a verdict is only given where the
//! rounds support it.

mod arena;
mod args;
mod baseline;
mod config;
mod judge;
mod present;
mod rounds;
mod selftest;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Args, Subcommand};

use crate::Ended;
use crate::cores::Places;
use crate::facts;
use crate::fault::{Fault, Result};
use crate::gateway::Binary;
use crate::output;
use crate::results::{
    BaselineFigure, BaselineRun, Circumstances, GateFigure, GateRun, Pairing, Saved, Verdict,
};

use arena::{Arena, Contender, News};
use args::{Effort, Strictness, Traffic, Whose};
use baseline::Today;
use judge::{Against, Figure, Judged, Looks};
use rounds::{Columns, Rules, Side};

/// Options of `gate`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Command {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    gate: Gate,
}

const AFTER_HELP: &str = "\
Exit codes: 0 no regression, 3 regression, 4 too noisy to tell; 1 failure or wrong usage, 2 a \
premise did not hold.

  gate --base old/ringgate --candidate new/ringgate
  gate --base old/ringgate --candidate new/ringgate --config /etc/ringgate.toml --path /users/7
  gate --base-driver epoll --candidate-driver io_uring      one build in two ways
  gate --candidate ringgate --save-baseline base.json       and later, on the same machine:
  gate --candidate ringgate --baseline base.json";

#[derive(Debug, Subcommand)]
enum Other {
    /// Shows that the gate works on this machine: the same build several times, then with a
    /// known cost added.
    SelfTest(selftest::SelfTest),
}

#[derive(Debug, Args)]
struct Gate {
    /// The build that is compared with; the candidate if the two sides differ in configuration.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["baseline", "save_baseline"])]
    base: Option<PathBuf>,
    /// The build that is judged; without it, the release build beside this program.
    #[arg(long, value_name = "PROGRAM")]
    candidate: Option<PathBuf>,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    effort: Effort,
    #[command(flatten)]
    strictness: Strictness,
    /// Compares with a build that was measured earlier on this machine.
    #[arg(long, value_name = "FILE", conflicts_with = "save_baseline")]
    baseline: Option<PathBuf>,
    /// Measures the candidate for later comparisons and judges nothing.
    #[arg(long, value_name = "FILE")]
    save_baseline: Option<PathBuf>,
    /// Writes the result to a file, for `report`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Writes a summary in Markdown to a file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Prints the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Compares, and says what it came to.
    ///
    /// # Errors
    /// When something is missing or a premise does not hold.
    pub fn run(&self) -> Result<Ended> {
        match &self.other {
            Some(Other::SelfTest(test)) => test.run(),
            None => self.gate.run(),
        }
    }
}

impl Gate {
    fn run(&self) -> Result<Ended> {
        let candidate = Rc::new(Binary::find(self.candidate.as_deref())?);
        if let Some(file) = &self.save_baseline {
            return self.keep(&candidate, file);
        }
        let run = match &self.baseline {
            Some(file) => self.against_saved(&candidate, file)?,
            None => self.against_base(&candidate)?,
        };
        let markdown = present::markdown(&run);
        let text = present::text(&run);
        let code = exit_code(run.verdict);
        let saved = to_json(&Saved::Gate(run));
        write(self.markdown.as_deref(), &markdown)?;
        write(self.save.as_deref(), &saved)?;
        let text = if self.json { saved } else { text };
        Ok(Ended { text, code })
    }

    fn against_base(&self, candidate: &Rc<Binary>) -> Result<GateRun> {
        let base = match &self.base {
            Some(base) => Rc::new(Binary::find(Some(base))?),
            None if self.traffic.differs() => Rc::clone(candidate),
            None => return Err(Fault::Setup(NOTHING_TO_COMPARE.to_owned())),
        };
        let mut match_up = self.match_up()?;
        let arena = &mut match_up.arena;
        for (side, whose, binary) in [
            (Side::Base, Whose::Base, &base),
            (Side::Candidate, Whose::Candidate, candidate),
        ] {
            let contender = arena.contender(binary, &self.traffic, whose)?;
            arena.seat(side, contender);
        }
        self.tell(arena.contender_of(Side::Candidate));
        let first = arena.try_out(Side::Base)?;
        arena.try_out(Side::Candidate)?;
        let rate = self.wants_latency()?.then_some(half(first.per_second));
        match_up.decide(vec![Against::Base; match_up.judged.len()], rate)
    }

    fn against_saved(&self, candidate: &Rc<Binary>, file: &Path) -> Result<GateRun> {
        let saved = baseline::read(file)?;
        let mut match_up = self.match_up()?;
        let arena = &mut match_up.arena;
        let contender = arena.contender(candidate, &self.traffic, Whose::Candidate)?;
        arena.seat(Side::Candidate, contender);
        let (load, proxy_cores) = (arena.load_flags(), arena.proxy_cores());
        baseline::must_agree(
            &saved,
            Today {
                machine: &match_up.circumstances.machine,
                work: &self.traffic.name(),
                load: &load,
                proxy_cores: &proxy_cores,
                seconds: self.effort.length().seconds,
            },
        )?;
        self.tell(arena.contender_of(Side::Candidate));
        arena.try_out(Side::Candidate)?;
        let ratios = baseline::ratios(&saved, &match_up.judged)?;
        let against = ratios.iter().map(|ratios| Against::Saved(ratios)).collect();
        let mut run = match_up.decide(against, saved.rate)?;
        run.base = saved.build;
        run.base_config = saved.config;
        Ok(run)
    }

    /// Measures the candidate beside the anchor and writes that down.
    fn keep(&self, candidate: &Rc<Binary>, file: &Path) -> Result<Ended> {
        let mut match_up = self.match_up()?;
        let arena = &mut match_up.arena;
        let contender = arena.contender(candidate, &self.traffic, Whose::Candidate)?;
        arena.seat(Side::Candidate, contender);
        self.tell(arena.contender_of(Side::Candidate));
        let first = arena.try_out(Side::Candidate)?;
        let rate = self.wants_latency()?.then_some(half(first.per_second));
        arena.set_rate(rate);
        let mut columns = Columns::default();
        // There is nothing to decide yet, and what is not measured now cannot be made up for.
        columns.fill(arena, self.effort.rounds_max())?;
        facts::finish(&mut match_up.circumstances);
        let names = match_up.judged.iter().map(|judged| judged.figure.name());
        let sides = columns.candidate.into_iter().zip(columns.base);
        let figures = names
            .zip(sides)
            .map(|(name, (build, anchor))| BaselineFigure {
                name: name.to_owned(),
                build,
                anchor,
            });
        let seated = match_up.arena.contender_of(Side::Candidate);
        let saved = to_json(&Saved::Baseline(BaselineRun {
            work: self.traffic.name(),
            load: match_up.arena.load_flags(),
            proxy_cores: match_up.arena.proxy_cores(),
            build: seated.version(),
            config: seated.config_text(),
            rate,
            seconds: self.effort.length().seconds,
            figures: figures.collect(),
            circumstances: match_up.circumstances,
        }));
        write(Some(file), &saved)?;
        let told = format!("the baseline is in {}", file.display());
        Ok(Ended::well(if self.json { saved } else { told }))
    }

    /// Says what the bench version of somebody's configuration has in place of the original's.
    fn tell(&self, contender: &Contender) {
        if self.traffic.config(Whose::Candidate).is_some() {
            let replaced = contender.replaced().iter();
            replaced.for_each(|what| output::complain(&format!("bench version: {what}")));
        }
    }

    fn wants_latency(&self) -> Result<bool> {
        let judged = self.strictness.judged()?;
        Ok(judged.iter().any(|judged| judged.figure.is_latency()))
    }

    fn match_up(&self) -> Result<MatchUp> {
        let judged = self.strictness.judged()?;
        MatchUp::set(
            &self.traffic,
            &self.effort,
            self.effort.places()?,
            judged,
            News::Rounds,
        )
    }
}

/// Everything that a comparison needs.
#[derive(Debug)]
struct MatchUp {
    circumstances: Circumstances,
    work: String,
    judged: Vec<Judged>,
    looks: Looks,
    arena: Arena,
}

impl MatchUp {
    fn set(
        traffic: &Traffic,
        effort: &Effort,
        places: Places,
        judged: Vec<Judged>,
        news: News,
    ) -> Result<MatchUp> {
        let circumstances = facts::begin();
        let looks = Looks::plan(effort.rounds(), effort.rounds_max(), judged.len())?;
        let figures: Vec<Figure> = judged.iter().map(|judged| judged.figure).collect();
        Ok(MatchUp {
            circumstances,
            work: traffic.name(),
            looks,
            arena: Arena::set(traffic, effort, places, figures, news)?,
            judged,
        })
    }

    fn decide(&mut self, against: Vec<Against<'_>>, rate: Option<f64>) -> Result<GateRun> {
        let pairing = match against.first() {
            Some(Against::Saved(_)) => Pairing::Anchored,
            _ => Pairing::Paired,
        };
        self.arena.set_rate(rate);
        let rules = Rules {
            judged: &self.judged,
            against,
            looks: self.looks.clone(),
        };
        let figures = rounds::decide(&mut self.arena, &rules)?;
        facts::finish(&mut self.circumstances);
        Ok(self.result(figures, pairing, rate))
    }

    fn result(&self, figures: Vec<GateFigure>, pairing: Pairing, rate: Option<f64>) -> GateRun {
        let base = self.arena.contender_of(Side::Base);
        let candidate = self.arena.contender_of(Side::Candidate);
        GateRun {
            circumstances: self.circumstances.clone(),
            work: self.work.clone(),
            base: base.version(),
            candidate: candidate.version(),
            verdict: judge::worst(&figures),
            figures,
            method: present::method(&self.looks, pairing),
            commands: self.arena.commands(),
            base_config: base.config_text(),
            candidate_config: candidate.config_text(),
            rate,
            pairing,
        }
    }
}

/// Half, to three figures: it will be read.
fn half(per_second: f64) -> f64 {
    let step = 10_f64.powf((per_second / 2.0).log10().floor() - 2.0);
    (per_second / 2.0 / step).round() * step
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NoRegression => 0,
        Verdict::Regression => 3,
        Verdict::TooNoisy => 4,
    }
}

fn to_json(saved: &Saved) -> String {
    // Keys are texts and numbers are finite, so that this cannot fail.
    serde_json::to_string_pretty(saved).unwrap_or_default()
}

fn write(file: Option<&Path>, text: &str) -> Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    let text = format!("{}\n", text.trim_end());
    fs::write(file, text).map_err(|error| Fault::io(&format!("write {}", file.display()), &error))
}

const NOTHING_TO_COMPARE: &str = "\
there is nothing to compare the candidate with: name another build with --base, a baseline with \
--baseline, or two ways to run one build with --base-config and --candidate-config or with \
--base-driver and --candidate-driver";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_rate_is_a_round_number_near_half() {
        assert_eq!(half(48_731.0), 24_400.0);
        assert_eq!(half(100.0), 50.0);
        assert!((half(1.25) - 0.625).abs() < 0.001);
    }

    #[test]
    fn each_verdict_has_its_exit_code() {
        assert_eq!(exit_code(Verdict::NoRegression), 0);
        assert_eq!(exit_code(Verdict::Regression), 3);
        assert_eq!(exit_code(Verdict::TooNoisy), 4);
    }
}
