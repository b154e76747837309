//! Why there is no figure.

use std::fmt;
use std::io;

/// The outcome of a step towards a figure.
pub type Result<T> = std::result::Result<T, Fault>;

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Something that the bench needs is absent or does not work: what, and what to try.
    Setup(String),
    /// What was measured is not what the figure claims: every premise that did not hold.
    Premise(String),
    /// SIGINT, SIGTERM or SIGHUP came.
    Interrupted,
}

impl Fault {
    /// A failure of the system while `doing` something.
    pub fn io(doing: &str, error: &io::Error) -> Fault {
        Fault::Setup(format!("cannot {doing}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Setup(what) => f.write_str(what),
            Fault::Premise(what) => write!(f, "no figure, because a premise failed:\n{what}"),
            Fault::Interrupted => {
                f.write_str("interrupted; everything that was started is stopped")
            }
        }
    }
}
