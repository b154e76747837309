//! What the control plane reads of a ledger and writes into it: accounts of keys.

use std::sync::atomic::Ordering;

use ringgate_core::rt::clock::Moment;

use super::calendar::Window;
use super::ledger::{Ledger, nonzero};
use super::numbers::{Kind, Numbers, SUBS};
use super::table::{Placed, Slot, patiently};
use super::{bucket, fixed, granted, sliding};

/// The account of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's hash.
    pub hash: u64,
    /// Tokens in use.
    pub used: u64,
    /// Of so many.
    pub limit: u64,
    /// The aligned window's number; 0 for algorithms without.
    pub window: u64,
    /// When nothing will be in use any more, unless more is asked for.
    pub free_at: Moment,
}

impl Ledger {
    /// Visits the keys that have used something, in no order. For the control plane.
    pub fn entries(&self, now: Moment, mut visit: impl FnMut(Entry)) {
        for slot in self.table.slots() {
            let hash = self.table.key(slot).load(Ordering::Acquire);
            let word = (hash != 0)
                .then(|| self.table.word_of(slot, hash))
                .flatten();
            let Some(word) = word else { continue };
            let entry = self.entry(slot, hash, word, now);
            if entry.used > 0 {
                visit(entry);
            }
        }
    }

    /// The account of one key; `None` when nothing is known of it.
    pub fn entry_of(&self, hash: u64, now: Moment) -> Option<Entry> {
        let slot = self.table.find(nonzero(hash))?;
        let word = self.table.word_of(slot, nonzero(hash))?;
        Some(self.entry(slot, hash, word, now))
    }

    fn entry(&self, slot: Slot, hash: u64, word: u64, now: Moment) -> Entry {
        let numbers = self.numbers.load();
        let most = numbers.limit.limit + numbers.limit.burst;
        let (used, limit, window, free_at) = match &numbers.kind {
            Kind::Bucket(pace) => {
                let (used, free_at) = bucket::used(&numbers, pace, word, now);
                // The bucket lets one token more than its burst be in use.
                (used, numbers.limit.burst + 1, 0, free_at)
            }
            Kind::Fixed(fixed) => {
                let window = self.window_of(&numbers, now);
                let used = fixed::used(word, &window);
                (used, fixed.cap, window.number, window.end)
            }
            Kind::Sliding(kind) => {
                let sub = numbers.sub_window(now);
                let used = sliding::used(word, sub, self.table.extra(slot));
                (used * kind.grain, most, 0, numbers.begin_of(sub + SUBS))
            }
            Kind::Granted(_) => {
                let parts = granted::Parts::of(word, now);
                let owed = (-parts.balance).max(0) as u64;
                (owed, most, 0, Moment(now.0 + numbers.life))
            }
        };
        Entry {
            hash,
            used,
            limit,
            window,
            free_at,
        }
    }

    /// Sets what a key has used in an aligned window, as a store remembers it: never less than
    /// is known here. Nothing happens when that window is over, or when the ledger has no
    /// aligned windows. For the control plane.
    pub fn restore(&self, hash: u64, window: u64, used: u64, now: Moment) {
        self.rewrite(hash, now, |numbers, here, _, word| {
            let is_fixed = matches!(numbers.kind, Kind::Fixed(_));
            let is_more = used > fixed::used(word, here);
            (is_fixed && here.number == window && is_more).then(|| fixed::word(here.number, used))
        });
    }

    /// Forgets what a key has used; tells whether anything was known of it. Leases of it stay
    /// good until they run out. What nodes share is not forgotten: the store has the account.
    /// For the control plane.
    pub fn reset(&self, hash: u64, now: Moment) -> bool {
        if self.table.find(nonzero(hash)).is_none() {
            return false;
        }
        self.rewrite(hash, now, |numbers, here, slot, _| match &numbers.kind {
            Kind::Fixed(_) => Some(fixed::word(here.number, 0)),
            Kind::Bucket(_) => Some(bucket::fresh(numbers, now)),
            Kind::Sliding(_) => {
                let sub = numbers.sub_window(now);
                Some(sliding::reset(sub, self.table.extra(slot)))
            }
            Kind::Granted(_) => None,
        });
        true
    }

    /// Replaces the word of a key by what `by` says, if anything.
    fn rewrite(
        &self,
        hash: u64,
        now: Moment,
        by: impl Fn(&Numbers, &Window, Slot, u64) -> Option<u64>,
    ) {
        let numbers = self.numbers.load();
        let window = self.window_of(&numbers, now);
        let key = nonzero(hash);
        let _ = patiently(|| {
            let slot = match self.table.find(key) {
                Some(slot) => slot,
                None => match self.place(&numbers, &window, hash, now)? {
                    Placed::Known(slot) | Placed::New(slot) => slot,
                    Placed::Full | Placed::Late(_) => return Some(()),
                },
            };
            let word = self.table.word_of(slot, key)?;
            match by(&numbers, &window, slot, word) {
                Some(by) => self.table.swap(slot, key, word, by).then_some(()),
                None => Some(()),
            }
        });
    }
}
