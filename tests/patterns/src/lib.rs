//! A job of the measurement `patterns`: which rows go into which message, in order.

use omega_sync_core::pattern::message::{Floor, Outgoing, decode, encode};
use omega_sync_core::pattern::tables::Tables;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternError, PatternId};
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;
use wasm_bindgen::prelude::*;

/// Why a job can't be done.
#[derive(Debug, Error)]
pub enum JobError {
    /// The job is not as described.
    #[error("not a job: {0}")]
    Json(#[from] serde_json::Error),
    /// A row is no pattern; rows count from 0.
    #[error("row {0}: {1}")]
    Pattern(usize, PatternError),
    /// A row's id is not what [`Row::id`] says.
    #[error("row {0}: its id is not 1 to 32 hex digits")]
    Id(usize),
    /// A message names a row that there is not.
    #[error("a message names row {0}, which is not there")]
    Place(usize),
    /// Too few embeddings for the rows.
    #[error("{0} bytes of embeddings are too few")]
    Short(usize),
}

/// What is known of a row besides its embedding.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// Up to 32 hex digits.
    pub id: String,
    /// Its name.
    pub genre: String,
    /// Viewings.
    pub sample_count: u32,
    /// Successes among them.
    pub success_count: u32,
}

/// A message.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// The rows in it.
    pub rows: Vec<usize>,
    /// Whether the receiver has nothing yet: no bases are used.
    pub fresh: bool,
}

/// What is to be encoded.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// The least cosine.
    pub floor: f32,
    /// All rows.
    pub rows: Vec<Row>,
    /// The messages, in order.
    pub messages: Vec<Plan>,
}

/// What a sender or receiver knows.
#[derive(Debug, Default)]
pub struct Known {
    patterns: Vec<Pattern>,
    places: BTreeMap<PatternId, usize>,
}

impl Known {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All that is known, the last version of each.
    pub fn all(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The last version of a pattern.
    pub fn get(&self, id: PatternId) -> Option<&Pattern> {
        self.places.get(&id).map(|&at| &self.patterns[at])
    }

    /// Takes newer versions.
    pub fn extend(&mut self, patterns: Vec<Pattern>) {
        for pattern in patterns {
            match self.places.get(&pattern.id) {
                Some(&at) => self.patterns[at] = pattern,
                None => {
                    self.places.insert(pattern.id, self.patterns.len());
                    self.patterns.push(pattern);
                }
            }
        }
    }
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// When it is not as described.
    pub fn read(text: &str) -> Result<Self, JobError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The rows as patterns; `embeddings` are 384 little-endian f32 each.
    ///
    /// # Errors
    /// The first row that is no pattern.
    pub fn patterns(&self, embeddings: &[u8]) -> Result<Vec<Pattern>, JobError> {
        let values: Vec<f32> = embeddings
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        if values.len() < self.rows.len() * DIMENSIONS {
            return Err(JobError::Short(embeddings.len()));
        }
        let rows = self.rows.iter().zip(values.chunks_exact(DIMENSIONS)).enumerate();
        rows.map(|(at, (row, values))| {
            let id = u128::from_str_radix(&row.id, 16).map_err(|_| JobError::Id(at))?;
            let pattern = || {
                Pattern::new(
                    PatternId(id),
                    Genre::new(&row.genre)?,
                    Embedding::from_f32(values)?,
                    row.sample_count,
                    row.success_count,
                )
            };
            pattern().map_err(|error| JobError::Pattern(at, error))
        })
        .collect()
    }
}

/// The patterns of these rows, each against what the receiver knows of it.
///
/// # Errors
/// When there is no such row.
pub fn outgoing<'a>(
    patterns: &'a [Pattern],
    rows: &[usize],
    fresh: bool,
    known: &'a Known,
) -> Result<Vec<Outgoing<'a>>, JobError> {
    let one = |&row: &usize| {
        let pattern = patterns.get(row).ok_or(JobError::Place(row))?;
        Ok(Outgoing { pattern, base: known.get(pattern.id).filter(|_| !fresh) })
    };
    rows.iter().map(one).collect()
}

/// The codec for measurements in Node: patterns in, messages out, and back.
#[wasm_bindgen]
pub struct Codec {
    tables: Tables,
    floor: Floor,
    patterns: Vec<Pattern>,
    known: Known,
}

#[wasm_bindgen]
impl Codec {
    /// Reads tables and a job: see [`Job`].
    #[wasm_bindgen(constructor)]
    pub fn new(tables: &[u8], job: &str, embeddings: &[u8]) -> Result<Codec, JsValue> {
        let tables = Tables::read(tables).map_err(failure)?;
        let job = Job::read(job).map_err(failure)?;
        let patterns = job.patterns(embeddings).map_err(failure)?;
        let floor = Floor::new(job.floor).map_err(failure)?;
        Ok(Self { tables, floor, patterns, known: Known::new() })
    }

    /// Encodes these rows, against what was decoded before unless `fresh`.
    pub fn encode(&mut self, rows: &[u32], fresh: bool) -> Result<Vec<u8>, JsValue> {
        let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
        let outgoing = outgoing(&self.patterns, &rows, fresh, &self.known).map_err(failure)?;
        let encoded = encode(&self.tables, self.floor, &outgoing).map_err(failure)?;
        self.known.extend(encoded.decoded);
        Ok(encoded.bytes)
    }

    /// Decodes a message against what was decoded before; gives the embeddings in units of 2^-15.
    pub fn decode(&mut self, message: &[u8]) -> Result<Vec<i16>, JsValue> {
        let patterns = decode(&self.tables, message, self.known.all()).map_err(failure)?;
        let units = patterns.iter().flat_map(|pattern| *pattern.embedding.as_slice()).collect();
        self.known.extend(patterns);
        Ok(units)
    }
}

fn failure(error: impl std::fmt::Display) -> JsValue {
    JsError::new(&error.to_string()).into()
}
