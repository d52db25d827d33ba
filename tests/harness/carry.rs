//! Carries out what the client and the room want done, one output at a time, and delivers frames.

use crate::device::Job;
use crate::faults::Fault;
use crate::ledger::{ActionId, Ledger};
use crate::link::{Frame, Kind, Link};
use crate::server::Effect;
use crate::world::World;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, ReplicaId};
use omega_sync_core::message::{ClientFrame, CloseCode};
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::rc::Rc;

/// What a browser says when a socket ends without a word.
const NO_CODE: u16 = 1006;
/// Inputs that share a commit at most.
const BATCH_MAX: u64 = 5;

impl World {
    /// Switches a device on.
    ///
    /// # Panics
    /// When its disk can't be read, or does not hold what it must.
    pub fn boot(&mut self, index: usize) {
        self.say(|| format!("tv {index} is switched on"));
        let device = &mut self.devices[index];
        let seed = self.dice.seed();
        let opened = Client::load(device.disk.records(), Some(self.household.clone()), seed);
        let opened = opened.expect("this version wrote it");
        assert_eq!(opened.damage.is_some(), device.disk.torn, "damage is noticed");
        device.ledger = device.disk.ledger();
        device.started_ms = self.time_ms;
        if device.damaged {
            // Its clock may have been measured by another device.
            Rc::make_mut(&mut device.ledger).measured_ms = None;
        }
        if device.disk.records().is_empty() {
            Rc::make_mut(&mut device.ledger).replica = opened.client.replica().id().0;
        } else if device.disk.torn {
            device.damaged = true;
        } else {
            self.oracle.check_loaded(&device.ledger, opened.client.replica());
        }
        device.client = Some(opened.client);
        self.follow(index, opened.outputs, None, Kind::Rest);
        if !self.devices[index].offline {
            self.input(index, Input::Online);
        }
    }

