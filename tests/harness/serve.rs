//! The nodes of the server: takes frames to their rooms, carries out what a room wants done, one
//! output at a time, and lets rooms follow each other's commits.

use crate::faults::Fault;
use crate::ledger::Ledger;
use crate::link::{Frame, Kind, Link};
use crate::oracle::epoch_of;
use crate::server::{Effect, Took, Wake};
use crate::world::World;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::Reader;
use omega_sync_core::delta::Delta;
use omega_sync_core::id::ReplicaId;
use omega_sync_core::message::{ClientFrame, CloseCode, Exchange, Exchanged, ServerFrame};
use omega_sync_core::session::server::{Commit, ConnectionId, Room, RoomInput, RoomOutput, Stored};
use std::rc::Rc;

/// Inputs that share a commit at most.
const BATCH_MAX: u64 = 5;
/// A node that may lag asks the database this often.
const POLL_MS: u64 = 3_000;

impl World {
    /// A frame of a device, or the end of its connection, arrives at a node.
    pub fn deliver_up(&mut self, place: usize) {
        let batch = if self.hits(Fault::Batch) { 1 + self.dice.below(BATCH_MAX) } else { 0 };
        let node = self.links[place].node;
        // A server that joins commits takes nothing new before the last one is durable.
        while batch > 0 && !self.server.nodes[node].queue.is_empty() {
            self.carry_out_server(node);
        }
        if self.server.nodes.len() > 1 && (batch > 0 || !self.links[place].greeted) {
            self.refresh(node);
        }
        if !self.links[place].has_up(self.time_ms) {
            return;
        }
        let mut effects = self.take_up(place);
        let mut joined = 1;
        for _ in 0..batch {
            let ready = |place: &usize| {
                let link = &self.links[*place];
                link.node == node && link.has_up(self.time_ms)
            };
            let Some(place) = self.alive.iter().copied().find(ready) else {
                break;
            };
            effects.extend(self.take_up(place));
            joined += 1;
        }
        if joined > 1 {
            self.note(Fault::Batch, || format!("{joined} inputs share a commit"));
        }
        self.server.nodes[node].queue(effects, batch > 0);
    }

    fn take_up(&mut self, place: usize) -> Vec<Effect> {
        let connection = ConnectionId(place as u64);
        let link = &mut self.links[place];
        let Some(frame) = link.up.frames.pop_front() else {
            link.server_open = false;
            return self.room_takes(RoomInput::Closed(connection), None, place);
        };
        let ledger = frame.ledger.expect("a device sent it");
        if link.by_request.is_some() {
            return self.take_request(place, &frame.bytes, ledger);
        }
        if link.greeted {
            let input = RoomInput::Frame { connection, bytes: frame.bytes };
            return self.room_takes(input, Some((ledger, frame.kind)), place);
        }
        let Link { node, may_write, .. } = *link;
        let code = match ClientFrame::decode(&frame.bytes) {
            Ok(ClientFrame::Hello(_)) if self.is_cut(node) => CloseCode::StorageUnavailable,
            Ok(ClientFrame::Hello(hello)) => {
                self.links[place].greeted = true;
                self.links[place].session = hello.session;
                self.open_room(node);
                let input = RoomInput::Hello { connection, hello, may_write };
                return self.room_takes(input, Some((ledger, Kind::Hello)), place);
            }
            _ => CloseCode::Malformed,
        };
        let link = &mut self.links[place];
        link.server_open = false;
        link.close_code = Some(code.code());
        Vec::new()
    }

