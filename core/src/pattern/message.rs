//! Patterns on the wire, whole or against an earlier version of themselves.
//!
//! The sender keeps what the receiver decoded ([`Encoded::decoded`]), not what it encoded: that is the
//! base of the next version.

use super::tables::Tables;
use super::{DIMENSIONS, Embedding, GENRE_BYTES_MAX, Genre, Pattern, PatternError, PatternId};
use crate::codec::{DecodeError, Reader, Writer};

/// Most patterns in one message.
pub const MESSAGE_PATTERNS_MAX: usize = 256;
/// Least and greatest cosine that may be asked for, in thousandths.
const FLOORS: (f32, f32) = (0.5, 0.999);

/// The least cosine between a pattern and what the receiver decodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor(f32);

impl Floor {
    /// A cosine from 0.5 to 0.999.
    pub fn new(cosine: f32) -> Result<Self, PatternError> {
        let fits = cosine >= FLOORS.0 && cosine <= FLOORS.1;
        if fits { Ok(Self(cosine)) } else { Err(PatternError::Floor) }
    }

    /// The cosine.
    pub fn cosine(self) -> f32 {
        self.0
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self(0.98)
    }
}

/// A pattern to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The pattern.
    pub pattern: &'a Pattern,
    /// What the receiver decoded of an earlier version, if it still has that.
    pub base: Option<&'a Pattern>,
}

/// A message, and what its receiver will hold.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The message.
    pub bytes: Vec<u8>,
    /// How many of the patterns, counted from the first, are in it.
    pub taken: usize,
    /// The taken ones as the receiver decodes them, in its order, which need not be that of
    /// the input: bases of later versions.
    pub decoded: Vec<Pattern>,
}

/// Encodes all patterns. Fails when there are more than [`MESSAGE_PATTERNS_MAX`] or one comes
/// twice.
pub fn encode(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
) -> Result<Encoded, PatternError> {
    encode_within(tables, floor, patterns, usize::MAX)
}

/// Encodes as many of the first patterns as fit `bytes_max`, none if the first one does not.
pub fn encode_within(
    tables: &Tables,
    _floor: Floor,
    patterns: &[Outgoing<'_>],
    bytes_max: usize,
) -> Result<Encoded, PatternError> {
    if patterns.len() > MESSAGE_PATTERNS_MAX {
        return Err(PatternError::Limit("MESSAGE_PATTERNS_MAX"));
    }
    for (at, outgoing) in patterns.iter().enumerate() {
        if patterns[..at].iter().any(|other| other.pattern.id == outgoing.pattern.id) {
            return Err(PatternError::Duplicate);
        }
    }
    let mut taken = patterns.len();
    loop {
        let bytes = write(tables, &patterns[..taken]);
        if bytes.len() <= bytes_max || taken == 0 {
            let decoded = patterns[..taken].iter().map(|p| p.pattern.clone()).collect();
            return Ok(Encoded { bytes, taken, decoded });
        }
        taken -= 1;
    }
}

/// About how many bytes [`encode`] would make, without encoding.
pub fn estimate_bytes(_tables: &Tables, _floor: Floor, patterns: &[Outgoing<'_>]) -> usize {
    let counts = |pattern: &Pattern| pattern.genre.as_str().len() + 4;
    6 + patterns.iter().map(|p| 16 + counts(p.pattern) + 2 * DIMENSIONS).sum::<usize>()
}

fn write(tables: &Tables, patterns: &[Outgoing<'_>]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed32(tables.id());
    writer.varint(patterns.len() as u64);
    for Outgoing { pattern, .. } in patterns {
        writer.raw(&pattern.id.0.to_le_bytes());
        writer.bytes(pattern.genre.as_str().as_bytes());
        writer.varint(pattern.sample_count().into());
        writer.varint(pattern.success_count().into());
        pattern.embedding.as_slice().iter().for_each(|unit| writer.raw(&unit.to_le_bytes()));
    }
    writer.finish()
}

/// Decodes a message, in its own order, the one of [`Encoded::decoded`]. `bases` are this sender's
/// patterns as the receiver decoded them.
pub fn decode(
    tables: &Tables,
    bytes: &[u8],
    _bases: &[Pattern],
) -> Result<Vec<Pattern>, PatternError> {
    let mut reader = Reader::new(bytes);
    let id = reader.fixed32()?;
    if id != tables.id() {
        return Err(PatternError::TablesUnknown(id));
    }
    let count = reader.count(MESSAGE_PATTERNS_MAX, "MESSAGE_PATTERNS_MAX")?;
    let mut patterns = Vec::new();
    for _ in 0..count {
        let id: [u8; 16] = reader.raw(16)?.try_into().map_err(|_| DecodeError::Truncated)?;
        let genre = Genre::new(reader.string(GENRE_BYTES_MAX, "GENRE_BYTES_MAX")?)?;
        let sample_count = reader.u32("sample count")?;
        let success_count = reader.u32("success count")?;
        let units: Vec<i16> = reader
            .raw(2 * DIMENSIONS)?
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let embedding = Embedding::from_units(&units)?;
        let id = PatternId(u128::from_le_bytes(id));
        patterns.push(Pattern::new(id, genre, embedding, sample_count, success_count)?);
    }
    reader.finish()?;
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_a_cap_leaves_the_rest() {
        let tables = Tables::read(b"OPT0").expect("valid");
        let patterns: Vec<Pattern> = (0..5u32)
            .map(|n| {
                let vector: Vec<f32> =
                    (0..DIMENSIONS).map(|i| (i as f32 * (n + 1) as f32).sin()).collect();
                let embedding = Embedding::from_f32(&vector).expect("valid");
                let genre = Genre::new("drama").expect("valid");
                Pattern::new(PatternId(n.into()), genre, embedding, 10 + n, 9).expect("valid")
            })
            .collect();
        let outgoing: Vec<Outgoing> =
            patterns.iter().map(|pattern| Outgoing { pattern, base: None }).collect();
        let all = encode(&tables, Floor::default(), &outgoing).expect("it fits");
        assert_eq!(decode(&tables, &all.bytes, &[]).expect("valid"), patterns);
        let some = encode_within(&tables, Floor::default(), &outgoing, 2_048).expect("it fits");
        assert!(some.taken == 2 && some.bytes.len() <= 2_048);
        assert_eq!(decode(&tables, &some.bytes, &[]).expect("valid"), patterns[..2]);
    }
}
