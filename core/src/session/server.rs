//! One household as the server holds it: puts operations in one order, answers hellos, acknowledges,
//! and hands what is new to every other connection.
//!
//! Invariants: what an ack or update says was made durable by an output before it; a replica's newest
//! session is the only one that can still write; the version goes up by one for each delta taken and
//! never back.

mod stored;

pub use stored::{Commit, Snapshot, Stored};

use crate::clock::{Timestamp, UnixMillis, check_drift};
use crate::delta::{Context, DELTA_BYTES_MAX, Delta};
use crate::household::{Household, REPLICAS_MAX, VoidReason};
use crate::id::{EpochId, HouseholdId, ReplicaId};
use crate::message::{
    Ack, ClientFrame, CloseCode, FRAME_BYTES_MAX, Hello, ServerFrame, Taken, UPDATE_DELTAS_MAX,
    VOIDS_MAX, Welcome, read_delta,
};
use crate::replica::Cursor;
use std::collections::{BTreeMap, VecDeque};
use stored::Row;

/// Connections that one household may have at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// A snapshot is stored when this many versions came since the last one.
pub const SNAPSHOT_EVERY: u64 = 256;
/// Log entries kept for devices that return; older cursors get a snapshot.
pub const LOG_KEPT: u64 = 512;
/// Encoded bytes of one update frame during catch-up; more goes into the next frame.
const UPDATE_BYTES_AIM: usize = 64 * 1024;

/// One socket, named by whoever carries its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to a room.
#[derive(Debug)]
pub enum RoomInput {
    /// A connection said hello and its token was accepted.
    Hello {
        /// Which connection; it must be new.
        connection: ConnectionId,
        /// Its first frame.
        hello: Hello,
        /// Whether its token allows writing.
        may_write: bool,
    },
    /// A connection sent another frame.
    Frame {
        /// Which connection.
        connection: ConnectionId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// A connection is gone.
    Closed(ConnectionId),
}

/// What a room wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomOutput {
    /// Make this durable. If that fails, drop the room and all its connections and load it again.
    Persist(Commit),
    /// Send a frame.
    Send(ConnectionId, Vec<u8>),
    /// Close a connection; it needs no [`RoomInput::Closed`].
    Close(ConnectionId, CloseCode),
}

#[derive(Debug)]
struct Connection {
    replica: ReplicaId,
    may_write: bool,
    may_offer: bool,
    up: Context,
    down: Context,
    next_delta: u8,
    next_stream: u8,
}

impl Connection {
    fn number(&mut self) -> u8 {
        let number = self.next_stream;
        self.next_stream = number.wrapping_add(1);
        number
    }
}

/// The server's side of one household.
#[derive(Debug)]
pub struct Room {
    id: HouseholdId,
    epoch: EpochId,
    version: u64,
    household: Household,
    /// Deltas with their versions: without gaps, up to `version`.
    log: VecDeque<(u64, Delta)>,
    snapshot_version: u64,
    rows: BTreeMap<ReplicaId, Row>,
    connections: BTreeMap<ConnectionId, Connection>,
}

