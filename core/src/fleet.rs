//! What all cores know of upstreams and their endpoints: kept across reloads by identity, read
//! by every core, written rarely.
#![allow(
    clippy::disallowed_types,
    reason = "the registry of endpoints is for the control plane; workers hold their states"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;

use crate::balance::SharedRing;
use crate::balance::ewma::PeakEwma;
use crate::resilience::Outcome;
use crate::resilience::breaker::Breaker;
use crate::resilience::budget::RetryBudget;
use crate::resilience::canary::Ramp;
use crate::resilience::concurrency::Gate;
use crate::resilience::hedge::Percentile;
use crate::resilience::outlier::{self, Ejection, Sweep};
use crate::rt::Addr;
use crate::rt::clock::Moment;
use crate::stats::{Counter, Latency, PerCore};

/// What all cores know of one upstream.
#[derive(Debug)]
pub struct UpstreamState {
    cores: usize,
    /// Changes when the standing of an endpoint does: cores then sort their endpoints anew.
    changes: CachePadded<AtomicU32>,
    /// Endpoints that are ejected now.
    pub ejected: AtomicU32,
    /// Whether too few endpoints are available for checks and ejections to be believed, as the
    /// core saw it that looked last.
    pub panics: AtomicBool,
    /// Its hash ring, for balancing by keys.
    pub ring: SharedRing,
    /// Its own breaker.
    pub breaker: Breaker,
    /// What retries and hedges are paid from.
    pub budget: RetryBudget,
    /// The latencies that hedges start behind.
    pub latency: Percentile,
    /// Its places for requests.
    pub gate: Gate,
    /// The comparison of its endpoints.
    pub outlier: Sweep,
    endpoints: Mutex<ByPlace>,
}

/// States by address and authority.
type ByPlace = BTreeMap<(String, Box<str>), Arc<EndpointState>>;

/// What all cores know of one endpoint.
#[derive(Debug)]
pub struct EndpointState {
    health: AtomicU8,
    drained: AtomicBool,
    /// In nanoseconds of [`Moment`]; zero when it is not ejected.
    ejected_until: AtomicU64,
    /// How often it has been ejected of late; falls again with good intervals.
    pub ejections: AtomicU32,
    /// 5xx answers and failures in a row.
    pub failures_in_row: AtomicU32,
    /// 502, 503, 504 and failures to reach it in a row.
    pub gateway_failures_in_row: AtomicU32,
    /// Since when it is available, in nanoseconds of [`Moment`]; zero for "always was".
    available_since: AtomicU64,
    /// When checks last changed their mind, and when an operator last did.
    health_since: AtomicU64,
    drained_since: AtomicU64,
    /// Its own breaker.
    pub breaker: Breaker,
    pub(crate) outlier: outlier::Record,
    /// What each core counts of it.
    pub stats: PerCore<EndpointStats>,
}

/// What one core counts of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointStats {
    /// Requests under way (gauge).
    pub active: Counter,
    /// Requests that have ended.
    pub requests: Counter,
    /// Those that failed: 5xx, or no answer.
    pub failures: Counter,
    /// Time to response heads, in microseconds, of those that had one.
    pub latency: Latency,
    /// Time to response heads of late, for balancing.
    pub ewma: PeakEwma,
}

impl EndpointStats {
    /// Counts an attempt that has ended; not the one under way. Only the owning core calls this.
    #[inline]
    pub fn record(&self, outcome: Outcome) {
        if outcome == Outcome::Neutral {
            return;
        }
        self.requests.add(1);
        if outcome.is_failure() {
            self.failures.add(1);
        }
        if let Some(took) = outcome.head_after() {
            self.latency.record(took.as_micros() as u64);
        }
    }
}

/// What all cores know of one route.
#[derive(Debug)]
pub struct RouteState {
    /// Its places for requests.
    pub gate: Gate,
    /// How far its canary has come.
    pub ramp: Ramp,
}

impl RouteState {
    /// The state of a route that `cores` cores serve.
    pub fn new(cores: usize) -> RouteState {
        RouteState {
            gate: Gate::new(cores),
            ramp: Ramp::new(cores),
        }
    }
}

/// What active checks say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet, or nobody asks: it is used.
    Unknown,
    /// It answers as it should.
    Good,
    /// It does not.
    Bad,
}

impl UpstreamState {
    /// The state of an upstream that `cores` cores serve.
    pub fn new(cores: usize) -> UpstreamState {
        UpstreamState {
            cores,
            changes: CachePadded::default(),
            ejected: AtomicU32::default(),
            panics: AtomicBool::default(),
            ring: SharedRing::default(),
            breaker: Breaker::new(cores),
            budget: RetryBudget::new(cores),
            latency: Percentile::new(cores),
            gate: Gate::new(cores),
            outlier: Sweep::default(),
            endpoints: Mutex::default(),
        }
    }

