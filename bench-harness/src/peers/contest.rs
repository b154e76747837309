//! Peers measured in turn, A B C A B C: what the machine does meanwhile falls on all alike. First
//! at saturation, then all at the same rate, half of what the slowest can do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificate::Certificate;
use super::configs;
use super::idle::{self, Held};
use super::lineup::{Peer, Program};
use super::merge::merge;
use super::scenarios::{Scenario, Secure, Workers};
use super::started::{Launch, Outcome, Started};
use crate::fault::{Fault, Result};
use crate::figures::Scratch;
use crate::http;
use crate::interrupt;
use crate::measure::{Calls, Length, Measured, Pace, Stage, Work};
use crate::output;
use crate::procfs::{self, Usage};
use crate::results::{HalfSample, Latency, PeerRun, Sample, ScenarioRun};
use crate::stats::Spread;

/// What all scenarios of a run share.
#[derive(Debug)]
pub struct Contest<'a> {
    /// Cores and origin.
    pub stage: &'a Stage,
    /// Where processes get directories of their own.
    pub scratch: &'a Scratch,
    /// The certificate of the scenarios with TLS.
    pub certificate: &'a Certificate,
    /// Who takes part, with the program where it is there.
    pub peers: &'a [Entrant],
    /// Descriptors that a process may open.
    pub descriptors: u64,
    /// How often each is measured.
    pub rounds: u32,
    /// How long each time.
    pub length: Length,
    /// Whether all are measured at half the slowest's rate too.
    pub half: Half,
}

/// Whether all are measured at half the slowest's rate too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// They are.
    Measured,
    /// They are not.
    Skipped,
}

/// Somebody who was asked for.
#[derive(Debug)]
pub struct Entrant {
    /// Who.
    pub peer: &'static Peer,
    /// The program, or why there is none.
    pub program: std::result::Result<PathBuf, String>,
}

/// A peer in one scenario.
struct Entry {
    run: PeerRun,
    started: Option<Started>,
    /// Requests per second at saturation.
    rates: Vec<f64>,
    saturated: Vec<(u64, Latency)>,
    half: Vec<(u64, Latency)>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    WarmUp,
    Saturated,
    Half(f64),
}

