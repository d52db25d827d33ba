//! What is different in a household since a version, as bytes.
//!
//! A difference names keys and gives their present values; the receiver replaces these keys and has
//! the state it was taken from, provided that all other keys have the same value there and here. So
//! both sides know the untouched part, and what is already there is named by its place in it. A
//! whole state is the difference from nothing. Layout: `docs/protocol.md`, "State".
//!
//! Invariant: [`Difference::code`] uses nothing of the state at hand but what sender and receiver
//! have in common: all that is there and is not listed as new.

mod entry;

use self::entry::{Entry, List};
use super::field::{Fields, Title, usual_prefix};
use super::history::{Key, Touch};
use super::{DEVICES_MAX, Household, PROFILES_EVER_MAX, PROFILES_MAX, Profile, REPLICAS_MAX};
use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Writer, checksum};
use crate::crdt::lww::LwwRegister;
use crate::id::{ContentId, DeviceId, ProfileId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::operation::{Changed, DeviceRecord, PROFILE_NAME_BYTES_MAX, Part};
use crate::rangecoder::{Bit, Coder};
use crate::sorted::{Map, Set};
use core::cmp::Ordering;

/// Bits of the check that both sides mean the same titles.
const CHECK_BITS: u32 = 8;

/// The present values of the keys that were touched.
#[derive(Default)]
pub(super) struct Difference {
    /// Replicas that the receiver may not know.
    new_replicas: Set<ReplicaId>,
    /// Up to where the touched replicas were seen.
    seen: Map<ReplicaId, Timestamp>,
    deleted: Set<ProfileId>,
    new_profiles: Set<ProfileId>,
    shelves: Map<ProfileId, Shelf>,
    new_devices: Set<DeviceId>,
    devices: Map<DeviceId, LwwRegister<Option<DeviceRecord>>>,
}

/// What was touched of one profile.
#[derive(Default)]
struct Shelf {
    name: Option<LwwRegister<String>>,
    /// Titles that the receiver may not have, in the order of [`Title`].
    new: Vec<Entry>,
    /// Titles that the receiver has.
    known: Map<ContentId, Entry>,
}

impl Difference {
    /// All that `state` has, for a receiver who has nothing.
    pub(super) fn whole(state: &Household) -> Self {
        let names = state.profiles.iter().filter(|(_, profile)| profile.name.is_some());
        Self {
            new_replicas: state.seen.iter().map(|(id, _)| id).collect(),
            seen: state.seen.stamps().clone(),
            deleted: state.deleted.clone(),
            new_profiles: names.map(|(id, _)| *id).filter(|id| *id != ProfileId::DEFAULT).collect(),
            shelves: state.profiles.iter().map(|(id, all)| (*id, Shelf::whole(all))).collect(),
            new_devices: state.devices.iter().map(|(id, _)| id.clone()).collect(),
            devices: state.devices.registers().clone(),
        }
    }

    /// The values that `state` has at the touched keys.
    /// There are about `count` of them.
    pub(super) fn of(
        state: &Household,
        touched: impl Iterator<Item = (Key, Touch)>,
        count: usize,
    ) -> Self {
        let mut this = Self::default();
        // No more than there is, and no less than most: growing would take twice the memory.
        let mut titles: Vec<(ProfileId, ContentId, List, bool)> = Vec::with_capacity(count);
        for (key, touch) in touched {
            let is_new = touch == Touch::New;
            match key {
                Key::Replica(id) => {
                    this.seen.insert(id, state.seen.of(id));
                    if is_new {
                        this.new_replicas.insert(id);
                    }
                }
                Key::Deleted(id) if !state.deleted.contains(&id) => {}
                Key::Deleted(id) => drop(this.deleted.insert(id)),
                Key::Name(id) => {
                    let Some(profile) = state.profiles.get(&id) else { continue };
                    this.shelves.or_default(id).name = profile.name.clone();
                    if is_new && id != ProfileId::DEFAULT {
                        this.new_profiles.insert(id);
                    }
                }
                Key::Watchlist(id, content) => titles.push((id, content, List::Watchlist, is_new)),
                Key::Progress(id, content) => titles.push((id, content, List::Progress, is_new)),
                Key::Device(id) => {
                    let Some(register) = state.devices.get(&id) else { continue };
                    this.devices.insert(id.clone(), register.clone());
                    if is_new {
                        this.new_devices.insert(id);
                    }
                }
            }
        }
        titles.sort_unstable_by(|(a, b, ..), (c, d, ..)| {
            (a, Title::of(b.as_str())).cmp(&(c, Title::of(d.as_str())))
        });
        let mut titles = titles.into_iter().peekable();
        while let Some((id, content, list, is_new)) = titles.next() {
            let left = titles.len();
            let Some(profile) = state.profiles.get(&id) else { continue };
            let mut entry = Entry::default();
            entry.note(profile, &content, list, is_new);
            if let Some((.., list, is_new)) = titles.next_if(|(i, c, ..)| *i == id && *c == content)
            {
                entry.note(profile, &content, list, is_new);
            }
            let shelf = this.shelves.or_default(id);
            if shelf.new.is_empty() && !entry.is_known {
                shelf.new.reserve_exact(left + 1);
            }
            shelf.add(profile, content, entry);
        }
        this
    }

    /// Reads what a sender wrote for a receiver who is in `state`.
    pub(super) fn from_bytes(bytes: &[u8], state: &Household) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(Coder::reader(bytes));
        let mut difference = Self::default();
        difference.code(&mut fields, state);
        fields.coder.finish()?;
        Ok(difference)
    }

    /// The bytes for a receiver who has what is not touched in `state`.
    pub(super) fn into_bytes(mut self, state: &Household) -> Vec<u8> {
        let mut fields = Fields::new(Coder::writer());
        self.code(&mut fields, state);
        fields.coder.finish().expect("only what is read can be wrong")
    }

    fn is_empty(&self) -> bool {
        let quiet = self.seen.is_empty() && self.deleted.is_empty();
        quiet && self.shelves.is_empty() && self.devices.is_empty()
    }

    /// Who wrote what is in it, and when.
    fn each_dot(&self, note: &mut dyn FnMut(Dot)) {
        self.devices.values().for_each(|register| note(register.dot));
        for shelf in self.shelves.values() {
            shelf.name.iter().for_each(|register| note(register.dot));
            for entry in shelf.new.iter().chain(shelf.known.values()) {
                entry.watch.iter().flatten().for_each(|dot| note(*dot));
                entry.progress.iter().flatten().for_each(|register| note(register.dot));
            }
        }
    }

    /// Writes or reads it all; `state` is the sender's or the receiver's own.
    fn code(&mut self, fields: &mut Fields, state: &Household) {
        if !fields.coder.bit(&mut Bit::default(), !self.is_empty()) {
            return;
        }
        self.replicas(fields, state);
        let mut stamps: Vec<Timestamp> = self.seen.values().copied().collect();
        self.each_dot(&mut |dot| stamps.push(dot.timestamp));
        let untouched = state.seen.iter().filter(|(id, _)| !self.seen.contains_key(id));
        let known = untouched.map(|(_, through)| through).max().unwrap_or_default();
        fields.set_stamps(&stamps, known.millis());
        profile_ids(fields, &mut self.deleted, PROFILES_EVER_MAX, "PROFILES_EVER_MAX");
        profile_ids(fields, &mut self.new_profiles, PROFILES_MAX, "PROFILES_MAX");
        let mut profiles = self.new_profiles.clone();
        profiles.extend(state.profiles.keys().copied().filter(|id| !self.deleted.contains(id)));
        let (mut named, mut touched) = (Bit::rare(1), Bit::rare(1));
        for id in profiles {
            let is_new = self.new_profiles.contains(&id);
            let shelf = self.shelves.or_default(id);
            if is_new || fields.coder.bit(&mut named, shelf.name.is_some()) {
                shelf.code_name(fields);
            }
            let any = !shelf.new.is_empty() || !shelf.known.is_empty();
            if fields.coder.bit(&mut touched, any) {
                shelf.code(fields, state.profiles.get(&id));
            }
            if fields.coder.failed() {
                return;
            }
        }
        self.code_devices(fields, state);
        self.code_seen(fields);
    }

    /// Which replicas there are and which were touched.
    fn replicas(&mut self, fields: &mut Fields, state: &Household) {
        let new = self.new_replicas.iter().map(|id| id.0).collect();
        let new = ids(fields, new, REPLICAS_MAX, "REPLICAS_MAX");
        let mut touched: Set<ReplicaId> = new.into_iter().map(ReplicaId).collect();
        self.new_replicas.clone_from(&touched);
        let mut raised = Bit::default();
        let mut others = Vec::new();
        for (id, _) in state.seen.iter().filter(|(id, _)| !self.new_replicas.contains(id)) {
            if fields.coder.bit(&mut raised, self.seen.contains_key(&id)) {
                touched.insert(id);
            } else {
                others.push(id);
            }
        }
        for id in &touched {
            self.seen.or_default(*id);
        }
        fields.set_replicas(&touched.into_iter().collect::<Vec<_>>(), &others);
    }

    /// Up to where the touched replicas were seen: mostly their latest stamp in this difference.
    fn code_seen(&mut self, fields: &mut Fields) {
        let mut latest: Map<ReplicaId, Timestamp> = Map::new();
        self.each_dot(&mut |dot| {
            let latest = latest.or_default(dot.replica);
            *latest = dot.timestamp.max(*latest);
        });
        let mut later = Bit::rare(1);
        for (id, through) in self.seen.iter_mut() {
            let latest = latest.get(id).copied();
            if latest.is_none_or(|latest| fields.coder.bit(&mut later, latest != *through)) {
                *through = fields.stamp(*through);
            } else {
                *through = latest.unwrap_or_default();
            }
        }
    }

    fn code_devices(&mut self, fields: &mut Fields, state: &Household) {
        let count = fields.count(self.new_devices.len(), DEVICES_MAX, "DEVICES_MAX");
        let writes: Vec<DeviceId> = self.new_devices.iter().cloned().collect();
        for at in 0..count {
            let text = writes.get(at).map_or("", DeviceId::as_str);
            let text = fields.text(text, TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX");
            if fields.coder.reads() {
                match DeviceId::new(&text) {
                    Ok(id) if self.new_devices.last().is_none_or(|last| *last < id) => {
                        self.new_devices.insert(id);
                    }
                    _ => return fields.coder.fail(DecodeError::invalid("device id")),
                }
            }
        }
        for id in &self.new_devices {
            let register = code_device(fields, self.devices.remove(id), None);
            self.devices.insert(id.clone(), register);
        }
        let mut touched = Bit::rare(3);
        for (id, known) in state.devices.iter() {
            if self.new_devices.contains(id) {
                continue;
            }
            let register = self.devices.remove(id);
            if fields.coder.bit(&mut touched, register.is_some()) {
                let register = code_device(fields, register, Some(&known.value));
                self.devices.insert(id.clone(), register);
            }
        }
    }
}

impl Difference {
    /// Replaces the keys in `state`.
    pub(super) fn apply(self, state: &mut Household) -> Result<Changed, DecodeError> {
        let mut changed = Changed::new();
        for (&id, &through) in self.seen.iter() {
            if through == Timestamp::ZERO {
                return Err(DecodeError::invalid("replica of which nothing was seen"));
            }
            state.seen.raise(id, through);
        }
        let mut covered = true;
        self.each_dot(&mut |dot| covered &= state.seen.covers(dot));
        if !covered {
            return Err(DecodeError::invalid("dot that was not seen"));
        }
        for id in &self.deleted {
            state.profiles.remove(id);
            state.deleted.insert(*id);
            changed.extend([Part::Profiles, Part::Watchlist(*id), Part::Progress(*id)]);
        }
        for (id, shelf) in self.shelves {
            if state.deleted.contains(&id) {
                return Err(DecodeError::invalid("profile that was deleted"));
            }
            let profile = state.profiles.or_default(id);
            if let Some(name) = shelf.name {
                profile.name = Some(name);
                changed.insert(Part::Profiles);
            }
            let mut new = shelf.new;
            sort(&mut new, |a, b| a.content.cmp(&b.content));
            let new = new.into_iter().filter_map(|mut e| Some((e.content.take()?, e)));
            let (mut watchlist, mut progress) = (Vec::new(), Vec::new());
            for (content, entry) in new.chain(shelf.known) {
                if let Some(dots) = entry.watch {
                    watchlist.push((content.clone(), dots));
                }
                if let Some(register) = entry.progress {
                    progress.push((content, register));
                }
            }
            if !watchlist.is_empty() {
                profile.watchlist.replace(watchlist);
                changed.insert(Part::Watchlist(id));
            }
            if !progress.is_empty() {
                profile.progress.replace(progress);
                changed.insert(Part::Progress(id));
            }
        }
        if !self.devices.is_empty() {
            let registers = self.devices.into_iter().map(|(id, register)| (id, Some(register)));
            state.devices.replace(registers.collect());
            changed.insert(Part::Devices);
        }
        state.check_limits()?;
        Ok(changed)
    }
}

impl Shelf {
    /// All that is on a profile's shelf.
    fn whole(profile: &Profile) -> Self {
        let entry = |content: &ContentId| {
            let live = profile.watchlist.dots(content);
            Entry {
                content: Some(content.clone()),
                watch: if live.is_empty() { None } else { Some(live.to_vec()) },
                progress: profile.progress.get(content).map(|register| Some(register.clone())),
                ..Entry::default()
            }
        };
        let mut new: Vec<Entry> = profile.titles().into_iter().map(entry).collect();
        fn text(entry: &Entry) -> Title<'_> {
            Title::of(entry.content.as_ref().map_or("", ContentId::as_str))
        }
        sort(&mut new, |a, b| text(a).cmp(&text(b)));
        Self { name: profile.name.clone(), new, known: Map::new() }
    }

    fn new_titles(&self) -> Set<&ContentId> {
        self.new.iter().filter_map(|entry| entry.content.as_ref()).collect()
    }

    fn add(&mut self, profile: &Profile, content: ContentId, mut entry: Entry) {
        entry.is_known |= entry.watch.is_none() && !profile.watchlist.dots(&content).is_empty();
        entry.is_known |= entry.progress.is_none() && profile.progress.get(&content).is_some();
        if entry.is_known {
            self.known.insert(content, entry);
        } else {
            entry.content = Some(content);
            self.new.push(entry);
        }
    }

    fn code_name(&mut self, fields: &mut Fields) {
        self.name = Some(fields.register(self.name.take(), |fields, name| {
            fields.text(&name.unwrap_or_default(), PROFILE_NAME_BYTES_MAX, "PROFILE_NAME_BYTES_MAX")
        }));
    }

    fn code(&mut self, fields: &mut Fields, profile: Option<&Profile>) {
        let count = fields.count_titles(self.new.len());
        let usual = if count > 0 { self.usual_prefix(profile) } else { None };
        self.new.resize_with(count, Entry::default);
        let mut last: Option<ContentId> = None;
        for entry in &mut self.new {
            let title = entry.content.take();
            let before = last.as_ref().map(|last| Title::of(last.as_str()));
            let title_text = title.as_ref().map_or("", |t| t.as_str());
            let read = fields.title(Title::of(title_text), before, usual);
            last = title.or(read);
            entry.content.clone_from(&last);
            entry.code(fields, None);
            if fields.coder.failed() {
                return;
            }
        }
        self.code_known(fields, profile);
    }

    /// The prefix that most titles of the receiver have. Of those that are new or gone it may have
    /// some, so the sender tells by the others only when these cannot outvote them.
    fn usual_prefix<'a>(&self, profile: Option<&'a Profile>) -> Option<&'a str> {
        let new = self.new_titles();
        let titles = profile.into_iter().flat_map(Profile::titles);
        let (prefix, margin) = usual_prefix(titles.filter(|content| !new.contains(content)));
        prefix.filter(|_| margin > new.len() + self.known.len())
    }

    /// The titles that sender and receiver have, and which of them were touched.
    fn code_known(&mut self, fields: &mut Fields, profile: Option<&Profile>) {
        let mut left = fields.count_titles(self.known.len());
        if left == 0 {
            return;
        }
        let new = self.new_titles();
        let gone: Vec<ContentId> = self.known.keys().cloned().collect();
        let titles = profile.into_iter().flat_map(Profile::titles).chain(&gone);
        let known: Set<&ContentId> = titles.filter(|content| !new.contains(content)).collect();
        let mut text = Writer::new();
        known.iter().for_each(|content| content.encode(&mut text));
        let check = u64::from(checksum(text.as_slice())) & ((1 << CHECK_BITS) - 1);
        if fields.coder.direct(CHECK_BITS, check) != check || left > known.len() {
            return fields.coder.fail(DecodeError::Checksum);
        }
        for (at, &content) in known.iter().enumerate() {
            let touched = self.known.contains_key(content);
            if fields.coder.chosen(left, known.len() - at, touched) {
                left -= 1;
                let entry = self.known.or_default(content.clone());
                let register = profile.and_then(|profile| profile.progress.get(content));
                let value = register.and_then(|register| register.value);
                entry.code(fields, Some(value.map(|value| value.duration_s)));
                if fields.coder.failed() {
                    return;
                }
            }
        }
    }
}

