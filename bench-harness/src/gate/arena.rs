//! Where two sides are measured in turn. Each measurement starts its side anew, so that what
//! one start happens to be like (the layout of its memory, say) is noise of a round and not a
//! difference between builds (Kalibera and Jones, Rigorous benchmarking in reasonable time,
//! 2013).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use super::args::{Effort, Traffic, Whose};
use super::config::{self, Seat};
use super::judge::Figure;
use super::rounds::{Bench, Side};
use crate::cores::Places;
use crate::fault::{Fault, Result};
use crate::figures::Scratch;
use crate::gateway::{Binary, Gateway};
use crate::measure::{Length, Pace, Stage, Subject, Upstream, Work};
use crate::output;
use crate::process::{Output, Plan, Process, Until};
use crate::results::{GateFigure, Sample, Verdict};

/// The stage, the two sides and the load.
#[derive(Debug)]
pub struct Arena {
    stage: Stage,
    length: Length,
    work: Work,
    /// Requests due per second while latency is measured.
    rate: Option<f64>,
    figures: Vec<Figure>,
    sides: [Contender; 2],
    /// Whether each pair of measurements is told.
    news: News,
    // The last to go: fields are dropped in their order.
    scratch: Scratch,
}

/// How much is told while rounds are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Each round and each look.
    Rounds,
    /// Nothing.
    None,
}

/// A side before it is started.
#[derive(Debug, Clone)]
pub enum Contender {
    /// A build on a configuration.
    Gateway {
        /// The program.
        binary: Rc<Binary>,
        /// What it runs on.
        config: config::Bench,
        /// What it must choose.
        driver: Option<&'static str>,
    },
    /// `ringgate-bench relay`: the same program on either day.
    Anchor,
}

/// A side that serves.
struct Running {
    address: SocketAddr,
    process: Process,
}

impl Arena {
    /// Starts the origin; both sides are anchors until they are seated.
    ///
    /// # Errors
    /// When the origin does not come up.
    pub fn set(
        traffic: &Traffic,
        effort: &Effort,
        places: Places,
        figures: Vec<Figure>,
        news: News,
    ) -> Result<Arena> {
        let scratch = Scratch::new()?;
        let stage = Stage::set(places, &scratch.room("stage")?)?;
        Ok(Arena {
            stage,
            length: effort.length(),
            work: traffic.work(),
            rate: None,
            figures,
            sides: [Contender::Anchor, Contender::Anchor],
            news,
            scratch,
        })
    }

    /// A build on the bench version of one side's configuration.
    ///
    /// # Errors
    /// When there is none, or the build would refuse it.
    pub fn contender(
        &self,
        binary: &Rc<Binary>,
        traffic: &Traffic,
        whose: Whose,
    ) -> Result<Contender> {
        let access_log = self.room_of(side(whose)).join("access.log");
        let driver = traffic.driver(whose).map(|driver| driver.name());
        let seat = Seat {
            cores: &self.stage.places().proxy,
            origin: self.stage.origin().address(),
            access_log: &access_log,
            listener: traffic.listener(),
            driver,
        };
        let config = match traffic.config(whose) {
            Some(file) => config::derive(file, seat)?,
            None => config::derive_text(SMALL, seat)?,
        };
        let contender = Contender::Gateway {
            binary: Rc::clone(binary),
            config,
            driver,
        };
        self.check(&contender)?;
        Ok(contender)
    }

    /// Has the build's own `check` look at what it is to run on.
    fn check(&self, contender: &Contender) -> Result<()> {
        let Contender::Gateway { binary, config, .. } = contender else {
            return Ok(());
        };
        let file = self.scratch.path().join("check.toml");
        fs::write(&file, config.text())
            .map_err(|error| Fault::io("write the bench version of the configuration", &error))?;
        let program = binary.path();
        let answer = Command::new(program)
            .arg("check")
            .arg(&file)
            .output()
            .map_err(|error| Fault::io(&format!("run {} check", program.display()), &error))?;
        if answer.status.success() {
            return Ok(());
        }
        let said = [answer.stdout, answer.stderr].concat();
        Err(Fault::Setup(format!(
            "{} refuses the bench version of the configuration; try `ringgate check` on the \
             original first:\n{}",
            program.display(),
            String::from_utf8_lossy(&said).trim()
        )))
    }

    /// Gives a side its contender.
    pub fn seat(&mut self, side: Side, contender: Contender) {
        self.sides[index(side)] = contender;
    }

