//! A catalogue: an array of embeddings in NumPy's format, and a line of JSON for each row.

use omega_sync_core::pattern::tables::TABLE_GENRES_MAX;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a catalogue can't be read.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// A file can't be read.
    #[error("can't read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Not an array of the kind that is asked for.
    #[error("not a NumPy array of rows of 384 little-endian float16 or float32: {0}")]
    Array(&'static str),
    /// Another number of lines than rows.
    #[error("{0} embeddings, but {1} lines about them")]
    Lines(usize, usize),
    /// A line says nothing that is understood.
    #[error("line {0}: {1}")]
    Line(usize, String),
}

/// One title.
#[derive(Debug, Clone)]
pub struct Title {
    /// Of norm 1.
    pub embedding: Vec<f32>,
    /// The first one counts most.
    pub genres: Vec<Genre>,
    /// How often it is watched, in any unit.
    pub popularity: f64,
}

/// Titles to train on.
#[derive(Debug, Clone)]
pub struct Catalogue {
    titles: Vec<Title>,
}

impl Catalogue {
    /// Reads `array`, and `lines` for each row: `{"genre": …}` or `{"genres": […]}`, and `"pop"`.
    /// `only` takes the lines alone that have this value in this field.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn read(
        array: &Path,
        lines: &Path,
        only: Option<(&str, &str)>,
    ) -> Result<Self, CatalogueError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| CatalogueError::Read(path.to_owned(), error))
        };
        let rows = read_array(&read(array)?)?;
        let text = String::from_utf8_lossy(&read(lines)?).into_owned();
        let texts: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if texts.len() != rows.len() {
            return Err(CatalogueError::Lines(rows.len(), texts.len()));
        }
        let mut titles = Vec::new();
        for (at, (row, text)) in rows.iter().zip(texts).enumerate() {
            let wrong =
                |what: &dyn std::fmt::Display| CatalogueError::Line(at + 1, what.to_string());
            let value: Value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
            if only.is_some_and(|(field, wanted)| value[field].as_str() != Some(wanted)) {
                continue;
            }
            let mut genres = Vec::new();
            let list = value["genres"].as_array().into_iter().flatten();
            for name in value["genre"].as_str().into_iter().chain(list.filter_map(Value::as_str)) {
                let genre = Genre::new(name).map_err(|error| wrong(&error))?;
                if !genres.contains(&genre) {
                    genres.push(genre);
                }
            }
            // Checked, and scaled to norm 1.
            let embedding = Embedding::from_f32(row).map_err(|error| wrong(&error))?.to_f32();
            let popularity = value["pop"].as_f64().filter(|pop| *pop >= 0.0).unwrap_or(0.0);
            titles.push(Title { embedding, genres, popularity });
        }
        Ok(Self { titles })
    }

    /// The titles.
    pub fn titles(&self) -> &[Title] {
        &self.titles
    }

    /// All but each n-th title, and these.
    pub fn split(&self, n: usize) -> (Self, Self) {
        let part = |taken: bool| Self {
            titles: self
                .titles
                .iter()
                .enumerate()
                .filter(|(at, _)| (at % n == 0) == taken)
                .map(|(_, title)| title.clone())
                .collect(),
        };
        (part(false), part(true))
    }

    /// First genres of titles by name, at most as many as tables hold: those with most titles.
    pub fn genres(&self) -> Vec<Genre> {
        let mut counts: Vec<(usize, Genre)> = Vec::new();
        for genre in self.titles.iter().filter_map(|title| title.genres.first()) {
            match counts.iter_mut().find(|(_, known)| known == genre) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, genre.clone())),
            }
        }
        counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut genres: Vec<Genre> =
            counts.into_iter().take(TABLE_GENRES_MAX).map(|(_, genre)| genre).collect();
        genres.sort();
        genres
    }

    /// What each title counts for, 1 on average: the root of its popularity, or the same for all.
    pub fn weights(&self, popularity: bool) -> Vec<f64> {
        let root = |title: &Title| if popularity { title.popularity.max(1.0).sqrt() } else { 1.0 };
        let roots: Vec<f64> = self.titles.iter().map(root).collect();
        let mean = roots.iter().sum::<f64>() / roots.len().max(1) as f64;
        roots.into_iter().map(|root| root / mean).collect()
    }
}

/// The rows of a NumPy array of float16 or float32, format 1.0 to 3.0, C order.
fn read_array(bytes: &[u8]) -> Result<Vec<Vec<f32>>, CatalogueError> {
    let wrong = CatalogueError::Array;
    if bytes.len() < 12 || !bytes.starts_with(b"\x93NUMPY") {
        return Err(wrong("no such head"));
    }
    let (length, start) = if bytes[6] == 1 {
        (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10)
    } else {
        (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12)
    };
    let head = bytes.get(start..start + length).ok_or(wrong("cut off"))?;
    let head = String::from_utf8_lossy(head);
    if head.contains("'fortran_order': True") {
        return Err(wrong("Fortran order"));
    }
    let data = &bytes[start + length..];
    let values: Vec<f32> = if head.contains("'<f2'") {
        data.chunks_exact(2).map(|pair| half(u16::from_le_bytes([pair[0], pair[1]]))).collect()
    } else if head.contains("'<f4'") {
        let word = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        data.chunks_exact(4).map(word).collect()
    } else {
        return Err(wrong("other numbers"));
    };
    if !head.contains(&format!(", {DIMENSIONS})")) || !values.len().is_multiple_of(DIMENSIONS) {
        return Err(wrong("other rows"));
    }
    Ok(values.chunks_exact(DIMENSIONS).map(<[f32]>::to_vec).collect())
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1_023));
    sign * match exponent {
        0 => fraction / 16_777_216.0,
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1_024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (1, 5.960_464_5e-8)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f32::NEG_INFINITY);
    }
}
