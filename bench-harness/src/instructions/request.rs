//! Whole requests: a release gateway under callgrind, keep-alive clients, and the instructions
//! of its worker thread per request. Two runs differ by a known number of requests, so that
//! starting, connecting and stopping cancel out.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::valgrind;
use crate::Ended;
use crate::fault::{Fault, Result};
use crate::gateway::Binary;
use crate::http::Connection;
use crate::interrupt;
use crate::output::{self, Shape};
use crate::process::{Output, Plan, Process, Until};

/// The command line.
#[derive(Debug, Args)]
pub struct Measured {
    /// The program to count; the release build beside this one when absent.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Requests of the shorter run; the longer one makes twice as many.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    requests: u32,
    /// Connections that make them at the same time.
    #[arg(long, value_name = "N", default_value_t = 8)]
    connections: u32,
    /// How the worker talks to the kernel.
    #[arg(long, value_parser = ["auto", "io_uring", "epoll"], default_value = "auto")]
    driver: String,
    /// How many functions are shown.
    #[arg(long, value_name = "N", default_value_t = 40)]
    top: usize,
    #[command(flatten)]
    shape: Shape,
}

/// What a request costs in user space.
#[derive(Debug, Serialize)]
struct Report {
    /// What was counted.
    gateway: String,
    driver: String,
    connections: u32,
    /// Requests that the two runs differ by.
    requests: u32,
    /// Instructions of the worker thread per request.
    per_request: f64,
    /// Of the functions themselves, the most costly first.
    own: Vec<Share>,
    /// With what they called.
    inclusive: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Share {
    function: String,
    per_request: f64,
}

impl Measured {
    /// Counts.
    ///
    /// # Errors
    /// When valgrind is missing or something does not start or answer.
    pub fn run(&self) -> Result<Ended> {
        if self.requests < self.connections || self.connections == 0 {
            let what = "--requests must be at least --connections, and that at least 1";
            return Err(Fault::Setup(what.to_owned()));
        }
        let binary = Binary::find(self.gateway.as_deref())?;
        let subject = Subject {
            gateway: binary.path(),
            config: CONFIG,
            field: "",
            origins: 1,
            requests: self.requests,
            connections: self.connections,
            driver: &self.driver,
        };
        let Counted {
            driver,
            short,
            long,
            ..
        } = count(&subject)?;
        let report = self.report(&binary, driver, &short, &long);
        Ok(Ended::well(self.shape.render(&report, text)))
    }

    fn report(&self, binary: &Binary, driver: String, short: &Profile, long: &Profile) -> Report {
        let requests = self.requests / self.connections * self.connections;
        let per_request =
            |long: u64, short: u64| (long as f64 - short as f64) / f64::from(requests);
        let shares = |pick: fn(&Profile) -> &std::collections::HashMap<String, u64>| {
            let each = pick(long).iter().map(|(name, &count)| Share {
                function: name.clone(),
                per_request: per_request(count, pick(short).get(name).copied().unwrap_or(0)),
            });
            let mut shares: Vec<Share> = each.collect();
            shares.sort_by(|a, b| b.per_request.total_cmp(&a.per_request));
            shares.truncate(self.top);
            shares
        };
        Report {
            gateway: binary.version(),
            driver,
            connections: self.connections,
            requests,
            per_request: per_request(long.total(), short.total()),
            own: shares(|profile| &profile.own),
            inclusive: shares(|profile| &profile.inclusive),
        }
    }
}

/// What is counted.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) gateway: &'a Path,
    /// The configuration, with words in the places of the driver, the origins and the log.
    pub(super) config: &'a str,
    /// A field of each request; empty for none.
    pub(super) field: &'a str,
    pub(super) origins: usize,
    /// Requests of the shorter run.
    pub(super) requests: u32,
    pub(super) connections: u32,
    pub(super) driver: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Counted {
    /// The driver that was chosen.
    pub(super) driver: String,
    /// Instructions of the worker thread per request.
    pub(super) per_request: f64,
    short: Profile,
    long: Profile,
}

/// Counts two runs of which one makes twice as many requests.
pub(super) fn count(subject: &Subject<'_>) -> Result<Counted> {
    let each = subject.requests / subject.connections;
    let (short, driver) = subject.profile(each)?;
    let (long, _) = subject.profile(2 * each)?;
    let requests = f64::from(each * subject.connections);
    Ok(Counted {
        driver,
        per_request: (long.total() as f64 - short.total() as f64) / requests,
        short,
        long,
    })
}

impl Subject<'_> {
    /// One run: the worker thread's profile, and the driver that it chose.
    fn profile(&self, each: u32) -> Result<(Profile, String)> {
        let scratch = tempfile::tempdir().map_err(|error| Fault::io("make a directory", &error))?;
        let directory = scratch.path();
        output::complain(&format!(
            "{} requests through {} under callgrind",
            each * self.connections,
            self.gateway.display()
        ));
        let mut origins = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..self.origins {
            let mut origin = start_origin(directory)?;
            addresses.push(format!("\"{}\"", ready::<Origin>(&mut origin)?.address));
            origins.push(origin);
        }
        let (mut gateway, ready) = self.start_gateway(&addresses.join(", "), directory)?;
        let clients: Vec<_> = (0..self.connections)
            .map(|_| {
                let field = self.field.to_owned();
                thread::spawn(move || ask(ready.listeners.public, each, &field))
            })
            .collect();
        for client in clients {
            let asked = client.join().unwrap_or(Err(Fault::Interrupted));
            asked?;
        }
        end(&mut gateway)?;
        Ok((busiest(directory)?, ready.driver))
    }

