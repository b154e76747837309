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
        was != health
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
        was != drained
    }

    /// Until when it is ejected, if it is at `now`.
    #[inline]
    pub fn ejected_until(&self, now: Moment) -> Option<Moment> {
        let until = Moment(self.ejected_until.load(Ordering::Relaxed));
        (until > now).then_some(until)
    }

    /// The end of its last ejection that nobody has taken note of, whether it is over or not.
    pub fn ejection(&self) -> &AtomicU64 {
        &self.ejected_until
    }

    /// Since when it is available, for slow start; zero for "always was".
    pub fn available_since(&self) -> Moment {
        Moment(self.available_since.load(Ordering::Relaxed))
    }

    /// Starts its slow start.
    pub fn available_from(&self, now: Moment) {
        self.available_since.store(now.0, Ordering::Relaxed);
    }

    /// Requests under way on all cores.
    pub fn active(&self) -> u64 {
        self.stats.sum(|stats| &stats.active)
    }
}
