//! `ringgate reload`

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ringgate_config::Verdict;
use ringgate_config::model::ListenAddr;
use ringgate_control::{AdminClient, Refusal, ReloadRefused, ReloadReport};
use serde_json::json;

use super::Exit;
use super::print::{complain, pretty, say};
use crate::checked;

#[derive(Debug, Args)]
pub struct Reload {
    /// The running gateway's configuration: the address of its admin API is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// The address of the admin API; `localhost:PORT` is its loopback.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RINGGATE_ADMIN",
        default_value = "127.0.0.1:9901",
        value_parser = admin_address
    )]
    admin: SocketAddr,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Compiling, looking names up and swapping together take less.
const PATIENCE: Duration = Duration::from_secs(60);

impl Reload {
    pub fn execute(self) -> Exit {
        let address = match &self.config {
            None => self.admin,
            Some(file) => match admin_of(file) {
                Ok(address) => address,
                Err(why) => {
                    complain(&format!("ringgate: {why}"));
                    return Exit::Failed;
                }
            },
        };
        match AdminClient::new(address, PATIENCE).reload() {
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

fn admin_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "expected an IP address and a port, such as 127.0.0.1:9901".to_owned();
    match text.split_once(':') {
        // Both families' loopback may be meant; the first that listens is taken.
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            let port = port.parse().map_err(|_| wrong())?;
            let both = [
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ];
            let listens = |address: &&SocketAddr| TcpStream::connect(*address).is_ok();
            Ok(*both.iter().find(listens).unwrap_or(&both[0]))
        }
        _ => text.parse().map_err(|_| wrong()),
    }
}

fn admin_of(file: &Path) -> Result<SocketAddr, String> {
    let shown = file.display();
    // A file with errors may be the very one that is to be refused: only the address matters.
    let read = checked::read(file).map_err(|refused| {
        let what = match refused.verdict {
            Verdict::Unsupported => "uses what this build does not do yet",
            Verdict::Invalid | Verdict::Runnable => "has errors",
        };
        format!(
            "{shown} {what}, so its [admin] listen address is not known; correct it (`ringgate check {shown}`) or name the address with --admin"
        )
    })?;
    match read.config.admin.as_ref().map(|admin| &admin.listen.value) {
        Some(ListenAddr::Tcp(address)) if address.port() != 0 => Ok(*address),
        Some(ListenAddr::Tcp(_)) => Err(format!(
            "{shown} lets the system choose the admin port; name the address with --admin"
        )),
        // A Unix socket here would have been unsupported.
        Some(ListenAddr::Unix(_)) | None => Err(format!(
            "{shown} has no [admin] listen address; send SIGHUP to the process instead"
        )),
    }
}
