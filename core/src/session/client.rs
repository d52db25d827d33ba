//! One device's end: connects, says hello, catches up, sends, and takes what the server says.
//!
//! Invariant: what a frame carries was made durable by an output before it.

mod commands;
mod connection;
mod effect;
mod fault;
mod operate;
mod receive;
mod request;
mod wait;

pub use commands::{COMMANDS_WAITING_MAX, ORDERS_REMEMBERED_MAX};
pub use effect::{Input, Output, Status};
pub use request::{HIDING_BYTES_AIM, LEAVING_OPERATIONS_MAX, REST_AFTER_WRITE_MS, REST_MS};

use self::commands::Commands;
use self::connection::Connection;
use self::request::Requests;
use super::backoff::Backoff;
use super::metrics::{Metrics, Replay, Tally};
use crate::clock::{Timestamp, UnixMillis};
use crate::codec::DecodeError;
use crate::id::{DeviceId, EpochId, HouseholdId, Random};
use crate::message::{ClientFrame, CloseCode, Hello, Session};
use crate::operation::{DeviceRecord, Operation};
use crate::replica::{Now, Record, Replica, Stored};

/// Deltas that may wait for their ack; more operations coalesce in the outbox meanwhile.
pub const IN_FLIGHT_MAX: usize = 8;
/// Encoded bytes that one delta frame aims to stay below.
const DELTA_BYTES_AIM: usize = 64 * 1024;
/// How long a socket may take to open, in milliseconds.
pub const OPEN_TIMEOUT_MS: u64 = 15_000;
/// How long the answer to a hello or a ping may take, in milliseconds.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// By how much the two clocks may disagree on the wait for a welcome, in milliseconds.
pub const WAIT_DOUBT_MS: u64 = 1_000;
/// Silence after which the client asks whether the server is there, in milliseconds.
pub const PING_AFTER_MS: u64 = 25_000;
/// The log may grow to this, or to four times the image, before an image replaces it, in bytes.
pub const LOG_BYTES_MIN: usize = 32 * 1024;
/// Most calls have no more outputs.
const USUAL_OUTPUTS: usize = 4;

/// The connection, if any.
#[derive(Debug)]
enum Link {
    Offline,
    Stopped,
    /// Try again then (steady milliseconds).
    Waiting(u64),
    /// The socket opens; give up then.
    Opening(u64),
    /// The hello left; give up then. With the wall clock at which it left.
    Greeting(u64, UnixMillis),
    Open(Box<Connection>),
    /// A request brought all up to date; the next one is due then.
    Resting(u64),
}

/// One device's replica and its connection.
#[derive(Debug)]
pub struct Client {
    replica: Replica,
    link: Link,
    random: Random,
    backoff: Backoff,
    status: Status,
    close: Option<CloseCode>,
    log_bytes: usize,
    image_bytes: usize,
    tally: Tally,
    commands: Commands,
    requests: Requests,
    /// What a device says of itself once its name is known.
    described: Option<(DeviceId, DeviceRecord)>,
    /// Whether it asks for what changed, where it can.
    differences: bool,
}

/// What loading gave.
#[derive(Debug)]
pub struct Opened {
    /// The client, offline.
    pub client: Client,
    /// Why not all records could be read: set the old ones aside before anything is stored.
    pub damage: Option<DecodeError>,
}

impl Client {
    /// Loads a replica from its stored records; from none it is a new one. [`Client::first_outputs`] are
    /// to be carried out before any others.
    ///
    /// # Errors
    /// [`DecodeError::Version`]: a newer version wrote the storage, which must not be touched.
    pub fn load(
        records: &[Vec<u8>],
        household: Option<HouseholdId>,
        seed: [u8; 16],
    ) -> Result<Opened, DecodeError> {
        let mut random = Random::new(seed);
        let loaded = Replica::load(records, household, &mut random)?;
        let client = Self {
            replica: loaded.replica,
            link: Link::Offline,
            random,
            backoff: Backoff::default(),
            status: Status::Offline,
            close: None,
            log_bytes: 0,
            image_bytes: 0,
            tally: Tally::default(),
            commands: Commands::default(),
            requests: Requests::default(),
            described: None,
            differences: true,
        };
        Ok(Opened { client, damage: loaded.damage })
    }

