//! Commands to and from other devices.

use crate::Replica;
use crate::answer::{Address, Answer};
use crate::convert::{Code, now, outputs, profile};
use omega_sync_core::command::{CommandId, Order, Outcome, Presence, Reply, Request};
use omega_sync_core::id::DeviceId;
use omega_sync_core::session::client::Output;
use wasm_bindgen::prelude::*;

/// In place of a number that is not there.
const NONE: f64 = -1.0;

#[wasm_bindgen]
impl Replica {
    /// Asks something of another device; the outcome comes with the ticket. `kind`: the number of the
    /// command, 9 for a handoff; `number` is a position in seconds or a level, negative for none;
    /// `text` a title or device. Refuses with `invalid_device`, `invalid_profile` or
    /// `invalid_command`.
    #[wasm_bindgen(js_name = deviceAsk)]
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn device_ask(
        &mut self,
        ticket: f64,
        target: &str,
        kind: u8,
        profile_id: &str,
        number: f64,
        text: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let asked = request(target, kind, profile_id, number, text);
        let asked = asked.map(|(target, request)| {
            self.client.ask(now(unix_ms, steady_ms), ticket as u64, target, request)
        });
        self.carry_out(asked)
    }

    /// Answers a command that came, by the halves of its id: 0 done, 1 not supported, 2 invalid.
    #[wasm_bindgen(js_name = deviceReply)]
    pub fn device_reply(&mut self, high: u32, low: u32, reply: u8, _: f64, _: f64) -> Address {
        let id = CommandId(u64::from(high) << 32 | u64::from(low));
        let reply = Reply::ALL.get(usize::from(reply)).copied().unwrap_or(Reply::Invalid);
        let outputs = self.client.reply(id, reply);
        self.carry_out(Ok(outputs))
    }

    /// Wants to be told which devices are here.
    #[wasm_bindgen(js_name = deviceWatch)]
    pub fn device_watch(&mut self, _: f64, _: f64) -> Address {
        let outputs = self.client.watch();
        self.carry_out(Ok(outputs))
    }
}

impl Replica {
    fn carry_out(&mut self, done: Result<Vec<Output>, Code>) -> Address {
        match done {
            Ok(done) => {
                outputs(&done, self.answer.clear());
                self.answer.end()
            }
            Err(code) => self.answer.refuse(code),
        }
    }
}

fn request(
    target: &str,
    kind: u8,
    profile_id: &str,
    number: f64,
    text: &str,
) -> Result<(DeviceId, Request), Code> {
    let target = DeviceId::new(target).map_err(|_| "invalid_device")?;
    let number = if number < 0.0 { None } else { Some(number as u32) };
    let request = Request::from_parts(kind, profile(profile_id)?, number, text);
    Ok((target, request.ok_or("invalid_command")?))
}

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