    /// A whole session: what it does is durable before its answer leaves.
    fn take_request(&mut self, place: usize, bytes: &[u8], ledger: Rc<Ledger>) -> Vec<Effect> {
        let Link { node, may_write, .. } = self.links[place];
        if self.is_cut(node) {
            self.links[place].server_open = false;
            return Vec::new();
        }
        self.open_room(node);
        self.tally.calls += 1;
        self.tally.frames += 1;
        let Some(room) = &mut self.server.nodes[node].room else {
            return Vec::new();
        };
        let mut version = room.version();
        let exchange = Exchange::decode(bytes).expect("a device made it");
        self.links[place].session = exchange.hello.session;
        let (now, connection) = (UnixMillis(self.time_ms), ConnectionId(place as u64));
        let outputs = room.exchange(now, connection, exchange, may_write);
        let (mut effects, mut frames, mut close) = (Vec::new(), Vec::new(), None);
        let (mut greeted, mut joined) = (false, false);
        for output in outputs {
            match output {
                RoomOutput::Persist(commit) => {
                    let mut took = Vec::new();
                    if !greeted {
                        took.push(Took::Session { replica: ledger.replica, place });
                    }
                    greeted = true;
                    if commit.version > version {
                        version = commit.version;
                        let through = delta_through(&commit, &ledger);
                        joined |= through.is_none();
                        took.push(self.taken(&ledger, place, through, version));
                    }
                    effects.push(Effect::Persist(commit, took));
                }
                RoomOutput::Send(to, frame) if to == connection => {
                    let offered = matches!(ServerFrame::decode(&frame), Ok(ServerFrame::Offered));
                    if offered && !joined {
                        effects.push(Effect::Known(Rc::clone(&ledger)));
                    }
                    frames.push(frame);
                }
                RoomOutput::Close(to, code) if to == connection => close = Some(code),
                other => effects.push(Effect::Tell(other)),
            }
        }
        effects.push(Effect::Answer(place, Exchanged::encode(&frames, close)));
        effects
    }

    fn taken(
        &mut self,
        ledger: &Rc<Ledger>,
        place: usize,
        through: Option<u64>,
        reached: u64,
    ) -> Took {
        let ledger = Rc::clone(ledger);
        let Some(through) = through else {
            return Took::Offer { ledger, place, reached };
        };
        self.oracle.arrive(&ledger, through);
        Took::Delta { ledger, through, place, at_ms: self.time_ms }
    }

    fn is_cut(&self, node: usize) -> bool {
        self.server.nodes[node].cut_until_ms > self.time_ms
    }

    fn room_takes(
        &mut self,
        input: RoomInput,
        frame: Option<(Rc<Ledger>, Kind)>,
        place: usize,
    ) -> Vec<Effect> {
        self.tally.calls += 1;
        let Some(room) = &mut self.server.nodes[self.links[place].node].room else {
            return Vec::new();
        };
        let seen = |room: &Room| {
            let replica = frame.as_ref().map(|(ledger, _)| ReplicaId(ledger.replica));
            replica.map_or(0, |replica| room.household().seen().of(replica).0)
        };
        let (version, before) = (room.version(), seen(room));
        let outputs = room.handle(UnixMillis(self.time_ms), input);
        let (reached, through) = (room.version(), seen(room));
        let advanced = reached > version;
        assert!(advanced || through == before, "taken without a version");
        // A frame that was not answered was not taken.
        let answered = outputs
            .iter()
            .any(|output| matches!(output, RoomOutput::Send(id, _) if id.0 == place as u64));
        let may_write = self.links[place].may_write;
        let mut took = Vec::new();
        let mut effects = Vec::new();
        if let Some((ledger, kind)) = frame.filter(|_| answered) {
            self.tally.frames += 1;
            match kind {
                Kind::Hello => took.push(Took::Session { replica: ledger.replica, place }),
                Kind::Offer if !may_write => {}
                Kind::Offer if advanced => took.push(Took::Offer { ledger, place, reached }),
                Kind::Offer => effects.push(Effect::Known(ledger)),
                Kind::Rest if advanced => {
                    self.oracle.arrive(&ledger, through);
                    let at_ms = self.time_ms;
                    took.push(Took::Delta { ledger, through, place, at_ms });
                }
                Kind::Rest | Kind::Request => {}
            }
        }
        effects.extend(outputs.into_iter().map(|output| match output {
            RoomOutput::Persist(commit) => Effect::Persist(commit, std::mem::take(&mut took)),
            other => Effect::Tell(other),
        }));
        assert!(took.is_empty(), "taken without a commit: {took:?}");
        effects
    }

    fn open_room(&mut self, node: usize) {
        if self.server.nodes[node].room.is_some() {
            return;
        }
        let loaded = self.server.store.load(&self.household);
        let fresh = loaded.is_none();
        let room = loaded.unwrap_or_else(|| {
            if self.oracle.lives.is_empty() {
                self.oracle.begin();
            }
            Room::create(self.household.clone(), epoch_of(0, node))
        });
        self.server.nodes[node].room = Some(room);
        if !fresh {
            self.check_server(node);
        }
    }

