//! Two proxies measured in turn, A B A B, under the same load and before the same origin: what
//! the machine does meanwhile falls on both alike.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::cores::Places;
use crate::fault::{Fault, Result};
use crate::gateway::{self, Gateway};
use crate::http;
use crate::interrupt;
use crate::nginx::{ORIGIN_BODY, Server};
use crate::premises::Observed;
use crate::procfs::{CpuTime, Pid};
use crate::report;
use crate::wrk::{Load, Wrk};

/// A proxy that takes part.
#[derive(Debug)]
pub struct Contender<'a> {
    /// What the report calls it.
    pub name: String,
    /// What runs.
    pub proxy: &'a Proxy,
    /// Where it notes each request.
    pub access_log: PathBuf,
}

/// A running proxy.
#[derive(Debug)]
pub enum Proxy {
    /// nginx.
    Nginx(Server),
    /// Ringgate.
    Ringgate(Gateway),
}

impl Proxy {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        match self {
            Proxy::Nginx(server) => server.address,
            Proxy::Ringgate(gateway) => gateway.address(),
        }
    }

    /// The command that started it.
    pub fn command(&self) -> &str {
        match self {
            Proxy::Nginx(server) => server.process.command(),
            Proxy::Ringgate(gateway) => gateway.process.command(),
        }
    }

    fn pid(&self) -> Pid {
        match self {
            Proxy::Nginx(server) => server.process.pid(),
            Proxy::Ringgate(gateway) => gateway.process.pid(),
        }
    }

    /// Connections accepted so far; one more or less does not matter.
    fn accepted(&self) -> Result<u64> {
        match self {
            Proxy::Nginx(server) => Ok(server.status()?.accepted),
            Proxy::Ringgate(gateway) => gateway.counter(gateway::ACCEPTED),
        }
    }
}

/// What both are measured under.
#[derive(Debug)]
pub struct Contest<'a> {
    /// Makes the load.
    pub wrk: &'a Wrk,
    /// How much.
    pub load: Load,
    /// How often each is measured.
    pub rounds: u32,
    /// Who runs where.
    pub places: Places,
    /// Who answers.
    pub origin: &'a Server,
    /// An existing directory for wrk.
    pub directory: &'a Path,
}

/// What one run of one proxy cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Requests that were answered.
    pub requests: u64,
    /// Per second.
    pub requests_per_second: f64,
    /// Microseconds of CPU time per request in user mode.
    pub user_us: f64,
    /// The same in the kernel.
    pub system_us: f64,
    /// Both.
    pub total_us: f64,
    /// Share of the core that the proxy used.
    pub busy: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of latency in milliseconds.
    pub p99_ms: f64,
}

/// Both, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// A.
    pub first: Sample,
    /// B.
    pub second: Sample,
    /// CPU time per request of A, over that of B.
    pub ratio: f64,
}