    /// Who is on a side.
    pub fn contender_of(&self, side: Side) -> &Contender {
        &self.sides[index(side)]
    }

    /// Has latency measured at this rate.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        self.rate = rate;
    }

    /// Measures a side at saturation once, outside of the rounds: whether it works at all, and
    /// what it can do.
    ///
    /// # Errors
    /// When a premise does not hold: with a hint, since it is the first time it is tried.
    pub fn try_out(&self, side: Side) -> Result<Sample> {
        let running = self.start(side)?;
        let outcome = self.load(side, &running, &self.work);
        outcome.map_err(|fault| match fault {
            Fault::Premise(what) => Fault::Premise(format!(
                "{what}\n(is there a route for {} {}? --path, --host and --header say what is \
                 asked for)",
                self.work.method, self.work.path
            )),
            other => other,
        })
    }

    /// The load, as flags of the load generator.
    pub fn load_flags(&self) -> String {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let words = self.work.arguments(nowhere, &self.stage.places().load);
        let words = words.iter().map(|word| word.to_string_lossy());
        words
            .skip(1)
            .chain([self.work.path.as_str().into()])
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Cores of the gateway.
    pub fn proxy_cores(&self) -> String {
        self.stage.places().proxy.to_string()
    }

    /// What is run, as one would type it.
    pub fn commands(&self) -> Vec<String> {
        let length = self.length;
        let load = format!(
            "ringgate-bench load {} --warmup={} --seconds={}",
            self.load_flags(),
            length.warmup,
            length.seconds
        );
        let rate = self.rate.map(|rate| format!("{load} --rate={rate:.1}"));
        let sides = self.sides.iter().map(|side| match side {
            Contender::Gateway { binary, .. } => {
                format!(
                    "taskset -c {} {} run ringgate.toml",
                    self.proxy_cores(),
                    binary.path().display()
                )
            }
            Contender::Anchor => format!(
                "ringgate-bench relay --listen 127.0.0.1:0 --to {} --cores {}",
                self.stage.origin().address(),
                self.proxy_cores()
            ),
        });
        let origin = self.stage.origin().command().to_owned();
        sides.chain([origin, load]).chain(rate).collect()
    }

    fn start(&self, side: Side) -> Result<Running> {
        let room = self.room_of(side);
        let _ = fs::remove_dir_all(&room);
        fs::create_dir(&room).map_err(|error| Fault::io("make a scratch directory", &error))?;
        match self.contender_of(side) {
            Contender::Gateway {
                binary,
                config,
                driver,
                ..
            } => {
                let cores = &self.stage.places().proxy;
                let gateway = binary.start(&config.text(), Some(cores), &room)?;
                must_run_on(&gateway, *driver)?;
                Ok(Running {
                    address: gateway.address(),
                    process: gateway.process,
                })
            }
            Contender::Anchor => self.start_anchor(&room),
        }
    }

    fn start_anchor(&self, room: &Path) -> Result<Running> {
        let program =
            std::env::current_exe().map_err(|error| Fault::io("find this program", &error))?;
        let (to, cores) = (self.stage.origin().address(), &self.stage.places().proxy);
        let arguments = [
            "relay".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--to={to}"),
            format!("--cores={cores}"),
        ];
        let plan = Plan {
            name: "the relay",
            program: &program,
            arguments: arguments.map(Into::into).into(),
            environment: Vec::new(),
            cores: Some(cores),
            directory: room,
            output: Output::Read,
        };
        let mut process = plan.start()?;
        let line = process.output(Until::Line, READY_MAX)?;
        let ready = serde_json::from_str::<serde_json::Value>(&line).ok();
        let address = ready.and_then(|ready| ready["address"].as_str()?.parse().ok());
        match address {
            Some(address) => Ok(Running { address, process }),
            None => Err(process.failed(&format!("said {line:?}"))),
        }
    }

    fn load(&self, side: Side, running: &Running, work: &Work) -> Result<Sample> {
        let access_log = self.room_of(side).join("access.log");
        let (upstream, logs) = match self.contender_of(side) {
            Contender::Gateway { config, .. } => (Upstream::Pooled, config.logs),
            Contender::Anchor => (Upstream::PerClient, false),
        };
        let subject = Subject {
            name: self.contender_of(side).name(side),
            pid: running.process.pid(),
            address: running.address,
            access_log: logs.then_some(access_log.as_path()),
            upstream,
        };
        let measured = self.stage.measure(subject, work, self.length)?;
        Ok(measured.sample)
    }

    fn room_of(&self, side: Side) -> PathBuf {
        self.scratch.path().join(match side {
            Side::Base => "base",
            Side::Candidate => "candidate",
        })
    }
}

