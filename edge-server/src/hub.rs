//! Finds or starts the room of a household, and lets idle rooms go.
//!
//! Invariants: a household has at most one room on this node; a room that was told of a connection
//! either serves it or closes it with a code. Both rest on one rule: a room is joined, and leaves
//! the map, under the same lock.

use crate::limits::{INBOX_BYTES_MAX, Limits};
use crate::outbox::Outbox;
use crate::room;
use crate::store::Store;
use axum::body::Bytes;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::message::{CloseCode, Hello};
use omega_sync_core::session::server::ConnectionId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Counted for each frame on top of its bytes, for what else it takes in memory.
const FRAME_BYTES_MIN: usize = 128;

/// What a room is told. The queue has no length limit of its own: a connection says one `Join` and
/// one `Leave`, and each frame holds a share of the room's inbox, which is bounded in bytes.
pub(crate) enum RoomMessage {
    /// A connection said hello.
    Join {
        /// Which.
        connection: ConnectionId,
        /// What it said.
        hello: Hello,
        /// Whether its token allows writing.
        may_write: bool,
        /// Where its frames go.
        outbox: Outbox,
    },
    /// A connection sent a frame.
    Frame {
        /// Which.
        connection: ConnectionId,
        /// What it sent.
        bytes: Bytes,
        /// Its share of the inbox, given back when the frame is dealt with.
        share: OwnedSemaphorePermit,
    },
    /// A connection is gone.
    Leave(ConnectionId),
    /// The server stops.
    Stop,
}

#[derive(Clone)]
struct Entry {
    number: u64,
    inbox: mpsc::UnboundedSender<RoomMessage>,
    shares: Arc<Semaphore>,
}

#[derive(Default)]
struct Rooms {
    entries: HashMap<HouseholdId, Entry>,
    stopping: bool,
}

/// All rooms of this node.
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    limits: Limits,
    rooms: Mutex<Rooms>,
    live: watch::Sender<usize>,
    numbers: AtomicU64,
}

impl Hub {
    /// No rooms yet.
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            store,
            limits,
            rooms: Mutex::default(),
            live: watch::Sender::new(0),
            numbers: AtomicU64::new(1),
        })
    }

    /// Hands a connection to its household's room, which is started if there is none.
    pub(crate) fn join(
        self: &Arc<Self>,
        household: &HouseholdId,
        hello: Hello,
        may_write: bool,
        outbox: Outbox,
    ) -> Result<Membership, CloseCode> {
        let connection = ConnectionId(self.number());
        let mut rooms = self.rooms();
        if rooms.stopping {
            return Err(CloseCode::Restart);
        }
        let entry = match rooms.entries.get(household) {
            Some(entry) if !entry.inbox.is_closed() => entry.clone(),
            _ if rooms.entries.len() >= self.limits.rooms_max => {
                return Err(CloseCode::Overloaded);
            }
            _ => {
                let entry = self.start(household);
                rooms.entries.insert(household.clone(), entry.clone());
                self.live.send_replace(rooms.entries.len());
                entry
            }
        };
        let join = RoomMessage::Join { connection, hello, may_write, outbox };
        // A room that fails in this moment drops the outbox, which closes the socket.
        let _ = entry.inbox.send(join);
        Ok(Membership { connection, inbox: entry.inbox, shares: entry.shares })
    }

    fn start(self: &Arc<Self>, household: &HouseholdId) -> Entry {
        let number = self.number();
        let (inbox, messages) = mpsc::unbounded_channel();
        let seat = Seat { hub: self.clone(), household: household.clone(), number };
        tokio::spawn(room::run(seat, messages));
        Entry { number, inbox, shares: Arc::new(Semaphore::new(INBOX_BYTES_MAX)) }
    }

    /// Refuses new connections, closes all there are, and waits until every room has ended.
    pub(crate) async fn stop(&self) {
        {
            let mut rooms = self.rooms();
            rooms.stopping = true;
            for entry in rooms.entries.values() {
                let _ = entry.inbox.send(RoomMessage::Stop);
            }
        }
        let _ = self.live().wait_for(|live| *live == 0).await;
    }

    /// How many rooms there are.
    pub(crate) fn live(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room's place in the hub; leaving is what dropping it does, after a panic too.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    household: HouseholdId,
    number: u64,
}

impl Seat {
    pub(crate) fn household(&self) -> &HouseholdId {
        &self.household
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.hub.store
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.hub.limits
    }

    /// Leaves if nobody has joined meanwhile; true when it has left.
    pub(crate) fn retire(&self, inbox: &mpsc::UnboundedReceiver<RoomMessage>) -> bool {
        let rooms = self.hub.rooms();
        if !inbox.is_empty() {
            return false;
        }
        self.remove(rooms);
        true
    }

    /// Leaves: from here on a new connection gets a new room.
    pub(crate) fn leave(&self) {
        self.remove(self.hub.rooms());
    }

    fn remove(&self, mut rooms: MutexGuard<'_, Rooms>) {
        let own = rooms.entries.get(&self.household).is_some_and(|e| e.number == self.number);
        if own {
            rooms.entries.remove(&self.household);
            self.hub.live.send_replace(rooms.entries.len());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The room is gone; its outbox says why.
#[derive(Debug)]
pub(crate) struct RoomGone;

/// A connection's place in a room; leaving is what dropping it does.
pub(crate) struct Membership {
    connection: ConnectionId,
    inbox: mpsc::UnboundedSender<RoomMessage>,
    shares: Arc<Semaphore>,
}

impl Membership {
    /// Gives the room a frame, when there is space in its inbox.
    pub(crate) async fn deliver(&self, bytes: Bytes) -> Result<(), RoomGone> {
        let size = (bytes.len() + FRAME_BYTES_MIN).min(INBOX_BYTES_MAX);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let shares = self.shares.clone();
        let share = shares.acquire_many_owned(size).await.map_err(|_| RoomGone)?;
        let frame = RoomMessage::Frame { connection: self.connection, bytes, share };
        self.inbox.send(frame).map_err(|_| RoomGone)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // A room that has ended knows no connections any more.
        let _ = self.inbox.send(RoomMessage::Leave(self.connection));
    }
}
