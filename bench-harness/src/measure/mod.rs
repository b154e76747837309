//! One measurement of one running process under one load. What is not what it claims to be is
//! refused: errors, requests that do not reach the origin, connections that are not reused,
//! lines missing from the access log.
//!
//! CPU time and the origin's count of requests are both read twice, after the warm-up and
//! shortly before the end, so that the cost of a request is that of steady state: neither
//! opening connections nor the last flush of a log is in it.

mod access_log;
mod origin;
mod premises;
mod work;

pub use access_log::AccessLog;
pub use origin::{Origin, Stats, ready};
pub use premises::Upstream;
pub use work::{Calls, Clients, Pace, Protocol, Resumption, Tls, Work};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cores::{self, Places};
use crate::fault::{Fault, Result};
use crate::interrupt;
use crate::process::{Output, Plan, Process, Until};
use crate::procfs::{Pid, Usage};
use crate::results::{LoadRun, Sample, Saved};

use premises::Observed;

/// What every measurement needs: cores, an origin, a directory.
#[derive(Debug)]
pub struct Stage {
    places: Places,
    origin: Origin,
    program: PathBuf,
    directory: PathBuf,
}

/// A running process that passes requests on to the origin of the stage.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// The process; its children are measured too.
    pub pid: Pid,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it notes each request, if it does.
    pub access_log: Option<&'a Path>,
    /// How it uses connections to the origin.
    pub upstream: Upstream,
}

/// How long a measurement is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Length {
    /// Seconds of the same load before anything is measured.
    pub warmup: f64,
    /// Seconds that are measured.
    pub seconds: f64,
}

/// What one measurement came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Cost of a request, throughput, latency.
    pub sample: Sample,
    /// All that the load saw.
    pub run: LoadRun,
}

impl Stage {
    /// Moves this thread to the cores of load and origin and starts the origin, with one thread
    /// for each of its cores. `directory` must exist; it takes what the processes complain of.
    ///
    /// # Errors
    /// When the origin does not come up.
    pub fn set(places: Places, directory: &Path) -> Result<Stage> {
        let program =
            std::env::current_exe().map_err(|error| Fault::io("find this program", &error))?;
        cores::settle(&places.others())?;
        let origin = Origin::start(&program, &places.origin, directory)?;
        Ok(Stage {
            places,
            origin,
            program,
            directory: directory.to_owned(),
        })
    }

    /// Who runs where.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What answers.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Loads a subject and says what that cost. The subject must be serving already.
    ///
    /// # Errors
    /// When the load cannot run, and when a premise does not hold: every one that does not.
    pub fn measure(&self, subject: Subject<'_>, work: &Work, length: Length) -> Result<Measured> {
        let mut log = subject.access_log.map(AccessLog::emptied).transpose()?;
        let before = self.origin.stats()?;
        let mut load = self.plan(subject, work, length).start()?;
        interrupt::pause(Duration::from_secs_f64(length.warmup + MARGIN_SECONDS))?;
        let first = self.reading(subject)?;
        let window = (length.seconds - 2.0 * MARGIN_SECONDS).max(length.seconds / 2.0);
        interrupt::pause(Duration::from_secs_f64(window))?;
        let last = self.reading(subject)?;
        let run = self.outcome(&mut load, length)?;
        let origin = self.origin.settled()?.since(before);
        let lines = log
            .as_mut()
            .map(|log| log.settled(origin.requests))
            .transpose()?;
        let spent = last.cpu.since(&first.cpu);
        let seconds = (last.at - first.at).as_secs_f64();
        let counted = last.stats.since(first.stats).requests;
        let observed = Observed {
            work,
            run: &run,
            origin,
            upstream: subject.upstream,
            counted,
            lines,
        };
        let faults = observed.faults();
        if !faults.is_empty() {
            let faults = faults.join("\n");
            return Err(Fault::Premise(format!("{}: {faults}", subject.name)));
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / counted as f64;
        let sample = Sample {
            count: run.requests,
            per_second: run.requests_per_second,
            user_us: each(spent.user),
            system_us: each(spent.system),
            busy: spent.total().as_secs_f64() / seconds,
            p50_us: run.latency.p50_us,
            p99_us: run.latency.p99_us,
            p99_9_us: run.latency.p99_9_us,
        };
        Ok(Measured { sample, run })
    }

    /// The command line of the load, as one would type it.
    pub fn command(&self, subject: Subject<'_>, work: &Work, length: Length) -> String {
        self.plan(subject, work, length).command()
    }

    fn plan(&self, subject: Subject<'_>, work: &Work, length: Length) -> Plan<'_> {
        let mut arguments = vec!["load".into()];
        arguments.extend(work.arguments(subject.address, &self.places.load));
        arguments.extend(
            [
                format!("--warmup={}", length.warmup),
                format!("--seconds={}", length.seconds),
                "--json".to_owned(),
                "--quiet".to_owned(),
            ]
            .map(Into::into),
        );
        Plan {
            name: "the load",
            program: &self.program,
            arguments,
            environment: Vec::new(),
            cores: Some(&self.places.load),
            directory: &self.directory,
            output: Output::Read,
        }
    }

    fn reading(&self, subject: Subject<'_>) -> Result<Reading> {
        // The order matters little, as long as it is the same both times.
        Ok(Reading {
            at: Instant::now(),
            cpu: Usage::of_tree(subject.pid)?,
            stats: self.origin.stats()?,
        })
    }

    fn outcome(&self, load: &mut Process, length: Length) -> Result<LoadRun> {
        let limit = Duration::from_secs_f64(length.warmup + length.seconds) + OVERTIME_MAX;
        let text = load.output(Until::End, limit)?;
        let status = load.wait(limit)?;
        if status.code() == Some(2) {
            let Fault::Setup(said) = load.failed("found nobody who answers") else {
                return Err(Fault::Interrupted);
            };
            return Err(Fault::Premise(said));
        }
        if !status.success() {
            return Err(load.failed("failed"));
        }
        match serde_json::from_str(&text) {
            Ok(Saved::Load(run)) => Ok(run),
            Ok(_) => Err(load.failed("reported something that is not a load")),
            Err(error) => Err(load.failed(&format!("reported something else: {error}"))),
        }
    }
}

/// What was read at one moment.
struct Reading {
    at: Instant,
    cpu: Usage,
    stats: Stats,
}

/// The readings keep this far from the ends of the load's own window.
const MARGIN_SECONDS: f64 = 0.15;

/// What the load may need to connect and to write its report, on a busy machine.
const OVERTIME_MAX: Duration = Duration::from_secs(60);
