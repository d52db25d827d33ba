//! What a device and the server say to each other about taste: one request, one answer.
//!
//! Both are uncounted frames, beside the household's stream: over the socket each on its own, in
//! `POST /api/v1/sync` among the other frames. Either may be lost or repeated. Invariant: a device
//! moves its marks ([`Known`]) only by what an answer says, after it has stored what came with them.
//! Layout: `docs/protocol.md`, "Taste"; messages of patterns in them are [`super::message`]'s.

#[cfg(test)]
mod tests;

use super::{GENRE_BYTES_MAX, Genre, PatternId};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ContentId;
use crate::tag::{TAG_ANSWER, TAG_REQUEST};

/// Bytes of patterns that a device puts into one request, unless told otherwise.
pub const BATCH_BYTES: u32 = 2_048;
/// Bytes of one answer that a device asks for, unless told otherwise.
pub const ANSWER_BYTES: u32 = 10_240;
/// The smallest such caps that can be asked for: room for any one pattern and what surrounds it.
pub const CAP_BYTES_MIN: u32 = 1_024;
/// The largest such caps, and the longest message of patterns that is read, in bytes.
pub const CAP_BYTES_MAX: u32 = 65_536;
/// Trends in one answer.
pub const TRENDS_MAX: usize = 256;
/// Titles, and removed patterns, in one answer.
pub const ANSWER_LISTED_MAX: usize = 1_024;
/// Longest name of a region in bytes (ISO 3166-1 alpha-2, or what the server is set to).
pub const REGION_NAME_BYTES_MAX: usize = 8;

/// Up to where a device knows what the server has for everybody. 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The version of the global patterns.
    pub version: u64,
    /// How far it has read the feed of titles: each entry has the next number.
    pub titles: u64,
    /// The revision of the trends of its region.
    pub trends: u64,
}

/// What a device asks and brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The viewer takes no part: nothing is brought, and the server erases what it has of this device.
    pub opted_out: bool,
    /// Whether it wants the feed of titles.
    pub wants_titles: bool,
    /// What it has.
    pub known: Known,
    /// Where in the patterns of a longer answer to go on: [`Answer::next`]; 0 at the start.
    pub position: u32,
    /// The tables it has, 0 for none.
    pub tables: u32,
    /// How long the answer may be, in bytes.
    pub answer_bytes: u32,
    /// Patterns of this device that are no more, or not good enough any more: the server erases them.
    /// Any answer but [`Outcome::RateLimited`] says that it has.
    pub gone: Vec<PatternId>,
    /// Patterns for the server.
    pub batch: Option<Batch<'a>>,
}

/// Patterns that were encoded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Named in the [`Receipt`].
    pub number: u32,
    /// They, as [`super::message::encode`] wrote them.
    pub message: &'a [u8],
}

/// How a request fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Ok,
    /// The server does not know what the device knows (it is ahead, or of another life of the
    /// database): everything is sent again, beginning with this answer, which is [`Answer::full`].
    Conflict,
    /// Too often: nothing was looked at; come back after this many seconds.
    RateLimited(u32),
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Taken {
    /// It is durable.
    Taken = 0,
    /// It builds on versions that the server has not (any more): send them whole.
    BaseUnknown = 1,
    /// The household takes no part.
    OptedOut = 2,
    /// It can't be read, or breaks a rule: sending it again would fail the same way.
    Invalid = 3,
    /// It was written with tables that the server does not use: fetch [`Answer::tables`].
    OtherTables = 4,
    /// Not now; with the next request.
    Later = 5,
}

impl Taken {
    /// Every one, by its number.
    pub const ALL: [Self; 6] = [
        Self::Taken,
        Self::BaseUnknown,
        Self::OptedOut,
        Self::Invalid,
        Self::OtherTables,
        Self::Later,
    ];
}

/// The answer to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the batch.
    pub number: u32,
    /// What became of it.
    pub taken: Taken,
}

