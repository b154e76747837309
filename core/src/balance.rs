//! Picking endpoints: pure decisions of one core that still balance over all of them.
//!
//! A [`Roster`] is one core's view of an upstream's endpoints. It is sorted anew only when
//! something about them has changed; a pick in between reads and writes memory of its own core,
//! and never allocates (but for the first hashed one behind a change of endpoints).

pub mod ewma;
mod load;
mod ring;
#[cfg(test)]
mod simulation;
mod standing;
pub mod sticky;
#[cfg(test)]
mod tests;
mod tiers;
mod turns;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::fleet::{EndpointState, Health, UpstreamState};
use crate::policy::{Algorithm, Balance, Choice};
use crate::rt::Addr;
use crate::rt::clock::Moment;
use crate::snapshot::Endpoint;
use crate::stats::CoreIndex;

pub use ring::SharedRing;
pub use standing::{Mode, Place, Standing};

use load::{Measure, Others, Reading};
use ring::{Ring, mix};
use tiers::{Belief, Fact, Fitness, Tier, Trust};
use turns::{Turns, Wait};

/// One core's view of an upstream's endpoints.
#[derive(Debug)]
pub struct Roster {
    core: CoreIndex,
    /// How many there are.
    cores: usize,
    /// What `UpstreamState::changes` said when it was sorted.
    changes: u32,
    /// When it must be sorted anew though nothing changes.
    recheck_at: Moment,
    slots: Vec<Slot>,
    /// Those in use, in order of the endpoints.
    live: Vec<u32>,
    /// Sums of the weights of those in use, each with the ones before it.
    sums: Vec<u64>,
    tiers: Vec<Tier>,
    belief: Belief,
    turns: Turns,
    reading: Reading,
    ring: Option<Arc<Ring>>,
    /// Memory of a pick.
    candidates: Vec<(u32, f64, f64)>,
    /// Memory of a sort.
    facts: Vec<Fact>,
}

/// An endpoint as a roster has it.
#[derive(Debug)]
struct Slot {
    state: Arc<EndpointState>,
    id: u64,
    weight: u32,
    place: Place,
    /// Of `tiers`, by index.
    tier: usize,
    /// Weight beside the others in use; zero when it is not in use.
    share: u32,
    /// Share of its hashed keys that it gets, of `u32::MAX`.
    gate: u32,
    wait: Wait,
    others: Others,
}

/// A request that needs an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// How it is picked.
    pub choice: &'a Choice,
    /// The upstream's state, through which cores share a hash ring.
    pub state: &'a UpstreamState,
    /// The hash of the client's address or of the key, for the two algorithms that want one.
    pub hash: u64,
    /// Any number, for the algorithms that draw.
    pub random: u64,
    /// Now.
    pub now: Moment,
    /// Endpoints that the request has been sent to: avoided while others are left.
    pub tried: &'a [usize],
    /// An endpoint with as many requests under way is not picked; zero for no limit. Cores that
    /// pick at the same moment may exceed it by one each.
    pub requests_max: u32,
    /// The endpoint that a cookie names: picked when it is available.
    pub pinned: Option<usize>,
}

