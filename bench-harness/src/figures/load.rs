//! Time to load a configuration: from start to ready with many routes and with one, in turn,
//! and `check` of both. What many routes add to a start is the time to load them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::{Scratch, Subject};
use crate::facts::Facts;
use crate::fault::{Fault, Result};
use crate::gateway::Binary;
use crate::output::{self, Shape};
use crate::process::{Output, Plan, Until};
use crate::stats::Spread;

/// How it is measured.
#[derive(Debug, Args)]
pub struct Load {
    /// Routes of the large configuration.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    routes: u32,
    /// How often each is measured.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
struct Report {
    figure: &'static str,
    unit: &'static str,
    routes: u32,
    bytes: usize,
    loading: Spread,
    ready_many: Spread,
    ready_one: Spread,
    check_many: Spread,
    check_one: Spread,
    runs: Vec<Run>,
    facts: Facts,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Run {
    ready_many: f64,
    ready_one: f64,
    check_many: f64,
    check_one: f64,
}

/// A configuration in a directory of its own.
struct Case {
    room: PathBuf,
    text: String,
}

impl Load {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the gateway does not come up, or finds anything in the configuration to remark on.
    pub fn measure(&self) -> Result<String> {
        let mut facts = Facts::gather();
        let binary = self.subject.find()?;
        let scratch = Scratch::new()?;
        let many = Case::write(scratch.room("many")?, self.routes)?;
        let one = Case::write(scratch.room("one")?, 1)?;
        facts
            .versions
            .insert("ringgate".to_owned(), binary.version());
        facts.configs.insert("one".to_owned(), one.text.clone());
        // The first start reads the program from disk.
        ready(&binary, &one)?;
        check(&binary, &many, &mut facts)?;
        let mut runs = Vec::new();
        for number in 1..=self.runs {
            runs.push(Run {
                ready_many: ready(&binary, &many)?,
                ready_one: ready(&binary, &one)?,
                check_many: check(&binary, &many, &mut facts)?,
                check_one: check(&binary, &one, &mut facts)?,
            });
            output::complain(&format!("run {number} of {}", self.runs));
        }
        facts.finish();
        let spread = |part: fn(&Run) -> f64| Spread::of(runs.iter().map(part));
        let report = Report {
            figure: "Time to load a configuration",
            unit: "milliseconds",
            routes: self.routes,
            bytes: many.text.len(),
            loading: spread(|run| run.ready_many - run.ready_one),
            ready_many: spread(|run| run.ready_many),
            ready_one: spread(|run| run.ready_one),
            check_many: spread(|run| run.check_many),
            check_one: spread(|run| run.check_one),
            runs,
            facts,
        };
        Ok(self.shape.render(&report, Report::to_text))
    }
}

impl Report {
    fn to_text(&self) -> String {
        let many = format!("{} routes", self.routes);
        let rows = [
            ["ms, median (min..max)", &many, "1 route"].map(str::to_owned),
            [
                "start to ready".to_owned(),
                output::spread(self.ready_many, 1),
                output::spread(self.ready_one, 1),
            ],
            [
                "check".to_owned(),
                output::spread(self.check_many, 1),
                output::spread(self.check_one, 1),
            ],
        ];
        format!(
            "{}\n{} runs; {} routes in {} KiB\n\n{}\n\nloading {} routes takes {} ms, the difference of the starts (wanted for 10000: under 200)\n\n{}",
            self.figure,
            self.runs.len(),
            self.routes,
            self.bytes / 1024,
            output::table(&rows.map(Vec::from)),
            self.routes,
            output::spread(self.loading, 1),
            self.facts.to_text(),
        )
    }
}

impl Case {
    fn write(room: PathBuf, routes: u32) -> Result<Case> {
        let text = config(routes);
        let case = Case { room, text };
        fs::write(case.file(), &case.text).map_err(|e| Fault::io("write a configuration", &e))?;
        Ok(case)
    }