impl Contest<'_> {
    /// Runs one scenario. Peers that cannot do it, do not come up or break a premise twice in a
    /// row are absent from it, with the reason.
    ///
    /// # Errors
    /// When a signal comes or the bench itself cannot go on.
    pub fn run(&self, scenario: &Scenario) -> Result<ScenarioRun> {
        let mix = self.scratch.path().join(format!("{}.toml", scenario.name));
        std::fs::write(&mix, scenario.mix())
            .map_err(|error| Fault::io("write the mix of requests", &error))?;
        let work = scenario.work(&self.certificate.cert, &mix);
        let mut entries = Vec::new();
        for entrant in self.peers {
            entries.push(self.enter(entrant, scenario, &work)?);
        }
        self.rounds_of(Phase::WarmUp, 1, scenario, &work, &mut entries)?;
        self.rounds_of(Phase::Saturated, self.rounds, scenario, &work, &mut entries)?;
        for entry in &mut entries {
            if let Some(started) = &entry.started {
                let memory = procfs::memory_of_tree(started.process.pid())?;
                entry.run.resident_bytes = Some(memory);
            }
        }
        if let (Half::Measured, Some(rate)) = (self.half, half_rate(&mut entries)) {
            let phase = Phase::Half(rate);
            self.rounds_of(phase, self.rounds, scenario, &work, &mut entries)?;
        }
        Ok(ScenarioRun {
            name: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            unit: scenario.unit.name().to_owned(),
            peers: entries.into_iter().map(Entry::finish).collect(),
        })
    }

    /// Starts a peer, where it can take part.
    fn enter(&self, entrant: &Entrant, scenario: &Scenario, work: &Work) -> Result<Entry> {
        let peer = entrant.peer;
        let mut entry = Entry::of(peer);
        if let Some(why) = peer
            .unable(scenario)
            .or_else(|| self.too_few(peer, scenario))
        {
            return Ok(entry.without(why));
        }
        let program = match &entrant.program {
            Ok(program) => program,
            Err(why) => return Ok(entry.without(why.clone())),
        };
        let room = self
            .scratch
            .room(&format!("{}-{}", scenario.name, peer.name))?;
        let launch = Launch {
            peer,
            program,
            scenario,
            origin: self.stage.origin().address(),
            cores: &self.stage.places().proxy,
            certificate: self.certificate,
            descriptors: self.descriptors,
            directory: &room,
        };
        let started = match launch.start() {
            Ok(Outcome::Serving(started)) => started,
            Ok(Outcome::Unsupported(why)) => return Ok(entry.without(why)),
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(fault) => {
                output::complain(&format!("{} does not take part: {fault}", peer.name));
                return Ok(entry.without(format!("did not come up: {fault}")));
            }
        };
        let load = self.stage.command(started.subject(), work, self.length);
        entry.run.command = format!("{}\n{load}", started.process.command());
        entry.run.config = configs::shortened(&started.config);
        let tried = self
            .answers_as_the_origin(&started, scenario)
            .and_then(|()| {
                let idle = scenario.idle > 0;
                let path = scenario.example_path();
                let pid = started.process.pid();
                idle.then(|| idle::bytes_each(pid, started.address, &path, scenario.idle))
                    .transpose()
            });
        match tried {
            Ok(bytes) => entry.run.idle_connection_bytes = bytes,
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(fault) => return Ok(entry.without(reason(fault))),
        }
        entry.started = Some(started);
        Ok(entry)
    }

    /// Why a machine's limits keep a peer from holding its idle connections.
    fn too_few(&self, peer: &Peer, scenario: &Scenario) -> Option<String> {
        let each = match peer.program {
            // One to the client and one to the origin.
            Program::Relay => 2,
            _ => 1,
        };
        let wanted = each * u64::from(scenario.idle) + SPARE_DESCRIPTORS;
        (scenario.idle > 0 && wanted > self.descriptors).then(|| {
            format!(
                "{wanted} descriptors are needed, {} are allowed; raise the limit \
                 (ulimit -Hn {wanted} as root)",
                self.descriptors
            )
        })
    }

    fn answers_as_the_origin(&self, started: &Started, scenario: &Scenario) -> Result<()> {
        if scenario.secure != Secure::No || scenario.calls == Calls::Grpc {
            // The load checks every answer's status, and our own little client knows neither TLS
            // nor HTTP/2.
            return Ok(());
        }
        let path = scenario.example_path();
        let headers = scenario.headers().join("\r\n");
        let ask = |address| {
            http::Connection::open(address)
                .and_then(|mut connection| connection.ask(&path, &headers))
                .map_err(|error| Fault::Premise(format!("{address} does not answer: {error}")))
        };
        let (origin, proxy) = (ask(self.stage.origin().address())?, ask(started.address)?);
        match origin == proxy {
            true => Ok(()),
            false => Err(Fault::Premise(format!(
                "{} answers {} with {} bytes, the origin {} with {}",
                started.peer.name,
                proxy.status,
                proxy.body.len(),
                origin.status,
                origin.body.len()
            ))),
        }
    }

    fn rounds_of(
        &self,
        phase: Phase,
        rounds: u32,
        scenario: &Scenario,
        work: &Work,
        entries: &mut [Entry],
    ) -> Result<()> {
        let work = match phase {
            Phase::Half(rate) => work.at(Pace::Rate(rate)),
            Phase::WarmUp | Phase::Saturated => work.clone(),
        };
        for round in 1..=rounds {
            for entry in entries.iter_mut() {
                let Some(started) = &entry.started else {
                    continue;
                };
                let taken = match self.take(phase, started, scenario, &work) {
                    // Once may be the machine's doing.
                    Err(Fault::Premise(_)) => self.take(phase, started, scenario, &work),
                    other => other,
                };
                match taken {
                    Ok(taken) => {
                        if phase != Phase::WarmUp {
                            let heading = format!("{} {round} of {rounds}", scenario.name);
                            output::complain(&entry.note(phase, scenario, taken, &heading));
                        }
                    }
                    Err(Fault::Interrupted) => return Err(Fault::Interrupted),
                    // What it does wrong will show again where it counts.
                    Err(Fault::Premise(_)) if phase == Phase::WarmUp => {}
                    Err(fault) => {
                        let why = reason(fault);
                        output::complain(&format!("{} drops out: {why}", entry.run.name));
                        entry.drop_out(why);
                    }
                }
            }
        }
        Ok(())
    }

    /// One measurement.
    fn take(
        &self,
        phase: Phase,
        started: &Started,
        scenario: &Scenario,
        work: &Work,
    ) -> Result<Taken> {
        let held = match (scenario.idle, phase) {
            (0, _) | (_, Phase::WarmUp) => None,
            (count, _) => {
                let path = scenario.example_path();
                let held = Held::open(started.address, &path, count)?;
                // Lines of their requests that a buffered log still holds are not the load's.
                interrupt::pause(LOG_FLUSH)?;
                Some(held)
            }
        };
        let length = match phase {
            Phase::WarmUp => Length {
                warmup: 0.2,
                seconds: 1.0,
            },
            Phase::Saturated | Phase::Half(_) => self.length,
        };
        let pid = started.process.pid();
        let before = Usage::of_tree(pid)?;
        let measured = self.stage.measure(started.subject(), work, length)?;
        let busiest = match scenario.workers {
            Workers::PerCore => None,
            Workers::Count(_) => {
                let workers = configs::workers(scenario, &self.stage.places().proxy);
                let after = Usage::of_tree(pid)?;
                Some(evenness(&after.by_thread_since(&before), workers))
            }
        };
        held.map_or(Ok(()), |held| held.check())?;
        Ok(Taken { measured, busiest })
    }
}

