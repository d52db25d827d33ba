//! One device's copy of a household: what the server confirmed, what waits to be sent, and the clock.
//!
//! What the app sees is confirmed state joined with the outbox. Every change is made by a method here
//! that has a [`Record`]; loading storage is making the same changes again from the records, so memory
//! and storage can't disagree.
//!
//! Invariant: confirmed state is exactly what the server has at the cursor. An own operation leaves the
//! outbox when the state that contains it is here: with its ack, or with the catch-up after a handshake
//! that found it taken. What an earlier life of the database confirmed is kept beside it as *owed* until
//! the present life has it.

mod handshake;
pub mod record;
pub mod view;

pub use record::{Record, Stored};

use crate::causal::Dot;
use crate::clock::{Clock, Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader};
use crate::delta::Delta;
use crate::household::Household;
use crate::id::{EpochId, HouseholdId, ProfileId, Random, ReplicaId};
use crate::message::Taken;
use crate::operation::{
    Change, Changed, DEVICE_TEXT_BYTES_MAX, DeviceRecord, Intent, Operation,
    PROFILE_NAME_BYTES_MAX, VoidReason,
};
use crate::outbox::{OUTBOX_OPERATIONS_MAX, Outbox, Pending};
use thiserror::Error;

/// Rejected operations kept for the app; the oldest goes when one more comes.
pub const REJECTED_MAX: usize = 1_000;

/// Both clocks of a device, read at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall clock; may be wrong and may jump.
    pub unix: UnixMillis,
    /// A clock that only moves forward, in milliseconds, from any start; may stop in standby.
    pub steady_ms: u64,
}

/// Up to where a replica knows its household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch that the version belongs to.
    pub epoch: EpochId,
    /// The household's version.
    pub version: u64,
}

/// An operation that the server refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What was refused.
    pub operation: Operation,
    /// Why it was refused.
    pub reason: VoidReason,
}

/// A call of the app that can't be carried out. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The profile does not exist (any more).
    #[error("this profile does not exist: create it first, or use one from the list")]
    UnknownProfile,
    /// A name is empty or longer than [`PROFILE_NAME_BYTES_MAX`].
    #[error("a profile name must be 1 to {PROFILE_NAME_BYTES_MAX} bytes long")]
    ProfileName,
    /// The default profile can't be deleted.
    #[error("the default profile can't be deleted: remove its titles instead")]
    DefaultProfile,
    /// A text about a device is longer than [`DEVICE_TEXT_BYTES_MAX`].
    #[error("a device's name, platform and version must be {DEVICE_TEXT_BYTES_MAX} bytes or less")]
    DeviceRecord,
    /// [`OUTBOX_OPERATIONS_MAX`] operations wait for the server.
    #[error("{OUTBOX_OPERATIONS_MAX} changes wait for the server: connect before making more")]
    OutboxFull,
}

impl OperationError {
    /// The stable name that apps see.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownProfile => "unknown_profile",
            Self::ProfileName => "invalid_profile_name",
            Self::DefaultProfile => "default_profile",
            Self::DeviceRecord => "invalid_device",
            Self::OutboxFull => "outbox_full",
        }
    }
}

/// The server's answer does not fit what this replica remembers: its storage is a copy or was rolled
/// back. It must take a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

/// One installed copy of a household.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    id: ReplicaId,
    household: Option<HouseholdId>,
    confirmed: Household,
    outbox: Outbox,
    clock: Clock,
    offset_ms: i64,
    acked: Taken,
    epoch: Option<EpochId>,
    cursor: Option<Cursor>,
    owed: Vec<Household>,
    session_number: u64,
    rejected: Vec<Rejected>,
}

impl Replica {
    /// A new replica that knows nothing; `household` when the app names one.
    pub fn new(household: Option<HouseholdId>, random: &mut Random) -> Self {
        Self {
            id: ReplicaId(random.bits()),
            household,
            confirmed: Household::default(),
            outbox: Outbox::default(),
            clock: Clock::default(),
            offset_ms: 0,
            acked: Taken::default(),
            epoch: None,
            cursor: None,
            owed: Vec::new(),
            session_number: 0,
            rejected: Vec::new(),
        }
    }

