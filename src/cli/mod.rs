//! The command line.
//!
//! Exit codes: 0 all is well; 1 something failed, or the command line is wrong; 2 the
//! configuration is invalid; 3 the configuration is valid, but uses what this build does not
//! do yet; 4 the gateway would refuse the request that was explained.

mod admin;
mod check;
mod drain;
mod key;
pub mod print;
mod quotas;
mod reload;
mod run;
mod upstreams;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::demo::Demo;
use crate::explain::Explain;
use crate::version;
use print::say;

/// A thread-per-core API gateway for bare-metal Linux edge nodes.
#[derive(Debug, Parser)]
#[command(name = "ringgate", version = version::VERSION, long_version = version::long(), after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 fine, 1 failure or wrong usage, 2 invalid configuration, 3 valid configuration
that uses what this build does not do yet, 4 (explain) the gateway would refuse the request.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves traffic on a configuration until SIGTERM or Ctrl-C.
    Run(run::Run),
    /// Says what is wrong with configurations, and where.
    Check(check::Check),
    /// Tells what the gateway would do with a request, and why. Sends nothing.
    Explain(Explain),
    /// Runs a gateway before three small services, with commands to try.
    Demo(Demo),
    /// Has a running gateway read its configuration again.
    Reload(reload::Reload),
    /// Shows and resets what keys have used of quotas.
    Quotas(quotas::Quotas),
    /// Makes API keys, and the digests of them that the configuration holds.
    Key(key::Key),
    /// Shows how the upstreams of a running gateway stand, endpoint by endpoint.
    Upstreams(upstreams::Upstreams),
    /// Gives an endpoint of a running gateway no new requests.
    Drain(drain::Drain),
    /// Brings an endpoint back that was drained.
    Undrain(drain::Undrain),
    /// Prints the JSON Schema of the configuration, for editors.
    Schema,
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// Something failed, or the command line is wrong.
    Failed,
    /// The configuration is invalid.
    Invalid,
    /// The configuration uses what this build does not do yet.
    Unsupported,
    /// The gateway would refuse the request that was explained.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Invalid => 2,
            Exit::Unsupported => 3,
            Exit::Refused => 4,
        })
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; those belong on standard output. A reader
            // that went away is no reason to fail.
            let _ = error.print();
            return match error.use_stderr() {
                true => Exit::Failed,
                false => Exit::Fine,
            }
            .into();
        }
    };
    let exit = match cli.command {
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Demo(demo) => demo.execute(),
        Command::Reload(reload) => reload.execute(),
        Command::Quotas(quotas) => quotas.execute(),
        Command::Key(key) => key.execute(),
        Command::Upstreams(upstreams) => upstreams.execute(),
        Command::Drain(drain) => drain.execute(),
        Command::Undrain(undrain) => undrain.execute(),
        Command::Schema => {
            say(&print::pretty(&ringgate_config::schema()));
            Exit::Fine
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringgate", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
            Exit::Fine
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