/// A title that is watched more than usual in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trend {
    /// The title's id.
    pub content: ContentId,
    /// Its genre.
    pub genre: Genre,
    /// How strongly, in thousandths; higher is stronger.
    pub score: u32,
}

/// All trends of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trends {
    /// The region that the list is of.
    pub region: String,
    /// Until when they count, in Unix milliseconds.
    pub until_ms: u64,
    /// Strongest first.
    pub list: Vec<Trend>,
}

/// Titles of the feed and their embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Titles<'a> {
    /// Which, in the order of the message.
    pub contents: Vec<ContentId>,
    /// A pattern for each, without a base: id is its place in the list, counts are 1.
    pub message: &'a [u8],
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// How the request fared. After [`Outcome::RateLimited`] nothing else counts.
    pub outcome: Outcome,
    /// Whether the device forgets all global patterns it has before it takes these: of a longer answer
    /// the first part says so.
    pub full: bool,
    /// Whether there is more: ask again at once.
    pub more: bool,
    /// Whether what is released here is without noise: a server for development.
    pub not_private: bool,
    /// What the device knows with this. `version` counts when the last part of it is here, which is the
    /// one with `next` 0; `titles` and `trends` count at once.
    pub known: Known,
    /// Where in the patterns of `version` the next part begins; 0 when this is the last one.
    pub next: u32,
    /// The epoch of aggregation: with another one the server has forgotten what it had been sent.
    pub epoch: u64,
    /// The tables that the messages here were written with, and that it reads; 0 for none. A device with
    /// others gets no patterns and no titles, and its marks for these stay as they were.
    pub tables: u32,
    /// What became of the batch.
    pub receipt: Option<Receipt>,
    /// Global patterns that changed.
    pub patterns: Option<&'a [u8]>,
    /// Global patterns that went.
    pub removed: Vec<PatternId>,
    /// The trends, if they changed: in place of all before.
    pub trends: Option<Trends>,
    /// New titles.
    pub titles: Option<Titles<'a>>,
}

const OPTED_OUT: u8 = 1;
const WANTS_TITLES: u8 = 2;
const HAS_BATCH: u8 = 4;
const HAS_GONE: u8 = 8;

const FULL: u8 = 1;
const MORE: u8 = 2;
const NOT_PRIVATE: u8 = 4;
const RECEIPT: u8 = 8;
const PATTERNS: u8 = 16;
const REMOVED: u8 = 32;
const TRENDS: u8 = 64;
const TITLES: u8 = 128;

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// Whether a client's frame is a [`Request`].
pub fn is_request(frame: &[u8]) -> bool {
    frame.first() == Some(&TAG_REQUEST)
}

/// Whether a server's frame is an [`Answer`].
pub fn is_answer(frame: &[u8]) -> bool {
    frame.first() == Some(&TAG_ANSWER)
}

fn open(bytes: &[u8], tag: u8) -> Result<Reader<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != tag {
        return Err(DecodeError::invalid("frame tag"));
    }
    Ok(reader)
}

impl Known {
    fn encode(self, writer: &mut Writer) {
        for mark in [self.version, self.titles, self.trends] {
            writer.varint(mark);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { version: reader.varint()?, titles: reader.varint()?, trends: reader.varint()? })
    }
}

fn read_message<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    reader.bytes(CAP_BYTES_MAX as usize, "CAP_BYTES_MAX")
}