    fn start_gateway(&self, origins: &str, directory: &Path) -> Result<(Process, Ready)> {
        let file = directory.join("ringgate.toml");
        let config = self
            .config
            .replace("DRIVER", self.driver)
            .replace("\"ORIGIN\"", origins)
            .replace("LOG", &directory.join("access.log").to_string_lossy());
        fs::write(&file, config).map_err(|error| Fault::io("write ringgate.toml", &error))?;
        let profile = format!("--callgrind-out-file={}", directory.join("out").display());
        let valgrind = valgrind()?;
        let plan = Plan {
            name: "ringgate under valgrind",
            program: &valgrind,
            arguments: vec![
                "--tool=callgrind".into(),
                "--separate-threads=yes".into(),
                profile.into(),
                self.gateway.into(),
                "run".into(),
                file.into(),
            ],
            environment: vec![("RINGGATE_READY_FD", "1")],
            cores: None,
            directory,
            output: Output::Read,
        };
        let mut process = plan.start()?;
        let ready = ready(&mut process)?;
        Ok((process, ready))
    }
}

fn start_origin(directory: &Path) -> Result<Process> {
    let own = std::env::current_exe().map_err(|error| Fault::io("find this program", &error))?;
    let plan = Plan {
        name: "the origin",
        program: &own,
        arguments: vec!["origin".into()],
        environment: Vec::new(),
        cores: None,
        directory,
        output: Output::Read,
    };
    plan.start()
}

fn ready<T: for<'de> Deserialize<'de>>(process: &mut Process) -> Result<T> {
    let line = process.output(Until::Line, READY_MAX)?;
    serde_json::from_str(&line).map_err(|error| process.failed(&format!("said {line:?} ({error})")))
}

/// One client.
fn ask(address: SocketAddr, requests: u32, field: &str) -> Result<()> {
    let failed = |error: std::io::Error| Fault::io("get an answer of the gateway", &error);
    let mut connection = Connection::open(address).map_err(failed)?;
    for _ in 0..requests {
        interrupt::check()?;
        let answer = connection.ask("/api/users/7", field).map_err(failed)?;
        if answer.status != 200 {
            return Err(Fault::Setup(format!(
                "the gateway answered with {}",
                answer.status
            )));
        }
    }
    Ok(())
}

/// Ends the gateway and waits until callgrind has written what it counted.
fn end(gateway: &mut Process) -> Result<()> {
    let pid = i32::try_from(gateway.pid().0).ok();
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // When it has ended already, the wait is over at once.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    gateway.wait(END_MAX).map(drop)
}

/// The worker's profile: the thread that did most.
fn busiest(directory: &Path) -> Result<Profile> {
    let entries = fs::read_dir(directory).map_err(|error| Fault::io("list profiles", &error))?;
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let threads = files.filter(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("out-")
    });
    let profiles = threads.filter_map(|file| fs::read_to_string(file).ok());
    profiles
        .map(|text| Profile::parse(&text))
        .max_by_key(Profile::total)
        .ok_or_else(|| Fault::Setup("callgrind wrote no profile".to_owned()))
}

fn text(report: &Report) -> String {
    let total = report.per_request;
    let rows = |shares: &[Share]| {
        let each = shares.iter().map(|share| {
            let Share {
                function,
                per_request,
            } = share;
            let percent = 100.0 * per_request / total;
            format!("{per_request:9.1}  {percent:5.1} %  {function}")
        });
        each.collect::<Vec<_>>().join("\n")
    };
    format!(
        "{total:.0} instructions per request in the worker's user space, \
         {} connections, {}, counted over {} requests\n{}\n\n\
         by function, itself alone\n{}\n\nby function, with what it calls\n{}",
        report.connections,
        report.driver,
        report.requests,
        report.gateway,
        rows(&report.own),
        rows(&report.inclusive)
    )
}

#[derive(Debug, Deserialize)]
struct Origin {
    address: SocketAddr,
}

#[derive(Debug, Deserialize)]
struct Ready {
    driver: String,
    listeners: Listeners,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Listeners {
    public: SocketAddr,
}

/// As in the scenarios: metrics and a JSON access log on, one header filter.
pub(super) const CONFIG: &str = r#"
[runtime]
workers = 1
driver = "DRIVER"
shutdown_grace = "1s"

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = "LOG"
format = "json"

[limits]
idle_timeout = "1h"
requests_per_connection_max = "off"

[[listener]]
name = "public"
listen = "127.0.0.1:0"

[[upstream]]
name = "origin"
endpoints = ["ORIGIN"]
idle_timeout = "50m"

[filter.mark]
type = "headers"
response.set = { x-served-by = "bench" }

[[route]]
name = "everything"
path = "/{rest*}"
filters = ["mark"]
upstream = "origin"
"#;

/// Valgrind starts slowly.
const READY_MAX: Duration = Duration::from_secs(120);

/// It writes a profile of each thread.
const END_MAX: Duration = Duration::from_secs(120);
