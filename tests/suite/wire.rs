//! Frames and operations: what one end writes the other reads, and garbage is refused.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, FrameNumber, Hello, ServerFrame, Session, read_delta, read_update,
};
use omega_sync_core::operation::{Change, Operation, PlayState, Progress};
use omega_sync_core::replica::Replica;
use proptest::prelude::*;

const START: UnixMillis = UnixMillis(1_800_000_000_000);

fn change() -> impl Strategy<Value = Change> {
    let title = prop_oneof![
        4 => (0..1_000_000u32).prop_map(|n| format!("tmdb:{n}")),
        1 => (0..999u32).prop_map(|n| format!("tt{n:07}")),
        1 => "[a-zé/0-9]{1,16}",
        1 => Just("0".to_owned()),
    ];
    let title = title.prop_map(|text| ContentId::new(&text).expect("short text"));
    let dot = (any::<u32>(), 0..4u64).prop_map(|(ms, replica)| Dot {
        timestamp: Timestamp::new(UnixMillis(START.0 - u64::from(ms)), 0),
        replica: ReplicaId(replica),
    });
    let observed = prop::collection::vec(dot, 0..3);
    let progress =
        (any::<u16>(), any::<u16>(), 0..4usize).prop_map(|(position, duration, state)| Progress {
            position_s: u32::from(position),
            duration_s: u32::from(duration),
            state: PlayState::ALL[state],
        });
    prop_oneof![
        1 => (title.clone(), observed.clone()).prop_map(|(c, o)| Change::Add(c, o)),
        1 => (title.clone(), observed).prop_map(|(c, o)| Change::Remove(c, o)),
        4 => (title, prop::option::of(progress)).prop_map(|(c, p)| Change::Progress(c, p)),
        1 => "[a-z]{1,9}".prop_map(Change::NameProfile),
        1 => Just(Change::DeleteProfile),
    ]
}

