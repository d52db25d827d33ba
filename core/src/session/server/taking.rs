//! What a delta of a device becomes: checked, taken or refused operation by operation, committed,
//! acknowledged, and handed to every other connection.

use super::{Connection, ConnectionId, Room, RoomOutput, SNAPSHOT_EVERY, stored};
use crate::causal::Dot;
use crate::clock::{Timestamp, UnixMillis, check_drift};
use crate::delta::Delta;
use crate::household::REPLICAS_MAX;
use crate::id::{ContentId, ProfileId, ReplicaId};
use crate::message::{Ack, CloseCode, ServerFrame, VOIDS_MAX};
use crate::operation::{Operation, VoidReason};
use std::collections::BTreeSet;

/// What became of the operations of a delta.
#[derive(Debug, Default)]
struct Judged {
    accepted: Vec<Operation>,
    /// Those that were refused, and why.
    voids: Vec<(Timestamp, VoidReason)>,
    /// The stamps of adds and removes that observed all that was live.
    whole: BTreeSet<Timestamp>,
}

impl Connection {
    /// The ack of a delta that leaves the household's version as it is.
    fn ack_without_version(&mut self, voids: Vec<(Timestamp, VoidReason)>) -> Vec<u8> {
        ServerFrame::ack(self.next_stream.advance(), &Ack { advances: false, voids })
    }
}

impl Room {
    /// The live adds of a title that a replica had seen at a version: its own, and those that came up to
    /// then.
    pub(super) fn seen_by(
        &self,
        replica: ReplicaId,
        profile: ProfileId,
        content: &ContentId,
        version: u64,
    ) -> Option<Vec<Dot>> {
        let live = self.household.profile(profile).map_or(&[][..], |p| p.watchlist().dots(content));
        let seen = |dot: &&Dot| {
            dot.replica == replica || self.added.get(dot).is_none_or(|added| *added <= version)
        };
        (version <= self.version).then(|| live.iter().filter(seen).copied().collect())
    }

    /// Takes a delta, or refuses it whole without a trace when its device may only read.
    pub(super) fn delta(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        delta: Delta,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        if connection.awaits_offer {
            return Err(CloseCode::Malformed);
        }
        let Delta { replica, through, operations } = delta;
        self.operations += operations.len() as u64;
        // A clock of ours that was ahead once must not lock the household out: the next stamp after
        // the highest is always good.
        let seen = self.household.seen().iter().map(|(_, through)| through.millis());
        let top = seen.max().unwrap_or_default();
        if through.millis() > top.shifted(1) {
            check_drift(now, through).map_err(|_| CloseCode::Drift)?;
        }
        let known = self.household.seen().of(replica);
        if through <= known {
            outputs.push(RoomOutput::Send(id, connection.ack_without_version(Vec::new())));
            return Ok(());
        }
        if !connection.may_write {
            // Refused without a trace: nobody else hears of it, so nothing needs to be kept.
            let new = operations.iter().filter(|operation| operation.timestamp > known);
            let void = |operation: &Operation| (operation.timestamp, VoidReason::Forbidden);
            let voids: Vec<_> = new.map(void).collect();
            self.tally.refused[VoidReason::Forbidden as usize] += voids.len() as u64;
            outputs.push(RoomOutput::Send(id, connection.ack_without_version(voids)));
            return Ok(());
        }
        if known == Timestamp::ZERO && self.household.seen().len() >= REPLICAS_MAX {
            return Err(CloseCode::Overloaded);
        }
        let row = self.rows.entry(replica).or_default();
        if row.voids.len() + operations.len() > VOIDS_MAX {
            // The next hello says which refusals arrived, and makes room.
            return Err(CloseCode::Overloaded);
        }
        let number = connection.next_stream.advance();
        self.version += 1;
        let Judged { accepted, voids, whole } = self.judge(replica, known, operations);
        self.cover(replica, through);
        self.tally.operations += accepted.len() as u64;
        let ack = Ack { advances: true, voids };
        let delta = Delta { replica, through, operations: accepted };
        self.take(&delta, outputs);
        outputs.push(RoomOutput::Send(id, ServerFrame::ack(number, &ack)));
        self.fan_out(Some(id), &delta, &whole, outputs);
        Ok(())
    }

    /// Applies what the household takes of operations above what it had seen of their author, and notes the
    /// rest as void.
    fn judge(
        &mut self,
        replica: ReplicaId,
        known: Timestamp,
        operations: Vec<Operation>,
    ) -> Judged {
        let mut judged = Judged::default();
        for operation in operations {
            if operation.timestamp <= known {
                continue;
            }
            let row = self.rows.entry(replica).or_default();
            if row.digest != 0 || known == Timestamp::ZERO {
                row.digest = operation.digest(row.digest);
            }
            match self.household.check_within(&operation, self.settings.entries_max) {
                Ok(()) => {
                    self.apply(replica, &operation, &mut judged.whole);
                    judged.accepted.push(operation);
                }
                Err(reason) => {
                    row.voids.insert(operation.timestamp, reason);
                    judged.voids.push((operation.timestamp, reason));
                    self.tally.refused[reason as usize] += 1;
                }
            }
        }
        judged
    }

    /// Commits the delta that became this version.
    pub(super) fn take(&mut self, delta: &Delta, outputs: &mut Vec<RoomOutput>) {
        let mut commit = self.commit(&[delta.replica]);
        commit.entries.push(stored::entry(self.version, delta));
        if self.version - self.snapshot_version >= SNAPSHOT_EVERY {
            self.trim();
            self.snapshot_version = self.version;
            commit.snapshot = Some(self.snapshot());
        }
        outputs.push(RoomOutput::Persist(commit));
    }

    /// Forgets the oldest keys that are gone, and with them who knows the household from then.
    pub(super) fn trim(&mut self) {
        self.history.trim(&self.household);
        self.trim_added();
    }

    /// Forgets adds that went with their profile.
    pub(super) fn trim_added(&mut self) {
        let shelves = self.household.profiles().map(|(_, shelf)| shelf.watchlist());
        let live: BTreeSet<Dot> = shelves
            .flat_map(|list| list.iter().flat_map(|(_, dots)| dots.iter().copied()))
            .collect();
        self.added.retain(|dot, _| live.contains(dot));
    }

    /// Sends a delta that became the last version to every connection but its author's.
    pub(super) fn fan_out(
        &mut self,
        author: Option<ConnectionId>,
        delta: &Delta,
        whole: &BTreeSet<Timestamp>,
        outputs: &mut Vec<RoomOutput>,
    ) {
        for (&id, connection) in &mut self.connections {
            if Some(id) != author && !connection.awaits_offer {
                let number = connection.next_stream.advance();
                let live =
                    &mut |operation: &Operation| whole.contains(&operation.timestamp).then_some(0);
                let frame = ServerFrame::update(number, delta, &mut connection.down, live);
                outputs.push(RoomOutput::Send(id, frame));
            }
        }
    }
}
