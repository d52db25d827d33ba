//! The calls as JavaScript makes them, in Node and in a browser: the same tests, picked by the runner.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, HouseholdId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::replica::Now;
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use omega_sync_wasm::Replica;
use omega_sync_wasm::answer::{Address, REFUSED};
use omega_sync_wasm::call::{LOAD, Values, input as inputs, read as reads, write as writes};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW_MS: f64 = 1_800_000_000_000.0;
const OFFLINE: f64 = 0.0;
const LIVE: f64 = 3.0;

/// An answer, copied out of memory before the next call, and read from its start.
#[derive(Debug)]
struct Answer(Vec<u8>);

impl Answer {
    /// Copies what JavaScript would read; the code when the call was refused.
    fn copy(address: Address) -> Result<Self, String> {
        // SAFETY: the last call returned the address, and answers are as long as they say.
        let bytes = |from: usize, length: usize| unsafe {
            std::slice::from_raw_parts(address.add(from), length).to_vec()
        };
        let length = |from| u32::from_le_bytes(bytes(from, 4).try_into().expect("four bytes"));
        match length(0) {
            REFUSED => Err(String::from_utf8(bytes(8, length(4) as usize)).expect("a code")),
            length => Ok(Self(bytes(4, length as usize))),
        }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let rest = self.0.split_off(N);
        std::mem::replace(&mut self.0, rest).try_into().expect("a value of that size")
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn number(&mut self) -> f64 {
        f64::from_le_bytes(self.take())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = u32::from_le_bytes(self.take()) as usize;
        let rest = self.0.split_off(length);
        std::mem::replace(&mut self.0, rest)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// Values of a call: texts, and numbers.
macro_rules! values {
    ($($value:expr),*) => { packed(&[$(Value::bytes($value)),*]) };
}

trait Value {
    fn bytes(self) -> Vec<u8>;
}

impl Value for &str {
    fn bytes(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Value for f64 {
    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

fn write(replica: &mut Replica, call: u8, values: &[u8]) -> Address {
    replica.call(call, Values(values), Now { unix: UnixMillis(NOW_MS as u64), steady_ms: 0 })
}

fn read(replica: &mut Replica, call: u8, values: &[u8]) -> Answer {
    Answer::copy(write(replica, call, values)).expect("valid")
}

fn new(seed: u8) -> Replica {
    Replica::new([seed; 16])
}

/// Loads records, and says what damage was found.
fn load(replica: &mut Replica, records: &[Vec<u8>]) -> Answer {
    let values = [values![""], packed(records)].concat();
    read(replica, LOAD, &values)
}

/// How many writes wait, and the state of the connection.
fn standing(replica: &mut Replica) -> (f64, f64) {
    let mut standing = read(replica, reads::STANDING, &[]);
    (standing.number(), standing.number())
}

fn replica_id_and_household(replica: &mut Replica) -> (String, String) {
    let mut about = read(replica, reads::ABOUT, &[]);
    about.number();
    about.number();
    (about.text(), about.text())
}

fn has(replica: &mut Replica, content: &str) -> bool {
    read(replica, reads::HAS, &values!["", content]).number() == 1.0
}

/// Each record, or value, after its length.
fn packed(records: &[Vec<u8>]) -> Vec<u8> {
    let one = |record: &Vec<u8>| [&(record.len() as u32).to_le_bytes(), &record[..]].concat();
    records.iter().flat_map(one).collect()
}

/// A TV with its storage, and the frames it wants sent.
struct Tv {
    replica: Replica,
    records: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
}

impl Tv {
    fn load(records: Vec<Vec<u8>>, seed: u8) -> Self {
        let mut replica = new(seed);
        assert!(load(&mut replica, &records).is_at_end());
        let first = write(&mut replica, inputs::FIRST_OUTPUTS, &[]);
        let mut tv = Self { replica, records, frames: Vec::new() };
        tv.carry_out(first);
        tv
    }

    fn carry_out(&mut self, address: Address) {
        let mut outputs = Answer::copy(address).expect("valid");
        while !outputs.is_at_end() {
            match outputs.byte() {
                0 => self.records.push(outputs.bytes()),
                1 => self.records = vec![outputs.bytes()],
                2 => self.frames.push(outputs.bytes()),
                3 => {
                    self.write(inputs::OPENED, &values![""]);
                }
                5 => {
                    for _ in 0..outputs.number() as usize {
                        assert!(outputs.byte() < 4);
                        assert_eq!(outputs.text(), "");
                    }
                }
                6 => assert!(outputs.byte() < 5),
                7 | 8 => assert!(outputs.number() >= 0.0),
                9 => {
                    let counts = [(); 6].map(|()| outputs.number());
                    assert_eq!(counts[0], counts[2..].iter().sum::<f64>(), "{counts:?}");
                    for _ in 0..outputs.number() as usize {
                        assert!(!outputs.text().is_empty() && outputs.number() > 0.0);
                    }
                }
                4 => {}
                other => panic!("output {other} has no meaning"),
            }
        }
    }

    fn write(&mut self, call: u8, values: &[u8]) {
        let address = write(&mut self.replica, call, values);
        self.carry_out(address);
    }

    fn meet(&mut self, room: &mut Room, connection: u64) {
        self.write(inputs::ONLINE, &[]);
        let connection = ConnectionId(connection);
        while !self.frames.is_empty() {
            for bytes in std::mem::take(&mut self.frames) {
                let input = match ClientFrame::decode(&bytes) {
                    Ok(ClientFrame::Hello(hello)) => {
                        RoomInput::Hello { connection, hello, may_write: true }
                    }
                    _ => RoomInput::Frame { connection, bytes },
                };
                for output in room.handle(UnixMillis(NOW_MS as u64), input) {
                    if let RoomOutput::Send(to, frame) = output
                        && to == connection
                    {
                        self.write(inputs::FRAME, &packed(&[frame]));
                    }
                }
            }
        }
    }
}

#[wasm_bindgen_test]
fn a_write_is_seen_at_once_and_after_a_reload() {
    let mut tv = Tv::load(Vec::new(), 1);
    tv.write(writes::WATCHLIST_ADD, &values!["", "tmdb:550"]);
    tv.write(writes::PROGRESS_SET, &values!["", "tmdb:550", 42.0, 8340.0, 0.0]);
    assert!(has(&mut tv.replica, "tmdb:550"));
    let mut again = Tv::load(tv.records, 2);
    assert!(has(&mut again.replica, "tmdb:550"));
    let mut progress = read(&mut again.replica, reads::PROGRESS, &values!["", "tmdb:550"]);
    let cells: Vec<f64> = (0..6).map(|_| progress.number()).collect();
    assert_eq!(cells, [42.0, 8340.0, 0.0, 0.0, 42.0, NOW_MS]);
    assert!(progress.is_at_end());
    assert_eq!(standing(&mut again.replica), (2.0, OFFLINE));
}

#[wasm_bindgen_test]
fn two_tvs_meet_at_a_room() {
    let home = HouseholdId::new("home").expect("short text");
    let mut room = Room::create(home, EpochId(1));
    let (mut living, mut bedroom) = (Tv::load(Vec::new(), 1), Tv::load(Vec::new(), 2));
    living.write(writes::WATCHLIST_ADD, &values!["", "tmdb:550"]);
    living.meet(&mut room, 1);
    bedroom.meet(&mut room, 2);
    assert_eq!(standing(&mut living.replica), (0.0, LIVE));
    assert!(has(&mut bedroom.replica, "tmdb:550"));
    let [one, other] =
        [&mut living, &mut bedroom].map(|tv| replica_id_and_household(&mut tv.replica));
    assert_eq!((one.1.as_str(), other.1.as_str()), ("home", "home"));
    assert_ne!(one.0, other.0);
}

#[wasm_bindgen_test]
fn a_profile_has_lists_of_its_own() {
    let mut tv = Tv::load(Vec::new(), 1);
    let id = read(&mut tv.replica, reads::NEW_PROFILE_ID, &[]).text();
    assert_eq!(id.len(), 16);
    let name = write(&mut tv.replica, writes::PROFILE_NAME, &values![id.as_str(), "Kids"]);
    assert!(Answer::copy(name).is_ok());
    let add = write(&mut tv.replica, writes::WATCHLIST_ADD, &values![id.as_str(), "tmdb:1"]);
    assert!(Answer::copy(add).is_ok());
    assert!(!has(&mut tv.replica, "tmdb:1"));
    let mut list = read(&mut tv.replica, reads::WATCHLIST, &values![id.as_str()]);
    assert_eq!((list.text().as_str(), list.number()), ("tmdb:1", NOW_MS));
    let mut profiles = read(&mut tv.replica, reads::PROFILES, &[]);
    let row = |cells: &mut Answer| (cells.text(), cells.text());
    assert_eq!(row(&mut profiles), (String::new(), String::new()));
    assert_eq!(row(&mut profiles), (id, "Kids".into()));
}

#[wasm_bindgen_test]
fn bad_input_is_an_error_with_a_code() {
    let mut tv = Tv::load(Vec::new(), 1).replica;
    let add = |tv: &mut Replica, profile: &str, content: &str| {
        Answer::copy(write(tv, writes::WATCHLIST_ADD, &values![profile, content])).err()
    };
    assert_eq!(add(&mut tv, "", ""), Some("invalid_content_id".into()));
    assert_eq!(add(&mut tv, "", &"x".repeat(65)), Some("invalid_content_id".into()));
    assert_eq!(add(&mut tv, "kids", "tmdb:1"), Some("invalid_profile".into()));
    assert_eq!(add(&mut tv, "00000000000000ff", "tmdb:1"), Some("unknown_profile".into()));
    for state in [4.0, -1.0] {
        let bad = write(&mut tv, writes::PROGRESS_SET, &values!["", "tmdb:1", 1.0, 1.0, state]);
        assert_eq!(Answer::copy(bad).err(), Some("invalid_progress".into()));
    }
    for call in [inputs::WAKE + 1, reads::STANDING + 1, u8::MAX] {
        let unknown = Answer::copy(write(&mut tv, call, &[]));
        assert_eq!(unknown.err(), Some("unknown_call".into()), "{call}");
    }
    let cut_off = values!["", "tmdb:1"];
    let cut_off = write(&mut tv, writes::WATCHLIST_ADD, &cut_off[..cut_off.len() - 1]);
    assert_eq!(Answer::copy(cut_off).err(), Some("invalid_content_id".into()));
    let long = Answer::copy(write(&mut tv, LOAD, &values![&*"x".repeat(65)]));
    assert_eq!(long.err(), Some("invalid_household".into()));
    assert_eq!(standing(&mut tv), (0.0, OFFLINE));
}

#[wasm_bindgen_test]
fn damaged_records_are_reported_and_the_rest_is_kept() {
    let mut tv = Tv::load(Vec::new(), 1);
    for title in ["tmdb:1", "tmdb:2"] {
        tv.write(writes::WATCHLIST_ADD, &values!["", title]);
    }
    tv.records.last_mut().expect("a record")[3] ^= 0xff;
    let mut again = new(2);
    let mut damage = load(&mut again, &tv.records);
    assert_eq!(damage.text(), "wrong checksum");
    assert!(has(&mut again, "tmdb:1"));
    assert!(!has(&mut again, "tmdb:2"));
}

#[wasm_bindgen_test]
fn a_device_says_what_it_is_and_is_removed() {
    let mut tv = Tv::load(Vec::new(), 1);
    let describe = |tv: &mut Tv, kind: f64, bits: f64| {
        let values = values!["tv", "Living room", kind, "webOS 5", "1.2.0", bits];
        Answer::copy(write(&mut tv.replica, writes::DEVICE_DESCRIBE, &values)).err()
    };
    let bits = f64::from(u32::MAX - 11);
    assert_eq!(describe(&mut tv, 5.0, 0.0), Some("invalid_device".into()));
    assert_eq!(describe(&mut tv, 0.0, 15.0), Some("invalid_device".into()));
    assert_eq!(describe(&mut tv, 0.0, bits), None);
    let mut devices = read(&mut tv.replica, reads::DEVICES, &[]);
    assert_eq!((devices.text().as_str(), devices.text().as_str()), ("tv", "Living room"));
    assert_eq!(devices.number(), 0.0);
    assert_eq!((devices.text().as_str(), devices.text().as_str()), ("webOS 5", "1.2.0"));
    assert_eq!(devices.number(), bits);
    assert!(devices.is_at_end());
    let remove = |tv: &mut Tv, id: &str| {
        Answer::copy(write(&mut tv.replica, writes::DEVICE_REMOVE, &values![id])).err()
    };
    assert_eq!(remove(&mut tv, ""), Some("invalid_device".into()));
    assert_eq!(remove(&mut tv, "tv"), None);
    assert!(read(&mut tv.replica, reads::DEVICES, &[]).is_at_end());
}
