//! Why a gateway did not start, and what to do about it.

use std::fmt;

use crate::checked::Refused;

/// Why a gateway did not start.
pub enum NotStarted {
    /// The configuration cannot run.
    Refused(Refused),
    /// Something could not be had.
    Failed(StartError),
}

impl From<Refused> for NotStarted {
    fn from(refused: Refused) -> NotStarted {
        NotStarted::Refused(refused)
    }
}

impl From<StartError> for NotStarted {
    fn from(error: StartError) -> NotStarted {
        NotStarted::Failed(error)
    }
}

/// What could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    what: String,
    help: Option<String>,
}

impl StartError {
    /// What happened, and where.
    pub fn new(what: impl Into<String>) -> StartError {
        StartError {
            what: what.into(),
            help: None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> StartError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.help {
            Some(help) => write!(f, "\n  try: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}
