//! Carries out what the client wants done, one output at a time, and delivers it frames.

use crate::device::Job;
use crate::faults::Fault;
use crate::ledger::{ActionId, Ledger};
use crate::link::{Frame, Kind, Link};
use crate::world::World;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use std::rc::Rc;

/// What a browser says when a socket ends without a word.
const NO_CODE: u16 = 1006;

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
        let mut opened = opened.expect("this version wrote it");
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
        let first = opened.client.first_outputs();
        device.client = Some(opened.client);
        self.follow(index, first, None, Kind::Rest);
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
        let answered = matches!(input, Input::Answered(..));
        let id = client.replica().id();
        let mut outputs = client.handle(now, input);
        if answered {
            join(&mut outputs, client);
        }
        let after = client.status();
        if opened && outputs.iter().any(|output| matches!(output, Output::Send(_))) {
            device.hello_ms = self.time_ms;
            first = Kind::Hello;
        }
        if outputs.iter().any(|output| matches!(output, Output::Exchange(..))) {
            device.hello_ms = self.time_ms;
        }
        // An answer that is believed stores an image; so does a new id, which believes nothing.
        let stored = outputs.iter().any(|output| matches!(output, Output::Replace(_)));
        let believed = answered && stored && client.replica().id() == id;
        let by_frame = heard
            && matches!(before, Status::Connecting | Status::Polling)
            && matches!(after, Status::Syncing | Status::Live);
        let welcomed = by_frame || believed;
        if welcomed {
            if by_frame && !client.replica().owed().is_empty() {
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
            Output::Exchange(number, bytes) => {
                device.disk.flush();
                self.fingerprint.note(place | 1 << 16, &bytes);
                self.request(index, number, bytes, ledger);
            }
            Output::Disconnect => {
                device.disk.flush();
                self.hang_up(index);
            }
            Output::Changed(_)
            | Output::Status(_)
            | Output::Rejected(_)
            | Output::Replayed(_)
            | Output::Order(_)
            | Output::Outcome(..)
            | Output::Presence(_) => {}
        }
    }

    fn connect(&mut self, index: usize) {
        self.hang_up(index);
        if self.devices[index].offline {
            self.input(index, Input::Closed(NO_CODE));
            return;
        }
        if self.hits(Fault::Request) {
            self.note(Fault::Request, || format!("tv {index} gets no socket"));
            self.input(index, Input::Asked("token".into()));
            return;
        }
        self.open_link(index, None);
        self.input(index, Input::Opened("token".into()));
    }

    fn request(&mut self, index: usize, number: u32, bytes: Vec<u8>, ledger: Rc<Ledger>) {
        self.hang_up(index);
        if self.devices[index].offline {
            self.input(index, Input::Closed(NO_CODE));
            return;
        }
        let place = self.open_link(index, Some(number));
        let frame =
            Frame { bytes, kind: Kind::Request, ledger: Some(ledger), ready_ms: self.time_ms };
        let faults = &mut self.tally.faults;
        self.links[place].up.push(frame, &self.rates, faults, &mut self.dice);
    }

    fn open_link(&mut self, index: usize, by_request: Option<u32>) -> usize {
        let read_only = self.hits(Fault::ReadOnly);
        if read_only {
            self.note(Fault::ReadOnly, || format!("tv {index}'s token allows no writing"));
        }
        self.tally.connections += 1;
        let nodes = self.server.nodes.len();
        let node = if nodes > 1 { self.dice.place(nodes) } else { 0 };
        self.links.push(Link {
            device: index,
            node,
            device_open: true,
            server_open: true,
            may_write: !read_only,
            by_request,
            ..Link::default()
        });
        let place = self.links.len() - 1;
        self.say(|| format!("tv {index} opens connection {place} to node {node}"));
        self.alive.push(place);
        let links = &self.links;
        self.alive.retain(|&place| !links[place].is_over());
        self.devices[index].link = Some(place);
        place
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

    /// A frame, or the end of the connection, arrives at a device.
    pub fn deliver_down(&mut self, index: usize) {
        let Some(place) = self.devices[index].link else {
            return;
        };
        let link = &mut self.links[place];
        if let Some(frame) = link.down.frames.pop_front() {
            self.tally.frames += 1;
            if let Some(number) = self.links[place].by_request {
                self.input(index, Input::Answered(number, &frame.bytes));
                self.hang_up(index);
            } else {
                self.input(index, Input::Frame(&frame.bytes));
            }
            return;
        }
        let code = link.close_code.unwrap_or(NO_CODE);
        self.hang_up(index);
        self.input(index, Input::Closed(code));
    }
}

/// All that an answer changes, as one write: a ledger is what the device held after a call, and storage
/// that takes the records of one call only in part is what other calls try.
fn join(outputs: &mut Vec<Output>, client: &Client) {
    let stores = |output: &Output| matches!(output, Output::Append(_) | Output::Replace(_));
    let Some(first) = outputs.iter().position(stores) else { return };
    outputs.retain(|output| !stores(output));
    outputs.insert(first, Output::Replace(client.replica().image()));
}
