//! What keeps failures of origins small: breakers, ejection, budgets and limits of concurrency.
//! State that cores share is atomic, `now` is an argument, and nothing here does I/O.
//!
//! Cores count for themselves with plain stores. Whoever notices that it is time looks at the
//! counts of all and decides for all with one exchange of a word.

pub mod adaptive;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod canary;
pub mod concurrency;
pub mod hedge;
pub mod outlier;
pub mod retry;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

use crate::error::{Fault, Origin};

pub use window::Counts;

/// How one attempt ended, as far as its origin is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 500.
    Good {
        /// From the request to the response head.
        head_after: Duration,
    },
    /// An answer of 500 or above that the origin made itself, or one that broke off.
    Failed {
        /// From the request to the response head, where there was one.
        head_after: Option<Duration>,
    },
    /// No answer, or one that says that what is behind the origin gave none: a connection that
    /// failed or was reset, a timeout, 502, 503 and 504.
    Unreachable,
    /// Nothing that the origin can be blamed or praised for: the client left, or the attempt
    /// was cancelled.
    Neutral,
}

impl Outcome {
    /// What an answer of this status is.
    pub fn of_status(status: u16, head_after: Duration) -> Outcome {
        match status {
            502..=504 => Outcome::Unreachable,
            500.. => Outcome::Failed {
                head_after: Some(head_after),
            },
            _ => Outcome::Good { head_after },
        }
    }

    /// What an attempt is that ended in a fault.
    pub fn of_fault(fault: Fault) -> Outcome {
        match fault.row().origin {
            // No endpoint was asked.
            _ if fault == Fault::NoEndpoint => Outcome::Neutral,
            Origin::Upstream => Outcome::Unreachable,
            // The total limit was used up while the origin had the request.
            Origin::Internal if fault == Fault::RequestTimeout => Outcome::Unreachable,
            Origin::Downstream | Origin::Internal => Outcome::Neutral,
        }
    }

    /// Whether the origin failed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Outcome::Failed { .. } | Outcome::Unreachable)
    }

    /// From the request to the response head, where there was one.
    pub const fn head_after(self) -> Option<Duration> {
        match self {
            Outcome::Good { head_after } => Some(head_after),
            Outcome::Failed { head_after } => head_after,
            Outcome::Unreachable | Outcome::Neutral => None,
        }
    }
}
