//! Weighted round robin by due times: an endpoint is due again one period after its last turn,
//! the period is the inverse of its weight, and whoever is due first goes first. The sequence
//! repeats itself after a cycle in which each has had exactly its weight, evenly spaced.
//!
//! What an endpoint still has to wait, as a share of its period, is kept with the endpoint when
//! the others change: neither an update nor a thousand of them send every core to the same one.

use super::ring::mix;
use super::{GOLDEN, fraction};
use crate::stats::CoreIndex;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    core: CoreIndex,
    /// Counts arrangements, so that newcomers get another place each time.
    arranged: u64,
    kind: Kind,
    /// A rotation in order, or a heap with the first one due on top.
    turns: Vec<Turn>,
    /// In a rotation, the next one.
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All weigh the same: in order, over and over.
    Rotation,
    /// A binary heap by due time.
    Heap,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: u64,
    period: u64,
    index: u32,
}

/// What an endpoint still has to wait for its turn, as a share of its period.
pub(super) type Wait = Option<f64>;

/// The period of weight 1.
const PERIOD: u64 = 1 << 40;
/// Due times are counted anew from here.
const DUE_MAX: u64 = 1 << 62;

impl Turns {
    pub(super) fn new(core: CoreIndex) -> Turns {
        Turns {
            core,
            arranged: 0,
            kind: Kind::Rotation,
            turns: Vec::new(),
            next: 0,
        }
    }

    /// Tells what each endpoint has yet to wait; those without a turn are not named.
    pub(super) fn settle(&self, mut wait: impl FnMut(usize, Wait)) {
        let due = |at: usize, turn: &Turn| match self.kind {
            Kind::Rotation if at < self.next => turn.due + turn.period,
            _ => turn.due,
        };
        let dues = || self.turns.iter().enumerate();
        let base = dues().map(|(at, turn)| due(at, turn)).min();
        for (at, turn) in dues() {
            let left = due(at, turn) - base.unwrap_or_default();
            let share = left as f64 / turn.period as f64;
            wait(turn.index as usize, Some(share.min(1.0)));
        }
    }

    /// Takes over endpoints: index, identity, weight above zero, and what each has to wait.
    pub(super) fn arrange(
        &mut self,
        endpoints: impl Iterator<Item = (usize, u64, u32, Wait)> + Clone,
    ) {
        self.arranged += 1;
        self.next = 0;
        self.turns.clear();
        let known = endpoints.clone().any(|(_, _, _, wait)| wait.is_some());
        let first_weight = endpoints.clone().next().map(|(_, _, weight, _)| weight);
        let alike = endpoints.clone().all(|one| Some(one.2) == first_weight);
        let weights = endpoints.clone().map(|(_, _, weight, _)| weight);
        let start = (!known).then(|| Start::new(self.core, self.arranged, weights));
        for (at, (index, id, weight, wait)) in endpoints.enumerate() {
            let period = PERIOD / u64::from(weight.max(1));
            let salt = (u64::from(self.core.0) << 32) ^ self.arranged;
            let wait = match (wait, &start) {
                (Some(wait), _) => wait,
                (None, Some(start)) => start.wait(at, weight),
                (None, None) => fraction(mix(id ^ mix(salt))),
            };
            self.turns.push(Turn {
                due: (wait * period as f64) as u64,
                period,
                index: index as u32,
            });
        }
        self.kind = match alike {
            true => Kind::Rotation,
            false => Kind::Heap,
        };
        // A sorted list is a heap as well.
        self.turns
            .sort_unstable_by_key(|turn| (turn.due, turn.index));
    }

