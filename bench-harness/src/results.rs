//! What is saved: every command that measures writes one of these as JSON, `report` and `gate`
//! read them back. Units are in the names; latencies are microseconds.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A saved file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Saved {
    /// One run of the load generator.
    Load(LoadRun),
    /// Proxies side by side.
    Peers(PeersRun),
    /// Two builds compared.
    Gate(GateRun),
    /// One build, for later comparisons on the same machine.
    Baseline(BaselineRun),
}

/// The version of these shapes; a file of another one is refused.
pub const SCHEMA: u32 = 1;

/// When, where and how something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// Version of this program.
    pub version: String,
    /// Start, seconds since 1970 in UTC.
    pub started_unix: u64,
    /// The command line, as one would type it.
    pub command: String,
    /// The machine.
    pub machine: Machine,
}

/// The machine that something was measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores that are online.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Frequency governor of the first core; `None` where the kernel shows none.
    pub governor: Option<String>,
    /// Cores kept free of other work by `isolcpus`; empty when there are none.
    pub isolated: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Load average over 1, 5 and 15 minutes before anything was started.
    pub load_before: String,
    /// The same at the end.
    pub load_after: String,
}

/// One run of the load generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRun {
    /// When and where.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// Where to: `http://127.0.0.1:8080/api`.
    pub target: String,
    /// `http/1.1` or `h2`.
    pub protocol: String,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Open connections.
    pub connections: u32,
    /// Requests under way on each connection: pipelined or as streams.
    pub in_flight: u32,
    /// Requests that are due per second; `None` for a closed loop. A stepped rate is one entry
    /// a step.
    pub rates: Option<Vec<f64>>,
    /// Seconds that were measured, the warm-up not among them.
    pub seconds: f64,
    /// Requests that were answered whole within those seconds.
    pub requests: u64,
    /// Requests that were answered in the warm-up before them: with `requests`, all that a server
    /// should have counted but those under way at the end.
    #[serde(default)]
    pub warmup_requests: u64,
    /// Per second.
    pub requests_per_second: f64,
    /// Of an open loop: requests that were due but could not be sent before the end.
    pub unsent: u64,
    /// Failures by kind: `connect`, `tls`, `reset`, `closed`, `timeout`, `protocol`, `grpc`; absent
    /// kinds are zero.
    pub errors: BTreeMap<String, u64>,
    /// Answers by status.
    #[serde(deserialize_with = "by_status")]
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes of response bodies.
    pub body_bytes: u64,
    /// Connections that were opened, the first ones among them.
    pub opened: u64,
    /// Of those, connections whose handshake resumed an earlier session.
    #[serde(default)]
    pub resumed: u64,
    /// From when a request was due (open loop) or sent (closed loop) to its answer's last byte.
    pub latency: Latency,
    /// Of an open loop: from when it was sent. The difference to `latency` is what coordinated
    /// omission would hide.
    pub service: Option<Latency>,
}

impl LoadRun {
    /// All failures.
    pub fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// JSON has texts for keys, and inside of a tagged enum serde does not make numbers of them.
fn by_status<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let texts = BTreeMap::<String, u64>::deserialize(from)?;
    let numbers = texts
        .into_iter()
        .map(|(status, count)| match status.parse() {
            Ok(status) => Ok((status, count)),
            Err(_) => Err(D::Error::custom(format!("{status:?} is no status"))),
        });
    numbers.collect()
}

/// A distribution of latencies, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Standard deviation.
    pub deviation_us: f64,
    /// Least.
    pub min_us: f64,
    /// Half are below.
    pub p50_us: f64,
    /// 90 of 100 are below.
    pub p90_us: f64,
    /// 99 of 100 are below.
    pub p99_us: f64,
    /// 999 of 1,000 are below.
    pub p99_9_us: f64,
    /// Greatest.
    pub max_us: f64,
    /// Points of the curve, `[quantile in 0..=1, microseconds]`, both rising; dense towards 1.
    pub curve: Vec<[f64; 2]>,
}

/// Proxies side by side in several scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeersRun {
    /// When and where.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// Cores of the proxy and of load and origin, as lists such as `0` or `2-3`.
    pub proxy_cores: String,
    /// Cores of the load and the origin.
    pub load_cores: String,
    /// Versions of the programs by peer.
    pub versions: BTreeMap<String, String>,
    /// In the order they were run.
    pub scenarios: Vec<ScenarioRun>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRun {
    /// `small-get`.
    pub name: String,
    /// A sentence on what is done.
    pub title: String,
    /// What the `cost_us` of its samples is counted by: `request`, `handshake` or `gigabyte`.
    pub unit: String,
    /// In the order of the table.
    pub peers: Vec<PeerRun>,
}

