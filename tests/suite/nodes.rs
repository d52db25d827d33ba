//! Two nodes on one store: what a room takes in of another node's commits, and what it must not.

use crate::home::{TODAY_MS, add, household, play, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::{ClientFrame, CloseCode};
use omega_sync_core::operation::Intent;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{
    Commit, ConnectionId, Room, RoomInput, RoomOutput, SNAPSHOT_EVERY, Stored,
};
use std::collections::VecDeque;

/// Of all frames that a refused commit costs a TV that has something to say and something to hear.
const BYTES_BACK_MAX: usize = 100;
const NOW: Now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
/// What a TV sent that never arrived.
type Held = Option<Vec<Vec<u8>>>;

struct Tv {
    client: Client,
    node: usize,
    connection: u64,
    held: Held,
    closed: Vec<CloseCode>,
}

/// Nodes, their store, and a perfect network. Time stands still.
struct Nodes {
    rooms: Vec<Room>,
    stored: Option<Stored>,
    tvs: Vec<Tv>,
    messages: VecDeque<(u64, Result<Vec<u8>, CloseCode>)>,
    connections: u64,
    refused: usize,
    /// Of all frames, both ways.
    bytes: usize,
}

impl Nodes {
    /// Two nodes, and a TV on each.
    fn new() -> Self {
        let room = |node| Room::create(household(), EpochId(node));
        let mut nodes = Self {
            rooms: vec![room(1), room(2)],
            stored: None,
            tvs: Vec::new(),
            messages: VecDeque::new(),
            connections: 0,
            refused: 0,
            bytes: 0,
        };
        nodes.tv(0);
        nodes.rooms[1] = nodes.load();
        nodes.tv(1);
        nodes.follow(0).expect("it only lags");
        nodes
    }

    fn tv(&mut self, node: usize) {
        let number = self.tvs.len() as u8 + 1;
        let client = Client::load(&[], None, [number; 16]).expect("nothing is stored").client;
        self.tvs.push(Tv { client, node, connection: 0, held: None, closed: Vec::new() });
        self.input(self.tvs.len() - 1, Input::Online);
    }

    fn load(&self) -> Room {
        Room::load(household(), self.stored.as_ref().expect("stored")).expect("a room wrote it")
    }

    /// What a node lacks, whole.
    fn stored(&self) -> Stored {
        self.stored.clone().expect("stored")
    }

    fn follow(&mut self, node: usize) -> Result<usize, String> {
        self.follow_to(node, &self.stored())
    }

    /// Says how many frames and closes that led to.
    fn follow_to(&mut self, node: usize, stored: &Stored) -> Result<usize, String> {
        let before = self.rooms[node].household().clone();
        let outputs = self.rooms[node].follow(stored).map_err(|error| {
            assert_eq!(*self.rooms[node].household(), before, "nothing has changed");
            error.to_string()
        })?;
        let told = outputs.len();
        self.carry_out(node, outputs);
        self.talk();
        Ok(told)
    }

    fn commit(&mut self, commit: Commit) -> bool {
        let stored = self.stored.get_or_insert_with(|| Stored {
            epoch: commit.epoch,
            revision: 0,
            version: 0,
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: Vec::new(),
            replicas: Vec::new(),
        });
        if (stored.epoch, stored.revision) != (commit.epoch, commit.follows) {
            return false;
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
        true
    }

    fn carry_out(&mut self, node: usize, outputs: Vec<RoomOutput>) {
        for output in outputs {
            match output {
                RoomOutput::Persist(commit) => {
                    if !self.commit(commit) {
                        self.refused += 1;
                        self.rooms[node] = self.load();
                        let here = self.tvs.iter().filter(|tv| tv.node == node);
                        let close = |tv: &Tv| (tv.connection, Err(CloseCode::Restart));
                        self.messages.extend(here.map(close));
                        return;
                    }
                }
                RoomOutput::Send(to, frame) => {
                    self.bytes += frame.len();
                    self.messages.push_back((to.0, Ok(frame)));
                }
                RoomOutput::Close(to, code) => self.messages.push_back((to.0, Err(code))),
            }
        }
    }

    fn talk(&mut self) {
        while let Some((to, message)) = self.messages.pop_front() {
            let Some(place) = self.tvs.iter().position(|tv| tv.connection == to) else {
                continue;
            };
            if let Err(code) = message {
                self.tvs[place].closed.push(code);
            }
            let input = match &message {
                Ok(frame) => Input::Frame(frame),
                Err(code) => Input::Closed(code.code()),
            };
            let outputs = self.tvs[place].client.handle(NOW, input);
            self.carry_out_tv(place, outputs);
        }
    }

    fn input(&mut self, place: usize, input: Input) {
        let outputs = self.tvs[place].client.handle(NOW, input);
        self.carry_out_tv(place, outputs);
        self.talk();
    }

    fn operate(&mut self, place: usize, intent: Intent) {
        let outputs = self.tvs[place].client.operate(NOW, intent).expect("a valid action");
        self.carry_out_tv(place, outputs);
        self.talk();
    }

    fn carry_out_tv(&mut self, place: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Connect => {
                    self.connections += 1;
                    self.tvs[place].connection = self.connections;
                    let opened = Input::Opened(String::new());
                    let outputs = self.tvs[place].client.handle(NOW, opened);
                    self.carry_out_tv(place, outputs);
                }
                Output::Send(frame) => match &mut self.tvs[place].held {
                    Some(held) => held.push(frame),
                    None => self.deliver(place, frame),
                },
                _ => {}
            }
        }
    }

    fn deliver(&mut self, place: usize, bytes: Vec<u8>) {
        let Tv { connection, node, .. } = self.tvs[place];
        self.deliver_to(node, connection, bytes);
    }

    fn deliver_to(&mut self, node: usize, connection: u64, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        let connection = ConnectionId(connection);
        let input = match ClientFrame::decode(&bytes) {
            Ok(ClientFrame::Hello(hello)) => {
                RoomInput::Hello { connection, hello, may_write: true }
            }
            _ => RoomInput::Frame { connection, bytes },
        };
        let outputs = self.rooms[node].handle(NOW.unix, input);
        self.carry_out(node, outputs);
    }

    fn lists(&self, place: usize, name: &str) -> bool {
        self.tvs[place].client.replica().is_listed(ProfileId::DEFAULT, &title(name))
    }

    fn position_s(&self, place: usize, name: &str) -> Option<u32> {
        let replica = self.tvs[place].client.replica();
        replica.progress(ProfileId::DEFAULT, &title(name)).map(|item| item.progress.position_s)
    }

    /// Both rooms and both TVs hold the same.
    fn check_equal(&self) {
        let room = self.load();
        for (node, other) in self.rooms.iter().enumerate() {
            let at = (other.epoch(), other.revision(), other.version());
            assert_eq!(at, (room.epoch(), room.revision(), room.version()), "node {node}");
            assert_eq!(other.household(), room.household(), "node {node}");
        }
        for (place, tv) in self.tvs.iter().enumerate() {
            assert_eq!(tv.client.status(), Status::Live, "tv {place}");
            assert!(tv.client.replica().outbox().is_empty(), "tv {place}");
            assert_eq!(tv.client.replica().confirmed(), room.household(), "tv {place}");
        }
    }
}

