//! Titles with embeddings, genres and popularity: from files, or made up.
//!
//! Files: a NumPy array of half-precision numbers, 384 to a row (`--titles`), and a JSON object per line
//! with `genre` and `pop` (`--titles-meta`).

use omega_edge::aggregate::dice::Dice;
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::catalog::{Title as Known, Vector};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes before the numbers of a NumPy file, version 1.0, as NumPy pads them.
const HEADER_BYTES: usize = 128;
/// Made-up genres, and titles of the largest of them.
const GENRES: usize = 18;
const TITLES: usize = 600;

/// A title.
#[derive(Debug, Clone)]
pub struct Title {
    /// Its name.
    pub content: ContentId,
    /// What kind it is.
    pub genre: Genre,
    /// What it is like.
    pub embedding: Embedding,
    /// How often it is chosen by those who don't care.
    pub popularity: f64,
}

impl Title {
    /// As a device knows it.
    pub fn known(&self) -> Known {
        let vector = Vector::of(&self.embedding);
        Known { content: self.content.clone(), genre: self.genre.clone(), vector }
    }
}

/// Places of titles by genre.
pub fn by_genre(titles: &[Title]) -> Vec<Vec<usize>> {
    let mut genres: BTreeMap<&Genre, Vec<usize>> = BTreeMap::new();
    for (at, title) in titles.iter().enumerate() {
        genres.entry(&title.genre).or_default().push(at);
    }
    genres.into_values().collect()
}

/// Titles from files.
///
/// # Errors
/// One can't be read, or they don't fit.
pub fn read(embeddings: &Path, meta: &Path) -> Result<Vec<Title>, String> {
    let text = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = std::fs::read(embeddings).map_err(|error| text(embeddings, error))?;
    let lines = std::fs::read_to_string(meta).map_err(|error| text(meta, error))?;
    let rows = bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(2 * DIMENSIONS);
    let lines: Vec<&str> = lines.lines().collect();
    if rows.len() != lines.len() || lines.is_empty() {
        return Err(format!("{} embeddings for {} titles", rows.len(), lines.len()));
    }
    let read = rows.zip(lines).enumerate().map(|(at, (row, line))| {
        let halves = row.chunks_exact(2).map(|pair| half(u16::from_le_bytes([pair[0], pair[1]])));
        let wrong = |error: String| format!("title {at}: {error}");
        let embedding = Embedding::from_f32(&halves.collect::<Vec<f32>>());
        let about: Value = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let genre = Genre::new(about["genre"].as_str().unwrap_or_default());
        Ok(Title {
            content: ContentId::new(&format!("t{at}")).map_err(|e| wrong(e.to_string()))?,
            genre: genre.map_err(|error| wrong(error.to_string()))?,
            embedding: embedding.map_err(|error| wrong(error.to_string()))?,
            popularity: about["pop"].as_f64().unwrap_or(1.0).max(1.0),
        })
    });
    read.collect()
}

/// A half-precision number (IEEE 754-2008, binary16).
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -size } else { size }
}

/// Made-up titles: genres of different sizes around a common direction, sub-genres within them, and a
/// popularity that falls as Zipf's law has it. Nearly all that titles differ in lies in 80 dimensions.
pub fn made_up(seed: u64) -> Vec<Title> {
    let mut dice = Dice::new(seed);
    let mut draw = |size: f64, wide: usize| -> Vec<f64> {
        let narrow = |at: usize| if at < wide { 1.0 } else { 0.2 };
        (0..DIMENSIONS).map(|at| dice.normal() * size * narrow(at)).collect()
    };
    let add = |left: &[f64], right: &[f64]| -> Vec<f64> {
        left.iter().zip(right).map(|(a, b)| a + b).collect()
    };
    let common = draw(0.6, DIMENSIONS);
    let mut titles = Vec::new();
    for number in 0..GENRES {
        let middle = add(&common, &draw(0.5, DIMENSIONS));
        let kinds: Vec<Vec<f64>> = (0..6).map(|_| add(&middle, &draw(0.7, 80))).collect();
        for at in 0..TITLES / (1 + number / 2) {
            let point = add(&kinds[at % kinds.len()], &draw(1.1, 80));
            let components: Vec<f32> = point.iter().map(|&component| component as f32).collect();
            let place = titles.len();
            let made = Embedding::from_f32(&components).ok().zip(
                Genre::new(&format!("genre {number}"))
                    .ok()
                    .zip(ContentId::new(&format!("t{place}")).ok()),
            );
            if let Some((embedding, (genre, content))) = made {
                let popularity = 10_000.0 / (1 + at) as f64;
                titles.push(Title { content, genre, embedding, popularity });
            }
        }
    }
    titles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (1, 2f32.powi(-24))]
        {
            assert_eq!(half(bits), value);
        }
    }

    #[test]
    fn a_made_up_catalogue_has_genres_that_are_apart() {
        let titles = made_up(1);
        let genres = by_genre(&titles);
        assert_eq!(genres.len(), GENRES);
        let mean = |left: &[usize], right: &[usize]| {
            let pairs = left.iter().take(20).zip(right.iter().skip(20).take(20));
            let cosines = pairs.map(|(a, b)| titles[*a].embedding.cosine(&titles[*b].embedding));
            cosines.sum::<f32>() / 20.0
        };
        assert!(mean(&genres[0], &genres[0]) > mean(&genres[0], &genres[1]) + 0.1);
    }
}
