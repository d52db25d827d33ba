//! A household: its devices, its room, and a network between them that loses nothing.

use crate::record::{Record, difference_of};
use crate::trace::Trace;
use crate::{Body, Kind};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::household::Household;
use omega_sync_core::id::{EpochId, HouseholdId};
use omega_sync_core::message::{ClientFrame, ServerFrame};
use omega_sync_core::operation::Intent;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::collections::VecDeque;

/// The one life of this database.
const EPOCH: EpochId = EpochId(0x9e37_79b9_7f4a_7c15);
const HOUSEHOLD: &str = "home-7c9e6679";
const SEED_BYTES: usize = 16;

/// A device and its connection.
struct Tv {
    client: Client,
    connection: ConnectionId,
    greeted: bool,
}

enum Step {
    Up(usize, Vec<u8>),
    Down(usize, Vec<u8>),
}

/// What passed since it was asked last.
#[derive(Debug, Default)]
pub struct Passed {
    /// Deltas of operations, up.
    pub deltas: Vec<Body>,
    /// Differences, down.
    pub differences: Vec<Body>,
    /// Snapshots, down.
    pub snapshots: Vec<Body>,
}

/// A household at a moment.
pub struct Home {
    room: Room,
    tvs: Vec<Tv>,
    t0: u64,
    /// Unix milliseconds.
    t: u64,
    seed: u64,
    connections: u64,
    steps: VecDeque<Step>,
    passed: Passed,
}

impl Home {
    /// All devices of a trace, online and up to date.
    pub fn new(trace: &Trace) -> Self {
        let household = HouseholdId::new(HOUSEHOLD).expect("a constant that is an id");
        let mut home = Self {
            room: Room::create(household, EPOCH),
            tvs: Vec::new(),
            t0: trace.t0,
            t: trace.t0,
            seed: trace.seed,
            connections: 0,
            steps: VecDeque::new(),
            passed: Passed::default(),
        };
        for _ in &trace.devices {
            home.open();
        }
        home.take();
        home
    }

    /// Adds a device that was never there before, and connects it. Returns its place.
    pub fn open(&mut self) -> usize {
        let at = self.tvs.len();
        let half = |half: u64| mixed(mixed(self.seed) ^ (2 * at as u64 + half)).to_le_bytes();
        let mut seed = [0; SEED_BYTES];
        seed[..8].copy_from_slice(&half(0));
        seed[8..].copy_from_slice(&half(1));
        let opened = Client::load(&[], None, seed).expect("nothing stored is of no newer version");
        let connection = ConnectionId(self.connections);
        self.tvs.push(Tv { client: opened.client, connection, greeted: false });
        self.set_online(at, true);
        at
    }

    /// Lets the time come.
    pub fn at(&mut self, t: u64) {
        self.t = t;
    }

    /// The network of a device returns or goes.
    ///
    /// # Panics
    /// When a device that came online is not up to date: nothing here is lost.
    pub fn set_online(&mut self, at: usize, online: bool) {
        let input = if online { Input::Online } else { Input::Offline };
        let now = self.now();
        let outputs = self.tvs[at].client.handle(now, input);
        self.carry_out(at, outputs);
        let client = &self.tvs[at].client;
        let is_done = client.status() == Status::Live && client.replica().outbox().is_empty();
        assert!(!online || is_done, "device {at} is not up to date: {:?}", client.status());
    }

    /// Lets a device do something.
    ///
    /// # Panics
    /// When it can't be done: a trace has only what can.
    pub fn operate(&mut self, at: usize, intent: Intent) {
        let now = self.now();
        let done = self.tvs[at].client.operate(now, intent);
        self.carry_out(at, done.expect("a trace has only what can be done"));
    }

    /// How many operations of a device wait.
    pub fn waiting(&self, at: usize) -> usize {
        self.tvs[at].client.replica().outbox().len()
    }

    /// What passed since the last call.
    pub fn take(&mut self) -> Passed {
        std::mem::take(&mut self.passed)
    }