impl Contender {
    fn name(&self, side: Side) -> &'static str {
        match (self, side) {
            (Contender::Anchor, _) => "the anchor",
            (_, Side::Base) => "base",
            (_, Side::Candidate) => "candidate",
        }
    }

    /// Version line and path.
    pub fn version(&self) -> String {
        match self {
            Contender::Gateway { binary, .. } => {
                // What it is able to do says nothing about how fast it is.
                let version = binary.version();
                let build = version.split(", drivers:").next().unwrap_or_default();
                format!("{build} ({})", binary.path().display())
            }
            Contender::Anchor => format!("ringgate-bench relay {}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Its whole configuration; empty for the anchor, which has none.
    pub fn config_text(&self) -> String {
        match self {
            Contender::Gateway { config, .. } => config.text(),
            Contender::Anchor => String::new(),
        }
    }

    /// What its configuration has in place of the original's.
    pub fn replaced(&self) -> &[String] {
        match self {
            Contender::Gateway { config, .. } => &config.replaced,
            Contender::Anchor => &[],
        }
    }

    /// Gives it work that the other side does not have, see [`config::Bench::burden`].
    pub fn burden(&mut self, names: u32) {
        if let Contender::Gateway { config, .. } = self {
            config.burden(names);
        }
    }
}

impl Bench for Arena {
    fn measure(&mut self, side: Side) -> Result<Vec<f64>> {
        let running = self.start(side)?;
        let is_latency = |figure: &Figure| figure.is_latency();
        let saturated = match self.figures.iter().all(is_latency) {
            true => None,
            false => Some(self.load(side, &running, &self.work)?),
        };
        let rated = match self.rate.filter(|_| self.figures.iter().any(is_latency)) {
            Some(rate) => Some(self.load(side, &running, &self.work.at(Pace::Rate(rate)))?),
            None => None,
        };
        let value = |figure: &Figure| match figure {
            Figure::Cpu => saturated.map(|sample| sample.cost_us()),
            Figure::P50 => rated.map(|sample| sample.p50_us),
            Figure::P99 => rated.map(|sample| sample.p99_us),
        };
        let values: Option<Vec<f64>> = self.figures.iter().map(value).collect();
        values.ok_or_else(|| Fault::Setup("no rate was set for the latency figures".to_owned()))
    }

    fn paired(&mut self, round: u32, base: &[f64], candidate: &[f64]) {
        if self.news == News::None {
            return;
        }
        let each = self.figures.iter().zip(base).zip(candidate);
        let each = each.map(|((figure, base), candidate)| {
            format!(
                "{} {:.3} ({base:.2} and {candidate:.2})",
                figure.name(),
                candidate / base
            )
        });
        let each: Vec<String> = each.collect();
        output::complain(&format!("round {round}: {}", each.join(", ")));
    }

    fn again(&mut self, round: u32, fault: &Fault) {
        output::complain(&format!("round {round} is measured again: {fault}"));
    }

    fn looked(&mut self, figures: &[GateFigure]) {
        if self.news == News::None {
            return;
        }
        let open = figures
            .iter()
            .filter(|figure| figure.verdict == Verdict::TooNoisy);
        let open: Vec<&str> = open.map(|figure| figure.name.as_str()).collect();
        if !open.is_empty() {
            output::complain(&format!("too noisy to tell yet: {}", open.join(", ")));
        }
    }
}

/// A figure of one driver must not be another's.
fn must_run_on(gateway: &Gateway, driver: Option<&str>) -> Result<()> {
    match driver {
        Some(driver) if driver != gateway.driver() => Err(Fault::Premise(format!(
            "{driver} was asked for, but the gateway runs on {}",
            gateway.driver()
        ))),
        _ => Ok(()),
    }
}

fn side(whose: Whose) -> Side {
    match whose {
        Whose::Base => Side::Base,
        Whose::Candidate => Side::Candidate,
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Base => 0,
        Side::Candidate => 1,
    }
}

const SMALL: &str = include_str!("small.toml");

const READY_MAX: Duration = Duration::from_secs(30);
