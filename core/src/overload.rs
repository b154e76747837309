//! Refusing work early when there is too much of it: the less urgent requests first, so that the
//! others are still answered in time.
//!
//! Two signs tell: how late a worker's loop comes to its tick, which is how long anything that
//! became ready has waited for its turn, and the memory of the process. Each stands for a level;
//! it rises at once and falls slowly, the slower the more often it has had to rise again.

use std::cell::Cell;
use std::time::Duration;

use crate::policy::{Overload, Urgency};

/// How much is refused: nothing at 0, low urgency at 1, normal at 2, high at 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// Whether requests of this urgency are refused.
    #[inline]
    pub fn refuses(self, urgency: Urgency) -> bool {
        self.0 > urgency as u8
    }

    /// From 0 to 3.
    pub fn value(self) -> u8 {
        self.0
    }
}

/// What presses on one worker. The engine looks at it once a request, and moves it once a tick.
#[derive(Debug, Default)]
pub struct Pressure {
    signs: Cell<Signs>,
    level: Cell<Level>,
    /// Requests refused so far, by urgency.
    refused: [Cell<u64>; 4],
}

impl Pressure {
    /// Whether a request of this urgency is to be refused; one that is counts as refused.
    #[inline]
    pub fn refuses(&self, urgency: Urgency) -> bool {
        if !self.level.get().refuses(urgency) {
            return false;
        }
        let refused = &self.refused[urgency as usize];
        refused.set(refused.get() + 1);
        true
    }

    /// A tick of the worker, which came `late`, of a process of `resident` bytes.
    pub fn tick(&self, policy: &Overload, late: Duration, resident: u64) {
        let signs = self.signs.get().after(policy, late, resident);
        self.signs.set(signs);
        self.level.set(signs.level());
    }

    /// How much is refused.
    pub fn level(&self) -> Level {
        self.level.get()
    }

    /// Lateness of the loop, averaged over the last ticks.
    pub fn lag(&self) -> Duration {
        Duration::from_nanos(self.signs.get().lag_nanos as u64)
    }

    /// Requests refused so far, by urgency.
    pub fn refused(&self) -> [u64; 4] {
        std::array::from_fn(|urgency| self.refused[urgency].get())
    }
}

/// What a worker knows of its load.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    lag_nanos: f64,
    by_lag: Sign,
    by_memory: Sign,
}

/// Of the average lateness, what one tick makes up.
const LAG_SHARE: f64 = 0.25;
/// Times the bound that one tick counts at most: a single long pause, such as of a machine that
/// was stopped, is over when it is noticed.
const LATE_MAX: f64 = 8.0;
/// Times the bound at which the levels begin.
const LAG_STEPS: Steps = Steps {
    rise: [1.0, 2.0, 4.0],
    fall: 0.7,
};
/// Memory does not fall as lateness does; what is refused keeps it from growing.
const MEMORY_STEPS: Steps = Steps {
    rise: [1.0, 1.05, 1.10],
    fall: 0.97,
};

impl Signs {
    fn after(self, policy: &Overload, late: Duration, resident: u64) -> Signs {
        let (lag_max, memory_max) = (policy.lag_max.as_nanos() as f64, policy.memory_max as f64);
        let late = match lag_max > 0.0 {
            true => (late.as_nanos() as f64).min(lag_max * LATE_MAX),
            false => late.as_nanos() as f64,
        };
        let lag_nanos = self.lag_nanos + (late - self.lag_nanos) * LAG_SHARE;
        Signs {
            lag_nanos,
            by_lag: match lag_max > 0.0 {
                true => self.by_lag.after(lag_nanos / lag_max, &LAG_STEPS),
                false => Sign::default(),
            },
            by_memory: match memory_max > 0.0 {
                true => self
                    .by_memory
                    .after(resident as f64 / memory_max, &MEMORY_STEPS),
                false => Sign::default(),
            },
        }
    }

