//! Instruction counts, which do not drift with the machine: of the data plane's parts, beside
//! what the repository says they are, and of whole requests through a running gateway.

mod baselines;
mod counts;
mod policies;
mod profile;
mod request;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::Ended;
use crate::fault::{Fault, Result};
use crate::process;

/// The command line.
#[derive(Debug, Args)]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Counts the parts and compares: exit code 1 when one moved by more than 3 %.
    Check(Parts),
    /// Counts the parts and writes down those that moved.
    Bless(Parts),
    /// Counts a whole request through a running gateway, and shows where its instructions go.
    Request(request::Measured),
    /// Counts a whole request with each policy, against one without.
    Policies(policies::Compared),
}

/// Which baselines, and where the sources are.
#[derive(Debug, Args)]
struct Parts {
    /// The sources to count, when this is not the tree that the program was built from.
    #[arg(long, value_name = "DIRECTORY")]
    sources: Option<PathBuf>,
}

/// Where the baselines are, from the root of the sources.
const BASELINES: &str = "bench-harness/instructions.toml";

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// When valgrind, its runner or cargo are missing or fail; [`Fault::Premise`] where the
    /// baselines do not hold.
    pub fn run(&self) -> Result<Ended> {
        match &self.what {
            What::Check(parts) => parts.check(),
            What::Bless(parts) => parts.bless(),
            What::Request(measured) => measured.run(),
            What::Policies(compared) => compared.run(),
        }
    }
}

impl Parts {
    fn check(&self) -> Result<Ended> {
        let before = baselines::Baselines::read(&self.file())?;
        let place = counts::Place::here()?;
        before.hold_for(&place)?;
        let now = counts::count(self.sources())?;
        let verdict = before.against(&now);
        Ok(Ended {
            text: verdict.text(&before.place, &place),
            code: u8::from(!verdict.is_well()),
        })
    }

    fn bless(&self) -> Result<Ended> {
        let file = self.file();
        let mut baselines = match file.exists() {
            true => baselines::Baselines::read(&file)?,
            false => baselines::Baselines::default(),
        };
        let now = counts::count(self.sources())?;
        let changed = baselines.take(&now);
        baselines.place = counts::Place::here()?;
        baselines.write(&file)?;
        Ok(Ended::well(match changed.is_empty() {
            true => format!("nothing moved; {} stays as it is", file.display()),
            false => format!(
                "{}\nwritten to {}; the reason goes into the commit",
                changed.join("\n"),
                file.display()
            ),
        }))
    }

    fn file(&self) -> PathBuf {
        self.sources().join(BASELINES)
    }

    fn sources(&self) -> &Path {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.parent().unwrap_or(own);
        self.sources.as_deref().unwrap_or(root)
    }
}

/// Callgrind is part of it.
fn valgrind() -> Result<PathBuf> {
    process::find("valgrind", "valgrind")
}

/// What runs the bench's parts under callgrind one by one: the program in the variable that
/// gungraun reads too, or where `./tests/run` installs it, or on the PATH.
fn runner(sources: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("GUNGRAUN_RUNNER") {
        return Ok(PathBuf::from(named));
    }
    let version = runner_version(sources)?;
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let installed = cache.map(|cache| {
        let root = cache.join(format!("ringgate/gungraun-{version}"));
        root.join("bin/gungraun-runner")
    });
    if let Some(installed) = installed.filter(|file| file.is_file()) {
        return Ok(installed);
    }
    process::find("gungraun-runner", "").map_err(|_| {
        Fault::Setup(format!(
            "gungraun-runner is missing; install it: \
             cargo install --locked gungraun-runner --version {version}"
        ))
    })
}

/// The version that the bench is built with: its runner must be of the same.
fn runner_version(sources: &Path) -> Result<String> {
    let lock = std::fs::read_to_string(sources.join("Cargo.lock"))
        .map_err(|error| Fault::io("read Cargo.lock", &error))?;
    let entry = lock.split_once("name = \"gungraun\"\nversion = \"");
    let version = entry.and_then(|(_, rest)| rest.split_once('"'));
    version
        .map(|(version, _)| version.to_owned())
        .ok_or_else(|| Fault::Setup("gungraun is not in Cargo.lock".to_owned()))
}
