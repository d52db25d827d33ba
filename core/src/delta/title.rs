//! Titles that passed on a connection, so that a title costs a byte or a few the next time.
//!
//! Content ids share prefixes and end in digits (`tmdb:550`, `tt0111161`): an id is split into a prefix
//! and the number after it, and a known prefix is named by its place.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{CONTENT_ID_BYTES_MAX, ContentId};
use crate::sorted::Map;

/// Titles, and prefixes, that a context remembers; when one more comes it starts anew.
pub const CONTEXT_ENTRIES_MAX: usize = 1_024;
/// Digits that count as a number; what is before them belongs to the prefix.
const NUMBER_DIGITS_MAX: usize = 15;

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

/// The text before its trailing number, and the number: without leading zeros, of at most
/// [`NUMBER_DIGITS_MAX`] digits; `None` when the text does not end in a digit.
pub(crate) fn split(text: &str) -> (&str, Option<u64>) {
    let bytes = text.as_bytes();
    let digits = bytes.iter().rev().take(NUMBER_DIGITS_MAX).take_while(|b| b.is_ascii_digit());
    let mut start = bytes.len() - digits.count();
    while start + 1 < bytes.len() && bytes[start] == b'0' {
        start += 1;
    }
    let (prefix, digits) = text.split_at(start);
    let value = |digits: &str| digits.bytes().fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    (prefix, (!digits.is_empty()).then(|| value(digits)))
}

/// The content id that [`split`] took apart.
///
/// # Errors
/// [`DecodeError::Invalid`] when it is too long or would be split otherwise.
pub(crate) fn join(prefix: &str, number: u64) -> Result<ContentId, DecodeError> {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut text = String::with_capacity(CONTENT_ID_BYTES_MAX);
    text.push_str(prefix);
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
    if split(&text) != (prefix, Some(number)) {
        return Err(DecodeError::invalid("number of a content id"));
    }
    ContentId::new(&text).map_err(|_| DecodeError::invalid("content id"))
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

    #[test]
    fn an_id_is_split_one_way_and_joined_again() {
        let ids = ["tmdb:550", "tt0111161", "a0", "00", "7", "x", "film-é9", "9999999999999999999"];
        for id in ids {
            match split(id) {
                (prefix, Some(number)) => {
                    assert_eq!(join(prefix, number).map(|id| id.to_string()), Ok(id.to_owned()));
                }
                (prefix, None) => assert_eq!(prefix, id),
            }
        }
        assert_eq!(split("tt0111161"), ("tt0", Some(111_161)));
        assert_eq!(split("00"), ("0", Some(0)));
        assert!(join("tmdb:1", 5).is_err());
        assert!(join("tmdb:", 10_u64.pow(15)).is_err());
    }
}
