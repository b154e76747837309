//! Where values come from that a configuration refers to instead of holding them.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Answers the references of a configuration: `${env:NAME}`, `${file:PATH}` and
/// `${command:PROGRAM ARGUMENT...}`. Each is asked once a load. Why something has no value must
/// be said without any part of one.
pub trait References {
    /// The value of an environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// What a file holds.
    ///
    /// # Errors
    /// Why it cannot be read, in a clause.
    fn file(&self, path: &Path) -> Result<Secret, String> {
        read(path)
    }

    /// What a program writes. The words are never empty; no shell has seen them.
    ///
    /// # Errors
    /// What went wrong, and what to do.
    fn command(&self, words: &[&str]) -> Result<String, NotRun>;
}

/// Why a command has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// Commands are not run here; how to have them run.
    Unasked(&'static str),
    /// It went wrong, in a clause.
    Failed(String),
}

/// What stands in a file, and who may read it.
pub struct Secret {
    /// All of it.
    pub text: String,
    /// As `chmod` writes it.
    pub mode: u32,
}

/// A value that is longer was not meant to be one.
pub const VALUE_LEN_MAX: usize = 64 << 10;

/// References to the environment and to files.
pub(crate) struct EnvAndFiles<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl References for EnvAndFiles<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn command(&self, _: &[&str]) -> Result<String, NotRun> {
        Err(NotRun::Unasked("no command is run here"))
    }
}

fn read(path: &Path) -> Result<Secret, String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    // Opening a pipe or a terminal could wait for ever.
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(VALUE_LEN_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > VALUE_LEN_MAX {
        return Err(format!("it is larger than {} KiB", VALUE_LEN_MAX >> 10));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(Secret {
        text,
        mode: found.permissions().mode() & 0o7777,
    })
}
