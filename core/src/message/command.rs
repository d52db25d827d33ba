//! The frames of commands and presence: none is counted, and each is whole in itself.

use super::{ClientFrame, ServerFrame, UNCOUNTED, frame};
use crate::codec::Writer;
use crate::command::{Asked, CommandId, Order, Outcome, Presence, Reply, write_reply, write_watch};
use crate::tag::{TAG_COMMAND, TAG_ORDER, TAG_PRESENCE, TAG_REPLY, TAG_STATUS};

fn uncounted(tag: u8, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = frame(tag, UNCOUNTED);
    write(&mut writer);
    writer.finish()
}

impl ClientFrame<'_> {
    /// A command or handoff for another device.
    pub fn command(asked: &Asked) -> Vec<u8> {
        uncounted(TAG_COMMAND, |writer| asked.encode(writer))
    }

    /// The wish to be told which devices are here.
    pub fn watch() -> Vec<u8> {
        uncounted(TAG_COMMAND, write_watch)
    }

    /// The answer to an order.
    pub fn reply(id: CommandId, reply: Reply) -> Vec<u8> {
        uncounted(TAG_REPLY, |writer| write_reply(id, reply, writer))
    }
}

impl ServerFrame<'_> {
    /// A command for this device.
    pub fn order(order: &Order) -> Vec<u8> {
        uncounted(TAG_ORDER, |writer| order.encode(writer))
    }

    /// What became of a command.
    pub fn status(id: CommandId, outcome: Outcome) -> Vec<u8> {
        uncounted(TAG_STATUS, |writer| outcome.encode(id, writer))
    }

    /// Which devices are here.
    pub fn presence(presence: &Presence) -> Vec<u8> {
        uncounted(TAG_PRESENCE, |writer| presence.encode(writer))
    }
}