    /// Something happens to a device that is on.
    pub fn input(&mut self, index: usize, input: Input) {
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms);
        let Some(client) = &mut device.client else {
            return;
        };
        let before = client.status();
        let mut first = Kind::Rest;
        let opened = matches!(input, Input::Opened(_));
        let heard = matches!(input, Input::Frame(_));
        let outputs = client.handle(now, input);
        let after = client.status();
        if opened && outputs.iter().any(|output| matches!(output, Output::Send(_))) {
            device.hello_ms = self.time_ms;
            first = Kind::Hello;
        }
        let welcomed = heard
            && before == Status::Connecting
            && matches!(after, Status::Syncing | Status::Live);
        if welcomed {
            if client.replica().owes_offer() {
                first = Kind::Offer;
            }
            let wall = &mut self.oracle.clocks.walls[index];
            wall.waited_ms = wall.waited_ms.max(self.time_ms - device.hello_ms);
            Rc::make_mut(&mut device.ledger).measured_ms = Some(device.hello_ms);
        }
        if welcomed {
            let offset_ms = client.replica().offset_ms();
            let (skew_ms, waited_ms) = (device.skew_ms, self.time_ms - device.hello_ms);
            self.say(|| {
                format!(
                    "tv {index} is welcomed after {waited_ms} ms: its clock, {skew_ms} ms off, is \
                     corrected by {offset_ms} ms"
                )
            });
        }
        self.follow(index, outputs, None, first);
    }

    /// Follows a call of a device, checks it, and queues what it wants done.
    pub fn follow(
        &mut self,
        index: usize,
        outputs: Vec<Output>,
        fresh: Option<ActionId>,
        first: Kind,
    ) {
        self.tally.calls += 1;
        let device = &mut self.devices[index];
        let may_write = device.link.is_none_or(|place| self.links[place].may_write);
        let client = device.client.as_ref().expect("it was called");
        let damaged = device.damaged;
        let replica = client.replica();
        self.oracle.follow(&mut device.ledger, replica, fresh, damaged, may_write);
        let mut first = Some(first);
        for output in outputs {
            let kind = match &output {
                Output::Send(_) => first.take().unwrap_or(Kind::Rest),
                Output::Changed(parts) => {
                    device.changed.extend(parts.iter().copied());
                    continue;
                }
                Output::Replayed(replay) => {
                    let fates = replay.accepted + replay.coalesced + replay.rejected();
                    assert_eq!(replay.waited, fates + replay.remaining, "{replay:?}");
                    continue;
                }
                Output::Status(_) | Output::Rejected(_) => continue,
                _ => Kind::Rest,
            };
            device.queue.push_back(Job { output, kind, ledger: Rc::clone(&device.ledger) });
        }
        self.look(index);
    }

    /// Carries out one output of a device.
    pub fn carry_out(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let Some(Job { output, kind, ledger }) = device.queue.pop_front() else {
            return;
        };
        let place = index as u64;
        match output {
            Output::Append(record) => {
                self.fingerprint.note(place, &record);
                device.disk.write(false, record, ledger);
            }
            Output::Replace(image) => {
                self.fingerprint.note(place, &image);
                device.disk.write(true, image, ledger);
            }
            Output::Wake(delay_ms) => {
                device.wake_at_ms = Some(device.now(self.time_ms).steady_ms + delay_ms);
            }
            Output::Send(bytes) => {
                device.disk.flush();
                self.fingerprint.note(place | 1 << 16, &bytes);
                let Some(link) = device.link.map(|place| &mut self.links[place]) else {
                    return;
                };
                if !link.broken && !link.ended && link.server_open {
                    let ready_ms = self.time_ms;
                    let frame = Frame { bytes, kind, ledger: Some(ledger), ready_ms };
                    let faults = &mut self.tally.faults;
                    link.up.push(frame, &self.rates, faults, &mut self.dice);
                }
            }
            Output::Connect => {
                device.disk.flush();
                self.connect(index);
            }
            Output::Disconnect => {
                device.disk.flush();
                self.hang_up(index);
            }
            Output::Changed(_) | Output::Status(_) | Output::Rejected(_) | Output::Replayed(_) => {}
        }
    }

    fn connect(&mut self, index: usize) {
        self.hang_up(index);
        if self.devices[index].offline {
            self.input(index, Input::Closed(NO_CODE));
            return;
        }
        let read_only = self.hits(Fault::ReadOnly);
        if read_only {
            self.note(Fault::ReadOnly, || format!("tv {index}'s token allows no writing"));
        }
        self.tally.connections += 1;
        self.links.push(Link {
            device: index,
            device_open: true,
            server_open: true,
            may_write: !read_only,
            ..Link::default()
        });
        let place = self.links.len() - 1;
        self.say(|| format!("tv {index} opens connection {place}"));
        self.alive.push(place);
        let links = &self.links;
        self.alive.retain(|&place| !links[place].is_over());
        self.devices[index].link = Some(place);
        self.input(index, Input::Opened("token".into()));
    }

    /// A device closes its end.
    pub fn hang_up(&mut self, index: usize) {
        let Some(place) = self.devices[index].link.take() else {
            return;
        };
        let late = !self.links[place].up.frames.is_empty() && self.hits(Fault::Late);
        if late {
            let wait_ms = 1 + self.dice.below(120_000);
            self.links[place].late_until_ms = self.time_ms + wait_ms;
            self.note(Fault::Late, || format!("what tv {index} sent last takes {wait_ms} ms"));
        }
        self.links[place].device_open = false;
        self.links[place].down.cut(0);
    }

    /// The time that a device asked for has come.
    pub fn wake(&mut self, index: usize) {
        self.devices[index].wake_at_ms = None;
        self.input(index, Input::Woke);
    }

    /// A frame of a device, or the end of its connection, arrives at the server.
    pub fn deliver_up(&mut self, place: usize) {
        let batch = if self.hits(Fault::Batch) { 1 + self.dice.below(BATCH_MAX) } else { 0 };
        // A server that joins commits takes nothing new before the last one is durable.
        while batch > 0 && !self.server.queue.is_empty() {
            self.carry_out_server();
        }
        if !self.links[place].has_up(self.time_ms) {
            return;
        }
        let mut outputs = self.take_up(place);
        let mut joined = 1;
        for _ in 0..batch {
            let ready = |place: &usize| self.links[*place].has_up(self.time_ms);
            let Some(place) = self.alive.iter().copied().find(ready) else {
                break;
            };
            outputs.extend(self.take_up(place));
            joined += 1;
        }
        if joined > 1 {
            self.note(Fault::Batch, || format!("{joined} inputs share a commit"));
        }
        self.server.queue(outputs, batch > 0);
    }

    fn take_up(&mut self, place: usize) -> Vec<RoomOutput> {
        let connection = ConnectionId(place as u64);
        let link = &mut self.links[place];
        let Some(frame) = link.up.frames.pop_front() else {
            link.server_open = false;
            return self.room_takes(RoomInput::Closed(connection), None, place);
        };
        if link.greeted {
            let ledger = frame.ledger.map(|ledger| (ledger, frame.kind));
            let input = RoomInput::Frame { connection, bytes: frame.bytes };
            return self.room_takes(input, ledger, place);
        }
        match ClientFrame::decode(&frame.bytes) {
            Ok(ClientFrame::Hello(hello)) => {
                link.greeted = true;
                let may_write = link.may_write;
                self.room_takes(RoomInput::Hello { connection, hello, may_write }, None, place)
            }
            _ => {
                link.server_open = false;
                link.close_code = Some(CloseCode::Malformed.code());
                Vec::new()
            }
        }
    }

    fn room_takes(
        &mut self,
        input: RoomInput,
        frame: Option<(Rc<Ledger>, Kind)>,
        place: usize,
    ) -> Vec<RoomOutput> {
        self.tally.calls += 1;
        self.open_room();
        let room = self.server.room.as_mut().expect("just opened");
        let before = room.version();
        let outputs = room.handle(UnixMillis(self.time_ms), input);
        // A frame that was not answered was not taken.
        let answered = outputs
            .iter()
            .any(|output| matches!(output, RoomOutput::Send(id, _) if id.0 == place as u64));
        self.server_took(before, frame.filter(|_| answered), place);
        outputs
    }

    fn open_room(&mut self) {
        if self.server.room.is_some() {
            return;
        }
        let loaded = self.server.store.load(&self.household);
        let room = loaded.unwrap_or_else(|| {
            self.oracle.begin();
            let epoch = EpochId(self.oracle.lives.len() as u64);
            Room::create(self.household.clone(), epoch)
        });
        self.server.room = Some(room);
        self.oracle.forget_undurable();
        self.check_server();
    }

    /// What the server took of a frame, told by what it counts.
    fn server_took(&mut self, before: u64, frame: Option<(Rc<Ledger>, Kind)>, place: usize) {
        let may_write = self.links[place].may_write;
        let room = self.server.room.as_ref().expect("it was called");
        let version = room.version();
        if let Some((ledger, kind)) = frame {
            self.tally.frames += 1;
            let through = room.household().seen().of(ReplicaId(ledger.replica)).0;
            if kind == Kind::Offer {
                if may_write {
                    self.oracle.join(&ledger.known, version);
                }
            } else if version > before {
                self.oracle.take(&ledger, through, may_write, self.time_ms);
            } else {
                assert_eq!(through, self.oracle.taken(ledger.replica), "taken without a version");
            }
            if version > before {
                let index = self.links[place].device;
                self.say(|| {
                    format!("the server takes version {version} from tv {index}: {kind:?}")
                });
                self.check_taken(&ledger, kind, before);
            }
        }
        let room = self.server.room.as_ref().expect("it was called");
        assert_eq!(room.version(), self.oracle.life().version, "the server's version");
    }

    /// Carries out one output of the server.
    pub fn carry_out_server(&mut self) {
        let Some(effect) = self.server.queue.pop_front() else {
            return;
        };
        match effect {
            Effect::Persist(commit) => {
                if self.hits(Fault::CommitFails) {
                    self.note(Fault::CommitFails, || "the disk refuses a commit".into());
                    self.server_ends(Some(CloseCode::StorageUnavailable));
                    return;
                }
                for (version, entry) in &commit.entries {
                    self.fingerprint.note(*version, entry);
                }
                let version = commit.version;
                assert!(self.server.store.commit(commit), "only one process writes");
                self.oracle.durable(version);
                if self.hits(Fault::CommitThenKill) {
                    self.note(Fault::CommitThenKill, || "killed after a commit".into());
                    self.server_ends(None);
                }
            }
            Effect::Tell(RoomOutput::Send(ConnectionId(place), bytes)) => {
                self.fingerprint.note(place | 1 << 32, &bytes);
                let link = &mut self.links[place as usize];
                if link.server_open && link.device_open && !link.broken && !link.ended {
                    let ready_ms = self.time_ms;
                    let frame = Frame { bytes, kind: Kind::Rest, ledger: None, ready_ms };
                    let faults = &mut self.tally.faults;
                    link.down.push(frame, &self.rates, faults, &mut self.dice);
                }
            }
            Effect::Tell(RoomOutput::Close(ConnectionId(place), code)) => {
                let link = &mut self.links[place as usize];
                link.server_open = false;
                link.close_code = Some(code.code());
                self.say(|| format!("the server closes connection {place}: {}", code.reason()));
            }
            Effect::Tell(RoomOutput::Persist(_)) => {}
        }
    }

    /// The server's process ends, with a word for its connections or without.
    pub fn server_ends(&mut self, code: Option<CloseCode>) {
        self.server.kill();
        for &place in &self.alive {
            let link = &mut self.links[place];
            if link.server_open {
                link.server_open = false;
                link.close_code = code.map(CloseCode::code);
            }
        }
    }

    /// A frame, or the end of the connection, arrives at a device.
    pub fn deliver_down(&mut self, index: usize) {
        let Some(place) = self.devices[index].link else {
            return;
        };
        let link = &mut self.links[place];
        if let Some(frame) = link.down.frames.pop_front() {
            self.tally.frames += 1;
            self.input(index, Input::Frame(&frame.bytes));
            return;
        }
        let code = link.close_code.unwrap_or(NO_CODE);
        self.hang_up(index);
        self.input(index, Input::Closed(code));
    }
}
