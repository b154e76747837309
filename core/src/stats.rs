//! Counters: written by one core each with plain stores, read by the control plane at will.
//!
//! No counter is shared between cores, so counting costs an ordinary store and a scrape
//! never touches a data core's own cache lines for writing.

mod registry;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::error::{Fault, Origin};

pub use registry::Registry;

/// A counter or gauge with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the owning core calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        // One writer: a load and a store, not a locked addition.
        let value = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(value, Ordering::Relaxed);
    }

    /// Takes from it (gauges). Only the owning core calls this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Replaces it (gauges, stamps).
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value, as of some moment ago on another core.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds; one more bucket has no bound.
pub const LATENCY_BOUNDS_US: [u64; 18] = [
    50, 100, 200, 300, 500, 750, 1_000, 2_000, 3_000, 5_000, 10_000, 25_000, 50_000, 100_000,
    250_000, 1_000_000, 5_000_000, 30_000_000,
];

/// A latency histogram with fixed buckets.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Latency {
    /// Counts one duration in microseconds.
    #[inline]
    pub fn record(&self, micros: u64) {
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket].add(1);
        self.sum_us.add(micros);
    }

    /// Adds this histogram's buckets and sum (microseconds) to the totals given.
    pub fn merge_into(&self, counts: &mut [u64; LATENCY_BOUNDS_US.len() + 1], sum_us: &mut u64) {
        for (total, bucket) in counts.iter_mut().zip(&self.buckets) {
            *total += bucket.value();
        }
        *sum_us += self.sum_us.value();
    }
}

/// What one core counts of one route.
#[derive(Debug, Default)]
pub struct RouteStats {
    /// Answers by status class: index 0 is "none sent", 1 to 5 are 1xx to 5xx.
    pub responses: [Counter; 6],
    /// From the first byte of the request to the last of the answer.
    pub latency: Latency,
    /// Body bytes from clients.
    pub received: Counter,
    /// Body bytes to clients.
    pub sent: Counter,
    /// Requests refused because the route's places and its queue were taken.
    pub gate_refused: Counter,
    /// Requests refused because no place came free in time.
    pub gate_timeouts: Counter,
}

/// What one core counts of one upstream.
#[derive(Debug, Default)]
pub struct UpstreamStats {
    /// Requests sent, retries included.
    pub requests: Counter,
    /// Responses by status class, as for routes.
    pub responses: [Counter; 6],
    /// Time to the response head.
    pub latency: Latency,
    /// Connections opened.
    pub connects: Counter,
    /// Connections that could not be opened.
    pub connect_failures: Counter,
    /// Requests that found a pooled connection.
    pub reused: Counter,
    /// Pooled connections that turned out to be closed.
    pub stale: Counter,
    /// Attempts beside the first: after a pooled connection died, or as the retry policy has it.
    pub retries: Counter,
    /// Retries and hedges that the budget did not allow.
    pub retries_denied: Counter,
    /// Second attempts that started beside a slow first one.
    pub hedges: Counter,
    /// Second attempts that answered first.
    pub hedge_wins: Counter,
    /// Requests that an open breaker refused.
    pub breaker_rejected: Counter,
    /// Requests refused because the upstream's places and its queue were taken.
    pub gate_refused: Counter,
    /// Requests refused because no place came free in time.
    pub gate_timeouts: Counter,
    /// Requests that a fallback answered in place of this upstream.
    pub fallbacks: Counter,
    /// Copies of requests sent to this upstream as a mirror.
    pub mirrored: Counter,
    /// Copies that were not sent, or not to their end: too long, or too many under way.
    pub mirror_dropped: Counter,
    /// Connections that wait in the pool (gauge).
    pub idle: Counter,
    /// Requests under way (gauge).
    pub active: Counter,
}

/// What one core counts of one filter.
#[derive(Debug, Default)]
pub struct FilterStats {
    /// Times it was asked.
    pub calls: Counter,
    /// Times it answered instead of letting pass.
    pub refusals: Counter,
    /// Nanoseconds it took in all.
    pub nanos: Counter,
}

/// What all cores count of a filter that asks others about credentials. They share it: a question
/// goes over a network, next to which an addition that cores contend for is nothing.
#[derive(Debug, Default)]
pub struct AskStats {
    /// Questions sent.
    pub asked: AtomicU64,
    /// Questions that got no answer, or none that says anything.
    pub failed: AtomicU64,
    /// Requests that passed all the same, as the configuration has it.
    pub let_through: AtomicU64,
    /// Requests that were refused because nobody could say who makes them.
    pub refused: AtomicU64,
}

