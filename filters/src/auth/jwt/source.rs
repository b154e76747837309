//! Where the keys of an issuer come from, and those that are there now.
//!
//! The data plane reads them without a lock. A token whose key is not among them may have the
//! set fetched again, at most once in a while however many such tokens come, and waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use crossbeam::queue::ArrayQueue;
use ringgate_core::errand::Done;

use super::algorithm::Algorithm;
use super::key::Key;

/// The keys of an issuer; shared by all cores.
pub struct KeySource {
    held: ArcSwapOption<KeySet>,
    /// Of the set that is held; 0 while there is none.
    generation: AtomicU64,
    fetched: Option<Fetched>,
    unknown: AtomicU64,
}

/// The keys of one moment.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

/// Of keys that are fetched from somewhere.
struct Fetched {
    /// Has them fetched now; called on the data plane, so it returns at once.
    ask: Box<dyn Fn() + Send + Sync>,
    /// Whether somebody has asked, and there is no answer yet.
    under_way: AtomicBool,
    /// Whether the last fetch failed.
    failed: AtomicBool,
    /// Milliseconds since the UNIX epoch when somebody asked last.
    asked_ms: AtomicU64,
    /// Between two of them.
    refetch_min_ms: AtomicU64,
    waiting: ArrayQueue<Done>,
}

/// What can be done for a token whose key is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refetch {
    /// The set is being fetched: it may wait.
    UnderWay,
    /// It has been fetched not long ago, or cannot be: there is no such key.
    Settled,
    /// The issuer could not be asked the last time: nobody knows.
    Unreachable,
}

impl KeySource {
    /// Keys that are there and stay.
    pub fn fixed(keys: Vec<Key>) -> KeySource {
        let source = KeySource {
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            fetched: None,
            unknown: AtomicU64::new(0),
        };
        source.replace(keys);
        source
    }

    /// Keys that somebody fetches when `ask` is called, and now and then without; none yet.
    pub fn fetched(ask: Box<dyn Fn() + Send + Sync>) -> KeySource {
        KeySource {
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            fetched: Some(Fetched {
                ask,
                under_way: AtomicBool::new(false),
                failed: AtomicBool::new(false),
                asked_ms: AtomicU64::new(0),
                refetch_min_ms: AtomicU64::new(REFETCH_MIN_MS),
                waiting: ArrayQueue::new(WAITING_MAX),
            }),
            unknown: AtomicU64::new(0),
        }
    }

    /// How much time is between two fetches that tokens ask for. For the control plane.
    pub fn set_refetch_min(&self, min: Duration) {
        if let Some(fetched) = &self.fetched {
            let min = u64::try_from(min.as_millis()).unwrap_or(u64::MAX);
            fetched.refetch_min_ms.store(min, Ordering::Relaxed);
        }
    }

    /// These are the keys from now on. For the control plane.
    pub fn replace(&self, keys: Vec<Key>) {
        self.held.store(Some(Arc::new(KeySet { keys })));
        // Behind the set: who sees the number sees the set, or a later one.
        self.generation.fetch_add(1, Ordering::Release);
        self.settle(false);
    }

    /// The keys could not be fetched; those that are there stay. For the control plane.
    pub fn fail(&self) {
        self.settle(true);
    }

    fn settle(&self, failed: bool) {
        if let Some(fetched) = &self.fetched {
            fetched.failed.store(failed, Ordering::Release);
            fetched.under_way.store(false, Ordering::SeqCst);
            fetched.wake();
        }
    }

    /// The keys that are there, with their names and uses; none before they were fetched.
    pub fn keys(&self) -> Option<Vec<Key>> {
        self.held.load().as_ref().map(|set| set.keys.clone())
    }

