//! Times of the week, at a fixed offset from UTC.

use std::fmt;

/// Days of a week and a stretch of each, by a clock that is so far from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The days on which the stretch begins.
    pub days: Days,
    /// Minutes since midnight at which it begins, below 1440.
    pub from: u16,
    /// Minutes since midnight at which it is over, at most 1440. When it is not after `from`, that
    /// is on the next day.
    pub to: u16,
    /// Minutes that the clock is ahead of UTC, from -1439 to 1439.
    pub offset: i16,
}

/// Days of the week: bit 0 is Monday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days(pub u8);

impl Days {
    /// All seven.
    pub const ALL: Days = Days(0b111_1111);

    fn has(self, day: i64) -> bool {
        self.0 >> day & 1 == 1
    }
}

const DAY: i64 = 24 * 60;

impl Hours {
    /// Whether a moment, in milliseconds since the UNIX epoch, lies in one of them.
    pub fn contain(&self, unix_ms: u64) -> bool {
        // Any moment of the next hundred million years fits.
        let minutes = i64::try_from(unix_ms / 60_000).unwrap_or(i64::MAX / 2);
        let local = minutes + i64::from(self.offset);
        // The epoch was a Thursday.
        let today = (local.div_euclid(DAY) + 3).rem_euclid(7);
        let yesterday = (today + 6) % 7;
        let minute = local.rem_euclid(DAY);
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        match from < to {
            true => self.days.has(today) && (from..to).contains(&minute),
            false => {
                self.days.has(today) && minute >= from || self.days.has(yesterday) && minute < to
            }
        }
    }
}

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != Days::ALL {
            let days = (0..).zip(NAMES).filter(|(day, _)| self.days.has(*day));
            let days: Vec<&str> = days.map(|(_, name)| name).collect();
            write!(f, "{} ", days.join(","))?;
        }
        let Hours { from, to, .. } = self;
        write!(f, "{:02}:{:02}", from / 60, from % 60)?;
        write!(f, "-{:02}:{:02} ", to / 60, to % 60)?;
        let (sign, off) = match self.offset {
            0 => return f.write_str("UTC"),
            offset if offset < 0 => ('-', -offset),
            offset => ('+', offset),
        };
        write!(f, "{sign}{:02}:{:02}", off / 60, off % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: u64 = 1_767_571_200_000; // 2026-01-05T00:00:00Z

    fn at(day: u64, hour: u64, minute: u64) -> u64 {
        MONDAY + ((day * 24 + hour) * 60 + minute) * 60_000
    }

    fn office(offset: i16) -> Hours {
        Hours {
            days: Days(0b001_1111),
            from: 8 * 60,
            to: 18 * 60,
            offset,
        }
    }

    #[test]
    fn a_stretch_of_a_day_has_its_begin_and_not_its_end() {
        let hours = office(0);
        assert!(!hours.contain(at(0, 8, 0) - 1));
        assert!(hours.contain(at(0, 8, 0)));
        assert!(hours.contain(at(4, 17, 59)));
        assert!(!hours.contain(at(4, 18, 0)));
        assert!(!hours.contain(at(5, 12, 0)), "a Saturday");
        assert!(hours.contain(at(7, 12, 0)), "the next Monday");
    }

    #[test]
    fn days_and_hours_are_those_of_the_clock() {
        // Monday 08:00 at +09:00 is Sunday 23:00 UTC.
        assert!(office(540).contain(MONDAY - 3_600_000));
        assert!(!office(540).contain(at(4, 23, 0)), "a Saturday there");
        assert!(office(-300).contain(at(0, 13, 0)));
        assert!(!office(-300).contain(at(0, 12, 59)));
    }

    #[test]
    fn a_stretch_over_midnight_belongs_to_the_day_it_begins_on() {
        let night = Hours {
            days: Days(0b001_0000),
            from: 22 * 60,
            to: 6 * 60,
            offset: 0,
        };
        assert!(night.contain(at(4, 22, 0)));
        assert!(night.contain(at(5, 5, 59)));
        assert!(!night.contain(at(5, 6, 0)));
        assert!(!night.contain(at(5, 22, 0)));
        assert!(!night.contain(at(4, 5, 0)));
    }

    #[test]
    fn whole_days_have_no_gap() {
        let whole = Hours {
            days: Days(0b100_0000),
            from: 0,
            to: 1440,
            offset: 0,
        };
        assert!(whole.contain(at(6, 0, 0)) && whole.contain(at(6, 23, 59)));
        assert!(!whole.contain(at(7, 0, 0)) && !whole.contain(at(5, 23, 59)));
        assert!(!whole.contain(u64::MAX) || !office(0).contain(u64::MAX));
    }

    #[test]
    fn they_are_written_as_people_do() {
        assert_eq!(office(0).to_string(), "mon,tue,wed,thu,fri 08:00-18:00 UTC");
        let all = Hours {
            days: Days::ALL,
            ..office(-570)
        };
        assert_eq!(all.to_string(), "08:00-18:00 -09:30");
    }
}