    /// The state of an endpoint, made when it is new. For the control plane.
    pub fn endpoint(&self, addr: &Addr, authority: &str) -> Arc<EndpointState> {
        let key = (addr.to_string(), authority.into());
        let mut endpoints = self.lock();
        let fresh = || Arc::new(EndpointState::new(self.cores));
        Arc::clone(endpoints.entry(key).or_insert_with(fresh))
    }

    /// Visits the states of endpoints with their addresses and authorities, in order; also those
    /// of endpoints that are gone, until they are dropped. For the control plane.
    pub fn each_endpoint(&self, mut visit: impl FnMut(&str, &str, &EndpointState)) {
        for ((addr, authority), state) in &*self.lock() {
            visit(addr, authority, state);
        }
    }

    /// Drops the states of endpoints that nobody else holds. For the control plane, behind
    /// reloads.
    pub fn prune(&self) {
        self.lock().retain(|_, state| Arc::strong_count(state) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, ByPlace> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that differs from a former one when the standing of an endpoint has changed.
    #[inline]
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Has every core sort its endpoints anew.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl EndpointState {
    /// An endpoint of which nothing is known.
    pub fn new(cores: usize) -> EndpointState {
        EndpointState {
            health: AtomicU8::default(),
            drained: AtomicBool::default(),
            ejected_until: AtomicU64::default(),
            ejections: AtomicU32::default(),
            failures_in_row: AtomicU32::default(),
            gateway_failures_in_row: AtomicU32::default(),
            available_since: AtomicU64::default(),
            health_since: AtomicU64::default(),
            drained_since: AtomicU64::default(),
            breaker: Breaker::new(cores),
            outlier: outlier::Record::default(),
            stats: PerCore::new(cores),
        }
    }

    /// What active checks say.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Good,
            _ => Health::Bad,
        }
    }

    /// Sets what active checks say; tells whether that is new. The caller then calls
    /// [`UpstreamState::changed`].
    pub fn set_health(&self, health: Health, now: Moment) -> bool {
        let was = self.health();
        let code = match health {
            Health::Unknown => 0,
            Health::Good => 1,
            Health::Bad => 2,
        };
        self.health.store(code, Ordering::Relaxed);
        if was == Health::Bad && health != Health::Bad {
            self.available_from(now);
        }
        if was != health {
            self.health_since.store(now.0, Ordering::Relaxed);
        }
        was != health
    }

    /// Since when checks say what they say; zero when they never said anything.
    pub fn health_since(&self) -> Moment {
        Moment(self.health_since.load(Ordering::Relaxed))
    }

    /// Whether an operator has taken it out: it gets no new requests.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Takes it out or brings it back; tells whether that is new.
    pub fn set_drained(&self, drained: bool, now: Moment) -> bool {
        let was = self.drained.swap(drained, Ordering::Relaxed);
        if was && !drained {
            self.available_from(now);
        }
        if was != drained {
            self.drained_since.store(now.0, Ordering::Relaxed);
        }
        was != drained
    }

    /// Since when it is drained, or is not any more; zero when it never was.
    pub fn drained_since(&self) -> Moment {
        Moment(self.drained_since.load(Ordering::Relaxed))
    }

    /// Until when it is ejected, if it is at `now`.
    #[inline]
    pub fn ejected_until(&self, now: Moment) -> Option<Moment> {
        let until = Moment(self.ejected_until.load(Ordering::Relaxed));
        (until > now).then_some(until)
    }

    /// Its ejection, if it is ejected at `now`.
    pub fn ejection_now(&self, now: Moment) -> Option<Ejection> {
        let until = self.ejected_until(now)?;
        Some(Ejection {
            cause: self.outlier.cause(),
            since: self.outlier.since(),
            until,
            times: self.ejections.load(Ordering::Relaxed),
        })
    }

    /// Ends the rows of failures.
    #[inline]
    pub(crate) fn end_rows(&self) {
        // Looked at before: the line is written by failures only.
        for row in [&self.failures_in_row, &self.gateway_failures_in_row] {
            if row.load(Ordering::Relaxed) != 0 {
                row.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The end of its last ejection that nobody has taken note of, whether it is over or not.
    pub fn ejection(&self) -> &AtomicU64 {
        &self.ejected_until
    }

    /// Since when it is available, for slow start; zero for "always was".
    pub fn available_since(&self) -> Moment {
        Moment(self.available_since.load(Ordering::Relaxed))
    }

    /// Starts its slow start; of several starts the last one counts.
    pub fn available_from(&self, start: Moment) {
        self.available_since.fetch_max(start.0, Ordering::Relaxed);
    }

    /// Requests under way on all cores.
    pub fn active(&self) -> u64 {
        self.stats.sum(|stats| &stats.active)
    }
}
