//! One household as the server holds it: puts operations in one order, answers hellos, acknowledges,
//! and hands what is new to every other connection.
//!
//! Invariants: what an ack or update says was made durable by an output before it; a replica's newest
//! session is the only one that can still write; the version goes up by one for each delta taken and
//! never back. The store's revision goes up with each commit, hellos included, and a commit that does
//! not follow the last one is refused: all of that holds with any number of nodes on one store.

mod exchange;
mod follow;
pub mod relay;
mod resident;
mod stored;
mod tally;

pub use resident::{Refusal, Written};
pub use stored::{Commit, Snapshot, Stored};
pub use tally::RoomTally;

use super::metrics::plain_bytes;
use crate::causal::Dot;
use crate::clock::{Timestamp, UnixMillis, check_drift};
use crate::delta::{Context, DELTA_BYTES_MAX, Delta};
use crate::household::{ENTRIES_MAX, History, Household, REPLICAS_MAX, TOUCHED_MAX};
use crate::id::{ContentId, EpochId, HouseholdId, ProfileId, ReplicaId};
use crate::message::{
    Ack, Body, ClientFrame, CloseCode, FrameNumber, Hello, ServerFrame, Taken, VOIDS_MAX, Welcome,
    read_delta, read_offer,
};
use crate::operation::{Operation, VoidReason};
use std::collections::{BTreeMap, BTreeSet};
use stored::Row;

/// Connections that one household may have at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// A snapshot is stored when this many versions came since the last one.
pub const SNAPSHOT_EVERY: u64 = 256;
/// One socket, named by whoever carries its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to a room.
#[derive(Debug)]
pub enum RoomInput {
    /// A connection said hello and its token was accepted. When the store has several nodes, let the
    /// room [follow](Room::follow) it first: it must know whatever the device may know.
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
    /// Make this durable. If that fails or is refused, drop the room, what it wanted done after this,
    /// and all its connections, and load it again.
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
    /// Its replica owes an offer: that comes before its deltas and before anything goes to it.
    awaits_offer: bool,
    /// Up to where its hello knew this household.
    known: Option<u64>,
    up: Context,
    down: Context,
    next_delta: FrameNumber,
    next_stream: FrameNumber,
}

/// The server's side of one household.
#[derive(Debug)]
pub struct Room {
    id: HouseholdId,
    epoch: EpochId,
    /// Of the last commit.
    revision: u64,
    version: u64,
    household: Household,
    /// What each version touched.
    history: History,
    /// At which version each live add came, as far as a connection may not have seen it.
    added: BTreeMap<Dot, u64>,
    snapshot_version: u64,
    rows: BTreeMap<ReplicaId, Row>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Whether devices catch up by what changed, where they can.
    differences: bool,
    /// What was done since it was loaded.
    tally: RoomTally,
    /// Live adds and progress entries that it may have.
    entries_max: usize,
    /// How many operations came since it was loaded, taken or not.
    operations: u64,
    /// Of a household that was erased, the marks of the epochs that it had since then and has no more.
    lives: Option<BTreeSet<u32>>,
}

impl Room {
    /// A household that nobody has written to yet.
    pub fn create(id: HouseholdId, epoch: EpochId) -> Self {
        Self {
            id,
            epoch,
            revision: 0,
            version: 0,
            household: Household::default(),
            history: History::default(),
            added: BTreeMap::new(),
            snapshot_version: 0,
            rows: BTreeMap::new(),
            connections: BTreeMap::new(),
            differences: true,
            tally: RoomTally::default(),
            entries_max: ENTRIES_MAX,
            operations: 0,
            lives: None,
        }
    }

    /// Whether devices that return get what changed; if not, they always get the whole state.
    pub fn set_differences(&mut self, differences: bool) {
        self.differences = differences;
    }

    /// The household was erased once, and had these epochs since then: a device that knows another one
    /// must forget its copy instead of bringing it back.
    pub fn remember_erasure(&mut self, lives: &[EpochId]) {
        self.lives = Some(lives.iter().map(|epoch| epoch.mark()).collect());
    }

    /// How many live adds and progress entries it may have, if fewer than [`ENTRIES_MAX`]. What is there
    /// already stays.
    pub fn set_entries_max(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
    }