    /// Carries out what a user wants, and says what looks different then. `None`: it is so already.
    /// `leaves` says whether it will leave at once, given the outbox with it.
    ///
    /// # Errors
    /// [`OperationError`]; nothing has changed then.
    pub fn operate(
        &mut self,
        now: Now,
        intent: Intent,
        leaves: impl FnOnce(&Outbox) -> bool,
    ) -> Result<Option<(Stored, Changed)>, OperationError> {
        self.check(&intent)?;
        let (profile, change) = match intent {
            Intent::Add(profile, content) => {
                let observed = self.known_adds(profile, &content, Timestamp(u64::MAX));
                (profile, Change::Add(content, observed))
            }
            Intent::Remove(profile, content) => {
                if !self.is_listed(profile, &content) {
                    return Ok(None);
                }
                let observed = self.known_adds(profile, &content, Timestamp(u64::MAX));
                (profile, Change::Remove(content, observed))
            }
            Intent::Progress(profile, content, None)
                if self.progress(profile, &content).is_none() =>
            {
                return Ok(None);
            }
            Intent::Progress(profile, content, value) => {
                (profile, Change::Progress(content, value))
            }
            Intent::NameProfile(profile, name) => (profile, Change::NameProfile(name)),
            Intent::DeleteProfile(profile) => (profile, Change::DeleteProfile),
            Intent::DescribeDevice(device, record) => {
                if self.device(&device) == record.as_ref() {
                    return Ok(None);
                }
                (ProfileId::DEFAULT, Change::Device(device, record))
            }
        };
        let floor = self.highest_seen();
        let timestamp = self.clock.tick(self.wall(now.unix));
        let operation = Operation { timestamp, profile, change };
        let steady_ms = Some(now.steady_ms);
        let pending = Pending { operation, floor, wall: now.unix, steady_ms };
        let changed = pending.operation.parts();
        let record = record::Made::new(&pending);
        self.outbox.push(self.id, pending);
        let leaves = leaves(&self.outbox);
        if leaves {
            self.outbox.mark_sent(timestamp);
        }
        Ok(Some((record.store(leaves), changed)))
    }

    fn check(&self, intent: &Intent) -> Result<(), OperationError> {
        if self.outbox.len() >= OUTBOX_OPERATIONS_MAX {
            return Err(OperationError::OutboxFull);
        }
        match intent {
            Intent::NameProfile(profile, name) => {
                if name.is_empty() || name.len() > PROFILE_NAME_BYTES_MAX {
                    return Err(OperationError::ProfileName);
                }
                let deleted = self.is_deleted(*profile);
                if deleted { Err(OperationError::UnknownProfile) } else { Ok(()) }
            }
            Intent::DeleteProfile(ProfileId::DEFAULT) => Err(OperationError::DefaultProfile),
            Intent::DescribeDevice(_, record) => {
                let valid = record.as_ref().is_none_or(DeviceRecord::is_valid);
                if valid { Ok(()) } else { Err(OperationError::DeviceRecord) }
            }
            Intent::Add(profile, _)
            | Intent::Remove(profile, _)
            | Intent::Progress(profile, _, _)
            | Intent::DeleteProfile(profile) => {
                let exists = self.has_profile(*profile);
                if exists { Ok(()) } else { Err(OperationError::UnknownProfile) }
            }
        }
    }

    /// Numbers a new session. The record must be durable before the hello leaves.
    pub fn begin_session(&mut self) -> Record {
        self.session_number = self.session_number.saturating_add(1);
        Record::Session(self.session_number)
    }

    /// Notes that operations up to `through` may leave; `None` when that is known. The record must be
    /// durable before they do.
    pub fn mark_sent(&mut self, through: Timestamp) -> Option<Record> {
        if through <= self.outbox.sent_through() {
            return None;
        }
        self.outbox.mark_sent(through);
        Some(Record::Sent(through))
    }