/// Deltas as a connection may carry them: stamps of one author ascend.
fn deltas() -> impl Strategy<Value = Vec<Delta>> {
    let operation = (0..100_000u64, 0..3u16, 0..2u64, change());
    let delta = (prop::collection::vec(operation, 1..6), 0..3u64, 0..3u64);
    prop::collection::vec(delta, 1..20).prop_map(|deltas| {
        let mut now = START.0 - 600_000;
        let mut list = Vec::new();
        for (parts, replica, beyond) in deltas {
            let mut operations = Vec::new();
            for (later, counter, profile, change) in parts {
                now += 1 + later;
                let timestamp = Timestamp::new(UnixMillis(now), counter);
                operations.push(Operation { timestamp, profile: ProfileId(profile), change });
            }
            now += beyond;
            let last = operations.last().map_or(Timestamp::ZERO, |last| last.timestamp);
            let through = last.max(Timestamp::new(UnixMillis(now), 0));
            list.push(Delta { replica: ReplicaId(replica), through, operations });
        }
        list
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_end_reads_what_the_other_wrote(deltas in deltas(), all_seen: bool) {
        let (mut up, mut down) = (Context::starting(START), Context::starting(START));
        let mut number = FrameNumber::FIRST;
        for delta in &deltas {
            // With `all_seen` the reader names what was observed itself.
            let mut named = Vec::new();
            let frame = ServerFrame::update(number, delta, &mut up, &mut |operation| {
                named.push(operation.observed().unwrap_or_default().to_vec());
                all_seen.then_some(0)
            });
            let Ok(ServerFrame::Update(read_number, body)) = ServerFrame::decode(&frame) else {
                return Err(TestCaseError::fail("an update"));
            };
            prop_assert_eq!(read_number, number.advance());
            let next = std::cell::RefCell::new(named.into_iter());
            let live = |_, _: &ContentId, _| next.borrow_mut().next();
            prop_assert_eq!(read_update(body.0, &mut down, &live), Ok(delta.clone()));
        }
    }

    #[test]
    fn a_stored_delta_and_a_stored_operation_come_back(deltas in deltas()) {
        for delta in &deltas {
            let mut writer = Writer::new();
            delta.store(&mut writer);
            let loaded = Delta::load(&mut Reader::new(writer.as_slice()));
            prop_assert_eq!(loaded, Ok(delta.clone()));
            prop_assert!(writer.as_slice().len() <= delta.bytes_bound());
            for operation in &delta.operations {
                let mut writer = Writer::new();
                operation.encode(&mut writer);
                let mut reader = Reader::new(writer.as_slice());
                prop_assert_eq!(Operation::decode(&mut reader), Ok(operation.clone()));
                prop_assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn a_changed_frame_is_refused_or_read_but_never_a_panic(
        deltas in deltas(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let (mut up, mut down) = (Context::starting(START), Context::starting(START));
        let live = |_, _: &ContentId, _| Some(Vec::new());
        for delta in &deltas {
            let number = FrameNumber::FIRST;
            let mut frame = ClientFrame::delta(number, delta, &mut up, &mut |_| None);
            let index = at.index(frame.len());
            frame[index] = byte;
            frame.truncate(1 + cut.index(frame.len()));
            if let Ok(ClientFrame::Delta(_, body)) = ClientFrame::decode(&frame) {
                let _ = read_delta(body.0, &mut down, delta.replica, &live);
            }
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes: Vec<u8>, tag in 0..8u8) {
        let framed = [&[tag | 0x10][..], &bytes].concat();
        let live = |_, _: &ContentId, _| None;
        let _ = ClientFrame::decode(&framed);
        if let Ok(ServerFrame::Update(_, body)) = ServerFrame::decode(&framed) {
            let _ = read_update(body.0, &mut Context::default(), &live);
        }
        let _ = read_delta(&bytes, &mut Context::default(), ReplicaId(1), &live);
        let _ = Household::decode(&mut Reader::new(&bytes));
        let mut random = omega_sync_core::id::Random::new([3; 16]);
        let loaded = Replica::load(&[bytes], None, &mut random);
        prop_assert!(loaded.is_ok_and(|loaded| loaded.damage.is_some()));
    }

    #[test]
    fn a_hello_comes_back(
        token in "[a-z.]{0,40}", marks: [Option<u32>; 3], cursor: Option<u64>, owes_offer: bool,
        ids: (u64, u64, u32),
    ) {
        let [household, acked, epoch] = marks;
        let (replica, number, nonce) = ids;
        let (replica, session) = (ReplicaId(replica), Session { number, nonce });
        let hello =
            Hello { token, household, replica, session, acked, epoch, cursor, owes_offer };
        let frame = hello.encode();
        prop_assert_eq!(ClientFrame::decode(&frame), Ok(ClientFrame::Hello(hello)));
    }
}

#[test]
fn a_title_that_plays_costs_one_byte_an_update() {
    let (mut up, mut down) = (Context::starting(START), Context::starting(START));
    let content = ContentId::new("tmdb:550").expect("short text");
    let mut sizes = Vec::new();
    for tick in 0..6u32 {
        let progress =
            Progress { position_s: 60 + 10 * tick, duration_s: 8_340, state: PlayState::Playing };
        let timestamp = Timestamp::new(UnixMillis(START.0 + 10_000 * u64::from(tick)), 0);
        let change = Change::Progress(content.clone(), Some(progress));
        let operation = Operation { timestamp, profile: ProfileId::DEFAULT, change };
        let (replica, operations) = (ReplicaId(1), vec![operation]);
        let delta = Delta { replica, through: timestamp, operations };
        let frame = ClientFrame::delta(FrameNumber::FIRST, &delta, &mut up, &mut |_| None);
        sizes.push(frame.len());
        let Ok(ClientFrame::Delta(_, body)) = ClientFrame::decode(&frame) else {
            panic!("a delta");
        };
        assert_eq!(read_delta(body.0, &mut down, replica, &|_, _, _| None), Ok(delta));
    }
    assert_eq!(sizes[2..], [2; 4], "frame and head: {sizes:?}");
}

#[test]
fn frames_of_another_version_or_size_have_their_own_error() {
    assert_eq!(ClientFrame::decode(&[0x20]), Err(DecodeError::version(2)));
    assert_eq!(ServerFrame::decode(&[0x00]).err(), Some(DecodeError::version(0)));
    assert_eq!(ClientFrame::decode(&[0x1f]), Err(DecodeError::invalid("frame tag")));
    assert_eq!(ClientFrame::decode(&[0x13]), Err(DecodeError::invalid("frame tag")));
    assert_eq!(ClientFrame::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(ClientFrame::decode(&[3, 0]), Err(DecodeError::Trailing));
    let large = vec![1; omega_sync_core::message::FRAME_BYTES_MAX + 1];
    assert_eq!(ClientFrame::decode(&large), Err(DecodeError::limit("FRAME_BYTES_MAX")));
}
