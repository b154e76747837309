//! Quotas over days and months: what the data plane has counted is written to a file once a
//! second, so that a restart goes on where the former process ended. The file is read before
//! traffic comes; losing it later costs the counts, never the traffic.

mod board;
mod keeper;
mod row;
mod store;
mod window;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub(crate) use keeper::Keeper;
pub use store::{Store, StoreError};
pub use window::Window;

/// What one quota filter has counted, in the hands of the data plane. Every method may be
/// called while requests are counted.
pub trait Book: Send + Sync {
    /// What is allowed within a window.
    fn terms(&self) -> Terms;

    /// Shows every key in use to `see`; keys whose window is over may be left out.
    fn each(&self, see: &mut dyn FnMut(Count));

    /// Takes out the readable text of a key that was seen for the first time; `None` when there
    /// is none left. A key whose text was lost (the queue of them is bounded) is stored under
    /// its hash.
    fn take_name(&self) -> Option<(u64, Box<str>)>;

    /// Puts back what a key had used before a restart. A window that is over is none.
    fn restore(&self, count: Count);

    /// Lets a key begin its window anew. Tells whether there was such a key.
    fn reset(&self, hash: u64) -> Reset;
}

/// What is allowed within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How much of the weight of requests.
    pub limit: u64,
    /// Within what.
    pub window: Window,
}

/// What one key has used of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The key: the same for the same filter and request in every process.
    pub hash: u64,
    /// When the window began, in seconds since 1970, UTC.
    pub window: u64,
    /// The weight of the requests admitted since.
    pub used: u64,
}

/// What came of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The key begins anew.
    Done,
    /// No such key has been counted in this window.
    Unknown,
}

/// A quota filter of the configuration in force.
#[derive(Clone)]
pub struct Quota {
    /// The filter's name.
    pub filter: Box<str>,
    /// What it has counted.
    pub book: Arc<dyn Book>,
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filter, book } = self;
        write!(f, "Quota({filter:?}, {:?})", book.terms())
    }
}

/// Quotas as the node keeps them, for [`crate::Node::quotas`].
#[derive(Debug, Clone)]
pub struct Quotas {
    /// Where counts outlive the process.
    pub store: Arc<Store>,
    /// The filters.
    pub quotas: Vec<Quota>,
}

/// What one key has used, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The key's readable text.
    pub key: Box<str>,
    /// The weight of the requests admitted in this window.
    pub used: u64,
    /// What the filter allows.
    pub limit: u64,
    /// What is left.
    pub left: u64,
    /// When the window began, UTC.
    pub since: String,
    /// When the next one begins, UTC.
    pub until: String,
}
