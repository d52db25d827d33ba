//! How each field of a state is modelled: stamps, dots, texts, titles, progress.
//!
//! Every function here writes or reads, by the [`Coder`] it is given: the value that comes in is
//! written, the value that comes back was written or read. Layout: `docs/protocol.md`, "State".

use super::{ENTRIES_MAX, TOUCHED_MAX};
use crate::causal::Dot;
use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{self, DecodeError};
use crate::crdt::lww::LwwRegister;
use crate::id::{CONTENT_ID_BYTES_MAX, ContentId, ReplicaId, join, split};
use crate::operation::{
    CAPABILITIES_BITS, Capabilities, DEVICE_TEXT_BYTES_MAX, DeviceRecord, DeviceType, OBSERVED_MAX,
    PlayState, Progress,
};
use crate::rangecoder::{Bit, Coder, Number, length};
use crate::sorted::Map;

/// No number of a title is above this.
const NUMBER_MAX: u64 = 999_999_999_999_999;
/// Contexts of a character: by the one before.
const CLASSES: usize = 32;
/// Usual length of a title's duration in bits: 4,096 to 8,191 seconds.
const DURATION_BITS: u32 = 13;
/// A stamp's milliseconds have so many bits.
const MILLIS_BITS: u32 = 48;
const MILLIS_PER_SECOND: u64 = 1_000;
/// Usual length of the seconds from 1970, and from what a device saw last, half a day ago.
const EPOCH_BITS: u32 = 31;
const DIFFERENCE_BITS: u32 = 15;
/// A bound of the ages that is longer by so many bits costs less than writing another one.
const BOUND_LOOSE: u32 = 2;
/// No two stamps are further apart, in seconds.
const STAMP_SECONDS_MAX: u64 = (1 << MILLIS_BITS) / MILLIS_PER_SECOND;

/// The models of all fields, what the stamps are relative to, and the coder.
pub(super) struct Fields<'a> {
    pub(super) coder: Coder<'a>,
    /// A list has no elements.
    pub(super) none: Bit,
    base_ms: u64,
    whole_seconds: bool,
    age: Number,
    stamp_counter: Bit,
    /// The replicas that were touched, then the others.
    replicas: Vec<ReplicaId>,
    touched: usize,
    by_touched: Bit,
    by_replica: [Vec<Bit>; 2],
    text_length: Number,
    characters: Vec<Vec<Bit>>,
    same_prefix: Bit,
    has_number: Bit,
    number: Number,
    gap: Number,
    single_dot: Bit,
    taken_off: Bit,
    same_duration: Bit,
    duration: Number,
    state: Vec<Bit>,
    at_end: [Bit; 4],
    beyond: Bit,
    excess: Number,
    remaining: Number,
    device_type: Vec<Bit>,
    capabilities: [Bit; CAPABILITIES_BITS as usize],
    /// What is touched of a title: of a new one, of a known one.
    pub(super) entry: [EntryModels; 2],
    /// Live adds and progress entries that were read.
    entries: usize,
    titles_left: usize,
}

/// What is touched of a title.
pub(super) struct EntryModels {
    pub(super) watch: Bit,
    pub(super) progress: Bit,
    pub(super) no_watch: Bit,
    pub(super) no_progress: Bit,
}

impl<'a> Fields<'a> {
    pub(super) fn new(coder: Coder<'a>) -> Self {
        let second = u64::from(u32::MAX);
        Self {
            coder,
            none: Bit::rare(2),
            base_ms: 0,
            whole_seconds: false,
            age: Number::new(0, false, 0),
            stamp_counter: Bit::rare(6),
            replicas: Vec::new(),
            touched: 0,
            by_touched: Bit::rare(4),
            by_replica: Default::default(),
            text_length: Number::new(4, false, CONTENT_ID_BYTES_MAX as u64),
            characters: vec![Vec::new(); CLASSES],
            same_prefix: Bit::rare(2),
            has_number: Bit::rare(2),
            number: Number::new(12, false, NUMBER_MAX),
            gap: Number::new(12, true, NUMBER_MAX),
            single_dot: Bit::rare(4),
            taken_off: Bit::rare(2),
            same_duration: Bit::rare(2),
            duration: Number::new(DURATION_BITS, false, second),
            state: Vec::new(),
            at_end: [Bit::default(); 4],
            beyond: Bit::rare(6),
            excess: Number::new(6, false, second),
            remaining: Number::new(6, false, second),
            device_type: Vec::new(),
            capabilities: [Bit::default(); CAPABILITIES_BITS as usize],
            entry: [20, 2].map(|count| EntryModels {
                watch: Bit::default(),
                progress: Bit::default(),
                no_watch: Bit::rare(count),
                no_progress: Bit::rare(20),
            }),
            entries: 0,
            titles_left: TOUCHED_MAX,
        }
    }

