//! States and differences as bytes: what comes back is what was written, for every history.

use super::*;
use crate::clock::UnixMillis;
use crate::codec::{DecodeError, Reader, Writer};
use crate::operation::{Capabilities, DeviceType, PlayState};
use proptest::prelude::*;

/// Replicas in a history, and ids of titles of many shapes.
const REPLICAS: usize = 3;
const TITLES: [&str; 12] = [
    "tmdb:550",
    "tmdb:551",
    "tmdb:1207341",
    "tmdb:0",
    "tmdb:007",
    "tmdb:",
    "550",
    "tt0111161",
    "film-ÿ-99999999999999999999",
    "5f3c9e1a-77b2-4f5e-9c1d-0a1b2c3d4e5f",
    "Großstadt",
    "0000",
];

/// What one of the replicas does.
#[derive(Debug, Clone)]
enum Event {
    Add(usize, u64, usize, bool),
    Remove(usize, u64, usize),
    Progress(usize, u64, usize, Option<Progress>),
    Name(usize, u64),
    Delete(usize, u64),
    Device(usize, u8, Option<DeviceRecord>),
    /// Nothing is left of what it did.
    Cover(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..REPLICAS;
    let shelf = prop_oneof![3 => Just(0u64), 1 => 1..3u64];
    let title = 0..TITLES.len();
    let at = (who.clone(), shelf, title);
    let progress = (any::<u16>(), 0..4u32, 0..4usize).prop_map(|(position, duration, state)| {
        let duration_s = [0, 1, 7_200, u32::MAX][duration as usize];
        let position_s = if position == 0 { u32::MAX } else { u32::from(position) % 7_201 };
        Progress { position_s, duration_s, state: PlayState::ALL[state] }
    });
    let record = ("[a-zé]{0,8}", 0..5usize, any::<u32>()).prop_map(|(name, index, bits)| {
        let bits = u64::from(bits) & !0xf | index as u64;
        DeviceRecord {
            platform: name.clone() + " 5",
            name,
            device_type: DeviceType::ALL[index],
            app_version: "4.2.0".into(),
            capabilities: Capabilities::from_bits(bits).expect("a known resolution"),
        }
    });
    prop_oneof![
        6 => (at.clone(), any::<bool>()).prop_map(|((a, p, c), b)| Event::Add(a, p, c, b)),
        4 => at.clone().prop_map(|(a, p, c)| Event::Remove(a, p, c)),
        8 => (at.clone(), prop::option::weighted(0.8, progress))
            .prop_map(|((a, p, c), value)| Event::Progress(a, p, c, value)),
        2 => at.clone().prop_map(|(a, p, _)| Event::Name(a, p)),
        1 => at.prop_map(|(a, p, _)| Event::Delete(a, p)),
        1 => (who.clone(), 0..3u8, prop::option::of(record))
            .prop_map(|(a, d, record)| Event::Device(a, d, record)),
        1 => who.prop_map(Event::Cover),
    ]
}

fn title(index: usize) -> ContentId {
    ContentId::new(TITLES[index]).expect("a content id")
}

/// The delta that an event is, for a server in `state`.
fn delta(state: &Household, number: u64, event: &Event) -> Delta {
    let dots = |p: u64, c: usize| -> Vec<Dot> {
        let shelf = state.profile(ProfileId(p));
        shelf.map_or(Vec::new(), |shelf| shelf.watchlist().dots(&title(c)).to_vec())
    };
    let (who, profile, change) = match event.clone() {
        Event::Add(a, p, c, sees) => {
            (a, p, Some(Change::Add(title(c), if sees { dots(p, c) } else { Vec::new() })))
        }
        Event::Remove(a, p, c) => (a, p, Some(Change::Remove(title(c), dots(p, c)))),
        Event::Progress(a, p, c, value) => (a, p, Some(Change::Progress(title(c), value))),
        Event::Name(a, p) => (a, p, Some(Change::NameProfile(format!("naïve {p}")))),
        Event::Delete(a, p) => (a, p, Some(Change::DeleteProfile)),
        Event::Device(a, d, record) => {
            let device = DeviceId::new(&format!("tv-{d}")).expect("a device id");
            (a, 0, Some(Change::Device(device, record)))
        }
        Event::Cover(a) => (a, 0, None),
    };
    // One has whole seconds, one milliseconds, and one's clock is far behind and stands still.
    let (millis, counter) = match who {
        0 => (1_800_000_000_000 + 10_000 * number, 0),
        1 => (1_800_000_000_000 + 9_973 * number, (number % 3) as u16),
        _ => (77, number as u16 + 1),
    };
    let timestamp = Timestamp::new(UnixMillis(millis), counter);
    let operation = |change| Operation { timestamp, profile: ProfileId(profile), change };
    Delta {
        replica: ReplicaId(0xfeed_0000_0000_0000 + 7 * who as u64),
        through: timestamp,
        operations: change.map(operation).into_iter().collect(),
    }
}

/// Lives through the events: the state after each, and what was touched.
fn live(events: &[Event]) -> (Vec<Household>, History) {
    let mut states = vec![Household::default()];
    let mut history = History::new(0);
    for (number, event) in events.iter().enumerate() {
        let mut state = states[number].clone();
        let delta = delta(&state, number as u64 + 1, event);
        let refused = delta.operations.iter().any(|operation| state.check(operation).is_err());
        if !refused {
            history.note(number as u64 + 1, state.touched_by(&delta));
            state.merge(&delta);
        }
        states.push(state);
    }
    (states, history)
}

fn bytes(state: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    state.encode(&mut writer);
    writer.finish()
}

fn difference(state: &Household, touched: &Touched) -> Vec<u8> {
    let mut writer = Writer::new();
    state.encode_difference(&mut writer, touched);
    writer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_state_comes_back(events in prop::collection::vec(event(), 0..60)) {
        let (states, _) = live(&events);
        let state = &states[events.len()];
        let encoded = bytes(state);
        let mut reader = Reader::new(&encoded);
        let decoded = Household::decode(&mut reader);
        prop_assert_eq!(decoded.as_ref(), Ok(state));
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(&bytes(&decoded.expect("just compared")), &encoded);
        // It is the difference from nothing.
        let all = state.keys().map(|key| (key, Touch::New)).collect();
        prop_assert_eq!(&difference(state, &all), &encoded[1..]);
    }

    #[test]
    fn a_difference_brings_any_version_to_the_present(
        events in prop::collection::vec(event(), 0..40), floor in 0..6u64,
    ) {
        let (states, mut history) = live(&events);
        history.forget(floor.min(events.len() as u64));
        let now = &states[events.len()];
        for version in history.floor()..=events.len() as u64 {
            let encoded = difference(now, &history.since(version));
            let mut state = states[version as usize].clone();
            let mut reader = Reader::new(&encoded);
            let changed = state.apply_difference(&mut reader);
            prop_assert_eq!(&state, now);
            prop_assert_eq!(reader.finish(), Ok(()));
            let untouched = now == &states[version as usize];
            prop_assert!(changed.is_ok_and(|changed| changed.is_empty() || !untouched));
        }
    }

    #[test]
    fn what_is_taken_for_new_may_be_there(events in prop::collection::vec(event(), 0..40)) {
        let (states, history) = live(&events);
        let now = &states[events.len()];
        for (version, before) in states.iter().enumerate() {
            let mut touched = history.since(version as u64);
            touched.values_mut().for_each(|touch| *touch = Touch::New);
            let mut state = before.clone();
            let changed = state.apply_difference(&mut Reader::new(&difference(now, &touched)));
            prop_assert!(changed.is_ok());
            prop_assert_eq!(&state, now);
        }
    }

    #[test]
    fn damage_is_refused_or_gives_a_state(
        events in prop::collection::vec(event(), 1..40), at: prop::sample::Index, byte: u8,
        since: prop::sample::Index,
    ) {
        let (states, history) = live(&events);
        let mut encoded = bytes(&states[events.len()]);
        let place = at.index(encoded.len());
        encoded[place] = byte;
        if let Ok(state) = Household::decode(&mut Reader::new(&encoded)) {
            prop_assert_eq!(Household::decode(&mut Reader::new(&bytes(&state))), Ok(state));
        }
        let version = since.index(events.len());
        let mut encoded = difference(&states[events.len()], &history.since(version as u64));
        let place = at.index(encoded.len());
        encoded[place] = byte;
        let mut state = states[version].clone();
        match state.apply_difference(&mut Reader::new(&encoded)) {
            Ok(_) => {
                let again = bytes(&state);
                prop_assert_eq!(Household::decode(&mut Reader::new(&again)), Ok(state));
            }
            Err(_) => prop_assert_eq!(&state, &states[version]),
        }
    }

    #[test]
    fn bytes_without_meaning_are_refused_or_give_a_state(
        bytes in prop::collection::vec(any::<u8>(), 1..300),
        events in prop::collection::vec(event(), 0..20),
    ) {
        let mut writer = Writer::new();
        writer.bytes(&bytes);
        let (states, _) = live(&events);
        for before in [&Household::default(), &states[events.len()]] {
            let mut state = before.clone();
            match state.apply_difference(&mut Reader::new(writer.as_slice())) {
                Ok(_) => prop_assert_eq!(state.check_limits(), Ok(())),
                Err(_) => prop_assert_eq!(&state, before),
            }
        }
    }
}

#[test]
fn nothing_touched_is_one_byte() {
    assert_eq!(difference(&Household::default(), &Touched::new()), [0]);
    assert_eq!(bytes(&Household::default()), [STATE_VERSION, 0]);
}

#[test]
fn another_version_is_refused() {
    let error = Household::decode(&mut Reader::new(&[STATE_VERSION + 1, 0]));
    assert_eq!(error, Err(DecodeError::version(STATE_VERSION + 1)));
}

#[test]
fn a_receiver_who_lacks_a_title_is_told() {
    let value = Progress { position_s: 9, duration_s: 100, state: PlayState::Paused };
    let events: Vec<Event> = (0..4).map(|c| Event::Progress(0, 0, c, Some(value))).collect();
    let (states, _) = live(&events);
    let touched = [
        (Key::Replica(ReplicaId(0xfeed_0000_0000_0000)), Touch::Changed),
        (Key::Progress(ProfileId::DEFAULT, title(3)), Touch::Changed),
    ];
    let encoded = difference(&states[4], &Touched::from(touched));
    let mut behind = states[3].clone();
    let error = behind.apply_difference(&mut Reader::new(&encoded));
    assert_eq!(error, Err(DecodeError::Checksum));
    assert_eq!(behind, states[3]);
}

#[test]
fn titles_that_are_gone_count_for_the_usual_prefix() {
    // Two of tmdb stay, three of tt go, one of tmdb comes: the receiver still has more of tt.
    let tt = ["tt0111161", "tt0111162", "tt0111163"].map(|text| ContentId::new(text).expect("id"));
    let stamp = |number| Timestamp::new(UnixMillis(1_800_000_000_000 + number), 0);
    let replica = ReplicaId(1);
    let mut state = Household::default();
    let mut history = History::new(0);
    let mut merge = |state: &mut Household, number: u64, change: Change| {
        let operation = Operation { timestamp: stamp(number), profile: ProfileId::DEFAULT, change };
        let delta = Delta { replica, through: stamp(number), operations: vec![operation] };
        history.note(number, state.touched_by(&delta));
        state.merge(&delta);
    };
    let there = tt.iter().cloned().chain([title(0), title(1)]);
    for (number, content) in (1..).zip(there) {
        merge(&mut state, number, Change::Add(content, Vec::new()));
    }
    let mut behind = state.clone();
    for (number, content) in (6..).zip(&tt) {
        let dots = vec![Dot { timestamp: stamp(number - 5), replica }];
        merge(&mut state, number, Change::Remove(content.clone(), dots));
    }
    merge(&mut state, 9, Change::Add(title(2), Vec::new()));
    let encoded = difference(&state, &history.since(5));
    let applied = behind.apply_difference(&mut Reader::new(&encoded));
    assert!(applied.is_ok(), "{applied:?}");
    assert_eq!(behind, state);
}

#[test]
fn what_follows_a_difference_is_refused() {
    let (states, _) = live(&[Event::Name(0, 1)]);
    let mut encoded = bytes(&states[1]);
    encoded.extend([1, 2, 3, 4, 5]);
    encoded[1] += 5;
    let error = Household::decode(&mut Reader::new(&encoded));
    assert_eq!(error, Err(DecodeError::Trailing));
}

#[test]
fn a_difference_at_the_limits_fits_its_frame() {
    let mut household = Household::default();
    for number in 0..ENTRIES_MAX {
        // As unlike one another as titles can be.
        let mut random = crate::id::Random::new([number as u8; 16]);
        let mut text: String = (0..3).map(|_| format!("{:016x}", random.bits())).collect();
        text.push_str(&format!("{number:x}-"));
        let timestamp = Timestamp::new(UnixMillis(random.bits() >> 18), random.bits() as u16);
        let value = Progress {
            position_s: random.bits() as u32,
            duration_s: random.bits() as u32,
            state: PlayState::ALL[number % 4],
        };
        let change = Change::Progress(ContentId::new(&text).expect("short text"), Some(value));
        let operation = Operation { timestamp, profile: ProfileId::DEFAULT, change };
        let replica = ReplicaId((number % REPLICAS_MAX) as u64 + 1);
        let dot = Dot { timestamp, replica };
        household.cover(replica, Timestamp(u64::MAX >> 1));
        household.apply(replica, &operation, &mut Changed::new());
        assert!(household.seen().covers(dot));
    }
    let encoded = bytes(&household);
    assert!(encoded.len() < DIFFERENCE_BYTES_MAX, "{} bytes", encoded.len());
    assert_eq!(Household::decode(&mut Reader::new(&encoded)), Ok(household));
}

#[test]
fn a_household_holds_so_many_devices() {
    let mut household = Household::default();
    let device = |number: usize| DeviceId::new(&format!("tv-{number}")).expect("a device id");
    let operation = |number: usize, record: Option<DeviceRecord>| Operation {
        timestamp: Timestamp(number as u64 + 1),
        profile: ProfileId::DEFAULT,
        change: Change::Device(device(number), record),
    };
    for number in 0..DEVICES_MAX {
        let next = operation(number, Some(DeviceRecord::default()));
        assert_eq!(household.check(&next), Ok(()));
        household.apply(ReplicaId(1), &next, &mut Changed::new());
    }
    let more = operation(DEVICES_MAX, None);
    assert_eq!(household.check(&more), Err(VoidReason::HouseholdFull));
    assert_eq!(household.check(&operation(0, None)), Ok(()));
    assert_eq!(Household::decode(&mut Reader::new(&bytes(&household))).as_ref(), Ok(&household));
    household.apply(ReplicaId(1), &more, &mut Changed::new());
    let error = Household::decode(&mut Reader::new(&bytes(&household)));
    assert_eq!(error, Err(DecodeError::limit("DEVICES_MAX")));
}

#[test]
fn a_stored_history_has_so_many_keys() {
    let read = |count: usize| {
        let mut writer = Writer::new();
        writer.varint(0);
        writer.varint(count as u64);
        History::decode(&mut Reader::new(&writer.finish())).err()
    };
    let full = 4 * ENTRIES_MAX;
    assert_eq!(read(full), Some(DecodeError::Truncated), "its keys are missing");
    assert_eq!(read(full + 1), Some(DecodeError::limit("HISTORY_KEYS_MAX")));
}
