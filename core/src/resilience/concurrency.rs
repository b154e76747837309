//! A limit of requests at a time over all cores, with a bounded queue in front of it that is
//! first come, first served, whichever cores they came to.
//!
//! One word holds how many are inside and how many wait, so that nobody enters past a waiter.
//! Who leaves promises the place to a waiter, then looks for it in the queue. A waiter counts
//! before it is in the queue; where a promise finds none there, it stays, and the waiter that
//! arrives finds the promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;

use super::Outcome;
use super::adaptive::Gradient;
use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

/// Waiters that have given up stay in the queue until somebody leaves. This many may, beside
/// twice as many as may wait.
const LEFT_OVER_MAX: u32 = 64;

/// Places for requests, shared by all cores.
#[derive(Debug)]
pub struct Gate {
    crowd: CachePadded<AtomicU64>,
    /// Waiters that have neither a place nor given up.
    waiting: CachePadded<AtomicU32>,
    /// Places that are promised to waiters of whom it is not known yet which.
    promised: AtomicU32,
    queue: SegQueue<Arc<Waiter>>,
    gradient: Gradient,
    counts: PerCore<GateCounts>,
}

#[derive(Debug, Default)]
struct GateCounts {
    queued: Counter,
    refused: Counter,
}

/// Those inside and those in the queue or about to be, without the ones that a place has been
/// promised to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Crowd {
    inside: u32,
    queued: u32,
}

impl Crowd {
    fn of(packed: u64) -> Crowd {
        Crowd {
            inside: (packed >> 32) as u32,
            queued: packed as u32,
        }
    }

    fn packed(self) -> u64 {
        u64::from(self.inside) << 32 | u64::from(self.queued)
    }
}

/// What became of a request at the gate.
#[derive(Clone, Debug)]
#[must_use = "who is inside leaves, and who waits is granted a place or gives up"]
pub enum Entry {
    /// It is inside, and calls [`Gate::leave`] once.
    Entered,
    /// It waits until it is woken and has a place; else it calls [`Gate::abandon`].
    Queued(Arc<Waiter>),
    /// As many are inside and wait as may.
    Full,
}

/// A request that waits.
#[derive(Debug)]
pub struct Waiter {
    core: CoreIndex,
    id: WaiterId,
    state: AtomicU8,
}

/// The number of a waiter, unique at its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// Waiters so far, at all gates of the process: workers find them by this number alone.
static WAITERS: AtomicU64 = AtomicU64::new(0);

const WAITS: u8 = 0;
const HAS_PLACE: u8 = 1;
const GAVE_UP: u8 = 2;

impl Waiter {
    /// Where it waits.
    pub fn core(&self) -> CoreIndex {
        self.core
    }

    /// Its number.
    pub fn id(&self) -> WaiterId {
        self.id
    }

    /// Whether it is inside by now.
    pub fn has_place(&self) -> bool {
        self.state.load(Ordering::Acquire) == HAS_PLACE
    }

    fn settle(&self, state: u8) -> bool {
        let exchange =
            self.state
                .compare_exchange(WAITS, state, Ordering::AcqRel, Ordering::Acquire);
        exchange.is_ok()
    }
}

impl Gate {
    /// An empty gate for `cores` cores.
    pub fn new(cores: usize) -> Gate {
        Gate {
            crowd: CachePadded::default(),
            waiting: CachePadded::default(),
            promised: AtomicU32::default(),
            queue: SegQueue::new(),
            gradient: Gradient::new(cores),
            counts: PerCore::new(cores),
        }
    }

    /// Asks for a place. `wake` is called for waiters that got one: their core is to look at
    /// [`Waiter::has_place`]. Memory is taken for those that wait only.
    pub fn try_enter(
        &self,
        spec: &policy::Concurrency,
        core: CoreIndex,
        mut wake: impl FnMut(CoreIndex, WaiterId),
    ) -> Entry {
        let max = self.limit(spec);
        loop {
            let crowd = self.crowd();
            if crowd.inside < max && crowd.queued == 0 {
                let inside = crowd.inside + 1;
                if self.exchange(crowd, Crowd { inside, ..crowd }) {
                    return Entry::Entered;
                }
            } else if crowd.inside < max && spec.queue_max == 0 {
                // The limit has risen, and nobody has come by since: those who wait go first.
                self.hand_out(max, &mut wake);
            } else {
                break;
            }
        }
        let Some(waiter) = self.join(spec, core) else {
            self.counts.of(core).refused.add(1);
            return Entry::Full;
        };
        // Somebody may have left meanwhile, or have promised a place to this one.
        let own = waiter.id;
        self.hand_out(max, &mut |core, id| {
            if id != own {
                wake(core, id);
            }
        });
        match waiter.has_place() {
            true => Entry::Entered,
            false => {
                self.counts.of(core).queued.add(1);
                Entry::Queued(waiter)
            }
        }
    }

