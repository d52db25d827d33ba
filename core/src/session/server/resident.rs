//! The room's own replica: it writes for clients that do not run this core, such as a program that
//! speaks REST.
//!
//! Its id follows from the household's epoch, so it needs no place of its own in the store, and a
//! restored backup, which begins an epoch, begins a replica too. It has no sessions: all it knows is
//! the room's state, and no other connection may use its id. Invariant: its stamps ascend. The next
//! one is above the last one in the state; a room whose commit fails, for instance because another
//! node has written in between, is loaded again before anything it wrote has been told to anyone.

use super::{Room, RoomOutput};
use crate::causal::Dot;
use crate::clock::{Clock, DRIFT_MAX_MS, Timestamp, UnixMillis, check_drift};
use crate::delta::Delta;
use crate::household::REPLICAS_MAX;
use crate::id::{ContentId, ProfileId, ReplicaId};
use crate::operation::{
    Change, DeviceRecord, Intent, OBSERVED_MAX, Operation, PROFILE_NAME_BYTES_MAX, VoidReason,
};
use std::collections::BTreeSet;
use thiserror::Error;

/// What became of an intent that the room's own replica carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The operation's stamp.
    pub timestamp: Timestamp,
    /// To be carried out in their order; only then the author may be told.
    pub outputs: Vec<RoomOutput>,
}

/// Why an intent is not carried out. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The household does not take it.
    #[error("the household does not take it: {}", .0.code())]
    Void(VoidReason),
    /// What is to be taken away is not there.
    #[error("it is not there")]
    NotThere,
    /// A name has no valid length, or a device's record is none.
    #[error("a name or record is not valid")]
    Invalid,
    /// Something later is there.
    #[error("something later is there")]
    Superseded,
    /// Its time is more than [`DRIFT_MAX_MS`] ahead.
    #[error("its time is more than {DRIFT_MAX_MS} ms ahead")]
    Ahead,
}

impl Room {
    /// The id of the room's own replica.
    pub fn resident(&self) -> ReplicaId {
        ReplicaId(!self.epoch.0)
    }

    /// Carries out what somebody wants who has seen all that is here. `at`: when they wanted it, if
    /// that was earlier. What is here and later than that wins over it; what is still on its way from
    /// a device that was offline wins over it when it is also later than the last write of this room.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn write(
        &mut self,
        now: UnixMillis,
        intent: Intent,
        at: Option<Timestamp>,
    ) -> Result<Written, Refusal> {
        let replica = self.resident();
        let known = self.rows.contains_key(&replica);
        let seen = self.household.seen();
        let full = seen.of(replica) == Timestamp::ZERO && seen.len() >= REPLICAS_MAX;
        if full || !known && self.rows.len() >= REPLICAS_MAX {
            return Err(Refusal::Void(VoidReason::HouseholdFull));
        }
        let timestamp = self.stamp(now, at)?;
        let wanted = at.map_or(timestamp, |at| at.min(timestamp));
        let operation = self.operation(timestamp, wanted, intent)?;
        self.household.check_within(&operation, self.settings.entries_max).map_err(|reason| {
            self.tally.refused[reason as usize] += 1;
            Refusal::Void(reason)
        })?;
        self.rows.entry(replica).or_default();
        let mut whole = BTreeSet::new();
        self.version += 1;
        self.apply(replica, &operation, &mut whole);
        let delta = Delta { replica, through: timestamp, operations: vec![operation] };
        let mut outputs = Vec::new();
        self.tally.operations += 1;
        self.take(&delta, &mut outputs);
        self.fan_out(None, &delta, &whole, &mut outputs);
        Ok(Written { timestamp, outputs })
    }

    /// A stamp above the replica's last one: above everything here, unless a time is given.
    fn stamp(&self, now: UnixMillis, at: Option<Timestamp>) -> Result<Timestamp, Refusal> {
        let Some(at) = at else {
            let last = self.household.seen().iter().map(|(_, through)| through).max();
            return Ok(Clock::after(last.unwrap_or_default()).tick(now));
        };
        check_drift(now, at).map_err(|_| Refusal::Ahead)?;
        let latest = Timestamp::new(now, u16::MAX);
        let own = self.household.seen().of(self.resident());
        Ok(own.next().max(at.min(latest)))
    }

    /// The operation with this stamp of what was `wanted` then.
    fn operation(
        &self,
        timestamp: Timestamp,
        wanted: Timestamp,
        intent: Intent,
    ) -> Result<Operation, Refusal> {
        let (profile, change) = match intent {
            Intent::Add(profile, content) => {
                let observed = self.live(profile, &content);
                (profile, Change::Add(content, observed))
            }
            Intent::Remove(profile, content) => {
                let observed = self.live(profile, &content);
                if observed.is_empty() && self.household.profile(profile).is_some() {
                    return Err(Refusal::NotThere);
                }
                (profile, Change::Remove(content, observed))
            }
            Intent::Progress(profile, content, value) => {
                let dot = Dot { timestamp, replica: self.resident() };
                let shelf = self.household.profile(profile);
                let register = shelf.and_then(|shelf| shelf.progress().get(&content));
                let later = |other: Dot| other >= dot || other.timestamp.millis() > wanted.millis();
                if register.is_some_and(|register| later(register.dot)) {
                    return Err(Refusal::Superseded);
                }
                if value.is_none() && register.is_none_or(|register| register.value.is_none()) {
                    return Err(Refusal::NotThere);
                }
                (profile, Change::Progress(content, value))
            }
            Intent::NameProfile(profile, name) => {
                if !(1..=PROFILE_NAME_BYTES_MAX).contains(&name.len()) {
                    return Err(Refusal::Invalid);
                }
                (profile, Change::NameProfile(name))
            }
            Intent::DeleteProfile(profile) => (profile, Change::DeleteProfile),
            Intent::DescribeDevice(device, record) => {
                let register = self.household.devices().get(&device);
                if record.is_none() && register.is_none_or(|register| register.value.is_none()) {
                    return Err(Refusal::NotThere);
                }
                if !record.as_ref().is_none_or(DeviceRecord::is_valid) {
                    return Err(Refusal::Invalid);
                }
                (ProfileId::DEFAULT, Change::Device(device, record))
            }
        };
        Ok(Operation { timestamp, profile, change })
    }

    /// The live adds of a title, as many as one operation can name.
    fn live(&self, profile: ProfileId, content: &ContentId) -> Vec<Dot> {
        let shelf = self.household.profile(profile);
        let live = shelf.map_or(&[][..], |shelf| shelf.watchlist().dots(content));
        live.iter().take(OBSERVED_MAX).copied().collect()
    }
}
