//! How busy endpoints are, as one core knows it: its own requests exactly, those of the other
//! cores as of a few milliseconds ago. Reading all cores' counts for each request would cost
//! more than the request; believing old counts would send every core to the same endpoint.

use std::time::Duration;

use super::ring::mix;
use super::{GOLDEN, Roster, Slot, fraction};
use crate::rt::clock::Moment;
use crate::stats::CoreIndex;

/// What one core knows of the others' requests to one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Others {
    /// Requests under way.
    active: u64,
    /// Requests begun so far.
    begun: u64,
    /// Requests begun each nanosecond, of late.
    rate: f64,
    /// When that was read.
    at: Moment,
    /// Sum of the cores' latency estimates, and how many have one.
    micros: f64,
    estimates: u32,
}

/// When the others' counts are read next, and where to go on.
#[derive(Debug, Default)]
pub(super) struct Reading {
    due: Moment,
    next: usize,
    /// Picks so far, for spreading.
    picks: u64,
}

/// An endpoint to choose from: index, requests under way, weight.
type Candidate = (u32, f64, f64);

/// Counts of other cores are read as often.
const REFRESH: Duration = Duration::from_millis(2);
/// Counts read at a time: cache lines that other cores write, some tens of nanoseconds each.
const READS_MAX: usize = 512;
/// Endpoints that least connections compares at a time, by the number of cores.
const COMPARED_MIN: usize = 16;
const COMPARED_MAX: usize = 64;

impl Others {
    fn read(&mut self, slot: &Slot, core: CoreIndex, now: Moment, measure: Measure) {
        let mut fresh = Others {
            at: now,
            ..Others::default()
        };
        if measure == Measure::Active {
            (fresh.micros, fresh.estimates) = (self.micros, self.estimates);
        }
        let cores = slot.state.stats.iter().enumerate();
        for (_, stats) in cores.filter(|(at, _)| *at != core.0 as usize) {
            let active = stats.active.value();
            fresh.active = fresh.active.wrapping_add(active);
            let begun = stats.requests.value().wrapping_add(active);
            fresh.begun = fresh.begun.wrapping_add(begun);
            if measure == Measure::Latency
                && let Some(micros) = stats.ewma.micros(now)
            {
                fresh.micros += micros;
                fresh.estimates += 1;
            }
        }
        let span = nanos(self.at, now);
        if self.at != Moment::default() && span > 0.0 {
            fresh.rate = fresh.begun.saturating_sub(self.begun) as f64 / span;
        }
        *self = fresh;
    }

    /// Requests that the others may have begun since, at the rate of late.
    fn unseen(&self, now: Moment) -> f64 {
        self.rate * nanos(self.at, now)
    }
}

impl Slot {
    /// Requests under way on all cores, as far as this one knows.
    #[inline]
    fn active(&self, core: CoreIndex) -> f64 {
        let own = self.state.stats.of(core).active.value();
        own.wrapping_add(self.others.active) as f64
    }

    /// Latency in microseconds: the mean of the cores' estimates.
    fn micros(&self, core: CoreIndex, now: Moment) -> Option<f64> {
        let own = self.state.stats.of(core).ewma.micros(now);
        let sum = self.others.micros + own.unwrap_or_default();
        match self.others.estimates + u32::from(own.is_some()) {
            0 => None,
            estimates => Some(sum / f64::from(estimates)),
        }
    }
}

impl Roster {
    /// Reads what other cores count, when that is due.
    #[inline]
    pub(super) fn refresh(&mut self, now: Moment) {
        if now >= self.reading.due {
            self.read_others(now);
        }
    }

    /// Reads what other cores count of one endpoint, when that is due.
    #[inline]
    fn refresh_one(&mut self, at: usize, now: Moment, measure: Measure) {
        if self.cores > 1 && now >= self.slots[at].others.at.after(REFRESH) {
            let mut others = self.slots[at].others;
            others.read(&self.slots[at], self.core, now, measure);
            self.slots[at].others = others;
        }
    }

    #[cold]
    fn read_others(&mut self, now: Moment) {
        let steps = self.slots.len().div_ceil(self.read_at_a_time());
        for _ in 0..self.slots.len().div_ceil(steps.max(1)) {
            let at = self.reading.next % self.slots.len();
            self.reading.next = at + 1;
            let mut others = self.slots[at].others;
            others.read(&self.slots[at], self.core, now, Measure::Active);
            self.slots[at].others = others;
        }
        self.reading.due = now.after(REFRESH);
    }

    fn read_at_a_time(&self) -> usize {
        (READS_MAX / self.cores).max(1)
    }

    /// A number in 0.0 to 1.0 that is spread evenly over this core's picks, and over the cores
    /// at each of them.
    fn spread(&mut self) -> f64 {
        self.reading.picks += 1;
        let picks = self.reading.picks.wrapping_mul(PLASTIC);
        fraction(
            u64::from(self.core.0)
                .wrapping_mul(GOLDEN)
                .wrapping_add(picks),
        )
    }

