//! A whole session in one request, for where no socket gets through, or a page goes to the background:
//! see [`crate::message::Exchange`]. The driver decides on it, by answering [`Output::Connect`] with
//! [`super::Input::Asked`] instead of an open socket.
//!
//! The deltas leave before the welcome is known. Invariant: what left stays in the outbox, name and all,
//! until a welcome or ack settles it, here as on a socket; so whatever the server did not take is sent
//! again, and a lost answer costs bytes.

use super::{ANSWER_TIMEOUT_MS, Client, DELTA_BYTES_AIM, Link, Output};
use crate::clock::Timestamp;
use crate::delta::{Context, DELTA_OPERATIONS_MAX, Delta};
use crate::message::{
    ClientFrame, EXCHANGE_FRAMES_MAX, Exchange, Exchanged, FrameNumber, Hello, Session,
};
use crate::replica::Now;

/// Bytes of deltas that one request aims to stay below, by [`crate::operation::Operation::bytes_bound`].
const REQUEST_BYTES_AIM: usize = 256 * 1024;
/// The same for a page that hides, an offer included: browsers let go of 64 KiB at most then, base and
/// token included.
pub const HIDING_BYTES_AIM: usize = 40 * 1024;
/// A client without sockets notes of a write that it may leave, for the case that the page goes away at
/// once, while no more operations than these wait: they don't coalesce any more.
pub const LEAVING_OPERATIONS_MAX: usize = 64;
/// How long a client that gets no socket rests between two requests, in milliseconds, unless told.
pub const REST_MS: u64 = 30_000;
/// How long after a write a client that rests asks, in milliseconds, unless told.
pub const REST_AFTER_WRITE_MS: u64 = 2_000;

/// What a client keeps of its requests.
#[derive(Debug)]
pub(super) struct Requests {
    rest_ms: u64,
    write_ms: u64,
    /// The driver had no socket the last time it was asked for one.
    pub(super) polls: bool,
    /// The last session was a request that went well; the next one is due later.
    pub(super) rested: bool,
    /// The clock's offset was measured since it was last woken.
    pub(super) measured: bool,
    /// The last session that a hello opened in this run.
    pub(super) session: Option<Session>,
    /// How many there were: a page that hides may use one session for several.
    made: u32,
    /// The request that waits for its answer.
    pub(super) open: Option<Request>,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    /// The last stamp of each delta in it.
    pub(super) in_flight: Vec<Timestamp>,
    /// Whether anything but the hello was in it.
    asked_more: bool,
    /// Its session is not its own: what left in it before may arrive after it.
    pub(super) shares_session: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            rest_ms: REST_MS,
            write_ms: REST_AFTER_WRITE_MS,
            polls: false,
            rested: false,
            measured: false,
            session: None,
            made: 0,
            open: None,
        }
    }
}

impl Client {
    /// How long to rest between two requests, and after a write, in milliseconds.
    pub fn set_rest(&mut self, rest_ms: u64, write_ms: u64) {
        (self.requests.rest_ms, self.requests.write_ms) = (rest_ms, write_ms);
    }

    /// There is no socket: one request instead.
    pub(super) fn begin_request(&mut self, now: Now, token: String, outputs: &mut Vec<Output>) {
        if matches!(self.link, Link::Opening(_)) {
            self.requests.polls = true;
            let hello = self.hello(token, outputs);
            self.request(now, hello, false, outputs);
        }
    }

    /// Whether what is written now would leave at once if the page hid.
    pub(super) fn may_hide(&self) -> bool {
        let online = !matches!(self.link, Link::Offline | Link::Stopped);
        online && self.requests.polls && self.may_fill()
    }

    /// Whether the server's clock is known, and that it is this life of its database.
    fn may_fill(&self) -> bool {
        self.requests.measured && self.replica.epoch().is_some()
    }

    /// The page hides and may never come back: what waits leaves now, unless it is on its way.
    pub(super) fn hide(&mut self, now: Now, token: String, outputs: &mut Vec<Output>) {
        let (outbox, acked) = (self.replica.outbox(), self.replica.acked().through);
        let left = match (&self.link, &self.requests.open) {
            (Link::Offline | Link::Stopped, _) => return,
            (Link::Open(connection), _) => connection.sent,
            // It has hidden a moment ago: only that request outlives the page.
            (Link::Greeting(..), Some(Request { shares_session: true, in_flight, .. })) => {
                in_flight.last().copied().unwrap_or(acked)
            }
            _ => acked,
        };
        if outbox.above(left).next().is_none() {
            return;
        }
        self.disconnect(outputs);
        // There may be no time to make another session's number durable.
        let hello = match self.requests.session {
            Some(session) => self.hello_of(session, token),
            None => self.hello(token, outputs),
        };
        self.request(now, hello, true, outputs);
    }

