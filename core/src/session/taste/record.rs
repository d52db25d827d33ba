//! What a device keeps of taste: two logs, each an image and then what changed since.
//!
//! One is small and changes with every viewing; the other has the titles and the tables, which are large
//! and change seldom. Each record stands alone, as those of a replica do ([`crate::replica::record`]),
//! and loading makes the same changes again. The two depend on each other in nothing: either may be
//! lost.

use super::Taste;
use crate::clock::UnixMillis;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ProfileId;
use crate::pattern::catalog::{Catalog, TITLES_MAX, Title};
use crate::pattern::exchange::{ANSWER_LISTED_MAX, Trends, read_pattern_id};
use crate::pattern::learner::{Learner, PROFILES_KNOWN_MAX, Viewing};
use crate::pattern::upload::{ACKED_MAX, Acked, read_pattern, write_pattern};
use crate::pattern::{Pattern, PatternId};
use crate::replica::record::{RECORD_VERSION, seal, unseal};

/// Global patterns that a device keeps; further ones are not kept.
pub const GLOBALS_MAX: usize = 512;
pub use crate::pattern::tables::TABLES_BYTES_MAX;

const TAG_IMAGE: u8 = 33;
const TAG_VIEWING: u8 = 34;
const TAG_PROFILES: u8 = 35;
const TAG_OPT_OUT: u8 = 36;
const TAG_SYNCED: u8 = 37;
const TAG_CATALOG: u8 = 48;
const TAG_TITLES: u8 = 49;
const TAG_TABLES: u8 = 50;

/// Which of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// What was learned, sent and received.
    Taste,
    /// Titles and tables.
    Catalog,
}

/// One change, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Somebody watched something; the pattern that it may open gets this name.
    Viewing(Box<Viewing>, PatternId),
    /// Of those that are known only these profiles are left.
    Profiles(Vec<ProfileId>),
    /// Whether the viewer takes no part.
    OptOut(bool),
    /// What an answer of the server changed.
    Synced(Box<Synced>),
    /// Titles that were learned; of the feed, with its mark.
    Titles(Vec<Title>, Option<u64>),
    /// The tables.
    Tables(Vec<u8>),
}

/// What an answer of the server changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Synced {
    pub(super) at: UnixMillis,
    pub(super) version: u64,
    pub(super) trends_known: u64,
    pub(super) epoch: u64,
    /// Whether all global patterns go first.
    pub(super) full: bool,
    pub(super) not_private: bool,
    /// Whether the server has forgotten what was sent.
    pub(super) bases_gone: bool,
    pub(super) acked: Vec<Acked>,
    pub(super) gone: Vec<PatternId>,
    pub(super) removed: Vec<PatternId>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) trends: Option<Trends>,
}

impl Record {
    pub(super) fn log(&self) -> Log {
        match self {
            Self::Titles(..) | Self::Tables(_) => Log::Catalog,
            _ => Log::Taste,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(RECORD_VERSION);
        match self {
            Self::Viewing(viewing, fresh) => {
                writer.u8(TAG_VIEWING);
                write_id(&mut writer, *fresh);
                viewing.encode(&mut writer);
            }
            Self::Profiles(profiles) => {
                writer.u8(TAG_PROFILES);
                writer.varint(profiles.len() as u64);
                profiles.iter().for_each(|profile| writer.fixed64(profile.0));
            }
            Self::OptOut(opted_out) => {
                writer.u8(TAG_OPT_OUT);
                writer.u8((*opted_out).into());
            }
            Self::Synced(synced) => {
                writer.u8(TAG_SYNCED);
                synced.encode(&mut writer);
            }
            Self::Titles(titles, mark) => {
                writer.u8(TAG_TITLES);
                // 0 is for none.
                writer.varint(mark.map_or(0, |mark| mark.saturating_add(1)));
                writer.varint(titles.len() as u64);
                titles.iter().for_each(|title| title.encode(&mut writer));
            }
            Self::Tables(bytes) => {
                writer.u8(TAG_TABLES);
                writer.bytes(bytes);
            }
        }
        seal(writer)
    }

    fn decode(tag: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match tag {
            TAG_VIEWING => {
                let fresh = read_pattern_id(reader)?;
                Self::Viewing(Box::new(Viewing::decode(reader)?), fresh)
            }
            TAG_PROFILES => {
                let count = reader.count(PROFILES_KNOWN_MAX, "PROFILES_KNOWN_MAX")?;
                let profiles = (0..count).map(|_| Ok(ProfileId(reader.fixed64()?)));
                Self::Profiles(profiles.collect::<Result<_, DecodeError>>()?)
            }
            TAG_OPT_OUT => Self::OptOut(reader.u8()? == 1),
            TAG_SYNCED => Self::Synced(Box::new(Synced::decode(reader)?)),
            TAG_TITLES => {
                let mark = reader.varint()?.checked_sub(1);
                let count = reader.count(TITLES_MAX, "TITLES_MAX")?;
                let titles = (0..count).map(|_| Title::decode(reader));
                Self::Titles(titles.collect::<Result<_, _>>()?, mark)
            }
            TAG_TABLES => {
                Self::Tables(reader.bytes(TABLES_BYTES_MAX, "TABLES_BYTES_MAX")?.to_vec())
            }
            _ => return Err(DecodeError::invalid("record tag")),
        })
    }
}

