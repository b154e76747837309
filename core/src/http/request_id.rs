//! Request ids: UUID version 7 (RFC 9562), made without allocation, one generator per core.

use std::hash::{BuildHasher, Hasher};

use crate::http::limits::FOREIGN_ID_MAX;

/// Makes ids that sort by time and that nobody can guess in bulk.
///
/// The bits behind the timestamp come from a wyrand generator with a random seed per core: unique
/// enough to find a request again, not a secret.
#[derive(Debug)]
pub struct RequestIds {
    state: u64,
}

/// The length of an id's text.
pub const REQUEST_ID_LEN: usize = 36;

impl RequestIds {
    /// A generator with a random seed.
    pub fn new() -> RequestIds {
        RequestIds::seeded(ahash::RandomState::new().build_hasher().finish())
    }

    /// A generator with a known seed, for tests and replays.
    pub fn seeded(seed: u64) -> RequestIds {
        RequestIds { state: seed }
    }

    /// The text of the next id for a time in milliseconds since the Unix epoch.
    pub fn next(&mut self, unix_ms: u64) -> [u8; REQUEST_ID_LEN] {
        let random = (self.random(), self.random());
        let high = unix_ms << 16 | 0x7000 | (random.0 & 0x0fff);
        let low = (random.1 >> 2) | 1 << 63;
        to_text(high, low)
    }

    /// The next random number (wyrand); for weights and jitter too, not for secrets.
    pub fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

/// Whether an id from a trusted proxy may be taken over: 1 to 128 bytes that need no escaping in
/// a header, a log line or a URL.
pub fn is_acceptable(id: &[u8]) -> bool {
    (1..=FOREIGN_ID_MAX).contains(&id.len())
        && id
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'~'))
}

/// The form 8-4-4-4-12 of RFC 9562, 4.
fn to_text(high: u64, low: u64) -> [u8; REQUEST_ID_LEN] {
    let mut text = [b'-'; REQUEST_ID_LEN];
    let (time, middle) = (hex((high >> 32) as u32), hex(high as u32));
    let (third, last) = (hex((low >> 32) as u32), hex(low as u32));
    text[..8].copy_from_slice(&time);
    text[9..13].copy_from_slice(&middle[..4]);
    text[14..18].copy_from_slice(&middle[4..]);
    text[19..23].copy_from_slice(&third[..4]);
    text[24..28].copy_from_slice(&third[4..]);
    text[28..].copy_from_slice(&last);
    text
}

/// Eight digits at once: each half-byte is moved into a byte of its own, and those above nine
/// up to the letters.
fn hex(value: u32) -> [u8; 8] {
    const EACH: u64 = u64::MAX / 255;
    let mut digits = u64::from(value);
    digits = (digits & 0xffff) | (digits & 0xffff_0000) << 16;
    digits = (digits & 0x0000_00ff_0000_00ff) | (digits & 0x0000_ff00_0000_ff00) << 8;
    digits = (digits & 0x000f_000f_000f_000f) | (digits & 0x00f0_00f0_00f0_00f0) << 4;
    let letters = (digits + EACH * 6) >> 4 & EACH;
    (digits + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_carry_the_time() {
        let mut ids = RequestIds::seeded(1);
        let id = ids.next(0x0192_3456_789a);
        assert_eq!(&id[..14], b"01923456-789a-");
        assert_eq!(id[14], b'7');
        assert!(matches!(id[19], b'8' | b'9' | b'a' | b'b'));
        assert!([8, 13, 18, 23].iter().all(|&i| id[i] == b'-'));
        assert!(is_acceptable(&id));
    }

    #[test]
    fn digits_are_those_of_the_formatter() {
        for value in [0, 1, 0x0123_4567, 0x89ab_cdef, 0x9a9a_f0f0, u32::MAX] {
            assert_eq!(hex(value), format!("{value:08x}").as_bytes());
        }
    }

    #[test]
    fn ids_differ_within_a_millisecond_and_between_generators() {
        let mut ids = RequestIds::seeded(7);
        let mut seen: Vec<_> = (0..1000).map(|_| ids.next(5)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
        assert_ne!(RequestIds::new().next(5), RequestIds::new().next(5));
    }

    #[test]
    fn foreign_ids_are_checked() {
        assert!(is_acceptable(b"req-1_a.b:c~"));
        for id in [
            &b""[..],
            b"a b",
            b"a\r\n",
            b"\"",
            b"a,b",
            b"\xff",
            &[b'a'; 129],
        ] {
            assert!(!is_acceptable(id));
        }
    }
}
