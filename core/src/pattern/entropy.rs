//! What a quantised coefficient costs, and how it is written: adaptive decisions that start from what
//! the tables learned.
//!
//! A coefficient's class is the logarithm of its expected variance over the square of the step, in half
//! octaves. Per class and quantiser ([`Trellis`]) there is a decision each for "not zero", "above 1" and
//! so on; the sign is a bit as it is, and a value above [`UNARY_MAX`] goes on as an Elias gamma code, so
//! nothing is too large to be written. The same description reads and writes (`rangecoder`).

use crate::rangecoder::{Bit, Coder};

/// Classes of variance.
pub const CLASSES: usize = 32;
/// The class of a coefficient whose variance is the square of the step.
const CLASS_OF_ONE: i32 = 22;
/// Decisions of a class.
const LEVELS: usize = 5;
/// A larger value goes on as an Elias gamma code.
pub(super) const UNARY_MAX: u32 = 14;
/// Largest quantised value; more is refused. A step of 1 unit times this is more than 1.
pub(super) const QUANTUM_MAX: u32 = 1 << 16;
/// Scales of a pattern: half octaves of variance added to each class, less [`SCALE_ZERO`].
pub const SCALES: usize = 8;
/// The scale that adds nothing.
pub const SCALE_ZERO: i32 = 4;
/// Adaptive decisions of a small signed number.
const SIGNED: usize = 8;
/// Quantisers of a [`Trellis`].
pub const QUANTISERS: usize = 2;
/// Decisions about the quanta of one kind.
const QUANTUM_BITS: usize = QUANTISERS * CLASSES * LEVELS;
/// Decisions of one kind: its quanta, its scale, its step.
const KIND_BITS: usize = QUANTUM_BITS + SCALES + SIGNED;
/// Adaptive decisions that tables hold a start of.
pub const MODEL_BITS: usize = 3 * KIND_BITS + 3;
const SAME_GENRE: usize = 3 * KIND_BITS;
const FINE: usize = SAME_GENRE + 1;
const MOVED: usize = FINE + 1;
/// Decisions that a start counts for which nobody learned. With fewer, learning runs away: what is dear
/// is avoided, and gets dearer.
const START_COUNT: u8 = 12;
/// Costs are in 1/256 bit.
pub const COST_ONE: u32 = 256;
/// The cost of a decision by the first eight bits of its probability.
const COSTS: [u16; 256] = {
    let mut costs = [0; 256];
    let mut at = 0;
    while at < 256 {
        costs[at] = (16 * COST_ONE - log2(257 * at as u64 + 128)) as u16;
        at += 1;
    }
    costs
};

/// What is coded: each kind learns for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pattern against the prior of its genre.
    First,
    /// A pattern against an earlier version of itself.
    Again,
    /// What the transform can't express, component by component.
    Fine,
}

/// Which quantiser comes next. One has the even multiples of the step, the other the odd ones and zero, and
/// the parity of what was written leads from state to state: so the two together are as good as one of
/// half the step, for the bits of a coarse one (trellis-coded quantisation: Marcellin and Fischer 1990).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trellis(u8);

impl Trellis {
    /// States.
    pub const STATES: usize = 4;
    const NEXT: [[u8; 2]; Self::STATES] = [[0, 2], [2, 0], [1, 3], [3, 1]];

    /// The state with this number.
    pub fn state(at: usize) -> Self {
        Self(at as u8 % Self::STATES as u8)
    }

    /// 0: even multiples of the step; 1: odd ones and zero.
    pub fn quantiser(self) -> usize {
        usize::from(self.0 >> 1)
    }

    /// The number of the state after an even or an odd quantum.
    pub fn after(self, quantum: u32) -> usize {
        usize::from(Self::NEXT[usize::from(self.0)][quantum as usize & 1])
    }

    /// The quantiser of this quantum; goes on to the next state.
    pub fn pass(&mut self, quantum: i32) -> usize {
        let quantiser = self.quantiser();
        *self = Self::state(self.after(quantum.unsigned_abs()));
        quantiser
    }
}

