//! Random numbers that are the same on every machine, device and version.

use blake3::{Hasher, OutputReader};

/// A stream of random numbers that follows from a seed and what the numbers are for.
///
/// It is the extendable output of BLAKE3, which is specified to the bit; generators in libraries
/// may change with a version. Each use has a stream of its own, so that the order of uses does not
/// matter.
pub(super) struct Random(OutputReader);

impl Random {
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
        Random(hasher.finalize_xof())
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// From 0 to `end`, exclusive. For any `end` that counts things in memory the bias is below
    /// 2⁻²⁰.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// From -1 to 1.
    pub fn symmetric(&mut self) -> f32 {
        // The 24 bits that an f32 tells apart.
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// The numbers from 0 to `len`, exclusive, in random order (Fisher and Yates).
    pub fn order(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in (1..len).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_follows_from_seed_and_purpose() {
        let order = |seed, purpose| Random::new(seed, purpose).order(50);
        assert_eq!(order(1, "a"), order(1, "a"));
        assert_ne!(order(1, "a"), order(2, "a"));
        assert_ne!(order(1, "a"), order(1, "b"));
        // As it has always been: an old run must be able to go on.
        assert_eq!(Random::new(1, "order").order(8), [0, 4, 2, 7, 1, 5, 3, 6]);
    }

    #[test]
    fn an_order_has_every_number_once() {
        for len in [0, 1, 2, 97] {
            let mut order = Random::new(7, "").order(len);
            order.sort_unstable();
            assert_eq!(order, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn symmetric_numbers_fill_their_range() {
        let mut random = Random::new(3, "");
        let numbers: Vec<f32> = (0..1000).map(|_| random.symmetric()).collect();
        let mean = numbers.iter().sum::<f32>() / 1000.0;
        assert!(numbers.iter().all(|x| (-1.0..=1.0).contains(x)));
        assert!(mean.abs() < 0.1, "{mean}");
    }
}
