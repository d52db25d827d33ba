//! A job of the measurement `patterns`: which rows go into which message, in order.

use omega_sync_core::pattern::message::{Encoded, Floor, Outgoing, encode};
use omega_sync_core::pattern::tables::Tables;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternError, PatternId};
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a job can't be done.
#[derive(Debug, Error)]
pub enum JobError {
    /// The job is not as described.
    #[error("not a job: {0}")]
    Json(#[from] serde_json::Error),
    /// A row is no pattern, or can't be encoded.
    #[error("row or message {0}: {1}")]
    Pattern(usize, PatternError),
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

/// What a sender or receiver knows, by id.
pub type Known = BTreeMap<PatternId, Pattern>;

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
            let id = u128::from_str_radix(&row.id, 16).unwrap_or(at as u128);
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

/// Encodes one message; what was decoded of it goes to `known`.
///
/// # Errors
/// Those of [`encode`].
pub fn send(
    tables: &Tables,
    floor: Floor,
    patterns: &[&Pattern],
    fresh: bool,
    known: &mut Known,
) -> Result<Encoded, PatternError> {
    let outgoing: Vec<Outgoing> = patterns
        .iter()
        .map(|pattern| Outgoing { pattern, base: known.get(&pattern.id).filter(|_| !fresh) })
        .collect();
    let encoded = encode(tables, floor, &outgoing)?;
    for pattern in &encoded.decoded {
        known.insert(pattern.id, pattern.clone());
    }
    Ok(encoded)
}