impl Synced {
    fn encode(&self, writer: &mut Writer) {
        for mark in [self.at.0, self.version, self.trends_known, self.epoch] {
            writer.varint(mark);
        }
        writer.u8(u8::from(self.full)
            | u8::from(self.not_private) << 1
            | u8::from(self.bases_gone) << 2
            | u8::from(self.trends.is_some()) << 3);
        writer.varint(self.acked.len() as u64);
        self.acked.iter().for_each(|acked| acked.encode(writer));
        for ids in [&self.gone, &self.removed] {
            writer.varint(ids.len() as u64);
            ids.iter().for_each(|id| write_id(writer, *id));
        }
        writer.varint(self.patterns.len() as u64);
        self.patterns.iter().for_each(|pattern| write_pattern(writer, pattern));
        if let Some(trends) = &self.trends {
            trends.encode(writer);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let at = UnixMillis(reader.varint()?);
        let (version, trends_known, epoch) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let flags = reader.u8()?;
        let mut synced = Self {
            at,
            version,
            trends_known,
            epoch,
            full: flags & 1 != 0,
            not_private: flags & 2 != 0,
            bases_gone: flags & 4 != 0,
            ..Self::default()
        };
        for _ in 0..reader.count(ACKED_MAX, "ACKED_MAX")? {
            synced.acked.push(Acked::decode(reader)?);
        }
        for ids in [&mut synced.gone, &mut synced.removed] {
            for _ in 0..reader.count(ANSWER_LISTED_MAX, "ANSWER_LISTED_MAX")? {
                ids.push(read_pattern_id(reader)?);
            }
        }
        synced.patterns = read_patterns(reader)?;
        synced.trends = if flags & 8 != 0 { Some(Trends::decode(reader)?) } else { None };
        Ok(synced)
    }
}

impl Taste {
    /// Makes a stored change again.
    pub(super) fn replay(
        &mut self,
        log: Log,
        first: bool,
        bytes: &[u8],
    ) -> Result<(), DecodeError> {
        let (tag, mut reader) = unseal(bytes)?;
        let image = if log == Log::Taste { TAG_IMAGE } else { TAG_CATALOG };
        if (tag == image) != first {
            return Err(DecodeError::invalid("order of records"));
        }
        match tag {
            TAG_IMAGE => self.read_image(&mut reader)?,
            TAG_CATALOG => self.read_catalog(&mut reader)?,
            _ => {
                let record = Record::decode(tag, &mut reader)?;
                if record.log() != log {
                    return Err(DecodeError::invalid("record tag"));
                }
                self.apply(record)?;
            }
        }
        reader.finish()
    }

    /// Everything of a log as one record, in place of all stored before.
    pub(super) fn image(&self, log: Log) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(RECORD_VERSION);
        match log {
            Log::Catalog => {
                writer.u8(TAG_CATALOG);
                writer.varint(self.titles_known);
                writer.bytes(&self.tables_file);
                self.catalog.encode(&mut writer);
            }
            Log::Taste => {
                writer.u8(TAG_IMAGE);
                self.learner.encode(&mut writer);
                writer.u8(self.opted_out.into());
                let synced = Synced {
                    at: self.synced_at,
                    version: self.version,
                    trends_known: self.trends_known,
                    epoch: self.epoch,
                    not_private: self.not_private,
                    acked: self.acked.values().cloned().collect(),
                    patterns: self.globals.clone(),
                    trends: self.trends.clone(),
                    ..Synced::default()
                };
                synced.encode(&mut writer);
            }
        }
        seal(writer)
    }

    fn read_image(&mut self, reader: &mut Reader) -> Result<(), DecodeError> {
        let learner = Learner::decode(reader)?;
        let opted_out = reader.u8()? == 1;
        let synced = Synced::decode(reader)?;
        self.learner = learner;
        self.opted_out = opted_out;
        self.apply(Record::Synced(Box::new(synced)))
    }

    fn read_catalog(&mut self, reader: &mut Reader) -> Result<(), DecodeError> {
        let mark = reader.varint()?;
        let file = reader.bytes(TABLES_BYTES_MAX, "TABLES_BYTES_MAX")?.to_vec();
        let catalog = Catalog::decode(reader)?;
        if !file.is_empty() {
            self.apply(Record::Tables(file))?;
        }
        self.titles_known = mark;
        self.catalog = catalog;
        Ok(())
    }
}

fn write_id(writer: &mut Writer, id: PatternId) {
    writer.raw(&id.0.to_le_bytes());
}

fn read_patterns(reader: &mut Reader) -> Result<Vec<Pattern>, DecodeError> {
    let count = reader.count(GLOBALS_MAX, "GLOBALS_MAX")?;
    (0..count).map(|_| read_pattern(reader)).collect()
}
