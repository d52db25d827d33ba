//! One household as the server holds it: puts operations in one order, answers hellos, acknowledges,
//! and hands what is new to every other connection.
//!
//! Invariants: what an ack or update says was made durable by an output before it; a replica's newest
//! session is the only one that can still write; the version goes up by one for each delta taken and
//! never back. The store's revision goes up with each commit, hellos included, and a commit that does
//! not follow the last one is refused: all of that holds with any number of nodes on one store.

mod exchange;
mod follow;
mod handshake;
pub mod relay;
mod resident;
mod state;
mod stored;
mod taking;
mod tally;

pub use resident::{Refusal, Written};
pub use stored::{Commit, Snapshot, Stored};
pub use tally::RoomTally;

use super::metrics::plain_bytes;
use crate::causal::Dot;
use crate::clock::UnixMillis;
use crate::delta::{Context, DELTA_BYTES_MAX};
use crate::household::{ENTRIES_MAX, History, Household};
use crate::id::{ContentId, EpochId, HouseholdId, ReplicaId};
use crate::message::{ClientFrame, CloseCode, FrameNumber, Hello, ServerFrame, read_delta};
use std::collections::{BTreeMap, BTreeSet};
use stored::Row;

/// Connections that one household may have at a time.
pub const ROOM_CONNECTIONS_MAX: usize = 64;
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
        /// The connection that it came on.
        connection: ConnectionId,
        /// The whole frame, its tag included.
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

/// What whoever runs the server may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSettings {
    /// Whether devices that return get what changed, where they can; if not, always the whole state.
    pub differences: bool,
    /// How many live adds and progress entries the household may have, if fewer than [`ENTRIES_MAX`]. What
    /// is there already stays.
    pub entries_max: usize,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { differences: true, entries_max: ENTRIES_MAX }
    }
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
    settings: RoomSettings,
    /// What was done since it was loaded.
    tally: RoomTally,
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
            settings: RoomSettings::default(),
            tally: RoomTally::default(),
            operations: 0,
            lives: None,
        }
    }

    /// What whoever runs the server has set; until then the defaults hold.
    pub fn set(&mut self, settings: RoomSettings) {
        self.settings = settings;
    }

    /// The household was erased once, and had these epochs since then: a device that knows another one
    /// must forget its copy instead of bringing it back.
    pub fn remember_erasure(&mut self, lives: &[EpochId]) {
        self.lives = Some(lives.iter().map(|epoch| epoch.mark()).collect());
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

    /// The household as it is in memory.
    pub fn household(&self) -> &Household {
        &self.household
    }

    /// How many connections said hello and are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}
