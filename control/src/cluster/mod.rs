//! Limits that nodes share through Redis or Valkey: the node leases tokens there for all its
//! cores, as the cores lease them from the node. Requests never wait for the server: they use
//! what has been leased, and while it is away each node admits its own share.

mod board;
mod keeper;
mod limit;
mod link;
mod question;
mod script;
mod session;
mod share;
mod tally;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use board::Board;
pub(crate) use keeper::Keeper;
pub use url::{Url, UrlError};

/// A server, and the limits that are shared through it.
#[derive(Clone)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it is.
    pub url: Url,
    /// Nodes that share limits through it: each admits its part of a limit while it is away.
    pub nodes: u32,
    /// For connecting, and for each answer.
    pub timeout: Duration,
    /// The limits.
    pub supplies: Vec<Arc<dyn Supply>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies: Vec<&str> = self.supplies.iter().map(|supply| supply.policy()).collect();
        write!(f, "Cluster({:?}, {}, {policies:?})", self.name, self.url)
    }
}

/// A limit whose tokens come from a server, in the hands of the data plane. Every method may
/// be called while requests are decided.
pub trait Supply: Send + Sync {
    /// The filter's name: the same on every node that shares its limits.
    fn policy(&self) -> &str;

    /// Which of the policy's limits this is: the same number on every node.
    fn position(&self) -> usize;

    /// Tells the ledger behind it from others: a session goes on over reloads that keep it.
    fn identity(&self) -> usize;

    /// What is allowed.
    fn terms(&self) -> Terms;

    /// How often accounts are settled.
    fn reconcile(&self) -> Duration;

    /// Tokens of one key that this node admits before the first answer, as a debt.
    fn credit(&self) -> u64;

    /// A grant of a key is over: what is left of it is among what [`Supply::wants`] takes out
    /// next.
    fn end_grant(&self, hash: u64);

    /// Takes out what keys ask for, owe and give back: a bounded number of them at a time.
    fn wants(&self, see: &mut dyn FnMut(Want));

    /// Answers a question. Every one that asks for tokens or owes some is answered: by the server, or while that is away out of
    /// the node's share.
    fn grant(&self, grant: Grant);
}

/// What is allowed of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How it is counted.
    pub algorithm: Algorithm,
    /// Tokens for each `per`.
    pub limit: u64,
    /// A window's length.
    pub per: Duration,
    /// Tokens beyond `limit` that a key which was quiet may use at once; token buckets only.
    pub burst: u64,
}

/// How tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A bucket of `burst` tokens into which `limit` flow for each `per`.
    TokenBucket,
    /// `limit` from each multiple of `per` to the next.
    FixedWindow,
    /// `limit` in any stretch of `per`.
    SlidingWindow,
}

/// What a key asks for and owes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// The key: the same on every node.
    pub hash: u64,
    /// Tokens that it would like to have.
    pub asked: u64,
    /// Tokens that were granted, and neither are used nor will be: they go back.
    pub back: u64,
    /// No later than the end of any grant that they are of.
    pub ended: Option<Instant>,
    /// Tokens that were used without a grant.
    pub debt: u64,
}

impl Want {
    /// Whether an answer is waited for: what only gives back gets none.
    fn is_question(&self) -> bool {
        (self.asked, self.debt) != (0, 0)
    }
}

/// What a key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub hash: u64,
    /// Tokens; perhaps none.
    pub tokens: u64,
    /// They are good until then; what is left goes back.
    pub until: Instant,
    /// The debt that this settles.
    pub debt: u64,
    /// When there may be more: nothing is to be asked for earlier.
    pub next: Instant,
}

/// Whether a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Answers,
    /// It does not, or has not yet.
    Away,
}

impl Terms {
    /// What `nodes` nodes together admit of one key within any `per` at most, when each may
    /// admit `credit` before the first answer. While this node's server is away others may
    /// still have it: then this is one of `nodes - 1` at most that are cut off, each with its
    /// share.
    pub fn bound(&self, nodes: u32, credit: u64, presence: Presence) -> u64 {
        let nodes = u64::from(nodes.max(1));
        let whole = self.limit.saturating_add(self.burst);
        let ahead = whole.saturating_add(nodes.saturating_mul(credit));
        match presence {
            Presence::Answers => ahead,
            Presence::Away => ahead.saturating_add(whole / nodes * (nodes - 1)),
        }
    }
}

/// For how many turns of `reconcile` leased tokens are good, counted from the question: one for
/// the answer to come, one to use them in, one for a turn that comes late.
const LEASE_TURNS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_documentation() {
        let terms = Terms {
            algorithm: Algorithm::TokenBucket,
            limit: 1_000,
            per: Duration::from_secs(1),
            burst: 200,
        };
        assert_eq!(terms.bound(3, 40, Presence::Answers), 1_200 + 3 * 40);
        assert_eq!(terms.bound(3, 40, Presence::Away), 1_200 + 3 * 40 + 800);
        assert_eq!(
            terms.bound(1, 40, Presence::Away),
            1_200 + 40,
            "nobody else"
        );
    }
}
