//! Finds or starts the room of a household, and lets idle rooms go.
//!
//! Invariants: a household has at most one room on this node; a room that was told of a connection
//! either serves it or closes it with a code. Both rest on one rule: a room is joined, and leaves
//! the map, under the same lock.

use crate::aggregate::Aggregate;
use crate::aggregate::region::Region;
use crate::auth::Principal;
use crate::dispatch::Dispatch;
use crate::limits::{INBOX_BYTES_MAX, Limits};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::quota::Quota;
use crate::room;
use crate::store::Store;
use axum::body::Bytes;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::CommandId;
use omega_sync_core::id::{DeviceId, HouseholdId};
use omega_sync_core::message::{CloseCode, Hello};
use omega_sync_core::session::server::relay::RelayOutput;
use omega_sync_core::session::server::{ConnectionId, Room, RoomOutput};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tracing::Span;

/// Counted for each frame on top of its bytes, for what else it takes in memory.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// What a request sees of a household.
pub(crate) struct Inside<'a> {
    /// The household.
    pub(crate) room: &'a mut Room,
    /// Which devices are connected.
    pub(crate) presence: &'a mut Presence,
    /// Commands on their way.
    pub(crate) dispatch: &'a mut Dispatch,
    /// Where to put what is to be done about commands.
    pub(crate) orders: &'a mut Vec<RelayOutput>,
    /// The server's clock.
    pub(crate) now: UnixMillis,
    /// Where the household is, as far as a token has said.
    pub(crate) region: &'a mut Option<Region>,
}

impl Inside<'_> {
    /// Takes over where a token says that the household is.
    pub(crate) fn locate(&mut self, region: Option<Region>) {
        *self.region = region.or(self.region.take());
    }
}

/// What came of a request in the room.
pub(crate) struct Done {
    /// To be carried out.
    pub(crate) outputs: Vec<RoomOutput>,
    /// Answers; to be called when all that the room has persisted is durable.
    pub(crate) answer: Box<dyn FnOnce() + Send>,
}

/// A request to a room, which answers it or says why it does not.
pub(crate) struct Call {
    /// What is to be done.
    pub(crate) work: Box<dyn FnOnce(Inside) -> Done + Send>,
    /// Told when it is not answered.
    pub(crate) refused: oneshot::Sender<CloseCode>,
}

/// What a room is told. The queue has no length limit of its own: a connection says one `Join` and
/// one `Leave`, each frame holds a share of the room's inbox, which is bounded in bytes, and a TCP
/// connection has one `Call` at a time.
pub(crate) enum RoomMessage {
    /// A connection said hello.
    Join {
        /// Which.
        connection: ConnectionId,
        /// Whose connection.
        device: DeviceId,
        /// Where its token says that the household is.
        region: Option<Region>,
        /// What it said.
        hello: Box<Hello>,
        /// Whether its token allows writing.
        may_write: bool,
        /// Whether its token allows commands.
        may_control: bool,
        /// Where its frames go.
        outbox: Outbox,
    },
    /// A connection that speaks JSON wants to hear of every change.
    Listen {
        /// Which.
        connection: ConnectionId,
        /// Whose.
        device: DeviceId,
        /// Whether its token allows commands.
        may_control: bool,
        /// Where its messages go.
        outbox: Outbox,
    },
    /// A connection sent a frame.
    Frame {
        /// Which.
        connection: ConnectionId,
        /// What it sent.
        bytes: Bytes,
        /// When it came.
        at: Instant,
        /// Its share of the inbox, given back when the frame is dealt with.
        share: OwnedSemaphorePermit,
    },
    /// A connection is gone.
    Leave(ConnectionId),
    /// A command was written to a session that can't answer.
    Written(DeviceId, CommandId),
    /// A request asks for something.
    Call(Call),
    /// Erase the household, and say whether there was anything.
    Erase(oneshot::Sender<Result<bool, CloseCode>>),
    /// The server stops.
    Stop,
}

/// A message, and on whose behalf: what the room does for it is logged in that span.
pub(crate) struct Told {
    pub(crate) message: RoomMessage,
    pub(crate) span: Span,
}

impl From<RoomMessage> for Told {
    fn from(message: RoomMessage) -> Self {
        Self { message, span: Span::current() }
    }
}

#[derive(Clone)]
struct Entry {
    number: u64,
    inbox: mpsc::UnboundedSender<Told>,
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
    metrics: Arc<Metrics>,
    aggregate: Arc<Aggregate>,
    quota: Arc<Quota>,
    differences: bool,
    rooms: Mutex<Rooms>,
    live: watch::Sender<usize>,
    numbers: AtomicU64,
}