    /// Tokens so far whose key was not there.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn held(&self) -> arc_swap::Guard<Option<Arc<KeySet>>> {
        self.held.load()
    }

    /// A token came whose key is not there.
    pub(super) fn refetch(&self, unix_ms: u64) -> Refetch {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        let Some(fetched) = &self.fetched else {
            return Refetch::Settled;
        };
        if fetched.under_way.load(Ordering::SeqCst) {
            return match fetched.waiting.is_full() {
                true => Refetch::Unreachable,
                false => Refetch::UnderWay,
            };
        }
        let asked = fetched.asked_ms.load(Ordering::Relaxed);
        let min = fetched.refetch_min_ms.load(Ordering::Relaxed);
        // The wall's clock may have been set back.
        let is_due = unix_ms >= asked.saturating_add(min) || unix_ms < asked;
        if !is_due {
            return self.fetched_state();
        }
        if fetched.under_way.swap(true, Ordering::SeqCst) {
            return Refetch::UnderWay;
        }
        if fetched.asked_ms.load(Ordering::Relaxed) != asked {
            // Another core has asked meanwhile, and has been answered.
            fetched.under_way.store(false, Ordering::SeqCst);
            return self.fetched_state();
        }
        fetched.asked_ms.store(unix_ms, Ordering::Relaxed);
        (fetched.ask)();
        Refetch::UnderWay
    }

    /// How it stands for a token whose key is not there, without asking for anything.
    pub(super) fn fetched_state(&self) -> Refetch {
        match &self.fetched {
            Some(fetched) if fetched.under_way.load(Ordering::SeqCst) => Refetch::UnderWay,
            Some(fetched) if fetched.failed.load(Ordering::Acquire) => Refetch::Unreachable,
            _ => Refetch::Settled,
        }
    }

    /// Wakes whoever has this once the keys have been fetched.
    pub(super) fn wait(&self, done: Done) {
        let Some(fetched) = &self.fetched else {
            return;
        };
        // One that finds no place is woken at once, and looks.
        let _ = fetched.waiting.push(done);
        if !fetched.under_way.load(Ordering::SeqCst) {
            // It ended before this one was in the queue.
            fetched.wake();
        }
    }
}

impl Fetched {
    fn wake(&self) {
        for _ in 0..WAITING_MAX {
            if self.waiting.pop().is_none() {
                return;
            }
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySource").field(&self.keys()).finish()
    }
}

impl KeySet {
    /// The keys that a token may be signed with.
    pub(super) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &Key> {
        let fitting = self.keys.iter();
        let fitting = fitting.filter(move |key| key.fits(kid, algorithm));
        fitting.take(TRIED_MAX)
    }

    pub(super) fn has(&self, fingerprint: &[u8; 32]) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.fingerprint() == fingerprint)
    }
}

/// Keys that are tried for one token. More than one only when it does not say which.
const TRIED_MAX: usize = 4;

/// Requests of all cores that wait for one fetch.
const WAITING_MAX: usize = 1_024;

const REFETCH_MIN_MS: u64 = 30_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn asked() -> (KeySource, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let source = KeySource::fetched(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        source.set_refetch_min(Duration::from_secs(10));
        (source, count)
    }

    #[test]
    fn a_flood_of_unknown_keys_asks_once_in_a_while() {
        let (source, count) = asked();
        let begin = 1_000_000;
        for ms in 0..25_000 {
            match source.refetch(begin + ms) {
                Refetch::UnderWay => source.replace(Vec::new()),
                other => assert_eq!(other, Refetch::Settled),
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), 3);
        assert_eq!(source.unknown(), 25_000);
    }

    #[test]
    fn who_comes_while_it_is_fetched_waits_for_the_same_fetch() {
        let (source, count) = asked();
        for _ in 0..5 {
            assert_eq!(source.refetch(1_000_000), Refetch::UnderWay);
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        source.fail();
        assert_eq!(source.refetch(1_000_001), Refetch::Unreachable);
        assert_eq!(source.refetch(1_010_000), Refetch::UnderWay);
        source.replace(Vec::new());
        assert_eq!(source.refetch(1_010_001), Refetch::Settled);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_fetching() {
        let (source, _) = asked();
        assert_eq!(source.refetch(1_000_000), Refetch::UnderWay);
        source.replace(Vec::new());
        assert_eq!(source.refetch(5_000), Refetch::UnderWay);
    }

    #[test]
    fn waiting_requests_are_let_go_when_it_is_over() {
        let (source, _) = asked();
        source.refetch(1_000_000);
        source.wait(Done::unheard());
        let queue = |source: &KeySource| source.fetched.as_ref().unwrap().waiting.len();
        assert_eq!(queue(&source), 1);
        source.fail();
        assert_eq!(queue(&source), 0);
        source.wait(Done::unheard());
        assert_eq!(queue(&source), 0, "it was over already");
    }

    #[test]
    fn no_more_than_the_queue_holds_wait() {
        let (source, _) = asked();
        source.refetch(1_000_000);
        for _ in 0..2 * WAITING_MAX {
            source.wait(Done::unheard());
        }
        assert_eq!(source.refetch(1_000_000), Refetch::Unreachable);
    }

    #[test]
    fn keys_that_are_there_are_never_fetched() {
        let source = KeySource::fixed(Vec::new());
        assert_eq!(source.generation(), 1);
        assert_eq!(source.refetch(1_000_000), Refetch::Settled);
    }
}