impl Contest<'_> {
    /// Measures both in turn, after a round that warms them up and does not count.
    ///
    /// # Errors
    /// When a run fails or one of its premises does not hold.
    pub fn run(&self, first: &Contender<'_>, second: &Contender<'_>) -> Result<Vec<Round>> {
        for contender in [first, second] {
            answers_as_the_origin(contender)?;
            self.measure(contender, WARM_UP_SECONDS)?;
        }
        (1..=self.rounds)
            .map(|number| {
                let [first, second] =
                    [first, second].map(|contender| self.measure(contender, self.load.seconds));
                let (first, second) = (first?, second?);
                let ratio = first.total_us / second.total_us;
                report::complain(&format!("round {number} of {}: {ratio:.3}", self.rounds));
                Ok(Round {
                    first,
                    second,
                    ratio,
                })
            })
            .collect()
    }

    fn measure(&self, contender: &Contender<'_>, seconds: u32) -> Result<Sample> {
        let load = Load {
            seconds,
            ..self.load
        };
        let proxy = contender.proxy;
        let mut log = Log::emptied(&contender.access_log)?;
        let (accepted, origin) = (proxy.accepted()?, self.origin.status()?);
        let before = CpuTime::of_tree(proxy.pid())?;
        let run = self.wrk.run(
            load,
            self.places.load,
            proxy.address(),
            REQUEST_PATH,
            self.directory,
        )?;
        // What a buffered log still holds is part of the cost.
        let lines = log.settled(run.requests)?;
        let spent = CpuTime::of_tree(proxy.pid())? - before;
        let observed = Observed {
            connections: u64::from(load.connections),
            run,
            origin: self.origin.status()?.since(origin),
            accepted: proxy.accepted()? - accepted,
            lines,
        };
        let faults = observed.faults();
        if !faults.is_empty() {
            let faults = faults.join("\n");
            return Err(Fault::Premise(format!("{}: {faults}", contender.name)));
        }
        let per_request = |time: Duration| time.as_secs_f64() * 1e6 / run.requests as f64;
        let total = spent.user + spent.system;
        Ok(Sample {
            requests: run.requests,
            requests_per_second: run.requests as f64 / run.seconds,
            user_us: per_request(spent.user),
            system_us: per_request(spent.system),
            total_us: per_request(total),
            busy: total.as_secs_f64() / run.seconds,
            p50_ms: run.p50_ms,
            p99_ms: run.p99_ms,
        })
    }
}

fn answers_as_the_origin(contender: &Contender<'_>) -> Result<()> {
    let name = &contender.name;
    let mut log = Log::emptied(&contender.access_log)?;
    let answer = http::fetch(contender.proxy.address(), REQUEST_PATH)
        .map_err(|error| Fault::Premise(format!("{name} does not answer: {error}")))?;
    if answer.status != 200 || answer.body != ORIGIN_BODY.as_bytes() {
        return Err(Fault::Premise(format!(
            "{name} answers {} and {:?}, which is not what the origin says",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )));
    }
    // Its line must not be counted as one of the load's.
    log.settled(1)?;
    Ok(())
}

/// A growing access log.
struct Log {
    file: File,
    lines: u64,
}

impl Log {
    /// Empties it; its writer goes on at its new end.
    fn emptied(path: &Path) -> Result<Log> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        Ok(Log {
            file: file.map_err(|error| Fault::io("empty the access log", &error))?,
            lines: 0,
        })
    }

    /// Its lines once there are `least` and no more come, or patience ends.
    fn settled(&mut self, least: u64) -> Result<u64> {
        let mut quiet = 0;
        interrupt::wait(SETTLE_MAX, || {
            let before = self.lines;
            self.count()
                .map_err(|error| Fault::io("read the access log", &error))?;
            quiet = match self.lines == before {
                true => quiet + 1,
                false => 0,
            };
            interrupt::pause(SETTLE_STEP)?;
            Ok((self.lines >= least && quiet >= QUIET_STEPS).then_some(()))
        })?;
        Ok(self.lines)
    }

    fn count(&mut self) -> std::io::Result<()> {
        let mut block = vec![0; 256 * 1024];
        loop {
            match self.file.read(&mut block)? {
                0 => return Ok(()),
                length => {
                    let ends = block[..length].iter().filter(|byte| **byte == b'\n');
                    self.lines += ends.count() as u64;
                }
            }
        }
    }
}

/// What is asked for.
pub const REQUEST_PATH: &str = "/api/users/7";

const WARM_UP_SECONDS: u32 = 1;
const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_STEP: Duration = Duration::from_millis(100);
/// Longer than the second after which nginx writes out its buffer.
const QUIET_STEPS: u32 = 12;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_is_counted_as_it_grows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = OpenOptions::new().append(true).open(file.path()).unwrap();
        writer.write_all(b"old\nlines\n").unwrap();
        let mut log = Log::emptied(file.path()).unwrap();
        writer.write_all(b"one\ntwo\nthr").unwrap();
        log.count().unwrap();
        assert_eq!(log.lines, 2);
        writer.write_all(b"ee\n").unwrap();
        log.count().unwrap();
        assert_eq!(log.lines, 3);
    }
}
