//! What concerns the node as a whole: its place, when it refuses work, and what it shares or
//! keeps.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Name;
use crate::Spanned;

/// `[node]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Endpoints of the same zone go first; `None` prefers none.
    pub zone: Option<Spanned<Name>>,
}

/// `[overload]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overload {
    /// Lateness of a worker's loop at which requests of low urgency are refused; `None` is never.
    pub lag_max: Option<Duration>,
    /// Resident bytes of the process at which they are; `None` is never.
    pub memory_max: Option<u64>,
}

/// `[redis.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The key under `redis`.
    pub name: Spanned<Name>,
    /// `redis://` or `rediss://`, perhaps with a password.
    pub url: Secret,
    /// Nodes that share limits through it; at least 1.
    pub nodes: u32,
    /// For one exchange with it.
    pub timeout: Duration,
}

/// `[quotas]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// The file that keeps what was used.
    pub store: Spanned<PathBuf>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) Box<str>);

impl Secret {
    /// The text itself, for whom it is meant.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
