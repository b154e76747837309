//! `ringgate reload`

use std::time::Duration;

use clap::Args;
use ringgate_control::{Refusal, ReloadRefused, ReloadReport};
use serde_json::json;

use super::Exit;
use super::admin::Admin;
use super::print::{complain, pretty, say};

#[derive(Debug, Args)]
pub struct Reload {
    #[command(flatten)]
    admin: Admin,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Compiling, looking names up and swapping together take less.
const PATIENCE: Duration = Duration::from_secs(60);

impl Reload {
    pub fn execute(self) -> Exit {
        let client = match self.admin.client(PATIENCE) {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        match client.reload() {
            Ok(Ok(report)) => self.applied(&report),
            Ok(Err(refused)) => self.refused(&refused),
            Err(error) => {
                complain(&format!("ringgate: {error}"));
                Exit::Failed
            }
        }
    }

    fn applied(&self, report: &ReloadReport) -> Exit {
        if self.json {
            say(&pretty(&json!(report)));
            return Exit::Fine;
        }
        for warning in &report.warnings {
            complain(&format!("warning: {warning}"));
        }
        say(&format!(
            "reloaded: {} (generation {}, {} ms, longest stall {} us, memory {:+} KiB)",
            report.summary(),
            report.generation,
            report.duration_us / 1000,
            report.longest_core_stall_us,
            report.memory_delta_bytes / 1024,
        ));
        for (kind, changes) in &report.changes {
            for (sign, names) in [
                ('+', &changes.added),
                ('-', &changes.removed),
                ('~', &changes.changed),
            ] {
                for name in names.iter().take(NAMES_SHOWN_MAX) {
                    say(&format!("  {sign} {kind} {name}"));
                }
                if let Some(more) = names.len().checked_sub(NAMES_SHOWN_MAX + 1) {
                    say(&format!("  {sign} and {} {kind}s more", more + 1));
                }
            }
        }
        Exit::Fine
    }

    fn refused(&self, refused: &ReloadRefused) -> Exit {
        match self.json {
            true => say(&pretty(&json!(refused))),
            false => complain(&format!(
                "{}\nringgate: not reloaded: the old configuration stays in force",
                refused.text.trim_end()
            )),
        }
        match refused.refusal {
            Refusal::InvalidConfig => Exit::Invalid,
            Refusal::UnsupportedConfig => Exit::Unsupported,
            Refusal::NeedsRestart
            | Refusal::CannotApply
            | Refusal::Draining
            | Refusal::Internal => Exit::Failed,
        }
    }
}

/// Names of one kind that a person wants to read.
const NAMES_SHOWN_MAX: usize = 20;