    fn request(&mut self, now: Now, hello: Hello, hides: bool, outputs: &mut Vec<Output>) {
        let mut in_flight = Vec::new();
        let mut frames = Vec::new();
        if self.may_fill() {
            self.fill(hides, &mut frames, &mut in_flight, outputs);
        }
        let asked_more = !frames.is_empty();
        let acked = self.replica.acked().through;
        let frames = frames.iter().map(Vec::as_slice).collect();
        self.requests.made = self.requests.made.wrapping_add(1);
        let request = Exchange { hello, acked, frames }.encode();
        outputs.push(Output::Exchange(self.requests.made, request));
        self.requests.open = Some(Request { in_flight, asked_more, shares_session: hides });
        let until = now.steady_ms.saturating_add(ANSWER_TIMEOUT_MS);
        self.link = Link::Greeting(until, now.unix);
    }

    /// What follows the hello, from an empty context.
    fn fill(
        &mut self,
        hides: bool,
        frames: &mut Vec<Vec<u8>>,
        in_flight: &mut Vec<Timestamp>,
        outputs: &mut Vec<Output>,
    ) {
        let bytes_aim = if hides { HIDING_BYTES_AIM } else { REQUEST_BYTES_AIM };
        let mut bytes = 0;
        let mut number = FrameNumber::FIRST;
        if !self.replica.owed().is_empty() {
            let offer = ClientFrame::offer(number.advance(), self.replica.owed());
            if hides {
                bytes = offer.len();
            }
            if bytes > HIDING_BYTES_AIM {
                // It waits for a request of another size, and so does what is taken after it only.
                return;
            }
            frames.push(offer);
        }
        let mut context = Context::default();
        let retry_through = self.replica.outbox().sent_through();
        let mut sent = self.replica.acked().through;
        while frames.len() < EXCHANGE_FRAMES_MAX && bytes < bytes_aim {
            let Some(delta) = self.delta_above(sent, bytes_aim - bytes) else { break };
            bytes += delta.bytes_bound();
            sent = delta.through;
            in_flight.push(sent);
            let frame = ClientFrame::delta(number.advance(), &delta, &mut context, &mut |_| None);
            self.tally.leave(&delta.operations, retry_through, &frame);
            frames.push(frame);
        }
        if let Some(record) = self.replica.mark_sent(sent) {
            self.append(record, outputs);
        }
    }

    /// The next operations above a stamp that fit one frame, and about as many bytes.
    pub(super) fn delta_above(&self, sent: Timestamp, bytes_aim: usize) -> Option<Delta> {
        let mut bytes = 0;
        let mut operations = Vec::new();
        for operation in self.replica.outbox().above(sent).take(DELTA_OPERATIONS_MAX) {
            bytes += operation.bytes_bound();
            if bytes > DELTA_BYTES_AIM.min(bytes_aim) && !operations.is_empty() {
                break;
            }
            operations.push(operation.clone());
        }
        let through = operations.last()?.timestamp;
        Some(Delta { replica: self.replica.id(), through, operations })
    }

    /// The answer to a request, all of it. One to an earlier request would acknowledge other deltas.
    pub(super) fn answered(
        &mut self,
        now: Now,
        number: u32,
        bytes: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        let is_last = number == self.requests.made && matches!(self.link, Link::Greeting(..));
        let asked_more = match &self.requests.open {
            Some(request) if is_last => request.asked_more,
            _ => return,
        };
        let Ok(answer) = Exchanged::decode(bytes) else {
            self.disconnect(outputs);
            return self.retry(now);
        };
        let before = self.replica.acked().through;
        let owed_before = self.replica.owed().len();
        for frame in answer.frames {
            self.frame(now, frame, outputs);
        }
        self.requests.open = None;
        if let Some(code) = answer.close {
            self.disconnect(outputs);
            return self.closed(now, code, outputs);
        }
        let owed = self.replica.owed().len();
        let caught_up = match &self.link {
            Link::Open(connection) if connection.caught_up || owed > 0 => connection.caught_up,
            // Without a welcome, and a state unless an offer is owed, it was no answer.
            Link::Open(_) | Link::Greeting(..) => {
                self.disconnect(outputs);
                return self.retry(now);
            }
            _ => return,
        };
        let acked = self.replica.acked().through;
        let waits = self.replica.outbox().above(acked).next().is_some();
        let is_done = caught_up && !waits && owed == 0;
        if is_done && self.requests.polls {
            self.rest(now);
        } else if is_done || !asked_more || acked > before {
            self.connect(now, outputs);
        } else {
            // Of another life of the database it took nothing, but now that is known.
            if owed == owed_before {
                self.disconnect(outputs);
            }
            self.retry(now);
        }
    }

    /// All is exchanged: nothing until the next request, whose time is jittered.
    fn rest(&mut self, now: Now) {
        let jitter = self.random.up_to(self.requests.rest_ms / 4);
        let delay = self.requests.rest_ms.saturating_sub(jitter);
        self.requests.rested = true;
        self.link = Link::Resting(now.steady_ms.saturating_add(delay));
    }

    /// A write was made: a client that rests asks sooner.
    pub(super) fn hasten(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let soon = now.steady_ms.saturating_add(self.requests.write_ms);
        if let Link::Resting(at) = &mut self.link
            && soon < *at
        {
            *at = soon;
            outputs.push(Output::Wake(self.requests.write_ms));
        }
    }
}
