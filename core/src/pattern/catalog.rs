//! The titles that a device knows the embeddings of: from the app, and from the server's feed.
//!
//! A vector is kept as 8-bit integers, scaled so that its largest component is 127: only directions
//! count, and against the original the cosine stays above 0.999. All of them lie in one block, in the
//! order in which they are gone through.
//!
//! Invariant: at most [`TITLES_MAX`] titles; the one that was learned longest ago goes for the next.

use super::exchange::{read_genre, write_genre};
use super::{DIMENSIONS, Embedding, Genre, PatternError};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ContentId;

/// Titles that a device knows.
pub const TITLES_MAX: usize = 5_000;
/// Genres of them; titles of further ones count as the last.
pub const CATALOG_GENRES_MAX: usize = 64;
/// The largest component of a vector.
const COMPONENT_MAX: f32 = 127.0;

/// A title's direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector(pub(crate) Box<[i8; DIMENSIONS]>);

impl Vector {
    /// The direction of some components.
    ///
    /// # Errors
    /// [`PatternError`]: not [`DIMENSIONS`] of them, not finite, or all zero.
    pub fn from_f32(components: &[f32]) -> Result<Self, PatternError> {
        Ok(Self::of(&Embedding::from_f32(components)?))
    }

    /// The direction of an embedding.
    pub fn of(embedding: &Embedding) -> Self {
        let units = embedding.as_slice();
        let largest = units.iter().map(|unit| unit.unsigned_abs()).max().unwrap_or(1).max(1);
        let scale = COMPONENT_MAX / f32::from(largest);
        let mut vector = Box::new([0; DIMENSIONS]);
        for (component, &unit) in vector.iter_mut().zip(units) {
            *component = (f32::from(unit) * scale).round_ties_even() as i8;
        }
        Self(vector)
    }

    /// As an embedding of norm 1.
    pub fn embedding(&self) -> Result<Embedding, PatternError> {
        let components: Vec<f32> = self.0.iter().map(|&component| f32::from(component)).collect();
        Embedding::from_f32(&components)
    }

    fn norm(&self) -> u16 {
        let square: u32 = self.0.iter().map(|&c| u32::from(c.unsigned_abs()).pow(2)).sum();
        square.isqrt().max(1) as u16
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        self.0.iter().for_each(|&component| writer.u8(component as u8));
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let bytes = reader.raw(DIMENSIONS)?;
        if bytes.iter().all(|&byte| byte == 0) || bytes.contains(&0x80) {
            return Err(DecodeError::invalid("vector"));
        }
        let mut vector = Box::new([0; DIMENSIONS]);
        for (component, &byte) in vector.iter_mut().zip(bytes) {
            *component = byte as i8;
        }
        Ok(Self(vector))
    }
}

/// A title and its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// The title's id.
    pub content: ContentId,
    /// Its first genre.
    pub genre: Genre,
    /// Where it lies.
    pub vector: Vector,
}

impl Title {
    /// Encodes the title.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        self.content.encode(writer);
        write_genre(writer, &self.genre);
        self.vector.encode(writer);
    }

    /// Reads what [`Title::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            content: ContentId::decode(reader)?,
            genre: read_genre(reader)?,
            vector: Vector::decode(reader)?,
        })
    }
}

/// What is kept of a title beside its vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) content: ContentId,
    /// Place in the list of genres.
    pub(crate) genre: u8,
    /// Of the vector, in its units.
    pub(crate) norm: u16,
}

/// All titles that a device knows. Each has a *slot*, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    genres: Vec<Genre>,
    entries: Vec<Entry>,
    vectors: Vec<i8>,
    /// Slots in the order of their content ids.
    order: Vec<u16>,
    /// The slot that the next title takes when all are taken.
    oldest: usize,
}

impl Catalog {
    /// Learns a title, or learns it anew.
    pub fn learn(&mut self, title: &Title) {
        let genre = self.genre_place(&title.genre);
        let entry = Entry { content: title.content.clone(), genre, norm: title.vector.norm() };
        let slot = match self.find(&title.content) {
            Ok(at) => usize::from(self.order[at]),
            Err(_) if self.entries.len() < TITLES_MAX => {
                let slot = self.entries.len();
                self.vectors.resize((slot + 1) * DIMENSIONS, 0);
                self.entries.push(entry.clone());
                self.enter(slot);
                slot
            }
            Err(_) => {
                let slot = self.oldest;
                self.oldest = (slot + 1) % TITLES_MAX;
                self.order.retain(|&known| usize::from(known) != slot);
                self.entries[slot] = entry.clone();
                self.enter(slot);
                slot
            }
        };
        self.entries[slot] = entry;
        let place = slot * DIMENSIONS..(slot + 1) * DIMENSIONS;
        self.vectors[place].copy_from_slice(&title.vector.0[..]);
    }

    fn enter(&mut self, slot: usize) {
        let content = &self.entries[slot].content;
        let at = self
            .order
            .partition_point(|&other| self.entries[usize::from(other)].content < *content);
        self.order.insert(at, slot as u16);
    }

    fn find(&self, content: &ContentId) -> Result<usize, usize> {
        self.order.binary_search_by(|&slot| self.entries[usize::from(slot)].content.cmp(content))
    }

    fn genre_place(&mut self, genre: &Genre) -> u8 {
        let known = self.genres.iter().position(|known| known == genre);
        let place = known.unwrap_or_else(|| {
            if self.genres.len() < CATALOG_GENRES_MAX {
                self.genres.push(genre.clone());
            }
            self.genres.len() - 1
        });
        place as u8
    }

    /// The slot of a title.
    pub fn slot(&self, content: &ContentId) -> Option<usize> {
        self.find(content).ok().map(|at| usize::from(self.order[at]))
    }

    /// A title that is known.
    pub fn title(&self, content: &ContentId) -> Option<Title> {
        let slot = self.slot(content)?;
        let entry = &self.entries[slot];
        let mut vector = Box::new([0; DIMENSIONS]);
        vector.copy_from_slice(self.vector(slot));
        let genre = self.genres[usize::from(entry.genre)].clone();
        Some(Title { content: entry.content.clone(), genre, vector: Vector(vector) })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn genres(&self) -> &[Genre] {
        &self.genres
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn vector(&self, slot: usize) -> &[i8] {
        &self.vectors[slot * DIMENSIONS..(slot + 1) * DIMENSIONS]
    }

    /// Writes all titles, those learned longest ago first.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.varint(self.entries.len() as u64);
        for at in 0..self.entries.len() {
            let slot = (self.oldest + at) % self.entries.len();
            let entry = &self.entries[slot];
            entry.content.encode(writer);
            write_genre(writer, &self.genres[usize::from(entry.genre)]);
            self.vector(slot).iter().for_each(|&component| writer.u8(component as u8));
        }
    }

    /// Reads what [`Catalog::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut catalog = Self::default();
        for _ in 0..reader.count(TITLES_MAX, "TITLES_MAX")? {
            catalog.learn(&Title::decode(reader)?);
        }
        Ok(catalog)
    }
}