    /// The highest stamp that its viewers may have seen anything of.
    fn highest_seen(&self) -> Timestamp {
        let states = core::iter::once(&self.confirmed).chain(&self.owed);
        let seen = states.flat_map(|state| state.seen().iter().map(|(_, through)| through));
        seen.max().unwrap_or_default()
    }

    /// Moves refused operations from the outbox to the rejected.
    fn reject<'a>(&mut self, voids: impl Iterator<Item = &'a (Timestamp, VoidReason)>) -> Changed {
        let mut changed = Changed::new();
        for &(stamp, reason) in voids {
            let Some(Pending { operation, .. }) = self.outbox.remove(stamp) else {
                continue;
            };
            changed.append(&mut operation.parts());
            if self.rejected.len() >= REJECTED_MAX {
                self.rejected.remove(0);
            }
            self.rejected.push(Rejected { operation, reason });
        }
        changed
    }

    /// Moves operations up to `taken` from the outbox to confirmed state, refused ones to the rejected.
    fn settle(
        &mut self,
        taken: Taken,
        voids: &[(Timestamp, VoidReason)],
    ) -> Result<Changed, VoidReason> {
        let mut changed = self.reject(voids.iter());
        if taken.through <= self.acked.through {
            // Nothing was taken.
            return Ok(changed);
        }
        let known = self.confirmed.seen().of(self.id);
        let accepted = self.outbox.take(taken.through).into_iter();
        let operations: Vec<Operation> = accepted.map(|pending| pending.operation).collect();
        // An offer of another device may have brought it here before; somebody may have undone it since.
        for operation in operations.iter().filter(|operation| operation.timestamp <= known) {
            changed.append(&mut operation.parts());
        }
        let delta = Delta { replica: self.id, through: taken.through, operations };
        self.acked = taken;
        self.confirmed.merge_taken(&delta)?;
        Ok(changed)
    }

    /// Settles a delta up to `through` that the server answered; `versions` is 1 when it became a new
    /// version. When it did not, what was not refused of it was known before.
    ///
    /// # Errors
    /// Why the server must have refused more: confirmed state is not the server's any more. Call
    /// [`Replica::forget_cursor`] and store the whole replica.
    pub fn acknowledged(
        &mut self,
        through: Timestamp,
        versions: u64,
        voids: &[(Timestamp, VoidReason)],
    ) -> Result<(Record, Changed), VoidReason> {
        let mut through = through;
        if versions == 0 {
            let refused = |stamp: &Timestamp| voids.iter().any(|(void, _)| void == stamp);
            let stamps = self.outbox.iter().map(|pending| pending.operation.timestamp);
            let known = stamps.take_while(|stamp| *stamp <= through);
            through = known.filter(|stamp| !refused(stamp)).last().unwrap_or_default();
        }
        let taken = match through > self.acked.through {
            true => Taken { through, digest: self.digest(through) },
            false => self.acked,
        };
        let changed = self.settle(taken, voids)?;
        self.advance(versions);
        Ok((Record::Acknowledged { taken, versions, voids: voids.to_vec() }, changed))
    }

    /// Applies the next version, a delta of another replica.
    ///
    /// # Errors
    /// As [`Replica::acknowledged`].
    pub fn update(&mut self, delta: Delta) -> Result<(Record, Changed), VoidReason> {
        let changed = self.merge(&delta)?;
        Ok((Record::Update(delta), changed))
    }

    fn merge(&mut self, delta: &Delta) -> Result<Changed, VoidReason> {
        self.clock.observe(delta.through);
        let changed = self.confirmed.merge_taken(delta)?;
        self.advance(1);
        Ok(changed)
    }

    /// Takes the present values of all that was touched in the `versions` after the cursor. Store the
    /// whole replica afterwards.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing has changed then.
    pub fn difference(&mut self, versions: u64, body: &[u8]) -> Result<Changed, DecodeError> {
        let mut reader = Reader::new(body);
        let changed = self.confirmed.apply_difference(&mut reader)?;
        self.outbox.take(self.acked.through);
        self.observe_confirmed();
        self.advance(versions);
        Ok(changed)
    }

    fn observe_confirmed(&mut self) {
        for (_, through) in self.confirmed.seen().iter() {
            self.clock.observe(through);
        }
    }

    /// Whether an operation in the outbox observed exactly the adds that its author can have seen by
    /// now: the confirmed ones and its own earlier ones. The server can then name them itself.
    pub fn observed_all(&self, operation: &Operation) -> bool {
        let (Some(content), Some(observed)) = (operation.change.content(), operation.observed())
        else {
            return false;
        };
        observed == self.known_adds(operation.profile, content, operation.timestamp)
    }

    fn advance(&mut self, versions: u64) {
        if let Some(cursor) = &mut self.cursor {
            cursor.version = cursor.version.saturating_add(versions);
        }
    }

    /// Takes a whole state in place of what was confirmed. Store the whole replica afterwards.
    pub fn snapshot(&mut self, version: u64, state: Household) -> Changed {
        let mut changed = self.confirmed.all_parts();
        // A profile that only waiting operations know may be deleted there.
        for pending in self.outbox.iter() {
            changed.append(&mut pending.operation.parts());
        }
        self.confirmed = state;
        self.outbox.take(self.acked.through);
        self.observe_confirmed();
        changed.append(&mut self.confirmed.all_parts());
        self.cursor = self.epoch.map(|epoch| Cursor { epoch, version });
        changed
    }

    /// What was owed is in confirmed state now. Store the whole replica afterwards.
    pub fn offered(&mut self) {
        self.owed.clear();
    }

    /// Becomes another replica with the same state, and the outbox under the new id. Store the whole
    /// replica afterwards.
    pub fn renew(&mut self, random: &mut Random) {
        let old = core::mem::replace(&mut self.id, ReplicaId(random.bits()));
        // What was taken already must not be sent under another name.
        self.outbox.take(self.acked.through);
        self.outbox.adopt(old, self.id);
        self.acked = Taken::default();
    }

    /// Forgets up to where it knows the household, so that the next hello asks for a snapshot.
    pub fn forget_cursor(&mut self) {
        self.cursor = None;
    }

    /// Hands the rejected operations over and forgets them.
    pub fn take_rejected(&mut self) -> (Record, Vec<Rejected>) {
        (Record::RejectedTaken, core::mem::take(&mut self.rejected))
    }

    fn wall(&self, unix: UnixMillis) -> UnixMillis {
        unix.shifted(self.offset_ms)
    }

    fn dot(&self, timestamp: Timestamp) -> Dot {
        Dot { timestamp, replica: self.id }
    }

    /// The replica's id.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// The household, once known.
    pub fn household(&self) -> Option<&HouseholdId> {
        self.household.as_ref()
    }

    /// What the server confirmed.
    pub fn confirmed(&self) -> &Household {
        &self.confirmed
    }

    /// What waits for the server.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The last own operation that is known to be durable at the server.
    pub fn acked(&self) -> Taken {
        self.acked
    }

    /// The epoch last synced with.
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch
    }

    /// Up to where the household is known.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// From which version of the present epoch on a difference may be applied.
    pub fn base_version(&self) -> Option<u64> {
        let of_epoch = |cursor: &Cursor| Some(cursor.epoch) == self.epoch;
        self.cursor.filter(of_epoch).map(|cursor| cursor.version)
    }

    /// What earlier lives of the database confirmed and the present one has not said it has, the last
    /// [`OFFER_STATES_MAX`](crate::message::OFFER_STATES_MAX) of them.
    pub fn owed(&self) -> &[Household] {
        &self.owed
    }

    /// The number of the last session.
    pub fn session_number(&self) -> u64 {
        self.session_number
    }

    /// Server's clock minus this device's, in milliseconds, at the last handshake.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Operations that the server refused and the app has not taken.
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }
}
