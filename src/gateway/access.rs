//! The access log of the process: one writer, with a buffer for each worker.

use std::io;

use ringgate_config::model::{self, LogFormat};
use ringgate_core::access::{Format, LogBuffer, LogWriter, Target, WriterState};
use tracing::{error, info};

use super::StartError;

/// An access log that is open.
pub struct AccessLog {
    target: Target,
    format: Format,
    writer: LogWriter,
}

/// Where access lines go, by configuration; none for no log.
pub fn target(log: &model::Log) -> Option<Target> {
    match &log.access {
        model::AccessLog::Off => None,
        model::AccessLog::Stdout => Some(Target::Stdout),
        model::AccessLog::File(path) => Some(Target::File(path.clone())),
    }
}

impl AccessLog {
    /// Opens the log; none when it is off.
    ///
    /// # Errors
    /// Names the file, the cause and what to do.
    pub fn open(log: &model::Log) -> Result<Option<AccessLog>, StartError> {
        let Some(target) = target(log) else {
            return Ok(None);
        };
        let writer = LogWriter::start(target.clone(), say).map_err(|error| {
            let to = match &target {
                Target::Stdout => "standard output".to_owned(),
                Target::File(path) => path.display().to_string(),
            };
            StartError::new(format!("the access log cannot be written to {to}: {error}"))
                .help("create its directory and let this user write there, or change [log] access")
        })?;
        Ok(Some(AccessLog {
            target,
            format: format(log),
            writer,
        }))
    }

    /// Whether lines go to this target.
    pub fn writes_to(&self, target: Option<&Target>) -> bool {
        target == Some(&self.target)
    }

    /// Changes how lines look in buffers made from now on.
    pub fn set_format(&mut self, log: &model::Log) {
        self.format = format(log);
    }

    /// A worker's end.
    pub fn buffer(&self) -> LogBuffer {
        self.writer.buffer(self.format)
    }

    /// Opens the file anew, after it was rotated away.
    ///
    /// # Errors
    /// When it cannot be opened; lines then go where they went before.
    pub fn reopen(&self) -> io::Result<()> {
        self.writer.reopen()
    }

    /// Writes that failed.
    pub fn failed_writes(&self) -> u64 {
        self.writer.failed_writes()
    }

    /// Writes out what workers have handed over, and closes.
    pub fn close(self) {
        self.writer.stop();
    }
}

fn say(state: WriterState) {
    match state {
        WriterState::Failing(error) => error!(
            %error,
            "the access log cannot be written: lines are lost until it can; look at the disk and the directory"
        ),
        WriterState::Recovered => info!("the access log is written again"),
    }
}

fn format(log: &model::Log) -> Format {
    match log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Combined,
    }
}
