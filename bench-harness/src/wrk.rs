//! The load: wrk (<https://github.com/wg/wrk>) in one thread, and what it reports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::cores::Core;
use crate::fault::{Fault, Result};
use crate::process::{self, Plan, Until};

/// How hard and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Connections that each carry one request at a time.
    pub connections: u32,
    /// Length of a run.
    pub seconds: u32,
}

/// What wrk said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Run {
    /// Requests that were answered.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
    /// Failures to connect, read or write, and answers that took over two seconds.
    pub socket_errors: u64,
    /// Answers of other statuses than 2xx and 3xx.
    pub bad_statuses: u64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of latency in milliseconds.
    pub p99_ms: f64,
}

/// The program.
#[derive(Debug)]
pub struct Wrk {
    program: PathBuf,
}

impl Wrk {
    /// Finds it.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn find() -> Result<Wrk> {
        let program = process::find("wrk", "wrk")?;
        Ok(Wrk { program })
    }

    /// What it says of itself.
    pub fn version(&self) -> String {
        let text = process::version(&self.program, "-v");
        let version = text.split(" Copyright").next();
        version.unwrap_or_default().to_owned()
    }

    /// Loads `path` at `target` from one core.
    ///
    /// # Errors
    /// When wrk cannot run, takes too long or says something unexpected.
    pub fn run(
        &self,
        load: Load,
        core: Core,
        target: SocketAddr,
        path: &str,
        directory: &Path,
    ) -> Result<Run> {
        let plan = self.plan(load, core, target, path, directory);
        let mut process = plan.start()?;
        let limit = Duration::from_secs(u64::from(load.seconds)) + OVERTIME_MAX;
        let text = process.output(Until::End, limit)?;
        let status = process.wait(limit)?;
        if !status.success() {
            return Err(process.failed("failed"));
        }
        parse(&text).ok_or_else(|| Fault::Setup(format!("wrk said something unexpected:\n{text}")))
    }

    /// The command that [`Wrk::run`] starts.
    pub fn command(&self, load: Load, core: Core, target: SocketAddr, path: &str) -> String {
        self.plan(load, core, target, path, Path::new("")).command()
    }

    fn plan<'a>(
        &'a self,
        load: Load,
        core: Core,
        target: SocketAddr,
        path: &str,
        directory: &'a Path,
    ) -> Plan<'a> {
        let arguments = [
            "-t1".to_owned(),
            format!("-c{}", load.connections),
            format!("-d{}s", load.seconds),
            "--latency".to_owned(),
            format!("http://{target}{path}"),
        ];
        Plan {
            name: "wrk",
            program: &self.program,
            arguments: arguments.map(Into::into).into(),
            environment: Vec::new(),
            core: Some(core),
            directory,
        }
    }
}

fn parse(text: &str) -> Option<Run> {
    let line = |start: &str| {
        let found = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(start));
        found.map(str::trim)
    };
    let (requests, rest) = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))?;
    let (seconds, _) = rest.split_once(',')?;
    let numbers = |text: &str| -> u64 {
        text.split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok())
            .sum()
    };
    Some(Run {
        requests: requests.parse().ok()?,
        seconds: milliseconds(seconds)? / 1000.0,
        socket_errors: line("Socket errors:").map_or(0, numbers),
        bad_statuses: line("Non-2xx or 3xx responses:").map_or(0, numbers),
        p50_ms: milliseconds(line("50%")?)?,
        p99_ms: milliseconds(line("99%")?)?,
    })
}

/// `875.00us`, `1.20ms`, `10.01s`, `1.00m`, `1.00h`
fn milliseconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// wrk calibrates for half a second and then ends on time, but the machine may be busy.
const OVERTIME_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
Running 3s test @ http://127.0.0.1:40001/api/users/7
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.32ms  310.55us   9.87ms   90.10%
    Req/Sec    48.71k     2.20k   52.05k    70.00%
  Latency Distribution
     50%    1.27ms
     75%    1.41ms
     90%    1.60ms
     99%  875.00us
  145432 requests in 3.01s, 27.88MB read
Requests/sec:  48316.28
Transfer/sec:      9.26MB
";

    #[test]
    fn a_clean_run_is_read() {
        let run = parse(CLEAN).unwrap();
        assert_eq!(run.requests, 145_432);
        assert!((run.seconds - 3.01).abs() < 1e-9);
        assert!((run.p50_ms - 1.27).abs() < 1e-9);
        assert!((run.p99_ms - 0.875).abs() < 1e-9);
        assert_eq!((run.socket_errors, run.bad_statuses), (0, 0));
    }

    #[test]
    fn errors_are_counted() {
        let errors = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  \
                      Non-2xx or 3xx responses: 17\nRequests/sec:";
        let text = CLEAN.replace("Requests/sec:", errors);
        let run = parse(&text).unwrap();
        assert_eq!((run.socket_errors, run.bad_statuses), (4321, 17));
    }

    #[test]
    fn anything_else_is_not_a_run() {
        assert_eq!(parse(""), None);
        assert_eq!(
            parse("unable to connect to 127.0.0.1:1 Connection refused\n"),
            None
        );
    }

    #[test]
    fn units_are_scaled() {
        assert_eq!(milliseconds("2.50s"), Some(2500.0));
        assert_eq!(milliseconds("1.50m"), Some(90_000.0));
        assert_eq!(milliseconds("3"), None);
    }
}
