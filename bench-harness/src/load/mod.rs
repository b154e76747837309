//! The load generator: closed loops, and open loops whose latency counts from when a request
//! was due. Threads share nothing while they run; what each has counted is added up at the end.

mod grpc;
mod http1;
mod http2;
mod mix;
mod pace;
mod pacer;
mod paths;
mod plan;
mod progress;
mod response;
mod show;
mod tally;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod thread;
mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Args;
use ringgate_core::rt::clock::Stamp;
use ringgate_core::rt::{WakeHandle, raise_descriptor_limit, wake_pair};

use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::results::{LoadRun, Saved};
use crate::wire::serve::DriverChoice;
use crate::{Ended, facts, interrupt};
use plan::{Plan, Protocol};
use progress::Progress;
use tally::{Live, Tally};
use thread::{Report, Start};

/// Generates load and reports what it met.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Where to: `http://127.0.0.1:8080/path` or `https://...`
    pub url: http::Uri,
    /// Connections, over all threads
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Threads, each with its own event loop
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Cores to pin the threads to, one after the other: `0` or `2-5,8`
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,
    /// Requests under way on each connection: pipelined (HTTP/1.1) or as streams (h2)
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// Requests due per second, which makes it an open loop; several are steps of equal length
    #[arg(short, long, value_name = "R[,R2...]", value_delimiter = ',', value_parser = plan::rate)]
    pub rate: Vec<f64>,
    /// Seconds to measure
    #[arg(short, long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of load before that, which do not count
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub warmup: f64,
    /// What to speak; over TLS the server has to agree to it
    #[arg(short, long, value_enum, default_value_t = Protocol::Http1)]
    pub protocol: Protocol,
    /// A connection of its own for each request, handshake included
    #[arg(long)]
    pub new_connections: bool,
    /// Further connections that make one request and then stay idle
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub idle: u32,
    /// A mix of requests, see below; paths are its own, the address is the URL's
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["method", "body_size"])]
    pub requests: Option<PathBuf>,
    /// Makes gRPC calls: the body is one message, and the status has to be 0; takes --protocol h2
    #[arg(long, conflicts_with = "requests")]
    pub grpc: bool,
    /// The method [default: GET, with a body POST]
    #[arg(short, long, value_name = "M")]
    pub method: Option<String>,
    /// A header of every request; may be given several times
    #[arg(short = 'H', long, value_name = "'k: v'")]
    pub header: Vec<String>,
    /// The body's size: `1KiB`, `10MiB`
    #[arg(long, value_name = "SIZE", value_parser = plan::size)]
    pub body_size: Option<u64>,
    /// Authorities (PEM) that sign the server's certificate, instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Believes any certificate
    #[arg(long)]
    pub insecure: bool,
    /// The name that the certificate has to have [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Makes every TLS handshake a full one
    #[arg(long)]
    pub no_resumption: bool,
    /// Seconds until a request or connection counts as failed; noticed up to 0.1 s late
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub timeout: f64,
    /// How to wait for the kernel
    #[arg(long, value_enum, default_value_t = DriverChoice::Auto)]
    pub driver: DriverChoice,
    /// Prints the result as JSON, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Writes that JSON to a file, for `report`
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Writes the latency distribution for HdrHistogram's plotters, in milliseconds
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Shows no progress bar
    #[arg(short, long)]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Closed loop or open loop:
  Without --rate each connection sends its next request when the last one is answered: it shows
  what the server can do, but a server that stalls is sent less, so that its stalls hardly show.
  With --rate requests are due on a schedule, whatever the server does, and latency counts from
  when each was due: use it for percentiles.

Examples:
  ringgate-bench load http://127.0.0.1:8080/
  ringgate-bench load http://127.0.0.1:8080/ --rate 20000 --seconds 30 --hgrm latency.hgrm
  ringgate-bench load https://127.0.0.1:8443/ --protocol h2 --in-flight 32 --insecure
  ringgate-bench load http://127.0.0.1:8080/ --requests mix.toml

