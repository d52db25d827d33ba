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
use super::{Room, RoomOutput, Stored};
use crate::codec::DecodeError;
use crate::delta::Delta;
use crate::id::ReplicaId;
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
}
