//! Counts by key that all cores share: places taken ([`Counts`]) and rates ([`Rates`]), without a
//! lock and in memory that was taken once.
//!
//! A key's hash leads to one set of a cache line: seven words for keys, and one that newcomers
//! share while all seven are in use. A word is free as soon as its count is zero, or its bucket
//! full: what is forgotten with it is worth nothing, so forgetting never grants. Everybody writes
//! first and adds up afterwards; of two cores that take the last place at once at most one keeps
//! it.

mod table;

use std::time::Duration;

use crate::rt::clock::{Moment, Stamp};
use std::sync::atomic::{AtomicU64, Ordering};
use table::{Entry, Table};

/// Places taken, by key.
#[derive(Debug)]
pub struct Counts {
    /// 40 bits tell keys of a set apart.
    table: Table<COUNT_BITS>,
    seed: u64,
    keys_max: usize,
}

/// A place in [`Counts`]; it has to be given back.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Place(Entry);

const COUNT_BITS: u32 = 24;

impl Counts {
    /// The largest number of places of a key.
    pub const MAX: u32 = (1 << COUNT_BITS) - 2;

    /// A table for `keys_max` keys that have places at the same time: 21 to 43 bytes each. With
    /// more keys, and rarely with fewer, newcomers share a count with other newcomers.
    pub fn new(keys_max: usize) -> Counts {
        Counts {
            table: Table::new(keys_max),
            seed: seed(),
            keys_max,
        }
    }

    /// What keys are to be hashed with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of keys that it was made for.
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Takes a place of a key unless `max` are taken.
    #[inline]
    pub fn try_enter(&self, hash: u64, max: u32) -> Option<Place> {
        let most = u64::from(max.min(Counts::MAX));
        for _ in 0..TRIES_MAX {
            match self.table.add(hash, 0, 1, most) {
                table::Added::Yes(entry) => return Some(Place(entry)),
                table::Added::No => return None,
                // Somebody did the same at this moment. Both give way and try again.
                table::Added::Contested(entry) => self.table.take_back(entry, 1),
            }
        }
        None
    }

    /// Gives a place back.
    #[inline]
    pub fn leave(&self, Place(entry): Place) {
        self.table.take_back(entry, 1);
    }

    /// Places taken of a key: at least as many as there are.
    pub fn taken(&self, hash: u64) -> u32 {
        self.table.load(hash, 0) as u32
    }
}

/// Attempts of a core that meets another one at the same key.
const TRIES_MAX: u32 = 8;

/// Rates by key: a bucket of tokens each (GCRA).
#[derive(Debug)]
pub struct Rates {
    /// 16 bits tell keys of a set apart: one of ten thousand shares its bucket.
    table: Table<TIME_BITS>,
}

/// Nine years of [`UNIT_SHIFT`] units.
const TIME_BITS: u32 = 48;
/// The unit of time: 1,024 nanoseconds.
const UNIT_SHIFT: u32 = 10;

/// What a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSpec {
    /// Nanoseconds between two tokens, at least one.
    interval: u64,
    /// Tokens of a full bucket, at least one.
    burst: u32,
}

impl RateSpec {
    /// `limit` tokens, at least one, in `per`, and `burst` of them at once: zero is `limit`.
    pub fn new(limit: u32, per: Duration, burst: u32) -> RateSpec {
        let nanos = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        RateSpec {
            interval: nanos.div_ceil(u64::from(limit.max(1))).max(1),
            burst: match burst {
                0 => limit.max(1),
                burst => burst,
            },
        }
    }

    /// The time that a full bucket stands for.
    fn depth(self, interval: u64) -> u64 {
        interval.saturating_mul(u64::from(self.burst))
    }
}

impl Rates {
    /// A table for `keys_max` keys whose buckets are not full at the same time, as
    /// [`Counts::new`].
    pub fn new(keys_max: usize) -> Rates {
        Rates {
            table: Table::new(keys_max),
        }
    }

    /// Takes a token of a key; tells whether there was one. Intervals are rounded up to 1,024
    /// nanoseconds.
    #[inline]
    pub fn try_take(&self, hash: u64, spec: RateSpec, now: Moment) -> bool {
        let interval = spec.interval.div_ceil(1 << UNIT_SHIFT);
        let now = now.0 >> UNIT_SHIFT;
        // What a contest costs stays spent: a token given back could be one that somebody else
        // has paid for since.
        matches!(
            self.table.add(hash, now, interval, spec.depth(interval)),
            table::Added::Yes(_)
        )
    }
}

/// One rate of all cores.
#[derive(Debug, Default)]
pub struct Rate(AtomicU64);

impl Rate {
    /// Takes a token; tells whether there was one.
    pub fn try_take(&self, spec: RateSpec, now: Moment) -> bool {
        let depth = spec.depth(spec.interval);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_until| {
                let next = paid_until.max(now.0).saturating_add(spec.interval);
                (next - now.0 <= depth).then_some(next)
            });
        taken.is_ok()
    }
}

/// Peers must not be able to choose addresses or names that meet in one set.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = ahash::RandomState::new().build_hasher();
    hasher.write_u64(Stamp::now().moment().0);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
