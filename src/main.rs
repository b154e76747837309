//! Ringgate: a thread-per-core API gateway. `ringgate run FILE` serves, `ringgate check FILE`
//! says what is wrong with a configuration.

mod checked;
mod cli;
mod compile;
mod demo;
mod explain;
mod gateway;
mod log;
mod networks;
mod references;
mod tls;
mod version;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