/// What one core counts of itself.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections handed to a worker that had fewer.
    pub handed_over: Counter,
    /// Connections open (gauge).
    pub connections: Counter,
    /// Requests under way (gauge).
    pub active: Counter,
    /// Requests with a complete head.
    pub requests: Counter,
    /// Streams of HTTP/2 open (gauge).
    pub streams: Counter,
    /// TLS handshakes with certificates.
    pub tls_full: Counter,
    /// TLS handshakes that resumed an earlier session.
    pub tls_resumed: Counter,
    /// Connections answered 503 because of the cap.
    pub shed: Counter,
    /// Requests refused because the worker had too much to do, by [`Urgency`] from low to
    /// critical; the last stays zero.
    ///
    /// [`Urgency`]: crate::policy::Urgency
    pub shed_requests: [Counter; 4],
    /// Connections closed because their address had its most already, or came too often.
    pub address_refused: Counter,
    /// Connections closed because they came too often at their listener.
    pub rate_refused: Counter,
    /// Exchanges ended because a client sent or took its bytes too slowly.
    pub slow_clients: Counter,
    /// How much is refused because there is too much to do, from 0 to 3 (gauge).
    pub overload_level: Counter,
    /// How late the loop comes to its tick, averaged over the last ones, in microseconds (gauge).
    pub lag_us: Counter,
    /// Times accepting paused because descriptors ran out.
    pub accept_pauses: Counter,
    /// Connections ended by a panic.
    pub panics: Counter,
    /// Access log lines that did not fit the ring.
    pub log_dropped: Counter,
    /// Ticks seen; a core whose count stands still has stalled.
    pub ticks: Counter,
    /// Longest time between two ticks, less the tick itself, in microseconds.
    pub stall_us: Counter,
    /// The generation of the snapshot in use.
    pub generation: Counter,
    /// Microseconds that the last snapshot swap kept the core from other work.
    pub swap_us: Counter,
    /// Answers that no route accounts for, by status class.
    pub unrouted: [Counter; 6],
    /// Faults by log code.
    pub faults: CodeCounts,
}

/// Counters by log code. The codes are literals of the error table and of filters, so the
/// set is small and fixed; a slot takes its code the first time it is counted.
#[derive(Debug)]
pub struct CodeCounts(Box<[(OnceLock<Cause>, Counter)]>);

/// Who ended exchanges early, and the log code.
pub type Cause = (&'static str, &'static str);

/// More slots than there are codes; counting never fails, codes beyond share the last slot.
const CODES_MAX: usize = 192;

impl Default for CodeCounts {
    fn default() -> CodeCounts {
        CodeCounts((0..CODES_MAX).map(|_| Default::default()).collect())
    }
}

impl CodeCounts {
    /// Counts a fault once. Only the owning core calls this.
    pub fn fault(&self, fault: Fault) {
        let row = fault.row();
        self.count((row.origin.name(), row.code));
    }

    /// Counts a filter's own answer once. Only the owning core calls this.
    pub fn answer(&self, code: &'static str) {
        self.count((Origin::Internal.name(), code));
    }

    fn count(&self, cause: Cause) {
        for (slot, counter) in &self.0 {
            if *slot.get_or_init(|| cause) == cause {
                return counter.add(1);
            }
        }
        if let Some((_, counter)) = self.0.last() {
            counter.add(1);
        }
    }

    /// Adds the counts so far to the totals given.
    pub fn merge_into(&self, totals: &mut BTreeMap<Cause, u64>) {
        for (slot, counter) in &self.0 {
            let Some(cause) = slot.get() else { return };
            *totals.entry(*cause).or_default() += counter.value();
        }
    }
}

/// One set of counters per core.
#[derive(Debug)]
pub struct PerCore<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerCore<T> {
    /// A set for `cores` cores.
    pub fn new(cores: usize) -> PerCore<T> {
        PerCore((0..cores).map(|_| CachePadded::default()).collect())
    }
}

impl<T> PerCore<T> {
    /// The set of one core.
    #[inline]
    pub fn of(&self, core: CoreIndex) -> &T {
        &self.0[core.0 as usize]
    }

    /// Every core's set.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// The sum of one counter over all cores.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.iter()
            .fold(0, |sum, one| sum.wrapping_add(counter(one).value()))
    }
}

/// The number of a data-plane thread, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreIndex(pub u32);

/// A number that several cores change together, such as the connections of a listener. Off
/// the request path: it moves when a connection opens or closes.
#[derive(Debug, Default)]
pub struct SharedCount(CachePadded<AtomicU32>);

impl SharedCount {
    /// Takes a place unless `max` are taken.
    pub fn try_take(&self, max: u32) -> bool {
        if self.0.fetch_add(1, Ordering::Relaxed) < max {
            return true;
        }
        self.give_back();
        false
    }

    /// Gives a place back.
    pub fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Places taken.
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_falls_into_the_bucket_at_or_above_it() {
        let latency = Latency::default();
        for micros in [1, 50, 51, 30_000_001] {
            latency.record(micros);
        }
        let (mut counts, mut sum) = ([0; LATENCY_BOUNDS_US.len() + 1], 0);
        latency.merge_into(&mut counts, &mut sum);
        assert_eq!((counts[0], counts[1], counts[18]), (2, 1, 1));
        assert_eq!(sum, 30_000_103);
    }

    #[test]
    fn a_full_count_gives_no_place() {
        let count = SharedCount::default();
        assert!(count.try_take(1));
        assert!(!count.try_take(1));
        count.give_back();
        assert!(count.try_take(1));
    }
}