    /// Notes that so many entries are read.
    fn count_entries(&mut self, count: usize) -> bool {
        self.entries = self.entries.saturating_add(count);
        let over = self.coder.reads() && self.entries > ENTRIES_MAX;
        if over {
            self.coder.fail(DecodeError::limit("ENTRIES_MAX"));
        }
        over
    }

    /// A count of at most `max` things, mostly none.
    pub(super) fn count(&mut self, count: usize, max: usize, limit: &'static str) -> usize {
        if !self.coder.bit(&mut self.none, count > 0) {
            return 0;
        }
        let count = self.coder.small((count as u64).saturating_sub(1)).saturating_add(1);
        if self.coder.reads() && count > max as u64 {
            self.coder.fail(DecodeError::limit(limit));
            return 0;
        }
        count as usize
    }

    /// A count of titles: all lists together have at most [`TOUCHED_MAX`], because each one
    /// takes memory before it is read, and bytes that are read past the end never fail.
    pub(super) fn count_titles(&mut self, count: usize) -> usize {
        let count = self.count(count, self.titles_left, "TOUCHED_MAX");
        self.titles_left = self.titles_left.saturating_sub(count);
        count
    }

    /// What the replicas of the dots are, those that were touched first.
    pub(super) fn set_replicas(&mut self, touched: &[ReplicaId], others: &[ReplicaId]) {
        self.replicas = [touched, others].concat();
        self.touched = touched.len();
    }

    /// What all stamps are relative to: the latest of `stamps`, itself relative to what the
    /// receiver has seen, and how old the oldest is.
    pub(super) fn set_stamps(&mut self, stamps: &[Timestamp], known: UnixMillis) {
        let millis = |stamp: &Timestamp| stamp.millis().0;
        let base = stamps.iter().map(millis).max().unwrap_or(0);
        let oldest = stamps.iter().map(millis).min().unwrap_or(0);
        let whole = stamps.iter().all(|s| (base - millis(s)).is_multiple_of(MILLIS_PER_SECOND));
        let coder = &mut self.coder;
        let earlier = coder.bit(&mut Bit::rare(2), base < known.0);
        let distance = base.abs_diff(known.0);
        let expected = if known.0 == 0 { EPOCH_BITS } else { DIFFERENCE_BITS };
        let mut seconds = Number::new(expected, false, STAMP_SECONDS_MAX);
        let ahead_s = coder.number(&mut seconds, distance / MILLIS_PER_SECOND);
        let round = distance.is_multiple_of(MILLIS_PER_SECOND);
        let millis = if coder.bit(&mut Bit::default(), !round) {
            coder.uniform(distance % MILLIS_PER_SECOND, MILLIS_PER_SECOND)
        } else {
            0
        };
        let distance = ahead_s * MILLIS_PER_SECOND + millis;
        self.base_ms = if earlier { known.0.wrapping_sub(distance) } else { known.0 + distance };
        self.whole_seconds = !coder.bit(&mut Bit::default(), !whole);
        let oldest_s = (base - oldest) / MILLIS_PER_SECOND;
        let explicit = oldest_s > ahead_s || length(oldest_s) + BOUND_LOOSE < length(ahead_s);
        let max =
            if coder.bit(&mut Bit::rare(1), explicit) { bound(coder, oldest_s) } else { ahead_s };
        self.age = Number::new(length(max), false, max);
        if self.base_ms >> MILLIS_BITS != 0 {
            self.coder.fail(DecodeError::invalid("stamp"));
        }
    }

    pub(super) fn stamp(&mut self, stamp: Timestamp) -> Timestamp {
        let age = self.base_ms.wrapping_sub(stamp.millis().0);
        let coder = &mut self.coder;
        let mut read = coder.number(&mut self.age, age / MILLIS_PER_SECOND) * MILLIS_PER_SECOND;
        if !self.whole_seconds {
            read += coder.uniform(age % MILLIS_PER_SECOND, MILLIS_PER_SECOND);
        }
        let mut counter = 0;
        if coder.bit(&mut self.stamp_counter, stamp.counter() != 0) {
            counter = coder.small(u64::from(stamp.counter()).saturating_sub(1)) + 1;
        }
        if read > self.base_ms || counter > u64::from(u16::MAX) {
            self.coder.fail(DecodeError::invalid("stamp"));
            return Timestamp::ZERO;
        }
        Timestamp::new(UnixMillis(self.base_ms - read), counter as u16)
    }

    pub(super) fn dot(&mut self, dot: Dot) -> Dot {
        let (touched, others) = self.replicas.split_at(self.touched);
        let other = if touched.is_empty() || others.is_empty() {
            touched.is_empty()
        } else {
            self.coder.bit(&mut self.by_touched, others.contains(&dot.replica))
        };
        let list = if other { others } else { touched };
        if list.is_empty() {
            self.coder.fail(DecodeError::invalid("replica"));
            return dot;
        }
        let index = list.binary_search(&dot.replica).unwrap_or(0);
        let tree = &mut self.by_replica[usize::from(other)];
        let replica = list[self.coder.symbol(tree, index, list.len())];
        Dot { replica, timestamp: self.stamp(dot.timestamp) }
    }

