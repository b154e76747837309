//! Whether a peer keeps up: bytes against the time spent waiting for it. Time in which nobody
//! waits for it, because the other peer is slow or has nothing to say, does not count.

use crate::rt::wheel::Ticks;

/// A peer's pace over one body.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second; zero for no bound.
    rate_min: u32,
    /// Ticks spent waiting for the peer in this window. A wait shorter than a tick counts as one
    /// as often as a tick falls into it, which is right on average.
    waited: u32,
    /// Bytes of the body before this window.
    before: u64,
}

/// What a look at a pace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    Enough,
    TooSlow,
}

/// Ticks of waiting over which a pace is averaged: ten seconds.
pub(super) const WINDOW: u32 = 100;
const TICKS_PER_SECOND: u64 = 10;

impl Pace {
    pub(super) fn at_least(rate_min: u32) -> Pace {
        Pace {
            rate_min,
            ..Pace::default()
        }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.rate_min > 0
    }

    /// Bytes of a piece in time: ticks that it may take behind a window.
    pub(super) fn allows(&self, bytes: u64) -> u32 {
        match self.rate_min {
            0 => u32::MAX,
            rate => {
                let ticks = bytes.saturating_mul(TICKS_PER_SECOND) / u64::from(rate);
                u32::try_from(ticks).map_or(u32::MAX, |ticks| ticks.saturating_add(WINDOW))
            }
        }
    }

    /// A wait, no longer than what is left of the window when `total` bytes are too few for it.
    pub(super) fn within(&self, wait: Ticks, total: u64) -> Ticks {
        if !self.is_bounded() || self.suffices(WINDOW, total) {
            return wait;
        }
        let left = Ticks(WINDOW.saturating_sub(self.waited).max(1));
        match wait {
            Ticks::NEVER => left,
            wait => wait.min(left),
        }
    }

    /// So many ticks were spent waiting, and `total` bytes have passed since the body began.
    pub(super) fn after(&mut self, ticks: u32, total: u64) -> Speed {
        self.waited = self.waited.saturating_add(ticks);
        if self.waited < WINDOW || !self.is_bounded() {
            return Speed::Enough;
        }
        let suffices = self.suffices(self.waited, total);
        (self.waited, self.before) = (0, total);
        match suffices {
            true => Speed::Enough,
            false => Speed::TooSlow,
        }
    }

    fn suffices(&self, ticks: u32, total: u64) -> bool {
        let passed = total.saturating_sub(self.before);
        passed * TICKS_PER_SECOND >= u64::from(ticks) * u64::from(self.rate_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that pass in each wait of so many ticks; tells at which wait it was too slow.
    fn too_slow_at(rate_min: u32, waits: &[(u32, u64)]) -> Option<usize> {
        let (mut pace, mut total) = (Pace::at_least(rate_min), 0);
        waits.iter().position(|(ticks, bytes)| {
            total += bytes;
            pace.after(*ticks, total) == Speed::TooSlow
        })
    }

    #[test]
    fn a_window_of_waiting_has_to_bring_its_bytes() {
        assert_eq!(too_slow_at(100, &[(50, 1), (49, 1), (1, 1)]), Some(2));
        assert_eq!(too_slow_at(100, &[(50, 999), (50, 1), (99, 0)]), None);
        assert_eq!(too_slow_at(100, &[(50, 1000), (50, 0), (100, 0)]), Some(2));
        // A longer wait than a window has to bring more.
        assert_eq!(too_slow_at(100, &[(300, 2_999)]), Some(0));
        assert_eq!(too_slow_at(100, &[(300, 3_000)]), None);
    }

    #[test]
    fn time_in_which_nobody_waits_is_free() {
        assert_eq!(too_slow_at(100, &[(0, 1); 10_000]), None);
    }

    #[test]
    fn without_a_bound_everything_is_fast_enough() {
        assert_eq!(too_slow_at(0, &[(u32::MAX, 0); 3]), None);
        assert_eq!(Pace::default().within(Ticks(700), 0), Ticks(700));
        assert_eq!(Pace::default().allows(1), u32::MAX);
    }

    #[test]
    fn a_wait_ends_with_a_window_that_cannot_be_made_up_for() {
        let mut pace = Pace::at_least(100);
        assert_eq!(pace.within(Ticks::NEVER, 0), Ticks(100));
        assert_eq!(pace.after(60, 500), Speed::Enough);
        assert_eq!(pace.within(Ticks(300), 500), Ticks(40));
        assert_eq!(pace.within(Ticks(30), 500), Ticks(30));
        assert_eq!(pace.within(Ticks(300), 1_000), Ticks(300));
    }

    #[test]
    fn a_piece_may_take_its_time_at_the_rate_and_a_window() {
        assert_eq!(Pace::at_least(1_000).allows(10_000), 200);
    }
}
