//! What an origin has seen, thread by thread: each thread writes its own counts, anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counts {
    /// Connections so far.
    pub accepted: Count,
    /// Requests answered so far.
    pub requests: Count,
    /// Connections now.
    pub open: Count,
}

/// A number that one thread changes.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn up(&self) {
        self.set(self.value() + 1);
    }

    /// Takes one off.
    pub fn down(&self) {
        self.set(self.value().saturating_sub(1));
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What `GET /-/stats` answers.
#[derive(Debug, Serialize)]
pub struct Totals {
    accepted: u64,
    requests: u64,
    open: u64,
}

impl Totals {
    /// The sums over all threads.
    pub fn of(counts: &[Counts]) -> Totals {
        let sum = |of: fn(&Counts) -> &Count| counts.iter().map(|counts| of(counts).value()).sum();
        Totals {
            accepted: sum(|counts| &counts.accepted),
            requests: sum(|counts| &counts.requests),
            open: sum(|counts| &counts.open),
        }
    }
}

/// A connection's place in the counts: one that only ever asks for them has none.
#[derive(Debug)]
pub struct Counted<'c> {
    counts: &'c Counts,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Counted, but it has not asked for anything yet.
    New,
    /// Counted for good.
    In,
    /// Not counted: it has looked at the counts, nothing else.
    Out,
}

impl<'c> Counted<'c> {
    /// Enters a connection.
    pub fn enter(counts: &'c Counts) -> Counted<'c> {
        counts.accepted.up();
        counts.open.up();
        Counted {
            counts,
            standing: Standing::New,
        }
    }

    /// It has made a request that counts.
    pub fn has_asked(&mut self) {
        if self.standing == Standing::Out {
            self.counts.accepted.up();
            self.counts.open.up();
        }
        self.standing = Standing::In;
    }

    /// It has asked for the counts.
    pub fn has_looked(&mut self) {
        if self.standing == Standing::New {
            self.counts.accepted.down();
            self.counts.open.down();
            self.standing = Standing::Out;
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.standing != Standing::Out {
            self.counts.open.down();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(counts: &Counts) -> [u64; 2] {
        [counts.accepted.value(), counts.open.value()]
    }

    #[test]
    fn looking_at_the_counts_does_not_change_them() {
        let counts = Counts::default();
        let mut looker = Counted::enter(&counts);
        looker.has_looked();
        assert_eq!(totals(&counts), [0, 0]);
        looker.has_asked();
        looker.has_looked();
        assert_eq!(totals(&counts), [1, 1]);
        drop(looker);
        assert_eq!(totals(&counts), [1, 0]);
    }
}
