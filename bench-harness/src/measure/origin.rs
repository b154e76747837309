//! The test origin as a process of its own, and its counters.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::http;
use crate::interrupt;
use crate::process::{Output, Plan, Process, Until};

/// A running `ringgate-bench origin`.
#[derive(Debug)]
pub struct Origin {
    process: Process,
    address: SocketAddr,
}

/// What an origin has counted since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Connections that it accepted.
    pub accepted: u64,
    /// Requests that came.
    pub requests: u64,
}

impl Origin {
    /// Starts it, one thread for each core, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(program: &Path, cores: &Cores, directory: &Path) -> Result<Origin> {
        let arguments = [
            "origin".to_owned(),
            format!("--threads={}", cores.count()),
            format!("--cores={cores}"),
        ];
        let plan = Plan {
            name: "the origin",
            program,
            arguments: arguments.map(Into::into).into(),
            environment: Vec::new(),
            cores: Some(cores),
            directory,
            output: Output::Read,
        };
        let mut process = plan.start()?;
        let address = ready(&mut process)?;
        Ok(Origin { process, address })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The command that started it.
    pub fn command(&self) -> &str {
        self.process.command()
    }

    /// Its counters.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn stats(&self) -> Result<Stats> {
        let answer = http::fetch(self.address, STATS_PATH)
            .map_err(|error| Fault::io("ask the origin for its counters", &error))?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| Fault::Setup(format!("the origin's counters cannot be read: {error}")))
    }

    /// Its counters once they stand still: what the load left under way has arrived.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn settled(&self) -> Result<Stats> {
        let mut last = self.stats()?;
        interrupt::wait(SETTLE_MAX, || {
            interrupt::pause(SETTLE_STEP)?;
            let now = self.stats()?;
            let still = now == last;
            last = now;
            Ok(still.then_some(()))
        })?;
        Ok(last)
    }
}

impl Stats {
    /// What happened since an earlier reading.
    pub fn since(self, earlier: Stats) -> Stats {
        Stats {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            requests: self.requests.saturating_sub(earlier.requests),
        }
    }
}

/// The address in the line that our servers print when they serve.
///
/// # Errors
/// When there is no such line.
pub fn ready(process: &mut Process) -> Result<SocketAddr> {
    #[derive(Deserialize)]
    struct Ready {
        address: SocketAddr,
    }
    let line = process.output(Until::Line, READY_MAX)?;
    serde_json::from_str::<Ready>(&line)
        .map(|ready| ready.address)
        .map_err(|error| process.failed(&format!("said {line:?} ({error})")))
}

/// Where its counters are; a question for them is not counted.
const STATS_PATH: &str = "/-/stats";

const READY_MAX: Duration = Duration::from_secs(30);
const SETTLE_STEP: Duration = Duration::from_millis(50);
const SETTLE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_subtracted() {
        let read = |text: &str| serde_json::from_str::<Stats>(text).unwrap();
        let early = read(r#"{"accepted":1,"requests":10,"open":1}"#);
        let late = read(r#"{"accepted":3,"requests":25,"open":0}"#);
        let expected = Stats {
            accepted: 2,
            requests: 15,
        };
        assert_eq!(late.since(early), expected);
    }
}
