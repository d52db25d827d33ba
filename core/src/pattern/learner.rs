//! What a device learns of its viewers: viewings become patterns, for each profile and genre a few.
//!
//! A title joins the *sub-taste* of its genre whose titles it resembles most on average, or opens a new
//! one when it resembles none; sub-tastes that have come to resemble each other become one (leader
//! clustering with average linkage: Hartigan, "Clustering Algorithms", 1975, chapter 3). A sub-taste is
//! the sum of its titles' embeddings, so its pattern is their running mean, whatever their order.
//! All of it is integers but the last scaling to norm 1, which IEEE 754 defines exactly: a TV and a
//! test make the same bits of the same viewings.
//!
//! The thresholds are between what titles of one genre have in common on average (a cosine of 0.19 to
//! 0.29 in MiniLM's space, for the genres of the data that patterns are measured with) and nothing.
//!
//! Invariant: a title is one sample of its profile for as long as it is remembered, however often it is
//! watched, and a success once it was one. So a pattern of ten samples is the mean of ten titles.
//! Invariant: the number of patterns, of titles remembered, and what one weighs are bounded.

use super::exchange::{read_genre, read_pattern_id, write_genre};
use super::{DIMENSIONS, Embedding, Genre, ONE, Pattern, PatternId, SAMPLE_COUNT_MAX};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ContentId, ProfileId};

/// Sub-tastes of one profile in one genre.
pub const SUB_TASTES_MAX: usize = 4;
/// Learned patterns of a device.
pub const LEARNED_MAX: usize = 128;
/// Titles that a device remembers to have been watched; the oldest goes when one more comes.
pub const VIEWED_MAX: usize = 2_048;
/// Profiles of which anything is known: one for each pattern and each title.
pub const PROFILES_KNOWN_MAX: usize = LEARNED_MAX + VIEWED_MAX;
/// Titles in the sum of a sub-taste: beyond it, each weighs half.
pub const LEARNED_WEIGHT_MAX: u32 = 4_096;
/// Thousandths of a title that must have been watched for a viewing to count at all.
pub const WATCHED_PERMILLE_MIN: u16 = 20;
/// Thousandths of a title that make a viewing a success, also when it was abandoned then.
const SUCCESS_PERMILLE: u16 = 700;
/// All of a title.
const WHOLE_PERMILLE: u16 = 1_000;
/// Average cosine to a sub-taste's titles below which a title opens a new one, in units of 2^-30.
const OPEN_BELOW: i64 = (1 << 30) / 10;
/// Average cosine between the titles of two sub-tastes from which on they are one.
const MERGE_FROM: i64 = (1 << 30) / 5;

/// Somebody watched something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewing {
    /// The profile that watched.
    pub profile: ProfileId,
    /// The title's id.
    pub content: ContentId,
    /// The title's first genre.
    pub genre: Genre,
    /// Where it lies.
    pub embedding: Embedding,
    /// How much of it, in thousandths; more than all of it is all.
    pub watched_permille: u16,
    /// Whether it was watched to its end; otherwise it was abandoned.
    pub finished: bool,
}

impl Viewing {
    fn is_success(&self) -> bool {
        self.finished || self.watched_permille >= SUCCESS_PERMILLE
    }

    /// Whether it says anything: who zaps past a title has not watched it.
    pub fn counts(&self) -> bool {
        self.finished || self.watched_permille >= WATCHED_PERMILLE_MIN
    }

    /// Encodes the viewing.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.fixed64(self.profile.0);
        self.content.encode(writer);
        write_genre(writer, &self.genre);
        write_embedding(writer, &self.embedding);
        let watched = self.watched_permille.min(WHOLE_PERMILLE);
        writer.varint(u64::from(watched) << 1 | u64::from(self.finished));
    }

    /// Reads what [`Viewing::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let profile = ProfileId(reader.fixed64()?);
        let content = ContentId::decode(reader)?;
        let (genre, embedding) = (read_genre(reader)?, read_embedding(reader)?);
        let watched = reader.count(usize::from(2 * WHOLE_PERMILLE + 1), "watched part")?;
        let (watched_permille, finished) = ((watched >> 1) as u16, watched & 1 == 1);
        Ok(Self { profile, content, genre, embedding, watched_permille, finished })
    }
}

