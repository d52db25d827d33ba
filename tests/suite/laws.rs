//! The laws of merging, on histories that replicas can really make, and the codecs on all of them.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{Reader, Writer};
use omega_sync_core::delta::Delta;
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId, ReplicaId};
use omega_sync_core::operation::{Change, Operation, PlayState, Progress};
use proptest::prelude::*;

/// What one of three replicas does, or which two of them exchange states.
#[derive(Debug, Clone)]
enum Event {
    Add(usize, u8),
    Remove(usize, u8),
    Progress(usize, u8, u32),
    Name(usize, u8),
    Delete(usize, u8),
    Meet(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..3usize;
    let what = 0..4u8;
    prop_oneof![
        3 => (who.clone(), what.clone()).prop_map(|(a, c)| Event::Add(a, c)),
        2 => (who.clone(), what.clone()).prop_map(|(a, c)| Event::Remove(a, c)),
        3 => (who.clone(), what.clone(), 0..9_000u32).prop_map(|(a, c, p)| Event::Progress(a, c, p)),
        1 => (who.clone(), 1..3u8).prop_map(|(a, p)| Event::Name(a, p)),
        1 => (who.clone(), 1..3u8).prop_map(|(a, p)| Event::Delete(a, p)),
        2 => (who.clone(), who).prop_map(|(a, b)| Event::Meet(a, b)),
    ]
}

fn title(number: u8) -> ContentId {
    ContentId::new(&format!("tmdb:{}", u32::from(number) * 111)).expect("short text")
}

/// Lives through the events: the three replicas' states, and every delta in an order that keeps causes
/// before effects.
fn live(events: &[Event]) -> ([Household; 3], Vec<Delta>) {
    let mut states: [Household; 3] = Default::default();
    let mut deltas = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let timestamp = Timestamp::new(UnixMillis(1_800_000_000_000 + 7 * index as u64), 0);
        let observed = |who: usize, content: u8| -> Vec<Dot> {
            let shelf = states[who].profile(ProfileId::DEFAULT).expect("always there");
            shelf.watchlist().dots(&title(content)).to_vec()
        };
        let named = |profile: u8| ProfileId(u64::from(profile));
        let default = ProfileId::DEFAULT;
        let (who, profile, change) = match *event {
            Event::Meet(a, b) => {
                let other = states[b].clone();
                states[a].join(other.clone());
                states[b].join(states[a].clone());
                continue;
            }
            Event::Add(a, c) => (a, default, Change::Add(title(c), observed(a, c))),
            Event::Remove(a, c) => (a, default, Change::Remove(title(c), observed(a, c))),
            Event::Progress(a, c, position_s) => {
                let state = PlayState::ALL[position_s as usize % 4];
                let progress = Progress { position_s, duration_s: 7_200, state };
                let value = (position_s % 9 != 0).then_some(progress);
                (a, default, Change::Progress(title(c), value))
            }
            Event::Name(a, p) => (a, named(p), Change::NameProfile(format!("name {index}"))),
            Event::Delete(a, p) => (a, named(p), Change::DeleteProfile),
        };
        let operations = vec![Operation { timestamp, profile, change }];
        let delta = Delta { replica: ReplicaId(who as u64 + 1), through: timestamp, operations };
        states[who].merge(&delta);
        deltas.push(delta);
    }
    (states, deltas)
}

fn joined(parts: &[&Household]) -> Household {
    let mut all = parts[0].clone();
    parts[1..].iter().for_each(|part| all.join((*part).clone()));
    all
}

fn bytes(household: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    household.encode(&mut writer);
    writer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn join_is_commutative_associative_and_idempotent(events in prop::collection::vec(event(), 0..60)) {
        let ([a, b, c], _) = live(&events);
        prop_assert_eq!(joined(&[&a, &b]), joined(&[&b, &a]));
        prop_assert_eq!(joined(&[&joined(&[&a, &b]), &c]), joined(&[&a, &joined(&[&b, &c])]));
        prop_assert_eq!(joined(&[&a, &a]), a.clone());
        prop_assert_eq!(joined(&[&joined(&[&a, &b]), &b]), joined(&[&a, &b]));
    }

    #[test]
    fn deltas_give_the_same_as_states(events in prop::collection::vec(event(), 0..60)) {
        let ([a, b, c], deltas) = live(&events);
        let mut applied = Household::default();
        for delta in &deltas {
            applied.merge(delta);
        }
        prop_assert_eq!(&applied, &joined(&[&a, &b, &c]));
        let again = applied.clone();
        for delta in &deltas {
            applied.merge(delta);
        }
        prop_assert_eq!(applied, again);
    }

    #[test]
    fn a_concurrent_add_wins_and_a_seen_one_goes(events in prop::collection::vec(event(), 0..40)) {
        let ([mut a, mut b, _], _) = live(&events);
        let content = title(0);
        let late = |n: u64| Timestamp::new(UnixMillis(1_900_000_000_000 + n), 0);
        let dots = |state: &Household| {
            let shelf = state.profile(ProfileId::DEFAULT).expect("always there");
            shelf.watchlist().dots(&content).to_vec()
        };
        let operation = |change, n| Operation {
            timestamp: late(n), profile: ProfileId::DEFAULT, change,
        };
        let delta = |replica, operation: Operation| Delta {
            replica: ReplicaId(replica), through: operation.timestamp, operations: vec![operation],
        };
        a.merge(&delta(1, operation(Change::Add(content.clone(), dots(&a)), 0)));
        b.merge(&delta(2, operation(Change::Remove(content.clone(), dots(&b)), 1)));
        let mut both = joined(&[&a, &b]);
        prop_assert!(!dots(&both).is_empty());
        both.merge(&delta(2, operation(Change::Remove(content.clone(), dots(&both)), 2)));
        prop_assert!(dots(&joined(&[&both, &a])).is_empty());
    }

    #[test]
    fn equal_states_have_equal_bytes_and_come_back(events in prop::collection::vec(event(), 0..60)) {
        let ([a, b, c], _) = live(&events);
        let (x, y) = (joined(&[&a, &b, &c]), joined(&[&c, &a, &b]));
        let encoded = bytes(&x);
        prop_assert_eq!(&encoded, &bytes(&y));
        let mut reader = Reader::new(&encoded);
        prop_assert_eq!(Household::decode(&mut reader), Ok(x));
        prop_assert_eq!(reader.finish(), Ok(()));
        for end in 0..encoded.len() {
            prop_assert!(Household::decode(&mut Reader::new(&encoded[..end])).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_in_a_snapshot_is_refused_or_decodes_whole(
        events in prop::collection::vec(event(), 1..40), at: prop::sample::Index, bit in 0..8u8,
    ) {
        let ([a, ..], _) = live(&events);
        let mut encoded = bytes(&a);
        let at = at.index(encoded.len());
        encoded[at] ^= 1 << bit;
        if let Ok(state) = Household::decode(&mut Reader::new(&encoded)) {
            let again = bytes(&state);
            let same = Household::decode(&mut Reader::new(&again));
            prop_assert_eq!(same, Ok(state));
        }
    }
}
