//! Adaptive binary range coding: each decision costs what it surprises.
//!
//! One [`Coder`] writes or reads, and a field is described once: the caller passes the value to
//! write and gets back the value that was written or read. Reading never fails by itself, because
//! past the end of the input there are zeros; what has no meaning is noted by [`Coder::fail`], and
//! [`Coder::finish`] tells. The likelier value `false` is the lower part of the range, so a run of
//! it at the end costs no bytes.
//!
//! Source: G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised
//! message", 1979; the binary form and its byte-wise normalisation follow LZMA (I. Pavlov). The
//! estimate in [`Bit`] is that of Krichevsky and Trofimov, 1981, until it forgets.
//!
//! Invariant: range is at least 2^24 between decisions, so no part of it is ever empty.

use crate::codec::DecodeError;

/// Decisions that a [`Bit`] remembers: from then on it forgets the oldest ones.
const MEMORY: u8 = 126;
/// By how much a decision moves the estimate after so many others, in 1/65536: 1 / (n + 2).
const RATES: [i32; MEMORY as usize + 1] = {
    let mut rates = [0; MEMORY as usize + 1];
    let mut count = 0;
    while count < rates.len() {
        rates[count] = 0x10000 / (count as i32 + 2);
        count += 1;
    }
    rates
};
/// The range is kept above this, and one byte leaves or enters when it falls below.
const RANGE_MIN: u32 = 1 << 24;
/// Bits that one step of [`Coder::direct`] writes.
const STEP_BITS: u32 = 16;
/// Adaptive decisions about the length of a number, in one direction from the expected one.
const LENGTHS: usize = 12;

/// The estimated probability of one decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bit {
    /// How much likelier than one half `false` is, in 1/65536.
    lean: i16,
    count: u8,
}

impl Bit {
    /// A decision that is `true` about once in `2 * count + 2` times, as if `count` had been
    /// `false`.
    pub const fn rare(count: u8) -> Self {
        Self { lean: (0x7fff - 0x8000 / (count as i32 + 1)) as i16, count }
    }

    /// An estimate that was learned before: the probability of `false` in 1/65536, as certain as after
    /// `count` decisions.
    pub fn learned(probability: u16, count: u8) -> Self {
        let lean = (i32::from(probability) - 0x8000).clamp(-0x7fff, 0x7fff);
        Self { lean: lean as i16, count: count.min(MEMORY) }
    }

    /// The estimated probability of `false` in 1/65536.
    pub fn probability(self) -> u16 {
        (0x8000 + i32::from(self.lean)) as u16
    }

    /// How many decisions the estimate counts for.
    pub fn count(self) -> u8 {
        self.count
    }

    fn update(&mut self, value: bool) {
        let target = if value { -0x7fff } else { 0x7fff };
        let lean = i32::from(self.lean);
        let step = ((target - lean) * RATES[usize::from(self.count)]) >> 16;
        self.lean = (lean + step) as i16;
        self.count = MEMORY.min(self.count + 1);
    }
}

/// Numbers of similar size: the length in bits is adaptive, counted from an expected one.
#[derive(Clone)]
pub struct Number {
    /// The expected length in bits, in sixteenths.
    expected: i32,
    /// Whether the expected length follows the numbers.
    follows: bool,
    /// No number is above this.
    max: u64,
    shorter: Bit,
    down: [Bit; LENGTHS],
    up: [Bit; LENGTHS],
    top: [Bit; 3 * LENGTHS],
}

impl Number {
    /// Numbers of about `bits` bits and at most `max`.
    pub fn new(bits: u32, follows: bool, max: u64) -> Self {
        Self {
            expected: 16 * bits as i32,
            follows,
            max,
            shorter: Bit::default(),
            down: [Bit::default(); LENGTHS],
            up: [Bit::default(); LENGTHS],
            top: [Bit::default(); 3 * LENGTHS],
        }
    }
}

/// How many bits a value has, 0 for 0.
pub fn length(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Writes or reads a sequence of decisions.
pub struct Coder<'a> {
    reads: bool,
    range: u32,
    /// Writing: the lower end of the range. Reading: how far above the lower end the input is.
    low: u32,
    input: &'a [u8],
    at: usize,
    output: Vec<u8>,
    error: Option<DecodeError>,
}

impl<'a> Coder<'a> {
    /// A coder that writes.
    pub fn writer() -> Self {
        Self {
            reads: false,
            range: u32::MAX,
            low: 0,
            input: &[],
            at: 0,
            output: Vec::new(),
            error: None,
        }
    }

    /// A coder that reads what a writer wrote.
    pub fn reader(input: &'a [u8]) -> Self {
        let mut coder = Self { reads: true, input, ..Self::writer() };
        for _ in 0..4 {
            coder.low = coder.low << 8 | coder.next_byte();
        }
        coder
    }

