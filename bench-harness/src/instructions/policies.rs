//! What each policy costs a request: the instructions of the worker with it, against those
//! without any.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::request::{CONFIG, Counted, Subject, count};
use crate::Ended;
use crate::fault::{Fault, Result};
use crate::gateway::Binary;
use crate::output::{self, Shape};

/// The command line.
#[derive(Debug, Args)]
pub struct Compared {
    /// The program to count; the release build beside this one when absent.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Requests of the shorter run; the longer one makes twice as many.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    requests: u32,
    /// Only policies whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// A policy, as it is written into the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    name: String,
    filters: Vec<String>,
    listener: String,
    upstream: String,
    route: String,
    top: String,
    /// A field of each request.
    field: String,
}

/// What was counted.
#[derive(Debug, Serialize)]
struct Report {
    gateway: String,
    driver: String,
    /// Instructions of a request without any policy.
    without: f64,
    policies: Vec<Cost>,
}

#[derive(Debug, Serialize)]
struct Cost {
    policy: String,
    /// Instructions more, per request.
    more: f64,
    /// As a share of a request without it.
    share: f64,
}

impl Compared {
    /// Counts one after the other.
    ///
    /// # Errors
    /// When valgrind is missing or something does not start or answer.
    pub fn run(&self) -> Result<Ended> {
        let binary = Binary::find(self.gateway.as_deref())?;
        let cases: Cases = toml::from_str(CASES)
            .map_err(|error| Fault::Setup(format!("policies.toml: {error}")))?;
        let none = self.count(&binary, &Case::default())?;
        let mut policies = Vec::new();
        let wanted = |case: &&Case| {
            let only = self.only.as_ref();
            only.is_none_or(|text| case.name.contains(text.as_str()))
        };
        for case in cases.case.iter().filter(wanted) {
            output::complain(&case.name);
            let with = self.count(&binary, case)?;
            let more = with.per_request - none.per_request;
            policies.push(Cost {
                policy: case.name.clone(),
                more,
                share: more / none.per_request,
            });
        }
        let report = Report {
            gateway: binary.version(),
            driver: none.driver,
            without: none.per_request,
            policies,
        };
        Ok(Ended::well(self.shape.render(&report, text)))
    }

    fn count(&self, binary: &Binary, case: &Case) -> Result<Counted> {
        count(&Subject {
            gateway: binary.path(),
            config: &case.config(),
            field: &case.field,
            origins: ORIGINS,
            requests: self.requests,
            connections: CONNECTIONS,
            driver: "auto",
        })
    }
}

impl Case {
    /// The configuration of `instructions request` with the policy in it.
    fn config(&self) -> String {
        let filters = self.filters.iter().map(|name| format!("\"{name}\", "));
        let filters: String = filters.collect();
        let into = |config: String, behind: &str, what: &str| {
            config.replacen(behind, &format!("{behind}{what}\n"), 1)
        };
        let config = CONFIG.replace(
            "filters = [\"mark\"]",
            &format!("filters = [{filters}\"mark\"]"),
        );
        let config = into(config, "name = \"public\"\n", &self.listener);
        let config = into(config, "name = \"origin\"\n", &self.upstream);
        let config = into(config, "name = \"everything\"\n", &self.route);
        format!("{config}\n{}", self.top)
    }
}

fn text(report: &Report) -> String {
    let rows = report.policies.iter().map(|cost| {
        let Cost {
            policy,
            more,
            share,
        } = cost;
        format!("{more:+8.0}  {:+6.1} %  {policy}", 100.0 * share)
    });
    let rows: Vec<String> = rows.collect();
    format!(
        "{:.0} instructions per request without a policy, in the worker's user space, {}\n{}\n\n\
         {:>8}  {:>8}  with\n{}",
        report.without,
        report.driver,
        report.gateway,
        "more",
        "share",
        rows.join("\n")
    )
}

const CASES: &str = include_str!("policies.toml");
/// Endpoints of the upstream, so that there is something to choose from.
const ORIGINS: usize = 3;
const CONNECTIONS: u32 = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_names_and_a_place_in_the_configuration() {
        let cases: Cases = toml::from_str(CASES).unwrap();
        let none = Case::default().config();
        for case in &cases.case {
            assert!(!case.name.is_empty());
            let config = case.config();
            assert_ne!(config, none, "{}", case.name);
            assert!(config.parse::<toml::Table>().is_ok(), "{config}");
        }
    }
}