fn remove(name: &str) -> Intent {
    Intent::Remove(ProfileId::DEFAULT, title(name))
}

#[test]
fn what_one_node_takes_the_other_ones_tvs_show() {
    let mut nodes = Nodes::new();
    nodes.operate(0, add("film"));
    nodes.operate(0, play("film", 60));
    assert!(!nodes.lists(1, "film"));
    assert_eq!(nodes.follow(1), Ok(2), "an update for each delta");
    assert!(nodes.lists(1, "film"));
    // What the other TV saw there is what it removes here, though neither names it.
    nodes.operate(1, remove("film"));
    nodes.operate(1, play("film", 120));
    assert_eq!(nodes.follow(0), Ok(2));
    assert!(!nodes.lists(0, "film"));
    assert_eq!(nodes.position_s(0, "film"), Some(120));
    nodes.check_equal();
    assert_eq!(nodes.refused, 0);
    // Who comes back is brought from its cursor to the present by what both nodes touched.
    nodes.input(0, Input::Online);
    nodes.follow(1).expect("it only lags");
    nodes.check_equal();
}

#[test]
fn a_removal_does_not_take_what_its_viewer_had_not_seen() {
    let mut nodes = Nodes::new();
    nodes.operate(0, add("film"));
    nodes.follow(1).expect("it only lags");
    // It is added anew on one node, while a viewer at the other one removes what is shown there.
    nodes.tvs[1].held = Some(Vec::new());
    nodes.operate(1, remove("film"));
    nodes.operate(0, add("film"));
    nodes.follow(1).expect("it only lags");
    for frame in nodes.tvs[1].held.take().expect("held") {
        nodes.deliver(1, frame);
    }
    nodes.talk();
    nodes.follow(0).expect("it only lags");
    assert!(nodes.lists(0, "film") && nodes.lists(1, "film"), "the second add was not seen");
    nodes.check_equal();
}