impl<'a> Request<'a> {
    /// Encodes the frame, its tag included.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(TAG_REQUEST);
        writer.u8(flag(self.opted_out, OPTED_OUT)
            | flag(self.wants_titles, WANTS_TITLES)
            | flag(self.batch.is_some(), HAS_BATCH)
            | flag(!self.gone.is_empty(), HAS_GONE));
        self.known.encode(&mut writer);
        writer.varint(self.position.into());
        writer.fixed32(self.tables);
        writer.varint(self.answer_bytes.into());
        if !self.gone.is_empty() {
            write_pattern_ids(&mut writer, &self.gone);
        }
        if let Some(batch) = self.batch {
            writer.varint(batch.number.into());
            writer.bytes(batch.message);
        }
        writer.finish()
    }

    /// Reads what [`Request::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]; `Limit("CAP_BYTES_MAX")` for a cap or batch beyond the bounds.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = open(frame, TAG_REQUEST)?;
        let flags = reader.u8()?;
        if flags >= HAS_GONE << 1 {
            return Err(DecodeError::invalid("request flags"));
        }
        let known = Known::decode(&mut reader)?;
        let position = reader.u32("position")?;
        let tables = reader.fixed32()?;
        let answer_bytes = reader.u32("cap")?;
        if !(CAP_BYTES_MIN..=CAP_BYTES_MAX).contains(&answer_bytes) {
            return Err(DecodeError::limit("CAP_BYTES_MAX"));
        }
        let gone = match flags & HAS_GONE != 0 {
            true => read_pattern_ids(&mut reader)?,
            false => Vec::new(),
        };
        let batch = match flags & HAS_BATCH != 0 {
            true => Some(Batch {
                number: reader.u32("batch number")?,
                message: read_message(&mut reader)?,
            }),
            false => None,
        };
        reader.finish()?;
        Ok(Self {
            opted_out: flags & OPTED_OUT != 0,
            wants_titles: flags & WANTS_TITLES != 0,
            known,
            position,
            tables,
            answer_bytes,
            gone,
            batch,
        })
    }
}

impl Default for Answer<'_> {
    /// One that says nothing.
    fn default() -> Self {
        Self {
            outcome: Outcome::Ok,
            full: false,
            more: false,
            not_private: false,
            known: Known::default(),
            next: 0,
            epoch: 0,
            tables: 0,
            receipt: None,
            patterns: None,
            removed: Vec::new(),
            trends: None,
            titles: None,
        }
    }
}

impl<'a> Answer<'a> {
    /// Encodes the frame, its tag included.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(TAG_ANSWER);
        match self.outcome {
            Outcome::Ok => writer.u8(0),
            Outcome::Conflict => writer.u8(1),
            Outcome::RateLimited(retry_after_s) => {
                writer.u8(2);
                writer.varint(retry_after_s.into());
                return writer.finish();
            }
        }
        writer.u8(flag(self.full, FULL)
            | flag(self.more, MORE)
            | flag(self.not_private, NOT_PRIVATE)
            | flag(self.receipt.is_some(), RECEIPT)
            | flag(self.patterns.is_some(), PATTERNS)
            | flag(!self.removed.is_empty(), REMOVED)
            | flag(self.trends.is_some(), TRENDS)
            | flag(self.titles.is_some(), TITLES));
        self.known.encode(&mut writer);
        writer.varint(self.next.into());
        writer.varint(self.epoch);
        writer.fixed32(self.tables);
        if let Some(Receipt { number, taken }) = self.receipt {
            writer.varint(number.into());
            writer.u8(taken as u8);
        }
        if let Some(patterns) = self.patterns {
            writer.bytes(patterns);
        }
        if !self.removed.is_empty() {
            write_pattern_ids(&mut writer, &self.removed);
        }
        if let Some(trends) = &self.trends {
            trends.encode(&mut writer);
        }
        if let Some(titles) = &self.titles {
            writer.varint(titles.contents.len() as u64);
            titles.contents.iter().for_each(|content| content.encode(&mut writer));
            writer.bytes(titles.message);
        }
        writer.finish()
    }

    /// Reads what [`Answer::encode`] wrote.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = open(frame, TAG_ANSWER)?;
        let outcome = match reader.u8()? {
            0 => Outcome::Ok,
            1 => Outcome::Conflict,
            2 => {
                let outcome = Outcome::RateLimited(reader.u32("delay")?);
                reader.finish()?;
                return Ok(Self { outcome, ..Self::default() });
            }
            _ => return Err(DecodeError::invalid("outcome")),
        };
        let flags = reader.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let (full, more, not_private) = (has(FULL), has(MORE), has(NOT_PRIVATE));
        let known = Known::decode(&mut reader)?;
        let next = reader.u32("position")?;
        let epoch = reader.varint()?;
        let tables = reader.fixed32()?;
        let receipt = if has(RECEIPT) { Some(Receipt::decode(&mut reader)?) } else { None };
        let patterns = if has(PATTERNS) { Some(read_message(&mut reader)?) } else { None };
        let removed = if has(REMOVED) { read_pattern_ids(&mut reader)? } else { Vec::new() };
        let trends = if has(TRENDS) { Some(Trends::decode(&mut reader)?) } else { None };
        let titles = if has(TITLES) { Some(Titles::decode(&mut reader)?) } else { None };
        reader.finish()?;
        Ok(Self {
            outcome,
            full,
            more,
            not_private,
            known,
            next,
            epoch,
            tables,
            receipt,
            patterns,
            removed,
            trends,
            titles,
        })
    }
}

