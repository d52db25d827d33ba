//! What both ends know before the first byte: centroids of genres, the transform, how the coefficients
//! spread, and where the adaptive decisions start. A data file, named by the checksum of its bytes.
//!
//! The file is described in `docs/patterns.md`. `omega-edge train` writes it from a catalogue.

use super::entropy::starts;

pub use super::entropy::MODEL_BITS;
use super::transform::{POINT_BITS, Point, STEPS};
use super::{DIMENSIONS, GENRE_BYTES_MAX, Genre, PatternError};
use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::rangecoder::{Bit, Coder};

/// First bytes of a file of tables; the last one is the version of the format.
const MAGIC: &[u8; 4] = b"OST\x02";
/// Largest file of tables in bytes.
pub const TABLES_BYTES_MAX: usize = 512 * 1024;
/// Most genres that tables know.
pub const TABLE_GENRES_MAX: usize = 64;
/// Most rows of a transform: with as many as there are components nothing is left to express.
pub const RANK_MAX: usize = DIMENSIONS;
/// Bits after the point of a centroid's components in the file.
const CENTROID_BITS: u32 = 8;
/// Largest weight.
const TABLE_WEIGHT_MAX: u64 = 255;

/// A file of tables that fits no catalogue well and every one somewhat: `core/tables/README.md` says what
/// it was made of.
pub static DEFAULT_TABLES: &[u8] = include_bytes!("../../tables/default.bin");

/// How much a message, a genre within it and a single pattern differ from what was expected, as
/// variances in one unit; and how many patterns the table's own variances count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// What all patterns of a message have in common, 0 to 255.
    pub message: i64,
    /// What patterns of one genre have in common beyond that, 0 to 255.
    pub genre: i64,
    /// What is left, 1 to 255.
    pub own: i64,
    /// Patterns that the known variances count for, 1 to 255.
    pub certainty: u64,
}

/// What tables are made of, in the units of the file.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The genres' names.
    pub genres: Vec<Genre>,
    /// A centroid for each genre and one for all others, in units of 2^-8.
    pub centroids: Vec<Vec<i8>>,
    /// The transform's rows in units of 2^-7, at most [`RANK_MAX`]; nearly orthonormal.
    pub rows: Vec<Vec<i8>>,
    /// Half-quarter octaves of each row's variance in units of 2^-30, at most 255.
    pub variances: Vec<u8>,
    /// See there.
    pub weights: Weights,
    /// The step to begin with.
    pub step: usize,
    /// Probability of `false` in 1/65536 and certainty of each adaptive decision.
    pub starts: Vec<(u16, u8)>,
}

/// Tables that patterns are coded with.
#[derive(Clone)]
pub struct Tables {
    id: u32,
    genres: Vec<Genre>,
    centroids: Vec<Point>,
    rows: Vec<i8>,
    variances: Vec<u64>,
    weights: Weights,
    step: usize,
    bits: Vec<Bit>,
}

impl core::fmt::Debug for Tables {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tables({:08x}, {} genres)", self.id, self.genres.len())
    }
}

