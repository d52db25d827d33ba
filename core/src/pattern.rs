//! Learned taste: a pattern is a point on the unit sphere of title embeddings, with how often it was
//! watched and how often that was a success.
//!
//! The types here are shared by the device, which learns patterns, and the server, which aggregates
//! them; [`message`] is their form on the wire (`docs/patterns.md`). Each value is checked when it is
//! made, so whoever holds an [`Embedding`], a [`Genre`] or a [`Pattern`] holds a valid one.
//!
//! Embeddings are integers, so that a device, a server and a browser that decode the same bytes hold
//! the same bits. Conversions from and to floating point use only operations that IEEE 754 defines
//! exactly.

mod aim;
pub mod catalog;
mod entropy;
pub mod exchange;
mod growth;
pub mod learner;
pub mod message;
mod quantise;
pub mod recommend;
pub mod tables;
mod transform;
pub mod upload;

use crate::codec::DecodeError;
use thiserror::Error;

/// Components of an embedding: those of all-MiniLM-L6-v2.
pub const DIMENSIONS: usize = 384;
/// What 1 is in a component: components are in units of 2^-15.
pub const ONE: i32 = 1 << 15;
/// An embedding's norm may differ from 1 by one part in so many.
pub const NORM_TOLERANCE_PARTS: i64 = 128;
/// Longest genre in bytes.
pub const GENRE_BYTES_MAX: usize = 32;
/// Most samples of one pattern, also of a global one.
pub const SAMPLE_COUNT_MAX: u32 = 1 << 28;

/// Why something is no pattern, or can't be encoded or decoded as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PatternError {
    /// So many components instead of [`DIMENSIONS`].
    #[error("an embedding has {DIMENSIONS} components, not {0}")]
    Dimensions(usize),
    /// A component is infinite or not a number.
    #[error("an embedding's components must be finite")]
    NotFinite,
    /// The norm is zero, or too far from 1 where a unit vector is asked for.
    #[error("an embedding must have the norm 1")]
    Norm,
    /// Not 1 to [`GENRE_BYTES_MAX`] bytes of text without control characters.
    #[error("a genre must be 1 to 32 bytes of text without control characters")]
    Genre,
    /// No sample, or more than [`SAMPLE_COUNT_MAX`].
    #[error("{0} samples: must be 1 to {SAMPLE_COUNT_MAX}")]
    SampleCount(u32),
    /// More successes than samples.
    #[error("{0} successes of {1} samples")]
    SuccessCount(u32, u32),
    /// A cosine floor outside the range of [`message::Floor`].
    #[error("a cosine floor must be 0.5 to 0.999")]
    Floor,
    /// The same id twice in one message.
    #[error("two patterns have one id")]
    Duplicate,
    /// More patterns than a message holds.
    #[error("over the limit {0}")]
    Limit(&'static str),
    /// The bytes were written with other tables than the receiver has; the number is their id.
    #[error("tables {0:08x} are not known")]
    TablesUnknown(u32),
    /// The pattern is coded against a version of it that the receiver does not have (any more).
    #[error("a pattern's base is not known")]
    BaseUnknown,
    /// The bytes have no meaning.
    #[error("not a message of patterns: {0}")]
    Bytes(#[from] DecodeError),
}

/// A point on the unit sphere; components in units of 2^-15.
#[derive(Clone, PartialEq, Eq)]
pub struct Embedding(Box<[i16; DIMENSIONS]>);

impl Embedding {
    /// From components of any norm but zero, which are scaled to norm 1.
    pub fn from_f32(components: &[f32]) -> Result<Self, PatternError> {
        if components.len() != DIMENSIONS {
            return Err(PatternError::Dimensions(components.len()));
        }
        if components.iter().any(|component| !component.is_finite()) {
            return Err(PatternError::NotFinite);
        }
        // In f64 the square of the largest f32 is finite, and that of the smallest one is not zero.
        let square: f64 = components.iter().map(|&c| f64::from(c) * f64::from(c)).sum();
        if square == 0.0 {
            return Err(PatternError::Norm);
        }
        let scale = f64::from(ONE) / square.sqrt();
        let mut units = Box::new([0; DIMENSIONS]);
        for (unit, &component) in units.iter_mut().zip(components) {
            // `as` saturates: the component 1 is 32,767 units.
            *unit = (f64::from(component) * scale).round_ties_even() as i16;
        }
        Ok(Self(units))
    }

    /// From components that claim the norm 1: refused when it is not within the tolerance.
    pub fn from_unit_f32(components: &[f32]) -> Result<Self, PatternError> {
        let embedding = Self::from_f32(components)?;
        let square: f64 = components.iter().map(|&c| f64::from(c) * f64::from(c)).sum();
        if near_one(square * f64::from(ONE) * f64::from(ONE)) {
            Ok(embedding)
        } else {
            Err(PatternError::Norm)
        }
    }

    /// From units, as [`Embedding::as_slice`] gives them: refused unless the norm is within the tolerance.
    pub fn from_units(units: &[i16]) -> Result<Self, PatternError> {
        let units: [i16; DIMENSIONS] =
            units.try_into().map_err(|_| PatternError::Dimensions(units.len()))?;
        let embedding = Self(Box::new(units));
        // At most 384 * 2^30, which f64 holds exactly.
        if near_one(embedding.dot(&embedding) as f64) {
            Ok(embedding)
        } else {
            Err(PatternError::Norm)
        }
    }

    /// From units that were just scaled to norm 1.
    fn from_scaled(units: [i16; DIMENSIONS]) -> Self {
        Self(Box::new(units))
    }

    /// The components in units of 2^-15.
    pub fn as_slice(&self) -> &[i16; DIMENSIONS] {
        &self.0
    }

    /// The components as fractions of 1.
    pub fn to_f32(&self) -> Vec<f32> {
        self.0.iter().map(|&unit| f32::from(unit) / ONE as f32).collect()
    }

    /// The inner product in units of 2^-30.
    pub fn dot(&self, other: &Self) -> i64 {
        self.0
            .iter()
            .zip(other.0.iter())
            .map(|(&a, &b)| i64::from(i32::from(a) * i32::from(b)))
            .sum()
    }

    /// The cosine of the angle between two embeddings, -1 to 1.
    pub fn cosine(&self, other: &Self) -> f32 {
        let squares = self.dot(self) as f64 * other.dot(other) as f64;
        ((self.dot(other) as f64 / squares.sqrt()) as f32).clamp(-1.0, 1.0)
    }
}

impl core::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Embedding({:?}…)", &self.0[..4])
    }
}