impl Hub {
    /// No rooms yet. `differences`: a device that returns gets what changed, and not the whole state.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        limits: Limits,
        metrics: Arc<Metrics>,
        aggregate: Arc<Aggregate>,
        quota: Arc<Quota>,
        differences: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            limits,
            metrics,
            aggregate,
            quota,
            differences,
            rooms: Mutex::default(),
            live: watch::Sender::new(0),
            numbers: AtomicU64::new(1),
        })
    }

    /// Hands a connection to its household's room, which is started if there is none.
    pub(crate) fn join(
        self: &Arc<Self>,
        principal: &Principal,
        hello: Hello,
        outbox: Outbox,
    ) -> Result<Membership, CloseCode> {
        let connection = self.connection();
        let device = principal.device.clone();
        let (may_write, may_control) = (principal.scope.write, principal.scope.control);
        let (region, hello) = (principal.region.clone(), Box::new(hello));
        let join =
            RoomMessage::Join { connection, device, region, hello, may_write, may_control, outbox };
        let entry = self.tell(&principal.household, join)?;
        Ok(Membership { connection, inbox: entry.inbox, shares: entry.shares })
    }

    /// Hands a connection that speaks JSON to its household's room.
    pub(crate) fn listen(
        self: &Arc<Self>,
        principal: &Principal,
        outbox: Outbox,
    ) -> Result<Membership, CloseCode> {
        let connection = self.connection();
        let (device, may_control) = (principal.device.clone(), principal.scope.control);
        let listen = RoomMessage::Listen { connection, device, may_control, outbox };
        let entry = self.tell(&principal.household, listen)?;
        Ok(Membership { connection, inbox: entry.inbox, shares: entry.shares })
    }

    /// Does something in a household's room, which is started if there is none, and answers when
    /// what it did is durable. The work is done even if nobody waits for it.
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        household: &HouseholdId,
        work: impl FnOnce(Inside) -> (Vec<RoomOutput>, T) + Send + 'static,
    ) -> Result<T, CloseCode> {
        let (answer, answered) = oneshot::channel();
        let (refused, refusal) = oneshot::channel();
        let work = Box::new(move |inside: Inside| {
            let (outputs, value) = work(inside);
            // Who asked may have gone.
            Done { outputs, answer: Box::new(move || drop(answer.send(value))) }
        });
        self.tell(household, RoomMessage::Call(Call { work, refused }))?;
        match answered.await {
            Ok(value) => Ok(value),
            Err(_) => Err(refusal.await.unwrap_or(CloseCode::Restart)),
        }
    }

    /// A device is here; it is known for good when this ends.
    pub(crate) async fn see(self: &Arc<Self>, who: &Principal) -> Result<(), CloseCode> {
        let device = who.device.clone();
        let seen = self.call(&who.household, move |inside| {
            inside.presence.see(&device, inside.now);
            (Vec::new(), ())
        });
        seen.await
    }

    /// Erases a household: its room, if need be a new one, ends its commits, erases it in the store and
    /// closes its connections. Nobody can start another room of it meanwhile.
    pub(crate) async fn erase(
        self: &Arc<Self>,
        household: &HouseholdId,
    ) -> Result<bool, CloseCode> {
        let (answer, erased) = oneshot::channel();
        self.tell(household, RoomMessage::Erase(answer))?;
        erased.await.unwrap_or(Err(CloseCode::Restart))
    }

    /// A name for a connection that nobody else has.
    pub(crate) fn connection(&self) -> ConnectionId {
        ConnectionId(self.number())
    }

    fn tell(
        self: &Arc<Self>,
        household: &HouseholdId,
        message: RoomMessage,
    ) -> Result<Entry, CloseCode> {
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
        // A room that fails in this moment drops the message, and with it the outbox, which closes
        // the socket, or the answer.
        let _ = entry.inbox.send(message.into());
        Ok(entry)
    }

    fn start(self: &Arc<Self>, household: &HouseholdId) -> Entry {
        let number = self.number();
        let (inbox, messages) = mpsc::unbounded_channel();
        let own = inbox.downgrade();
        let seat = Seat { hub: self.clone(), household: household.clone(), number, inbox: own };
        // A room outlives the request that needs it, but its loading is part of that.
        tokio::spawn(room::run(seat, messages, Span::current()));
        Entry { number, inbox, shares: Arc::new(Semaphore::new(INBOX_BYTES_MAX)) }
    }

    /// Refuses new connections, closes all there are, and waits until every room has ended.
    pub(crate) async fn stop(&self) {
        {
            let mut rooms = self.rooms();
            rooms.stopping = true;
            for entry in rooms.entries.values() {
                let _ = entry.inbox.send(RoomMessage::Stop.into());
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
    inbox: mpsc::WeakUnboundedSender<Told>,
}

impl Seat {
    /// The way to tell this room something later on.
    pub(crate) fn inbox(&self) -> mpsc::WeakUnboundedSender<Told> {
        self.inbox.clone()
    }

    pub(crate) fn household(&self) -> &HouseholdId {
        &self.household
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.hub.store
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.hub.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.hub.metrics
    }

    pub(crate) fn aggregate(&self) -> &Aggregate {
        &self.hub.aggregate
    }

    pub(crate) fn quota(&self) -> &Quota {
        &self.hub.quota
    }

    pub(crate) fn differences(&self) -> bool {
        self.hub.differences
    }

    /// Leaves if nobody has joined meanwhile; true when it has left.
    pub(crate) fn retire(&self, inbox: &mpsc::UnboundedReceiver<Told>) -> bool {
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
    inbox: mpsc::UnboundedSender<Told>,
    shares: Arc<Semaphore>,
}

impl Membership {
    /// Gives the room a frame, when there is space in its inbox.
    pub(crate) async fn deliver(&self, bytes: Bytes) -> Result<(), RoomGone> {
        let size = (bytes.len() + FRAME_OVERHEAD_BYTES).min(INBOX_BYTES_MAX);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let shares = self.shares.clone();
        let share = shares.acquire_many_owned(size).await.map_err(|_| RoomGone)?;
        let (connection, at) = (self.connection, Instant::now());
        let frame = RoomMessage::Frame { connection, bytes, at, share };
        self.inbox.send(frame.into()).map_err(|_| RoomGone)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // A room that has ended knows no connections any more.
        let _ = self.inbox.send(RoomMessage::Leave(self.connection).into());
    }
}