#[test]
fn a_commit_that_lags_is_refused_and_nothing_is_lost() {
    let mut nodes = Nodes::new();
    nodes.operate(0, add("film"));
    nodes.operate(1, add("other"));
    assert_eq!(nodes.refused, 1);
    assert_eq!(nodes.tvs[1].closed, [CloseCode::Restart]);
    let before = nodes.bytes;
    nodes.input(1, Input::Online);
    let bytes = nodes.bytes - before;
    println!("coming back after a refusal: {bytes} bytes");
    assert!(bytes <= BYTES_BACK_MAX, "{bytes}");
    nodes.follow(0).expect("it only lags");
    assert!(nodes.lists(0, "other") && nodes.lists(1, "film"));
    nodes.check_equal();
}

#[test]
fn a_hello_changes_no_version_and_is_refused_all_the_same() {
    let mut nodes = Nodes::new();
    let version = nodes.rooms[0].version();
    nodes.input(0, Input::Online);
    assert_eq!(nodes.rooms[0].version(), version);
    nodes.input(1, Input::Online);
    assert_eq!(nodes.refused, 1, "its node had not heard of the other hello");
    nodes.input(1, Input::Online);
    nodes.follow(0).expect("it only lags");
    nodes.check_equal();
}

#[test]
fn two_nodes_that_create_a_household_make_one() {
    let mut nodes = Nodes::new();
    nodes.rooms = [1, 2].map(|node| Room::create(household(), EpochId(node))).into();
    nodes.stored = None;
    nodes.tvs.clear();
    nodes.tv(0);
    nodes.tv(1);
    assert_eq!(nodes.refused, 1);
    nodes.input(1, Input::Online);
    nodes.follow(0).expect("it only lags");
    nodes.operate(0, add("film"));
    nodes.follow(1).expect("it only lags");
    nodes.check_equal();
}

#[test]
fn a_session_ends_when_its_replica_comes_to_another_node() {
    let mut nodes = Nodes::new();
    // The old connection does not hear that its TV has gone, and has something on its way.
    let old = nodes.tvs[0].connection;
    nodes.tvs[0].held = Some(Vec::new());
    nodes.operate(0, add("film"));
    let late = nodes.tvs[0].held.take().expect("held");
    nodes.follow(1).expect("it only lags");
    nodes.tvs[0].node = 1;
    nodes.input(0, Input::Online);
    assert!(nodes.lists(0, "film"));
    assert_eq!(nodes.rooms[0].connections(), 1);
    let told = nodes.follow(0);
    assert_eq!(told, Ok(1), "closed, and not told of its own delta");
    assert_eq!(nodes.rooms[0].connections(), 0);
    let revision = nodes.rooms[0].revision();
    for frame in late {
        nodes.deliver_to(0, old, frame);
    }
    assert_eq!(nodes.rooms[0].revision(), revision, "nobody is there to say it");
    nodes.check_equal();
}

#[test]
fn a_late_frame_of_an_older_session_is_refused_by_the_store() {
    let mut nodes = Nodes::new();
    let old = nodes.tvs[0].connection;
    nodes.tvs[0].held = Some(Vec::new());
    nodes.operate(0, add("film"));
    let late = nodes.tvs[0].held.take().expect("held");
    nodes.tvs[0].node = 1;
    nodes.input(0, Input::Online);
    let revision = nodes.stored().revision;
    for frame in late {
        nodes.deliver_to(0, old, frame);
    }
    assert_eq!((nodes.refused, nodes.stored().revision), (1, revision));
    nodes.check_equal();
}