    /// Whether it reads.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Notes why the input has no meaning; the first reason counts.
    pub fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
    }

    /// Whether the input is known to have no meaning.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// The bytes written, or why what was read has no meaning.
    pub fn finish(mut self) -> Result<Vec<u8>, DecodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.reads {
            let padded = self.input.last() == Some(&0) || self.at < self.input.len();
            return if padded { Err(DecodeError::Trailing) } else { Ok(Vec::new()) };
        }
        let (low, end) = (u64::from(self.low), u64::from(self.low) + u64::from(self.range));
        let zeros = |bits: u32| (low + (1 << bits) - 1) >> bits << bits;
        let fits = (0..=u32::BITS).rev().map(zeros).find(|value| *value < end);
        self.add((fits.unwrap_or(low) - low) as u32);
        self.output.extend_from_slice(&self.low.to_be_bytes());
        let used = self.output.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.output.truncate(used);
        Ok(self.output)
    }

    fn next_byte(&mut self) -> u32 {
        let byte = self.input.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u32::from(byte)
    }

    fn add(&mut self, start: u32) {
        let (low, carry) = self.low.overflowing_add(start);
        self.low = low;
        if carry {
            for byte in self.output.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
    }

    /// Goes on with the part of the range from `start` of the given size.
    #[inline]
    fn narrow(&mut self, start: u32, size: u32) {
        if self.reads {
            self.low -= start;
        } else {
            self.add(start);
        }
        self.range = size;
        while self.range < RANGE_MIN {
            self.range <<= 8;
            if self.reads {
                self.low = self.low << 8 | self.next_byte();
            } else {
                self.output.push((self.low >> 24) as u8);
                self.low <<= 8;
            }
        }
    }

    /// A decision whose probability is learned.
    pub fn bit(&mut self, model: &mut Bit, value: bool) -> bool {
        let value = self.split((self.range >> 16) * (0x8000 + i32::from(model.lean)) as u32, value);
        model.update(value);
        value
    }

    #[inline]
    fn split(&mut self, bound: u32, value: bool) -> bool {
        let value = if self.reads { self.low >= bound } else { value };
        let (start, size) = if value { (bound, self.range - bound) } else { (0, bound) };
        self.narrow(start, size);
        value
    }

    /// Whether a thing is one of `some` chosen from `all`, at most 2^16.
    pub fn chosen(&mut self, some: usize, all: usize, value: bool) -> bool {
        if some == 0 || some >= all {
            return some != 0;
        }
        self.split(self.range / all as u32 * (all - some) as u32, value)
    }

    /// One of `total` equally likely values, at most 2^16.
    fn step(&mut self, value: u64, total: u32) -> u64 {
        let part = self.range / total;
        let value = if self.reads { (self.low / part).min(total - 1) } else { value as u32 };
        self.narrow(value * part, part);
        u64::from(value)
    }

    /// `bits` bits as they are.
    pub fn direct(&mut self, mut bits: u32, value: u64) -> u64 {
        let mut read = 0;
        while bits > 0 {
            let now = bits.min(STEP_BITS);
            bits -= now;
            read = read << now | self.step(value >> bits & ((1 << now) - 1), 1 << now);
        }
        read
    }

    /// One of `total` equally likely values.
    pub fn uniform(&mut self, value: u64, total: u64) -> u64 {
        let max = total.saturating_sub(1);
        let below = length(max).saturating_sub(STEP_BITS);
        let high = self.step(value >> below, (max >> below) as u32 + 1);
        let read = high << below | self.direct(below, value & ((1 << below) - 1));
        if read > max {
            self.fail(DecodeError::invalid("number"));
        }
        read.min(max)
    }

    /// A small number, as Elias's gamma code.
    pub fn small(&mut self, value: u64) -> u64 {
        let mut below = 0;
        let longer = length(value.saturating_add(1)) - 1;
        while below < u32::BITS && self.direct(1, u64::from(below < longer)) == 1 {
            below += 1;
        }
        let low = value.wrapping_add(1) & ((1 << below) - 1);
        ((1 << below) | self.direct(below, low)) - 1
    }

    /// One of `count` symbols whose frequencies are learned, as a tree of decisions in `tree`.
    pub fn symbol(&mut self, tree: &mut Vec<Bit>, value: usize, count: usize) -> usize {
        let bits = length(count.saturating_sub(1) as u64);
        tree.resize(tree.len().max(1 << bits), Bit::default());
        let mut node = 1;
        for at in (0..bits).rev() {
            node = node << 1 | usize::from(self.bit(&mut tree[node], value >> at & 1 == 1));
        }
        let read = node & ((1 << bits) - 1);
        if read >= count {
            self.fail(DecodeError::invalid("symbol"));
            return 0;
        }
        read
    }

    /// A number by its model.
    pub fn number(&mut self, model: &mut Number, value: u64) -> u64 {
        let longest = length(model.max);
        let expected = (((model.expected + 8) >> 4) as u32).min(longest);
        let wanted = length(value);
        let mut bits = expected;
        if expected > 0 && self.bit(&mut model.shorter, wanted < expected) {
            bits -= 1;
            let mut at = 0;
            while bits > 0 && self.bit(&mut model.down[at], wanted < bits) {
                bits -= 1;
                at = (at + 1).min(LENGTHS - 1);
            }
        } else {
            let mut at = 0;
            while bits < longest && self.bit(&mut model.up[at], wanted > bits) {
                bits += 1;
                at = (at + 1).min(LENGTHS - 1);
            }
        }
        if model.follows {
            model.expected += (16 * bits as i32 - model.expected) / 4;
        }
        if bits < 2 {
            return u64::from(bits).min(model.max);
        }
        let low = 1 << (bits - 1);
        if bits == longest {
            return low + self.uniform(value.wrapping_sub(low), model.max - low + 1);
        }
        let class = (bits + LENGTHS as u32 / 2).saturating_sub(expected).min(LENGTHS as u32 - 1);
        let class = 3 * class as usize;
        let mut left = bits - 1;
        let mut read = 1;
        for node in 0..2 {
            if left > 0 {
                left -= 1;
                let model = &mut model.top[class + if node == 0 { 0 } else { read as usize - 1 }];
                read = read << 1 | u64::from(self.bit(model, value >> left & 1 == 1));
            }
        }
        read << left | self.direct(left, value & ((1 << left) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes or reads one value by each kind of model.
    fn all(coder: &mut Coder, models: &mut (Bit, Number, Vec<Bit>), value: u64) -> [u64; 7] {
        let total = (value | 1).max(3);
        [
            u64::from(coder.bit(&mut models.0, value & 1 == 1)),
            coder.number(&mut models.1, value),
            coder.symbol(&mut models.2, (value % 300) as usize, 300) as u64,
            coder.direct(64, value),
            coder.small(value >> 33),
            coder.uniform(value % total, total),
            u64::from(coder.chosen(2, 5, value & 2 == 2)),
        ]
    }

    fn models(bits: u32, follows: bool) -> (Bit, Number, Vec<Bit>) {
        (Bit::rare(3), Number::new(bits, follows, u64::MAX), Vec::new())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(values: Vec<u64>, bits in 0..60u32, follows: bool) {
            let (mut coder, mut state) = (Coder::writer(), models(bits, follows));
            let written: Vec<_> = values.iter().map(|v| all(&mut coder, &mut state, *v)).collect();
            let bytes = coder.finish().expect("nothing fails");
            prop_assert_ne!(bytes.last(), Some(&0));
            let (mut coder, mut state) = (Coder::reader(&bytes), models(bits, follows));
            for (value, written) in values.iter().zip(written) {
                // The reader of a uniform number knows its total, not its value.
                let total = (value | 1).max(3);
                let read = [
                    u64::from(coder.bit(&mut state.0, false)),
                    coder.number(&mut state.1, 0),
                    coder.symbol(&mut state.2, 0, 300) as u64,
                    coder.direct(64, 0),
                    coder.small(0),
                    coder.uniform(0, total),
                    u64::from(coder.chosen(2, 5, false)),
                ];
                prop_assert_eq!(read, written);
            }
            prop_assert_eq!(coder.finish(), Ok(Vec::new()));
        }

        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>, max in 1..u64::MAX, count in 1..500usize) {
            let mut coder = Coder::reader(&bytes);
            let mut state = models(12, true);
            let mut number = Number::new(40, false, max);
            for _ in 0..200 {
                all(&mut coder, &mut state, 0);
                prop_assert!(coder.number(&mut number, 0) <= max);
                prop_assert!(coder.uniform(0, max) < max);
                prop_assert!(coder.symbol(&mut Vec::new(), 0, count) < count);
            }
        }
    }

    #[test]
    fn a_carry_reaches_the_first_byte_and_likely_ends_are_free() {
        let mut coder = Coder::writer();
        for _ in 0..9 {
            coder.uniform(0xffff, 0x10000);
        }
        coder.direct(1, 1);
        let bytes = coder.finish().expect("nothing fails");
        let mut coder = Coder::reader(&bytes);
        assert!((0..9).all(|_| coder.uniform(0, 0x10000) == 0xffff));
        assert_eq!(coder.direct(1, 0), 1);
        let mut coder = Coder::writer();
        let mut bit = Bit::default();
        assert!((0..1_000).all(|_| !coder.bit(&mut bit, false)));
        assert_eq!(coder.finish(), Ok(Vec::new()));
    }

    #[test]
    fn a_number_above_its_total_and_bytes_after_the_end_are_refused() {
        let mut coder = Coder::reader(&[0xff; 9]);
        coder.uniform(0, 0x1_0001);
        coder.uniform(0, 0x1_0001);
        assert!(coder.failed());
        assert_eq!(coder.finish(), Err(DecodeError::invalid("number")));
        let mut coder = Coder::reader(&[1, 2, 3, 4, 5]);
        coder.direct(1, 0);
        assert_eq!(coder.finish(), Err(DecodeError::Trailing));
        assert_eq!(Coder::reader(&[1, 0]).finish(), Err(DecodeError::Trailing));
    }
}
