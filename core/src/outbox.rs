//! Operations of this replica that the server has not acknowledged.
//!
//! Invariant: an operation that may have been sent stays as it is, name and all, until it is
//! acknowledged (or is so far ahead that no server took it); only operations that never left are
//! coalesced, at most one is kept for each title and list. So what the server takes is always something
//! this replica still holds, and confirmed state here is exactly the server's.

use crate::causal::{Dot, insert_dot};
use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ContentId, ProfileId, ReplicaId};
use crate::operation::{Change, Changed, OBSERVED_MAX, Operation};
use crate::sorted::{Map, Set};
use core::cmp::Ordering;

/// Operations that may wait. A viewer who is offline for weeks stays far below it, because progress
/// coalesces to one operation a title.
pub const OUTBOX_OPERATIONS_MAX: usize = 10_000;
/// A corrected time this close to a stamp leaves the stamp alone, in milliseconds.
const CORRECTION_MIN_MS: u64 = 1_000;
/// 2020: a wall clock that is corrected to a time before was set since.
const EARLIEST_MS: u64 = 1_577_836_800_000;

/// An operation and what is needed to correct its stamp later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The operation as the viewer made it.
    pub operation: Operation,
    /// The highest stamp its author had seen: it must not go below.
    pub floor: Timestamp,
    /// The device's own wall clock when it was made, uncorrected.
    pub wall: UnixMillis,
    /// The device's steady clock when it was made; not kept across restarts.
    pub steady_ms: Option<u64>,
}

impl Pending {
    /// Appends the operation and its context.
    pub fn encode(&self, writer: &mut Writer) {
        self.operation.encode(writer);
        writer.varint(self.floor.0);
        writer.varint(self.wall.0);
    }

    /// Reads what [`Pending::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            operation: Operation::decode(reader)?,
            floor: Timestamp(reader.varint()?),
            wall: UnixMillis(reader.varint()?),
            steady_ms: None,
        })
    }
}

/// The server's clock, read at a handshake, beside this device's clocks at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The server's time.
    pub server: UnixMillis,
    /// Server's time minus this device's wall clock.
    pub offset_ms: i64,
    /// This device's steady clock.
    pub steady_ms: u64,
}

impl Correction {
    /// When an operation was really made; never after now. The steady clock stands still in standby and
    /// the wall clock may have been set meanwhile, so the earlier one counts, unless the wall clock says
    /// that it was made long before what its author had seen.
    fn time_of(&self, pending: &Pending) -> UnixMillis {
        let wall = pending.wall.shifted(self.offset_ms).0;
        let plausible = wall >= EARLIEST_MS
            && wall.saturating_add(crate::clock::DRIFT_MAX_MS) >= pending.floor.millis().0;
        let time = match pending.steady_ms {
            None => wall,
            Some(made) => {
                let steady = self.server.0.saturating_sub(self.steady_ms.saturating_sub(made));
                if plausible { steady.min(wall) } else { steady }
            }
        };
        UnixMillis(time.min(self.server.0))
    }
}

/// What an operation is about: operations on the same subject supersede each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    profile: ProfileId,
    list: List,
    content: ContentId,
}

/// One of a profile's two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// The watchlist.
    Watchlist,
    /// Viewing progress.
    Progress,
}

impl Subject {
    fn of(operation: &Operation) -> Option<Self> {
        let (list, content) = title(&operation.change)?;
        Some(Self { profile: operation.profile, list, content: content.clone() })
    }

    fn order(&self, profile: ProfileId, list: List, content: &ContentId) -> Ordering {
        let by_list = (self.profile, self.list).cmp(&(profile, list));
        by_list.then_with(|| self.content.cmp(content))
    }
}

/// The title that a change is about, and the list that it is on.
fn title(change: &Change) -> Option<(List, &ContentId)> {
    match change {
        Change::Add(content, _) | Change::Remove(content, _) => Some((List::Watchlist, content)),
        Change::Progress(content, _) => Some((List::Progress, content)),
        Change::NameProfile(_) | Change::DeleteProfile | Change::Device(..) => None,
    }
}

/// The operations that wait, in the order of their stamps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbox {
    entries: Map<Timestamp, Pending>,
    /// What they are about.
    subjects: Set<(Subject, Timestamp)>,
    sent_through: Timestamp,
}

impl Outbox {
    /// Appends an operation of `author`, in place of one on the same subject that never left.
    pub fn push(&mut self, author: ReplicaId, mut pending: Pending) {
        let stamp = pending.operation.timestamp;
        if let Some((list, content)) = title(&pending.operation.change) {
            let last = self.stamps(pending.operation.profile, list, content).next_back();
            if let Some(last) = last.filter(|last| *last > self.sent_through)
                && let Some(old) = self.remove(last)
            {
                supersede(author, &old.operation, &mut pending.operation);
            }
            if matches!(&pending.operation.change, Change::Remove(_, seen) if seen.is_empty()) {
                return;
            }
        }
        if let Some(subject) = Subject::of(&pending.operation) {
            self.subjects.insert((subject, stamp));
        }
        self.entries.insert(stamp, pending);
    }

    /// Removes and returns everything up to `through`.
    pub fn take(&mut self, through: Timestamp) -> Vec<Pending> {
        let taken: Vec<Pending> = self.entries.take_through(&through).collect();
        if self.entries.is_empty() {
            self.subjects.clear();
        } else if !taken.is_empty() {
            self.subjects.retain(|(_, stamp)| *stamp > through);
        }
        taken
    }

    /// Removes and returns one operation.
    pub fn remove(&mut self, stamp: Timestamp) -> Option<Pending> {
        let pending = self.entries.remove(&stamp)?;
        if let Some(subject) = Subject::of(&pending.operation) {
            self.subjects.remove(&(subject, stamp));
        }
        Some(pending)
    }