    /// Carries out one output of a node.
    pub fn carry_out_server(&mut self, node: usize) {
        let Some(effect) = self.server.nodes[node].queue.pop_front() else {
            return;
        };
        match effect {
            Effect::Persist(commit, took) => self.persist(node, commit, took),
            Effect::Known(ledger) => {
                let version = self.oracle.life().version;
                self.oracle.join(ledger.owed.as_deref().unwrap_or_default(), version);
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
                let behind = CloseCode::StorageUnavailable;
                assert_ne!(code, behind, "a room knows less than the device of {place}");
                let link = &mut self.links[place as usize];
                link.server_open = false;
                link.close_code = Some(code.code());
                self.say(|| format!("the server closes connection {place}: {}", code.reason()));
            }
            Effect::Answer(place, bytes) => {
                self.fingerprint.note(place as u64 | 1 << 32, &bytes);
                let link = &mut self.links[place];
                if link.server_open && link.device_open && !link.broken && !link.ended {
                    let ready_ms = self.time_ms;
                    let frame = Frame { bytes, kind: Kind::Rest, ledger: None, ready_ms };
                    let faults = &mut self.tally.faults;
                    link.down.push(frame, &self.rates, faults, &mut self.dice);
                }
                self.links[place].server_open = false;
            }
            Effect::Tell(RoomOutput::Persist(_)) => unreachable!("a commit is no message"),
        }
    }

    fn persist(&mut self, node: usize, commit: Commit, took: Vec<Took>) {
        if self.hits(Fault::CommitFails) {
            self.note(Fault::CommitFails, || format!("the disk refuses a commit of node {node}"));
            return self.server_ends(node, Some(CloseCode::StorageUnavailable));
        }
        let cut = self.is_cut(node);
        if cut && self.dice.below(2) == 0 {
            self.say(|| format!("a commit of node {node} does not arrive"));
            return self.server_ends(node, Some(CloseCode::StorageUnavailable));
        }
        let (revision, version) = (commit.revision, commit.version);
        for (version, entry) in &commit.entries {
            self.fingerprint.note(*version, entry);
        }
        let before = self.oracle.life().version;
        if !self.server.store.commit(commit) {
            assert!(self.server.nodes.len() > 1, "only one process writes");
            self.tally.refused += 1;
            self.say(|| format!("node {node} lags: its revision {revision} is refused"));
            return self.server_ends(node, Some(CloseCode::Restart));
        }
        for took in took {
            self.becomes_durable(node, took);
        }
        assert_eq!(version, self.oracle.life().version, "the database's version");
        self.wake_others(node, revision);
        if cut {
            self.say(|| format!("node {node} does not hear that its commit was taken"));
            return self.server_ends(node, Some(CloseCode::StorageUnavailable));
        }
        self.check_node(node, before);
        if self.hits(Fault::CommitThenKill) {
            self.note(Fault::CommitThenKill, || format!("node {node} is killed after a commit"));
            self.server_ends(node, None);
        }
    }

    /// The oracle hears what the database took, in the order in which it did.
    fn becomes_durable(&mut self, node: usize, took: Took) {
        match took {
            Took::Session { replica, place } => {
                self.oracle.session(replica, self.links[place].session)
            }
            Took::Delta { ledger, through, place, at_ms } => {
                self.oracle.check_session(ledger.replica, self.links[place].session);
                let Link { device, may_write, .. } = self.links[place];
                assert!(may_write, "taken from a connection that may only read");
                self.oracle.take(&ledger, through, at_ms);
                let version = self.oracle.life().version;
                self.say(|| format!("node {node} takes version {version} from tv {device}"));
            }
            Took::Offer { ledger, place, reached } => {
                self.oracle.check_session(ledger.replica, self.links[place].session);
                self.oracle.join(ledger.owed.as_deref().unwrap_or_default(), reached);
                let device = self.links[place].device;
                self.say(|| format!("node {node} takes version {reached}: tv {device}'s offer"));
            }
        }
    }

