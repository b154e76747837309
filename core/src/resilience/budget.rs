//! The retry budget: retries and hedges are never more than a share of the live requests of the
//! last ten seconds, over all cores, beside a minimum that is always allowed. An origin that
//! fails gets little more to do, rather than many times as much.
//!
//! Live requests are counted by each core for itself. Retries are few, so they are counted in
//! one word: a retry takes the next number, unless that is too far from the number at which the
//! ten seconds began. Each second writes down that number before its first retry takes one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

/// Seconds that are looked at, the current one included.
pub const WINDOW_SECONDS: u64 = 10;
/// Seconds that are kept: a core that is late still finds its own.
const SECONDS: usize = 16;
/// How old the sum of live requests may be when it says no.
const SUM_AGE_MAX: Duration = Duration::from_millis(5);

/// What retries of one upstream are paid from.
#[derive(Debug)]
pub struct RetryBudget {
    cores: PerCore<Live>,
    /// Retries so far.
    spent: CachePadded<AtomicU64>,
    /// For each second the value of `spent` that it began with.
    marks: [AtomicU64; SECONDS],
    /// The sum of live requests as of some moment in this second.
    sum: CachePadded<AtomicU64>,
    summed_at: AtomicU64,
}

/// What one core counts.
#[derive(Debug, Default)]
struct Live {
    seconds: [LiveSecond; SECONDS],
    refused: Counter,
}

#[derive(Debug, Default)]
struct LiveSecond {
    second: AtomicU64,
    requests: Counter,
}

/// A second and a number that belongs to it, in one word: 28 and 36 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dated {
    second: u64,
    value: u64,
}

impl Dated {
    const VALUE_BITS: u32 = 36;
    const VALUE_MASK: u64 = (1 << Dated::VALUE_BITS) - 1;

    fn of(packed: u64) -> Dated {
        Dated {
            second: packed >> Dated::VALUE_BITS,
            value: packed & Dated::VALUE_MASK,
        }
    }

    fn packed(self) -> u64 {
        self.second << Dated::VALUE_BITS | self.value & Dated::VALUE_MASK
    }
}

/// A budget as it stands, for pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Requests of the last ten seconds, without retries.
    pub live: u64,
    /// Retries of the last ten seconds.
    pub spent: u64,
    /// Retries that ten seconds like these may have.
    pub allowed: u64,
}

impl RetryBudget {
    /// An unused budget for `cores` cores.
    pub fn new(cores: usize) -> RetryBudget {
        RetryBudget {
            cores: PerCore::new(cores),
            spent: CachePadded::default(),
            marks: Default::default(),
            sum: CachePadded::default(),
            summed_at: AtomicU64::default(),
        }
    }

    /// Counts a request: once, however many attempts it takes. Only the owning core calls this.
    #[inline]
    pub fn live(&self, core: CoreIndex, now: Moment) {
        let second = second_of(now);
        let slot = &self.cores.of(core).seconds[second as usize % SECONDS];
        if slot.second.load(Ordering::Relaxed) != second {
            slot.requests.set(0);
            // Behind the count: who sees the second does not see the former one's requests.
            slot.second.store(second, Ordering::Release);
        }
        slot.requests.add(1);
    }