    fn file(&self) -> PathBuf {
        self.room.join("ringgate.toml")
    }
}

/// Milliseconds from start to ready. Stopping is not part of it.
fn ready(binary: &Binary, case: &Case) -> Result<f64> {
    let started = Instant::now();
    let gateway = binary.start_on(&case.file(), None, &case.room)?;
    let took = milliseconds(started);
    drop(gateway);
    Ok(took)
}

/// Milliseconds from start to end of `check`.
fn check(binary: &Binary, case: &Case, facts: &mut Facts) -> Result<f64> {
    let plan = Plan {
        name: "ringgate check",
        program: binary.path(),
        arguments: vec!["check".into(), case.file().into()],
        environment: Vec::new(),
        cores: None,
        directory: &case.room,
        output: Output::Read,
    };
    let command = plan.command();
    if !facts.commands.contains(&command) {
        facts.commands.push(command);
    }
    let started = Instant::now();
    let mut process = plan.start()?;
    let said = process.output(Until::End, CHECK_MAX)?;
    let took = milliseconds(started);
    let status = process.wait(CHECK_MAX)?;
    // A finding would be written out ten thousand times, and that is not what is measured.
    match status.success() && said.starts_with("ok: ") {
        true => Ok(took),
        false => Err(Fault::Premise(format!(
            "the generated configuration is not clean:\n{}",
            said.lines().take(20).collect::<Vec<_>>().join("\n")
        ))),
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Routes as services of an API have them, five for each: a collection, its items, parts of an
/// item, a tree of files behind a filter, and a newer version chosen by host and header.
fn config(routes: u32) -> String {
    let services = routes.div_ceil(ROUTES_PER_SERVICE);
    let upstreams = services.min(UPSTREAMS_MAX);
    let mut text = String::from(PROCESS);
    for number in 0..upstreams {
        // Nobody listens there: nothing is sent.
        let (first, second) = (20_000 + 2 * number, 20_001 + 2 * number);
        let _ = writeln!(
            text,
            "[[upstream]]\nname = \"backend-{number}\"\n\
             endpoints = [\"127.0.0.1:{first}\", \"127.0.0.1:{second}\"]\n"
        );
    }
    if routes > FILES {
        text.push_str(FILTER);
    }
    for number in 0..routes {
        let service = number / ROUTES_PER_SERVICE;
        let (name, rest) = route(service, number % ROUTES_PER_SERVICE);
        let upstream = service % upstreams;
        let _ = writeln!(
            text,
            "[[route]]\nname = \"s{service}-{name}\"\n{rest}upstream = \"backend-{upstream}\"\n"
        );
    }
    text
}

fn route(service: u32, kind: u32) -> (&'static str, String) {
    let base = format!("/api/v1/service-{service}");
    match kind {
        0 => (
            "items",
            format!("path = \"{base}/items\"\nmethods = [\"GET\", \"POST\"]\n"),
        ),
        1 => (
            "item",
            format!("path = \"{base}/items/{{id}}\"\nmethods = [\"GET\", \"PUT\", \"DELETE\"]\n"),
        ),
        2 => (
            "part",
            format!("path = \"{base}/items/{{id}}/parts/{{part}}\"\ntimeout = \"5s\"\n"),
        ),
        FILES => (
            "files",
            format!("path = \"{base}/files/{{rest*}}\"\nfilters = [\"mark\"]\n"),
        ),
        _ => (
            "next",
            format!(
                "hosts = [\"service-{service}.example.com\"]\npath = \"{base}/items\"\n\
                 match.headers = {{ x-version = \"2\" }}\n"
            ),
        ),
    }
}

/// The kind of route that has a filter.
const FILES: u32 = 3;
const ROUTES_PER_SERVICE: u32 = 5;
const UPSTREAMS_MAX: u32 = 200;
const CHECK_MAX: Duration = Duration::from_secs(60);

const PROCESS: &str = r#"[runtime]
workers = 1
shutdown_grace = "0s"

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = "off"

[[listener]]
name = "public"
listen = "127.0.0.1:0"

"#;

const FILTER: &str = r#"[filter.mark]
type = "headers"
request.set = { x-gateway = "bench" }

"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_configuration_has_as_many_routes_as_asked_for() {
        for routes in [1, 2, 5, 6, 1_000] {
            let text = config(routes);
            assert_eq!(text.matches("[[route]]").count(), routes as usize);
            assert_eq!(text.contains("[filter."), text.contains("filters = "));
        }
    }
}
