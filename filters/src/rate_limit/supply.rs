//! Limits that nodes share: what the control plane carries between a ledger and the store.
//!
//! A ledger of this kind issues what the store has granted to the node, and a little on credit,
//! so that no request waits for the store. Keys that run low are noted here; the control plane
//! fetches them a few hundred times a second, asks the store, and enters its grants. While the
//! store is away, [`Alone`] grants each node its share instead. What grants and leases leave is
//! noted here too, and told to the store with the next question.
//!
//! # The bound
//! While the store is there, it grants `limit + burst`, and each node may have its credit
//! beside: `limit + burst + nodes * credit` in all. While it is away there are the shares, of
//! `max(1, limit / nodes)` each, the burst, and the credits. A window in which it goes or comes
//! holds at most both: what the store had granted before and what the shares grant after.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam::queue::ArrayQueue;
use ringgate_core::rt::clock::Moment;

use super::granted::{Asked, Unused};
use super::ledger::{Answered, Ask, Ledger, LedgerSpec, Place, nonzero};
use super::numbers::Kind;

/// Keys that ask, and what others have left.
#[derive(Debug)]
pub(super) struct Supply {
    asking: ArrayQueue<u64>,
    unused: ArrayQueue<(u64, Unused)>,
}

/// What a key asks the store for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The key's hash.
    pub hash: u64,
    /// Tokens, those of `debt` among them.
    pub amount: u64,
    /// Tokens that have been admitted on credit.
    pub debt: u64,
    /// Tokens that were granted and neither are used nor will be.
    pub back: u64,
    /// No later than the end of any grant that they are of.
    pub ended: Moment,
}

/// Keys that may wait; what does not fit asks again with its next request.
const ASKING_MAX: usize = 16 * 1024;
/// What may wait to go back; the rest is lost to the limit.
const UNUSED_MAX: usize = 16 * 1024;

impl Supply {
    pub(super) fn new() -> Supply {
        Supply {
            asking: ArrayQueue::new(ASKING_MAX),
            unused: ArrayQueue::new(UNUSED_MAX),
        }
    }

    /// Takes note of what goes back.
    pub(super) fn take_back(&self, hash: u64, unused: Option<Unused>) {
        if let Some(unused) = unused {
            // When the queue is full it is lost, which errs to the side of the limit.
            let _ = self.unused.push((hash, unused));
        }
    }

    /// What waits to go back, by key.
    fn backs(&self) -> HashMap<u64, Unused> {
        let mut backs = HashMap::new();
        for _ in 0..self.unused.len() {
            let Some((hash, unused)) = self.unused.pop() else {
                break;
            };
            let all = backs.entry(hash).or_insert(Unused {
                tokens: 0,
                ended: unused.ended,
            });
            all.tokens = all.tokens.saturating_add(unused.tokens);
            all.ended = all.ended.min(unused.ended);
        }
        backs
    }

    /// Takes note of what a core was answered.
    pub(super) fn note(&self, ledger: &Ledger, ask: &Ask, answered: Answered) {
        let tokens = match answered {
            Answered::Granted { tokens, .. } => tokens,
            Answered::Refused { .. } => ask.need,
            Answered::Crowded => return,
        };
        let hash = nonzero(ask.hash);
        let Some(slot) = ledger.table.find(hash) else {
            return;
        };
        let demand = &ledger.table.extra(slot)[0];
        let demanded = demand.fetch_add(u64::from(tokens), Ordering::Relaxed) + u64::from(tokens);
        let mut is_first = false;
        let turned = std::cell::Cell::new(false);
        ledger.change_granted(hash, ask.now, |mut parts| {
            let is_low = parts.balance < demanded.min(i64::MAX as u64) as i64;
            turned.set(is_low && parts.asked == Asked::No);
            if turned.get() {
                parts.asked = Asked::Yes;
            }
            parts
        });
        is_first |= turned.get();
        if is_first && self.asking.push(hash).is_err() {
            ledger.change_granted(hash, ask.now, |mut parts| {
                parts.asked = Asked::No;
                parts
            });
        }
    }
}

