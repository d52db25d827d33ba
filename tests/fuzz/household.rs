//! States, differences and histories; and the laws of merging on histories that bytes say.

use crate::input::{Script, parts};
use crate::living::{Living, REPLICAS, take};
use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::{Reader, Writer};
use omega_sync_core::delta::Delta;
use omega_sync_core::household::{History, Household, Touched};

/// Deltas of one history.
const EVENTS_MAX: usize = 30;

pub fn bytes(state: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    state.encode(&mut writer);
    writer.finish()
}

pub fn difference_bytes(state: &Household, touched: &Touched) -> Vec<u8> {
    let mut writer = Writer::new();
    state.encode_difference(&mut writer, touched);
    writer.finish()
}

/// A state that was read can be written and read again, always with the same bytes.
pub fn comes_back(state: &Household) {
    assert_eq!(state.check_limits(), Ok(()));
    let encoded = bytes(state);
    let mut reader = Reader::new(&encoded);
    let again = Household::decode(&mut reader);
    assert_eq!(again.as_ref(), Ok(state));
    assert!(reader.is_empty());
    assert_eq!(bytes(&again.expect("just compared")), encoded);
}

/// A whole state.
pub fn state(data: &[u8]) {
    if let Ok(state) = Household::decode(&mut Reader::new(data)) {
        comes_back(&state);
    }
}

/// A state and differences for who has it.
pub fn difference(data: &[u8]) {
    let parts = parts(data);
    let Some((first, differences)) = parts.split_first() else { return };
    let Ok(mut state) = Household::decode(&mut Reader::new(first)) else { return };
    for part in differences {
        let before = state.clone();
        match state.apply_difference(&mut Reader::new(part)) {
            Ok(_) => comes_back(&state),
            Err(_) => assert_eq!(state, before),
        }
    }
}

/// A history as it is stored, and what is done with one.
pub fn history(data: &[u8]) {
    let encoded = |history: &History| {
        let mut writer = Writer::new();
        history.encode(&mut writer);
        writer.finish()
    };
    let Ok(mut history) = History::decode(&mut Reader::new(data)) else { return };
    let first = encoded(&history);
    let again = History::decode(&mut Reader::new(&first)).expect("it was just written");
    assert_eq!(encoded(&again), first);
    let floor = history.floor();
    assert!(history.since(floor).len() <= history.len());
    history.trim(&Household::default());
    assert!(history.floor() >= floor);
    history.forget(u64::MAX);
    assert!(history.is_empty());
}

fn joined(parts: &[&Household]) -> Household {
    let mut all = parts[0].clone();
    parts[1..].iter().for_each(|part| all.join((*part).clone()));
    all
}

/// The laws, for what replicas did and said to one another.
pub fn merge(data: &[u8]) {
    let mut script = Script(data);
    let Living { states: [a, b, c], deltas, .. } = Living::new(&mut script, EVENTS_MAX);
    assert_eq!(joined(&[&a, &b]), joined(&[&b, &a]));
    assert_eq!(joined(&[&joined(&[&a, &b]), &c]), joined(&[&a, &joined(&[&b, &c])]));
    assert_eq!(joined(&[&a, &a]), a);
    let all = joined(&[&a, &b, &c]);
    let mut applied = Household::default();
    deltas.iter().for_each(|delta| drop(applied.merge(delta)));
    assert_eq!(applied, all);
    deltas.iter().for_each(|delta| drop(applied.merge(delta)));
    assert_eq!(applied, all);
    let states = [&a, &b, &c, &all];
    states.into_iter().filter(|state| state.check_limits().is_ok()).for_each(comes_back);
    served(&deltas);
}

/// The server takes the deltas one by one; a device at any version comes to the present.
fn served(deltas: &[Delta]) {
    let mut versions = vec![Household::default()];
    let mut history = History::new(0);
    for (at, delta) in deltas.iter().enumerate() {
        let mut state = versions[at].clone();
        let taken = take(&mut state, delta);
        let mut before = versions[at].clone();
        history.note(at as u64 + 1, before.touched_by(&taken));
        before.merge(&taken);
        assert_eq!(before, state);
        versions.push(state);
    }
    let now = &versions[deltas.len()];
    comes_back(now);
    for (version, state) in versions.iter().enumerate() {
        let encoded = difference_bytes(now, &history.since(version as u64));
        let mut state = state.clone();
        let applied = state.apply_difference(&mut Reader::new(&encoded));
        assert!(applied.is_ok(), "from version {version} of {}: {applied:?}", deltas.len());
        assert_eq!(&state, now, "from version {version}");
    }
    let seen = now.seen();
    assert!(seen.len() <= REPLICAS && seen.iter().all(|(_, through)| through > Timestamp::ZERO));
}
