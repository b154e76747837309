//! Resident memory of an idle keep-alive connection: many connections carry one request each
//! and then stay, and the gateway's growth is divided by their number.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::{Scratch, Subject};
use crate::facts::Facts;
use crate::fault::{Fault, Result};
use crate::gateway::{self, Driver, Gateway};
use crate::http::Connection;
use crate::interrupt;
use crate::origin;
use crate::procfs::Memory;
use crate::report::{self, Shape};

/// How it is measured.
#[derive(Debug, Args)]
pub struct Idle {
    /// Connections that stay open. Each needs a port of this machine's range of ephemeral ones.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=25_000))]
    connections: u32,
    /// How workers talk to the kernel.
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
struct Report {
    figure: &'static str,
    unit: &'static str,
    connections: u32,
    driver: String,
    resident_per_connection: f64,
    anonymous_per_connection: f64,
    steps: Vec<Step>,
    after_closing: Step,
    facts: Facts,
}

/// Memory with a number of connections open.
#[derive(Debug, Clone, Copy, Serialize)]
struct Step {
    open: u32,
    resident: u64,
    anonymous: u64,
}

impl Idle {
    /// Measures and reports.
    ///
    /// # Errors
    /// When descriptors do not suffice, or a connection does not stay open.
    pub fn measure(&self) -> Result<String> {
        let mut facts = Facts::gather();
        let binary = self.subject.find()?;
        raise_descriptor_limit(u64::from(self.connections) + SPARE_DESCRIPTORS)?;
        let scratch = Scratch::new()?;
        let room = scratch.room("ringgate")?;
        let origin = origin::start().map_err(|error| Fault::io("start an origin", &error))?;
        let config = gateway::forwarding(self.driver, None, origin, &room.join("access.log"));
        let gateway = binary.start(&config, None, &room)?;
        facts
            .versions
            .insert("ringgate".to_owned(), binary.version());
        facts.note("ringgate", gateway.process.command(), &config);

        // What the first request makes it allocate once is not a cost of each connection.
        drop(open(gateway.address())?);
        let mut held = Vec::with_capacity(self.connections as usize);
        let mut steps = vec![step(&gateway, 0)?];
        for number in 1..=STEPS {
            let wanted = self.connections as usize * number as usize / STEPS as usize;
            while held.len() < wanted {
                interrupt::check()?;
                held.push(open(gateway.address())?);
            }
            steps.push(step(&gateway, held.len() as u32)?);
            report::complain(&format!("{wanted} of {} connections", self.connections));
        }
        let lost = lost(&held)?;
        if lost > 0 {
            return Err(Fault::Premise(format!(
                "{lost} connections did not stay open"
            )));
        }
        drop(held);
        let after_closing = step(&gateway, 0)?;
        facts.finish();
        let (first, last) = (steps[0], steps[steps.len() - 1]);
        let each = |bytes: fn(Step) -> u64| {
            (bytes(last) as f64 - bytes(first) as f64) / f64::from(self.connections)
        };
        let report = Report {
            figure: "Resident memory of an idle keep-alive connection",
            unit: "bytes per connection",
            connections: self.connections,
            driver: gateway.driver().to_owned(),
            resident_per_connection: each(|step| step.resident),
            anonymous_per_connection: each(|step| step.anonymous),
            steps,
            after_closing,
            facts,
        };
        Ok(self.shape.render(&report, Report::to_text))
    }
}

impl Report {
    fn to_text(&self) -> String {
        let mut rows = vec![
            ["open", "resident KiB", "anonymous KiB"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let steps = self.steps.iter().map(|step| (step.open.to_string(), step));
        let after = ("all closed".to_owned(), &self.after_closing);
        rows.extend(steps.chain([after]).map(|(open, step)| {
            let kib = [step.resident, step.anonymous].map(|bytes| (bytes / 1024).to_string());
            [vec![open], kib.to_vec()].concat()
        }));
        format!(
            "{}\n{} connections, one request each, on {}\n\n{}\n\n{:.0} bytes resident per connection, {:.0} of them anonymous (wanted: at most 4096)\n\n{}",
            self.figure,
            self.connections,
            self.driver,
            report::table(&rows),
            self.resident_per_connection,
            self.anonymous_per_connection,
            self.facts.to_text(),
        )
    }
}

/// A connection that has carried one request.
fn open(address: SocketAddr) -> Result<Connection> {
    let failed = |error: std::io::Error| Fault::io("open a connection to the gateway", &error);
    let mut connection = Connection::open(address).map_err(failed)?;
    let answer = connection.get("/api/users/7").map_err(failed)?;
    match answer.status {
        200 => Ok(connection),
        status => Err(Fault::Premise(format!("the gateway answers {status}"))),
    }
}

fn lost(held: &[Connection]) -> Result<usize> {
    let mut lost = 0;
    for connection in held {
        let quiet = connection.is_quiet();
        lost += usize::from(!quiet.map_err(|error| Fault::io("look at a connection", &error))?);
    }
    Ok(lost)
}

/// Memory once it no longer moves, or patience ends.
fn step(gateway: &Gateway, open: u32) -> Result<Step> {
    let mut last = None;
    let mut memory = Memory::of(gateway.process.pid())?;
    let end = std::time::Instant::now() + SETTLE_MAX;
    while last != Some(memory) && std::time::Instant::now() < end {
        last = Some(memory);
        interrupt::pause(SETTLE_STEP)?;
        memory = Memory::of(gateway.process.pid())?;
    }
    Ok(Step {
        open,
        resident: memory.resident,
        anonymous: memory.anonymous,
    })
}

/// For this process; the gateway inherits it.
fn raise_descriptor_limit(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    // No limit at all is `None`.
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum.map(|maximum| maximum.max(wanted)),
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        Fault::Setup(format!(
            "{wanted} descriptors are needed; raise the limit (`ulimit -Hn {wanted}` as root), \
             or ask for fewer --connections"
        ))
    })
}

/// Points at which memory is read on the way; a straight line says that the figure holds for
/// other numbers too.
const STEPS: u32 = 4;

/// For logs, pipes, the origin's connections and the gateway's own.
const SPARE_DESCRIPTORS: u64 = 256;

const SETTLE_STEP: Duration = Duration::from_millis(500);
const SETTLE_MAX: Duration = Duration::from_secs(5);