impl Tables {
    /// Reads a file of tables whole.
    ///
    /// # Errors
    /// What is wrong with the bytes; nothing of them is used then.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > TABLES_BYTES_MAX {
            return Err(DecodeError::limit("TABLES_BYTES_MAX"));
        }
        let mut reader = Reader::new(bytes);
        if reader.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::invalid("tables"));
        }
        let count = reader.count(TABLE_GENRES_MAX, "TABLE_GENRES_MAX")?;
        let mut genres: Vec<Genre> = Vec::new();
        for _ in 0..count {
            let text = reader.string(GENRE_BYTES_MAX, "GENRE_BYTES_MAX")?;
            let genre = Genre::new(text).map_err(|_| DecodeError::invalid("genre"))?;
            if genre.as_str() != text || genres.contains(&genre) {
                return Err(DecodeError::invalid("genre"));
            }
            genres.push(genre);
        }
        let rank = reader.count(RANK_MAX, "RANK_MAX")?;
        let weights = read_weights(&mut reader)?;
        let step = usize::from(reader.u8()?);
        if step >= STEPS {
            return Err(DecodeError::invalid("step"));
        }
        let variances = reader.raw(rank)?.iter().map(|&log| variance(log)).collect();
        let mut bits = Vec::with_capacity(MODEL_BITS);
        for _ in 0..MODEL_BITS {
            let low = reader.u8()?;
            let probability = u16::from_le_bytes([low, reader.u8()?]);
            bits.push(Bit::learned(probability, reader.u8()?));
        }
        let mut coder = Coder::reader(reader.rest());
        let mut tree = Vec::new();
        let mut centroids = Vec::new();
        for _ in 0..=count {
            let mut point = [0; DIMENSIONS];
            for component in point.iter_mut() {
                let value = coder.symbol(&mut tree, 0, 256) as i32 - 128;
                *component = value << (POINT_BITS - CENTROID_BITS);
            }
            centroids.push(point);
        }
        tree.clear();
        let mut rows = Vec::with_capacity(rank * DIMENSIONS);
        for _ in 0..rank * DIMENSIONS {
            rows.push((coder.symbol(&mut tree, 0, 256) as i32 - 128) as i8);
        }
        coder.finish()?;
        let id = checksum(bytes);
        Ok(Self { id, genres, centroids, rows, variances, weights, step, bits })
    }

    /// Names these tables in messages.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The genres that cost least.
    pub fn genres(&self) -> &[Genre] {
        &self.genres
    }

    /// Where a genre is in the list; the list's length for one that is not.
    pub(super) fn place(&self, genre: &Genre) -> usize {
        let known = self.genres.iter().position(|known| known == genre);
        known.unwrap_or(self.genres.len())
    }

    /// The centroid of a genre by its place, the list's length for any other.
    pub(super) fn centroid(&self, place: usize) -> &Point {
        &self.centroids[place]
    }

    /// How many rows the transform has.
    pub(super) fn rank(&self) -> usize {
        self.variances.len()
    }

    /// The transform's rows.
    pub(super) fn rows(&self) -> &[[i8; DIMENSIONS]] {
        self.rows.as_chunks().0
    }

    /// One of the transform's rows.
    pub(super) fn row(&self, at: usize) -> &[i8; DIMENSIONS] {
        &self.rows.as_chunks().0[at]
    }

    /// What each coefficient is expected to vary by, in units of 2^-30.
    pub(super) fn variances(&self) -> &[u64] {
        &self.variances
    }

    /// How much patterns of a message have in common.
    pub(super) fn weights(&self) -> Weights {
        self.weights
    }

    /// The index of the step to begin with.
    pub(super) fn step(&self) -> usize {
        self.step
    }

    /// How the adaptive decisions begin.
    pub(super) fn bits(&self) -> &[Bit] {
        &self.bits
    }
}

/// How adaptive decisions begin before anything was learned, for [`Parts::starts`].
pub fn start() -> Vec<(u16, u8)> {
    starts()
}

impl Parts {
    /// The file.
    ///
    /// # Errors
    /// When a part has another length than it must, or is above its limit.
    pub fn write(&self) -> Result<Vec<u8>, PatternError> {
        let rank = self.rows.len();
        let even = self.rows.iter().chain(&self.centroids).all(|row| row.len() == DIMENSIONS);
        let counts = self.centroids.len() == self.genres.len() + 1
            && self.variances.len() == rank
            && self.starts.len() == MODEL_BITS;
        if !even || !counts {
            return Err(PatternError::Bytes(DecodeError::invalid("tables")));
        }
        let mut writer = Writer::new();
        writer.raw(MAGIC);
        writer.varint(self.genres.len() as u64);
        self.genres.iter().for_each(|genre| writer.bytes(genre.as_str().as_bytes()));
        writer.varint(rank as u64);
        let Weights { message, genre, own, certainty } = self.weights;
        for weight in [message as u64, genre as u64, own as u64, certainty] {
            writer.varint(weight);
        }
        writer.u8(self.step as u8);
        writer.raw(&self.variances);
        for (probability, certainty) in &self.starts {
            writer.raw(&probability.to_le_bytes());
            writer.u8(*certainty);
        }
        let mut coder = Coder::writer();
        for plane in [&self.centroids, &self.rows] {
            let mut tree = Vec::new();
            for &value in plane.iter().flatten() {
                coder.symbol(&mut tree, (i32::from(value) + 128) as usize, 256);
            }
        }
        writer.raw(&coder.finish()?);
        let bytes = writer.finish();
        Tables::read(&bytes)?;
        Ok(bytes)
    }
}

fn read_weights(reader: &mut Reader) -> Result<Weights, DecodeError> {
    let mut weights = [0; 4];
    for weight in &mut weights {
        *weight = reader.varint()?;
        if *weight > TABLE_WEIGHT_MAX {
            return Err(DecodeError::invalid("weight"));
        }
    }
    let [message, genre, own, certainty] = weights;
    if own == 0 || certainty == 0 {
        return Err(DecodeError::invalid("weight"));
    }
    Ok(Weights { message: message as i64, genre: genre as i64, own: own as i64, certainty })
}

/// 2^(log/8) in units of 2^-30, from 1 to almost 2^32, to seven bits.
fn variance(log: u8) -> u64 {
    const EIGHTHS: [u64; 8] = [128, 140, 152, 166, 181, 197, 215, 235];
    EIGHTHS[usize::from(log % 8)] << (log / 8) >> 7
}
