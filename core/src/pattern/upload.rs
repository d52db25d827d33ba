//! Which learned patterns leave the device, and in which batches.
//!
//! Near-duplicates of one household become one, whichever profiles learned them; what is not good
//! enough stays here; of the rest only what is not what the server has acknowledged leaves, as much as
//! fits a batch, the others with the next. What was acknowledged and is not good enough any more, or
//! does not exist any more, is taken back.
//!
//! Invariant: a batch builds only on versions that the server acknowledged to have decoded.

use super::exchange::{Batch, read_genre, read_pattern_id, write_genre};
use super::learner::{Learned, Learner, read_embedding, write_embedding};
use super::message::{Encoded, Floor, MESSAGE_PATTERNS_MAX, Outgoing, encode_within};
use super::tables::Tables;
use super::{ONE, Pattern, PatternError, PatternId, Quality};
use crate::clock::UnixMillis;
use crate::codec::{DecodeError, Reader, Writer};
use crate::sorted::Map;

/// Patterns that the server may have of a device.
pub const ACKED_MAX: usize = 256;
/// Patterns of one genre as alike as this, in units of 2^-30, are the same taste.
const NEAR_DUPLICATE: i64 = (ONE as i64 * ONE as i64) / 100 * 95;

/// What the server acknowledged of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// As the server decoded it.
    pub pattern: Pattern,
    /// When the receipt came, by this device's clock.
    pub at: UnixMillis,
    /// Whether the server still has it to decode a later version against.
    pub is_base: bool,
}

/// All that the server acknowledged.
pub type AckedPatterns = Map<PatternId, Acked>;

/// A batch that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its number.
    pub number: u32,
    /// What the server will have once it says so; their times are not known yet.
    pub patterns: Vec<(PatternId, Acked)>,
}

/// The patterns of the household that are good enough to leave, by their ids.
pub fn candidates(learner: &Learner, quality: Quality) -> Vec<Pattern> {
    let mut united: Vec<(Learned, Pattern)> = Vec::new();
    for learned in learner.learned() {
        let Some(pattern) = learned.pattern() else { continue };
        let same = |(_, other): &(Learned, Pattern)| {
            other.genre == pattern.genre
                && other.embedding.dot(&pattern.embedding) >= NEAR_DUPLICATE
        };
        match united.iter().position(same) {
            None => united.push((learned.clone(), pattern)),
            Some(at) => {
                let together = united[at].0.together(learned);
                if let Some(pattern) = together.pattern() {
                    united[at] = (together, pattern);
                }
            }
        }
    }
    let mut good: Vec<Pattern> = united.into_iter().map(|(_, pattern)| pattern).collect();
    good.retain(|pattern| quality.passes(pattern));
    good.sort_by_key(|pattern| pattern.id);
    good
}

/// The candidates that the server does not have as they are.
pub fn changed<'a>(candidates: &'a [Pattern], acked: &'a AckedPatterns) -> Vec<Outgoing<'a>> {
    let outgoing = candidates.iter().filter_map(|pattern| {
        let known = acked.get(&pattern.id);
        let same = known.is_some_and(|known| {
            (known.pattern.sample_count(), known.pattern.success_count())
                == (pattern.sample_count(), pattern.success_count())
        });
        let base = known.filter(|known| known.is_base).map(|known| &known.pattern);
        (!same).then_some(Outgoing { pattern, base })
    });
    outgoing.collect()
}

/// What the server has and should not have any more.
pub fn gone(candidates: &[Pattern], acked: &AckedPatterns) -> Vec<PatternId> {
    let wanted = |id: &PatternId| candidates.iter().any(|pattern| pattern.id == *id);
    acked.keys().copied().filter(|id| !wanted(id)).collect()
}

/// Encodes as many of the first as fit a batch of `bytes_max`, one at least; `None` when there is none.
///
/// # Errors
/// [`PatternError`] of the encoder.
pub fn encode_batch(
    tables: &Tables,
    floor: Floor,
    outgoing: &[Outgoing<'_>],
    bytes_max: u32,
    number: u32,
) -> Result<Option<(Sent, Encoded)>, PatternError> {
    if outgoing.is_empty() {
        return Ok(None);
    }
    let bytes_max = bytes_max as usize;
    let length = outgoing.len().min(MESSAGE_PATTERNS_MAX);
    let mut encoded = encode_within(tables, floor, &outgoing[..length], bytes_max)?;
    if encoded.taken == 0 {
        // A pattern that exceeds the cap alone leaves alone.
        encoded = encode_within(tables, floor, &outgoing[..1], usize::MAX)?;
    }
    let acked = |pattern: &Pattern| {
        let pattern = pattern.clone();
        (pattern.id, Acked { pattern, at: UnixMillis(0), is_base: true })
    };
    let patterns = encoded.decoded.iter().map(acked).collect();
    Ok(Some((Sent { number, patterns }, encoded)))
}

/// The batch as a request carries it.
pub fn batch(number: u32, encoded: &Encoded) -> Batch<'_> {
    Batch { number, message: &encoded.bytes }
}

impl Acked {
    /// Writes it and its id.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        write_pattern(writer, &self.pattern);
        writer.varint(self.at.0);
        writer.u8(self.is_base.into());
    }

    /// Reads what [`Acked::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let pattern = read_pattern(reader)?;
        Ok(Self { pattern, at: UnixMillis(reader.varint()?), is_base: reader.u8()? == 1 })
    }
}

/// Writes a pattern as it is stored: whole.
pub(crate) fn write_pattern(writer: &mut Writer, pattern: &Pattern) {
    writer.raw(&pattern.id.0.to_le_bytes());
    write_genre(writer, &pattern.genre);
    writer.varint(pattern.sample_count().into());
    writer.varint(pattern.success_count().into());
    write_embedding(writer, &pattern.embedding);
}

/// Reads what [`write_pattern`] wrote.
pub(crate) fn read_pattern(reader: &mut Reader) -> Result<Pattern, DecodeError> {
    let (id, genre) = (read_pattern_id(reader)?, read_genre(reader)?);
    let (samples, successes) = (reader.u32("sample count")?, reader.u32("success count")?);
    let pattern = Pattern::new(id, genre, read_embedding(reader)?, samples, successes);
    pattern.map_err(|_| DecodeError::invalid("pattern"))
}
