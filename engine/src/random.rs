//! A counter-based random generator: Philox-4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! Block i of a stream is a fixed function of (key, i), so a generator's whole state is a key and a position: it is saved in two integers,
//! any position is reached at once, and the numbers do not depend on the order or the number of threads that draw them.

/// Multipliers and key increments of Philox-4x32.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const INCREMENTS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// A stream of random numbers, fixed by `key`, at `position` (in blocks of four 32-bit words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generator {
    /// Which stream.
    pub key: u64,
    /// How many blocks have been drawn.
    pub position: u64,
}

impl Generator {
    /// The stream of a seed, at its start.
    pub fn new(seed: u64) -> Self {
        Self { key: seed, position: 0 }
    }

    /// An independent stream for `name`, such as a parameter's or a step's: the same seed and name give the same stream.
    pub fn stream(&self, name: u64) -> Self {
        let [a, b, ..] = philox([name as u32, (name >> 32) as u32, 0x736C_706F, 1], self.key);
        Self { key: (a as u64) << 32 | b as u64, position: 0 }
    }

    /// The next block of four 32-bit words.
    pub fn block(&mut self) -> [u32; 4] {
        let position = self.position;
        self.position += 1;
        philox([position as u32, (position >> 32) as u32, 0, 0], self.key)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, ..] = self.block();
        (a as u64) << 32 | b as u64
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller: √(−2 ln u₁)·cos(2πu₂).
    pub fn normal(&mut self) -> f64 {
        let [a, b, c, d] = self.block();
        let unit = |high: u32, low: u32| ((((high as u64) << 32 | low as u64) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        (-2.0 * unit(a, b).ln()).sqrt() * (std::f64::consts::TAU * unit(c, d)).cos()
    }

    /// Uniform in 0..n, without bias (Lemire's rejection).
    ///
    /// # Panics
    /// For n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "Generator::below: an empty range");
        let n = n as u64;
        loop {
            let product = self.bits() as u128 * n as u128;
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as usize;
            }
        }
    }

    /// A uniformly random order of 0..n (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Ten rounds of Philox-4x32 on a counter, under a key.
fn philox(mut counter: [u32; 4], key: u64) -> [u32; 4] {
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..ROUNDS {
        let product = |i: usize, x: u32| MULTIPLIERS[i] as u64 * x as u64;
        let (p0, p1) = (product(0, counter[0]), product(1, counter[2]));
        counter = [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(INCREMENTS[0]), key[1].wrapping_add(INCREMENTS[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors published with Random123 (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_known_answers() {
        assert_eq!(philox([0; 4], 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], u64::MAX), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn a_stream_is_a_function_of_key_and_position() {
        let mut a = Generator::new(7);
        let first: Vec<u64> = (0..5).map(|_| a.bits()).collect();
        let mut b = Generator { key: 7, position: 3 };
        assert_eq!(b.bits(), first[3]);
        assert_ne!(Generator::new(8).bits(), first[0]);
        assert_ne!(Generator::new(7).stream(1).bits(), Generator::new(7).stream(2).bits());
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut generator = Generator::new(1);
        let n = 20_000;
        let normals: Vec<f64> = (0..n).map(|_| generator.normal()).collect();
        let mean = normals.iter().sum::<f64>() / n as f64;
        let variance = normals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 5.0 / (n as f64).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "variance {variance}");
        let mut counts = [0usize; 7];
        (0..n).for_each(|_| counts[generator.below(7)] += 1);
        assert!(counts.iter().all(|&c| (c as f64 - n as f64 / 7.0).abs() < 5.0 * (n as f64 / 7.0).sqrt()), "{counts:?}");
    }
}
