//! Figures of Ringgate alone, one file each, and what they share.

pub mod load;
pub mod skew;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;

use crate::fault::{Fault, Result};
use crate::gateway::Binary;

/// Which gateway is measured.
#[derive(Debug, Args)]
pub struct Subject {
    /// The gateway to measure; without it, the release build beside this program, which cargo
    /// builds if it is not there.
    #[arg(long, value_name = "FILE", env = "RINGGATE_BINARY")]
    gateway: Option<PathBuf>,
}

impl Subject {
    /// Finds it.
    ///
    /// # Errors
    /// When there is none, or it is a debug build.
    pub fn find(&self) -> Result<Binary> {
        Binary::find(self.gateway.as_deref())
    }
}

/// A directory that goes away with everything in it. It must outlive the processes that use it:
/// as a variable it is declared before them, as a field after them.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new one.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn new() -> Result<Scratch> {
        let made = tempfile::Builder::new().prefix("ringgate-bench-").tempdir();
        made.map(Scratch)
            .map_err(|error| Fault::io("make a scratch directory", &error))
    }

    /// A directory for one process.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn room(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir(&path).map_err(|error| Fault::io("make a scratch directory", &error))?;
        Ok(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
