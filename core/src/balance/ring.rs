//! The hash ring: every endpoint owns points on a circle in proportion to its weight, and a key
//! belongs to the first point at or behind its own. Points depend on an endpoint's address,
//! authority and weight alone, so every core and process has the same ring, and an endpoint
//! that comes or goes moves the keys that it gains or loses and no others.
//!
//! The ring holds all endpoints, whatever their standing: a key passes over those that are out
//! and finds its way back when they return, and no change of standing builds anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::endpoint_id;
use crate::snapshot::Endpoint;

/// A circle of points.
#[derive(Debug)]
pub(super) struct Ring {
    /// What it was built from.
    fingerprint: u64,
    /// In order of `at`.
    points: Vec<Point>,
    /// Where the points of each equal part of the circle begin; one more ends the last.
    parts: Vec<u32>,
    /// A hash shifted right by this is the number of its part.
    shift: u32,
}

/// A place on the circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    owner: u32,
}

/// The ring of an upstream, as the cores share it. Whoever knows of endpoints first builds it
/// ahead; a core does when nobody has, or when it needs one of endpoints that are about to go.
#[derive(Debug, Default)]
pub struct SharedRing {
    ring: ArcSwapOption<Ring>,
    /// Whether anybody balances by it.
    is_wanted: AtomicBool,
    /// Whether it is built ahead: then cores leave it as it is.
    is_prepared: AtomicBool,
}

/// Points that the endpoint of the largest weight has at least, while all fit.
const POINTS_EACH: u64 = 512;
/// Points in all: bounds memory (1.3 MiB) and the time to build (some milliseconds).
const POINTS_MAX: u64 = 1 << 16;

impl SharedRing {
    /// Says that requests are going to be balanced by it.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Builds the ring of these endpoints if it is wanted and not there: some milliseconds for a
    /// thousand of them. For the control plane, before cores hear of the endpoints.
    pub fn prepare(&self, endpoints: &[Endpoint]) {
        if !self.is_wanted.load(Ordering::Relaxed) {
            return;
        }
        let id = |one: &Endpoint| endpoint_id(&one.addr, &one.authority);
        let endpoints = endpoints.iter().map(|one| (id(one), one.weight));
        self.is_prepared.store(true, Ordering::Relaxed);
        let (ring, found) = self.find(&endpoints.collect::<Vec<_>>());
        if found == Found::Not {
            self.ring.store(Some(ring));
        }
    }

    /// The ring of these endpoints (id and weight), built when it is not there.
    pub(super) fn of(&self, endpoints: &[(u64, u32)]) -> Arc<Ring> {
        let (ring, found) = self.find(endpoints);
        if found == Found::Not && !self.is_prepared.load(Ordering::Relaxed) {
            self.ring.store(Some(Arc::clone(&ring)));
        }
        ring
    }

    #[cfg(test)]
    pub(super) fn is_built(&self) -> bool {
        self.ring.load().is_some()
    }

    fn find(&self, endpoints: &[(u64, u32)]) -> (Arc<Ring>, Found) {
        let fingerprint = fingerprint(endpoints);
        match self.ring.load_full() {
            Some(ring) if ring.fingerprint == fingerprint => (ring, Found::Shared),
            _ => (Arc::new(Ring::new(endpoints, fingerprint)), Found::Not),
        }
    }
}

/// Whether a ring was there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Shared,
    Not,
}

impl Ring {
    fn new(endpoints: &[(u64, u32)], fingerprint: u64) -> Ring {
        let scale = Scale::of(endpoints);
        let total: u64 = endpoints
            .iter()
            .map(|(_, weight)| scale.points(*weight))
            .sum();
        let bits = total.next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        // A counting sort by parts: the points are hashes, so each part gets about one.
        let mut parts = vec![0u32; (1 << bits) + 1];
        let mut loose = Vec::with_capacity(total as usize);
        for (owner, (id, weight)) in endpoints.iter().enumerate() {
            for ordinal in 0..scale.points(*weight) {
                let at = mix(id.wrapping_add(ordinal.wrapping_mul(ORDINAL)));
                parts[(at >> shift) as usize + 1] += 1;
                let owner = owner as u32;
                loose.push(Point { at, owner });
            }
        }
        let mut sum = 0;
        for part in &mut parts {
            sum += *part;
            *part = sum;
        }
        let mut points = vec![Point { at: 0, owner: 0 }; loose.len()];
        let mut ends = parts.clone();
        for point in loose {
            let end = &mut ends[(point.at >> shift) as usize];
            points[*end as usize] = point;
            *end += 1;
        }
        for bounds in parts.windows(2) {
            if let Some(part) = points.get_mut(bounds[0] as usize..bounds[1] as usize) {
                part.sort_unstable();
            }
        }
        Ring {
            fingerprint,
            points,
            parts,
            shift,
        }
    }

    /// The endpoints in the order of the points from `hash` on, round the circle, each as often
    /// as it has points; with a number that is spread evenly over its points, for a share.
    #[inline]
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = (usize, u32)> + '_ {
        let part = (hash >> self.shift) as usize;
        let mut first = self.parts.get(part).map_or(0, |at| *at as usize);
        while self.points.get(first).is_some_and(|point| point.at < hash) {
            first += 1;
        }
        let (before, behind) = self.points.split_at(first.min(self.points.len()));
        let round = behind.iter().chain(before);
        round.map(|point| (point.owner as usize, point.at as u32))
    }
}

/// How many points a weight is worth: a power of two of them per unit, so that it rarely
/// changes with the other endpoints.
struct Scale(i32);

impl Scale {
    fn of(endpoints: &[(u64, u32)]) -> Scale {
        let sum: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let heaviest = endpoints.iter().map(|(_, weight)| *weight).max();
        let heaviest = u64::from(heaviest.unwrap_or_default());
        // Rounding up adds less than one point for each endpoint.
        let room = POINTS_MAX.saturating_sub(endpoints.len() as u64).max(1);
        let mut scale = Scale(-32);
        while scale.0 < 16 {
            let next = Scale(scale.0 + 1);
            if next.floor(sum) > room || scale.floor(heaviest) >= POINTS_EACH {
                break;
            }
            scale = next;
        }
        scale
    }

    fn floor(&self, weight: u64) -> u64 {
        match self.0 {
            up @ 0.. => weight << up,
            down => weight >> -down,
        }
    }

    fn points(&self, weight: u32) -> u64 {
        match weight {
            0 => 0,
            weight => self.floor(u64::from(weight)).max(1),
        }
    }
}

fn fingerprint(endpoints: &[(u64, u32)]) -> u64 {
    endpoints.iter().fold(0, |sum, (id, weight)| {
        mix(sum ^ id).wrapping_add(u64::from(*weight))
    })
}

/// Steps between the ordinals of points; odd, so that all differ.
const ORDINAL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
#[inline]
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