/// One proxy in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerRun {
    /// `nginx`, `nginx-log`, `ringgate` ...
    pub name: String,
    /// The command that started it.
    pub command: String,
    /// Its whole configuration.
    pub config: String,
    /// Why there are no samples: `not installed`, `ringgate does not do TLS yet` ...; `None`
    /// when it was measured.
    pub absent: Option<String>,
    /// At saturation, one a round, in the order of the rounds: the n-th of every peer were
    /// measured next to each other.
    pub samples: Vec<Sample>,
    /// The latency of all rounds at saturation together.
    pub saturated: Option<Latency>,
    /// In an open loop at half of what the slowest peer can do, one a round.
    pub half: Vec<HalfSample>,
    /// The latency of all those rounds together.
    pub half_latency: Option<Latency>,
    /// Memory of the whole process tree under the scenario, at the end of the last round.
    pub resident_bytes: Option<u64>,
    /// What each idle connection adds to it.
    pub idle_connection_bytes: Option<f64>,
    /// Where there are several workers: CPU time of the busiest over the mean of all, at
    /// saturation; 1 is even.
    #[serde(default)]
    pub busiest_worker: Option<f64>,
}

/// What one round of one peer at saturation cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was done: requests, handshakes.
    pub count: u64,
    /// Per second.
    pub per_second: f64,
    /// Microseconds of CPU time of the whole process tree in user mode, per unit.
    pub user_us: f64,
    /// The same in the kernel.
    pub system_us: f64,
    /// Share of its cores that the peer used, 0 to the number of cores.
    pub busy: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p99_9_us: f64,
}

impl Sample {
    /// Microseconds of CPU time per unit, user and system.
    pub fn cost_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// One round of one peer at a rate below saturation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HalfSample {
    /// Requests due per second.
    pub rate: f64,
    /// Microseconds of CPU time per unit, user and system.
    pub cost_us: f64,
    /// Median latency in microseconds, from when a request was due.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p99_9_us: f64,
}

/// Two builds compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRun {
    /// When and where.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// What was done: the name of a scenario, or the file of the user's own configuration.
    pub work: String,
    /// Version line and path of the build that is compared with.
    pub base: String,
    /// The same of the build that is judged.
    pub candidate: String,
    /// One for each figure that was judged.
    pub figures: Vec<GateFigure>,
    /// The verdict on all of them: the worst.
    pub verdict: Verdict,
    /// How the verdict was reached, in sentences.
    #[serde(default)]
    pub method: Vec<String>,
    /// Commands that were run: base, candidate, load.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The whole configuration of the base, or of the anchor's counterpart.
    #[serde(default)]
    pub base_config: String,
    /// The whole configuration of the candidate.
    #[serde(default)]
    pub candidate_config: String,
    /// Requests due per second while latency was measured; `None` when it was not.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Whether the values of the two sides were measured next to each other.
    #[serde(default)]
    pub pairing: Pairing,
}

/// Whether the n-th values of two sides belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// The n-th of both were measured next to each other.
    #[default]
    Paired,
    /// The base was measured earlier. All values are ratios to an anchor that was measured next
    /// to each side.
    Anchored,
}

/// One build measured beside an anchor, so that it can be compared with another one later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRun {
    /// When and where.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// What was done: the name of a scenario, or the file of the user's own configuration.
    pub work: String,
    /// The load, as flags of the load generator.
    pub load: String,
    /// Cores of the proxy.
    pub proxy_cores: String,
    /// Version line and path of the build.
    pub build: String,
    /// Its whole configuration.
    pub config: String,
    /// Requests due per second while latency was measured; `None` when it was not.
    pub rate: Option<f64>,
    /// Length of each measurement in seconds.
    pub seconds: f64,
    /// One for each figure.
    pub figures: Vec<BaselineFigure>,
}

/// One figure of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineFigure {
    /// `cpu_us`, `p50_us`, `p99_us`.
    pub name: String,
    /// Values of the build, one a round.
    pub build: Vec<f64>,
    /// Values of the anchor, each measured next to the build's.
    pub anchor: Vec<f64>,
}

/// One figure of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateFigure {
    /// `cpu_us`, `p50_us`, `p99_us`.
    pub name: String,
    /// A rise by more than this share is a regression: 0.05.
    pub threshold: f64,
    /// Values of the base, one a round.
    pub base: Vec<f64>,
    /// Values of the candidate, one a round, each measured next to the base's.
    pub candidate: Vec<f64>,
    /// Candidate over base: the estimate and the interval of the method.
    pub ratio: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// What follows.
    pub verdict: Verdict,
    /// Of a figure too noisy to judge: about how many rounds would do.
    pub rounds_needed: Option<u32>,
}

/// What a comparison comes to, in the order of how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval lies below the threshold.
    NoRegression,
    /// The interval is too wide to tell.
    TooNoisy,
    /// The interval lies above the threshold.
    Regression,
}
