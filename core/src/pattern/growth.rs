//! How a pattern's counts are told: a later version has usually seen a few viewings more.

use super::{PatternError, SAMPLE_COUNT_MAX};
use crate::codec::DecodeError;
use crate::rangecoder::{Bit, Coder, Number};

/// Viewings by which a later version usually grows at most.
const GROWTH_MAX: i64 = 24;
/// Adaptive decisions about them: the last one counts for all that follow.
const GROWTH_BITS: usize = 6;

/// Largest number that tells any other change: twice the change, so that its sign fits in.
const TOLD_MAX: u64 = 2 * SAMPLE_COUNT_MAX as u64;

/// A count of about so many bits.
pub fn count(bits: u32) -> Number {
    Number::new(bits, false, u64::from(SAMPLE_COUNT_MAX))
}

/// How the counts of patterns change.
pub struct Growth {
    /// Whether they changed otherwise than by viewings that were added.
    odd: Bit,
    more: [Bit; GROWTH_BITS],
    missed: [Bit; GROWTH_BITS],
    others: [Number; 2],
}

impl Growth {
    /// Nothing learned yet.
    pub fn new() -> Self {
        Self {
            odd: Bit::rare(8),
            more: [Bit::default(); GROWTH_BITS],
            missed: [Bit::rare(2); GROWTH_BITS],
            others: [2, 0].map(|bits| Number::new(bits, false, TOLD_MAX)),
        }
    }

    /// Writes or reads samples and misses, which were `old` before.
    ///
    /// # Errors
    /// When what was read is no count.
    pub fn counts(
        &mut self,
        coder: &mut Coder,
        old: [u32; 2],
        new: [u32; 2],
    ) -> Result<[u32; 2], PatternError> {
        let grown = [0, 1].map(|at| i64::from(new[at]) - i64::from(old[at]));
        let odd = !(0..=GROWTH_MAX).contains(&grown[0]) || !(0..=grown[0]).contains(&grown[1]);
        if !coder.bit(&mut self.odd, odd) {
            let more = unary(coder, &mut self.more, grown[0] as u32, GROWTH_MAX as u32);
            let missed = unary(coder, &mut self.missed, grown[1] as u32, more);
            return Ok([old[0].saturating_add(more), old[1].saturating_add(missed)]);
        }
        let mut read = [0; 2];
        for (at, model) in self.others.iter_mut().enumerate() {
            // Even: grown by half of it. Odd: shrunk by half of what is beyond 1.
            let told = if grown[at] >= 0 { 2 * grown[at] } else { -2 * grown[at] - 1 };
            let told = coder.number(model, told as u64) as i64;
            let grown = if told & 1 == 0 { told / 2 } else { -(told + 1) / 2 };
            let count = u32::try_from(i64::from(old[at]) + grown);
            read[at] = count.map_err(|_| DecodeError::invalid("counts"))?;
        }
        Ok(read)
    }
}

/// Writes or reads a number of at most `max`, one decision for each 1 in it.
fn unary(coder: &mut Coder, models: &mut [Bit; GROWTH_BITS], value: u32, max: u32) -> u32 {
    let mut read = 0;
    while read < max && coder.bit(&mut models[GROWTH_BITS.min(read as usize + 1) - 1], value > read)
    {
        read += 1;
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_whether_they_grew_shrank_or_leapt() {
        let max = SAMPLE_COUNT_MAX;
        let changes = [
            ([20, 4], [22, 5]),
            ([20, 4], [20, 4]),
            ([20, 4], [44, 28]),
            ([20, 4], [45, 4]),
            ([20, 4], [21, 6]),
            ([20, 4], [23, 3]),
            ([20, 4], [19, 4]),
            ([1, 0], [max, max]),
            ([max, max], [1, 0]),
        ];
        let mut coder = Coder::writer();
        let mut growth = Growth::new();
        for (old, new) in changes {
            assert_eq!(growth.counts(&mut coder, old, new), Ok(new));
        }
        let bytes = coder.finish().expect("nothing fails");
        let (mut coder, mut growth) = (Coder::reader(&bytes), Growth::new());
        for (old, new) in changes {
            assert_eq!(growth.counts(&mut coder, old, old), Ok(new), "from {old:?}");
        }
        assert_eq!(coder.finish(), Ok(Vec::new()));
    }

    #[test]
    fn counts_below_nothing_are_refused() {
        let mut coder = Coder::writer();
        Growth::new().counts(&mut coder, [50, 9], [1, 0]).expect("counts");
        let bytes = coder.finish().expect("nothing fails");
        let read = Growth::new().counts(&mut Coder::reader(&bytes), [20, 4], [20, 4]);
        assert_eq!(read, Err(DecodeError::invalid("counts").into()));
    }
}
