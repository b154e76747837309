//! Canaries: a share of requests that grows in a straight line from one value to another, and
//! falls to nothing when the new version fails too often.
//!
//! A halted ramp stays so until its configuration changes or an operator resumes it, which
//! starts it anew. A reload that leaves the ramp as it is leaves it where it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::window::{self, Lookout, Tally, Window};
use super::{Counts, Outcome};
use crate::policy;
use crate::rt::clock::Moment;
use crate::stats::{CoreIndex, Counter, PerCore};

/// How often the cores' counts are looked at together.
const RECONCILE: Duration = Duration::from_millis(50);

/// How far a route's canary has come, shared by all cores.
#[derive(Debug)]
pub struct Ramp {
    shared: CachePadded<Shared>,
    lookout: Lookout,
    windows: PerCore<Window>,
    sides: PerCore<[SideCounts; 2]>,
}

/// Read with each request, written when the ramp begins, halts or is resumed. Times are in
/// nanoseconds of [`Moment`].
#[derive(Debug, Default)]
struct Shared {
    /// Which ramp this is; zero for none yet.
    identity: AtomicU64,
    started: AtomicU64,
    /// Zero while it is not halted.
    halted: AtomicU64,
    generation: AtomicU64,
    halted_requests: AtomicU64,
    halted_failures: AtomicU64,
    /// The share at which it halted, as a float's bits.
    halted_share: AtomicU64,
}

#[derive(Debug, Default)]
struct SideCounts {
    requests: Counter,
    failures: Counter,
}

/// Where a request of a route with a canary goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where it always went.
    Baseline,
    /// To the canary.
    Canary,
}

/// Why a ramp has halted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halted {
    /// When.
    pub since: Moment,
    /// The canary's requests of the window.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// The share that it had.
    pub share: f64,
}

impl Ramp {
    /// A ramp that has not begun, for `cores` cores.
    pub fn new(cores: usize) -> Ramp {
        Ramp {
            shared: CachePadded::default(),
            lookout: Lookout::default(),
            windows: PerCore::new(cores),
            sides: PerCore::new(cores),
        }
    }

    /// Where a request goes. `point` is uniform over all its values: random, or a hash of what
    /// keeps a client on its side. A side that a hash has is kept while the share grows.
    #[inline]
    pub fn side(&self, spec: &policy::Canary, now: Moment, point: u64) -> Side {
        if self.shared.identity.load(Ordering::Acquire) != spec.identity {
            self.begin(spec, now);
        }
        let share = self.share(spec, now);
        match share >= 1.0 || point < (share * 2f64.powi(64)) as u64 {
            true => Side::Canary,
            false => Side::Baseline,
        }
    }

    /// The canary's share now, 0.0 to 1.0.
    #[inline]
    pub fn share(&self, spec: &policy::Canary, now: Moment) -> f64 {
        if self.shared.halted.load(Ordering::Relaxed) > 0 {
            return 0.0;
        }
        self.planned(spec, now)
    }

    /// The share that the ramp has without a halt.
    fn planned(&self, spec: &policy::Canary, now: Moment) -> f64 {
        let started = Moment(self.shared.started.load(Ordering::Relaxed));
        if self.shared.identity.load(Ordering::Acquire) != spec.identity {
            return spec.from;
        }
        let run = now.since(started);
        let way = match run < spec.over {
            true => run.as_secs_f64() / spec.over.as_secs_f64(),
            false => 1.0,
        };
        spec.from + (spec.to - spec.from) * way
    }

    #[cold]
    fn begin(&self, spec: &policy::Canary, now: Moment) {
        self.restart(now);
        // Behind the rest: who sees the identity sees this ramp's start. Several cores may
        // begin it, at next to the same time.
        self.shared.identity.store(spec.identity, Ordering::Release);
    }

    fn restart(&self, now: Moment) {
        let shared = &self.shared;
        shared.started.store(now.0, Ordering::Relaxed);
        shared.generation.fetch_add(1, Ordering::Relaxed);
        shared.halted.store(0, Ordering::Relaxed);
    }

    /// Starts a halted ramp anew; tells whether it was halted.
    pub fn resume(&self, now: Moment) -> bool {
        let was_halted = self.shared.halted.load(Ordering::Relaxed) > 0;
        if was_halted {
            self.restart(now);
        }
        was_halted
    }

    /// Counts a request that has ended.
    #[inline]
    pub fn record(
        &self,
        spec: &policy::Canary,
        side: Side,
        core: CoreIndex,
        now: Moment,
        outcome: Outcome,
    ) {
        if outcome == Outcome::Neutral {
            return;
        }
        let failures = u64::from(outcome.is_failure());
        let counts = &self.sides.of(core)[side as usize];
        counts.requests.add(1);
        counts.failures.add(failures);
        let Some(halt) = spec.halt.filter(|_| side == Side::Canary) else {
            return;
        };
        let own = self.windows.of(core);
        let generation = self.shared.generation.load(Ordering::Relaxed);
        let tally = Tally { failures, slow: 0 };
        own.add(generation, halt.window, now, tally);
        if self.lookout.is_mine(own, RECONCILE, now) {
            self.look(spec, &halt, now);
        }
    }

    #[cold]
    fn look(&self, spec: &policy::Canary, halt: &policy::Halt, now: Moment) {
        let Counts {
            requests, failures, ..
        } = self.counts(halt, now);
        let ratio = failures as f64 / requests.max(1) as f64;
        if requests < u64::from(halt.minimum_requests) || failures == 0 || ratio < halt.error_ratio
        {
            return;
        }
        let shared = &self.shared;
        let share = self.planned(spec, now);
        let exchange =
            shared
                .halted
                .compare_exchange(0, now.0, Ordering::AcqRel, Ordering::Relaxed);
        if exchange.is_ok() {
            shared.halted_requests.store(requests, Ordering::Relaxed);
            shared.halted_failures.store(failures, Ordering::Relaxed);
            shared
                .halted_share
                .store(share.to_bits(), Ordering::Relaxed);
        }
    }

    /// The canary's requests of the window as of now, over all cores.
    pub fn counts(&self, halt: &policy::Halt, now: Moment) -> Counts {
        let generation = self.shared.generation.load(Ordering::Relaxed);
        let windows = window::of_all(&self.windows);
        window::sum(windows, generation, halt.window, now)
    }

    /// Why it has halted, if it has.
    pub fn halted(&self) -> Option<Halted> {
        let shared = &self.shared;
        let since = Moment(shared.halted.load(Ordering::Acquire));
        (since.0 > 0).then(|| Halted {
            since,
            requests: shared.halted_requests.load(Ordering::Relaxed),
            failures: shared.halted_failures.load(Ordering::Relaxed),
            share: f64::from_bits(shared.halted_share.load(Ordering::Relaxed)),
        })
    }

    /// When it began; zero when it has not.
    pub fn started(&self) -> Moment {
        Moment(self.shared.started.load(Ordering::Relaxed))
    }

    /// Requests of a side so far, and those of them that failed, over all of the route's ramps:
    /// counters, which neither a resume nor a reload sets back. What halts a ramp is counted
    /// anew with each.
    pub fn totals(&self, side: Side) -> (u64, u64) {
        let of_side = |counts: &[SideCounts; 2]| -> (u64, u64) {
            let counts = &counts[side as usize];
            (counts.requests.value(), counts.failures.value())
        };
        let all = self.sides.iter().map(of_side);
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

#[cfg(test)]
mod tests;
