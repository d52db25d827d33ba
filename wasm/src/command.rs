//! What comes of commands to and from other devices, as answers.

use crate::answer::Answer;
use omega_sync_core::command::{Order, Outcome, Presence};

/// In place of a number that is not there.
const NONE: f64 = -1.0;

/// The halves of its id, who sent it, kind, number and text.
pub fn order(order: &Order, answer: &mut Answer) {
    let (number, text) = order.command.parts();
    answer.number((order.id.0 >> 32) as f64);
    answer.number(f64::from(order.id.0 as u32));
    answer.text(order.from.as_str());
    answer.byte(order.command.kind());
    answer.number(number.map_or(NONE, f64::from));
    answer.text(text);
}

/// Ticket, number of the status, position.
pub fn outcome(ticket: u64, outcome: Outcome, answer: &mut Answer) {
    answer.number(ticket as f64);
    answer.byte(outcome.status as u8);
    answer.number(outcome.position_s.map_or(NONE, f64::from));
}

/// Whether it is of all devices; how many follow; each one's id, and seconds since it was heard of.
pub fn presence(presence: &Presence, answer: &mut Answer) {
    answer.byte(u8::from(presence.all));
    answer.number(presence.devices.len() as f64);
    for (device, gone_s) in &presence.devices {
        answer.text(device.as_str());
        answer.number(gone_s.map_or(NONE, |gone_s| gone_s as f64));
    }
}