/// The base-2 logarithm of at least 1 in 1/256, rounded down, by repeated squaring.
const fn log2(value: u64) -> u32 {
    let whole = 63 - value.leading_zeros();
    // 32 bits after the point.
    let mut rest = if whole > 32 { value >> (whole - 32) } else { value << (32 - whole) };
    let mut log = whole;
    let mut bit = 0;
    while bit < 8 {
        rest = ((rest as u128 * rest as u128) >> 32) as u64;
        log <<= 1;
        if rest >= 1 << 33 {
            rest >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

/// The base-2 logarithm in half octaves, rounded to the nearest one but for a percent; 0 for 0.
pub fn half_octaves(value: u64) -> i32 {
    let whole = 63 - (value | 1).leading_zeros() as i32;
    // The first eight bits, from 128: 2^0.25 is 152, 2^0.75 is 215.
    let top = if whole > 7 { value >> (whole - 7) } else { value << (7 - whole) };
    2 * whole + i32::from(top >= 152) + i32::from(top >= 215)
}

/// The class of a variance, given the half octaves of it and of the step's square, and the scale.
pub fn class(variance: i32, step_square: i32, scale: usize) -> usize {
    let class = variance - step_square + CLASS_OF_ONE + scale as i32 - SCALE_ZERO;
    class.clamp(0, CLASSES as i32 - 1) as usize
}

/// Starts that know nothing but the classes: as of Laplace's distribution.
pub fn starts() -> Vec<(u16, u8)> {
    let mut starts = vec![(0x8000, 2); MODEL_BITS];
    for row in 0..3 * QUANTISERS {
        let (kind, quantiser) = (row / QUANTISERS, row % QUANTISERS);
        for class in 0..CLASSES {
            // 2^(-quarters/4) is the step over the deviation.
            let quarters = class as i32 - CLASS_OF_ONE;
            const ROOTS: [f64; 4] =
                [1.0, 0.840_896_4, core::f64::consts::FRAC_1_SQRT_2, 0.594_603_6];
            let halvings = f64::from(1u32 << quarters.div_euclid(4).unsigned_abs());
            let root = ROOTS[quarters.rem_euclid(4) as usize];
            let ratio = if quarters < 0 { root * halvings } else { root / halvings };
            // 1 / (1 + x) is near enough to exp(-x) to begin with.
            let above = |x: f64| 1.0 / (1.0 + x + x * x / 2.0 + x * x * x / 6.0);
            let no = |x: f64| (65_536.0 * (1.0 - above(x * ratio)).clamp(0.01, 0.98)) as u16;
            let at = kind * KIND_BITS + (quantiser * CLASSES + class) * LEVELS;
            starts[at] = (no([1.47, 0.9][quantiser]), START_COUNT);
            starts[at + 1..at + LEVELS].fill((no(2.26), START_COUNT));
        }
    }
    starts[SAME_GENRE].0 = 0xe000;
    starts[FINE].0 = 0xff00;
    starts[MOVED].0 = 0x1000;
    starts
}

/// All adaptive decisions of a message.
#[derive(Clone)]
pub struct Models {
    bits: Vec<Bit>,
}

impl Models {
    /// Begins with what tables know: [`MODEL_BITS`] decisions.
    pub fn new(bits: &[Bit]) -> Self {
        Self { bits: bits.to_vec() }
    }

    /// The decisions, for tables to be written.
    pub fn bits(&self) -> &[Bit] {
        &self.bits
    }

    /// Writes or reads a quantised value; `class` counts on by [`CLASSES`] for the second quantiser.
    pub fn quantum(&mut self, coder: &mut Coder, kind: Kind, class: usize, value: i32) -> i32 {
        let at = kind as usize * KIND_BITS + class * LEVELS;
        let size = value.unsigned_abs();
        if !coder.bit(&mut self.bits[at], size != 0) {
            return 0;
        }
        let negative = coder.direct(1, u64::from(value < 0)) == 1;
        let mut read = 1;
        while read < UNARY_MAX {
            let level = (read as usize).min(LEVELS - 1);
            if !coder.bit(&mut self.bits[at + level], size > read) {
                break;
            }
            read += 1;
        }
        if read == UNARY_MAX {
            let more = coder.small(u64::from(size.saturating_sub(UNARY_MAX)));
            read += more.min(u64::from(QUANTUM_MAX)) as u32;
        }
        if negative { -(read as i32) } else { read as i32 }
    }

    /// Writes or reads which scale a pattern has.
    pub fn scale(&mut self, coder: &mut Coder, kind: Kind, value: usize) -> usize {
        let at = kind as usize * KIND_BITS + QUANTUM_BITS;
        let mut node = 1;
        for place in (0..SCALES.trailing_zeros()).rev() {
            let bit = coder.bit(&mut self.bits[at + node], value >> place & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        node - SCALES
    }

    /// Writes or reads by how much a step differs from the one before.
    pub fn step(&mut self, coder: &mut Coder, kind: Kind, value: i32) -> i32 {
        let at = kind as usize * KIND_BITS + QUANTUM_BITS + SCALES;
        if !coder.bit(&mut self.bits[at], value != 0) {
            return 0;
        }
        let negative = coder.bit(&mut self.bits[at + 1], value < 0);
        let mut read = 1;
        while read < 64 {
            let level = (1 + read as usize).min(SIGNED - 1);
            if !coder.bit(&mut self.bits[at + level], value.abs() > read) {
                break;
            }
            read += 1;
        }
        if negative { -read } else { read }
    }

    /// Writes or reads whether a pattern's genre is that of the one before.
    pub fn same_genre(&mut self, coder: &mut Coder, value: bool) -> bool {
        coder.bit(&mut self.bits[SAME_GENRE], value)
    }

    /// Writes or reads whether components follow that the transform can't express.
    pub fn fine(&mut self, coder: &mut Coder, value: bool) -> bool {
        coder.bit(&mut self.bits[FINE], value)
    }

    /// Writes or reads whether a later version points elsewhere than the one before.
    pub fn moved(&mut self, coder: &mut Coder, value: bool) -> bool {
        !coder.bit(&mut self.bits[MOVED], !value)
    }

    /// What the values 0, ±1 … cost in a class, as the decisions stand.
    pub fn costs(&self, kind: Kind) -> Costs {
        let mut costs = Box::new([[0; COSTED]; QUANTISERS * CLASSES]);
        for (class, costs) in costs.iter_mut().enumerate() {
            let at = kind as usize * KIND_BITS + class * LEVELS;
            let cost = |level: usize| {
                let probability = self.bits[at + level].probability();
                let no = COSTS[usize::from(probability >> 8)];
                (u32::from(no), u32::from(COSTS[usize::from((u16::MAX - probability) >> 8)]))
            };
            let (zero, mut sum) = cost(0);
            costs[0] = zero;
            sum += COST_ONE;
            for (value, stored) in costs.iter_mut().enumerate().skip(1) {
                let (stop, more) = cost(value.min(LEVELS - 1));
                *stored = sum + stop;
                sum += more;
            }
        }
        Costs(costs)
    }

    /// What a scale costs.
    pub fn scale_cost(&self, kind: Kind, value: usize) -> u32 {
        let at = kind as usize * KIND_BITS + QUANTUM_BITS;
        let mut node = 1;
        let mut sum = 0;
        for place in (0..SCALES.trailing_zeros()).rev() {
            let bit = value >> place & 1;
            let probability = self.bits[at + node].probability();
            let taken = if bit == 1 { u16::MAX - probability } else { probability };
            sum += u32::from(COSTS[usize::from(taken >> 8)]);
            node = node << 1 | bit;
        }
        sum
    }
}

/// Values that have a cost of their own.
const COSTED: usize = 12;

/// Costs by class and value, in 1/256 bit.
pub struct Costs(Box<[[u32; COSTED]; QUANTISERS * CLASSES]>);

impl Costs {
    /// What a value of this size costs.
    #[inline]
    pub fn of(&self, class: usize, size: u32) -> u32 {
        let costs = &self.0[class];
        match costs.get(size as usize) {
            Some(cost) => *cost,
            // Beyond the table each step costs what the last one did.
            None => {
                let step = costs[COSTED - 1] - costs[COSTED - 2];
                costs[COSTED - 1] + step * (size - COSTED as u32 + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn models() -> Models {
        let bits: Vec<Bit> =
            starts().into_iter().map(|(start, count)| Bit::learned(start, count)).collect();
        Models::new(&bits)
    }

    proptest! {
        #[test]
        fn quanta_of_any_size_come_back(
            values in proptest::collection::vec((0..CLASSES, -70_000..70_000i32), 0..60),
        ) {
            let mut coder = Coder::writer();
            let mut state = models();
            let value = |v: i32| v.clamp(-(QUANTUM_MAX as i32), QUANTUM_MAX as i32);
            for &(class, v) in &values {
                state.quantum(&mut coder, Kind::First, class, value(v));
            }
            let bytes = coder.finish().expect("nothing fails");
            let mut coder = Coder::reader(&bytes);
            let mut state = models();
            for &(class, v) in &values {
                prop_assert_eq!(state.quantum(&mut coder, Kind::First, class, 0), value(v));
            }
            prop_assert_eq!(coder.finish(), Ok(Vec::new()));
        }
    }

    #[test]
    fn the_escape_begins_above_fourteen() {
        let bits = |value: i32| {
            let mut coder = Coder::writer();
            let mut state = models();
            (0..400).for_each(|_| {
                state.quantum(&mut coder, Kind::Again, CLASSES - 1, value);
            });
            coder.finish().expect("nothing fails").len()
        };
        let unary = UNARY_MAX as i32;
        // The first escaped value takes a bit for the code of 0, the next ones three.
        assert!(bits(unary) < bits(unary + 1) && bits(unary + 1) < bits(unary + 40));
    }

    #[test]
    fn logarithms_are_those_of_half_octaves() {
        for value in [1u64, 2, 3, 5, 152, 215, 1_000, 65_535, 1 << 40, u64::MAX] {
            let exact = 2.0 * (value as f64).log2();
            assert!((f64::from(half_octaves(value)) - exact).abs() < 0.52, "{value}");
        }
        assert_eq!(half_octaves(0), 0);
        assert_eq!(log2(8 * 65_536), 19 * 256);
        assert!(COSTS[255] < 3 && COSTS[127].abs_diff(256) < 3 && COSTS[0] > 8 * 256);
    }

    #[test]
    fn a_cost_is_what_is_written() {
        let mut state = models();
        let costs = state.costs(Kind::First);
        for (class, value) in [(0, 0), (20, 1), (25, -3), (31, 9)] {
            let mut coder = Coder::writer();
            let mut told = 0;
            for _ in 0..64 {
                // As nothing is learned between: a fresh copy each time.
                state = models();
                state.quantum(&mut coder, Kind::First, class, value);
                told += costs.of(class, value.unsigned_abs());
            }
            let bits = 8 * coder.finish().expect("nothing fails").len() as u32;
            assert!(
                bits.abs_diff(told / COST_ONE) < 12 + bits / 8,
                "{class} {value}: {bits} {told}"
            );
        }
    }
}
