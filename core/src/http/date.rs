//! The `Date` field, formatted once a second.

use std::time::{Duration, UNIX_EPOCH};

/// The text of a `Date` field for the second it was last asked for.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    text: [u8; 29],
}

impl DateCache {
    /// The IMF-fixdate (RFC 9110, 5.6.7) of a time in seconds since the Unix epoch.
    #[inline]
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; 29] {
        if unix_seconds != self.second {
            self.format(unix_seconds);
        }
        &self.text
    }

    #[cold]
    fn format(&mut self, unix_seconds: u64) {
        use std::io::Write;
        // httpdate panics beyond the year 9999.
        let second = unix_seconds.min(SECONDS_MAX);
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
        let written = write!(&mut self.text[..], "{date}");
        debug_assert!(written.is_ok());
        self.second = unix_seconds;
    }
}

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache {
            second: 0,
            text: *b"Thu, 01 Jan 1970 00:00:00 GMT",
        }
    }
}

/// 9999-12-31 23:59:59.
const SECONDS_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_clock() {
        let mut cache = DateCache::default();
        assert_eq!(cache.at(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(cache.at(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.at(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.at(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