    /// Queues up, if there is room.
    fn join(&self, spec: &policy::Concurrency, core: CoreIndex) -> Option<Arc<Waiter>> {
        let left_over_max = spec
            .queue_max
            .saturating_mul(2)
            .saturating_add(LEFT_OVER_MAX);
        let one_more = |waiting: u32| (waiting < spec.queue_max).then_some(waiting + 1);
        let joined = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more);
        joined.ok()?;
        loop {
            let crowd = self.crowd();
            if crowd.queued >= left_over_max {
                self.waiting.fetch_sub(1, Ordering::AcqRel);
                return None;
            }
            let queued = crowd.queued + 1;
            if self.exchange(crowd, Crowd { queued, ..crowd }) {
                break;
            }
        }
        let waiter = Arc::new(Waiter {
            core,
            id: WaiterId(WAITERS.fetch_add(1, Ordering::Relaxed)),
            state: AtomicU8::new(WAITS),
        });
        self.queue.push(Arc::clone(&waiter));
        Some(waiter)
    }

    /// Gives a place back, which goes to who has waited longest.
    #[inline]
    pub fn leave(&self, spec: &policy::Concurrency, mut wake: impl FnMut(CoreIndex, WaiterId)) {
        if self.step_out().queued > 0 {
            self.hand_out(self.limit(spec), &mut wake);
        }
    }

    /// Gives up waiting. A place that has just come is handed on.
    pub fn abandon(
        &self,
        spec: &policy::Concurrency,
        waiter: &Waiter,
        wake: impl FnMut(CoreIndex, WaiterId),
    ) {
        match waiter.settle(GAVE_UP) {
            true => {
                self.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            false => self.leave(spec, wake),
        }
    }

    /// Tells how a request ended that was inside, for a limit that follows latency. Before
    /// [`Gate::leave`].
    #[inline]
    pub fn record(
        &self,
        spec: &policy::Concurrency,
        core: CoreIndex,
        now: Moment,
        outcome: Outcome,
        mut wake: impl FnMut(CoreIndex, WaiterId),
    ) {
        let Some(adaptive) = &spec.adaptive else {
            return;
        };
        if let Outcome::Good { head_after } = outcome {
            self.gradient.record(core, head_after);
        }
        if self.gradient.is_due(adaptive, core, now) {
            let crowd = self.crowd();
            let pressed = crowd.queued > 0 || 2 * crowd.inside >= self.limit(spec);
            self.gradient.adjust(spec.max, adaptive, pressed);
            self.hand_out(self.limit(spec), &mut wake);
        }
    }

    /// Places there are.
    #[inline]
    pub fn limit(&self, spec: &policy::Concurrency) -> u32 {
        match &spec.adaptive {
            None => spec.max,
            Some(adaptive) => self.gradient.limit(spec.max, adaptive),
        }
    }

    /// Requests inside.
    pub fn inside(&self) -> u32 {
        self.crowd().inside
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Requests that had to wait so far.
    pub fn queued(&self) -> u64 {
        self.counts.sum(|counts| &counts.queued)
    }

    /// Requests so far that found no place to wait in.
    pub fn refused(&self) -> u64 {
        self.counts.sum(|counts| &counts.refused)
    }

    /// Gives all free places to waiters.
    #[cold]
    fn hand_out(&self, max: u32, wake: &mut impl FnMut(CoreIndex, WaiterId)) {
        loop {
            self.keep_promises(wake);
            let crowd = self.crowd();
            if crowd.queued == 0 || crowd.inside >= max {
                return;
            }
            let promised = Crowd {
                inside: crowd.inside + 1,
                queued: crowd.queued - 1,
            };
            if self.exchange(crowd, promised) {
                self.promised.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Finds waiters for the places that are promised.
    fn keep_promises(&self, wake: &mut impl FnMut(CoreIndex, WaiterId)) {
        loop {
            let one_less = |promised: u32| promised.checked_sub(1);
            let taken = self
                .promised
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
            if taken.is_err() {
                return;
            }
            match self.queue.pop() {
                Some(waiter) if waiter.settle(HAS_PLACE) => {
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                    wake(waiter.core, waiter.id);
                }
                // It has given up: the place is free again, and the caller looks for others.
                Some(_) => {
                    self.step_out();
                }
                None => {
                    self.promised.fetch_add(1, Ordering::SeqCst);
                    // Either this sees a waiter that has arrived, or the waiter, which looks
                    // for promises behind its arrival, sees this one.
                    fence(Ordering::SeqCst);
                    if self.queue.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    fn step_out(&self) -> Crowd {
        let was = Crowd::of(self.crowd.fetch_sub(1 << 32, Ordering::AcqRel));
        debug_assert!(was.inside > 0, "left more often than entered");
        was
    }

    fn crowd(&self) -> Crowd {
        Crowd::of(self.crowd.load(Ordering::Acquire))
    }

    fn exchange(&self, was: Crowd, becomes: Crowd) -> bool {
        let exchange = self.crowd.compare_exchange_weak(
            was.packed(),
            becomes.packed(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        exchange.is_ok()
    }
}

#[cfg(test)]
mod tests;