    /// The image to store first.
    pub fn first_outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.store_image(&mut outputs);
        outputs
    }

    /// Whether it asks for what changed since it was connected; if not, always for the whole state.
    pub fn set_differences(&mut self, differences: bool) {
        self.differences = differences;
    }

    /// Takes an input and says what to do.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::with_capacity(USUAL_OUTPUTS);
        match input {
            // Of an erased household nothing comes back until the app opens it anew.
            Input::Online | Input::Offline if self.close == Some(CloseCode::Erased) => {}
            Input::Online => {
                self.backoff.reset();
                self.requests.measured = false;
                self.requests.rested = false;
                self.disconnect(&mut outputs);
                self.connect(now, &mut outputs);
            }
            Input::Offline => {
                self.disconnect(&mut outputs);
                self.link = Link::Offline;
            }
            Input::Opened(token) => self.greet(now, token, &mut outputs),
            Input::Asked(token) => self.begin_request(now, token, &mut outputs),
            Input::Answered(number, bytes) => self.answered(now, number, bytes, &mut outputs),
            Input::Hiding(token) => self.hide(now, token, &mut outputs),
            // Of a socket that a request took the place of.
            Input::Frame(_) if self.requests.open.is_some() => {}
            Input::Frame(bytes) => self.frame(now, bytes, &mut outputs),
            Input::Closed(code) => self.closed(now, code, &mut outputs),
            Input::Woke => self.woke(now, &mut outputs),
            Input::RejectedTaken => {
                let (record, _) = self.replica.take_rejected();
                self.append(record, &mut outputs);
            }
        }
        self.expire(now, &mut outputs);
        self.tell(now, &mut outputs);
        outputs
    }

    fn connect(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.link = Link::Opening(now.steady_ms.saturating_add(OPEN_TIMEOUT_MS));
        outputs.push(Output::Connect);
    }

    fn disconnect(&mut self, outputs: &mut Vec<Output>) {
        if matches!(self.link, Link::Opening(_) | Link::Greeting(..) | Link::Open(_)) {
            outputs.push(Output::Disconnect);
        }
    }

    fn greet(&mut self, now: Now, token: String, outputs: &mut Vec<Output>) {
        if !matches!(self.link, Link::Opening(_)) {
            return;
        }
        let hello = self.hello(token, outputs);
        outputs.push(Output::Send(hello.encode()));
        let until = now.steady_ms.saturating_add(ANSWER_TIMEOUT_MS);
        self.requests.open = None;
        self.requests.polls = false;
        self.link = Link::Greeting(until, now.unix);
    }

    /// Opens another session.
    fn hello(&mut self, token: String, outputs: &mut Vec<Output>) -> Hello {
        let record = self.replica.begin_session();
        self.append(record, outputs);
        let nonce = self.random.bits() as u32;
        let session = Session { number: self.replica.session_number(), nonce };
        self.requests.session = Some(session);
        self.hello_of(session, token)
    }

    fn hello_of(&self, session: Session, token: String) -> Hello {
        let acked = self.replica.acked();
        Hello {
            token,
            household: self.replica.household().map(HouseholdId::mark),
            replica: self.replica.id(),
            session,
            acked: (acked.through > Timestamp::ZERO).then_some(acked.digest),
            epoch: self.replica.epoch().map(EpochId::mark),
            cursor: self.replica.base_version().filter(|_| self.differences),
            owes_offer: !self.replica.owed().is_empty(),
        }
    }

    /// Sends what never left, as far as the window allows.
    fn flush(&mut self, outputs: &mut Vec<Output>) {
        while let Link::Open(connection) = &self.link
            && !connection.by_request
            && connection.in_flight.len() < IN_FLIGHT_MAX
            && self.send_delta(outputs)
        {}
    }

    /// Sends one delta of what never left, if anything.
    #[inline(never)]
    fn send_delta(&mut self, outputs: &mut Vec<Output>) -> bool {
        let Link::Open(connection) = &self.link else { return false };
        let Some(delta) = self.delta_above(connection.sent, DELTA_BYTES_AIM) else { return false };
        let through = delta.through;
        let Link::Open(connection) = &mut self.link else { return false };
        let number = connection.next_delta.advance();
        connection.in_flight.push(through);
        connection.sent = through;
        let replica = &self.replica;
        let version = replica.base_version().filter(|_| connection.caught_up);
        let live = &mut |operation: &Operation| version.filter(|_| replica.observed_all(operation));
        let frame = ClientFrame::delta(number, &delta, &mut connection.up, live);
        self.tally.leave(&delta.operations, connection.retry_through, &frame);
        if let Some(record) = self.replica.mark_sent(through) {
            self.append(record, outputs);
        }
        outputs.push(Output::Send(frame));
        true
    }

    fn closed(&mut self, now: Now, code: u16, outputs: &mut Vec<Output>) {
        if !matches!(self.link, Link::Opening(_) | Link::Greeting(..) | Link::Open(_)) {
            return;
        }
        self.close = CloseCode::from_code(code);
        match self.close {
            Some(CloseCode::Erased) => self.forget(outputs),
            Some(close) if close.is_final() => self.link = Link::Stopped,
            Some(CloseCode::StaleSession) => {
                self.renew(outputs);
                self.retry(now);
            }
            _ => self.retry(now),
        }
    }

    /// The household was erased, and so is this copy of it; the app decides whether to begin anew.
    fn forget(&mut self, outputs: &mut Vec<Output>) {
        let parts = self.replica.confirmed().all_parts();
        let household = self.replica.household().cloned();
        self.replica = Replica::new(household, &mut self.random);
        self.requests.session = None;
        self.described = None;
        self.tally = Tally::default();
        self.store_image(outputs);
        outputs.push(Output::Changed(parts));
        self.link = Link::Stopped;
    }

    /// Goes on under a new id.
    fn renew(&mut self, outputs: &mut Vec<Output>) {
        self.requests.session = None;
        self.replica.renew(&mut self.random);
        self.store_image(outputs);
    }

    fn retry(&mut self, now: Now) {
        self.requests.rested = false;
        let delay = self.backoff.failed(&mut self.random);
        self.link = Link::Waiting(now.steady_ms.saturating_add(delay));
    }

    fn append(&mut self, record: Record, outputs: &mut Vec<Output>) {
        self.store(record.encode(), outputs);
    }

    fn store(&mut self, bytes: Stored, outputs: &mut Vec<Output>) {
        if self.log_bytes + bytes.len() > LOG_BYTES_MIN.max(4 * self.image_bytes) {
            return self.store_image(outputs);
        }
        self.log_bytes += bytes.len();
        outputs.push(Output::Append(bytes));
    }

    fn store_image(&mut self, outputs: &mut Vec<Output>) {
        let image = self.replica.image();
        self.image_bytes = image.len();
        self.log_bytes = 0;
        outputs.push(Output::Replace(image));
    }

    /// What was counted since the client was loaded.
    pub fn metrics(&self) -> Metrics {
        self.tally.metrics()
    }

    /// How what waited at the last reconnect fares.
    pub fn replay(&self) -> Replay {
        self.tally.replay(self.replica.outbox())
    }

    /// The replica, to read from.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// A new random id, for a profile.
    pub fn random_id(&mut self) -> u64 {
        self.random.bits()
    }

    /// How it stands with the server.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why the server closed the last connection, until the next one is up to date.
    pub fn close_code(&self) -> Option<CloseCode> {
        self.close
    }
}