A mix of requests:
  [[request]]
  weight = 9                     # of the sum of all weights; 1 if it is not given
  path = \"/users/{1..10000}\"     # or `paths = [...]`; a range stands for each of its numbers
  order = \"random\"               # or \"sequential\"
  headers = [\"accept: application/json\"]
  [[request]]
  method = \"POST\"
  path = \"/upload\"
  body_size = \"1KiB\"             # or `body = \"...\"`, or `body_file = \"...\"`
  [[request]]
  path = \"/package.Service/Method\"
  grpc = true                    # the body is the message; takes --protocol h2

Exit codes: 0 done, 1 wrong usage or failure, 2 not one request was answered.";

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What is wrong with the command line; [`Fault::Premise`] when not one request was answered.
    pub fn run(&self) -> Result<Ended> {
        let (plan, tally, run) = self.measure()?;
        if let Some(file) = &self.hgrm {
            write(file, &show::hgrm(&tally.latency))?;
        }
        let table = show::table(&plan, &tally, &run);
        let json = to_json(run);
        if let Some(file) = &self.save {
            write(file, &json)?;
        }
        Ok(Ended::well(if self.json { json } else { table }))
    }

    fn measure(&self) -> Result<(Arc<Plan>, Tally, LoadRun)> {
        let plan = Arc::new(Plan::of(self)?);
        let mut circumstances = facts::begin();
        let watched = progress::watched(self.quiet);
        let (tally, unsent) = Crew::start(&plan, watched)?.work()?;
        facts::finish(&mut circumstances);
        if tally.requests() == 0 {
            return Err(nothing(&plan, &tally));
        }
        let run = show::saved(&plan, &tally, unsent, circumstances);
        Ok((plan, tally, run))
    }

    /// What the types of the arguments do not say.
    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Fault::Setup(what));
        if !matches!(self.url.scheme_str(), Some("http" | "https")) {
            return wrong(format!(
                "`{}` does not begin with http:// or https://",
                self.url
            ));
        }
        let times = [
            ("--seconds", self.seconds, 0.01),
            ("--warmup", self.warmup, 0.0),
            ("--timeout", self.timeout, 0.1),
        ];
        for (name, value, least) in times {
            if !(least..=SECONDS_MAX).contains(&value) {
                return wrong(format!(
                    "{name} is between {least} and {SECONDS_MAX}, not {value}"
                ));
            }
        }
        if self.threads > self.connections {
            return wrong(format!(
                "{} threads cannot share {} connections: give each at least one",
                self.threads, self.connections
            ));
        }
        if self.new_connections && self.in_flight > 1 {
            return wrong("--new-connections sends one request each: leave --in-flight out".into());
        }
        Ok(())
    }
}

/// The threads of a run.
struct Crew {
    plan: Arc<Plan>,
    reports: Receiver<Report>,
    wakes: Vec<WakeHandle>,
    begin: Arc<OnceLock<Stamp>>,
    progress: Progress,
}

