//! `ringgate-bench peers`: the same work through several proxies, each on the same cores, in
//! interleaved rounds.

mod certificate;
mod configs;
mod contest;
mod idle;
mod install;
mod installed;
mod lineup;
mod list;
mod merge;
mod scenarios;
mod started;
mod table;
mod template;

pub use certificate::Certificate;
pub use idle::raise_descriptor_limit;
pub use scenarios::{SCENARIOS, Scenario};

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::Ended;
use crate::cores::{Cores, Places};
use crate::facts;
use crate::fault::{Fault, Result};
use crate::figures::Scratch;
use crate::measure::{Length, Stage};
use crate::output;
use crate::results::{PeersRun, Saved};

use contest::{Contest, Entrant, Half};
use lineup::{PEERS, Peer};

/// Measures proxies side by side; without a subcommand it runs the comparison.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs the comparison.
    Run(Run),
    /// Shows scenarios and peers, and which of them can run here.
    List(list::List),
    /// Fetches peers that are missing, by apt and from PyPI.
    Install(install::Install),
}

#[derive(Debug, Args)]
struct Run {
    /// Scenarios, or all: `peers list` shows them.
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "small-get-64"
    )]
    scenario: Vec<String>,
    /// Peers, or all: `peers list` shows them.
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "all"
    )]
    peers: Vec<String>,
    /// How often each peer is measured, at saturation and at half load.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of each measurement.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds of the same load before each measurement.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup: f64,
    /// Leaves the rounds at half load out.
    #[arg(long)]
    no_half: bool,
    /// Cores of the proxy, such as 0 or 0-3; the first allowed one without it.
    #[arg(long, value_name = "LIST")]
    proxy_cores: Option<Cores>,
    /// Cores of load and origin; all others without it.
    #[arg(long, value_name = "LIST")]
    load_cores: Option<Cores>,
    /// The build of Ringgate; the release build beside this program without it.
    #[arg(long, value_name = "FILE", env = "RINGGATE_BINARY")]
    gateway: Option<PathBuf>,
    /// Where the results go as JSON, after every scenario.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Prints the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A name that is not known, something that is missing, a premise that does not hold.
    pub fn run(&self) -> Result<Ended> {
        match &self.what {
            None => self.run.execute(),
            Some(What::Run(run)) => run.execute(),
            Some(What::List(list)) => list.run(),
            Some(What::Install(install)) => install.run(),
        }
    }
}

impl Run {
    fn execute(&self) -> Result<Ended> {
        let circumstances = facts::begin();
        let scenarios = chosen(&self.scenario, SCENARIOS, |one| one.name, "scenario")?;
        let peers = chosen(&self.peers, PEERS, |one| one.name, "peer")?;
        let peers = entrants(&peers, self.gateway.as_deref());
        let places = Places::choose(self.proxy_cores.as_ref(), self.load_cores.as_ref())?;
        let descriptors = raise_descriptor_limit()?;
        let scratch = Scratch::new()?;
        let certificate = Certificate::make(scratch.path())?;
        let mut run = PeersRun {
            circumstances,
            proxy_cores: places.proxy.to_string(),
            load_cores: places.others().to_string(),
            versions: peers
                .iter()
                .filter_map(|one| Some((one.peer.name.to_owned(), contest::version(one)?)))
                .collect(),
            scenarios: Vec::new(),
        };
        let stage = Stage::set(places, scratch.path())?;
        let contest = Contest {
            stage: &stage,
            scratch: &scratch,
            certificate: &certificate,
            peers: &peers,
            descriptors,
            rounds: self.rounds,
            length: Length {
                warmup: self.warmup,
                seconds: self.seconds,
            },
            half: match self.no_half {
                true => Half::Skipped,
                false => Half::Measured,
            },
        };
        output::complain(&self.estimate(scenarios.len(), peers.len()));
        for scenario in scenarios {
            run.scenarios.push(contest.run(scenario)?);
            facts::finish(&mut run.circumstances);
            self.save(&run)?;
        }
        self.ended(run)
    }

    fn estimate(&self, scenarios: usize, peers: usize) -> String {
        let phases = if self.no_half { 1.0 } else { 2.0 };
        let each = self.warmup + self.seconds + SECONDS_BETWEEN;
        let runs = f64::from(self.rounds) * phases * (scenarios * peers) as f64;
        format!(
            "{scenarios} scenarios, {peers} peers, {} rounds: at most about {:.0} minutes",
            self.rounds,
            (runs * each / 60.0).ceil()
        )
    }

    fn save(&self, run: &PeersRun) -> Result<()> {
        let Some(file) = &self.save else {
            return Ok(());
        };
        fs::write(file, json(run))
            .map_err(|error| Fault::io(&format!("write {}", file.display()), &error))
    }

    fn ended(&self, run: PeersRun) -> Result<Ended> {
        let measured = |one: &crate::results::PeerRun| !one.samples.is_empty();
        let any = run.scenarios.iter().any(|s| s.peers.iter().any(measured));
        let text = match self.json {
            true => json(&run),
            false => table::text(&run),
        };
        match any {
            true => Ok(Ended::well(text)),
            // Nothing was measured: the text says why, and the code says so to scripts.
            false => Ok(Ended { text, code: 2 }),
        }
    }
}

/// Those who were asked for, with their programs where they are there.
pub fn entrants(peers: &[&'static Peer], gateway: Option<&std::path::Path>) -> Vec<Entrant> {
    let entrant = |peer: &&'static Peer| Entrant {
        peer,
        program: peer.program.find(gateway),
    };
    peers.iter().map(entrant).collect()
}

fn json(run: &PeersRun) -> String {
    // The shapes have string keys only, so that this cannot fail.
    serde_json::to_string_pretty(&Saved::Peers(run.clone())).unwrap_or_default()
}

/// Entries of a table by name, each once, in the order of the table.
fn chosen<T>(
    names: &[String],
    table: &'static [T],
    name: fn(&T) -> &'static str,
    what: &str,
) -> Result<Vec<&'static T>> {
    if names.iter().any(|asked| asked == "all") {
        return Ok(table.iter().collect());
    }
    if let Some(unknown) = names
        .iter()
        .find(|asked| !table.iter().any(|one| name(one) == **asked))
    {
        let known: Vec<&str> = table.iter().map(name).collect();
        return Err(Fault::Setup(format!(
            "there is no {what} {unknown:?}; there are: all, {}",
            known.join(", ")
        )));
    }
    let asked = |one: &&T| names.iter().any(|asked| asked == name(one));
    Ok(table.iter().filter(asked).collect())
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.0..=600.0).contains(&number) {
        true => Ok(number),
        false => Err("not between 0 and 600".to_owned()),
    }
}

/// To start the load, to let a log settle.
const SECONDS_BETWEEN: f64 = 0.6;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_in_the_order_of_the_table() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
        let asked = names(&["relay", "nginx", "relay"]);
        let peers = chosen(&asked, PEERS, |one| one.name, "peer").unwrap();
        let peers: Vec<&str> = peers.iter().map(|one| one.name).collect();
        assert_eq!(peers, ["nginx", "relay"]);
        let all = chosen(&names(&["all"]), SCENARIOS, |one| one.name, "scenario").unwrap();
        assert_eq!(all.len(), SCENARIOS.len());
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_there_are() {
        let fault = chosen(&["apache".to_owned()], PEERS, |one| one.name, "peer");
        let text = fault.unwrap_err().to_string();
        assert!(
            text.contains("\"apache\"") && text.contains("nginx-log"),
            "{text}"
        );
    }
}
