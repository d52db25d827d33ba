//! What happens to a client, and what it wants done: the whole border between it and the world.

use crate::command::{Order, Outcome, Presence};
use crate::operation::Changed;
use crate::session::metrics::Replay;

/// What happens to a client.
#[derive(Debug)]
pub enum Input<'a> {
    /// The app is up, or the network is back, or the TV woke: a socket from before is dead.
    Online,
    /// The network is gone, or the viewer wants to be offline.
    Offline,
    /// The socket is open; the token is for the hello.
    Opened(String),
    /// No socket gets through, or none is wanted: one request instead; the token is for its hello.
    Asked(String),
    /// The whole answer to the [`Output::Exchange`] with this number.
    Answered(u32, &'a [u8]),
    /// The page goes to the background and may not come back; the token is for a hello.
    Hiding(String),
    /// A frame arrived.
    Frame(&'a [u8]),
    /// The socket closed, did not open, or there was no token: with the close code if there is one.
    Closed(u16),
    /// The time of the last [`Output::Wake`] has come.
    Woke,
    /// The app has taken the rejected operations.
    RejectedTaken,
}

/// What a client wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append a record to the log.
    Append(Vec<u8>),
    /// Replace everything stored by this image.
    Replace(Vec<u8>),
    /// Send a frame.
    Send(Vec<u8>),
    /// Send this as one request, in place of an earlier one without an answer; the number is for
    /// [`Input::Answered`].
    Exchange(u32, Vec<u8>),
    /// Fetch a token and open a socket, or say that a request has to do.
    Connect,
    /// Close the socket; nothing more from it is wanted.
    Disconnect,
    /// These parts may look different now.
    Changed(Changed),
    /// The state of the connection changed.
    Status(Status),
    /// Come back after this many milliseconds; an earlier wish is void.
    Wake(u64),
    /// Operations were refused; this many are kept for the app.
    Rejected(usize),
    /// What waited at the last reconnect has its answers, or the connection is gone: how it went.
    Replayed(Replay),
    /// Another device wants this one to do something: [`super::Client::reply`] answers it.
    Order(Order),
    /// What became of the command with this ticket.
    Outcome(u64, Outcome),
    /// Which devices are here.
    Presence(Presence),
}

/// How a client stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not connected and not trying.
    Offline,
    /// Trying to connect.
    Connecting,
    /// Connected, not up to date.
    Syncing,
    /// Up to date; changes cross as they happen.
    Live,
    /// Refused for good; see the close code.
    Stopped,
    /// Up to date by the last request; the next one follows after a while.
    Polling,
}

impl Status {
    /// The stable name that apps see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Live => "live",
            Self::Stopped => "stopped",
            Self::Polling => "polling",
        }
    }
}