    /// A dot and what it wrote.
    pub(super) fn register<V>(
        &mut self,
        register: Option<LwwRegister<V>>,
        value: impl FnOnce(&mut Self, Option<V>) -> V,
    ) -> LwwRegister<V> {
        let dot = self.dot(register.as_ref().map_or(NO_DOT, |register| register.dot));
        LwwRegister { dot, value: value(self, register.map(|register| register.value)) }
    }

    /// Live adds of a title, ascending.
    pub(super) fn dots(&mut self, dots: &[Dot]) -> Vec<Dot> {
        let mut count = 1;
        if self.coder.bit(&mut self.single_dot, dots.len() > 1) {
            count = self.coder.small((dots.len() as u64).saturating_sub(2)).saturating_add(2);
        }
        if self.coder.reads() && count > OBSERVED_MAX as u64 {
            self.coder.fail(DecodeError::limit("OBSERVED_MAX"));
            return Vec::new();
        }
        if self.count_entries(count as usize) {
            return Vec::new();
        }
        let mut read: Vec<Dot> = Vec::new();
        for at in 0..count as usize {
            let dot = self.dot(dots.get(at).copied().unwrap_or(NO_DOT));
            if read.last().is_some_and(|last| *last >= dot) {
                self.coder.fail(DecodeError::invalid("order of adds"));
            }
            read.push(dot);
        }
        read
    }

    pub(super) fn text(&mut self, text: &str, max: usize, limit: &'static str) -> String {
        let bytes = text.as_bytes();
        let count = self.coder.number(&mut self.text_length, bytes.len() as u64) as usize;
        if count > max {
            self.coder.fail(DecodeError::limit(limit));
            return String::new();
        }
        let mut read = Vec::with_capacity(count);
        let mut last = 0;
        for at in 0..count {
            let byte = usize::from(bytes.get(at).copied().unwrap_or(0));
            last = self.coder.symbol(&mut self.characters[last % CLASSES], byte, 256);
            read.push(last as u8);
        }
        let text = codec::text(&read).unwrap_or_else(|| {
            self.coder.fail(DecodeError::invalid("UTF-8 text"));
            ""
        });
        text.to_owned()
    }

    /// A title that comes after `last` in the order of [`Title`]; the first one mostly has the
    /// `usual` prefix.
    pub(super) fn title(
        &mut self,
        title: Title,
        last: Option<Title>,
        usual: Option<&str>,
    ) -> Option<ContentId> {
        let expected = last.map(|last| last.prefix).or(usual);
        let same = !self.coder.bit(&mut self.same_prefix, Some(title.prefix) != expected);
        let prefix = match expected {
            Some(expected) if same => String::from(expected),
            _ => self.text(title.prefix, CONTENT_ID_BYTES_MAX, "CONTENT_ID_BYTES_MAX"),
        };
        // Of titles of one prefix only the first can have no number.
        let has_number =
            same && last.is_some() || !self.coder.bit(&mut self.has_number, title.number.is_none());
        let number = has_number.then(|| match last {
            Some(Title { number: Some(before), .. }) if same => {
                let gap = title.number.unwrap_or(0).wrapping_sub(before).wrapping_sub(1);
                before + 1 + self.coder.number(&mut self.gap, gap)
            }
            _ => self.coder.number(&mut self.number, title.number.unwrap_or(0)),
        });
        if !self.coder.reads() {
            return None;
        }
        let read = Title { prefix: &prefix, number };
        let content = match number {
            Some(number) => join(&prefix, number).ok(),
            None => ContentId::new(&prefix).ok(),
        };
        let content = content.filter(|content| {
            Title::of(content.as_str()) == read && last.is_none_or(|last| last < read)
        });
        if content.is_none() {
            self.coder.fail(DecodeError::invalid("content id"));
        }
        content
    }

