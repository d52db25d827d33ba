//! Both ends of the protocol, each against somebody who sends what he likes.

use crate::device::{Device, SEED};
use crate::input::{Script, parts};
use crate::living::{START, change, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::household::Household;
use omega_sync_core::id::{EpochId, HouseholdId, ProfileId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::operation::{Change, Intent};
use omega_sync_core::session::client::{Input, Status};
use omega_sync_core::session::server::{Commit, ConnectionId, Room, RoomInput, RoomOutput, Stored};

/// The connection that sends what it likes, and an honest device's.
pub const HOSTILE: ConnectionId = ConnectionId(1);
pub const HONEST: ConnectionId = ConnectionId(2);
/// Frames that a device and a room may exchange before both are quiet.
const FRAMES_MAX: usize = 2_000;

pub fn household() -> HouseholdId {
    HouseholdId::new("home").expect("short text")
}

/// The intent that a script says, for a device that sees `state`.
pub fn intent(script: &mut Script, state: &Household) -> Intent {
    let (profile, change) = change(script, state);
    match change {
        Change::Add(content, _) => Intent::Add(profile, content),
        Change::Remove(content, _) => Intent::Remove(profile, content),
        Change::Progress(content, value) => Intent::Progress(profile, content, value),
        Change::NameProfile(name) => Intent::NameProfile(profile, name),
        Change::DeleteProfile => Intent::DeleteProfile(profile),
        Change::Device(device, record) => Intent::DescribeDevice(device, record),
    }
}

/// A device whose viewer put two titles on the list.
pub fn new_device() -> Device {
    let mut device = Device::boot(&[], SEED).expect("an empty disk");
    for number in 0..2 {
        device.operate(Intent::Add(ProfileId::DEFAULT, title(number)));
    }
    device
}

/// Frames of a server that says what it likes. A part that begins with 0xff is what the viewer does.
pub fn client_session(data: &[u8]) {
    let mut device = new_device();
    for part in parts(data) {
        device.connect();
        match part.split_first() {
            Some((0xff, script)) => {
                let state = device.client.replica().confirmed().clone();
                device.operate(intent(&mut Script(script), &state));
            }
            Some(_) => device.handle(Input::Frame(part)),
            None => device.handle(Input::Closed(4000)),
        }
    }
    device.comes_back();
}

/// A room, its store, and the honest device in it.
pub struct Home {
    pub room: Room,
    pub stored: Stored,
    pub device: Device,
    pub now: UnixMillis,
    /// Frames that the honest device got.
    pub heard: Vec<Vec<u8>>,
    /// Frames for [`HOSTILE`], for who wants to read them.
    pub answers: Vec<Vec<u8>>,
}

impl Home {
    pub fn new(room: Room) -> Self {
        let stored = Stored {
            epoch: room.epoch(),
            revision: room.revision(),
            version: room.version(),
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: Vec::new(),
            replicas: Vec::new(),
        };
        let (heard, answers) = (Vec::new(), Vec::new());
        Self { room, stored, device: new_device(), now: START, heard, answers }
    }

    fn commit(&mut self, commit: Commit) {
        assert_eq!((commit.epoch, commit.follows), (self.stored.epoch, self.stored.revision));
        self.stored.revision = commit.revision;
        self.stored.version = commit.version;
        self.stored.log.extend(commit.entries);
        for (replica, row) in commit.replicas {
            self.stored.replicas.retain(|(other, _)| *other != replica);
            self.stored.replicas.push((replica, row));
        }
        if let Some(snapshot) = commit.snapshot {
            self.stored.snapshot = snapshot.bytes;
            self.stored.snapshot_version = snapshot.version;
            self.stored.log.retain(|(version, _)| *version > snapshot.version);
        }
    }

    /// A frame from a connection, as the server's socket hands it over.
    pub fn frame(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.now = self.device.now().unix.max(UnixMillis(self.now.0 + 1));
        let input = match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Hello(hello)) => {
                RoomInput::Hello { connection, hello, may_write: true }
            }
            _ => RoomInput::Frame { connection, bytes: bytes.to_vec() },
        };
        self.handle(input);
    }

    /// Something happens to the room; what it wants done is done.
    pub fn handle(&mut self, input: RoomInput) {
        for output in self.room.handle(self.now, input) {
            match output {
                RoomOutput::Persist(commit) => self.commit(commit),
                RoomOutput::Send(HONEST, frame) => {
                    self.device.handle(Input::Frame(&frame));
                    self.heard.push(frame);
                }
                RoomOutput::Send(_, frame) => self.answers.push(frame),
                RoomOutput::Close(HONEST, code) => {
                    self.device.connected = false;
                    self.device.handle(Input::Closed(code.code()));
                }
                RoomOutput::Close(..) => {}
            }
        }
    }

    /// Lets the honest device say what it has to say.
    pub fn settle(&mut self) {
        if !self.device.connected {
            self.room.handle(self.now, RoomInput::Closed(HONEST));
        }
        self.device.connect();
        for _ in 0..FRAMES_MAX {
            if self.device.sent.is_empty() {
                return;
            }
            let frame = self.device.sent.remove(0);
            self.frame(HONEST, &frame);
        }
        panic!("the device and the room do not come to an end");
    }

    /// The honest device has the household, and so has who loads it.
    pub fn check(&mut self) {
        self.settle();
        self.settle();
        assert_eq!(self.device.client.status(), Status::Live);
        assert!(self.device.client.replica().outbox().is_empty());
        assert_eq!(self.device.client.replica().confirmed(), self.room.household());
        self.device.comes_back();
        assert_eq!(self.room.household().check_limits(), Ok(()));
    }
}

/// Frames of a client that says what it likes. A part that begins with 0xff is what the viewer in front
/// of an honest device does.
pub fn room_session(data: &[u8]) {
    let mut home = Home::new(Room::create(household(), EpochId(1)));
    home.settle();
    for part in parts(data) {
        match part.split_first() {
            Some((0xff, script)) => {
                let state = home.room.household().clone();
                home.device.operate(intent(&mut Script(script), &state));
                home.settle();
            }
            _ => home.frame(HOSTILE, part),
        }
        if home.device.connected {
            let household = home.device.client.replica().confirmed();
            assert_eq!(household, home.room.household());
        }
        home.answers.clear();
    }
    home.check();
    let again = Room::load(household(), &home.stored).expect("the room wrote it");
    assert_eq!(again.household(), home.room.household());
    assert_eq!(again.version(), home.room.version());
}
