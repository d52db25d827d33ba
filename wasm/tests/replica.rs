//! The class as JavaScript sees it, in Node and in a browser: the same tests, picked by the runner.

use js_sys::{Array, Reflect, Uint8Array};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, HouseholdId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use omega_sync_wasm::Replica;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW_MS: f64 = 1_800_000_000_000.0;

fn code(error: &JsValue) -> String {
    Reflect::get(error, &"code".into()).ok().and_then(|code| code.as_string()).unwrap_or_default()
}

/// A TV with its storage, and the frames it wants sent.
struct Tv {
    replica: Replica,
    records: Vec<Uint8Array>,
    frames: Vec<Vec<u8>>,
}

impl Tv {
    fn load(records: Vec<Uint8Array>, seed: u8) -> Self {
        let mut replica = Replica::load(records.clone(), &[seed; 16], "").expect("readable");
        let first = replica.first_outputs();
        let mut tv = Self { replica, records, frames: Vec::new() };
        tv.carry_out(&first);
        tv
    }

    fn carry_out(&mut self, outputs: &Array) {
        for pair in outputs.to_vec().chunks(2) {
            let bytes = || pair[1].clone().unchecked_into::<Uint8Array>();
            match pair[0].as_f64() {
                Some(0.0) => self.records.push(bytes()),
                Some(1.0) => self.records = vec![bytes()],
                Some(2.0) => self.frames.push(bytes().to_vec()),
                Some(3.0) => {
                    let outputs = self.replica.opened(String::new(), NOW_MS, 0.0);
                    self.carry_out(&outputs);
                }
                _ => {}
            }
        }
    }

    fn meet(&mut self, room: &mut Room, connection: u64) {
        let outputs = self.replica.online(NOW_MS, 0.0);
        self.carry_out(&outputs);
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
                        let outputs = self.replica.frame(&frame, NOW_MS, 0.0);
                        self.carry_out(&outputs);
                    }
                }
            }
        }
    }
}

#[wasm_bindgen_test]
fn a_write_is_seen_at_once_and_after_a_reload() {
    let mut tv = Tv::load(Vec::new(), 1);
    let outputs = tv.replica.watchlist_add("", "tmdb:550", NOW_MS, 0.0).expect("valid");
    tv.carry_out(&outputs);
    let outputs = tv.replica.progress_set("", "tmdb:550", 42, 8340, 0, NOW_MS, 0.0).expect("valid");
    tv.carry_out(&outputs);
    assert!(tv.replica.has("", "tmdb:550").expect("valid"));
    let again = Tv::load(tv.records, 2);
    assert!(again.replica.has("", "tmdb:550").expect("valid"));
    let progress = again.replica.progress("", "tmdb:550").expect("valid").expect("there");
    assert_eq!(progress.get(0).as_f64(), Some(42.0));
    assert_eq!(progress.get(5).as_f64(), Some(NOW_MS));
    assert_eq!(again.replica.pending(), 2);
}

#[wasm_bindgen_test]
fn two_tvs_meet_at_a_room() {
    let home = HouseholdId::new("home").expect("short text");
    let mut room = Room::create(home, EpochId(1));
    let (mut living, mut bedroom) = (Tv::load(Vec::new(), 1), Tv::load(Vec::new(), 2));
    let outputs = living.replica.watchlist_add("", "tmdb:550", NOW_MS, 0.0).expect("valid");
    living.carry_out(&outputs);
    living.meet(&mut room, 1);
    bedroom.meet(&mut room, 2);
    assert_eq!(living.replica.status(), "live");
    assert_eq!(living.replica.pending(), 0);
    assert!(bedroom.replica.has("", "tmdb:550").expect("valid"));
    assert_eq!(bedroom.replica.household(), "home");
    assert_ne!(living.replica.replica_id(), bedroom.replica.replica_id());
}

#[wasm_bindgen_test]
fn bad_input_is_an_error_with_a_code() {
    let mut tv = Tv::load(Vec::new(), 1).replica;
    let add = |tv: &mut Replica, profile: &str, content: &str| {
        tv.watchlist_add(profile, content, NOW_MS, 0.0).map_err(|error| code(&error)).err()
    };
    assert_eq!(add(&mut tv, "", ""), Some("invalid_content_id".into()));
    assert_eq!(add(&mut tv, "", &"x".repeat(65)), Some("invalid_content_id".into()));
    assert_eq!(add(&mut tv, "kids", "tmdb:1"), Some("invalid_profile".into()));
    assert_eq!(add(&mut tv, "00000000000000ff", "tmdb:1"), Some("unknown_profile".into()));
    let bad = tv.progress_set("", "tmdb:1", 1, 1, 4, NOW_MS, 0.0).map_err(|error| code(&error));
    assert_eq!(bad.err(), Some("invalid_progress".into()));
    let short = Replica::load(Vec::new(), &[1; 3], "").map_err(|error| code(&error));
    assert_eq!(short.err(), Some("invalid_seed".into()));
    assert_eq!(tv.pending(), 0);
}

#[wasm_bindgen_test]
fn damaged_records_are_reported_and_the_rest_is_kept() {
    let mut tv = Tv::load(Vec::new(), 1);
    for title in ["tmdb:1", "tmdb:2"] {
        let outputs = tv.replica.watchlist_add("", title, NOW_MS, 0.0).expect("valid");
        tv.carry_out(&outputs);
    }
    let last = tv.records.last().expect("a record");
    last.set_index(3, last.get_index(3) ^ 0xff);
    let again = Replica::load(tv.records, &[2; 16], "").expect("readable");
    assert!(again.damage().is_some());
    assert!(again.has("", "tmdb:1").expect("valid"));
    assert!(!again.has("", "tmdb:2").expect("valid"));
}
