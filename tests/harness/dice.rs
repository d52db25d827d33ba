//! Chance that a seed decides, and the fingerprint of a run.
//!
//! Each step of a run has dice of its own: leaving one step out does not change what another one
//! draws, so a failing run can be made smaller.

/// A sequence that follows from a seed and a step. SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of one step.
    pub fn new(seed: u64, step: u64) -> Self {
        let mut dice = Self(seed ^ 0x5151_7a9d_0a4b_0cc1);
        let mixed = dice.bits() ^ step.wrapping_mul(0xd134_2543_de82_ef95);
        Self(mixed)
    }

    /// 64 bits, never all zero.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// A place in a list that is not empty.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True this often in 10,000.
    pub fn hits(&mut self, rate: u16) -> bool {
        rate > 0 && self.below(10_000) < u64::from(rate)
    }

    /// A seed for somebody else's randomness.
    pub fn seed(&mut self) -> [u8; 16] {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.bits().to_le_bytes());
        seed[8..].copy_from_slice(&self.bits().to_le_bytes());
        seed
    }
}

/// A running sum of everything that was sent and stored: two runs that do the same have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Takes in a message: who (any number) and its bytes.
    pub fn note(&mut self, who: u64, bytes: &[u8]) {
        self.word(who ^ (bytes.len() as u64) << 32);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        for &byte in chunks.remainder() {
            self.word(u64::from(byte) + 1);
        }
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}
