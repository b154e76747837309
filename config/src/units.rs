//! Durations and sizes as people write them. A number without a unit is refused: what `5` means
//! is exactly what such a file gets wrong.

use std::time::Duration;

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitFault {
    /// What is wrong with it.
    pub label: String,
    /// A correct spelling of what was probably meant.
    pub instead: Option<String>,
}

const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Other spellings that people try, and the unit they mean.
const TIME_HINTS: [(&str, &str); 16] = [
    ("msec", "ms"),
    ("millis", "ms"),
    ("milliseconds", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("day", "d"),
    ("days", "d"),
];

const SIZE_HINTS: [(&str, &str); 12] = [
    ("b", "B"),
    ("byte", "B"),
    ("bytes", "B"),
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
];

/// Parses `250ms`, `30s`, `5m`, `1h`, `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitFault> {
    quantity(text, &TIME_UNITS, &TIME_HINTS, |number| {
        format!("{number}s")
    })
    .map(Duration::from_millis)
}

/// Parses `512B`, `16KiB`, `10MiB`, `1GiB` into bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitFault> {
    quantity(text, &SIZE_UNITS, &SIZE_HINTS, show_size)
}

fn quantity(
    text: &str,
    units: &[(&str, u64)],
    hints: &[(&str, &str)],
    usual: fn(u64) -> String,
) -> Result<u64, UnitFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let fault = |label: String, instead: Option<String>| Err(UnitFault { label, instead });
    if number.is_empty() {
        return fault("does not begin with a number".to_owned(), None);
    }
    let Ok(number) = number.parse::<u64>() else {
        return fault("this number is too large".to_owned(), None);
    };
    if unit.is_empty() {
        return fault("has no unit".to_owned(), Some(usual(number)));
    }
    if unit.starts_with(['.', ',']) {
        return fault(
            "must be a whole number: use a smaller unit".to_owned(),
            None,
        );
    }
    if let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) {
        return match number.checked_mul(*scale) {
            Some(total) => Ok(total),
            None => fault("this quantity is too large".to_owned(), None),
        };
    }
    let word = unit.trim().to_ascii_lowercase();
    let meant = units
        .iter()
        .map(|(name, _)| *name)
        .find(|name| name.eq_ignore_ascii_case(&word))
        .or_else(|| {
            let hint = hints.iter().find(|(spelling, _)| *spelling == word);
            hint.map(|(_, name)| *name)
        });
    let label = if unit.trim() == meant.unwrap_or("") {
        "has a space in it".to_owned()
    } else {
        "has an unknown unit".to_owned()
    };
    fault(label, meant.map(|name| format!("{number}{name}")))
}

/// Writes bytes the way the configuration does, in the largest unit that divides them.
pub(crate) fn show_size(bytes: u64) -> String {
    let (name, scale) = SIZE_UNITS
        .iter()
        .rev()
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale))
        .unwrap_or(&SIZE_UNITS[0]);
    format!("{}{name}", bytes / scale)
}

/// Writes a duration the way the configuration does, in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (name, scale) = TIME_UNITS
        .iter()
        .rev()
        .find(|(_, scale)| millis >= *scale && millis.is_multiple_of(*scale))
        .unwrap_or(&TIME_UNITS[0]);
    format!("{}{name}", millis / scale)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_each_unit() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(duration("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(duration("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(size("0B").unwrap(), 0);
        assert_eq!(size("16KiB").unwrap(), 16_384);
        assert_eq!(size("2GiB").unwrap(), 2 << 30);
    }

    #[test]
    fn proposes_what_was_meant() {
        let instead = |text: &str| duration(text).unwrap_err().instead;
        assert_eq!(instead("5"), Some("5s".to_owned()));
        assert_eq!(instead("10 sec"), Some("10s".to_owned()));
        assert_eq!(instead("10 s"), Some("10s".to_owned()));
        assert_eq!(instead("10S"), Some("10s".to_owned()));
        assert_eq!(instead("3 weeks"), None);
        let instead = |text: &str| size(text).unwrap_err().instead;
        assert_eq!(instead("16KB"), Some("16KiB".to_owned()));
        assert_eq!(instead("16k"), Some("16KiB".to_owned()));
        assert_eq!(instead("16"), Some("16B".to_owned()));
        assert_eq!(instead("16384"), Some("16KiB".to_owned()));
    }

    #[test]
    fn refuses_what_is_not_a_quantity() {
        for text in [
            "",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "1,5s",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("18446744073709551615h").is_err());
        assert!(size("18446744073709551615GiB").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..u64::MAX / 4_000_000, bytes in any::<u64>()) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)).unwrap(), time);
            prop_assert_eq!(size(&show_size(bytes)).unwrap(), bytes);
        }
    }
}