    /// The endpoint with the fewest requests beside its weight, as far as that can be known.
    ///
    /// The requests that others may have sent meanwhile are thought to have filled up the
    /// emptiest endpoints to one level, as all cores choose alike; this one goes to each of
    /// them in proportion to what it took to get there (Dahlin, "Interpreting Stale Load
    /// Information", 1999). On a single core that is the emptiest one.
    pub(super) fn pick_least(
        &mut self,
        now: Moment,
        fits: impl Fn(usize, &Slot) -> bool,
    ) -> Option<usize> {
        let point = self.spread();
        let count = self.live.len();
        let compared = (READS_MAX / self.cores).clamp(COMPARED_MIN, COMPARED_MAX);
        let place = point * count as f64;
        let (start, point) = match count > compared {
            true => (place as usize, place.fract()),
            false => (0, point),
        };
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let mut unseen = 0.0;
        for nth in 0..count {
            let at = self.live[(start + nth) % count] as usize;
            if !fits(at, &self.slots[at]) {
                continue;
            }
            self.refresh_one(at, now, Measure::Active);
            let slot = &self.slots[at];
            unseen += slot.others.unseen(now);
            let load = slot.active(self.core);
            candidates.push((at as u32, load, f64::from(slot.share)));
            if candidates.len() == compared {
                break;
            }
        }
        let burst = (self.cores as f64 - 1.0) * BURST;
        let found = fill(&candidates, 1.0 + burst + unseen, point);
        self.candidates = candidates;
        found
    }

    /// The less loaded of two drawn by weight.
    pub(super) fn pick_two(
        &mut self,
        random: u64,
        now: Moment,
        measure: Measure,
        fits: impl Fn(usize, &Slot) -> bool,
    ) -> Option<usize> {
        let fitting = |at: usize, slot: &Slot| fits(at, slot);
        let first = self.draw_fitting(random, fitting)?;
        let other = |at: usize, slot: &Slot| at != first && fits(at, slot);
        let Some(second) = self.draw_fitting(mix(random ^ GOLDEN), other) else {
            return Some(first);
        };
        self.refresh_one(first, now, measure);
        self.refresh_one(second, now, measure);
        let (one, other) = (&self.slots[first], &self.slots[second]);
        let (mut slow, mut other_slow) = (1.0, 1.0);
        if measure == Measure::Latency {
            let micros = (one.micros(self.core, now), other.micros(self.core, now));
            // One that nobody has measured is thought to be as the other.
            slow = micros.0.or(micros.1).unwrap_or(1.0);
            other_slow = micros.1.unwrap_or(slow);
        }
        let cost =
            |slot: &Slot, slow: f64| slow * (slot.active(self.core) + 1.0) / f64::from(slot.share);
        match cost(one, slow) <= cost(other, other_slow) {
            true => Some(first),
            false => Some(second),
        }
    }

    /// One of those that `fits`, drawn by weight.
    pub(super) fn draw_fitting(
        &self,
        random: u64,
        fits: impl Fn(usize, &Slot) -> bool,
    ) -> Option<usize> {
        let mut bits = random;
        for _ in 0..DRAWS {
            bits = mix(bits.wrapping_add(GOLDEN));
            let at = self.draw(bits)?;
            if fits(at, &self.slots[at]) {
                return Some(at);
            }
        }
        let mut rest = self.live.iter().map(|at| *at as usize);
        let skipped = (bits >> 32) as usize % self.live.len();
        let fitting = |at: &usize| fits(*at, &self.slots[*at]);
        let behind = rest.clone().skip(skipped).find(fitting);
        behind.or_else(|| rest.find(fitting))
    }

    /// One in use, drawn by weight.
    fn draw(&self, bits: u64) -> Option<usize> {
        let total = *self.sums.last()?;
        let point = ((u128::from(bits) * u128::from(total)) >> 64) as u64;
        let at = self.sums.partition_point(|sum| *sum <= point);
        self.live.get(at).map(|at| *at as usize)
    }

    /// The load that a hashed key's endpoint may have, for each unit of weight.
    pub(super) fn level_max(&mut self, factor: f64, now: Moment) -> f64 {
        self.refresh(now);
        let live = self.live.iter().map(|at| &self.slots[*at as usize]);
        let (mut active, mut weight) = (1.0, 0.0);
        for slot in live {
            active += slot.active(self.core);
            weight += f64::from(slot.share);
        }
        factor * active / weight
    }

    /// Whether one more request would put an endpoint above the level.
    pub(super) fn is_above(&self, at: usize, level: f64) -> bool {
        let slot = &self.slots[at];
        slot.active(self.core) + 1.0 > (level * f64::from(slot.share)).ceil()
    }

    /// The least busy one of those that `fits`.
    pub(super) fn least_of(&self, fits: impl Fn(usize, &Slot) -> bool) -> Option<usize> {
        let fitting = self.slots.iter().enumerate();
        let fitting = fitting.filter(|(at, slot)| fits(*at, slot));
        let load = |slot: &Slot| slot.active(self.core) / f64::from(slot.share.max(1));
        fitting
            .map(|(at, slot)| (at, load(slot)))
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(at, _)| at)
    }
}

/// From one moment to the next; [`Duration`] counts in 128 bits, which are slow to convert.
fn nanos(from: Moment, to: Moment) -> f64 {
    to.0.saturating_sub(from.0) as f64
}

/// What two endpoints are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Requests under way.
    Active,
    /// Latency times requests under way.
    Latency,
}

/// Share of the other cores that pick at the same moment.
const BURST: f64 = 0.125;
/// Draws before a search.
const DRAWS: usize = 4;
/// The fraction of the plastic number, in units of 2^-64: with the golden ratio beside it,
/// points of cores and picks do not line up.
const PLASTIC: u64 = 0x5320_b74f_ca45_3297;

/// Pours `amount` over the candidates, and picks by where it goes.
fn fill(candidates: &[Candidate], amount: f64, point: f64) -> Option<usize> {
    let mut level = f64::INFINITY;
    loop {
        let under = candidates.iter().filter(|one| one.1 < level * one.2);
        let (load, weight) = under.fold((amount, 0.0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
        let lower = load / weight;
        if lower >= level || weight == 0.0 {
            break;
        }
        level = lower;
    }
    let mut left = point * amount;
    let mut last = None;
    for (at, load, weight) in candidates {
        let room = level * weight - load;
        if room > 0.0 {
            last = Some(*at as usize);
            left -= room;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}