    /// How many operations its connections have sent since it was loaded, taken or not.
    pub fn operations(&self) -> u64 {
        self.operations
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
        let same_epoch = hello.epoch == Some(self.epoch.mark());
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
        let known = hello.cursor.filter(|_| same_epoch);
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
        if self.connections.len() >= CONNECTIONS_MAX {
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
    fn replace(&mut self, replica: ReplicaId, outputs: &mut Vec<RoomOutput>) {
        self.connections.retain(|&id, connection| {
            let older = connection.replica == replica;
            if older {
                outputs.push(RoomOutput::Close(id, CloseCode::Replaced));
            }
            !older
        });
    }

    /// Brings a connection from a version to ours: by what was touched since, else by the whole state.
    fn catch_up(&self, number: FrameNumber, known: Option<u64>) -> Vec<u8> {
        let reached = known.filter(|&known| self.differences && known >= self.history.floor());
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

    fn frame(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        bytes: &[u8],
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        match ClientFrame::decode(bytes)? {
            ClientFrame::Hello(_) => Err(CloseCode::Malformed),
            // For the relay: they say nothing of the household.
            ClientFrame::Command(_) | ClientFrame::Watch | ClientFrame::Reply(..) => {
                Err(CloseCode::Malformed)
            }
            ClientFrame::Ping => {
                outputs.push(RoomOutput::Send(id, ServerFrame::pong()));
                Ok(())
            }
            ClientFrame::Offer(number, body) => {
                self.expect(id, number)?;
                self.offer(now, id, body, outputs)
            }
            ClientFrame::Delta(number, body) => {
                let (replica, mut up) = {
                    let connection = self.expect(id, number)?;
                    (connection.replica, core::mem::take(&mut connection.up))
                };
                let live = |profile, content: &ContentId, version| {
                    self.seen_by(replica, profile, content, version)
                };
                let delta = read_delta(body.0, &mut up, replica, &live)?;
                self.connections.get_mut(&id).ok_or(CloseCode::Resync)?.up = up;
                if delta.bytes_bound() > DELTA_BYTES_MAX {
                    return Err(CloseCode::TooLarge);
                }
                self.tally.delta_bytes += bytes.len() as u64;
                self.tally.plain_bytes += delta.operations.iter().map(plain_bytes).sum::<u64>();
                self.delta(now, id, delta, outputs)
            }
        }
    }

    /// The live adds of a title that a replica had seen at a version: its own, and those that came up to
    /// then.
    fn seen_by(
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

    /// The next offer or delta must have the next number.
    fn expect(
        &mut self,
        id: ConnectionId,
        number: FrameNumber,
    ) -> Result<&mut Connection, CloseCode> {
        let connection = self.connections.get_mut(&id).ok_or(CloseCode::Resync)?;
        if number != connection.next_delta.advance() {
            return Err(CloseCode::Resync);
        }
        Ok(connection)
    }

    fn delta(
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
            let ack = Ack { advances: false, voids: Vec::new() };
            let frame = ServerFrame::ack(connection.next_stream.advance(), &ack);
            outputs.push(RoomOutput::Send(id, frame));
            return Ok(());
        }
        if !connection.may_write {
            // Refused without a trace: nobody else hears of it, so nothing needs to be kept.
            let new = operations.iter().filter(|operation| operation.timestamp > known);
            let void = |operation: &Operation| (operation.timestamp, VoidReason::Forbidden);
            let voids: Vec<_> = new.map(void).collect();
            self.tally.refused[VoidReason::Forbidden as usize] += voids.len() as u64;
            let ack = Ack { advances: false, voids };
            let frame = ServerFrame::ack(connection.next_stream.advance(), &ack);
            outputs.push(RoomOutput::Send(id, frame));
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
        let mut accepted = Vec::new();
        let mut voids = Vec::new();
        let number = connection.next_stream.advance();
        let mut whole = BTreeSet::new();
        self.version += 1;
        for operation in operations {
            if operation.timestamp <= known {
                continue;
            }
            let row = self.rows.entry(replica).or_default();
            if row.digest != 0 || known == Timestamp::ZERO {
                row.digest = operation.digest(row.digest);
            }
            match self.household.check_within(&operation, self.entries_max) {
                Ok(()) => {
                    self.apply(replica, &operation, &mut whole);
                    accepted.push(operation);
                }
                Err(reason) => {
                    row.voids.insert(operation.timestamp, reason);
                    voids.push((operation.timestamp, reason));
                    self.tally.refused[reason as usize] += 1;
                }
            }
        }
        self.cover(replica, through);
        self.tally.operations += accepted.len() as u64;
        let ack = Ack { advances: true, voids };
        let delta = Delta { replica, through, operations: accepted };
        self.take(&delta, outputs);
        outputs.push(RoomOutput::Send(id, ServerFrame::ack(number, &ack)));
        self.fan_out(Some(id), &delta, &whole, outputs);
        Ok(())
    }

    /// Commits the delta that became this version.
    fn take(&mut self, delta: &Delta, outputs: &mut Vec<RoomOutput>) {
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
    fn trim(&mut self) {
        self.history.trim(&self.household);
        self.trim_added();
    }

    /// Forgets adds that went with their profile.
    fn trim_added(&mut self) {
        let shelves = self.household.profiles().map(|(_, shelf)| shelf.watchlist());
        let live: BTreeSet<Dot> = shelves
            .flat_map(|list| list.iter().flat_map(|(_, dots)| dots.iter().copied()))
            .collect();
        self.added.retain(|dot, _| live.contains(dot));
    }

    /// Sends a delta that became the last version to every connection but its author's.
    fn fan_out(
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

    /// Takes what a device confirmed with an earlier life of this database, and brings it up to date.
    /// Who may only read goes on owing it.
    fn offer(
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

    /// The next commit: these replicas' rows at the present version.
    fn commit(&mut self, replicas: &[ReplicaId]) -> Commit {
        let follows = self.revision;
        self.revision += 1;
        Commit {
            epoch: self.epoch,
            follows,
            revision: self.revision,
            version: self.version,
            entries: Vec::new(),
            replicas: replicas.iter().map(|replica| self.row(*replica)).collect(),
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

    /// What it did since this was asked last.
    pub fn take_tally(&mut self) -> RoomTally {
        core::mem::take(&mut self.tally)
    }

    /// What each version touched last.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The epoch of its database.
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// How many commits there were, those of other nodes included. When the store's is higher, let
    /// the room [follow](Room::follow).
    pub fn revision(&self) -> u64 {
        self.revision
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
