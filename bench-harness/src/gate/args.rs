//! The gate's options, and what they mean together.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::judge::{Figure, Judged};
use crate::cores::{Cores, Places};
use crate::fault::{Fault, Result};
use crate::measure::{Length, Work};
use crate::peers::Scenario;

/// What the load asks for, and of which configuration.
#[derive(Debug, Clone, Args)]
pub struct Traffic {
    /// Your own configuration, for both sides; its addresses are replaced, the rest is kept.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base_config", "candidate_config"])]
    config: Option<PathBuf>,
    /// The base's configuration, if the two sides differ.
    #[arg(long, value_name = "FILE", requires = "candidate_config")]
    base_config: Option<PathBuf>,
    /// The candidate's configuration, if the two sides differ.
    #[arg(long, value_name = "FILE")]
    candidate_config: Option<PathBuf>,
    /// The driver of the base in place of its configuration's.
    #[arg(long, value_enum, value_name = "DRIVER")]
    base_driver: Option<Driver>,
    /// The driver of the candidate in place of its configuration's.
    #[arg(long, value_enum, value_name = "DRIVER")]
    candidate_driver: Option<Driver>,
    /// What is asked for, as in `peers`; with a configuration of your own, --path and the rest say
    /// more.
    #[arg(long, value_name = "NAME", default_value = SCENARIOS[0], value_parser = scenario)]
    scenario: &'static Scenario,
    /// Path and query of each request: one that a route of your configuration serves.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Method of each request.
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Host of each request, for routes that serve only some.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// A further field of each request: 'x-api-key: 7'. May be given several times.
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Bytes of each request's body.
    #[arg(long, value_name = "BYTES")]
    body_size: Option<u64>,
    /// A mix of requests, as `load` takes it, in place of path, method, headers and body.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "method", "host", "header", "body_size"])]
    requests: Option<PathBuf>,
    /// Connections of the load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: Option<u32>,
    /// The listener that takes the load; the first without it.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

/// How workers talk to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Scenarios of `peers` that need no more than the gate's own configuration.
const SCENARIOS: [&str; 7] = [
    "small-get-64",
    "small-get-1024",
    "connection-per-request",
    "post-1k",
    "get-64k",
    "get-1m",
    "upload-10m",
];

fn scenario(name: &str) -> std::result::Result<&'static Scenario, String> {
    let known = SCENARIOS.contains(&name).then(|| Scenario::named(name));
    known
        .flatten()
        .ok_or_else(|| format!("there are: {}", SCENARIOS.join(", ")))
}

/// Whose configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The base's.
    Base,
    /// The candidate's.
    Candidate,
}

impl Traffic {
    /// What the load does.
    pub fn work(&self) -> Work {
        // None of these has certificates or a mix.
        let mut work = self.scenario.work(Path::new(""), Path::new(""));
        work.path = self.path.clone().unwrap_or(work.path);
        work.method = self.method.clone().unwrap_or(work.method);
        work.body_bytes = self.body_size.unwrap_or(work.body_bytes);
        work.connections = self.connections.unwrap_or(work.connections);
        let host = self.host.iter().map(|host| format!("host: {host}"));
        work.headers = host.chain(self.header.iter().cloned()).collect();
        work.requests.clone_from(&self.requests);
        work
    }

    /// What reports call it.
    pub fn name(&self) -> String {
        let file = |path: &Path| path.display().to_string();
        match (&self.config, &self.candidate_config, &self.base_config) {
            (Some(config), ..) => file(config),
            (None, Some(candidate), Some(base)) => {
                format!("{} and {}", file(base), file(candidate))
            }
            (None, Some(candidate), None) => file(candidate),
            (None, None, _) => self.scenario.name.to_owned(),
        }
    }

    /// The configuration of one side; the gate's own when `None`.
    pub fn config(&self, whose: Whose) -> Option<&Path> {
        let own = match whose {
            Whose::Base => &self.base_config,
            Whose::Candidate => &self.candidate_config,
        };
        own.as_deref().or(self.config.as_deref())
    }

    /// The driver of one side, if it is asked for.
    pub fn driver(&self, whose: Whose) -> Option<Driver> {
        match whose {
            Whose::Base => self.base_driver,
            Whose::Candidate => self.candidate_driver,
        }
    }

    /// The listener that takes the load.
    pub fn listener(&self) -> Option<&str> {
        self.listener.as_deref()
    }

    /// Whether the two sides differ even when they are the same build.
    pub fn differs(&self) -> bool {
        self.base_config.is_some() || self.base_driver != self.candidate_driver
    }
}

/// How much is measured, and where.
#[derive(Debug, Clone, Args)]
pub struct Effort {
    /// Rounds before the first look; in each, both sides are measured once.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=2000))]
    rounds: u32,
    /// Rounds at most: as long as it is too noisy to tell, the rounds are doubled up to this.
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(4..=2000))]
    rounds_max: u32,
    /// Seconds of each measurement.
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds of load before each measurement; every round starts both sides anew.
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds)]
    warmup: f64,
    /// Cores of the gateway; its workers are as many.
    #[arg(long, value_name = "LIST")]
    proxy_cores: Option<Cores>,
    /// Cores of load and origin.
    #[arg(long, value_name = "LIST")]
    load_cores: Option<Cores>,
}

impl Effort {
    /// Rounds before the first look.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Rounds at most.
    pub fn rounds_max(&self) -> u32 {
        self.rounds_max
    }

    /// How long each measurement is.
    pub fn length(&self) -> Length {
        Length {
            warmup: self.warmup,
            seconds: self.seconds,
        }
    }