    fn now(&self) -> Now {
        Now { unix: UnixMillis(self.t), steady_ms: self.t - self.t0 }
    }

    /// Carries out what a device wants, and all that follows from it.
    fn carry_out(&mut self, at: usize, outputs: Vec<Output>) {
        self.queue(at, outputs);
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Up(at, frame) => self.up(at, frame),
                Step::Down(at, frame) => self.down(at, &frame),
            }
        }
    }

    /// Nothing is stored: no device and no server of a trace stops.
    fn queue(&mut self, at: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Connect => {
                    self.connections += 1;
                    let now = self.now();
                    let tv = &mut self.tvs[at];
                    tv.connection = ConnectionId(self.connections);
                    tv.greeted = false;
                    let greeting = tv.client.handle(now, Input::Opened(String::new()));
                    self.queue(at, greeting);
                }
                Output::Disconnect => {
                    let closed = RoomInput::Closed(self.tvs[at].connection);
                    self.room.handle(UnixMillis(self.t), closed);
                }
                Output::Send(frame) => self.steps.push_back(Step::Up(at, frame)),
                Output::Append(_)
                | Output::Replace(_)
                | Output::Changed(_)
                | Output::Status(_)
                | Output::Wake(_)
                | Output::Rejected(_)
                | Output::Replayed(_)
                | Output::Exchange(..)
                | Output::Order(_)
                | Output::Outcome(..)
                | Output::Presence(_) => {}
            }
        }
    }

    fn up(&mut self, at: usize, frame: Vec<u8>) {
        let tv = &mut self.tvs[at];
        let connection = tv.connection;
        let decoded = ClientFrame::decode(&frame).expect("a client writes what can be read");
        let input = match decoded {
            ClientFrame::Hello(hello) if !tv.greeted => {
                tv.greeted = true;
                RoomInput::Hello { connection, hello, may_write: true }
            }
            other => {
                if let ClientFrame::Delta(_, body) = other {
                    let waiting = tv.client.replica().outbox().iter();
                    let records = waiting.map(|p| Record::Operation(p.operation.clone()));
                    let body = Body { bytes: body.0.to_vec(), records: records.collect() };
                    self.passed.deltas.push(body);
                }
                RoomInput::Frame { connection, bytes: frame }
            }
        };
        for output in self.room.handle(UnixMillis(self.t), input) {
            match output {
                RoomOutput::Persist(_) => {}
                RoomOutput::Send(connection, frame) => {
                    let reader = self.tvs.iter().position(|tv| tv.connection == connection);
                    let reader = reader.expect("a room sends to those who are connected");
                    self.steps.push_back(Step::Down(reader, frame));
                }
                RoomOutput::Close(_, code) => panic!("device {at} was closed with {code:?}"),
            }
        }
    }

    fn down(&mut self, at: usize, frame: &[u8]) {
        let decoded = ServerFrame::decode(frame).expect("a room writes what can be read");
        let kind = match decoded {
            ServerFrame::Snapshot(..) => Some(Kind::Snapshot),
            ServerFrame::Difference(_, 1.., _) => Some(Kind::DayDown),
            _ => None,
        };
        let now = self.now();
        let client = &mut self.tvs[at].client;
        // A snapshot says everything, to a device that knows nothing.
        let before = match kind {
            Some(Kind::DayDown) => client.replica().confirmed().clone(),
            _ => Household::default(),
        };
        let outputs = client.handle(now, Input::Frame(frame));
        if let Some(kind) = kind {
            let records = difference_of(&before, client.replica().confirmed());
            let body = Body { bytes: frame[1..].to_vec(), records };
            match kind {
                Kind::Snapshot => self.passed.snapshots.push(body),
                _ => self.passed.differences.push(body),
            }
        }
        self.queue(at, outputs);
    }
}

/// Splitmix64 (Steele, Lea, Flood 2014), so that the replica ids of two households have no bytes in
/// common that a dictionary could know.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