/// One sub-taste of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The name of its pattern.
    pub id: PatternId,
    /// Whose it is.
    pub profile: ProfileId,
    /// What kind of titles it is about.
    pub genre: Genre,
    /// The last of its titles that was a success: the reason that a viewer understands.
    pub example: Option<ContentId>,
    /// Samples, and how many of them were a success.
    pub sample_count: u32,
    /// At most all.
    pub success_count: u32,
    sum: Box<[i32; DIMENSIONS]>,
    weight: u32,
}

impl Learned {
    fn new(id: PatternId, profile: ProfileId, genre: Genre) -> Self {
        Self {
            id,
            profile,
            genre,
            example: None,
            sample_count: 0,
            success_count: 0,
            sum: Box::new([0; DIMENSIONS]),
            weight: 0,
        }
    }

    fn add(&mut self, embedding: &Embedding) {
        if self.weight >= LEARNED_WEIGHT_MAX {
            self.halve();
        }
        for (sum, &unit) in self.sum.iter_mut().zip(embedding.as_slice()) {
            *sum += i32::from(unit);
        }
        self.weight += 1;
        self.sample_count = (self.sample_count + 1).min(SAMPLE_COUNT_MAX);
    }

    /// Takes another one in.
    fn join(&mut self, mut other: Self) {
        while self.weight + other.weight > LEARNED_WEIGHT_MAX {
            self.halve();
            other.halve();
        }
        for (sum, &more) in self.sum.iter_mut().zip(other.sum.iter()) {
            *sum += more;
        }
        self.weight += other.weight;
        self.sample_count = (self.sample_count + other.sample_count).min(SAMPLE_COUNT_MAX);
        self.success_count = (self.success_count + other.success_count).min(self.sample_count);
        self.example = self.example.take().or(other.example);
    }

    fn halve(&mut self) {
        self.sum.iter_mut().for_each(|component| *component /= 2);
        self.weight /= 2;
    }

    /// The average cosine of a title to those in the sum, in units of 2^-30.
    fn likeness(&self, embedding: &Embedding) -> i64 {
        let pairs = self.sum.iter().zip(embedding.as_slice());
        let dot: i64 = pairs.map(|(&sum, &unit)| i64::from(sum) * i64::from(unit)).sum();
        dot / i64::from(self.weight.max(1))
    }

    /// The average cosine between the titles of two.
    fn linkage(&self, other: &Self) -> i64 {
        let pairs = self.sum.iter().zip(other.sum.iter());
        // The norm of a sum is at most LEARNED_WEIGHT_MAX * ONE, so the product is far below 2^63.
        let dot: i64 = pairs.map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
        dot / (i64::from(self.weight.max(1)) * i64::from(other.weight.max(1)))
    }

    /// Its pattern; `None` when its titles point everywhere.
    pub fn pattern(&self) -> Option<Pattern> {
        let sum: Vec<f32> = self.sum.iter().map(|&component| component as f32).collect();
        let embedding = Embedding::from_f32(&sum).ok()?;
        let (samples, successes) = (self.sample_count, self.success_count);
        Pattern::new(self.id, self.genre.clone(), embedding, samples, successes).ok()
    }

    /// One pattern of two sub-tastes, named after the one with more samples.
    pub fn together(&self, other: &Self) -> Self {
        let (mut larger, smaller) = match larger(self, other) {
            true => (self.clone(), other.clone()),
            false => (other.clone(), self.clone()),
        };
        larger.join(smaller);
        larger
    }

    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.id.0.to_le_bytes());
        writer.fixed64(self.profile.0);
        write_genre(writer, &self.genre);
        writer.bytes(self.example.as_ref().map_or("", ContentId::as_str).as_bytes());
        for count in [self.sample_count, self.success_count, self.weight] {
            writer.varint(count.into());
        }
        self.sum.iter().for_each(|&component| writer.signed(component.into()));
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (id, profile) = (read_pattern_id(reader)?, ProfileId(reader.fixed64()?));
        let mut learned = Self::new(id, profile, read_genre(reader)?);
        let max = crate::id::CONTENT_ID_BYTES_MAX;
        learned.example = match reader.string(max, "CONTENT_ID_BYTES_MAX")? {
            "" => None,
            id => Some(ContentId::new(id).map_err(|_| DecodeError::invalid("content id"))?),
        };
        learned.sample_count = reader.u32("sample count")?;
        learned.success_count = reader.u32("success count")?;
        learned.weight = reader.u32("weight")?;
        let counts = (1..=SAMPLE_COUNT_MAX).contains(&learned.sample_count)
            && learned.success_count <= learned.sample_count
            && (1..=LEARNED_WEIGHT_MAX).contains(&learned.weight);
        let bound = i64::from(LEARNED_WEIGHT_MAX) * i64::from(ONE);
        for component in learned.sum.iter_mut() {
            let value = reader.signed()?;
            if !counts || value.abs() > bound {
                return Err(DecodeError::invalid("learned pattern"));
            }
            *component = value as i32;
        }
        Ok(learned)
    }
}