fn write_pattern_ids(writer: &mut Writer, ids: &[PatternId]) {
    writer.varint(ids.len() as u64);
    ids.iter().for_each(|id| writer.raw(&id.0.to_le_bytes()));
}

fn read_pattern_ids(reader: &mut Reader) -> Result<Vec<PatternId>, DecodeError> {
    let count = reader.count(ANSWER_LISTED_MAX, "ANSWER_LISTED_MAX")?;
    (0..count).map(|_| read_pattern_id(reader)).collect()
}

/// An id of 128 bits, little endian.
pub(crate) fn read_pattern_id(reader: &mut Reader) -> Result<PatternId, DecodeError> {
    let (low, high) = (reader.fixed64()?, reader.fixed64()?);
    Ok(PatternId(u128::from(high) << 64 | u128::from(low)))
}

/// A genre as a text.
pub(crate) fn write_genre(writer: &mut Writer, genre: &Genre) {
    writer.bytes(genre.as_str().as_bytes());
}

/// Reads a genre as it is written: one in other letters is refused.
pub(crate) fn read_genre(reader: &mut Reader) -> Result<Genre, DecodeError> {
    let text = reader.string(GENRE_BYTES_MAX, "GENRE_BYTES_MAX")?;
    let genre = Genre::new(text).map_err(|_| DecodeError::invalid("genre"))?;
    if genre.as_str() == text { Ok(genre) } else { Err(DecodeError::invalid("genre")) }
}

impl Receipt {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let number = reader.u32("batch number")?;
        let taken = Taken::ALL.get(usize::from(reader.u8()?));
        Ok(Self { number, taken: *taken.ok_or(DecodeError::invalid("receipt"))? })
    }
}

impl Trends {
    /// Writes region, time, and each trend.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.region.as_bytes());
        writer.varint(self.until_ms);
        writer.varint(self.list.len() as u64);
        for trend in &self.list {
            trend.content.encode(writer);
            write_genre(writer, &trend.genre);
            writer.varint(trend.score.into());
        }
    }

    /// Reads what [`Trends::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let region = reader.string(REGION_NAME_BYTES_MAX, "REGION_NAME_BYTES_MAX")?.to_owned();
        let until_ms = reader.varint()?;
        let mut list = Vec::new();
        for _ in 0..reader.count(TRENDS_MAX, "TRENDS_MAX")? {
            list.push(Trend {
                content: ContentId::decode(reader)?,
                genre: read_genre(reader)?,
                score: reader.u32("score")?,
            });
        }
        Ok(Self { region, until_ms, list })
    }
}

impl<'a> Titles<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut contents = Vec::new();
        for _ in 0..reader.count(ANSWER_LISTED_MAX, "ANSWER_LISTED_MAX")? {
            contents.push(ContentId::decode(reader)?);
        }
        Ok(Self { contents, message: read_message(reader)? })
    }
}
