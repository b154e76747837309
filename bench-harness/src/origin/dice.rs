//! Chance with a fixed seed: two runs of the same load meet the same errors and delays.

use std::cell::Cell;

/// xorshift64* (Vigna 2016): good enough for delays, and a few instructions.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// Dice that fall the same way for the same `seed`.
    pub fn new(seed: u64) -> Dice {
        // The state must not be zero.
        Dice(Cell::new(
            seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        ))
    }

    /// A number from 0 up to but not 1, all alike likely.
    pub fn unit(&self) -> f64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        // The upper 53 bits, as many as the mantissa holds.
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly_and_fall_the_same_way_again() {
        let dice = Dice::new(3);
        let mut eighths = [0; 8];
        for _ in 0..8000 {
            eighths[(dice.unit() * 8.0) as usize] += 1;
        }
        assert!(
            eighths.iter().all(|count| (850..1150).contains(count)),
            "{eighths:?}"
        );
        let (one, other) = (Dice::new(7), Dice::new(7));
        assert!((0..100).all(|_| one.unit().to_bits() == other.unit().to_bits()));
    }
}