/// Whether the first one keeps its name when two become one.
fn larger(one: &Learned, other: &Learned) -> bool {
    (one.sample_count, other.id) >= (other.sample_count, one.id)
}

/// A title that was watched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Viewed {
    profile: ProfileId,
    content: ContentId,
    success: bool,
}

/// Everything learned on a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learner {
    /// In the order in which they were opened.
    learned: Vec<Learned>,
    /// The oldest first.
    viewed: Vec<Viewed>,
}

impl Learner {
    /// Learns from a viewing; `fresh` becomes the name of the pattern that it may open. Says whether
    /// anything is different now.
    pub fn record(&mut self, viewing: &Viewing, fresh: PatternId) -> bool {
        if !viewing.counts() {
            return false;
        }
        let success = viewing.is_success();
        match self.remember(viewing, success) {
            None => {}
            Some(true) => return false,
            // Resumed, and left again or brought to an end.
            Some(false) => return success && self.correct(viewing),
        }
        let at = self.place(viewing, fresh);
        let learned = &mut self.learned[at];
        learned.add(&viewing.embedding);
        if success {
            learned.success_count = (learned.success_count + 1).min(learned.sample_count);
            learned.example = Some(viewing.content.clone());
        }
        self.unite(at);
        true
    }

    /// Notes the title; returns whether it had been a success before, `None` when it was not known.
    fn remember(&mut self, viewing: &Viewing, success: bool) -> Option<bool> {
        let same = |viewed: &Viewed| {
            viewed.profile == viewing.profile && viewed.content == viewing.content
        };
        let before = self.viewed.iter().position(same).map(|at| self.viewed.remove(at).success);
        if self.viewed.len() >= VIEWED_MAX {
            self.viewed.remove(0);
        }
        let success = success || before == Some(true);
        let (profile, content) = (viewing.profile, viewing.content.clone());
        self.viewed.push(Viewed { profile, content, success });
        before
    }

    /// A title that had been abandoned was a success after all.
    fn correct(&mut self, viewing: &Viewing) -> bool {
        let Some((at, _)) = self.nearest(viewing) else { return false };
        let learned = &mut self.learned[at];
        learned.success_count = (learned.success_count + 1).min(learned.sample_count);
        learned.example = Some(viewing.content.clone());
        true
    }

    fn is_of(learned: &Learned, viewing: &Viewing) -> bool {
        learned.profile == viewing.profile && learned.genre == viewing.genre
    }