/// The share of its weight that an endpoint gets when it has just come back.
const RAMP_MIN: f64 = 0.1;
/// Steps of a slow start.
const RAMP_STEPS: u32 = 20;
/// What weights are multiplied by when they are no whole numbers.
const SCALE: f64 = (1 << 24) as f64;
/// Points of the ring that a key looks at before it chooses among all.
const STEPS_MAX: usize = 256;
/// The fraction of the golden ratio, in units of 2^-64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Roster {
    /// A roster without endpoints.
    pub fn new(core: CoreIndex) -> Roster {
        Roster {
            core,
            cores: 1,
            changes: 0,
            recheck_at: Moment(0),
            slots: Vec::new(),
            live: Vec::new(),
            sums: Vec::new(),
            tiers: Vec::new(),
            belief: Belief::Believed,
            turns: Turns::new(core),
            reading: Reading::default(),
            ring: None,
            candidates: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Whether it must be sorted before the next pick.
    #[inline]
    pub fn is_stale(&self, state: &UpstreamState, now: Moment) -> bool {
        state.changes() != self.changes || now >= self.recheck_at
    }

    /// Has it sorted before the next pick: its endpoints were replaced.
    pub fn expire(&mut self) {
        self.recheck_at = Moment(0);
    }

    /// Sorts the endpoints; `blocked` tells until when the breaker of one keeps it out.
    pub fn sort(
        &mut self,
        policy: &Balance,
        endpoints: &[Endpoint],
        state: &UpstreamState,
        now: Moment,
        blocked: impl Fn(usize) -> Option<Moment>,
    ) {
        // Read before anything that it stands for.
        self.changes = state.changes();
        self.recheck_at = Moment(u64::MAX);
        self.keep_turns();
        self.take_over(endpoints);
        self.facts.clear();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let (fact, until) = look(policy, endpoint, now, blocked(index));
            self.recheck_at = self.recheck_at.min(until);
            self.facts.push(fact);
        }
        self.belief = tiers::weigh(policy, &self.facts, &mut self.tiers);
        self.place_all();
        let panics = self.belief == Belief::Ignored;
        if state.panics.load(std::sync::atomic::Ordering::Relaxed) != panics {
            state
                .panics
                .store(panics, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Picks an endpoint, by its index. None when there is none, or all are at their limit.
    #[inline]
    pub fn pick(&mut self, ask: &Ask<'_>) -> Option<usize> {
        let free = ask.tried.is_empty() && ask.requests_max == 0 && ask.pinned.is_none();
        match ask.choice.algorithm {
            Algorithm::RoundRobin if free => self.turns.take(),
            _ => self.pick_fitting(ask),
        }
    }

    /// The identity of an endpoint, as [`endpoint_id`] tells it.
    pub fn id(&self, index: usize) -> Option<u64> {
        self.slots.get(index).map(|slot| slot.id)
    }

    /// The endpoint of an identity.
    pub fn index_of(&self, id: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.id == id)
    }

    fn pick_fitting(&mut self, ask: &Ask<'_>) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let has_room = |slot: &Slot| {
            ask.requests_max == 0 || slot.state.active() < u64::from(ask.requests_max)
        };
        let fits = |at: usize, slot: &Slot| !ask.tried.contains(&at) && has_room(slot);
        if let Some(at) = ask.pinned
            && let Some(slot) = self.slots.get(at)
            && slot.is_usable()
            && fits(at, slot)
        {
            return Some(at);
        }
        let found = match ask.choice.algorithm {
            // Whoever follows a failing endpoint would get all of its retries.
            Algorithm::RoundRobin if !ask.tried.is_empty() => self.draw_fitting(ask.random, fits),
            Algorithm::RoundRobin => {
                let slots = &self.slots;
                self.turns.take_fitting(|at| fits(at, &slots[at]))
            }
            Algorithm::LeastConnections => self.pick_least(ask.now, fits),
            Algorithm::RandomTwo => self.pick_two(ask.random, ask.now, Measure::Active, fits),
            Algorithm::PeakEwma => self.pick_two(ask.random, ask.now, Measure::Latency, fits),
            Algorithm::IpHash | Algorithm::ConsistentHash => self.pick_hashed(ask, fits),
        };
        let spare = || self.least_of(|at, slot| slot.place == Place::Spare && fits(at, slot));
        let again = || self.least_of(|_, slot| slot.is_usable() && has_room(slot));
        found.or_else(spare).or_else(again)
    }

    /// The first endpoint behind the key's point on the ring that is in use, of the key's group,
    /// and not too busy.
    fn pick_hashed(&mut self, ask: &Ask<'_>, fits: impl Fn(usize, &Slot) -> bool) -> Option<usize> {
        let bound = ask.choice.bounded_load;
        let level = bound.map(|factor| self.level_max(factor.max(1.0), ask.now));
        let tier = self.tier_of(ask.hash);
        let ring = self.ring.get_or_insert_with(|| {
            let endpoints = self.slots.iter().map(|slot| (slot.id, slot.weight));
            ask.state.ring.of(&endpoints.collect::<Vec<_>>())
        });
        let ring = Arc::clone(ring);
        let mut busy = None;
        for (at, spot) in ring.from(ask.hash).take(STEPS_MAX) {
            let slot = &self.slots[at];
            if slot.share == 0 || slot.tier != tier || spot > slot.gate || busy == Some(at) {
                continue;
            }
            if !fits(at, slot) {
                continue;
            }
            if !level.is_some_and(|level| self.is_above(at, level)) {
                return Some(at);
            }
            busy = busy.or(Some(at));
        }
        // Few of many are in use: the highest of their own hashes with the key decides, which
        // moves as few keys.
        let live = self.live.iter().map(|at| *at as usize);
        let rank = |at: &usize| mix(ask.hash ^ self.slots[*at].id);
        let fitting = live.filter(|at| fits(*at, &self.slots[*at]));
        busy.or_else(|| fitting.max_by_key(rank))
    }

    /// The group that a key belongs to: the groups in use have it by their shares.
    fn tier_of(&self, hash: u64) -> usize {
        let point = fraction(mix(hash ^ GOLDEN));
        let mut sum = 0.0;
        let mut shares = self.tiers.iter().map(|tier| tier.share);
        let found = shares.position(|share| {
            sum += share;
            share > 0.0 && point < sum
        });
        found.unwrap_or_default()
    }

    /// Notes what each endpoint has yet to wait for its turn.
    fn keep_turns(&mut self) {
        for slot in &mut self.slots {
            slot.wait = None;
        }
        let slots = &mut self.slots;
        self.turns.settle(|at, wait| {
            if let Some(slot) = slots.get_mut(at) {
                slot.wait = wait;
            }
        });
    }

    /// Takes over the list of endpoints; those that stay keep what is known of them.
    fn take_over(&mut self, endpoints: &[Endpoint]) {
        let is_same = |(slot, endpoint): (&Slot, &Endpoint)| {
            Arc::ptr_eq(&slot.state, &endpoint.state) && slot.weight == endpoint.weight
        };
        let pairs = self.slots.iter().zip(endpoints);
        if self.slots.len() == endpoints.len() && pairs.clone().all(is_same) {
            return;
        }
        let first = endpoints.first().map(|one| one.state.stats.iter().count());
        self.cores = first.unwrap_or(1).max(1);
        self.ring = None;
        self.reading = Reading::default();
        let former = std::mem::take(&mut self.slots);
        let mut next = 0;
        self.slots.reserve(endpoints.len());
        for endpoint in endpoints {
            // Lists mostly keep their order, so the search begins behind the last one found.
            let (before, behind) = former.split_at(next);
            let is_same = |(_, slot): &(usize, &Slot)| Arc::ptr_eq(&slot.state, &endpoint.state);
            let mut round = (next..).zip(behind).chain((0..).zip(before));
            let same = round.find(is_same);
            if let Some((at, _)) = same {
                next = at + 1;
            }
            let same = same.map(|(_, slot)| slot);
            self.slots.push(Slot {
                state: Arc::clone(&endpoint.state),
                id: same.map_or_else(
                    || endpoint_id(&endpoint.addr, &endpoint.authority),
                    |slot| slot.id,
                ),
                weight: endpoint.weight,
                place: Place::Drained,
                tier: 0,
                share: 0,
                gate: u32::MAX,
                wait: same.and_then(|slot| slot.wait),
                others: same.map(|slot| slot.others).unwrap_or_default(),
            });
        }
    }

    /// Gives every endpoint its place, and those in use their weights and turns.
    fn place_all(&mut self) {
        let in_use = self.tiers.iter().filter(|tier| tier.share > 0.0).count();
        let is_ramped = |fact: &Fact| fact.ramp < 1.0 && tiers::is_usable(fact, self.belief);
        let exact = in_use <= 1 && !self.facts.iter().any(is_ramped);
        self.live.clear();
        self.sums.clear();
        let mut sum = 0;
        for (index, (slot, fact)) in self.slots.iter_mut().zip(&self.facts).enumerate() {
            let rank = self
                .tiers
                .binary_search_by_key(&fact.rank, |tier| tier.rank);
            slot.tier = rank.unwrap_or_default();
            slot.gate = (fact.ramp * f64::from(u32::MAX)) as u32;
            slot.share = 0;
            slot.place = Place::idle(fact);
            if !tiers::is_usable(fact, self.belief) {
                continue;
            }
            slot.place = Place::Spare;
            let Some(tier) = self.tiers.get(slot.tier).filter(|tier| tier.share > 0.0) else {
                continue;
            };
            let scaled = tier.scaled(fact);
            slot.place = Place::Used { share: scaled };
            slot.share = match exact {
                true => fact.weight,
                false => ((scaled * SCALE) as u32).max(1),
            };
            sum += u64::from(slot.share);
            self.live.push(index as u32);
            self.sums.push(sum);
        }
        let slots = &self.slots;
        let live = self.live.iter().map(|at| {
            let slot = &slots[*at as usize];
            (*at as usize, slot.id, slot.share, slot.wait)
        });
        self.turns.arrange(live);
    }
}

impl Slot {
    /// Whether nothing stands against it that is believed.
    fn is_usable(&self) -> bool {
        matches!(self.place, Place::Used { .. } | Place::Spare)
    }
}

/// What is known of an endpoint, and when that changes by itself.
fn look(
    policy: &Balance,
    endpoint: &Endpoint,
    now: Moment,
    blocked: Option<Moment>,
) -> (Fact, Moment) {
    let state = &*endpoint.state;
    let ejected = state.ejected_until(now);
    let blocked = blocked.filter(|until| *until > now);
    let bad = state.health() == Health::Bad;
    let fitness = match (blocked, ejected) {
        _ if state.is_drained() => Fitness::Drained,
        (Some(until), _) => Fitness::Broken { until },
        _ if bad => Fitness::Unhealthy,
        (None, Some(until)) => Fitness::Ejected { until },
        (None, None) => Fitness::Fit,
    };
    let mut ramp = 1.0;
    let mut until = [blocked, ejected].into_iter().flatten().min();
    let since = state.available_since();
    // An ejection's end lies ahead; `until` has it already.
    let starts = !policy.slow_start.is_zero() && since != Moment::default() && since <= now;
    if starts && now < since.after(policy.slow_start) {
        let passed = now.since(since).as_secs_f64() / policy.slow_start.as_secs_f64();
        ramp = RAMP_MIN + (1.0 - RAMP_MIN) * passed;
        let step = (policy.slow_start / RAMP_STEPS).max(Duration::from_millis(1));
        let next = now.after(step);
        until = Some(until.map_or(next, |until| until.min(next)));
    }
    let zone = policy.zone.as_deref();
    let elsewhere = zone.is_some() && endpoint.zone.as_deref() != zone;
    let fact = Fact {
        weight: endpoint.weight,
        rank: (endpoint.priority, elsewhere),
        fitness,
        trust: match bad || ejected.is_some() {
            true => Trust::Bad,
            false => Trust::Good,
        },
        ramp,
    };
    (fact, until.unwrap_or(Moment(u64::MAX)))
}

/// The identity of an endpoint: the same in every process.
pub fn endpoint_id(addr: &Addr, authority: &str) -> u64 {
    xxh3_64(format!("{addr}\n{authority}").as_bytes())
}

/// The hash of a client's address; an IPv4 address has one hash, however it was written.
pub fn hash_address(addr: IpAddr) -> u64 {
    match addr.to_canonical() {
        IpAddr::V4(addr) => xxh3_64(&addr.octets()),
        IpAddr::V6(addr) => xxh3_64(&addr.octets()),
    }
}

/// A number in 0.0 to 1.0 from 64 bits.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