/// Whether the square of a norm, in units of 2^-30, is within the tolerance of 1.
fn near_one(square: f64) -> bool {
    let one = f64::from(ONE) * f64::from(ONE);
    let part = 1.0 / NORM_TOLERANCE_PARTS as f64;
    let (low, high) = (1.0 - part, 1.0 + part);
    square >= one * low * low && square <= one * high * high
}

/// The name of a pattern: the same for all its versions, unique among those of a device or among the
/// global patterns. The wire pays for the bits that are used, so devices and the server count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternId(pub u128);

/// A genre's name, compared without regard to the case of ASCII letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Genre(Box<str>);

impl Genre {
    /// Checks length and characters; letters become lower case.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let fits = !text.is_empty() && text.len() <= GENRE_BYTES_MAX;
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(PatternError::Genre)
        }
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One learned taste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its name.
    pub id: PatternId,
    /// What kind of titles it is about.
    pub genre: Genre,
    /// Where their mean points.
    pub embedding: Embedding,
    sample_count: u32,
    success_count: u32,
}

impl Pattern {
    /// Checks the counts.
    pub fn new(
        id: PatternId,
        genre: Genre,
        embedding: Embedding,
        sample_count: u32,
        success_count: u32,
    ) -> Result<Self, PatternError> {
        if sample_count == 0 || sample_count > SAMPLE_COUNT_MAX {
            return Err(PatternError::SampleCount(sample_count));
        }
        if success_count > sample_count {
            return Err(PatternError::SuccessCount(success_count, sample_count));
        }
        Ok(Self { id, genre, embedding, sample_count, success_count })
    }

    /// How many viewings it is the mean of, 1 to [`SAMPLE_COUNT_MAX`].
    pub fn sample_count(&self) -> u32 {
        self.sample_count
    }

    /// How many of them were a success, at most all.
    pub fn success_count(&self) -> u32 {
        self.success_count
    }

    /// The share of successes, 0 to 1.
    pub fn success_rate(&self) -> f32 {
        (f64::from(self.success_count) / f64::from(self.sample_count)) as f32
    }
}

/// Which patterns are worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// Least share of successes, in thousandths.
    pub success_permille: u32,
    /// Least number of samples.
    pub sample_count: u32,
}

