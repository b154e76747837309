//! Cheap randomness of one core: for shares of requests, not for secrets.

use ringgate_core::rt::clock::Moment;

/// A generator (SplitMix64: Steele, Lea, Flood 2014). It starts from the time of its first draw.
#[derive(Debug, Default)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Whether a draw falls into a share from 0 to 1.
    pub(crate) fn hits(&mut self, share: f64, now: Moment) -> bool {
        if self.0 == 0 {
            self.0 = now.0;
        }
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        // The upper 53 bits are a fraction from 0 up to, but not, 1.
        ((x >> 11) as f64) < share * (1u64 << 53) as f64
    }
}