#[test]
fn a_node_that_lags_behind_a_snapshot_goes_by_the_whole_state() {
    let mut nodes = Nodes::new();
    nodes.operate(0, add("film"));
    nodes.operate(0, add("gone"));
    nodes.follow(1).expect("it only lags");
    nodes.operate(0, remove("gone"));
    for number in 0..SNAPSHOT_EVERY as u32 {
        nodes.operate(0, play("film", number));
    }
    nodes.operate(0, add("after"));
    assert!(nodes.stored().snapshot_version > nodes.rooms[1].version());
    assert!(!nodes.stored().log.is_empty());
    assert_eq!(nodes.follow(1), Ok(1), "one frame");
    assert!(nodes.lists(1, "after") && !nodes.lists(1, "gone"));
    // It knows now what was there to be seen.
    nodes.operate(1, remove("after"));
    nodes.follow(0).expect("it only lags");
    assert!(!nodes.lists(0, "after"));
    nodes.check_equal();
    // And it does not take the next snapshot sooner than the other would.
    let before = nodes.stored().snapshot_version;
    nodes.operate(1, play("film", 1));
    assert_eq!(nodes.stored().snapshot_version, before);
}

#[test]
fn who_follows_past_a_snapshot_takes_the_next_one_in_time() {
    let mut nodes = Nodes::new();
    for number in 0..SNAPSHOT_EVERY as u32 {
        nodes.operate(0, play("film", number));
        nodes.follow(1).expect("it only lags");
    }
    let snapshot_version = nodes.stored().snapshot_version;
    assert_eq!(snapshot_version, nodes.rooms[1].version());
    nodes.operate(1, play("film", 1));
    assert_eq!(nodes.stored().snapshot_version, snapshot_version, "not again");
    for number in 1..SNAPSHOT_EVERY as u32 {
        nodes.operate(1, play("film", number));
    }
    assert_eq!(nodes.stored().snapshot_version, 2 * snapshot_version);
}

#[test]
fn a_room_follows_only_what_it_can() {
    let mut nodes = Nodes::new();
    let old = nodes.stored();
    nodes.operate(0, add("film"));
    nodes.operate(0, play("film", 60));
    nodes.operate(0, play("film", 70));
    let stored = nodes.stored();
    let hole = |left_out: usize| {
        let mut stored = stored.clone();
        stored.log.remove(left_out);
        stored
    };
    for (broken, why) in [
        (hole(0), "versions of the log"),
        (hole(1), "versions of the log"),
        (hole(2), "end of the log"),
        (Stored { epoch: EpochId(7), ..stored.clone() }, "epoch of the store"),
        (
            Stored { replicas: vec![(stored.replicas[0].0, vec![0xff])], ..stored.clone() },
            "too early",
        ),
        (Stored { snapshot_version: 2, ..stored.clone() }, "version of the snapshot"),
    ] {
        let error = nodes.follow_to(1, &broken).expect_err("it can't be followed");
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(nodes.follow_to(1, &stored), Ok(3), "nothing of that is left");
    // What it read late, and what it has: nothing to tell.
    assert_eq!(nodes.follow_to(1, &old), Ok(0));
    assert_eq!(nodes.follow_to(1, &stored), Ok(0));
    nodes.check_equal();
    // A store that was put back without a new epoch, and has gone on.
    let back = Stored { revision: stored.revision + 1, version: 2, log: Vec::new(), ..stored };
    nodes.follow_to(1, &back).expect_err("its versions went back");
}

/// Why a driver of several nodes looks at the store before each hello.
#[test]
fn a_room_must_know_what_the_device_may_know() {
    for looks in [false, true] {
        let mut nodes = Nodes::new();
        nodes.tv(0);
        nodes.operate(2, add("film"));
        nodes.tvs[2].node = 1;
        if looks {
            nodes.follow(1).expect("it only lags");
        }
        nodes.input(2, Input::Online);
        let tv = &nodes.tvs[2];
        let closed: &[_] = if looks { &[] } else { &[CloseCode::StorageUnavailable] };
        assert_eq!(tv.closed, closed, "a node that lags takes its store for an older one");
        assert_eq!(tv.client.status() == Status::Live, looks);
    }
}
