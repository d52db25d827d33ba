//! What a client does when a time has come, and when it wants to be woken next.

use super::{ANSWER_TIMEOUT_MS, Client, Link, Output, PING_AFTER_MS, Status};
use crate::message::ClientFrame;
use crate::replica::Now;

impl Client {
    pub(super) fn woke(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let steady_ms = now.steady_ms;
        match &mut self.link {
            Link::Waiting(at) | Link::Resting(at) if *at <= steady_ms => self.connect(now, outputs),
            Link::Opening(until) | Link::Greeting(until, _) if *until <= steady_ms => {
                self.disconnect(outputs);
                self.retry(now);
            }
            Link::Open(connection) => match connection.pinged_ms {
                Some(pinged) if pinged.saturating_add(ANSWER_TIMEOUT_MS) <= steady_ms => {
                    self.disconnect(outputs);
                    self.retry(now);
                }
                None if connection.heard.steady_ms.saturating_add(PING_AFTER_MS) <= steady_ms => {
                    connection.pinged_ms = Some(steady_ms);
                    outputs.push(Output::Send(ClientFrame::ping()));
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Adds the status, when it changed, and the time to come back.
    pub(super) fn tell(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let status = match &self.link {
            Link::Offline => Status::Offline,
            Link::Stopped => Status::Stopped,
            Link::Resting(_) => Status::Polling,
            Link::Opening(_) | Link::Greeting(..) if self.requests.rested => Status::Polling,
            Link::Waiting(_) | Link::Opening(_) | Link::Greeting(..) => Status::Connecting,
            Link::Open(connection) if connection.caught_up => Status::Live,
            Link::Open(_) => Status::Syncing,
        };
        if matches!(status, Status::Live | Status::Polling) {
            self.close = None;
        }
        if status != self.status {
            self.status = status;
            outputs.push(Output::Status(status));
        }
        let is_open = matches!(self.link, Link::Open(_));
        let ended = self.tally.ended(is_open, status == Status::Live, self.replica.outbox());
        outputs.extend(ended.map(Output::Replayed));
        let due = match &self.link {
            Link::Offline | Link::Stopped => None,
            Link::Waiting(at) | Link::Resting(at) | Link::Opening(at) | Link::Greeting(at, _) => {
                Some(*at)
            }
            Link::Open(connection) => Some(match connection.pinged_ms {
                Some(pinged) => pinged.saturating_add(ANSWER_TIMEOUT_MS),
                None => connection.heard.steady_ms.saturating_add(PING_AFTER_MS),
            }),
        };
        let due = due.into_iter().chain(self.commands.due_ms()).min();
        outputs.extend(due.map(|due| Output::Wake(due.saturating_sub(now.steady_ms))));
    }
}
