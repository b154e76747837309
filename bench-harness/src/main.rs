//! `ringgate-bench`: honest latency, peers side by side, and a gate against regressions.
//! Exit codes: 0 done; 1 something failed, or the command line is wrong; 2 a premise of the
//! figure did not hold, so that there is none; `gate` alone adds 3 and 4.

mod cores;
mod facts;
mod fault;
mod figures;
mod gate;
mod gateway;
mod http;
mod instructions;
mod interrupt;
mod load;
mod measure;
mod origin;
mod output;
mod peers;
mod process;
mod procfs;
mod relay;
mod report;
mod results;
mod stats;
mod stock;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fault::{Fault, Result};

/// Measures HTTP servers and proxies honestly, and Ringgate beside others doing the same job.
#[derive(Debug, Parser)]
#[command(name = "ringgate-bench", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failure or wrong usage, 2 a premise of the figure did not hold, so there is \
none; of `gate` also 3 regression, 4 too noisy to tell. docs/benchmarking.md says how to read \
the figures.";

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
enum Command {
    /// Generates load and reports what it met: closed loop, or open loop at a given rate.
    Load(load::Command),
    /// Answers whatever the request's query asks for: size, delay, errors, chunks.
    Origin(origin::Command),
    /// Passes bytes on and nothing else: the least that a proxy on this runtime can cost.
    Relay(relay::Command),
    /// A minimal proxy on monoio-http: what the stock codec costs.
    Stock(stock::Command),
    /// Measures proxies side by side.
    Peers(peers::Command),
    /// Compares two builds and says whether one of them is slower.
    Gate(gate::Command),
    /// Makes one HTML page of saved results.
    Report(report::Command),
    /// Instruction counts: of the gateway's parts beside their baselines, of whole requests.
    Instructions(instructions::Command),
    /// Time to load a configuration of many routes.
    Config(figures::load::Load),
    /// Requests by worker of few heavy HTTP/2 connections.
    Skew(figures::skew::Skew),
}

/// What a command came to, when it did not fail.
#[derive(Debug)]
pub struct Ended {
    /// For standard output.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Ended {
    /// Done, with this to say.
    pub fn well(text: String) -> Ended {
        Ended { text, code: 0 }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; those are no failure.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(&cli.command) {
        Ok(ended) => {
            if !ended.text.is_empty() {
                output::say(&ended.text);
            }
            ExitCode::from(ended.code)
        }
        Err(fault) => {
            output::complain(&format!("ringgate-bench: {fault}"));
            ExitCode::from(match fault {
                Fault::Premise(_) => 2,
                Fault::Setup(_) | Fault::Interrupted => 1,
            })
        }
    }
}

fn run(command: &Command) -> Result<Ended> {
    interrupt::watch()?;
    match command {
        Command::Load(command) => command.run(),
        Command::Origin(command) => command.run(),
        Command::Relay(command) => command.run(),
        Command::Stock(command) => command.run(),
        Command::Peers(command) => command.run(),
        Command::Gate(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Instructions(command) => command.run(),
        Command::Config(load) => load.measure().map(Ended::well),
        Command::Skew(skew) => skew.measure().map(Ended::well),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
