//! The server's end of one household, for measurements in Node and for a month in a page: the core's
//! own [`Room`] on a store in memory.
//!
//! Frames go in, frames come out; nothing here looks into one, but for the first of a connection,
//! which is a hello as in `edge-server/src/ws.rs`. Tokens are not checked: a measurement has no
//! stranger. Commands pass between connections whose device it was told. Every commit is applied before
//! what follows it leaves, as the core's contract says.

mod devices;
mod taste;

use devices::Devices;
use js_sys::{Array, Error, Uint8Array};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{DeviceId, EpochId, HouseholdId};
use omega_sync_core::message::{ClientFrame, Exchange, Exchanged};
use omega_sync_core::session::server::{Commit, ConnectionId, Room, RoomInput, RoomOutput, Stored};
use std::collections::BTreeSet;
use wasm_bindgen::prelude::*;

/// The one life of this database.
const EPOCH: EpochId = EpochId(0x9e37_79b9_7f4a_7c15);

/// A room, its connections and its store.
#[wasm_bindgen]
pub struct RoomEnd {
    household: HouseholdId,
    room: Room,
    greeted: BTreeSet<u32>,
    devices: Devices,
    stored: Option<Stored>,
}

#[wasm_bindgen]
impl RoomEnd {
    /// A household that nobody has written to yet.
    #[wasm_bindgen(constructor)]
    pub fn new(household: &str) -> Result<RoomEnd, JsValue> {
        let household = HouseholdId::new(household).map_err(|error| failure(&error))?;
        let room = Room::create(household.clone(), EPOCH);
        Ok(Self {
            household,
            room,
            greeted: BTreeSet::new(),
            devices: Devices::new(),
            stored: None,
        })
    }

    /// Says of which device a connection will be, before its first frame: then there are commands.
    pub fn join(&mut self, connection: u32, device: &str, unix_ms: f64) -> Result<Array, JsValue> {
        let device = DeviceId::new(device).map_err(|error| failure(&error))?;
        let id = ConnectionId(u64::from(connection));
        let outputs = self.devices.join(UnixMillis(unix_ms as u64), id, device);
        self.carry_out(outputs)
    }

    /// Answers a frame about taste, where the tables with this id are in use.
    pub fn taste(&self, frame: &[u8], tables: u32, unix_ms: f64) -> Result<Vec<u8>, JsValue> {
        taste::answer(UnixMillis(unix_ms as u64), tables, frame).map_err(|error| failure(&error))
    }

    /// Takes a frame; the first of a connection is its hello. Returns what to do, in this order, as
    /// three cells each: 0, connection, bytes to send; or 1, connection, code to close it with.
    pub fn frame(
        &mut self,
        connection: u32,
        bytes: Vec<u8>,
        unix_ms: f64,
    ) -> Result<Array, JsValue> {
        let id = ConnectionId(u64::from(connection));
        let now = UnixMillis(unix_ms as u64);
        let mut outputs = self.devices.due(now);
        if let Some(told) = self.devices.frame(now, id, &bytes, self.room.household()) {
            outputs.extend(told);
            return self.carry_out(outputs);
        }
        let input = if self.greeted.insert(connection) {
            match ClientFrame::decode(&bytes).map_err(|error| failure(&error))? {
                ClientFrame::Hello(hello) => {
                    RoomInput::Hello { connection: id, hello, may_write: true }
                }
                _ => return Err(Error::new("the first frame is no hello").into()),
            }
        } else {
            RoomInput::Frame { connection: id, bytes }
        };
        outputs.extend(self.room.handle(now, input));
        self.carry_out(outputs)
    }

    /// Takes a whole session in one request, as `POST /api/v1/sync` does. Returns the same cells; those
    /// of `connection`, which must be new, come first and have the answer's bytes.
    pub fn exchange(
        &mut self,
        connection: u32,
        bytes: Vec<u8>,
        unix_ms: f64,
    ) -> Result<Array, JsValue> {
        let id = ConnectionId(u64::from(connection));
        let exchange = Exchange::decode(&bytes).map_err(|error| failure(&error))?;
        let outputs = self.room.exchange(UnixMillis(unix_ms as u64), id, exchange, true);
        let (mut others, mut frames, mut close) = (Vec::new(), Vec::new(), None);
        for output in outputs {
            match output {
                RoomOutput::Send(to, frame) if to == id => frames.push(frame),
                RoomOutput::Close(to, code) if to == id => close = Some(code),
                other => others.push(other),
            }
        }
        others.insert(0, RoomOutput::Send(id, Exchanged::encode(&frames, close)));
        self.carry_out(others)
    }

    /// A connection is gone.
    pub fn closed(&mut self, connection: u32, unix_ms: f64) -> Result<Array, JsValue> {
        self.greeted.remove(&connection);
        let (id, now) = (ConnectionId(u64::from(connection)), UnixMillis(unix_ms as u64));
        let mut outputs = self.room.handle(now, RoomInput::Closed(id));
        outputs.extend(self.devices.leave(now, id));
        self.carry_out(outputs)
    }

    /// The server stops and starts again: every connection is gone, the room is what was stored.
    pub fn restart(&mut self) -> Result<(), JsValue> {
        self.greeted.clear();
        self.devices = Devices::new();
        self.room = match &self.stored {
            Some(stored) => {
                Room::load(self.household.clone(), stored).map_err(|error| failure(&error))?
            }
            None => Room::create(self.household.clone(), EPOCH),
        };
        Ok(())
    }

    fn carry_out(&mut self, outputs: Vec<RoomOutput>) -> Result<Array, JsValue> {
        let list = Array::new();
        for output in outputs {
            let (kind, ConnectionId(connection), value) = match output {
                RoomOutput::Persist(commit) => {
                    self.commit(commit)?;
                    continue;
                }
                RoomOutput::Send(id, frame) => (0, id, Uint8Array::from(&frame[..]).into()),
                RoomOutput::Close(id, code) => (1, id, JsValue::from(code.code())),
            };
            for cell in [JsValue::from(kind), JsValue::from(connection as u32), value] {
                list.push(&cell);
            }
        }
        Ok(list)
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JsValue> {
        let stored = self.stored.get_or_insert_with(|| Stored {
            epoch: commit.epoch,
            revision: 0,
            version: 0,
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: Vec::new(),
            replicas: Vec::new(),
        });
        if stored.revision != commit.follows {
            return Err(Error::new("a commit does not follow the one before").into());
        }
        stored.revision = commit.revision;
        stored.version = commit.version;
        stored.log.extend(commit.entries);
        for (replica, row) in commit.replicas {
            stored.replicas.retain(|(other, _)| *other != replica);
            stored.replicas.push((replica, row));
        }
        if let Some(snapshot) = commit.snapshot {
            stored.snapshot = snapshot.bytes;
            stored.snapshot_version = snapshot.version;
            stored.log.retain(|(version, _)| *version > snapshot.version);
        }
        Ok(())
    }
}

fn failure(error: &dyn std::fmt::Display) -> JsValue {
    Error::new(&error.to_string()).into()
}
