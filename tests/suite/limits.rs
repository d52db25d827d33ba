//! Each limit at its edge: the last thing that fits, and the first that does not.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::delta::{
    CONTEXT_ENTRIES_MAX, Context, DELTA_BYTES_MAX, DELTA_OPERATIONS_MAX, Delta,
};
use omega_sync_core::household::{
    ENTRIES_MAX, GONE_MAX, Household, PROFILES_EVER_MAX, PROFILES_MAX, REPLICAS_MAX, TOUCHED_MAX,
};
use omega_sync_core::id::{
    CONTENT_ID_BYTES_MAX, ContentId, EpochId, HouseholdId, ProfileId, ReplicaId,
};
use omega_sync_core::message::{
    ClientFrame, CloseCode, FRAME_BYTES_MAX, FrameNumber, Hello, ServerFrame, Session,
    TOKEN_BYTES_MAX, VOIDS_MAX,
};
use omega_sync_core::operation::{
    Change, Intent, OBSERVED_MAX, Operation, PROFILE_NAME_BYTES_MAX, PlayState, Progress,
    VoidReason,
};
use omega_sync_core::outbox::OUTBOX_OPERATIONS_MAX;
use omega_sync_core::replica::{Now, OperationError};
use omega_sync_core::session::client::{Client, IN_FLIGHT_MAX, Input, Output};
use omega_sync_core::session::server::{
    ConnectionId, ROOM_CONNECTIONS_MAX, Room, RoomInput, RoomOutput, SNAPSHOT_EVERY,
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn title(number: usize) -> ContentId {
    let name = format!("{number:0width$}", width = CONTENT_ID_BYTES_MAX);
    ContentId::new(&name).expect("just short enough")
}

fn stamp(number: usize) -> Timestamp {
    Timestamp::new(UnixMillis(NOW.0 - 1_000_000 + number as u64), 0)
}

fn operation(number: usize, profile: ProfileId, change: Change) -> Operation {
    Operation { timestamp: stamp(number), profile, change }
}

fn one(replica: u64, operation: Operation) -> Delta {
    let through = operation.timestamp;
    Delta { replica: ReplicaId(replica), through, operations: vec![operation] }
}

fn bytes(household: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    household.encode(&mut writer);
    writer.finish()
}

fn hello(replica: u64, number: u64) -> Hello {
    Hello {
        token: String::new(),
        household: None,
        replica: ReplicaId(replica),
        session: Session { number, nonce: 7 },
        acked: None,
        cursor: None,
        epoch: None,
        owes_offer: false,
    }
}

fn room() -> Room {
    Room::create(HouseholdId::new("home").expect("short text"), EpochId(1))
}

fn greet(room: &mut Room, connection: u64, hello: Hello) -> Vec<RoomOutput> {
    let connection = ConnectionId(connection);
    room.handle(NOW, RoomInput::Hello { connection, hello, may_write: true })
}

fn closed(outputs: &[RoomOutput]) -> Option<CloseCode> {
    outputs.iter().find_map(|output| match output {
        RoomOutput::Close(_, code) => Some(*code),
        _ => None,
    })
}

#[test]
fn a_full_household_voids_new_entries_and_its_snapshot_fits_a_frame() {
    let mut household = Household::default();
    let playing =
        Progress { position_s: u32::MAX, duration_s: u32::MAX, state: PlayState::Playing };
    for number in 0..ENTRIES_MAX {
        let change = if number % 2 == 0 {
            Change::Add(title(number), Vec::new())
        } else {
            Change::Progress(title(number), Some(playing))
        };
        let operation = operation(number, ProfileId::DEFAULT, change);
        assert_eq!(household.check(&operation), Ok(()));
        household.merge(&one(1 + number as u64 % 1000, operation));
    }
    assert_eq!(household.entries(), ENTRIES_MAX);
    let next = |change| operation(ENTRIES_MAX, ProfileId::DEFAULT, change);
    let full = Err(VoidReason::HouseholdFull);
    assert_eq!(household.check(&next(Change::Add(title(ENTRIES_MAX), Vec::new()))), full);
    assert_eq!(household.check(&next(Change::Progress(title(0), Some(playing)))), full);
    assert_eq!(household.check(&next(Change::Progress(title(1), Some(playing)))), Ok(()));
    let frame = ServerFrame::snapshot(FrameNumber::FIRST, u64::MAX, &household);
    assert!(frame.len() <= FRAME_BYTES_MAX, "{} bytes", frame.len());
    assert!(ServerFrame::decode(&frame).is_ok());
}

#[test]
fn profiles_have_two_limits_and_a_name_has_one() {
    let mut household = Household::default();
    let name = || Change::NameProfile("n".into());
    for number in 1..PROFILES_MAX {
        household.merge(&one(1, operation(number, ProfileId(number as u64), name())));
    }
    let next = operation(2_000, ProfileId(9_999), name());
    assert_eq!(household.check(&next), Err(VoidReason::HouseholdFull));
    for number in 1..=PROFILES_EVER_MAX - 1 {
        let profile = ProfileId(number as u64);
        household.merge(&one(1, operation(3_000 + 2 * number, profile, name())));
        household.merge(&one(1, operation(3_001 + 2 * number, profile, Change::DeleteProfile)));
    }
    assert_eq!(household.check(&next), Err(VoidReason::HouseholdFull));
    assert!(Household::decode(&mut Reader::new(&bytes(&household))).is_ok());
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let long = |bytes| Intent::NameProfile(ProfileId(5), "x".repeat(bytes));
    assert!(tv.operate(Now::default(), long(PROFILE_NAME_BYTES_MAX)).is_ok());
    let refused = tv.operate(Now::default(), long(PROFILE_NAME_BYTES_MAX + 1));
    assert_eq!(refused, Err(OperationError::ProfileName));
    assert_eq!(tv.operate(Now::default(), long(0)), Err(OperationError::ProfileName));
}

#[test]
fn concurrent_adds_of_one_title_are_bounded() {
    let mut household = Household::default();
    for number in 0..OBSERVED_MAX {
        let add = operation(number, ProfileId::DEFAULT, Change::Add(title(1), Vec::new()));
        assert_eq!(household.check(&add), Ok(()));
        household.merge(&one(1 + number as u64, add));
    }
    let blind = operation(900, ProfileId::DEFAULT, Change::Add(title(1), Vec::new()));
    assert_eq!(household.check(&blind), Err(VoidReason::HouseholdFull));
    let shelf = household.profile(ProfileId::DEFAULT).expect("always there");
    let observed = shelf.watchlist().dots(&title(1)).to_vec();
    let seeing = operation(900, ProfileId::DEFAULT, Change::Add(title(1), observed));
    assert_eq!(household.check(&seeing), Ok(()));
    let decoded = Household::decode(&mut Reader::new(&bytes(&household)));
    assert_eq!(decoded, Ok(household));
}

#[test]
fn a_delta_and_its_observed_dots_are_bounded() {
    let delta = |count: usize, observed: usize| {
        let dot = |n| Dot { timestamp: stamp(n), replica: ReplicaId(3) };
        let operations: Vec<_> = (0..count)
            .map(|n| {
                let observed = (0..observed).map(dot).collect();
                operation(n, ProfileId::DEFAULT, Change::Remove(title(n % 3), observed))
            })
            .collect();
        let through = operations.last().expect("one").timestamp;
        let mut writer = Writer::new();
        let delta = Delta { replica: ReplicaId(1), through, operations };
        delta.store(&mut writer);
        Delta::load(&mut Reader::new(writer.as_slice())).map(|decoded| decoded == delta)
    };
    assert_eq!(delta(DELTA_OPERATIONS_MAX, 1), Ok(true));
    assert_eq!(delta(DELTA_OPERATIONS_MAX + 1, 1), Err(DecodeError::limit("DELTA_OPERATIONS_MAX")));
    assert_eq!(delta(1, OBSERVED_MAX), Ok(true));
    assert_eq!(delta(1, OBSERVED_MAX + 1), Err(DecodeError::limit("OBSERVED_MAX")));
}

#[test]
fn a_delta_that_might_not_fit_a_frame_to_others_is_refused() {
    let dots = |count| (0..count).map(|n| Dot { timestamp: stamp(n), replica: ReplicaId(3) });
    let send = |operations: usize| {
        let operations: Vec<_> = (0..operations)
            .map(|n| {
                let change = Change::Remove(title(n), dots(OBSERVED_MAX).collect());
                operation(n, ProfileId::DEFAULT, change)
            })
            .collect();
        let through = operations.last().expect("one").timestamp;
        let delta = Delta { replica: ReplicaId(1), through, operations };
        let mut room = room();
        greet(&mut room, 1, hello(1, 1));
        let (first, mut context) = (FrameNumber::FIRST, Context::starting(NOW));
        let bytes = ClientFrame::delta(first, &delta, &mut context, &mut |_| None);
        let input = RoomInput::Frame { connection: ConnectionId(1), bytes };
        (delta.bytes_bound() <= DELTA_BYTES_MAX, closed(&room.handle(NOW, input)))
    };
    let fits = (1..).take_while(|&count| send(count).0).last().expect("one fits");
    assert_eq!(send(fits), (true, None));
    assert_eq!(send(fits + 1), (false, Some(CloseCode::TooLarge)));
}

#[test]
fn a_context_that_is_full_starts_anew_at_both_ends() {
    let (mut up, mut down) = (Context::default(), Context::default());
    for number in 0..3 * CONTEXT_ENTRIES_MAX {
        let value = Progress { position_s: 9, duration_s: 99, state: PlayState::Playing };
        let change = Change::Progress(title(number % (CONTEXT_ENTRIES_MAX + 7)), Some(value));
        let delta = one(number as u64, operation(number, ProfileId::DEFAULT, change));
        let mut writer = Writer::new();
        delta.encode(&mut writer, &mut up, &mut |_| None);
        let decoded =
            Delta::decode(&mut Reader::new(writer.as_slice()), &mut down, &|_, _, _| None);
        assert_eq!(decoded, Ok(delta));
    }
}

#[test]
fn a_token_is_bounded() {
    let with = |bytes: usize| Hello { token: "x".repeat(bytes), ..hello(1, 1) }.encode();
    assert!(ClientFrame::decode(&with(TOKEN_BYTES_MAX)).is_ok());
    let long = with(TOKEN_BYTES_MAX + 1);
    assert_eq!(ClientFrame::decode(&long), Err(DecodeError::limit("TOKEN_BYTES_MAX")));
}

#[test]
fn a_household_has_so_many_connections_and_replicas() {
    let mut full = room();
    for number in 0..ROOM_CONNECTIONS_MAX as u64 {
        assert_eq!(closed(&greet(&mut full, number, hello(number + 1, 1))), None);
    }
    let next = ROOM_CONNECTIONS_MAX as u64;
    assert_eq!(closed(&greet(&mut full, next, hello(next + 1, 1))), Some(CloseCode::Overloaded));
    assert_eq!(full.connections(), ROOM_CONNECTIONS_MAX);
    let again = greet(&mut full, next + 1, hello(1, 2));
    assert_eq!(closed(&again), Some(CloseCode::Replaced), "a replica that returns has its place");
    assert_eq!(full.connections(), ROOM_CONNECTIONS_MAX);

    let mut known = room();
    for number in 0..REPLICAS_MAX as u64 {
        assert_eq!(closed(&greet(&mut known, number, hello(number + 1, 1))), None);
        known.handle(NOW, RoomInput::Closed(ConnectionId(number)));
    }
    let next = greet(&mut known, 9_999, hello(9_999, 1));
    assert_eq!(closed(&next), Some(CloseCode::Overloaded));
}

#[test]
fn refusals_that_nobody_heard_of_are_bounded() {
    let mut room = room();
    greet(&mut room, 1, hello(1, 1));
    let (mut context, mut frame_number) = (Context::starting(NOW), FrameNumber::FIRST);
    let unknown = ProfileId(404);
    let mut code = None;
    let mut sent = 0;
    for number in 1..=VOIDS_MAX / DELTA_OPERATIONS_MAX + 1 {
        let operations: Vec<_> = (0..DELTA_OPERATIONS_MAX)
            .map(|n| {
                let change = Change::Add(title(n), Vec::new());
                operation(number * DELTA_OPERATIONS_MAX + n, unknown, change)
            })
            .collect();
        let through = operations.last().expect("one").timestamp;
        let delta = Delta { replica: ReplicaId(1), through, operations };
        let bytes = ClientFrame::delta(frame_number.advance(), &delta, &mut context, &mut |_| None);
        let input = RoomInput::Frame { connection: ConnectionId(1), bytes };
        code = closed(&room.handle(NOW, input));
        sent += DELTA_OPERATIONS_MAX;
    }
    assert!(sent > VOIDS_MAX);
    assert_eq!(code, Some(CloseCode::Overloaded));
    assert_eq!(closed(&greet(&mut room, 2, hello(1, 2))), None);
}

#[test]
fn an_outbox_is_bounded_and_a_full_one_loses_nothing() {
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let now = Now { unix: NOW, steady_ms: 0 };
    let add = |number| Intent::Add(ProfileId::DEFAULT, title(number));
    for number in 0..OUTBOX_OPERATIONS_MAX {
        assert!(tv.operate(now, add(number)).is_ok());
    }
    assert_eq!(tv.operate(now, add(OUTBOX_OPERATIONS_MAX)), Err(OperationError::OutboxFull));
    assert_eq!(tv.replica().outbox().len(), OUTBOX_OPERATIONS_MAX);
}

#[test]
fn so_many_deltas_are_in_flight_and_the_rest_coalesces() {
    let mut room = room();
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let now = Now { unix: NOW, steady_ms: 0 };
    tv.handle(now, Input::Online);
    let outputs = tv.handle(now, Input::Opened(String::new()));
    let frames = |outputs: Vec<Output>| {
        let frame = |output| match output {
            Output::Send(frame) => Some(frame),
            _ => None,
        };
        outputs.into_iter().filter_map(frame).collect::<Vec<_>>()
    };
    let Ok(ClientFrame::Hello(hello)) = ClientFrame::decode(&frames(outputs)[0]) else {
        panic!("a hello");
    };
    for output in greet(&mut room, 1, hello) {
        if let RoomOutput::Send(_, frame) = output {
            tv.handle(now, Input::Frame(&frame));
        }
    }
    let play = |position_s| {
        let progress = Progress { position_s, duration_s: 99, state: PlayState::Playing };
        Intent::Progress(ProfileId::DEFAULT, title(1), Some(progress))
    };
    let mut sent = 0;
    for position_s in 0..3 * IN_FLIGHT_MAX as u32 {
        sent += frames(tv.operate(now, play(position_s)).expect("valid")).len();
    }
    assert_eq!(sent, IN_FLIGHT_MAX);
    assert_eq!(tv.replica().outbox().len(), IN_FLIGHT_MAX + 1);
}

#[test]
fn the_log_is_cut_at_a_snapshot_and_the_history_when_too_much_is_gone() {
    let mut room = room();
    greet(&mut room, 1, hello(1, 1));
    let (mut context, mut frame_number) = (Context::starting(NOW), FrameNumber::FIRST);
    let (mut snapshots, mut stored_entries) = (0, 0);
    let versions = 3 * GONE_MAX;
    for number in 1..=versions {
        // Every title is added and taken off again: all are gone in the end.
        let content = title(number.div_ceil(2));
        let dot = Dot { timestamp: stamp(number - 1), replica: ReplicaId(1) };
        let change = match number % 2 {
            1 => Change::Add(content, Vec::new()),
            _ => Change::Remove(content, vec![dot]),
        };
        let delta = one(1, operation(number, ProfileId::DEFAULT, change));
        let bytes = ClientFrame::delta(frame_number.advance(), &delta, &mut context, &mut |_| None);
        let input = RoomInput::Frame { connection: ConnectionId(1), bytes };
        for output in room.handle(NOW, input) {
            if let RoomOutput::Persist(commit) = output {
                stored_entries += commit.entries.len();
                if commit.snapshot.is_some() {
                    snapshots += 1;
                    stored_entries = 0;
                }
            }
        }
        assert!(stored_entries < SNAPSHOT_EVERY as usize);
    }
    assert_eq!(snapshots, versions as u64 / SNAPSHOT_EVERY);
    let reached = (versions - 2 * GONE_MAX) as u64;
    for (version, whole) in [(reached + 2, false), (1, true)] {
        let epoch = Some(EpochId(1).mark());
        let hello = Hello { cursor: Some(version), epoch, ..hello(100 + version, 1) };
        let outputs = greet(&mut room, 1_000 + version, hello);
        let got_state = outputs.iter().any(|output| match output {
            RoomOutput::Send(_, frame) => {
                matches!(ServerFrame::decode(frame), Ok(ServerFrame::Snapshot(..)))
            }
            _ => false,
        });
        assert_eq!(got_state, whole, "cursor {version}");
    }
}

#[test]
fn titles_beyond_the_limit_are_refused_before_they_are_read() {
    let mut household = Household::default();
    let named = Change::NameProfile("a name".into());
    household.merge(&one(1, operation(1, ProfileId(1), named)));
    let value = Progress { position_s: 0, duration_s: 0, state: PlayState::Playing };
    for number in 0..=TOUCHED_MAX {
        let profile = ProfileId(number as u64 % 2);
        let content = ContentId::new(&format!("tmdb:{number}")).expect("short text");
        let change = Change::Progress(content, Some(value));
        household.merge(&one(1, operation(number + 2, profile, change)));
    }
    let encoded = bytes(&household);
    let decoded = Household::decode(&mut Reader::new(&encoded));
    assert_eq!(decoded.err(), Some(DecodeError::limit("TOUCHED_MAX")));
}

#[test]
fn a_device_that_missed_more_titles_than_a_difference_names_gets_a_snapshot() {
    let mut room = room();
    greet(&mut room, 1, hello(1, 1));
    let mut context = Context::starting(NOW);
    let mut number = FrameNumber::FIRST;
    let mut stamps = 0;
    let mut missed = |room: &mut Room, titles: core::ops::Range<usize>| {
        let operations: Vec<Operation> = titles
            .flat_map(|at| {
                let dot = Dot { timestamp: stamp(2 * at), replica: ReplicaId(1) };
                [Change::Add(title(at), Vec::new()), Change::Remove(title(at), vec![dot])]
            })
            .map(|change| {
                stamps += 1;
                operation(stamps - 1, ProfileId::DEFAULT, change)
            })
            .collect();
        let through = operations.last().expect("one at least").timestamp;
        let delta = Delta { replica: ReplicaId(1), through, operations };
        let bytes = ClientFrame::delta(number.advance(), &delta, &mut context, &mut |_| None);
        let outputs = room.handle(NOW, RoomInput::Frame { connection: ConnectionId(1), bytes });
        assert_eq!(closed(&outputs), None);
    };
    let answer = |room: &mut Room, replica: u64| -> bool {
        let cursor = Some(1);
        let hello = Hello { epoch: Some(1), cursor, ..hello(replica, 1) };
        let outputs = greet(room, replica, hello);
        let Some(RoomOutput::Send(_, frame)) = outputs.last() else {
            panic!("an answer to the hello");
        };
        matches!(ServerFrame::decode(frame), Ok(ServerFrame::Difference(..)))
    };
    const STEP: usize = DELTA_OPERATIONS_MAX / 4;
    missed(&mut room, 0..1);
    // With each title's key there is the author's own.
    let fit = TOUCHED_MAX - 1;
    for from in (1..=fit).step_by(STEP) {
        missed(&mut room, from..(from + STEP).min(fit + 1));
    }
    assert!(answer(&mut room, 2), "the last thing that fits");
    missed(&mut room, fit + 1..fit + 2);
    assert!(!answer(&mut room, 3), "the first that does not");
}