impl Ledger {
    /// Visits the keys that ask the store for tokens, each once until [`Ledger::grant`] answers
    /// it, and those that only have something to give back: these ask for nothing, and get no
    /// answer. For the control plane.
    pub fn wants(&self, now: Moment, mut visit: impl FnMut(Want)) {
        let Some(supply) = self.supply() else { return };
        let mut backs = supply.backs();
        // Those that come meanwhile have their turn next time.
        for _ in 0..supply.asking.len() {
            let Some(hash) = supply.asking.pop() else {
                break;
            };
            let Some(slot) = self.table.find(hash) else {
                continue;
            };
            let demanded = self.table.extra(slot)[0].swap(0, Ordering::Relaxed);
            let mut balance = 0;
            self.change_granted(hash, now, |parts| parts)
                .and_then(|slot| self.table.word_of(slot, hash))
                .inspect(|word| balance = super::granted::Parts::of(*word, now).balance);
            let debt = (-balance).max(0) as u64;
            // As much as was used since the last time, on top of what is owed, but for what the
            // credit will bear: tokens that were granted in vain are lost.
            let spare = balance.max(0) as u64 + self.credit();
            let ahead = demanded.saturating_sub(spare);
            let back = backs.remove(&hash);
            visit(Want {
                hash,
                amount: (debt + ahead).max(1),
                debt,
                back: back.map_or(0, |back| back.tokens),
                ended: back.map_or(now, |back| back.ended),
            });
        }
        for (hash, back) in backs {
            visit(Want {
                hash,
                amount: 0,
                debt: 0,
                back: back.tokens,
                ended: back.ended,
            });
        }
    }

    /// Has what is left of a grant that is over go back with the next [`Ledger::wants`]. For the
    /// control plane, once a grant's time is over.
    pub fn end_grant(&self, hash: u64, now: Moment) {
        self.change_granted(hash, now, |parts| parts);
    }

    /// Enters what the store has granted to a key: that many tokens, zero when it has none,
    /// which are good until a moment. They first pay what is owed. With zero the moment is the
    /// one from which there may be some: clients are told. For the control plane.
    pub fn grant(&self, hash: u64, tokens: u64, until: Moment, now: Moment) {
        self.change_granted(hash, now, |parts| parts.granted(tokens, until, now));
    }

    /// Tokens of one key that a node may admit before the store has granted them; 0 when nodes
    /// do not share the limit.
    pub fn credit(&self) -> u64 {
        match &self.numbers().kind {
            Kind::Granted(granted) => granted.credit,
            _ => 0,
        }
    }

    /// The most tokens of one key that are admitted in any window, on all nodes together.
    pub fn bound(&self, store: Store) -> u64 {
        let limit = self.limit();
        let Some(cluster) = self.cluster() else {
            return limit.limit + limit.burst;
        };
        let nodes = u64::from(cluster.nodes.max(1));
        let credits = nodes * self.credit();
        let alone = nodes * (limit.limit / nodes).max(1) + limit.burst + credits;
        let together = limit.limit + limit.burst + credits;
        match store {
            Store::There => together,
            Store::Away => alone,
            Store::Changing => together + alone - credits,
        }
    }
}

/// Whether the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// It does.
    There,
    /// It does not, and has not for a window.
    Away,
    /// It has gone or come back within the window.
    Changing,
}

/// Grants a node its share of a limit while the store is away. One a ledger, held by the
/// control plane, which calls [`Alone::settle`] in place of asking the store.
#[derive(Debug)]
pub struct Alone {
    shares: Ledger,
}

impl Alone {
    /// For a ledger that nodes share; `None` for others.
    pub fn new(ledger: &Ledger, now: Moment) -> Option<Alone> {
        let spec = Alone::spec(ledger)?;
        let place = Place {
            name: ledger.name(),
            position: ledger.position(),
            key: ledger.key(),
            index: 0,
            serial: 0,
        };
        let shares = Ledger::new(place, &spec, 1, &Arc::new(AtomicI64::new(0)), now);
        Some(Alone { shares })
    }

    fn spec(ledger: &Ledger) -> Option<LedgerSpec> {
        let nodes = u64::from(ledger.cluster()?.nodes.max(1));
        let mut limit = ledger.limit();
        limit.limit = (limit.limit / nodes).max(1);
        limit.burst /= nodes;
        Some(LedgerSpec {
            limit,
            keys_max: ledger.keys_max(),
            cluster: None,
        })
    }

    /// Grants from the share what keys of `ledger` ask for.
    pub fn settle(&mut self, ledger: &Ledger, now: Moment) {
        if let Some(spec) = Alone::spec(ledger) {
            self.shares.adopt(&spec, now);
        }
        ledger.wants(now, |want| {
            if want.amount == 0 {
                return;
            }
            let most = u32::try_from(want.amount).unwrap_or(u32::MAX);
            let ask = Ask {
                hash: want.hash,
                need: 1,
                want: most,
                patience: 0,
                now,
            };
            match self.shares.ask(&ask).0 {
                Answered::Granted { tokens, until, .. } => {
                    ledger.grant(want.hash, u64::from(tokens), until, now);
                }
                Answered::Refused { .. } | Answered::Crowded => {
                    ledger.grant(want.hash, 0, now, now);
                }
            }
        });
    }
}
