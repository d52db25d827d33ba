//! What happens in the sessions, and who answers.

use super::super::meaning::{hex, with};
use super::super::records::Device;
use super::super::story::{START_MS, content};
use super::{at_end, call, load, output};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, HouseholdId, ProfileId};
use omega_sync_core::message::{ClientFrame, CloseCode, ServerFrame};
use omega_sync_core::operation::{Intent, PlayState, Progress};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output, PING_AFTER_MS};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use serde_json::{Value, json};
use std::collections::VecDeque;

const HOUSEHOLD: &str = "home-7";
const FRIEND: ConnectionId = ConnectionId(1);
const KIDS: &str = "00c0ffee00000001";

pub fn vectors() -> Vec<Value> {
    vec![an_evening(), a_server_of_another_version(), a_copied_disk()]
}

/// A session that is written down, the server, and another device of the household.
struct Evening {
    vector: Value,
    client: Client,
    room: Room,
    friend: Client,
    steps: Vec<Value>,
    /// What the server said and nobody has heard yet.
    answers: VecDeque<RoomOutput>,
    now_ms: u64,
    /// The connection in use; every `online` takes the next.
    connection: u64,
}

impl Evening {
    fn new(name: &str, records: &[Vec<u8>]) -> Self {
        let records: Vec<String> = records.iter().map(|record| hex(record)).collect();
        let vector = json!({
            "name": name, "household": HOUSEHOLD, "seed": hex(b"an evening, seed"),
            "records": records,
        });
        let household = HouseholdId::new(HOUSEHOLD).expect("a valid id");
        let friend =
            Client::load(&[], Some(household.clone()), [9; 16]).expect("nothing is stored");
        let (client, first) = load(&vector);
        let mut evening = Self {
            client,
            vector: with(vector, json!({"first": first})),
            room: Room::create(household, EpochId(0x1122_3344_5566_7788)),
            friend: friend.client,
            steps: Vec::new(),
            answers: VecDeque::new(),
            now_ms: 0,
            connection: FRIEND.0,
        };
        evening.tell_friend(Input::Online);
        evening.tell_friend(Input::Opened(String::new()));
        evening.answer();
        evening
    }

    fn now(&self) -> Now {
        Now { unix: UnixMillis(START_MS + self.now_ms), steady_ms: self.now_ms }
    }

    /// Makes a call, writes down what came of it, and lets the server answer.
    fn call(&mut self, name: &str, args: Value) {
        let outputs = self.step(name, args);
        self.send(ConnectionId(self.connection), outputs);
        self.answer();
    }

    /// Makes a call and writes down what came of it, while nobody is at the other end.
    fn step(&mut self, name: &str, args: Value) -> Vec<Output> {
        let now = self.now();
        let step = json!({"call": name, "args": args, "now": [now.unix.0, now.steady_ms]});
        let outputs = call(&mut self.client, &step);
        let named: Value = outputs.iter().map(output).collect();
        self.steps.push(with(step, json!({"outputs": named})));
        self.now_ms += 1_000;
        outputs
    }

    fn send(&mut self, connection: ConnectionId, outputs: Vec<Output>) {
        for output in outputs {
            let Output::Send(bytes) = output else { continue };
            let input = match ClientFrame::decode(&bytes) {
                Ok(ClientFrame::Hello(hello)) => {
                    RoomInput::Hello { connection, hello, may_write: true }
                }
                _ => RoomInput::Frame { connection, bytes },
            };
            let time = UnixMillis(START_MS + 700 + self.now_ms);
            self.answers.extend(self.room.handle(time, input));
        }
    }

    /// Delivers what the server says, in its order, until nobody has more to say.
    fn answer(&mut self) {
        while let Some(answer) = self.answers.pop_front() {
            match answer {
                RoomOutput::Send(FRIEND, bytes) => self.tell_friend(Input::Frame(&bytes)),
                RoomOutput::Send(id, bytes) if id.0 == self.connection => {
                    let outputs = self.step("frame", json!([hex(&bytes)]));
                    self.send(id, outputs);
                }
                RoomOutput::Close(id, code) if id.0 == self.connection => {
                    self.step("closed", json!([code.code()]));
                }
                RoomOutput::Send(..) | RoomOutput::Close(..) | RoomOutput::Persist(_) => {}
            }
        }
    }

