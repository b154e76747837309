//! Counting the data plane's parts: the bench runs under callgrind, once each, and tells what it
//! counted as lines of JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{runner, valgrind};
use crate::fault::{Fault, Result};
use crate::output;
use crate::process::{self, Output, Plan, Until};

/// Instructions by bench, `function/case`.
pub type Counts = BTreeMap<String, u64>;

/// What counts depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Processor and system.
    pub target: String,
    /// The compiler.
    pub rustc: String,
    /// The C library, whose `memcpy` and allocator count too.
    pub libc: String,
    /// What counted.
    pub valgrind: String,
}

impl Place {
    /// Here.
    ///
    /// # Errors
    /// When valgrind is missing.
    pub fn here() -> Result<Place> {
        let line = |program: &Path, flag: &str| {
            let said = process::version(program, flag);
            said.lines().next().unwrap_or_default().to_owned()
        };
        Ok(Place {
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            rustc: line(Path::new("rustc"), "--version"),
            libc: line(Path::new("ldd"), "--version"),
            valgrind: line(&valgrind()?, "--version"),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            target,
            rustc,
            libc,
            valgrind,
        } = self;
        write!(f, "{rustc}, {libc}, {valgrind} on {target}")
    }
}

/// Builds the bench and counts.
///
/// # Errors
/// When something is missing, does not build, or counts nothing.
pub fn count(sources: &Path) -> Result<Counts> {
    valgrind()?;
    let runner = runner(sources)?;
    let runner = runner.to_string_lossy();
    let scratch = tempfile::tempdir().map_err(|error| Fault::io("make a directory", &error))?;
    let manifest = sources.join("Cargo.toml");
    let arguments = [
        "bench",
        "--quiet",
        "--package=ringgate-filters",
        "--bench=data_plane_instructions",
        "--manifest-path",
    ];
    let mut arguments: Vec<_> = arguments.map(Into::into).to_vec();
    arguments.push(manifest.into());
    arguments.extend(["--", "--output-format=json"].map(Into::into));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let plan = Plan {
        name: "cargo bench",
        program: Path::new(&cargo),
        arguments,
        environment: vec![("GUNGRAUN_RUNNER", &runner)],
        cores: None,
        directory: scratch.path(),
        output: Output::Read,
    };
    output::complain("building the bench in release form, then counting under callgrind");
    let mut cargo = plan.start()?;
    let said = cargo.output(Until::End, COUNT_MAX)?;
    match cargo.wait(COUNT_MAX)?.success() {
        true => read(&said),
        false => Err(cargo.failed("failed")),
    }
}

fn read(lines: &str) -> Result<Counts> {
    let summaries = lines.lines().filter(|line| line.starts_with('{'));
    let counts: Counts = summaries.map(read_one).collect::<Result<_>>()?;
    match counts.is_empty() {
        true => Err(Fault::Setup("the bench counted nothing".to_owned())),
        false => Ok(counts),
    }
}

fn read_one(line: &str) -> Result<(String, u64)> {
    let wrong = |what: &str| {
        Fault::Setup(format!(
            "the bench's summary {what}; is gungraun-runner of the version in Cargo.toml?"
        ))
    };
    let summary: Summary = serde_json::from_str(line)
        .map_err(|error| wrong(&format!("is of another form: {error}")))?;
    let name = match summary.id {
        Some(id) => format!("{}/{id}", summary.function_name),
        None => summary.function_name,
    };
    let callgrind = summary
        .profiles
        .into_iter()
        .find(|of| of.tool == "Callgrind");
    let total = callgrind.ok_or_else(|| wrong("has no counts"))?.data.total;
    Ok((name, total.metrics.instructions.values.new))
}

#[derive(Deserialize)]
struct Summary {
    function_name: String,
    id: Option<String>,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    tool: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "Ir")]
    instructions: Metric,
}

#[derive(Deserialize)]
struct Metric {
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    new: u64,
}

/// A cold build on a slow machine, and the counting.
const COUNT_MAX: Duration = Duration::from_secs(1800);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"function_name":"request_parse","id":"small","profiles":[{"data":{"total":{"metrics":{"Dr":{"values":{"new":9}},"Ir":{"values":{"new":2554,"old":2500}}},"regressions":[]}},"tool":"Callgrind"}],"version":"7"}"#;

    #[test]
    fn a_summary_is_read() {
        let text = format!("noise\n{LINE}\n");
        let counts = read(&text).unwrap();
        assert_eq!(counts["request_parse/small"], 2554);
        assert_eq!(counts.len(), 1);
    }

    #[test]
    fn a_bench_that_says_nothing_is_a_failure() {
        assert!(read("").is_err());
        assert!(read("{}").is_err());
    }
}
