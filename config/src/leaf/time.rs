//! Times of the week.

use super::Fault;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All days; bit 0 is Monday.
pub(crate) const ALL_DAYS: u8 = 0b111_1111;

/// A day, or days from one to another.
pub(crate) fn days(text: &str) -> Result<u8, Fault> {
    let expected = "a day such as \"mon\", or days such as \"mon-fri\"";
    let fault = || Fault::new("day", expected, "is no day");
    let day = |text: &str| {
        let found = DAYS.iter().position(|day| *day == text);
        found.ok_or_else(fault)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7;
    Ok((0..=count).fold(0, |days, step| days | 1 << ((first + step) % 7)))
}

/// Minutes since midnight of `HH:MM`, up to `24:00`.
pub(crate) fn minute_of_day(text: &str) -> Result<u16, Fault> {
    let fault = || {
        Fault::new(
            "time",
            "a time such as \"08:00\", up to \"24:00\"",
            "is no time",
        )
    };
    match clock(text) {
        Some(minutes) if minutes <= 1440 => Ok(minutes),
        _ => Err(fault()),
    }
}

/// Minutes ahead of UTC of `UTC`, `+HH:MM` or `-HH:MM`.
pub(crate) fn zone(text: &str) -> Result<i16, Fault> {
    let fault = || {
        let expected = "\"UTC\", or an offset such as \"+02:00\"";
        Fault::new("zone", expected, "is no offset from UTC")
            .help("names of zones are not known: write the offset, which knows no summer time")
    };
    if text == "UTC" {
        return Ok(0);
    }
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(fault()),
    };
    let minutes = clock(rest).and_then(|minutes| i16::try_from(minutes).ok());
    let minutes = minutes.filter(|minutes| *minutes <= 14 * 60);
    minutes.map(|minutes| sign * minutes).ok_or_else(fault)
}

fn clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_may_go_over_the_end_of_the_week() {
        assert_eq!(days("mon").unwrap(), 1);
        assert_eq!(days("mon-fri").unwrap(), 0b001_1111);
        assert_eq!(days("sat-mon").unwrap(), 0b110_0001);
        assert_eq!(days("mon-sun").unwrap(), ALL_DAYS);
        for wrong in ["", "Mon", "monday", "mon-", "mon-fri-sat"] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_two_digits_each() {
        assert_eq!(minute_of_day("08:30").unwrap(), 510);
        assert_eq!(minute_of_day("24:00").unwrap(), 1440);
        for wrong in ["8:30", "08:60", "24:01", "0830", "+8:00", "", "08:3"] {
            assert!(minute_of_day(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn zones_are_offsets() {
        assert_eq!(zone("UTC").unwrap(), 0);
        assert_eq!(zone("+05:30").unwrap(), 330);
        assert_eq!(zone("-09:00").unwrap(), -540);
        for wrong in ["utc", "Europe/Berlin", "+15:00", "05:30", "", "+5"] {
            assert!(zone(wrong).is_err(), "{wrong}");
        }
    }
}