    /// The sub-taste that the title resembles most, the first of equals, and how much.
    fn nearest(&self, viewing: &Viewing) -> Option<(usize, i64)> {
        let own = self.learned.iter().enumerate().filter(|(_, l)| Self::is_of(l, viewing));
        let likeness = own.map(|(at, learned)| (at, learned.likeness(&viewing.embedding)));
        likeness.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// Which sub-taste the title belongs to; it may be a new one.
    fn place(&mut self, viewing: &Viewing, fresh: PatternId) -> usize {
        let nearest = self.nearest(viewing);
        match nearest {
            Some((at, likeness)) if likeness >= OPEN_BELOW => return at,
            Some((at, likeness)) if !self.make_room(viewing, likeness) => return at,
            _ => {}
        }
        if self.learned.len() >= LEARNED_MAX {
            self.drop_one();
        }
        self.learned.push(Learned::new(fresh, viewing.profile, viewing.genre.clone()));
        self.learned.len() - 1
    }

    /// Whether there is room for one more sub-taste: if need be by uniting the two that are most alike,
    /// when they are more alike than the title is to any.
    fn make_room(&mut self, viewing: &Viewing, likeness: i64) -> bool {
        let own: Vec<usize> =
            (0..self.learned.len()).filter(|&at| Self::is_of(&self.learned[at], viewing)).collect();
        if own.len() < SUB_TASTES_MAX {
            return true;
        }
        let mut closest = (likeness, 0, 0);
        for (index, &a) in own.iter().enumerate() {
            for &b in &own[index + 1..] {
                let linkage = self.learned[a].linkage(&self.learned[b]);
                if linkage > closest.0 {
                    closest = (linkage, a, b);
                }
            }
        }
        let (_, a, b) = closest;
        if a != b {
            self.join(a, b);
        }
        a != b
    }

    /// Unites a sub-taste that has grown with those that it has come to resemble.
    fn unite(&mut self, at: usize) {
        let grown = &self.learned[at];
        let alike = |other: &Learned| {
            other.id != grown.id
                && other.profile == grown.profile
                && other.genre == grown.genre
                && grown.linkage(other) >= MERGE_FROM
        };
        if let Some(other) = self.learned.iter().position(alike) {
            self.join(at.min(other), at.max(other));
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let gone = self.learned.remove(b);
        self.learned[a] = self.learned[a].together(&gone);
    }

    /// The one with the fewest samples goes, the oldest of equals.
    fn drop_one(&mut self) {
        let samples = |at: &usize| self.learned[*at].sample_count;
        if let Some(least) = (0..self.learned.len()).min_by_key(samples) {
            self.learned.remove(least);
        }
    }

    /// Forgets everything of profiles that are not in `profiles`. Says whether there was any.
    pub fn keep_profiles(&mut self, profiles: &[ProfileId]) -> bool {
        let before = (self.learned.len(), self.viewed.len());
        self.learned.retain(|learned| profiles.contains(&learned.profile));
        self.viewed.retain(|viewed| profiles.contains(&viewed.profile));
        before != (self.learned.len(), self.viewed.len())
    }

    /// Everything learned, in the order in which it was opened.
    pub fn learned(&self) -> &[Learned] {
        &self.learned
    }

    /// What a profile learned.
    pub fn of(&self, profile: ProfileId) -> impl Iterator<Item = &Learned> {
        self.learned.iter().filter(move |learned| learned.profile == profile)
    }

    /// The titles that a profile watched, the oldest first.
    pub fn viewed(&self, profile: ProfileId) -> impl Iterator<Item = &ContentId> {
        self.outcomes(profile).map(|(content, _)| content)
    }

    /// The same, and of each whether it was a success.
    pub fn outcomes(&self, profile: ProfileId) -> impl Iterator<Item = (&ContentId, bool)> {
        let own = self.viewed.iter().filter(move |viewed| viewed.profile == profile);
        own.map(|viewed| (&viewed.content, viewed.success))
    }

    /// The profiles of which anything is known, each once: at most [`PROFILES_KNOWN_MAX`].
    pub fn profiles(&self) -> Vec<ProfileId> {
        let viewed = self.viewed.iter().map(|viewed| viewed.profile);
        let mut known: Vec<ProfileId> =
            self.learned.iter().map(|learned| learned.profile).chain(viewed).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Encodes all that was learned.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.varint(self.learned.len() as u64);
        self.learned.iter().for_each(|learned| learned.encode(writer));
        writer.varint(self.viewed.len() as u64);
        for viewed in &self.viewed {
            writer.fixed64(viewed.profile.0);
            viewed.content.encode(writer);
            writer.u8(viewed.success.into());
        }
    }

    /// Reads what [`Learner::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut learner = Self::default();
        for _ in 0..reader.count(LEARNED_MAX, "LEARNED_MAX")? {
            learner.learned.push(Learned::decode(reader)?);
        }
        for _ in 0..reader.count(VIEWED_MAX, "VIEWED_MAX")? {
            let profile = ProfileId(reader.fixed64()?);
            let content = ContentId::decode(reader)?;
            learner.viewed.push(Viewed { profile, content, success: reader.u8()? == 1 });
        }
        Ok(learner)
    }
}

/// All components, 16 bits each, little endian.
pub(crate) fn write_embedding(writer: &mut Writer, embedding: &Embedding) {
    embedding.as_slice().iter().for_each(|unit| writer.raw(&unit.to_le_bytes()));
}

/// Reads what [`write_embedding`] wrote.
pub(crate) fn read_embedding(reader: &mut Reader) -> Result<Embedding, DecodeError> {
    let pairs = reader.raw(2 * DIMENSIONS)?.chunks_exact(2);
    let units: Vec<i16> = pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    Embedding::from_units(&units).map_err(|_| DecodeError::invalid("embedding"))
}
