//! Several nodes on one store: how a room takes in what another node committed. The simulator runs it;
//! the server, which is one node, does not yet.
//!
//! Each node may have a room of the same household. The store puts their commits into one order: a
//! commit names the revision it follows and is refused when another one came first. So a room that
//! lags can be wrong about what it has not heard of, but it can never write.
//!
//! Invariant: a room that has followed the store to a revision is in the state that it would have if
//! it had made all the commits up to there itself, and has sent its connections what it would have
//! sent then.

use super::stored::Row;
use super::{Connection, Room, RoomOutput, Stored};
use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader};
use crate::delta::Delta;
use crate::household::Household;
use crate::id::ReplicaId;
use crate::operation::{Change, Operation};
use std::collections::{BTreeMap, BTreeSet};

impl Room {
    /// Takes in what other nodes committed since this room's revision. A store that is not ahead
    /// changes nothing, so it may be asked at any time; only not while a commit is on its way.
    ///
    /// `stored` may leave out what this room has: log entries up to its version, rows that did not
    /// change, and a snapshot that is not above its version.
    ///
    /// # Errors
    /// [`DecodeError`]: what is here can't be brought to what is there, as when the database is
    /// damaged or was put back. Nothing has changed; drop the room and all its connections and load
    /// it again.
    pub fn follow(&mut self, stored: &Stored) -> Result<Vec<RoomOutput>, DecodeError> {
        let mut outputs = Vec::new();
        if stored.epoch != self.epoch {
            return Err(DecodeError::invalid("epoch of the store"));
        }
        if stored.revision <= self.revision {
            return Ok(outputs);
        }
        if stored.snapshot_version > self.version {
            let reached = Self::load(self.id.clone(), stored)?;
            self.take_rows(reached.rows, &mut outputs);
            self.history = reached.history;
            self.snapshot_version = reached.snapshot_version;
            let known = self.version;
            self.reach(reached.version, reached.household);
            self.send_state(Some(known), &mut outputs);
        } else {
            let entries = stored.entries_after(self.version)?;
            self.take_rows(stored.rows()?, &mut outputs);
            for (version, delta) in entries {
                self.follow_one(version, &delta, &mut outputs);
            }
            self.trimmed_elsewhere(stored.snapshot_version);
        }
        self.revision = stored.revision;
        Ok(outputs)
    }

    /// Only a replica's newest session may write: one on another node ends those that are here.
    fn take_rows(&mut self, rows: BTreeMap<ReplicaId, Row>, outputs: &mut Vec<RoomOutput>) {
        for (replica, row) in rows {
            let before = self.rows.insert(replica, row.clone()).unwrap_or_default();
            if before.session != row.session {
                self.replace(replica, outputs);
            }
        }
    }

    /// Takes in one version and hands it on, as if it had come from a connection of this room.
    fn follow_one(&mut self, version: u64, delta: &Delta, outputs: &mut Vec<RoomOutput>) {
        self.version = version;
        let mut whole = BTreeSet::new();
        for operation in &delta.operations {
            self.apply(delta.replica, operation, &mut whole);
        }
        self.cover(delta.replica, delta.through);
        self.fan_out(None, delta, &whole, outputs);
    }

    /// Another node took a snapshot, and what it forgot then is not needed here either.
    fn trimmed_elsewhere(&mut self, snapshot_version: u64) {
        if snapshot_version > self.snapshot_version {
            self.snapshot_version = snapshot_version;
            self.trim();
        }
    }

    /// Applies an operation that is taken with the present version. `whole` collects the adds and
    /// removes that observed all that was live: others can name that themselves.
    pub(super) fn apply(
        &mut self,
        replica: ReplicaId,
        operation: &Operation,
        whole: &mut BTreeSet<Timestamp>,
    ) {
        if observes_all(&self.household, operation) {
            whole.insert(operation.timestamp);
        }
        if let Change::Add(..) = operation.change {
            let dot = Dot { timestamp: operation.timestamp, replica };
            self.added.insert(dot, self.version);
        }
        for dot in operation.observed().unwrap_or_default() {
            self.added.remove(dot);
        }
        let (through, one) = (operation.timestamp, vec![operation.clone()]);
        self.note(&Delta { replica, through, operations: one });
    }

    /// Notes with the present version that everything of a replica up to a stamp is settled.
    pub(super) fn cover(&mut self, replica: ReplicaId, through: Timestamp) {
        self.note(&Delta { replica, through, operations: Vec::new() });
    }

    fn note(&mut self, delta: &Delta) {
        self.history.note(self.version, self.household.touched_by(delta));
        self.household.merge(delta);
    }

    /// Goes to a later version by its whole state.
    pub(super) fn reach(&mut self, version: u64, household: Household) {
        self.version = version;
        for (profile, shelf) in household.profiles() {
            let known = self.household.profile(profile);
            for (content, live) in shelf.watchlist().iter() {
                let known = known.map_or(&[][..], |known| known.watchlist().dots(content));
                let new = live.iter().filter(|dot| !known.contains(dot));
                self.added.extend(new.map(|dot| (*dot, version)));
            }
        }
        self.household = household;
        self.trim_added();
    }

    /// Brings every connection that is up to date from a version to this one, as the next frame of its
    /// stream.
    pub(super) fn send_state(&mut self, known: Option<u64>, outputs: &mut Vec<RoomOutput>) {
        let mut connections = core::mem::take(&mut self.connections);
        let begun = connections.iter_mut().filter(|(_, connection)| !connection.awaits_offer);
        for (&id, Connection { next_stream, .. }) in begun {
            let frame = self.catch_up(next_stream.advance(), known);
            outputs.push(RoomOutput::Send(id, frame));
        }
        self.connections = connections;
    }
}

impl Stored {
    /// Every replica's row, read.
    pub(super) fn rows(&self) -> Result<BTreeMap<ReplicaId, Row>, DecodeError> {
        self.replicas.iter().map(|(replica, row)| Ok((*replica, Row::decode(row)?))).collect()
    }

    /// The log entries after a version, read: without a hole, and up to this version.
    pub(super) fn entries_after(&self, version: u64) -> Result<Vec<(u64, Delta)>, DecodeError> {
        let mut entries = Vec::new();
        let mut last = version;
        for (at, bytes) in self.log.iter().filter(|(at, _)| *at > version) {
            if *at != last + 1 {
                return Err(DecodeError::invalid("versions of the log"));
            }
            last = *at;
            entries.push((last, Delta::load(&mut Reader::new(bytes))?));
        }
        if last != self.version {
            return Err(DecodeError::invalid("end of the log"));
        }
        Ok(entries)
    }
}

/// Whether an operation observed every live add of its title.
fn observes_all(household: &Household, operation: &Operation) -> bool {
    let (Some(content), Some(observed)) = (operation.change.content(), operation.observed()) else {
        return false;
    };
    let shelf = household.profile(operation.profile);
    let live = shelf.map_or(&[][..], |shelf| shelf.watchlist().dots(content));
    live.iter().all(|dot| observed.contains(dot))
}