/// What one measurement came to.
struct Taken {
    measured: Measured,
    busiest: Option<f64>,
}

impl Entry {
    fn of(peer: &Peer) -> Entry {
        Entry {
            run: PeerRun {
                name: peer.name.to_owned(),
                command: String::new(),
                config: String::new(),
                absent: None,
                samples: Vec::new(),
                saturated: None,
                half: Vec::new(),
                half_latency: None,
                resident_bytes: None,
                idle_connection_bytes: None,
                busiest_worker: None,
            },
            started: None,
            rates: Vec::new(),
            saturated: Vec::new(),
            half: Vec::new(),
        }
    }

    /// Median of its requests per second at saturation, while it takes part.
    fn rate(&self) -> Option<f64> {
        self.started.as_ref()?;
        Some(Spread::of(self.rates.iter().copied()).median)
    }

    fn without(mut self, why: String) -> Entry {
        self.run.absent = Some(why);
        self
    }

    /// Leaves the scenario: rounds that were measured alone would not be comparable.
    fn drop_out(&mut self, why: String) {
        self.run.absent = Some(why);
        self.run.samples.clear();
        self.run.half.clear();
        self.saturated.clear();
        self.half.clear();
        self.started = None;
    }

    /// Keeps a measurement and says it in a line.
    fn note(&mut self, phase: Phase, scenario: &Scenario, taken: Taken, heading: &str) -> String {
        let Taken { measured, busiest } = taken;
        let Measured { sample, run } = measured;
        let raw_rate = sample.per_second;
        let sample = by_unit(sample, scenario.unit.per_request());
        let name = &self.run.name;
        let line = format!(
            "{heading}: {name:<14} {:>9.2} us, {raw_rate:>8.0} requests/s, p99 {:.2} ms",
            sample.cost_us(),
            sample.p99_us / 1e3
        );
        match phase {
            Phase::WarmUp => {}
            Phase::Saturated => {
                self.rates.push(raw_rate);
                self.run.samples.push(sample);
                self.saturated.push((run.requests, run.latency));
                // The worst round says what clients may meet.
                self.run.busiest_worker = busiest
                    .into_iter()
                    .chain(self.run.busiest_worker)
                    .max_by(f64::total_cmp);
            }
            Phase::Half(rate) => {
                self.run.half.push(HalfSample {
                    rate,
                    cost_us: sample.cost_us(),
                    p50_us: sample.p50_us,
                    p99_us: sample.p99_us,
                    p99_9_us: sample.p99_9_us,
                });
                self.half.push((run.requests, run.latency));
            }
        }
        line
    }

