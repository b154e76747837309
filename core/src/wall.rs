//! Wall time of one core: read from the kernel once per tick, carried on by the cycle
//! counter in between, and written in the formats that logs need.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rt::clock::Stamp;

/// Wall time that was read at a stamp.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    read_at: Stamp,
    unix_ms: u64,
}

impl WallClock {
    /// Reads the kernel's clock.
    #[allow(clippy::disallowed_methods, reason = "the one reading, by the tick")]
    pub fn read() -> WallClock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        WallClock {
            read_at: Stamp::now(),
            unix_ms: since_epoch.map_or(0, |since| since.as_millis() as u64),
        }
    }

    /// Milliseconds since the UNIX epoch at a stamp.
    pub fn unix_ms(&self, at: Stamp) -> u64 {
        // A stamp from just before the last tick lies behind the reading.
        let (ahead, behind) = (at.nanos_since(self.read_at), self.read_at.nanos_since(at));
        (self.unix_ms + ahead / 1_000_000).saturating_sub(behind / 1_000_000)
    }
}

/// Appends `2024-11-22T00:00:00.123Z` (RFC 3339).
pub fn rfc3339_millis(unix_ms: u64, out: &mut Vec<u8>) {
    let civil = Civil::of(unix_ms / 1000);
    digits(out, civil.year, 4);
    out.push(b'-');
    digits(out, civil.month, 2);
    out.push(b'-');
    digits(out, civil.day, 2);
    out.push(b'T');
    civil.clock(out);
    out.push(b'.');
    digits(out, (unix_ms % 1000) as u32, 3);
    out.push(b'Z');
}

/// Appends `22/Nov/2024:00:00:00 +0000`, the time of the common log format.
pub fn common_log_time(unix_ms: u64, out: &mut Vec<u8>) {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let civil = Civil::of(unix_ms / 1000);
    let month = 3 * (civil.month as usize - 1);
    digits(out, civil.day, 2);
    out.push(b'/');
    out.extend_from_slice(&MONTHS[month..month + 3]);
    out.push(b'/');
    digits(out, civil.year, 4);
    out.push(b':');
    civil.clock(out);
    out.extend_from_slice(b" +0000");
}

struct Civil {
    year: u32,
    month: u32,
    day: u32,
    second_of_day: u32,
}

impl Civil {
    /// The date of a UNIX time, by the days-from-civil method of the proleptic Gregorian
    /// calendar with years that begin in March.
    fn of(unix_seconds: u64) -> Civil {
        let days = (unix_seconds / 86_400) as u32 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Civil {
            year: era * 400 + year_of_era + u32::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            second_of_day: (unix_seconds % 86_400) as u32,
        }
    }

    fn clock(&self, out: &mut Vec<u8>) {
        digits(out, self.second_of_day / 3600, 2);
        out.push(b':');
        digits(out, self.second_of_day / 60 % 60, 2);
        out.push(b':');
        digits(out, self.second_of_day % 60, 2);
    }
}

fn digits(out: &mut Vec<u8>, value: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10u32.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_calendar_of_httpdate() {
        for seconds in [
            0,
            68_169_600,
            951_782_400,
            1_709_164_800,
            1_732_233_599,
            4_102_444_800,
        ] {
            let date =
                httpdate::fmt_http_date(UNIX_EPOCH + std::time::Duration::from_secs(seconds));
            let mut ours = Vec::new();
            common_log_time(seconds * 1000, &mut ours);
            let ours = String::from_utf8(ours).unwrap();
            let (day, month, year) = (&ours[..2], &ours[3..6], &ours[7..11]);
            assert!(
                date.contains(&format!("{day} {month} {year}")),
                "{date} {ours}"
            );
        }
    }

    #[test]
    fn carries_on_between_readings() {
        let clock = WallClock::read();
        let later = clock.unix_ms(Stamp::now());
        assert!(later >= clock.unix_ms && later < clock.unix_ms + 60_000);
    }
}