    /// Who runs where.
    ///
    /// # Errors
    /// When there are not enough cores.
    pub fn places(&self) -> Result<Places> {
        Places::choose(self.proxy_cores.as_ref(), self.load_cores.as_ref())
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.2..=600.0).contains(seconds));
    seconds.ok_or_else(|| "between 0.2 and 600 seconds".to_owned())
}

/// What is judged, and how strictly.
#[derive(Debug, Clone, Args)]
pub struct Strictness {
    /// What is judged: CPU microseconds per request at saturation, latency percentiles at half
    /// of the base's saturation.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = Figure::ALL.map(|figure| figure.name().to_owned()))]
    figures: Vec<String>,
    /// The rise that is a regression, of all figures (`3%`) or of single ones
    /// (`cpu_us=2%,p99_us=15%`).
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "cpu_us=3%,p50_us=5%,p99_us=10%"
    )]
    threshold: String,
}

impl Strictness {
    /// The figures with their thresholds.
    ///
    /// # Errors
    /// When there is no such figure, or a threshold is no share.
    pub fn judged(&self) -> Result<Vec<Judged>> {
        let mut judged: Vec<Judged> = Vec::new();
        for name in &self.figures {
            let figure = named(name)?;
            if judged.iter().all(|known| known.figure != figure) {
                judged.push(Judged {
                    figure,
                    threshold: default_threshold(figure),
                });
            }
        }
        for part in self.threshold.split(',') {
            match part.split_once('=') {
                Some((name, text)) => {
                    let (figure, threshold) = (named(name)?, share(text)?);
                    let known = judged.iter_mut().filter(|known| known.figure == figure);
                    known.for_each(|known| known.threshold = threshold);
                }
                None => {
                    let threshold = share(part)?;
                    judged
                        .iter_mut()
                        .for_each(|known| known.threshold = threshold);
                }
            }
        }
        Ok(judged)
    }
}

/// Latency is noisier, the tail most of all.
fn default_threshold(figure: Figure) -> f64 {
    match figure {
        Figure::Cpu => 0.03,
        Figure::P50 => 0.05,
        Figure::P99 => 0.10,
    }
}

fn named(name: &str) -> Result<Figure> {
    Figure::named(name.trim()).ok_or_else(|| {
        let known = Figure::ALL.map(Figure::name).join(", ");
        Fault::Setup(format!("there is no figure {name:?}; there are: {known}"))
    })
}

/// `3%`, as 0.03.
///
/// # Errors
/// When it is none, or not above 0 and at most 100 %.
pub fn share(text: &str) -> Result<f64> {
    let wrong = || Fault::Setup(format!("{text:?} is no share: write it as \"3%\""));
    let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
    let share = number.trim().parse::<f64>().map_err(|_| wrong())? / 100.0;
    (share > 0.0 && share <= 1.0)
        .then_some(share)
        .ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        strictness: Strictness,
    }

    fn line(words: &str) -> Line {
        Line::try_parse_from(std::iter::once("gate").chain(words.split_whitespace())).unwrap()
    }

    #[test]
    fn thresholds_are_of_all_or_of_single_figures() {
        let thresholds = |words| {
            let judged = line(words).strictness.judged().unwrap();
            judged
                .iter()
                .map(|judged| judged.threshold)
                .collect::<Vec<_>>()
        };
        assert_eq!(thresholds(""), [0.03, 0.05, 0.10]);
        assert_eq!(thresholds("--threshold 4%"), [0.04; 3]);
        assert_eq!(thresholds("--threshold p99_us=20%"), [0.03, 0.05, 0.20]);
        assert_eq!(thresholds("--threshold 2%,p99_us=20%"), [0.02, 0.02, 0.20]);
        assert_eq!(thresholds("--figures cpu_us,cpu_us --threshold 1%"), [0.01]);
    }

    #[test]
    fn what_is_no_share_or_figure_is_refused() {
        for text in ["3", "0%", "-1%", "x%", "101%", ""] {
            assert!(share(text).is_err(), "{text}");
        }
        let fault = line("--figures cpu").strictness.judged().unwrap_err();
        assert!(
            fault.to_string().contains("cpu_us, p50_us, p99_us"),
            "{fault}"
        );
    }

    #[test]
    fn requests_are_the_scenarios_with_what_is_said() {
        let work = line("--scenario post-1k --path /x --host a.test")
            .traffic
            .work();
        assert_eq!(
            (&work.method[..], &work.path[..], work.body_bytes),
            ("POST", "/x", 1024)
        );
        assert_eq!(work.headers, ["host: a.test"]);
    }

    #[test]
    fn scenarios_need_no_certificates_and_no_mix() {
        for name in SCENARIOS {
            let work = line(&format!("--scenario {name}")).traffic.work();
            assert!(work.tls.is_none() && work.requests.is_none(), "{name}");
        }
        let words = ["gate", "--scenario", "tls-bulk"];
        let fault = Line::try_parse_from(words).unwrap_err().to_string();
        assert!(fault.contains("there are: small-get-64"), "{fault}");
    }

    #[test]
    fn one_build_may_differ_from_itself_by_its_configuration() {
        assert!(!line("--config a.toml").traffic.differs());
        assert!(
            line("--base-config a --candidate-config b")
                .traffic
                .differs()
        );
        let drivers = line("--base-driver epoll --candidate-driver io_uring").traffic;
        assert!(drivers.differs());
        assert_eq!(drivers.driver(Whose::Base).unwrap().name(), "epoll");
    }
}
