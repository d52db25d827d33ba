//! What a room is told, and what a request may do in it.

use crate::aggregate::region::Region;
use crate::dispatch::Dispatch;
use crate::outbox::Outbox;
use crate::presence::Presence;
use bytes::Bytes;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::CommandId;
use omega_sync_core::id::DeviceId;
use omega_sync_core::message::{CloseCode, Hello};
use omega_sync_core::session::server::relay::RelayOutput;
use omega_sync_core::session::server::{ConnectionId, Room, RoomOutput};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

/// What a request sees of a household.
pub(crate) struct RoomView<'a> {
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

impl RoomView<'_> {
    /// Takes over where a token says that the household is.
    pub(crate) fn locate(&mut self, region: Option<Region>) {
        *self.region = region.or(self.region.take());
    }
}

/// What came of a request in the room.
pub(crate) struct CallResult {
    /// To be carried out.
    pub(crate) outputs: Vec<RoomOutput>,
    /// Answers; to be called when all that the room has persisted is durable.
    pub(crate) answer: Box<dyn FnOnce() + Send>,
}

/// A request to a room, which answers it or says why it does not.
pub(crate) struct Call {
    /// What is to be done.
    pub(crate) work: Box<dyn FnOnce(RoomView) -> CallResult + Send>,
    /// Envelope when it is not answered.
    pub(crate) refused: oneshot::Sender<CloseCode>,
}

/// What a room is told. The queue has no length limit of its own: a connection says one `Join` and
/// one `Leave`, each frame holds a share of the room's inbox, which is bounded in bytes, and a TCP
/// connection has one `Call` at a time.
pub(crate) enum RoomMessage {
    /// A connection said hello.
    Join {
        /// The connection's name.
        connection: ConnectionId,
        /// The device at its other end.
        device: DeviceId,
        /// Where its token says that the household is.
        region: Option<Region>,
        /// Its hello.
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
        /// The connection's name.
        connection: ConnectionId,
        /// The device at its other end.
        device: DeviceId,
        /// Whether its token allows commands.
        may_control: bool,
        /// Where its messages go.
        outbox: Outbox,
    },
    /// A connection sent a frame.
    Frame {
        /// The connection's name.
        connection: ConnectionId,
        /// The frame.
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
pub(crate) struct Envelope {
    pub(crate) message: RoomMessage,
    pub(crate) span: Span,
}

impl From<RoomMessage> for Envelope {
    fn from(message: RoomMessage) -> Self {
        Self { message, span: Span::current() }
    }
}
