//! How a connection begins: hello, welcome, what it is owed, and the state that brings it up to date.
//!
//! Invariant: the session is durable before its welcome leaves; of a replica's sessions only the newest
//! may write.

use super::{Connection, ConnectionId, ROOM_CONNECTIONS_MAX, Room, RoomOutput};
use crate::clock::{Timestamp, UnixMillis, check_drift};
use crate::delta::Context;
use crate::household::{History, Household, REPLICAS_MAX, TOUCHED_MAX};
use crate::id::ReplicaId;
use crate::message::{
    Body, CloseCode, FrameNumber, Hello, ServerFrame, Taken, Welcome, read_offer,
};

impl Room {
    /// Opens a session, unless its replica has a newer one or claims what can't be.
    pub(super) fn hello(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        hello: Hello,
        may_write: bool,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let same_epoch = hello.epoch == Some(self.epoch.mark());
        let known = hello.cursor.filter(|_| same_epoch);
        self.admit(&hello, same_epoch, known)?;
        let row = self.rows.entry(hello.replica).or_default();
        let repeated = row.session == hello.session;
        if hello.session.number <= row.session.number && !repeated {
            return Err(CloseCode::StaleSession);
        }
        row.session = hello.session;
        let through = self.household.seen().of(hello.replica);
        let known_taken = match hello.acked {
            Some(digest) => digest != 0 && digest == row.digest,
            None => through == Timestamp::ZERO,
        };
        let known_taken = known_taken && same_epoch;
        if known_taken {
            row.voids.clear();
        }
        let voids = row.voids.iter().map(|(&stamp, &reason)| (stamp, reason)).collect();
        let taken = Taken { through, digest: row.digest };
        self.replace(hello.replica, outputs);
        if self.connections.len() >= ROOM_CONNECTIONS_MAX {
            return Err(CloseCode::Overloaded);
        }
        let commit = self.commit(&[hello.replica]);
        outputs.push(RoomOutput::Persist(commit));
        let welcome = Welcome {
            session: hello.session.number as u8,
            household: hello.household.is_none().then(|| self.id.clone()),
            epoch: (!same_epoch).then_some(self.epoch),
            server_time: now,
            taken: (!known_taken).then_some(taken),
            voids,
        };
        outputs.push(RoomOutput::Send(id, welcome.encode()));
        let connection = Connection {
            replica: hello.replica,
            may_write,
            awaits_offer: hello.owes_offer || hello.epoch.is_some() && !same_epoch,
            known,
            up: Context::starting(now),
            down: Context::starting(now),
            next_delta: FrameNumber::FIRST,
            next_stream: FrameNumber::FIRST,
        };
        let awaits_offer = connection.awaits_offer;
        self.connections.insert(id, connection);
        if awaits_offer { Ok(()) } else { self.begin(id, outputs) }
    }

    /// Whether what a hello claims to know can be, and the household has room for its replica.
    fn admit(&self, hello: &Hello, same_epoch: bool, known: Option<u64>) -> Result<(), CloseCode> {
        if hello.household.is_some_and(|mark| mark != self.id.mark()) {
            return Err(CloseCode::HouseholdMismatch);
        }
        let erased = |mark| self.lives.as_ref().is_some_and(|lives| !lives.contains(&mark));
        if !same_epoch && hello.epoch.is_some_and(erased) {
            return Err(CloseCode::Erased);
        }
        if hello.replica == self.resident() {
            // Nobody else may use the room's own id: whoever drew it by chance draws another.
            return Err(CloseCode::StaleSession);
        }
        if known.is_some_and(|version| version > self.version) {
            // This database was put back without a new epoch. Going on would lose what devices know.
            return Err(CloseCode::StorageUnavailable);
        }
        if !self.rows.contains_key(&hello.replica) {
            if same_epoch && hello.acked.is_some() {
                return Err(CloseCode::StaleSession);
            }
            if self.rows.len() >= REPLICAS_MAX {
                return Err(CloseCode::Overloaded);
            }
        }
        Ok(())
    }

    /// Brings a connection up to date, the first thing after its welcome and its offer.
    fn begin(&mut self, id: ConnectionId, outputs: &mut Vec<RoomOutput>) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        connection.up.begin_at(self.version);
        let (number, known) = (connection.next_stream.advance(), connection.known);
        let frame = self.catch_up(number, known);
        self.tally.caught_up(&frame);
        outputs.push(RoomOutput::Send(id, frame));
        Ok(())
    }

    /// Closes older connections of a replica: only its newest session may write.
    pub(super) fn replace(&mut self, replica: ReplicaId, outputs: &mut Vec<RoomOutput>) {
        self.connections.retain(|&id, connection| {
            let older = connection.replica == replica;
            if older {
                outputs.push(RoomOutput::Close(id, CloseCode::Replaced));
            }
            !older
        });
    }

    /// Brings a connection from a version to ours: by what was touched since, else by the whole state.
    pub(super) fn catch_up(&self, number: FrameNumber, known: Option<u64>) -> Vec<u8> {
        let reached =
            known.filter(|&known| self.settings.differences && known >= self.history.floor());
        let touched = reached.map(|known| (known, self.history.since(known)));
        match touched.filter(|(_, touched)| touched.len() <= TOUCHED_MAX) {
            None => ServerFrame::snapshot(number, self.version, &self.household),
            Some((known, touched)) => {
                ServerFrame::difference(number, self.version - known, |writer| {
                    self.household.encode_difference(writer, &touched);
                })
            }
        }
    }

    /// Takes what a device confirmed with an earlier life of this database, and brings it up to date.
    /// Who may only read goes on owing it.
    pub(super) fn offer(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        body: Body,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        if !connection.awaits_offer {
            return Err(CloseCode::Malformed);
        }
        if connection.may_write {
            self.join(now, read_offer(&body)?, outputs)?;
            outputs.push(RoomOutput::Send(id, ServerFrame::offered()));
        }
        self.connections.get_mut(&id).ok_or(CloseCode::Resync)?.awaits_offer = false;
        self.begin(id, outputs)
    }

    /// Joins what was offered, but for each state that the limits of the household forbid.
    fn join(
        &mut self,
        now: UnixMillis,
        states: Vec<Household>,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        for (_, through) in states.iter().flat_map(|state| state.seen().iter()) {
            check_drift(now, through).map_err(|_| CloseCode::Drift)?;
        }
        let mut joined = self.household.clone();
        joined.join_within_limits(states);
        if joined == self.household {
            return Ok(());
        }
        let raised = joined
            .seen()
            .iter()
            .filter(|&(replica, through)| through > self.household.seen().of(replica));
        // What the raised stamps stand for is known to their replicas only, and stays unknown here.
        let raised: Vec<ReplicaId> = raised.map(|(replica, _)| replica).collect();
        for replica in &raised {
            self.rows.entry(*replica).or_default().digest = 0;
        }
        self.reach(self.version + 1, joined);
        self.history = History::new(self.version);
        self.snapshot_version = self.version;
        let mut commit = self.commit(&raised);
        commit.snapshot = Some(self.snapshot());
        outputs.push(RoomOutput::Persist(commit));
        self.send_state(None, outputs);
        Ok(())
    }
}