    /// Progress of a title, `None` when it was taken off. `known` is what a receiver who has the
    /// title takes for its duration when `same_duration` says so.
    pub(super) fn progress(
        &mut self,
        value: Option<Progress>,
        same_duration: bool,
        known: Option<Option<u32>>,
    ) -> Option<Progress> {
        if self.coder.bit(&mut self.taken_off, value.is_none()) {
            return None;
        }
        let nothing = Progress { position_s: 0, duration_s: 0, state: PlayState::Playing };
        let Progress { position_s, duration_s, state } = value.unwrap_or(nothing);
        let coder = &mut self.coder;
        let known = known.filter(|_| !coder.bit(&mut self.same_duration, !same_duration));
        let duration = match known {
            Some(Some(duration_s)) => u64::from(duration_s),
            Some(None) => {
                coder.fail(DecodeError::invalid("duration"));
                return None;
            }
            None => coder.number(&mut self.duration, u64::from(duration_s)),
        };
        let state = coder.symbol(&mut self.state, state as usize, PlayState::ALL.len());
        let finished = PlayState::ALL[state] == PlayState::Finished;
        let position = u64::from(position_s);
        let position = if coder.bit(&mut self.at_end[state], position == duration) {
            duration
        } else if duration == 0 || coder.bit(&mut self.beyond, position > duration) {
            let excess = position.wrapping_sub(duration).wrapping_sub(1);
            duration + 1 + coder.number(&mut self.excess, excess)
        } else if finished {
            let remaining = duration.wrapping_sub(position).wrapping_sub(1);
            (duration - 1).wrapping_sub(coder.number(&mut self.remaining, remaining))
        } else {
            coder.uniform(position, duration)
        };
        let Ok(position_s) = u32::try_from(position) else {
            coder.fail(DecodeError::invalid("position"));
            return None;
        };
        Some(Progress { position_s, duration_s: duration as u32, state: PlayState::ALL[state] })
    }

    /// What a device says of itself. `known`: the receiver's record, of which all but the version
    /// of the app is right.
    pub(super) fn device(
        &mut self,
        record: Option<DeviceRecord>,
        known: Option<&Option<DeviceRecord>>,
    ) -> Option<DeviceRecord> {
        if self.coder.bit(&mut self.taken_off, record.is_none()) {
            return None;
        }
        let record = record.unwrap_or_default();
        let mut read = match known {
            Some(Some(known)) => known.clone(),
            Some(None) => {
                self.coder.fail(DecodeError::invalid("device record"));
                return None;
            }
            None => self.device_itself(&record),
        };
        read.app_version = self.device_text(&record.app_version);
        Some(read)
    }

    /// A record but for the version of the app.
    fn device_itself(&mut self, record: &DeviceRecord) -> DeviceRecord {
        let types = DeviceType::ALL;
        let index = record.device_type as usize;
        let device_type = types[self.coder.symbol(&mut self.device_type, index, types.len())];
        let wanted = record.capabilities.to_bits();
        let mut bits = 0;
        for (at, model) in self.capabilities.iter_mut().enumerate() {
            bits |= u64::from(self.coder.bit(model, wanted >> at & 1 == 1)) << at;
        }
        let capabilities = Capabilities::from_bits(bits).unwrap_or_else(|| {
            self.coder.fail(DecodeError::invalid("capabilities"));
            Capabilities::default()
        });
        DeviceRecord {
            name: self.device_text(&record.name),
            device_type,
            platform: self.device_text(&record.platform),
            app_version: String::new(),
            capabilities,
        }
    }

    fn device_text(&mut self, text: &str) -> String {
        self.text(text, DEVICE_TEXT_BYTES_MAX, "DEVICE_TEXT_BYTES_MAX")
    }
}

/// The three leading bits of a number of seconds and ones below: a bound not far above it.
fn bound(coder: &mut Coder, seconds: u64) -> u64 {
    let bits = coder.direct(6, u64::from(length(seconds))) as u32;
    if bits > length(STAMP_SECONDS_MAX) {
        coder.fail(DecodeError::invalid("stamp"));
        return 0;
    }
    let below = bits.saturating_sub(3);
    let top = coder.direct(bits.min(3).saturating_sub(1), seconds >> below);
    let first = if bits == 0 { 0 } else { 1 << bits.min(3).saturating_sub(1) };
    ((first + top + 1) << below) - 1
}

/// What is written where nothing is: the coder reads.
const NO_DOT: Dot = Dot { timestamp: Timestamp::ZERO, replica: ReplicaId(0) };

/// A content id as a prefix and the number at its end, which has no leading zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Title<'a> {
    prefix: &'a str,
    number: Option<u64>,
}

/// The prefix that most titles have, and how many more have it than any other.
pub(super) fn usual_prefix<'a>(
    titles: impl Iterator<Item = &'a ContentId>,
) -> (Option<&'a str>, usize) {
    let mut counts: Map<&str, usize> = Map::new();
    for title in titles {
        *counts.or_default(Title::of(title.as_str()).prefix) += 1;
    }
    let (mut best, mut second) = ((None, 0), 0);
    for (prefix, count) in counts {
        if count > best.1 {
            second = best.1;
            best = (Some(prefix), count);
        } else {
            second = count.max(second);
        }
    }
    (best.0, best.1 - second)
}

impl<'a> Title<'a> {
    /// The parts of a content id.
    pub(super) fn of(text: &'a str) -> Self {
        let (prefix, number) = split(text);
        Self { prefix, number }
    }
}