impl Default for Quality {
    fn default() -> Self {
        Self { success_permille: 700, sample_count: 10 }
    }
}

impl Quality {
    /// Whether a pattern is good enough; exact, so that 7 successes of 10 are 0.7.
    pub fn passes(&self, pattern: &Pattern) -> bool {
        let success = u64::from(pattern.success_count) * 1_000;
        let wanted = u64::from(pattern.sample_count) * u64::from(self.success_permille);
        pattern.sample_count >= self.sample_count && success >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(at: usize) -> Vec<f32> {
        (0..DIMENSIONS).map(|i| f32::from(i == at)).collect()
    }

    #[test]
    fn an_embedding_is_finite_whole_and_of_norm_one() {
        let mut scaled = axis(3);
        scaled[3] = 1e30;
        assert_eq!(Embedding::from_f32(&scaled), Embedding::from_f32(&axis(3)));
        assert_eq!(Embedding::from_f32(&scaled[1..]), Err(PatternError::Dimensions(383)));
        assert_eq!(Embedding::from_f32(&[0.0; DIMENSIONS]), Err(PatternError::Norm));
        scaled[0] = f32::NAN;
        assert_eq!(Embedding::from_f32(&scaled), Err(PatternError::NotFinite));
        scaled[0] = f32::INFINITY;
        assert_eq!(Embedding::from_f32(&scaled), Err(PatternError::NotFinite));
    }

    #[test]
    fn the_tolerance_of_the_norm_is_one_part_in_128() {
        for (norm, fits) in [(0.9921, false), (0.9923, true), (1.0077, true), (1.0079, false)] {
            let mut vector = axis(0);
            vector[0] = norm;
            assert_eq!(Embedding::from_unit_f32(&vector).is_ok(), fits, "norm {norm}");
            let mut units = [0; DIMENSIONS];
            units[..2].fill((f64::from(norm) * f64::from(ONE) / 2f64.sqrt()).round() as i16);
            assert_eq!(Embedding::from_units(&units).is_ok(), fits, "norm {norm}");
        }
        assert_eq!(Embedding::from_units(&[0; 3]), Err(PatternError::Dimensions(3)));
    }

    #[test]
    fn a_cosine_is_that_of_the_angle() {
        let one = Embedding::from_f32(&axis(0)).expect("valid");
        let mut between = axis(0);
        between[1] = -1.0;
        let between = Embedding::from_f32(&between).expect("valid");
        assert!((one.cosine(&between) - 0.5f32.sqrt()).abs() < 1e-4);
        assert_eq!(one.cosine(&one), 1.0);
        assert_eq!(one.cosine(&Embedding::from_f32(&axis(9)).expect("valid")), 0.0);
        let back = Embedding::from_f32(&between.to_f32()).expect("valid");
        assert_eq!(back, between);
    }

    #[test]
    fn genres_compare_without_case_and_are_short() {
        assert_eq!(Genre::new("Science Fiction"), Genre::new("science fiction"));
        assert!(Genre::new(&"x".repeat(GENRE_BYTES_MAX)).is_ok());
        assert_eq!(Genre::new(&"x".repeat(GENRE_BYTES_MAX + 1)), Err(PatternError::Genre));
        assert_eq!(Genre::new(""), Err(PatternError::Genre));
        assert_eq!(Genre::new("a\nb"), Err(PatternError::Genre));
    }

    fn pattern(sample: u32, success: u32) -> Result<Pattern, PatternError> {
        let embedding = Embedding::from_f32(&axis(0)).expect("valid");
        Pattern::new(PatternId(1), Genre::new("drama").expect("valid"), embedding, sample, success)
    }

    #[test]
    fn counts_are_bounded_and_the_quality_filter_is_exact() {
        assert_eq!(pattern(0, 0), Err(PatternError::SampleCount(0)));
        assert!(pattern(SAMPLE_COUNT_MAX, SAMPLE_COUNT_MAX).is_ok());
        let above = SAMPLE_COUNT_MAX + 1;
        assert_eq!(pattern(above, 0), Err(PatternError::SampleCount(above)));
        assert_eq!(pattern(4, 5), Err(PatternError::SuccessCount(5, 4)));
        for (sample, success, passes) in
            [(10, 7, true), (9, 9, false), (10, 6, false), (30, 21, true)]
        {
            let pattern = pattern(sample, success).expect("valid");
            assert_eq!(Quality::default().passes(&pattern), passes, "{success} of {sample}");
        }
    }
}