    /// The next one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<usize> {
        if self.kind == Kind::Heap {
            return self.take_due(0);
        }
        let turn = match self.turns.get(self.next) {
            Some(turn) => turn,
            None => {
                self.next = 0;
                self.turns.first()?
            }
        };
        self.next += 1;
        Some(turn.index as usize)
    }

    /// The next one of those that `fits`; the others keep their turn, but save up no more than
    /// one.
    pub(super) fn take_fitting(&mut self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fitting = |turn: &Turn| fits(turn.index as usize);
        match self.kind {
            Kind::Rotation => {
                let rest = self.turns.iter().skip(self.next).position(fitting);
                let found = match rest {
                    Some(at) => self.next + at,
                    None => {
                        let found = self.turns.iter().position(fitting)?;
                        self.next = 0;
                        found
                    }
                };
                if let Some(passed) = self.turns.get_mut(self.next..=found) {
                    passed.rotate_right(1);
                }
                self.take()
            }
            Kind::Heap => {
                let all = self.turns.iter().enumerate();
                let fitting = all.filter(|(_, turn)| fitting(turn));
                let (at, due) = fitting
                    .map(|(at, turn)| (at, (turn.due, turn.index)))
                    .min_by_key(|(_, due)| *due)?;
                let taken = self.take_due(at);
                for turn in &mut self.turns {
                    turn.due = turn.due.max(due.0.saturating_sub(turn.period));
                }
                self.turns
                    .sort_unstable_by_key(|turn| (turn.due, turn.index));
                taken
            }
        }
    }

    /// Takes the turn at a place of the heap.
    #[inline]
    fn take_due(&mut self, at: usize) -> Option<usize> {
        let turn = self.turns.get_mut(at)?;
        turn.due += turn.period;
        let taken = *turn;
        let mut hole = at;
        loop {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            let Some(child) = self.turns.get(left) else {
                break;
            };
            let mut least = (left, *child);
            if let Some(other) = self.turns.get(right)
                && (other.due, other.index) < (child.due, child.index)
            {
                least = (right, *other);
            }
            if (taken.due, taken.index) <= (least.1.due, least.1.index) {
                break;
            }
            self.turns[hole] = least.1;
            hole = least.0;
        }
        self.turns[hole] = taken;
        if taken.due > DUE_MAX {
            self.rebase();
        }
        Some(taken.index as usize)
    }

    #[cold]
    fn rebase(&mut self) {
        let base = self.turns.iter().map(|turn| turn.due).min();
        for turn in &mut self.turns {
            turn.due -= base.unwrap_or_default();
        }
    }
}

/// Where a core begins that knows none of its endpoints: all cores have one schedule and begin
/// at other turns of it, so that even their first ones spread by weight.
struct Start {
    /// In periods of weight 1.
    time: f64,
}

impl Start {
    fn new(core: CoreIndex, arranged: u64, weights: impl Iterator<Item = u32> + Clone) -> Start {
        // Cores lie apart by the golden ratio, one arrangement from the next by another number.
        let turns = u64::from(core.0).wrapping_mul(GOLDEN);
        let place = fraction(turns.wrapping_add(arranged.wrapping_mul(SILVER)));
        let total: f64 = weights.clone().map(f64::from).sum();
        let (mut low, mut high) = (0.0, 1.0 / f64::from(weights.clone().min().unwrap_or(1)));
        let goal = place * total * high;
        for _ in 0..HALVINGS {
            let time = f64::midpoint(low, high);
            let weights = weights.clone().enumerate();
            let passed = weights.map(|(at, weight)| (time * f64::from(weight) - phase(at)).ceil());
            match passed.sum::<f64>() > goal {
                true => high = time,
                false => low = time,
            }
        }
        Start { time: low }
    }

    fn wait(&self, at: usize, weight: u32) -> f64 {
        (phase(at) - self.time * f64::from(weight)).rem_euclid(1.0)
    }
}

/// When an endpoint's first turn is in the schedule of all cores, as a share of its period:
/// without a rule, so that turns of different endpoints do not fall together.
fn phase(at: usize) -> f64 {
    fraction(mix(at as u64 + 1))
}

/// Steps of the search for a turn of the schedule.
const HALVINGS: u32 = 40;
/// The fraction of the square root of two, in units of 2^-64.
const SILVER: u64 = 0x6a09_e667_f3bc_c908;