    /// Pays for a retry or a hedge; false where there is nothing left to pay with.
    pub fn try_spend(&self, spec: &policy::Retry, core: CoreIndex, now: Moment) -> bool {
        let second = second_of(now);
        self.mark(second);
        let mut live = self.known_live(second, now);
        loop {
            let spent = self.spent.load(Ordering::Acquire);
            if self.spent_since(second, spent) >= allowed(spec, live) {
                match self.newer_live(second, now) {
                    Some(newer) if newer > live => live = newer,
                    _ => {
                        self.cores.of(core).refused.add(1);
                        return false;
                    }
                }
                continue;
            }
            let exchange = self.spent.compare_exchange_weak(
                spent,
                spent + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if exchange.is_ok() {
                return true;
            }
        }
    }

    /// Writes down what the second begins with, before its first retry.
    fn mark(&self, second: u64) {
        let mark = &self.marks[second as usize % SECONDS];
        let was = mark.load(Ordering::Acquire);
        if Dated::of(was).second >= second {
            return;
        }
        let spent = self.spent.load(Ordering::Acquire);
        // Of a core that is late: what later seconds have spent came behind this one's mark. A
        // mark that is not seen here is of retries that `spent` does not hold yet.
        let later = self.all_marks().filter(|mark| mark.second > second);
        let value = later.map(|mark| mark.value).fold(spent, u64::min);
        let begun = Dated { second, value }.packed();
        // Who loses finds a mark that is no later than its own.
        let _ = mark.compare_exchange(was, begun, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn all_marks(&self) -> impl Iterator<Item = Dated> {
        let marks = self.marks.iter();
        marks.map(|mark| Dated::of(mark.load(Ordering::Acquire)))
    }

    /// Retries since the beginning of the window that ends with `second`, when `spent` is the
    /// number of all: for a core that is late, those of later seconds as well.
    fn spent_since(&self, second: u64, spent: u64) -> u64 {
        let in_window = self
            .all_marks()
            .filter(|mark| is_in_window(mark.second, second));
        let first = in_window.map(|mark| mark.value).min();
        first.map_or(0, |first| spent.wrapping_sub(first) & Dated::VALUE_MASK)
    }

    /// The last sum of live requests, if it is of this second: there are no fewer now.
    fn known_live(&self, second: u64, now: Moment) -> u64 {
        let known = Dated::of(self.sum.load(Ordering::Relaxed));
        match known.second == second {
            true => known.value,
            false => self.sum_live(second, now),
        }
    }

    /// A new sum, where the last one is old enough for that.
    fn newer_live(&self, second: u64, now: Moment) -> Option<u64> {
        let last = self.summed_at.load(Ordering::Relaxed);
        (now >= Moment(last).after(SUM_AGE_MAX)).then(|| self.sum_live(second, now))
    }

    #[cold]
    fn sum_live(&self, second: u64, now: Moment) -> u64 {
        self.summed_at.store(now.0, Ordering::Relaxed);
        let value = self.live_until(second);
        self.sum
            .store(Dated { second, value }.packed(), Ordering::Relaxed);
        value
    }

    fn live_until(&self, second: u64) -> u64 {
        let slots = self.cores.iter().flat_map(|core| &core.seconds);
        let in_window =
            slots.filter(|slot| is_in_window(slot.second.load(Ordering::Acquire), second));
        in_window.map(|slot| slot.requests.value()).sum()
    }

    /// How it stands.
    pub fn usage(&self, spec: &policy::Retry, now: Moment) -> Usage {
        let second = second_of(now);
        let live = self.live_until(second);
        Usage {
            live,
            spent: self.spent_since(second, self.spent()),
            allowed: allowed(spec, live),
        }
    }

    /// Retries and hedges that were paid for.
    pub fn spent(&self) -> u64 {
        self.spent.load(Ordering::Acquire)
    }

    /// Those that were not.
    pub fn refused(&self) -> u64 {
        self.cores.sum(|core| &core.refused)
    }
}

fn second_of(now: Moment) -> u64 {
    now.0 / 1_000_000_000
}

/// Whether a second is of the window that ends with `last`. Zero, as unused slots have it, is
/// before all time.
fn is_in_window(second: u64, last: u64) -> bool {
    second > 0 && second <= last && second + WINDOW_SECONDS > last
}

/// Retries of a window with so many live requests.
fn allowed(spec: &policy::Retry, live: u64) -> u64 {
    let share = (spec.budget * live as f64).floor() as u64;
    share.saturating_add(u64::from(spec.budget_minimum) * WINDOW_SECONDS)
}

#[cfg(test)]
mod tests;
