//! `ringgate run FILE`

use std::io;
use std::path::PathBuf;

use clap::Args;
use ringgate_config::Verdict;

use super::Exit;
use super::print::{complain, exit_of, style_of};
use crate::gateway::{self, NotStarted};

#[derive(Debug, Args)]
pub struct Run {
    /// The configuration.
    #[arg(value_name = "FILE", env = "RINGGATE_CONFIG")]
    file: PathBuf,
}

impl Run {
    pub fn execute(self) -> Exit {
        match gateway::start(self.file.clone()) {
            Ok(running) => {
                running.wait();
                Exit::Fine
            }
            Err(NotStarted::Failed(error)) => {
                complain(&format!("ringgate: {error}"));
                Exit::Failed
            }
            Err(NotStarted::Refused(refused)) => {
                complain(refused.findings.render(style_of(&io::stderr())).trim_end());
                let why = match refused.verdict {
                    Verdict::Unsupported => "uses what this build does not do yet",
                    Verdict::Invalid | Verdict::Runnable => "has errors",
                };
                let file = self.file.display();
                complain(&format!("ringgate: not started: {file} {why}"));
                exit_of(refused.verdict)
            }
        }
    }
}