/// `known`: what the receiver has of it.
#[inline(never)]
fn code_device(
    fields: &mut Fields,
    register: Option<LwwRegister<Option<DeviceRecord>>>,
    known: Option<&Option<DeviceRecord>>,
) -> LwwRegister<Option<DeviceRecord>> {
    fields.register(register, |fields, record| fields.device(record.flatten(), known))
}

/// One function for every order: sorting is long.
#[inline(never)]
fn sort(entries: &mut [Entry], order: fn(&Entry, &Entry) -> Ordering) {
    entries.sort_unstable_by(order);
}

fn profile_ids(
    fields: &mut Fields,
    profiles: &mut Set<ProfileId>,
    max: usize,
    limit: &'static str,
) {
    let read = ids(fields, profiles.iter().map(|id| id.0).collect(), max, limit);
    if read.first() == Some(&ProfileId::DEFAULT.0) {
        fields.coder.fail(DecodeError::invalid("default profile"));
    }
    *profiles = read.into_iter().map(ProfileId).collect();
}

/// Random ids, ascending.
fn ids(fields: &mut Fields, ids: Vec<u64>, max: usize, limit: &'static str) -> Vec<u64> {
    let count = fields.count(ids.len(), max, limit);
    let mut read: Vec<u64> = Vec::new();
    for at in 0..count {
        let id = fields.coder.direct(u64::BITS, ids.get(at).copied().unwrap_or(0));
        if read.last().is_some_and(|last| *last >= id) {
            fields.coder.fail(DecodeError::invalid("order of ids"));
            break;
        }
        read.push(id);
    }
    read
}
