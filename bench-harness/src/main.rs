//! `ringgate-bench`: what Ringgate costs, each figure measured in turn with its rival in one
//! run. Exit codes: 0 a figure was reported; 1 something failed, or the command line is wrong;
//! 2 a premise of the figure did not hold, so that there is none.

mod contest;
mod cores;
mod facts;
mod fault;
mod figures;
mod gateway;
mod http;
mod interrupt;
mod nginx;
mod origin;
mod premises;
mod process;
mod procfs;
mod report;
mod stats;
mod wrk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fault::Fault;

/// Measures what Ringgate costs, beside others doing the same job.
#[derive(Debug, Parser)]
#[command(name = "ringgate-bench", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    figure: Figure,
}

const AFTER_HELP: &str = "\
Exit codes: 0 a figure was reported, 1 failure or wrong usage, 2 a premise of the figure did not \
hold, so there is none. docs/reference/bench.md says what each figure means.";

#[derive(Debug, Subcommand)]
enum Figure {
    /// CPU time per request of Ringgate against nginx with a plain `proxy_pass`.
    Nginx(figures::cpu::Cpu),
    /// CPU time per request on io_uring against epoll.
    Drivers(figures::cpu::Cpu),
    /// Resident memory of an idle keep-alive connection.
    Idle(figures::idle::Idle),
    /// Time to load a configuration of many routes.
    Config(figures::load::Load),
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
    match run(&cli.figure) {
        Ok(report) => {
            report::say(&report);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            report::complain(&format!("ringgate-bench: {fault}"));
            ExitCode::from(match fault {
                Fault::Premise(_) => 2,
                Fault::Setup(_) | Fault::Interrupted => 1,
            })
        }
    }
}

fn run(figure: &Figure) -> Result<String, Fault> {
    interrupt::watch()?;
    match figure {
        Figure::Nginx(cpu) => cpu.against_nginx(),
        Figure::Drivers(cpu) => cpu.against_epoll(),
        Figure::Idle(idle) => idle.measure(),
        Figure::Config(load) => load.measure(),
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
