//! Finds or starts the room of a household, and lets idle rooms go.
//!
//! Invariants: a household has at most one room on this node; a room that was told of a connection
//! either serves it or closes it with a code. Both rest on that of `room::seat`: a room is joined, and
//! leaves the map, under the same lock.

use crate::auth::Principal;
use crate::limits::INBOX_BYTES_MAX;
use crate::outbox::Outbox;
use crate::room;
use crate::room::message::{Call, CallResult, Envelope, RoomMessage, RoomView};
use crate::room::seat::{Entry, Rooms, Seat, Shared};
use bytes::Bytes;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::message::{CloseCode, Hello};
use omega_sync_core::session::server::{ConnectionId, RoomOutput};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Span;

/// Counted for each frame on top of its bytes, for what else it takes in memory.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// All rooms of this node.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    rooms: Arc<Rooms>,
    numbers: AtomicU64,
}

impl Hub {
    /// No rooms yet.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), rooms: Arc::default(), numbers: AtomicU64::new(1) }
    }

    /// Hands a connection to its household's room, which is started if there is none.
    pub(crate) fn join(
        &self,
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
        &self,
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
        &self,
        household: &HouseholdId,
        work: impl FnOnce(RoomView) -> (Vec<RoomOutput>, T) + Send + 'static,
    ) -> Result<T, CloseCode> {
        let (answer, answered) = oneshot::channel();
        let (refused, refusal) = oneshot::channel();
        let work = Box::new(move |view: RoomView| {
            let (outputs, value) = work(view);
            // Who asked may have gone.
            CallResult { outputs, answer: Box::new(move || drop(answer.send(value))) }
        });
        self.tell(household, RoomMessage::Call(Call { work, refused }))?;
        match answered.await {
            Ok(value) => Ok(value),
            Err(_) => Err(refusal.await.unwrap_or(CloseCode::Restart)),
        }
    }

    /// A device is here; it is known for good when this ends.
    pub(crate) async fn see(&self, who: &Principal) -> Result<(), CloseCode> {
        let device = who.device.clone();
        let seen = self.call(&who.household, move |view| {
            view.presence.see(&device, view.now);
            (Vec::new(), ())
        });
        seen.await
    }

    /// Erases a household: its room, if need be a new one, ends its commits, erases it in the store and
    /// closes its connections. Nobody can start another room of it meanwhile.
    pub(crate) async fn erase(&self, household: &HouseholdId) -> Result<bool, CloseCode> {
        let (answer, erased) = oneshot::channel();
        self.tell(household, RoomMessage::Erase(answer))?;
        erased.await.unwrap_or(Err(CloseCode::Restart))
    }

    /// A name for a connection that nobody else has.
    pub(crate) fn connection(&self) -> ConnectionId {
        ConnectionId(self.number())
    }

    fn tell(&self, household: &HouseholdId, message: RoomMessage) -> Result<Entry, CloseCode> {
        let mut rooms = self.rooms.lock();
        if rooms.stopping {
            return Err(CloseCode::Restart);
        }
        let entry = match rooms.entries.get(household) {
            Some(entry) if !entry.inbox.is_closed() => entry.clone(),
            _ if rooms.entries.len() >= self.shared.limits.rooms_max => {
                return Err(CloseCode::Overloaded);
            }
            _ => {
                let entry = self.start(household);
                self.rooms.add(&mut rooms, household, entry.clone());
                entry
            }
        };
        // A room that fails in this moment drops the message, and with it the outbox, which closes
        // the socket, or the answer.
        let _ = entry.inbox.send(message.into());
        Ok(entry)
    }

    fn start(&self, household: &HouseholdId) -> Entry {
        let number = self.number();
        let (inbox, messages) = mpsc::unbounded_channel();
        let seat = Seat {
            shared: self.shared.clone(),
            rooms: self.rooms.clone(),
            household: household.clone(),
            number,
            inbox: inbox.downgrade(),
        };
        // A room outlives the request that needs it, but its loading is part of that.
        tokio::spawn(room::run(seat, messages, Span::current()));
        Entry { number, inbox, shares: Arc::new(Semaphore::new(INBOX_BYTES_MAX)) }
    }

    /// Refuses new connections, closes all there are, and waits until every room has ended.
    pub(crate) async fn stop(&self) {
        {
            let mut rooms = self.rooms.lock();
            rooms.stopping = true;
            for entry in rooms.entries.values() {
                let _ = entry.inbox.send(RoomMessage::Stop.into());
            }
        }
        let _ = self.live().wait_for(|live| *live == 0).await;
    }

    /// How many rooms there are.
    pub(crate) fn live(&self) -> watch::Receiver<usize> {
        self.rooms.live()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// The room is gone; its outbox says why.
#[derive(Debug)]
pub(crate) struct RoomGone;

/// A connection's place in a room; leaving is what dropping it does.
pub(crate) struct Membership {
    connection: ConnectionId,
    inbox: mpsc::UnboundedSender<Envelope>,
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
