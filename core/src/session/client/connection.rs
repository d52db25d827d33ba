//! What a client keeps of a connection after the welcome.

use super::fault::Fault;
use crate::clock::{Timestamp, UnixMillis};
use crate::delta::Context;
use crate::message::FrameNumber;
use crate::replica::Now;
use std::collections::VecDeque;

/// A connection after the welcome.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) up: Context,
    pub(super) down: Context,
    pub(super) next_delta: FrameNumber,
    pub(super) next_stream: FrameNumber,
    pub(super) in_flight: VecDeque<Timestamp>,
    /// Up to where operations left on this connection.
    pub(super) sent: Timestamp,
    /// Up to where operations may have left on earlier ones.
    pub(super) retry_through: Timestamp,
    pub(super) caught_up: bool,
    /// The server holds what was owed; the state that comes next has it.
    pub(super) offered: bool,
    pub(super) heard_ms: u64,
    pub(super) pinged_ms: Option<u64>,
}

impl Connection {
    pub(super) fn new(now: Now, server_time: UnixMillis) -> Self {
        Self {
            up: Context::starting(server_time),
            down: Context::starting(server_time),
            next_delta: FrameNumber::FIRST,
            next_stream: FrameNumber::FIRST,
            in_flight: VecDeque::new(),
            sent: Timestamp::ZERO,
            retry_through: Timestamp::ZERO,
            caught_up: false,
            offered: false,
            heard_ms: now.steady_ms,
            pinged_ms: None,
        }
    }

    /// The next frame of the stream must have the next number.
    pub(super) fn expect(&mut self, number: FrameNumber) -> Result<(), Fault> {
        if number == self.next_stream.advance() { Ok(()) } else { Err(Fault::Resync) }
    }
}