impl Room {
    /// A household that nobody has written to yet.
    pub fn create(id: HouseholdId, epoch: EpochId) -> Self {
        Self {
            id,
            epoch,
            version: 0,
            household: Household::default(),
            log: VecDeque::new(),
            snapshot_version: 0,
            rows: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    /// Takes an input and says what to do.
    pub fn handle(&mut self, now: UnixMillis, input: RoomInput) -> Vec<RoomOutput> {
        let mut outputs = Vec::new();
        let (connection, result) = match input {
            RoomInput::Hello { connection, hello, may_write } => {
                (connection, self.hello(now, connection, hello, may_write, &mut outputs))
            }
            RoomInput::Frame { connection, bytes } => {
                if !self.connections.contains_key(&connection) {
                    return outputs;
                }
                (connection, self.frame(now, connection, &bytes, &mut outputs))
            }
            RoomInput::Closed(connection) => {
                self.connections.remove(&connection);
                return outputs;
            }
        };
        if let Err(code) = result {
            self.connections.remove(&connection);
            outputs.push(RoomOutput::Close(connection, code));
        }
        outputs
    }

    fn hello(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        hello: Hello,
        may_write: bool,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let same_epoch = hello.epoch == Some(self.epoch);
        if hello.household.as_ref().is_some_and(|household| *household != self.id) {
            return Err(CloseCode::HouseholdMismatch);
        }
        let ahead = |cursor: &Cursor| cursor.epoch == self.epoch && cursor.version > self.version;
        if hello.cursor.as_ref().is_some_and(ahead) {
            // This database was put back without a new epoch. Going on would lose what devices know.
            return Err(CloseCode::StorageUnavailable);
        }
        if !self.rows.contains_key(&hello.replica) {
            if same_epoch && hello.acked > Timestamp::ZERO {
                return Err(CloseCode::StaleSession);
            }
            if self.rows.len() >= REPLICAS_MAX {
                return Err(CloseCode::Overloaded);
            }
        }
        let row = self.rows.entry(hello.replica).or_default();
        let repeated = row.session == hello.session;
        if hello.session.number <= row.session.number && !repeated {
            return Err(CloseCode::StaleSession);
        }
        row.session = hello.session;
        row.voids.retain(|stamp, _| *stamp > hello.acked);
        let voids = row.voids.iter().map(|(&stamp, &reason)| (stamp, reason)).collect();
        let digest = row.digest;
        self.replace(hello.replica, outputs);
        if self.connections.len() >= CONNECTIONS_MAX {
            return Err(CloseCode::Overloaded);
        }
        outputs.push(RoomOutput::Persist(self.commit(hello.replica)));
        let taken = Taken { through: self.household.seen().of(hello.replica), digest };
        let (household, epoch) = (self.id.clone(), self.epoch);
        let session = hello.session.number;
        let welcome = Welcome { session, household, epoch, server_time: now, taken, voids };
        outputs.push(RoomOutput::Send(id, welcome.encode()));
        let mut connection = Connection {
            replica: hello.replica,
            may_write,
            may_offer: hello.owes_offer || hello.epoch.is_some() && !same_epoch,
            up: Context::default(),
            down: Context::default(),
            next_delta: 1,
            next_stream: 1,
        };
        let known = hello.cursor.filter(|cursor| cursor.epoch == self.epoch);
        self.catch_up(id, &mut connection, known.map(|cursor| cursor.version), outputs);
        self.connections.insert(id, connection);
        Ok(())
    }

    /// Closes older connections of a replica: only its newest session may write.
    fn replace(&mut self, replica: ReplicaId, outputs: &mut Vec<RoomOutput>) {
        self.connections.retain(|&id, connection| {
            let older = connection.replica == replica;
            if older {
                outputs.push(RoomOutput::Close(id, CloseCode::Replaced));
            }
            !older
        });
    }

    /// Brings a connection from a version to ours: by the log where it reaches back and is not longer
    /// than any state, else whole.
    fn catch_up(
        &self,
        id: ConnectionId,
        connection: &mut Connection,
        known: Option<u64>,
        outputs: &mut Vec<RoomOutput>,
    ) {
        let floor = self.version - self.log.len() as u64;
        let missing_bytes = |known: u64| {
            let missing = self.log.range((known - floor) as usize..);
            missing.map(|(_, delta)| delta.bytes_bound()).sum::<usize>()
        };
        let reaches = |known: &u64| {
            (floor..=self.version).contains(known) && missing_bytes(*known) <= FRAME_BYTES_MAX
        };
        let Some(known) = known.filter(reaches) else {
            let number = connection.number();
            let frame = ServerFrame::snapshot(number, self.version, &self.household);
            outputs.push(RoomOutput::Send(id, frame));
            return;
        };
        let missing = self.log.range((known - floor) as usize..);
        let mut deltas = Vec::new();
        let (mut versions, mut bytes) = (0, 0);
        for (_, delta) in missing {
            versions += 1;
            if delta.replica != connection.replica {
                bytes += delta.bytes_bound();
                deltas.push(delta);
            }
            if bytes > UPDATE_BYTES_AIM || deltas.len() >= UPDATE_DELTAS_MAX {
                outputs.push(RoomOutput::Send(id, update(connection, versions, &deltas)));
                deltas.clear();
                (versions, bytes) = (0, 0);
            }
        }
        outputs.push(RoomOutput::Send(id, update(connection, versions, &deltas)));
    }

    fn frame(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        bytes: &[u8],
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        match ClientFrame::decode(bytes)? {
            ClientFrame::Hello(_) => Err(CloseCode::Malformed),
            ClientFrame::Ping => {
                outputs.push(RoomOutput::Send(id, ServerFrame::pong()));
                Ok(())
            }
            ClientFrame::Offer(number, state) => {
                self.expect(id, number)?;
                self.offer(now, id, *state, outputs)
            }
            ClientFrame::Delta(number, body) => {
                let connection = self.expect(id, number)?;
                let delta = read_delta(body.0, &mut connection.up, connection.replica)?;
                if delta.bytes_bound() > DELTA_BYTES_MAX {
                    return Err(CloseCode::TooLarge);
                }
                self.delta(now, id, number, delta, outputs)
            }
        }
    }

    /// The next offer or delta must have the next number.
    fn expect(&mut self, id: ConnectionId, number: u8) -> Result<&mut Connection, CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        if number != connection.next_delta {
            return Err(CloseCode::Resync);
        }
        connection.next_delta = number.wrapping_add(1);
        Ok(connection)
    }

    fn delta(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        number: u8,
        delta: Delta,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        let Delta { replica, through, operations } = delta;
        // A clock of ours that was ahead once must not lock the household out: the next stamp after
        // the highest is always good.
        let seen = self.household.seen().iter().map(|(_, through)| through.millis());
        let top = seen.max().unwrap_or_default();
        if through.millis() > top.shifted(1) {
            check_drift(now, through).map_err(|_| CloseCode::Drift)?;
        }
        let known = self.household.seen().of(replica);
        if through <= known {
            let ack = Ack { delta: number, advances: false, voids: Vec::new() };
            outputs.push(RoomOutput::Send(id, ServerFrame::ack(connection.number(), &ack)));
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
        row.digest = operations.last().map_or(0, |last| last.digest());
        let mut accepted = Vec::new();
        let mut voids = Vec::new();
        for operation in operations {
            if operation.timestamp <= known {
                continue;
            }
            let checked = match connection.may_write {
                true => self.household.check(&operation),
                false => Err(VoidReason::Forbidden),
            };
            match checked {
                Ok(()) => {
                    let (stamp, one) = (operation.timestamp, vec![operation.clone()]);
                    self.household.merge(&Delta { replica, through: stamp, operations: one });
                    accepted.push(operation);
                }
                Err(reason) => {
                    row.voids.insert(operation.timestamp, reason);
                    voids.push((operation.timestamp, reason));
                }
            }
        }
        self.household.cover(replica, through);
        let ack = Ack { delta: number, advances: true, voids };
        let ack = ServerFrame::ack(connection.number(), &ack);
        self.take(Delta { replica, through, operations: accepted }, outputs);
        outputs.push(RoomOutput::Send(id, ack));
        self.fan_out(id, outputs);
        Ok(())
    }

    /// Appends a delta to the log.
    fn take(&mut self, delta: Delta, outputs: &mut Vec<RoomOutput>) {
        let replica = delta.replica;
        self.version += 1;
        self.log.push_back((self.version, delta));
        let mut commit = self.commit(replica);
        commit.expected = self.version - 1;
        commit.entries.extend(self.log.back().map(stored::entry));
        if self.version - self.snapshot_version >= SNAPSHOT_EVERY {
            while self.log.len() as u64 > LOG_KEPT {
                self.log.pop_front();
            }
            self.snapshot_version = self.version;
            commit.snapshot = Some(self.snapshot());
        }
        outputs.push(RoomOutput::Persist(commit));
    }

    /// Sends the last log entry to every other connection.
    fn fan_out(&mut self, author: ConnectionId, outputs: &mut Vec<RoomOutput>) {
        let Some((_, delta)) = self.log.back() else {
            return;
        };
        for (&id, connection) in &mut self.connections {
            if id != author {
                outputs.push(RoomOutput::Send(id, update(connection, 1, &[delta])));
            }
        }
    }

    /// Joins a whole state that a device confirmed with an earlier life of this database.
    fn offer(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        state: Household,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        if !connection.may_offer {
            return Err(CloseCode::Malformed);
        }
        if !connection.may_write {
            return self.decline(id, outputs);
        }
        for (_, through) in state.seen().iter() {
            check_drift(now, through).map_err(|_| CloseCode::Drift)?;
        }
        let mut joined = self.household.clone();
        joined.join(state);
        if joined.check_limits().is_err() {
            return self.decline(id, outputs);
        }
        if joined == self.household {
            outputs.push(RoomOutput::Send(id, ServerFrame::offered()));
            return Ok(());
        }
        let raised = joined
            .seen()
            .iter()
            .filter(|&(replica, through)| through > self.household.seen().of(replica));
        // What the raised stamps stand for is known to their replicas only.
        let raised: Vec<ReplicaId> = raised.map(|(replica, _)| replica).collect();
        for replica in &raised {
            self.rows.entry(*replica).or_default().digest = 0;
        }
        self.household = joined;
        self.version += 1;
        self.log.clear();
        self.snapshot_version = self.version;
        outputs.push(RoomOutput::Persist(Commit {
            epoch: self.epoch,
            expected: self.version - 1,
            version: self.version,
            entries: Vec::new(),
            replicas: raised.iter().map(|replica| self.row(*replica)).collect(),
            snapshot: Some(self.snapshot()),
        }));
        outputs.push(RoomOutput::Send(id, ServerFrame::offered()));
        for (&id, connection) in &mut self.connections {
            let number = connection.number();
            let frame = ServerFrame::snapshot(number, self.version, &self.household);
            outputs.push(RoomOutput::Send(id, frame));
        }
        Ok(())
    }

    /// Ends an offer that is not taken: the device goes on with what is here.
    fn decline(
        &mut self,
        id: ConnectionId,
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        outputs.push(RoomOutput::Send(id, ServerFrame::offered()));
        let number = connection.number();
        let frame = ServerFrame::snapshot(number, self.version, &self.household);
        outputs.push(RoomOutput::Send(id, frame));
        Ok(())
    }

    /// A commit of one replica's row at the present version.
    fn commit(&self, replica: ReplicaId) -> Commit {
        Commit {
            epoch: self.epoch,
            expected: self.version,
            version: self.version,
            entries: Vec::new(),
            replicas: vec![self.row(replica)],
            snapshot: None,
        }
    }

    fn row(&self, replica: ReplicaId) -> (ReplicaId, Vec<u8>) {
        (replica, self.rows.get(&replica).map_or(Vec::new(), Row::encode))
    }

    /// The household's id.
    pub fn id(&self) -> &HouseholdId {
        &self.id
    }

    /// The epoch of its database.
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// How many deltas and offers were taken.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The state.
    pub fn household(&self) -> &Household {
        &self.household
    }

    /// How many connections said hello and are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

fn update(connection: &mut Connection, versions: u64, deltas: &[&Delta]) -> Vec<u8> {
    let number = connection.number();
    ServerFrame::update(number, versions, deltas, &mut connection.down)
}
