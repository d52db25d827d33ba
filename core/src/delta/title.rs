//! Titles that passed on a connection, so that a title costs a byte or a few the next time.
//!
//! Content ids share prefixes and end in digits (`tmdb:550`, `tt0111161`): an id is split into a prefix
//! and the number after it, and a known prefix is named by its place.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ContentId, join, split};
use crate::sorted::Map;

/// Titles, and prefixes, that a context remembers; when one more comes it starts anew.
pub const CONTEXT_ENTRIES_MAX: usize = 1_024;

/// The titles of a connection and their prefixes, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Titles {
    contents: Vec<ContentId>,
    places: Map<ContentId, usize>,
    prefixes: Vec<Box<str>>,
}

impl Titles {
    pub(super) fn get(&self, place: usize) -> Option<&ContentId> {
        self.contents.get(place)
    }

    pub(super) fn place(&self, content: &ContentId) -> Option<usize> {
        self.places.get(content).copied()
    }

    /// Odd: a known title, half of it places before the last. Even: half of it is one more than the
    /// number times the number of known prefixes plus the place of its prefix; or 0, and the whole text
    /// follows.
    pub(super) fn write(&self, writer: &mut Writer, content: &ContentId, place: Option<usize>) {
        if let Some(place) = place {
            return writer.varint(((self.contents.len() - 1 - place) as u64) << 1 | 1);
        }
        let (prefix, number) = split(content.as_str());
        let known = self.prefixes.iter().position(|known| **known == *prefix);
        match (known, number) {
            (Some(known), Some(number)) => {
                writer.varint((number * self.prefixes.len() as u64 + known as u64 + 1) << 1);
            }
            _ => {
                writer.varint(0);
                content.encode(writer);
            }
        }
    }

    /// The place of a known title, or a new one.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
    ) -> Result<Result<usize, ContentId>, DecodeError> {
        let word = reader.varint()?;
        let half = word >> 1;
        if word & 1 == 1 {
            let last = (self.contents.len() as u64).checked_sub(1);
            let place = last.and_then(|last| last.checked_sub(half));
            return place
                .map(|place| Ok(place as usize))
                .ok_or(DecodeError::invalid("title reference"));
        }
        let Some(number) = half.checked_sub(1) else {
            return Ok(Err(ContentId::decode(reader)?));
        };
        let count = self.prefixes.len() as u64;
        let place = number.checked_rem(count).ok_or(DecodeError::invalid("prefix reference"))?;
        Ok(Err(join(&self.prefixes[place as usize], number / count)?))
    }

    /// Appends a title; returns its place and whether all before it were forgotten.
    pub(super) fn remember(&mut self, content: ContentId) -> (usize, bool) {
        let full = self.contents.len() >= CONTEXT_ENTRIES_MAX;
        if full {
            *self = Self::default();
        }
        let (prefix, number) = split(content.as_str());
        if number.is_some() && !self.prefixes.iter().any(|known| **known == *prefix) {
            self.prefixes.push(prefix.into());
        }
        self.places.insert(content.clone(), self.contents.len());
        self.contents.push(content);
        (self.contents.len() - 1, full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_remembers_so_many_titles() {
        let mut titles = Titles::default();
        for number in 0..3 * CONTEXT_ENTRIES_MAX {
            let content = ContentId::new(&format!("{number}:{number}")).expect("short text");
            titles.remember(content.clone());
            assert!(titles.contents.len() <= CONTEXT_ENTRIES_MAX);
            assert!(titles.prefixes.len() <= CONTEXT_ENTRIES_MAX);
            let place = titles.place(&content).expect("just remembered");
            assert_eq!(titles.get(place), Some(&content));
        }
    }
}
