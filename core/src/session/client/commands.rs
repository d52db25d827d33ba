//! Commands, on the device that sends them and on the one that carries them out.
//!
//! Invariants: a command leaves only while it lives, by whichever of the sender's clocks went further,
//! so a device that slept sends nothing old; each gets one outcome. A device hands a command to its
//! app only before the command's end and once, however often and by however many sessions it comes.

use super::fault::Fault;
use super::{Client, Link, Output, WAIT_DOUBT_MS};
use crate::command::{
    Asked, COMMAND_DOUBT_MS, COMMAND_LIFE_MS, COMMAND_LIFE_MS_MAX, CommandId, CommandStatus, Order,
    Outcome, Reply, Request,
};
use crate::id::DeviceId;
use crate::message::ClientFrame;
use crate::replica::Now;

/// Commands of this device that have no outcome yet.
pub const COMMANDS_WAITING_MAX: usize = 16;
/// Commands of others that are remembered, so that none is carried out twice.
pub const ORDERS_REMEMBERED_MAX: usize = 128;

/// A command of this device without an outcome.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    made: Now,
    asked: Asked,
}

impl Waiting {
    /// What is left of its life, in milliseconds. One of the clocks may stand still in standby, the
    /// other may be set: whichever went further counts.
    fn left_ms(&self, now: Now) -> u64 {
        let steady_ms = now.steady_ms.saturating_sub(self.made.steady_ms);
        let wall_ms = now.unix.0.saturating_sub(self.made.unix.0);
        COMMAND_LIFE_MS.saturating_sub(steady_ms.max(wall_ms))
    }
}

/// What a client keeps of commands, in memory only.
#[derive(Debug, Default)]
pub(super) struct Commands {
    waiting: Vec<Waiting>,
    /// Each until when (steady milliseconds) it might come again.
    taken: Vec<(CommandId, u64)>,
    watches: bool,
}

impl Commands {
    /// When the next one ends, in steady milliseconds.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.made.steady_ms + COMMAND_LIFE_MS).min()
    }
}

impl Client {
    /// Asks something of another device. The outcome follows as [`Output::Outcome`] with the caller's
    /// ticket, when the command's life is over at the latest.
    pub fn ask(
        &mut self,
        now: Now,
        ticket: u64,
        target: DeviceId,
        request: Request,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.expire(now, &mut outputs);
        if self.commands.waiting.len() >= COMMANDS_WAITING_MAX {
            outputs.push(Output::Outcome(ticket, CommandStatus::RateLimited.into()));
            return outputs;
        }
        let id = CommandId(self.random.bits());
        let asked = Asked { id, again: false, target, ends_ms: 0, request };
        self.commands.waiting.push(Waiting { ticket, made: now, asked });
        let last = self.commands.waiting.len() - 1;
        self.send_commands(now, last, &mut outputs);
        self.tell(now, &mut outputs);
        outputs
    }

    /// Answers an [`Output::Order`], once the app has taken it or not.
    pub fn reply(&mut self, id: CommandId, reply: Reply) -> Vec<Output> {
        match self.link {
            Link::Open(_) => vec![Output::Send(ClientFrame::reply(id, reply))],
            _ => Vec::new(),
        }
    }

    /// Asks to be told which devices are here, on this connection and all later ones.
    pub fn watch(&mut self) -> Vec<Output> {
        self.commands.watches = true;
        match self.link {
            Link::Open(_) => vec![Output::Send(ClientFrame::watch())],
            _ => Vec::new(),
        }
    }

    /// A connection is open: what was asked before and still lives goes there.
    pub(super) fn resume_commands(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if self.requests.open.is_some() {
            return;
        }
        if self.commands.watches {
            outputs.push(Output::Send(ClientFrame::watch()));
        }
        self.expire(now, outputs);
        self.send_commands(now, 0, outputs);
    }

    /// Sends what waits, from one of them on.
    fn send_commands(&mut self, now: Now, from: usize, outputs: &mut Vec<Output>) {
        let Link::Open(connection) = &self.link else { return };
        let open_ms = now.steady_ms.saturating_sub(connection.welcomed_ms);
        for waiting in &mut self.commands.waiting[from..] {
            waiting.asked.ends_ms = open_ms + waiting.left_ms(now);
            outputs.push(Output::Send(ClientFrame::command(&waiting.asked)));
            waiting.asked.again = true;
        }
    }

    /// Ends what has lived long enough.
    pub(super) fn expire(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.commands.waiting.retain(|waiting| {
            let lives = waiting.left_ms(now) > 0;
            if !lives {
                outputs.push(Output::Outcome(waiting.ticket, CommandStatus::Expired.into()));
            }
            lives
        });
    }

    /// Takes a command of another device, if it is new and still lives.
    pub(super) fn ordered(
        &mut self,
        now: Now,
        order: Order,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Link::Open(connection) = &self.link else { return Err(Fault::Malformed) };
        if connection.slept {
            // It may have lain in a buffer for hours: only a new handshake says what time it is.
            return Err(Fault::Resync);
        }
        let open_ms = now.steady_ms.saturating_sub(connection.greeted_ms);
        let left_ms = order.ends_ms.saturating_sub(open_ms).min(COMMAND_LIFE_MS_MAX);
        let taken = &mut self.commands.taken;
        taken.retain(|(_, until_ms)| *until_ms > now.steady_ms);
        let known = taken.iter().any(|(id, _)| *id == order.id);
        if left_ms > 0 && !known && taken.len() < ORDERS_REMEMBERED_MAX {
            taken.push((order.id, now.steady_ms + left_ms + COMMAND_DOUBT_MS));
            outputs.push(Output::Order(order));
        }
        Ok(())
    }

    /// The server says what became of a command.
    pub(super) fn settled(&mut self, id: CommandId, outcome: Outcome, outputs: &mut Vec<Output>) {
        let waiting = &mut self.commands.waiting;
        if let Some(at) = waiting.iter().position(|waiting| waiting.asked.id == id) {
            outputs.push(Output::Outcome(waiting.remove(at).ticket, outcome));
        }
    }
}

impl super::connection::Connection {
    /// Something came from the server. When the two clocks disagree on the time since the last frame,
    /// the device has slept or a clock was set.
    pub(super) fn hear(&mut self, now: Now) {
        let steady_ms = now.steady_ms.saturating_sub(self.heard.steady_ms);
        let wall_ms = now.unix.0.abs_diff(self.heard.unix.0);
        self.slept |= wall_ms.abs_diff(steady_ms) > WAIT_DOUBT_MS;
        self.heard = now;
    }
}