    fn tell_friend(&mut self, input: Input) {
        let outputs = self.friend.handle(self.now(), input);
        self.send(FRIEND, outputs);
    }

    fn friend(&mut self, intent: Intent) {
        self.now_ms += 1_000;
        let outputs = self.friend.operate(self.now(), intent).expect("it can be done");
        self.send(FRIEND, outputs);
        self.answer();
    }

    fn connect(&mut self) {
        self.connection += 1;
        self.call("online", json!([]));
        self.call("opened", json!(["a.token"]));
    }

    fn hang_up(&mut self) {
        self.room.handle(UnixMillis(0), RoomInput::Closed(ConnectionId(self.connection)));
        self.call("offline", json!([]));
    }

    fn end(self) -> Value {
        with(self.vector, json!({"steps": self.steps, "shown": at_end(&self.client)}))
    }
}

fn position(position_s: u32) -> Intent {
    let progress = Progress { position_s, duration_s: 8_340, state: PlayState::Paused };
    Intent::Progress(ProfileId::DEFAULT, content("tmdb:550"), Some(progress))
}

/// Catches up by snapshot and difference, sends, is told, is refused, pings.
fn an_evening() -> Value {
    let kids = ProfileId::new(KIDS).expect("a profile id");
    let mut tv = Evening::new("an evening with another device", &[]);
    tv.friend(Intent::Add(ProfileId::DEFAULT, content("tmdb:550")));
    tv.call("watchlistAdd", json!(["", "tmdb:13"]));
    tv.connect();
    tv.call("progressSet", json!(["", "tmdb:550", 60, 8_340, 0]));
    tv.call("progressSet", json!(["", "tmdb:550", 70, 8_340, 0]));
    tv.friend(position(75));
    tv.call("profileName", json!([KIDS, "Kids"]));
    tv.call("watchlistAdd", json!([KIDS, "tt0111161"]));
    tv.friend(Intent::Add(kids, content("tt0111162")));
    tv.now_ms += PING_AFTER_MS;
    tv.call("wake", json!([]));
    tv.hang_up();
    tv.call("watchlistRemove", json!(["", "tmdb:550"]));
    tv.call("progressSet", json!([KIDS, "tt0111161", 5, 0, 2]));
    tv.call("progressRemove", json!(["", "tmdb:550"]));
    tv.friend(Intent::DeleteProfile(kids));
    tv.friend(Intent::Add(ProfileId::DEFAULT, content("tmdb:551")));
    tv.connect();
    tv.end()
}

/// Neither a server nor a welcome of another version costs the device anything.
fn a_server_of_another_version() -> Value {
    let mut tv = Evening::new("a server of another version", &[]);
    tv.call("watchlistAdd", json!(["", "tmdb:13"]));
    tv.call("online", json!([]));
    tv.step("opened", json!([""]));
    // The welcome of version 2, then a server that says that it does not speak version 1.
    let welcome = hex(&[0x20, 0, 1, 0]);
    assert!(ServerFrame::decode(&[0x20, 0, 1, 0]).is_err());
    tv.step("frame", json!([welcome]));
    tv.step("online", json!([]));
    tv.step("opened", json!([""]));
    tv.step("closed", json!([CloseCode::VersionUnsupported.code()]));
    tv.step("watchlistAdd", json!(["", "tmdb:14"]));
    tv.end()
}

/// The server closes with `stale_session`: the replica goes on under a new id.
fn a_copied_disk() -> Value {
    let mut tv = Evening::new("a disk that was copied", &Device::new().records);
    tv.call("watchlistAdd", json!(["", "tmdb:13"]));
    tv.step("online", json!([]));
    tv.step("opened", json!([""]));
    tv.step("closed", json!([CloseCode::StaleSession.code()]));
    tv.connect();
    // A frame that repeats its number ends the connection.
    tv.call("frame", json!([hex(&[0x14])]));
    tv.end()
}
