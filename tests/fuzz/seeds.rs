//! Real encodings to start from, made by the code as it is: two devices live in one household, and every
//! frame, record and stored state that this gives is an entry of some target's corpus.

use crate::deltas::author;
use crate::device::Device;
use crate::household::{bytes, difference_bytes};
use crate::input::{Script, joined};
use crate::living::{Living, START, take};
use crate::patterns;
use crate::sessions::{HOSTILE, Home, household, intent};
use crate::storage::{opened, stored_parts};
use omega_sync_core::codec::Writer;
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::{History, Household};
use omega_sync_core::id::{EpochId, Random};
use omega_sync_core::message::{Ack, ClientFrame, FrameNumber, ServerFrame};
use omega_sync_core::operation::VoidReason;
use omega_sync_core::session::client::Input;
use omega_sync_core::session::server::Room;

/// Lives that are lived for a target.
const LIVES: u64 = 3;
/// What happens in each.
const EVENTS: usize = 24;
/// Where the second device's random numbers start.
const OTHER_SEED: [u8; 16] = [6; 16];
/// Versions after which the server has stored a state.
const LONG: usize = 300;

fn script(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new([seed.to_be_bytes(), [9; 8]].concat().try_into().expect("16"));
    (0..length).map(|_| random.bits() as u8).collect()
}

fn lives() -> impl Iterator<Item = Living> {
    (0..LIVES).map(|seed| Living::new(&mut Script(&script(seed, 2_000)), EVENTS))
}

/// The corpus of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "client_frame" => client_frames(),
        "server_frame" => server_frames(),
        "client_deltas" => lives().map(|life| joined(&bodies(&life.deltas, true))).collect(),
        "server_updates" => lives().map(|life| joined(&bodies(&life.deltas, false))).collect(),
        "state" => lives().map(|life| bytes(&life.states[0])).collect(),
        "difference" => differences(),
        "history" => lives().map(|life| history(&life.deltas).1).map(history_bytes).collect(),
        "records" => (0..LIVES).flat_map(|seed| two_devices(seed, EVENTS).records).collect(),
        "room" => vec![
            joined(&stored_parts(&two_devices(1, EVENTS).home.stored)),
            joined(&stored_parts(&two_devices(2, LONG).home.stored)),
        ],
        "titles" => vec![joined(&[
            "tmdb:550",
            "tmdb:551",
            "tt0111161",
            "tt0111162",
            "a",
            "a0",
            "00",
            "é9",
            "999999999999999",
            "9999999999999999",
            "x-1000000000000000000000000",
        ])],
        "client_session" => {
            (0..LIVES).map(|seed| joined(&two_devices(seed, EVENTS).heard)).collect()
        }
        "room_session" => (0..LIVES).map(|seed| joined(&two_devices(seed, EVENTS).sent)).collect(),
        "patterns" => patterns::seeds(false),
        "pattern_tables" => patterns::seeds(true),
        _ => (0..LIVES).map(|seed| script(seed, 400)).collect(),
    }
}

fn client_frames() -> Vec<Vec<u8>> {
    let both = two_devices(1, EVENTS);
    let mut frames: Vec<Vec<u8>> = both.sent.into_iter().take(2).collect();
    frames.push(ClientFrame::offer(FrameNumber::FIRST, &[both.home.room.household().clone()]));
    frames.push(ClientFrame::ping());
    frames
}

fn server_frames() -> Vec<Vec<u8>> {
    let both = two_devices(1, EVENTS);
    let mut frames: Vec<Vec<u8>> = both.home.heard.into_iter().take(3).collect();
    let (number, state) = (FrameNumber::FIRST, both.home.room.household());
    let last = state.seen().iter().map(|(_, through)| through).max().unwrap_or_default();
    let voids = VoidReason::ALL.map(|reason| (last, reason)).to_vec();
    frames.push(ServerFrame::ack(number, &Ack { advances: true, voids }));
    frames.push(ServerFrame::snapshot(number, both.home.room.version(), state));
    frames.extend([ServerFrame::offered(), ServerFrame::pong()]);
    frames
}

/// Deltas as they cross a connection; what was observed is named by a version at times.
fn bodies(deltas: &[Delta], of_client: bool) -> Vec<Vec<u8>> {
    let mut context = Context::starting(START);
    let mut asked = 0;
    let mut live = |_: &_| {
        asked += 1;
        (asked % 2 == 0).then_some(asked / 4)
    };
    let body = |delta: &Delta| {
        let mut writer = Writer::new();
        match of_client {
            true if delta.replica != author() => return None,
            true => delta.encode_operations(&mut writer, &mut context, &mut live),
            false => delta.encode(&mut writer, &mut context, &mut live),
        }
        Some(writer.finish())
    };
    deltas.iter().filter_map(body).collect()
}

fn history(deltas: &[Delta]) -> (Vec<Household>, History) {
    let mut states = vec![Household::default()];
    let mut history = History::new(0);
    for (at, delta) in deltas.iter().enumerate() {
        let mut state = states[at].clone();
        let taken = take(&mut state, delta);
        history.note(at as u64 + 1, states[at].touched_by(&taken));
        states.push(state);
    }
    (states, history)
}

fn history_bytes(history: History) -> Vec<u8> {
    let mut writer = Writer::new();
    history.encode(&mut writer);
    writer.finish()
}

fn differences() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for life in lives() {
        let (states, history) = history(&life.deltas);
        let last = states.len() - 1;
        for version in [last / 2, last.saturating_sub(3)] {
            let difference = difference_bytes(&states[last], &history.since(version as u64));
            found.push(joined(&[bytes(&states[version]), difference]));
        }
    }
    found
}

/// What two devices and a room gave.
struct Both {
    home: Home,
    /// Inputs for `client_session` and `room_session`.
    heard: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    /// Inputs for `records`.
    records: Vec<Vec<u8>>,
}

/// Two devices take turns; the second one's frames are what a hostile one's would be changed from.
fn two_devices(seed: u64, events: usize) -> Both {
    let home = Home::new(Room::create(household(), EpochId(1)));
    let (heard, sent, records) = (Vec::new(), Vec::new(), Vec::new());
    let mut both = Both { home, heard, sent, records };
    let mut other = Device::boot(&[], OTHER_SEED).expect("an empty disk");
    let mut heard = 0;
    let script = script(seed, events * 16);
    for (number, act) in script.chunks(16).enumerate() {
        let said = [&[0xff], act].concat();
        let state = both.home.room.household().clone();
        if act[0] < 0x60 {
            both.home.device.operate(intent(&mut Script(act), &state));
            both.heard.push(said.clone());
            both.sent.push(said);
            both.home.settle();
        } else {
            other.operate(intent(&mut Script(act), &state));
            other.connect();
            both.home.settle();
            for frame in core::mem::take(&mut other.sent) {
                both.home.frame(HOSTILE, &frame);
                both.sent.push(frame);
            }
        }
        both.heard.extend(both.home.heard[heard..].iter().cloned());
        heard = both.home.heard.len();
        for frame in core::mem::take(&mut both.home.answers) {
            other.handle(Input::Frame(&frame));
        }
        if number + 1 == events / 2 {
            both.records.push(records_of(&other));
        }
    }
    both.records.push(records_of(&both.home.device));
    both
}

fn records_of(device: &Device) -> Vec<u8> {
    let parts: Vec<&[u8]> = device.disk.iter().map(|record| opened(record)).collect();
    joined(&parts)
}
