//! `ringgate check FILE...`

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use ringgate_config::{Severity, Verdict};
use serde_json::{Value, json};

use super::Exit;
use super::print::{exit_of, pretty, say, style_of};
use crate::checked::{self, Checked, Findings, Refused};
use crate::references::Commands;

#[derive(Debug, Args)]
pub struct Check {
    /// The configurations.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Runs the programs of `${command:...}` references, whose values are not known otherwise.
    #[arg(long)]
    run_commands: bool,
    /// Prints one JSON object with all findings.
    #[arg(long)]
    json: bool,
}

/// What was found about one file.
struct Report {
    verdict: Verdict,
    findings: Findings,
    /// One line about a file that can run.
    summary: String,
}

impl Check {
    pub fn execute(self) -> Exit {
        let commands = Commands::asked(self.run_commands);
        let reports: Vec<(&Path, Report)> = self
            .files
            .iter()
            .map(|file| (file.as_path(), report(file, commands)))
            .collect();
        let exit = reports
            .iter()
            .map(|(_, report)| report.verdict)
            .max_by_key(|verdict| match verdict {
                Verdict::Runnable => 0,
                Verdict::Unsupported => 1,
                Verdict::Invalid => 2,
            })
            .map_or(Exit::Fine, exit_of);
        match self.json {
            true => say(&pretty(&to_json(&reports, exit))),
            false => reports
                .iter()
                .for_each(|(file, report)| say(&to_text(file, report))),
        }
        exit
    }
}

fn report(file: &Path, commands: Commands) -> Report {
    match checked::check(file, commands) {
        Ok(checked) => Report {
            verdict: Verdict::Runnable,
            summary: summary(&checked),
            findings: checked.findings,
        },
        Err(Refused {
            verdict, findings, ..
        }) => Report {
            verdict,
            findings,
            summary: String::new(),
        },
    }
}

fn count(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn summary(checked: &Checked) -> String {
    let config = &checked.config;
    let mut parts = vec![
        count(config.routes.len(), "route"),
        count(config.upstreams.len(), "upstream"),
        count(config.filters.len(), "filter"),
        count(config.listeners.len(), "listener"),
    ];
    let warnings = checked.findings.count(Severity::Warning);
    if warnings > 0 {
        parts.push(count(warnings, "warning"));
    }
    parts.join(", ")
}

fn to_text(file: &Path, report: &Report) -> String {
    let mut text = report.findings.render(style_of(&io::stdout()));
    if !text.is_empty() {
        text.push('\n');
    }
    let file = file.display();
    let found = |severity, what| count(report.findings.count(severity), what);
    text.push_str(&match report.verdict {
        Verdict::Runnable => format!("ok: {file}: {}", report.summary),
        Verdict::Unsupported => format!(
            "not supported yet: {file}: valid, but this build does not do {} of it",
            found(Severity::Unsupported, "part")
        ),
        Verdict::Invalid => format!("invalid: {file}: {}", found(Severity::Error, "error")),
    });
    text
}

fn to_json(reports: &[(&Path, Report)], exit: Exit) -> Value {
    let files: Vec<Value> = reports
        .iter()
        .map(|(file, report)| {
            json!({
                "file": file.display().to_string(),
                "verdict": match report.verdict {
                    Verdict::Runnable => "ok",
                    Verdict::Unsupported => "unsupported",
                    Verdict::Invalid => "invalid",
                },
                "diagnostics": report.findings.to_json(),
            })
        })
        .collect();
    json!({ "ok": exit == Exit::Fine, "files": files })
}
