//! What a client keeps of a connection after the welcome.

use super::fault::Fault;
use crate::clock::{Timestamp, UnixMillis};
use crate::delta::Context;
use crate::message::FrameNumber;
use crate::replica::Now;

/// A connection after the welcome.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) up: Context,
    pub(super) down: Context,
    pub(super) next_delta: FrameNumber,
    pub(super) next_stream: FrameNumber,
    pub(super) in_flight: Vec<Timestamp>,
    /// Up to where operations left on this connection.
    pub(super) sent: Timestamp,
    /// Up to where operations may have left on earlier ones.
    pub(super) retry_through: Timestamp,
    pub(super) caught_up: bool,
    /// It is the answer to a request: nothing more can be sent.
    pub(super) by_request: bool,
    /// What left in the same session before may arrive after it.
    pub(super) shares_session: bool,
    /// The server holds what was owed; the state that comes next has it.
    pub(super) offered: bool,
    /// When the hello left and when the welcome came, in steady milliseconds: commands count from there.
    pub(super) greeted_ms: u64,
    pub(super) welcomed_ms: u64,
    pub(super) heard: Now,
    /// The two clocks have disagreed since: what comes may be old.
    pub(super) slept: bool,
    pub(super) pinged_ms: Option<u64>,
}

impl Connection {
    pub(super) fn new(now: Now, waited_ms: u64, server_time: UnixMillis) -> Self {
        Self {
            up: Context::starting(server_time),
            down: Context::starting(server_time),
            next_delta: FrameNumber::FIRST,
            next_stream: FrameNumber::FIRST,
            in_flight: Vec::new(),
            sent: Timestamp::ZERO,
            retry_through: Timestamp::ZERO,
            caught_up: false,
            by_request: false,
            shares_session: false,
            offered: false,
            greeted_ms: now.steady_ms.saturating_sub(waited_ms),
            welcomed_ms: now.steady_ms,
            heard: now,
            slept: false,
            pinged_ms: None,
        }
    }

    /// The next frame of the stream must have the next number.
    pub(super) fn expect(&mut self, number: FrameNumber) -> Result<(), Fault> {
        if number == self.next_stream.advance() { Ok(()) } else { Err(Fault::Resync) }
    }
}