    fn level(&self) -> Level {
        Level(self.by_lag.level.max(self.by_memory.level))
    }
}

/// Where the levels of a sign begin, as multiples of its bound.
struct Steps {
    rise: [f64; 3],
    /// A level is left below this share of where it begins.
    fall: f64,
}

/// One sign, and how its level moves.
#[derive(Clone, Copy, Debug)]
struct Sign {
    level: u8,
    /// Ticks in a row that would do with a lower level.
    calm: u32,
    /// Calm ticks that it takes to fall by one level.
    hold: u32,
    /// Ticks since it fell.
    fell: u32,
}

impl Default for Sign {
    fn default() -> Sign {
        Sign {
            level: 0,
            calm: 0,
            hold: HOLD_MIN,
            fell: u32::MAX,
        }
    }
}

/// A second.
const HOLD_MIN: u32 = 10;
/// Sixteen seconds: what was refused is let in for long enough to see what comes of it, a small
/// share of the time.
const HOLD_MAX: u32 = 160;

impl Sign {
    fn after(self, pressure: f64, steps: &Steps) -> Sign {
        let reached = steps.rise.iter().filter(|rise| pressure >= **rise).count() as u8;
        let fell = self.fell.saturating_add(1);
        if reached > self.level {
            // Whatever was let in again has brought it back.
            let hold = match self.fell < 2 * self.hold {
                true => (self.hold * 2).min(HOLD_MAX),
                false if self.level == 0 => HOLD_MIN,
                false => self.hold,
            };
            return Sign {
                level: reached,
                calm: 0,
                hold,
                fell,
            };
        }
        let step = steps.rise.get(usize::from(self.level).wrapping_sub(1));
        match step {
            Some(rise) if pressure < rise * steps.fall => {}
            _ => {
                return Sign {
                    calm: 0,
                    fell,
                    ..self
                };
            }
        }
        match self.calm + 1 {
            calm if calm >= self.hold => Sign {
                level: self.level - 1,
                calm: 0,
                fell: 0,
                ..self
            },
            calm => Sign { calm, fell, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Overload = Overload {
        lag_max: Duration::from_millis(50),
        memory_max: 1_000,
    };
    const ALL: [Urgency; 4] = [
        Urgency::Low,
        Urgency::Normal,
        Urgency::High,
        Urgency::Critical,
    ];

    fn late(pressure: &Pressure, ms: u64, ticks: u32) -> u8 {
        for _ in 0..ticks {
            pressure.tick(&POLICY, Duration::from_millis(ms), 0);
        }
        pressure.level().value()
    }

    fn heavy(pressure: &Pressure, resident: u64, ticks: u32) -> u8 {
        for _ in 0..ticks {
            pressure.tick(&POLICY, Duration::ZERO, resident);
        }
        pressure.level().value()
    }

    #[test]
    fn each_level_refuses_one_urgency_more_and_none_the_critical() {
        let refused = |level| ALL.map(|urgency| Level(level).refuses(urgency));
        assert_eq!(refused(0), [false; 4]);
        assert_eq!(refused(1), [true, false, false, false]);
        assert_eq!(refused(2), [true, true, false, false]);
        assert_eq!(refused(3), [true, true, true, false]);
    }

    #[test]
    fn lateness_that_lasts_raises_the_level_by_its_size() {
        for (ms, level) in [(40, 0), (60, 1), (120, 2), (250, 3)] {
            assert_eq!(late(&Pressure::default(), ms, 50), level, "{ms} ms");
        }
    }

    #[test]
    fn the_level_falls_one_by_one_once_it_has_been_calm() {
        let pressure = Pressure::default();
        assert_eq!(late(&pressure, 300, 50), 3);
        let mut seen = vec![3];
        for _ in 0..100 {
            let level = late(&pressure, 0, 1);
            if seen.last() != Some(&level) {
                seen.push(level);
            }
        }
        assert_eq!(seen, [3, 2, 1, 0]);
    }

    #[test]
    fn one_long_pause_is_forgiven_soon() {
        let pressure = Pressure::default();
        assert!(late(&pressure, 60_000, 1) > 0);
        assert_eq!(late(&pressure, 0, 40), 0);
    }

    #[test]
    fn memory_has_steps_of_its_own() {
        for (bytes, level) in [(999, 0), (1_000, 1), (1_049, 1), (1_050, 2), (1_100, 3)] {
            assert_eq!(heavy(&Pressure::default(), bytes, 3), level, "{bytes}");
        }
        let pressure = Pressure::default();
        assert_eq!(heavy(&pressure, 1_000, 1), 1);
        assert_eq!(
            heavy(&pressure, 980, 1_000),
            1,
            "it is not far enough below"
        );
        assert_eq!(heavy(&pressure, 960, 20), 0);
    }

    #[test]
    fn without_bounds_nothing_is_refused() {
        let pressure = Pressure::default();
        assert_eq!(late(&pressure, 300, 50), 3);
        pressure.tick(&Overload::default(), Duration::from_secs(9), u64::MAX);
        assert_eq!(pressure.level(), Level(0));
        assert!(ALL.iter().all(|urgency| !pressure.refuses(*urgency)));
    }

    #[test]
    fn what_is_refused_is_counted_by_urgency() {
        let pressure = Pressure::default();
        late(&pressure, 120, 50);
        let refused = ALL.map(|urgency| pressure.refuses(urgency));
        assert_eq!(refused, [true, true, false, false]);
        assert_eq!(pressure.refused(), [1, 1, 0, 0]);
    }

    /// A worker that is offered more than it can do: what is not refused and not done waits.
    /// Returns the ticks at which each urgency was refused, how often the level changed, and the
    /// mean lateness, all of the last nine minutes of ten.
    fn simulate(offered: [f64; 4]) -> ([u32; 4], u32, f64) {
        let (pressure, mut waiting) = (Pressure::default(), 0.0f64);
        let (mut refused, mut changes, mut sum) = ([0; 4], 0, 0.0);
        for tick in 0..6_000 {
            let level = pressure.level();
            let taken = ALL.iter().zip(offered);
            let taken = taken.filter(|(urgency, _)| !level.refuses(**urgency));
            waiting = (waiting + taken.map(|(_, load)| load).sum::<f64>() - 1.0).max(0.0);
            let late = Duration::from_secs_f64(waiting * 0.1);
            pressure.tick(&POLICY, late, 0);
            if tick >= 600 {
                for (count, urgency) in refused.iter_mut().zip(ALL) {
                    *count += u32::from(level.refuses(urgency));
                }
                changes += u32::from(pressure.level() != level);
                sum += late.as_secs_f64();
            }
        }
        (refused, changes, sum / 5_400.0)
    }

    #[test]
    fn a_worker_with_too_much_to_do_refuses_as_little_as_it_takes() {
        // Without the low ones there is enough time.
        let ([low, normal, high, critical], changes, lag) = simulate([0.5, 0.3, 0.2, 0.2]);
        assert!(low > 4_500, "{low}");
        assert!(
            normal < 540 && high == 0 && critical == 0,
            "{normal} {high}"
        );
        assert!(changes < 120, "{changes} changes in nine minutes");
        assert!(lag < 0.05, "{lag}");
        // Only without the normal ones as well.
        let ([low, normal, high, critical], changes, lag) = simulate([0.5, 0.5, 0.5, 0.2]);
        assert!(low > 5_000 && normal > 4_500, "{low} {normal}");
        assert!(high < 540 && critical == 0, "{high}");
        assert!(changes < 120, "{changes} changes in nine minutes");
        assert!(lag < 0.1, "{lag}");
    }

    #[test]
    fn a_worker_with_enough_time_refuses_nobody() {
        assert_eq!(simulate([0.3, 0.3, 0.2, 0.1]).0, [0; 4]);
    }
}
