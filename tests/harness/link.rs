//! A connection between a device and the server: in order, until it breaks, and each side learns of
//! the end on its own. Only [`Rates::tampers`] lets frames go missing on a connection that stays.

use crate::dice::Dice;
use crate::faults::{Counts, Fault, Rates};
use crate::ledger::Ledger;
use omega_sync_core::message::Session;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a frame from a device is. It is known from when it was sent, never from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first of a connection.
    Hello,
    /// A whole state after the restore of a backup.
    Offer,
    /// A whole session.
    Request,
    /// Anything else.
    Rest,
}

/// A frame on its way, and what its sender knew when it left.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What the receiver gets.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The sender's ledger; `None` from the server.
    pub ledger: Option<Rc<Ledger>>,
    /// True time at which it can arrive.
    pub ready_ms: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    /// On their way, the next to arrive first.
    pub frames: VecDeque<Frame>,
    ready_ms: u64,
}

impl Pipe {
    /// Puts a frame on its way, or not, or twice, or before its predecessor.
    pub fn push(&mut self, mut frame: Frame, rates: &Rates, counts: &mut Counts, dice: &mut Dice) {
        let mut hits = |fault| {
            let hit = dice.hits(rates.rate(fault));
            if hit {
                counts.note(fault);
            }
            hit
        };
        if hits(Fault::Loss) {
            return;
        }
        let twice = hits(Fault::Duplicate);
        let overtakes = !self.frames.is_empty() && hits(Fault::Overtake);
        if hits(Fault::Delay) {
            frame.ready_ms += 1 + dice.below(30_000);
        }
        self.ready_ms = self.ready_ms.max(frame.ready_ms);
        frame.ready_ms = self.ready_ms;
        if twice {
            self.frames.push_back(frame.clone());
        }
        self.frames.push_back(frame);
        let length = self.frames.len();
        if overtakes {
            self.frames.swap(length - 1, length - 2);
        }
    }

    /// Whether a frame can arrive.
    pub fn is_ready(&self, time_ms: u64) -> bool {
        self.frames.front().is_some_and(|frame| frame.ready_ms <= time_ms)
    }

    /// Keeps only the first frames: the rest never arrives.
    pub fn cut(&mut self, kept: usize) {
        self.frames.truncate(kept);
    }
}

/// A connection. Each side closes its end on its own.
#[derive(Debug, Default)]
pub struct Link {
    /// Whose.
    pub device: usize,
    /// To which node.
    pub node: usize,
    /// From the device.
    pub up: Pipe,
    /// From the server.
    pub down: Pipe,
    /// Whether the device still listens.
    pub device_open: bool,
    /// Whether the server still listens.
    pub server_open: bool,
    /// The server's last word, delivered after the frames.
    pub close_code: Option<u16>,
    /// Whether nothing new gets through, without anybody being told.
    pub broken: bool,
    /// Whether nothing new gets through, and both ends will be told.
    pub ended: bool,
    /// Whether it is one request and its answer, and the request's number.
    pub by_request: Option<u32>,
    /// Which session it is, once its hello was read.
    pub session: Session,
    /// Whether the hello has reached the room.
    pub greeted: bool,
    /// Whether its token allows writing.
    pub may_write: bool,
    /// True time before which the server hears nothing of a device that hung up.
    pub late_until_ms: u64,
}

impl Link {
    /// Whether nothing can happen on it any more.
    pub fn is_over(&self) -> bool {
        !self.device_open && !self.server_open
    }

    /// Whether the server can take a frame, or learn that the device hung up.
    pub fn has_up(&self, time_ms: u64) -> bool {
        let gone = (!self.device_open || self.ended) && self.up.frames.is_empty();
        self.server_open && self.late_until_ms <= time_ms && (gone || self.up.is_ready(time_ms))
    }

    /// Whether the device can take a frame, or learn that the server hung up.
    pub fn has_down(&self, time_ms: u64) -> bool {
        let gone = (!self.server_open || self.ended) && self.down.frames.is_empty();
        self.device_open && (gone || self.down.is_ready(time_ms))
    }
}