    fn finish(self) -> PeerRun {
        let together = |rounds: &[(u64, Latency)]| {
            let rounds: Vec<(u64, &Latency)> = rounds.iter().map(|(n, one)| (*n, one)).collect();
            merge(&rounds)
        };
        PeerRun {
            saturated: together(&self.saturated),
            half_latency: together(&self.half),
            ..self.run
        }
    }
}

/// Half of what the slowest can do, in requests per second. Peers that are slower than a tenth of
/// the fastest take no part: at half of their rate the others would have nothing to do. Their
/// processes are stopped.
fn half_rate(entries: &mut [Entry]) -> Option<f64> {
    let rates: Vec<Option<f64>> = entries.iter().map(Entry::rate).collect();
    let least = rates.iter().flatten().copied().fold(0.0, f64::max) / 10.0;
    for (entry, rate) in entries.iter_mut().zip(&rates) {
        if rate.is_some_and(|rate| rate < least) {
            entry.started = None;
        }
    }
    let kept = rates.into_iter().flatten().filter(|rate| *rate >= least);
    kept.min_by(f64::total_cmp).map(|slowest| slowest / 2.0)
}

/// Why a peer has no figure, on one line.
fn reason(fault: Fault) -> String {
    let what = match fault {
        Fault::Premise(what) | Fault::Setup(what) => what,
        Fault::Interrupted => fault.to_string(),
    };
    format!("no figure: {}", what.trim().replace('\n', "; "))
}

/// A sample of requests as one of units.
fn by_unit(sample: Sample, units_per_request: f64) -> Sample {
    Sample {
        per_second: sample.per_second * units_per_request,
        user_us: sample.user_us / units_per_request,
        system_us: sample.system_us / units_per_request,
        ..sample
    }
}

/// CPU time of the busiest thread over the mean of so many workers; 1 is even.
fn evenness(threads: &[Duration], workers: usize) -> f64 {
    let most = threads.iter().max().copied().unwrap_or_default();
    let all: Duration = threads.iter().sum();
    most.as_secs_f64() * workers as f64 / all.as_secs_f64()
}

/// The version of a program that takes part.
pub fn version(entrant: &Entrant) -> Option<String> {
    let program: &Path = entrant.program.as_deref().ok()?;
    Some(match entrant.peer.program {
        Program::Relay | Program::Stock => {
            format!("ringgate-bench {}", env!("CARGO_PKG_VERSION"))
        }
        _ => super::installed::version(program),
    })
}

/// For logs, pipes, listeners, and connections of the load.
const SPARE_DESCRIPTORS: u64 = 500;

/// Longer than nginx and Envoy keep a line in their buffers.
const LOG_FLUSH: Duration = Duration::from_millis(1_200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gigabyte_costs_what_its_requests_cost() {
        let sample = Sample {
            count: 1_000,
            per_second: 500.0,
            user_us: 30.0,
            system_us: 70.0,
            busy: 0.05,
            p50_us: 1.0,
            p99_us: 2.0,
            p99_9_us: 3.0,
        };
        let scaled = by_unit(sample, 0.001);
        assert!((scaled.cost_us() - 100_000.0).abs() < 1e-6);
        assert!((scaled.per_second - 0.5).abs() < 1e-9);
        assert_eq!((scaled.count, scaled.p99_us), (1_000, 2.0));
    }

    #[test]
    fn one_is_even_and_the_number_of_workers_is_all_on_one() {
        let even = [1, 1, 1, 1, 0].map(Duration::from_secs);
        assert!((evenness(&even, 4) - 1.0).abs() < 1e-9);
        let one = [2, 0, 0, 0].map(Duration::from_secs);
        assert!((evenness(&one, 4) - 4.0).abs() < 1e-9);
    }
}
