//! Aligned windows: spans of the moment clock, and days and months of the calendar (UTC).

use ringgate_core::rt::clock::Moment;

use super::Period;

/// An aligned window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// For days, those since 1970-01-01; for months, those since January 1970; for spans, those
    /// since the clock began.
    pub number: u64,
    /// When it ends.
    pub end: Moment,
}

const DAY_MS: i64 = 86_400_000;

/// The window that `now` lies in. `unix_offset` is what turns milliseconds of the moment clock
/// into those of the UNIX epoch.
pub(super) fn window(period: Period, now: Moment, unix_offset: i64) -> Window {
    let unix_ms = ((now.0 / 1_000_000) as i64 + unix_offset).max(0);
    let ends = |unix_ms: i64| Moment((unix_ms - unix_offset).max(0) as u64 * 1_000_000);
    match period {
        Period::Span(_) => {
            let nanos = period.nanos();
            let number = now.0 / nanos;
            Window {
                number,
                end: Moment((number + 1).saturating_mul(nanos)),
            }
        }
        Period::Day => {
            let day = unix_ms / DAY_MS;
            Window {
                number: day as u64,
                end: ends((day + 1) * DAY_MS),
            }
        }
        Period::Month => {
            let month = month_of(unix_ms / DAY_MS);
            Window {
                number: month as u64,
                end: ends(first_day_of(month + 1) * DAY_MS),
            }
        }
    }
}

/// The month of a day, both since 1970, by the days-from-civil method with years that begin in
/// March.
fn month_of(day: i64) -> i64 {
    let days = day + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2 - 1970 * 12
}

/// The first day of a month, both since 1970.
fn first_day_of(month: i64) -> i64 {
    let from_march = month + 1970 * 12 - 2;
    let (year, month) = (from_march / 12, from_march % 12);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        let lengths = |year: i64| {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        };
        let (mut day, mut month) = (0, 0);
        for year in 1970..2200 {
            for length in lengths(year) {
                assert_eq!(first_day_of(month), day);
                for day in [day, day + length - 1] {
                    assert_eq!(month_of(day), month, "day {day}");
                }
                (day, month) = (day + length, month + 1);
            }
        }
    }

    #[test]
    fn windows_end_where_the_next_begins() {
        // 2026-02-10 12:00:00 UTC, an hour after the clock began.
        let (now, unix_ms) = (Moment(3_600_000_000_000), 1_770_724_800_000_i64);
        let offset = unix_ms - 3_600_000;
        for (period, number, left_s) in [
            (Period::Day, 20_494, 12 * 3600),
            (Period::Month, 56 * 12 + 1, (18 * 24 + 12) * 3600),
            (Period::Span(std::time::Duration::from_secs(1)), 3600, 1),
        ] {
            let here = window(period, now, offset);
            assert_eq!(here.number, number);
            assert_eq!(here.end.since(now).as_secs(), left_s);
            let next = window(period, here.end, offset);
            assert_eq!(next.number, number + 1);
            let before = window(period, Moment(here.end.0 - 1_000_000), offset);
            assert_eq!(before, here);
        }
    }
}