    /// Notes that everything up to `through` may have left.
    pub fn mark_sent(&mut self, through: Timestamp) {
        self.sent_through = self.sent_through.max(through);
    }

    /// After a handshake no older session can deliver anything any more. What may have left keeps its
    /// stamp, because an earlier life of the database may have taken it and others may know it by that
    /// name; but not what is so far ahead that no server took it. The rest coalesces and gets the stamps
    /// that a right clock would have given, above `named` and in order. Up to `named` a server took names.
    /// Returns what may look different by the new stamps.
    pub fn restart(
        &mut self,
        author: ReplicaId,
        named: Timestamp,
        correction: Correction,
    ) -> Changed {
        let mut changed = Changed::new();
        let Self { entries, sent_through, .. } = core::mem::take(self);
        let is_credible = |stamp| crate::clock::check_drift(correction.server, stamp).is_ok();
        let mut last = named;
        for mut pending in entries.into_values() {
            let old = pending.operation.timestamp;
            if old <= named {
                self.push(author, pending);
                self.mark_sent(old);
                continue;
            }
            let credible = is_credible(old);
            if old <= sent_through && old > last && credible {
                last = old;
                self.push(author, pending);
                self.mark_sent(old);
                continue;
            }
            if is_credible(sent_through) {
                // What left last may be refused and gone; its name is not free.
                self.mark_sent(sent_through);
                last = last.max(sent_through);
            }
            let time = correction.time_of(&pending);
            let stamp = if old.millis().0.abs_diff(time.0) <= CORRECTION_MIN_MS {
                old
            } else {
                Timestamp::new(time, 0).max(pending.floor.next())
            };
            last = stamp.max(last.next());
            if last != old {
                changed.append(&mut pending.operation.parts());
            }
            pending.operation.timestamp = last;
            self.push(author, pending);
        }
        self.mark_sent(if is_credible(sent_through) { sent_through.max(named) } else { named });
        changed
    }

    /// Gives all operations to another author, with the stamps they have. What they observed stays: the
    /// old author's adds may be at the server. So an add observes itself under its old name: it comes in
    /// place of that one, and a remove that supersedes it before it leaves takes that one away.
    pub fn adopt(&mut self, old: ReplicaId, author: ReplicaId) {
        for mut pending in core::mem::take(self).entries.into_values() {
            let timestamp = pending.operation.timestamp;
            if let Change::Add(_, observed) = &mut pending.operation.change {
                observed.truncate(OBSERVED_MAX - 1);
                insert_dot(observed, Dot { timestamp, replica: old });
            }
            self.push(author, pending);
        }
    }

    /// Operations above a stamp, oldest first.
    pub fn above(&self, stamp: Timestamp) -> impl Iterator<Item = &Operation> {
        self.entries.above(&stamp).iter().map(|(_, pending)| &pending.operation)
    }

    /// All operations, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.entries.values()
    }

    /// The operation with that stamp.
    pub fn get(&self, stamp: Timestamp) -> Option<&Operation> {
        self.entries.get(&stamp).map(|pending| &pending.operation)
    }

    /// Operations on one title of one list, oldest first.
    pub fn on(
        &self,
        profile: ProfileId,
        list: List,
        content: &ContentId,
    ) -> impl Iterator<Item = &Operation> {
        self.stamps(profile, list, content).filter_map(|stamp| self.get(stamp))
    }

    fn stamps(
        &self,
        profile: ProfileId,
        list: List,
        content: &ContentId,
    ) -> impl DoubleEndedIterator<Item = Timestamp> {
        let of = self.subjects.equal(|(subject, _)| subject.order(profile, list, content));
        of.iter().map(|((_, stamp), ())| *stamp)
    }

    /// Titles of one list that operations are about.
    pub fn titles(&self, profile: ProfileId, list: List) -> impl Iterator<Item = &ContentId> {
        let of = self.subjects.equal(|(s, _)| (s.profile, s.list).cmp(&(profile, list)));
        of.iter().map(|((subject, _), ())| &subject.content)
    }

    /// Whether an operation creates or renames the profile.
    pub fn names(&self, profile: ProfileId) -> bool {
        self.about(profile).any(|change| matches!(change, Change::NameProfile(_)))
    }

    /// Whether an operation deletes the profile.
    pub fn deletes(&self, profile: ProfileId) -> bool {
        self.about(profile).any(|change| *change == Change::DeleteProfile)
    }

    fn about(&self, profile: ProfileId) -> impl Iterator<Item = &Change> {
        let changes = self.entries.values().map(|pending| &pending.operation);
        changes.filter(move |operation| operation.profile == profile).map(|o| &o.change)
    }

    /// Up to where operations may have left.
    pub fn sent_through(&self) -> Timestamp {
        self.sent_through
    }

    /// The highest stamp, [`Timestamp::ZERO`] for none.
    pub fn last(&self) -> Timestamp {
        self.entries.last_key().copied().unwrap_or_default()
    }

    /// How many operations wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// `new` takes over what `old` had observed; `old` itself is seen by nobody.
fn supersede(author: ReplicaId, old: &Operation, new: &mut Operation) {
    let (Change::Add(_, before) | Change::Remove(_, before)) = &old.change else {
        return;
    };
    let (Change::Add(_, observed) | Change::Remove(_, observed)) = &mut new.change else {
        return;
    };
    before.iter().for_each(|dot| insert_dot(observed, *dot));
    observed.retain(|dot| *dot != Dot { timestamp: old.timestamp, replica: author });
    observed.truncate(OBSERVED_MAX);
}
