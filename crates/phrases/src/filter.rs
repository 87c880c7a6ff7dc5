//! Numbers made of others, and quick sets and tables of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Makes one number of two; its low bits depend on all of theirs. Quick rather than thorough (after rustc-hash): that
/// two pairs give the same number is to be expected where somebody wants it.
#[inline(always)]
pub(crate) fn mix(one: u64, other: u64) -> u64 {
    (one ^ other.rotate_left(20)).wrapping_mul(0xF135_7AEA_2E62_A9C5).rotate_left(26)
}

/// Bits for each number of a [`Filter`], at least: so of other numbers, one in so many passes at most.
const BITS_EACH: usize = 32;

/// A set that answers "no" or "perhaps", from memory that stays in the processor's cache.
pub(crate) struct Filter {
    /// A power of two of them; a bit for each number, which is cut to size.
    bits: Box<[u64]>,
    /// One less than the number of bits.
    mask: u64,
}

impl Filter {
    /// The filter of these numbers, which come from [`mix`].
    pub(crate) fn new(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        let size = (numbers.len() * BITS_EACH).next_power_of_two().max(64);
        let mut filter = Self { bits: vec![0; size / 64].into(), mask: size as u64 - 1 };
        for number in numbers {
            let bit = number & filter.mask;
            filter.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        filter
    }

    /// Whether the set may hold the number.
    #[inline(always)]
    pub(crate) fn may_hold(&self, number: u64) -> bool {
        let word = self.bits.get(((number & self.mask) / 64) as usize);
        word.is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}

/// A table whose keys are numbers that come from the policy, not from outside.
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Hashes one number.
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(number, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_never_denied() {
        for count in [0, 1, 10, 1000, 100_000] {
            let numbers: Vec<u64> = (0..count).map(|number| mix(number, 1)).collect();
            let filter = Filter::new(numbers.clone());
            assert!(numbers.iter().all(|number| filter.may_hold(*number)));
            let wrong = (count..count + 100_000).filter(|number| filter.may_hold(mix(*number, 1))).count();
            assert!(wrong < 4000, "{count} numbers: {wrong} of 100000 others");
        }
    }
}
