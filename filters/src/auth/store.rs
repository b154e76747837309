//! Consumers that are kept elsewhere: a store is asked for those whose keys the configuration
//! does not have. What it says is kept by each core for a while, and a store that is away lets
//! nobody in whom the core does not know.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::errand::{Done, Errand};
use ringgate_core::principal::Principal;

use super::cache::Cache;
use super::consumers::Consumer;
use super::slot::{self, Asked, Pending, Place};
use super::{Finding, Refusal};
use crate::Filter;

/// Where consumers are kept.
pub trait Store: Send + Sync + fmt::Debug {
    /// Asks for the consumer of the key with this SHA-256, and returns at once: it is called on
    /// the data plane. The answer is put into the slot before `done` is dropped.
    fn find(&self, digest: [u8; 32], slot: Arc<Slot>, done: Done);

    /// Tells it from others that may answer otherwise; a reload that changes nothing of it keeps
    /// what cores remember.
    fn serial(&self) -> u64;
}

/// Where the answer is put.
pub type Slot = slot::Slot<Found>;

/// What a store says of a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// It is this one's.
    Consumer(Arc<StoredConsumer>),
    /// It is nobody's.
    Nobody,
    /// The store does not answer, or what it says is no consumer.
    Away,
}

/// A consumer of a store, and the time that the key is good in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredConsumer {
    /// Who it is.
    pub consumer: Consumer,
    /// Milliseconds since the UNIX epoch from which on the key is good.
    pub begins_ms: u64,
    /// Milliseconds since the UNIX epoch before which it is.
    pub ends_ms: u64,
}

/// A store, and for how long its answers hold.
#[derive(Debug)]
pub struct StoredConsumers {
    store: Arc<dyn Store>,
    terms: Terms,
}

/// For how long answers of a store hold, and how long one may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// That a key is somebody's.
    pub found: Duration,
    /// That it is nobody's.
    pub nobody: Duration,
    /// How long a request waits for an answer.
    pub timeout: Duration,
}

/// One that has nothing, for where nothing is run: it leaves every slot empty.
#[derive(Clone, Copy, Debug)]
pub struct NoStore;

impl Store for NoStore {
    fn find(&self, _: [u8; 32], _: Arc<Slot>, _: Done) {}

    fn serial(&self) -> u64 {
        0
    }
}

/// What one core remembers of a store's answers.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Of which store they are.
    serial: u64,
    found: Cache<Known>,
    /// Apart from the others: anybody can make any number of keys that are nobody's.
    nobody: Cache<()>,
    pending: Pending<Found>,
}

#[derive(Debug)]
struct Known {
    begins_ms: u64,
    ends_ms: u64,
    principal: Rc<Principal>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            serial: 0,
            found: Cache::new(ANSWERS_MAX),
            nobody: Cache::new(ANSWERS_MAX),
            pending: Pending::new(WAITING_MAX),
        }
    }
}

/// A request that waits for a store.
#[derive(Debug)]
pub(crate) struct Waiting {
    digest: [u8; 32],
    slot: Arc<Slot>,
    _place: Place,
}

/// Answers of each kind that a core keeps.
const ANSWERS_MAX: usize = 16_384;
/// Requests of a core that wait for a store at a time.
const WAITING_MAX: usize = 1024;

impl StoredConsumers {
    /// The consumers of a store.
    pub fn new(store: Arc<dyn Store>, terms: Terms) -> StoredConsumers {
        StoredConsumers { store, terms }
    }

    /// Whose key it is that has this SHA-256.
    pub(super) fn find(&self, digest: &[u8; 32], phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let (memory, now) = (&mut phase.core.auth.store, phase.unix_ms);
        if memory.serial != self.store.serial() {
            memory.found.clear();
            memory.nobody.clear();
            memory.serial = self.store.serial();
        }
        if let Some(known) = memory.found.get(digest, now) {
            return known.finding(now);
        }
        if memory.nobody.get(digest, now).is_some() {
            return nobody();
        }
        let (slot, place, is_new) = match memory.pending.ask(*digest) {
            Some(Asked::New(slot, place)) => (slot, place, true),
            Some(Asked::Before(slot, place)) => (slot, place, false),
            None => {
                let why = "too many requests wait for the store of consumers";
                return Finding::Refused(Refusal::unavailable(why));
            }
        };
        phase.scratch.auth.store = Some(Waiting {
            digest: *digest,
            slot: Arc::clone(&slot),
            _place: place,
        });
        let (store, digest) = (Arc::clone(&self.store), *digest);
        let hand_over = Box::new(move |done: Done| match is_new {
            true => store.find(digest, slot, done),
            false => slot.wait(done),
        });
        Finding::Needs(Verdict::Ask(Box::new(Errand {
            hand_over,
            timeout: self.terms.timeout,
        })))
    }

    /// The store has answered, or has not in time.
    pub(super) fn resume(
        &self,
        scheme: &'static str,
        phase: &mut RequestPhase<'_, Filter>,
    ) -> Finding {
        let Some(waiting) = phase.scratch.auth.store.take() else {
            return Finding::Absent;
        };
        let (memory, now) = (&mut phase.core.auth.store, phase.unix_ms);
        memory.pending.forget(&waiting.digest);
        let until = |life: Duration| now.saturating_add(life.as_millis() as u64);
        match waiting.slot.answer() {
            Some(Found::Consumer(stored)) => {
                let known = Known {
                    begins_ms: stored.begins_ms,
                    ends_ms: stored.ends_ms,
                    principal: Rc::new(stored.consumer.principal(scheme)),
                };
                let finding = known.finding(now);
                if memory.serial == self.store.serial() {
                    let until = until(self.terms.found);
                    memory.found.put(&waiting.digest, known, until, now);
                }
                finding
            }
            Some(Found::Nobody) => {
                if memory.serial == self.store.serial() {
                    let until = until(self.terms.nobody);
                    memory.nobody.put(&waiting.digest, (), until, now);
                }
                nobody()
            }
            Some(Found::Away) | None => Finding::Refused(Refusal::unavailable(
                "the store of consumers does not answer",
            )),
        }
    }
}

impl Known {
    fn finding(&self, unix_ms: u64) -> Finding {
        match unix_ms {
            now if now < self.begins_ms => {
                Finding::Refused(Refusal::expired("the time of its key has not come"))
            }
            now if now >= self.ends_ms => {
                Finding::Refused(Refusal::expired("the time of its key is over"))
            }
            _ => Finding::Proved(Rc::clone(&self.principal)),
        }
    }
}

fn nobody() -> Finding {
    Finding::Refused(Refusal::invalid("its key is nobody's"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