impl Crew {
    fn start(plan: &Arc<Plan>, watched: tally::Watched) -> Result<Crew> {
        let failed = |error| Fault::io("start a load thread", &error);
        check_descriptors(plan)?;
        let (sender, reports) = channel();
        let begin = Arc::new(OnceLock::new());
        let mut wakes = Vec::new();
        let mut lives = Vec::new();
        for thread in 0..plan.threads {
            let (wake, source) = wake_pair().map_err(failed)?;
            let live = Arc::<Live>::default();
            wakes.push(wake);
            lives.push(Arc::clone(&live));
            let start = Start {
                plan: Arc::clone(plan),
                thread,
                source,
                begin: Arc::clone(&begin),
                reports: sender.clone(),
                live,
                watched,
            };
            std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || thread::run(start))
                .map_err(failed)?;
        }
        Ok(Crew {
            progress: Progress::new(plan, lives, watched),
            plan: Arc::clone(plan),
            reports,
            wakes,
            begin,
        })
    }

    /// Runs to the end: what was counted, and requests that were due and never sent.
    fn work(mut self) -> Result<(Tally, u64)> {
        let threads = self.wakes.len();
        // Connections are opened side by side, so that this is generous.
        let opened_by = Instant::now() + self.plan.timeout * 4 + OPENING_MAX;
        for _ in 0..threads {
            match self.report(opened_by)? {
                Report::Ready => {}
                Report::Unreachable(why) => return Err(unreachable(&self.plan, &why)),
                Report::Failed(what) => return Err(Fault::Setup(what)),
                Report::Ended(..) => return Err(lost()),
            }
        }
        let _ = self.begin.set(Stamp::now());
        self.wakes.iter().for_each(WakeHandle::wake);
        let length = Duration::from_nanos(self.plan.window.to);
        let ended_by = Instant::now() + length + self.plan.timeout * 2 + ENDING_MAX;
        let mut total: Option<(Tally, u64)> = None;
        for _ in 0..threads {
            match self.report(ended_by)? {
                Report::Ended(tally, unsent) => match &mut total {
                    None => total = Some((*tally, unsent)),
                    Some((sum, sum_unsent)) => {
                        sum.add(&tally);
                        *sum_unsent += unsent;
                    }
                },
                Report::Failed(what) | Report::Unreachable(what) => return Err(Fault::Setup(what)),
                Report::Ready => return Err(lost()),
            }
        }
        total.ok_or_else(lost)
    }

    /// The next report; shows progress while it waits.
    fn report(&mut self, by: Instant) -> Result<Report> {
        let began = Instant::now();
        loop {
            interrupt::check()?;
            match self.reports.recv_timeout(GLANCE) {
                Ok(report) => return Ok(report),
                Err(RecvTimeoutError::Disconnected) => return Err(lost()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.begin.get().is_some() {
                self.progress.show(began.elapsed());
            }
            if Instant::now() > by {
                return Err(Fault::Setup(
                    "a load thread does not end; the machine may be overloaded".to_owned(),
                ));
            }
        }
    }
}

fn check_descriptors(plan: &Plan) -> Result<()> {
    let limit =
        raise_descriptor_limit().map_err(|e| Fault::io("raise the descriptor limit", &e))?;
    let wanted = u64::from(plan.connections) + u64::from(plan.idle) + DESCRIPTORS_APART;
    match wanted <= limit {
        true => Ok(()),
        false => Err(Fault::Setup(format!(
            "{wanted} open files are needed and {limit} allowed: raise the hard limit (ulimit -Hn)"
        ))),
    }
}

fn unreachable(plan: &Plan, why: &str) -> Fault {
    Fault::Premise(format!(
        "not one connection to {} could be opened: {why}; {}",
        plan.addr,
        match plan.tls {
            None => "is the server running, and is this its address?",
            Some(_) =>
                "is this the port for TLS and --protocol? --ca FILE believes an authority \
                        of your own, --insecure any certificate",
        }
    ))
}

fn nothing(plan: &Plan, tally: &Tally) -> Fault {
    let mut text = format!("not one request to {} was answered", plan.target);
    match tally.of_all_time() {
        (0, 0) => text.push_str(" within the measured time; try more --seconds"),
        (0, _) => {}
        (early, _) => text.push_str(&format!(
            " within the measured time, {early} before it; try more --seconds"
        )),
    }
    for (kind, why) in tally.said() {
        text.push_str(&format!("\n{kind}: {why}"));
    }
    Fault::Premise(text)
}

fn lost() -> Fault {
    Fault::Setup("a load thread has ended before its time; see above for a panic".to_owned())
}

fn to_json(run: LoadRun) -> String {
    // The keys are strings and numbers, so that this cannot fail.
    serde_json::to_string_pretty(&Saved::Load(run)).unwrap_or_default()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(|error| Fault::io(&format!("write {}", file.display()), &error))
}

/// How often signals and progress are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How long opening all connections may take beyond their timeouts.
const OPENING_MAX: Duration = Duration::from_secs(60);

/// How long the end may take beyond the timeouts.
const ENDING_MAX: Duration = Duration::from_secs(15);

/// Longer than anybody measures.
const SECONDS_MAX: f64 = 1e6;

/// Descriptors that are no connections: rings, timers, files.
const DESCRIPTORS_APART: u64 = 64;
