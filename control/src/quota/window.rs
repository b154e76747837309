//! The windows of quotas: days and months of the calendar, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a quota is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

impl Window {
    /// The word in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// When the window of `now` began, in seconds since 1970.
    pub fn start(self, now: SystemTime) -> u64 {
        let days = seconds(now) / DAY;
        match self {
            Self::Day => days * DAY,
            Self::Month => {
                let (year, month, _) = date(days);
                days_before(year, month) * DAY
            }
        }
    }

    /// When the window of this number began, in seconds since 1970: windows are counted from
    /// the one that began then.
    pub fn start_of(self, number: u64) -> u64 {
        match self {
            Self::Day => number.saturating_mul(DAY),
            Self::Month => days_before(1970 + number / 12, number % 12 + 1) * DAY,
        }
    }

    /// The number of the window that began at `start`.
    pub fn number_of(self, start: u64) -> u64 {
        let days = start / DAY;
        match self {
            Self::Day => days,
            Self::Month => {
                let (year, month, _) = date(days);
                (year - 1970) * 12 + month - 1
            }
        }
    }

    /// When the window that began at `start` ends, in seconds since 1970.
    pub fn end(self, start: u64) -> u64 {
        match self {
            Self::Day => start.saturating_add(DAY),
            Self::Month => {
                let (year, month, _) = date(start / DAY);
                let (year, month) = match month {
                    12 => (year + 1, 1),
                    _ => (year, month + 1),
                };
                days_before(year, month) * DAY
            }
        }
    }
}

/// Seconds since 1970; a clock before that stands at its beginning.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// Midnight of the day of `seconds` since 1970, as in RFC 3339.
pub(super) fn midnight(seconds: u64) -> String {
    let (year, month, day) = date(seconds / DAY);
    format!("{year:04}-{month:02}-{day:02}T00:00:00Z")
}

/// The year, the month and the day (both from 1) of a day since 1970: the algorithm of Howard
/// Hinnant's `civil_from_days`, for years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + DAYS_TO_1970;
    let era = shifted / DAYS_OF_ERA;
    let day = shifted % DAYS_OF_ERA;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    (era * 400 + year + later, month, day)
}

/// Days from 1970 to the first of a month; the way back from [`date`].
fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let (era, year) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5;
    let of_era = year * 365 + year / 4 - year / 100 + of_year;
    era * DAYS_OF_ERA + of_era - DAYS_TO_1970
}

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Days of four hundred years, after which the calendar repeats.
const DAYS_OF_ERA: u64 = 146_097;
/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn months_begin_on_their_first_day() {
        // 2024-02-29T12:00:00Z, the day that most calendars get wrong.
        let leap = at(1_709_208_000);
        assert_eq!(Window::Month.start(leap), 1_706_745_600, "2024-02-01");
        assert_eq!(
            Window::Month.end(1_706_745_600),
            1_709_251_200,
            "2024-03-01"
        );
        assert_eq!(
            Window::Month.end(1_733_011_200),
            1_735_689_600,
            "a year ends"
        );
        assert_eq!(Window::Month.start(at(0)), 0);
        assert_eq!(midnight(1_709_208_000), "2024-02-29T00:00:00Z");
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(Window::Day.start(at(1_709_208_000)), 1_709_164_800);
        assert_eq!(Window::Day.end(1_709_164_800), 1_709_251_200);
        assert_eq!(Window::Day.start(at(1_709_251_200)), 1_709_251_200);
    }

    #[test]
    fn every_month_of_two_centuries_follows_its_predecessor() {
        let mut start = 0;
        for number in 0..2_400 {
            assert_eq!(Window::Month.start_of(number), start);
            assert_eq!(Window::Month.number_of(start), number);
            let end = Window::Month.end(start);
            assert!((28..=31).contains(&((end - start) / DAY)), "{start} {end}");
            assert_eq!(Window::Month.start(at(end - 1)), start);
            assert_eq!(Window::Month.start(at(end)), end);
            start = end;
        }
    }
}