    /// Tells the other nodes of a commit over the bus, which may fail to.
    fn wake_others(&mut self, node: usize, revision: u64) {
        for other in 0..self.server.nodes.len() {
            if other == node {
                continue;
            }
            let poll_at_ms = self.time_ms + 1 + self.dice.below(POLL_MS);
            self.server.nodes[other].poll_at_ms.get_or_insert(poll_at_ms);
            let mut wake = Wake { revision, ready_ms: self.time_ms };
            if self.hits(Fault::BusLoss) {
                self.note(Fault::BusLoss, || format!("node {other} is not told of {revision}"));
                continue;
            }
            if self.hits(Fault::BusDelay) {
                wake.ready_ms += 1 + self.dice.below(10_000);
                self.tally.faults.note(Fault::BusDelay);
            }
            let twice = self.hits(Fault::BusDuplicate);
            let overtakes = self.hits(Fault::BusOvertake);
            let bus = &mut self.server.nodes[other].bus;
            bus.push_back(wake);
            if twice {
                bus.push_back(wake);
                self.tally.faults.note(Fault::BusDuplicate);
            }
            if overtakes && bus.len() > 1 {
                let last = bus.len() - 1;
                bus.swap(last, last - 1);
                self.tally.faults.note(Fault::BusOvertake);
            }
        }
    }

    /// The bus or the clock tells a node to look at the database, if it has a room.
    pub fn call(&mut self, node: usize) {
        let time_ms = self.time_ms;
        let cut = self.is_cut(node);
        let it = &mut self.server.nodes[node];
        let woken = it.bus.front().is_some_and(|wake| wake.ready_ms <= time_ms);
        let wake = if woken { it.bus.pop_front() } else { None };
        let Some(room) = &it.room else {
            it.poll_at_ms = None;
            return;
        };
        match wake {
            Some(wake) if wake.revision <= room.revision() => return,
            Some(_) => {}
            None => it.poll_at_ms = cut.then_some(time_ms + POLL_MS),
        }
        if !cut {
            let whole = self.dice.below(4) == 0;
            it.read = self.server.store.ahead_of(room, whole);
        }
    }

    /// A node hands its room what it read of the database, perhaps a while ago.
    pub fn follow_store(&mut self, node: usize) {
        let it = &mut self.server.nodes[node];
        let (Some(stored), Some(room)) = (it.read.take(), &mut it.room) else {
            return;
        };
        let (version, revision) = (room.version(), room.revision());
        self.tally.calls += 1;
        let outputs = match room.follow(&stored) {
            Ok(outputs) => outputs,
            Err(error) => panic!("node {node} can't follow the database: {error}"),
        };
        let reached = room.revision();
        if reached == revision {
            assert!(outputs.is_empty(), "nothing new was told: {outputs:?}");
            return;
        }
        self.tally.followed += 1;
        self.tally.jumps += u64::from(stored.snapshot_version > version);
        let closes = |output: &&RoomOutput| matches!(output, RoomOutput::Close(..));
        self.tally.moved += outputs.iter().filter(closes).count() as u64;
        it.queue.extend(outputs.into_iter().map(Effect::Tell));
        self.say(|| format!("node {node} follows from revision {revision} to {reached}"));
        self.check_node(node, version);
    }

    /// Brings a room up to date, once its own commits are settled: before a hello, so that it knows
    /// whatever the device may know.
    fn refresh(&mut self, node: usize) {
        while self.server.nodes[node].is_committing() {
            self.carry_out_server(node);
        }
        let cut = self.is_cut(node);
        let it = &mut self.server.nodes[node];
        let room = it.room.as_ref().filter(|_| !cut);
        let stored: Option<Stored> = room.and_then(|room| self.server.store.ahead_of(room, false));
        if stored.is_some() {
            it.read = stored;
            self.follow_store(node);
        }
    }

    /// A node's process ends, with a word for its connections or without.
    pub fn server_ends(&mut self, node: usize, code: Option<CloseCode>) {
        self.server.nodes[node].kill();
        for &place in &self.alive {
            let link = &mut self.links[place];
            if link.server_open && link.node == node {
                link.server_open = false;
                link.close_code = code.map(CloseCode::code);
            }
        }
    }
}

/// Up to which stamp a commit takes a delta of a device; nothing when it takes an offer.
fn delta_through(commit: &Commit, ledger: &Ledger) -> Option<u64> {
    let (_, entry) = commit.entries.last()?;
    let delta = Delta::load(&mut Reader::new(entry)).expect("the room wrote it");
    (delta.replica.0 == ledger.replica).then_some(delta.through.0)
}
