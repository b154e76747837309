//! The ledgers of a process: kept across reloads by the names of their filters.
#![allow(
    clippy::disallowed_types,
    reason = "the registry is for the control plane; workers hold their ledgers"
)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringgate_core::rt::clock::Moment;

use super::ledger::{Ledger, LedgerSpec, Place};

/// Ledgers by filter and position.
#[derive(Debug)]
pub struct Ledgers {
    cores: usize,
    seed: u64,
    own_seed: u64,
    unix_offset: Arc<AtomicI64>,
    known: Mutex<Known>,
}

/// Whether others must come to the same hashes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    Wanted,
    Needless,
}

/// A ledger lives as long as a snapshot that refers to it.
type Known = BTreeMap<(Box<str>, usize), Weak<Ledger>>;

/// Numbers of ledgers, each used once in a process.
static SERIALS: AtomicU64 = AtomicU64::new(1);

impl Ledgers {
    /// Ledgers for `cores` data-plane threads. Keys are hashed with `seed` where others have to
    /// come to the same hashes: nodes that share limits, and stores that outlive the process.
    /// All other keys are hashed with a number that nobody can know.
    pub fn new(cores: usize, seed: u64) -> Ledgers {
        Ledgers {
            cores,
            seed,
            own_seed: RandomState::new().hash_one(seed),
            unix_offset: Arc::new(AtomicI64::new(0)),
            known: Mutex::default(),
        }
    }

    /// What keys are hashed with.
    pub(super) fn seed(&self, agreement: Agreement) -> u64 {
        match agreement {
            Agreement::Wanted => self.seed,
            Agreement::Needless => self.own_seed,
        }
    }

    /// Tells the wall time, in milliseconds since the UNIX epoch, which days and months go by.
    /// Called at start, and again as the wall clock is corrected.
    pub fn set_wall(&self, unix_ms: u64, now: Moment) {
        let offset = unix_ms as i64 - (now.0 / 1_000_000) as i64;
        self.unix_offset.store(offset, Ordering::Relaxed);
    }

    /// The ledger of a filter's limit. The same name, position, key and algorithm have the same
    /// ledger as long as anything holds it; other numbers are taken over by `RateLimit::hold`,
    /// when what asks for them is put in force, and what keys have used stays used.
    pub fn ledger(
        &self,
        name: &str,
        position: usize,
        key: &str,
        spec: &LedgerSpec,
        now: Moment,
    ) -> Arc<Ledger> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, ledger| ledger.strong_count() > 0);
        let id = (name.into(), position);
        if let Some(ledger) = known.get(&id).and_then(Weak::upgrade)
            && ledger.serves(key, spec)
        {
            return ledger;
        }
        let held: Vec<usize> = known
            .values()
            .filter_map(Weak::upgrade)
            .map(|ledger| ledger.index)
            .collect();
        let free = (0..).find(|index| !held.contains(index)).unwrap_or(0);
        let place = Place {
            name,
            position,
            key,
            index: free,
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
        };
        let ledger = Arc::new(Ledger::new(place, spec, self.cores, &self.unix_offset, now));
        known.insert(id, Arc::downgrade(&ledger));
        ledger
    }

    /// Has a ledger be the one of its filter's limit again, with these numbers.
    pub(super) fn hold(&self, ledger: &Arc<Ledger>, spec: &LedgerSpec, now: Moment) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.adopt(spec, now);
        let id = (ledger.name().into(), ledger.position());
        known.insert(id, Arc::downgrade(ledger));
    }

    /// The ledgers that are alive, in the order of names.
    pub fn all(&self) -> Vec<Arc<Ledger>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(Weak::upgrade).collect()
    }

    /// The ledger of a filter's limit, if it is alive.
    pub fn find(&self, name: &str, position: usize) -> Option<Arc<Ledger>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(name.into(), position))?.upgrade()
    }
}
