//! Faults that a review of the core found, each as the story that showed it.

use crate::home::{DAY_MS, Home, TODAY_MS, Tv, add, household, play, title};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Reader, Writer, checksum};
use omega_sync_core::delta::Delta;
use omega_sync_core::household::{ENTRIES_MAX, Household};

use omega_sync_core::id::{EpochId, ProfileId, Random, ReplicaId};
use omega_sync_core::message::{ClientFrame, FrameNumber, Hello, ServerFrame, Session, Welcome};
use omega_sync_core::operation::{Change, Intent, Operation};
use omega_sync_core::replica::{Now, Replica};
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::collections::VecDeque;

fn snapshot_reads(room: &Room) -> bool {
    let mut writer = Writer::new();
    room.household().encode(&mut writer);
    let bytes = writer.finish();
    Household::decode(&mut Reader::new(&bytes)).is_ok()
}

fn named(replica: u64, from: u64, count: u64) -> Household {
    let mut state = Household::default();
    for n in from..from + count {
        let timestamp = Timestamp::new(UnixMillis(TODAY_MS - 9_000 + n), 0);
        let operation = Operation {
            timestamp,
            profile: ProfileId(n + 1),
            change: Change::NameProfile("n".into()),
        };
        state.merge(&Delta {
            replica: ReplicaId(replica),
            through: timestamp,
            operations: vec![operation],
        });
    }
    state
}

fn offer_to(room: &mut Room, replica: u64, connection: u64, bytes: Vec<u8>) -> Vec<RoomOutput> {
    let connection = ConnectionId(connection);
    let hello = Hello {
        token: String::new(),
        household: None,
        replica: ReplicaId(replica),
        session: Session { number: 1, nonce: 1 },
        acked: None,
        cursor: None,
        epoch: None,
        owes_offer: true,
    };
    room.handle(UnixMillis(TODAY_MS), RoomInput::Hello { connection, hello, may_write: true });
    room.handle(UnixMillis(TODAY_MS), RoomInput::Frame { connection, bytes })
}

#[test]
fn offers_keep_the_limits_of_profiles() {
    let mut room = Room::create(household(), EpochId(1));
    offer_to(&mut room, 1, 1, ClientFrame::offer(FrameNumber::FIRST, &[named(1, 0, 31)]));
    assert!(snapshot_reads(&room));
    offer_to(&mut room, 2, 2, ClientFrame::offer(FrameNumber::FIRST, &[named(2, 100, 31)]));
    assert!(snapshot_reads(&room), "the state can be loaded again");
}

#[test]
fn an_offer_cannot_delete_the_default_profile() {
    let mut room = Room::create(household(), EpochId(1));
    // Header, tag, number; state: version, no replicas, profile 0 deleted, an empty profile 0.
    let mut bytes = vec![1, 3, 1, 1, 0, 1];
    bytes.extend([0; 8]);
    bytes.extend([1, 0, 0, 0, 0]);
    offer_to(&mut room, 1, 1, bytes);
    assert!(snapshot_reads(&room), "the state can be loaded again");
}

#[test]
fn stamps_of_zero_do_not_break_replicas_max() {
    let mut room = Room::create(household(), EpochId(1));
    let mut w = Writer::new();
    for b in [1u8, 3, 1, 1] {
        w.u8(b);
    }
    w.varint(1024);
    for n in 0..1024u64 {
        w.fixed64(n + 10_000);
        w.varint(0);
    }
    w.varint(0);
    for b in [1u8, 0, 0, 0, 0] {
        w.u8(b);
    }
    offer_to(&mut room, 1, 1, w.finish());
    // An honest TV comes.
    let mut home = Home::new();
    home.room = room;
    let mut tv = home.tv(5, 0);
    home.connect(&mut tv);
    home.operate(&mut tv, add("film"));
    assert!(snapshot_reads(&home.room), "the state can be loaded again");
}

#[test]
fn a_fast_clock_does_not_win_with_its_second_operation() {
    let mut home = Home::new();
    let mut wrong = home.tv(1, 240_000);
    let mut right = home.tv(2, 0);
    home.operate(&mut wrong, play("other", 1));
    home.operate(&mut wrong, play("film", 10));
    home.time_ms += 60_000;
    home.refresh(&mut right);
    home.operate(&mut right, play("film", 20));
    home.time_ms += 1_000;
    home.refresh(&mut wrong);
    assert_eq!(home.position_s("film"), Some(20), "the later viewer wins");
}

#[test]
fn a_night_in_standby_does_not_make_yesterday_new() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = home.tv(2, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    let steady = home.now(&tv).steady_ms;
    home.operate(&mut tv, play("film", 10));
    // Standby for ten hours: the wall clock runs, the steady clock stops.
    home.time_ms += 2 * 3_600_000;
    home.refresh(&mut other);
    home.operate(&mut other, play("film", 20));
    home.time_ms += 8 * 3_600_000;
    let now = Now { unix: UnixMillis(home.time_ms), steady_ms: steady + 1_000 };
    let outputs = tv.client.handle(now, Input::Online);
    let mut queue: VecDeque<Output> = outputs.into();
    home.next_connection += 1;
    tv.connection = ConnectionId(home.next_connection);
    while let Some(output) = queue.pop_front() {
        match output {
            Output::Connect => queue.extend(tv.client.handle(now, Input::Opened(String::new()))),
            Output::Send(frame) => {
                home.deliver(&mut tv, frame);
                while let Some(Ok(frame)) = tv.inbox.pop_front() {
                    queue.extend(tv.client.handle(now, Input::Frame(&frame)));
                }
            }
            _ => {}
        }
    }
    assert!(tv.client.replica().outbox().is_empty());
    assert_eq!(home.position_s("film"), Some(20), "the later viewer wins");
}

/// A TV whose last ack is lost with the server; another TV has seen the operation.
fn ack_lost_with_the_server(home: &mut Home, tv: &mut Tv, skew_ms: i64, intent: Intent) -> Tv {
    home.refresh(tv);
    tv.skew_ms += skew_ms;
    tv.held = Some(Vec::new());
    home.operate(tv, intent);
    let connection = tv.connection;
    for bytes in tv.held.take().expect("held") {
        home.room.handle(UnixMillis(home.time_ms), RoomInput::Frame { connection, bytes });
    }
    let mut other = home.tv(2, 0);
    home.refresh(&mut other);
    home.input(&mut other, Input::Offline);
    home.input(tv, Input::Offline);
    home.room = Room::create(household(), EpochId(2));
    other
}

#[test]
fn a_remove_survives_a_restore() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = ack_lost_with_the_server(&mut home, &mut tv, 0, add("film"));
    assert!(other.client.replica().is_listed(ProfileId::DEFAULT, &title("film")));
    home.time_ms += 5_000;
    home.operate(&mut tv, Intent::Remove(ProfileId::DEFAULT, title("film")));
    home.refresh(&mut tv);
    home.refresh(&mut other);
    assert!(!home.listed("film"), "a durable remove of what its author had seen holds");
}

#[test]
fn acknowledged_adds_survive_a_late_offer() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = ack_lost_with_the_server(&mut home, &mut tv, 240_000, add("first"));
    home.time_ms += 5_000;
    home.refresh(&mut tv);
    home.time_ms += 5_000;
    home.operate(&mut tv, add("second"));
    assert!(home.listed("second"), "acknowledged");
    home.refresh(&mut other);
    assert!(home.listed("second"), "an acknowledged add is not lost to an offer");
    home.operate(&mut tv, add("third"));
    home.refresh(&mut tv);
    assert!(home.listed("third"), "nor what comes after it");
}

#[test]
fn a_reader_shows_what_the_server_has_and_goes_on_owing() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    home.room = Room::create(household(), EpochId(2));
    tv.may_write = false;
    home.refresh(&mut tv);
    assert_eq!(tv.client.replica().owed().len(), 1);
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn a_dropped_connection_during_a_restore_keeps_the_id() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    let id = tv.client.replica().id();
    home.room = Room::create(household(), EpochId(2));
    // The offer is lost after the welcome.
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    assert!(!outputs.is_empty());
    home.next_connection += 1;
    tv.connection = ConnectionId(home.next_connection);
    for output in tv.client.handle(home.now(&tv), Input::Opened(String::new())) {
        if let Output::Send(frame) = output {
            home.deliver(&mut tv, frame)
        }
    }
    if let Some(Ok(frame)) = tv.inbox.pop_front() {
        tv.client.handle(home.now(&tv), Input::Frame(&frame));
    }
    tv.inbox.clear();
    home.connect(&mut tv);
    home.retry(&mut tv);
    assert_eq!(tv.client.replica().id(), id);
}

#[test]
fn a_joined_state_over_the_limit_can_be_loaded() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    for n in 0..ENTRIES_MAX {
        home.operate(&mut tv, add(&format!("t{n}")));
    }
    assert!(tv.client.replica().outbox().is_empty());
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, play("only here", 7));
    home.room = Room::create(household(), EpochId(2));
    let mut other = home.tv(2, 0);
    home.refresh(&mut other);
    home.operate(&mut other, add("new"));
    home.connect(&mut tv);
    let opened = Client::load(&tv.disk, None, [9; 16]).expect("readable");
    assert_eq!(opened.damage, None, "what the client wrote can be read");
}

#[test]
fn a_server_clock_that_was_ahead_does_not_lock_a_tv_out() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.time_ms += DAY_MS as u64;
    tv.skew_ms = -DAY_MS;
    home.refresh(&mut tv);
    home.operate(&mut tv, play("film", 10));
    home.time_ms -= DAY_MS as u64 - 600_000;
    tv.skew_ms = 0;
    home.connect(&mut tv);
    home.operate(&mut tv, play("film", 20));
    for _ in 0..5 {
        home.retry(&mut tv);
    }
    assert_eq!(home.position_s("film"), Some(20));
}

#[test]
fn a_late_frame_does_not_end_being_offline() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    home.input(&mut tv, Input::Frame(&ServerFrame::pong()));
    assert_eq!(tv.client.status(), Status::Offline);
}

#[test]
fn a_steady_clock_from_any_start() {
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: u64::MAX - 5 };
    tv.handle(now, Input::Online);
    let mut room = Room::create(household(), EpochId(1));
    for output in tv.handle(now, Input::Opened(String::new())) {
        if let Output::Send(frame) = output {
            let Ok(ClientFrame::Hello(hello)) = ClientFrame::decode(&frame) else { panic!() };
            for o in room.handle(
                UnixMillis(TODAY_MS),
                RoomInput::Hello { connection: ConnectionId(1), hello, may_write: true },
            ) {
                if let RoomOutput::Send(_, f) = o {
                    tv.handle(now, Input::Frame(&f));
                }
            }
        }
    }
}

/// The offset that a TV measures when its clock is `skew_ms` off and the answer takes `answer_ms`.
fn measured_offset_ms(skew_ms: i64, answer_ms: u64) -> i64 {
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let at = |passed_ms: u64| Now {
        unix: UnixMillis((TODAY_MS + passed_ms).saturating_add_signed(skew_ms)),
        steady_ms: passed_ms,
    };
    tv.handle(at(0), Input::Online);
    let mut room = Room::create(household(), EpochId(1));
    for output in tv.handle(at(0), Input::Opened(String::new())) {
        let Output::Send(frame) = output else { continue };
        let Ok(ClientFrame::Hello(hello)) = ClientFrame::decode(&frame) else { panic!("a hello") };
        let input = RoomInput::Hello { connection: ConnectionId(1), hello, may_write: true };
        for output in room.handle(UnixMillis(TODAY_MS), input) {
            if let RoomOutput::Send(_, frame) = output {
                tv.handle(at(answer_ms), Input::Frame(&frame));
            }
        }
    }
    tv.replica().offset_ms()
}

#[test]
fn a_slow_answer_does_not_move_a_right_clock() {
    assert_eq!(measured_offset_ms(0, 0), 0);
    assert_eq!(measured_offset_ms(0, 900), 0);
    let day = measured_offset_ms(DAY_MS, 900);
    assert!((-DAY_MS - 900..=-DAY_MS).contains(&day), "{day}");
    let behind = measured_offset_ms(-DAY_MS, 900);
    assert!((DAY_MS - 900..=DAY_MS).contains(&behind), "{behind}");
}

/// A server that lets the version leap as far as it goes.
#[test]
fn a_version_stops_at_its_highest() {
    let mut fresh = Replica::new(None, &mut Random::new([1; 16]));
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
    let welcome = Welcome {
        session: 1,
        household: Some(household()),
        epoch: Some(EpochId(1)),
        server_time: UnixMillis(TODAY_MS),
        taken: None,
        voids: Vec::new(),
    };
    assert!(fresh.welcome(now, 0, &welcome).is_ok());
    fresh.snapshot(1, Household::default());
    let mut nothing = Writer::new();
    nothing.bytes(&[]);
    assert!(fresh.difference(u64::MAX, nothing.as_slice()).is_ok());
    assert_eq!(fresh.base_version(), Some(u64::MAX));
}

/// An image whose operations wait in another order than they were made in.
#[test]
fn waiting_operations_are_stored_in_their_order() {
    let mut random = Random::new([1; 16]);
    let mut replica = Replica::new(None, &mut random);
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
    let mut records = vec![replica.image()];
    for name in ["tmdb:1", "tmdb:2"] {
        let done = replica.operate(now, Intent::Add(ProfileId::DEFAULT, title(name)), |_| false);
        let (record, _) = done.expect("it exists").expect("it is new");
        records.push(record);
    }
    let load = |records: &[Vec<u8>]| {
        let mut random = Random::new([2; 16]);
        Replica::load(records, None, &mut random).expect("our version").damage
    };
    assert_eq!(load(&records), None);
    records.swap(1, 2);
    assert_eq!(load(&records), Some(DecodeError::invalid("order of operations")));
    records[1] = records[2].clone();
    assert_eq!(load(&records), Some(DecodeError::invalid("order of operations")));
}

/// An image whose clock is behind the operations that wait.
#[test]
fn a_loaded_clock_is_above_what_waits() {
    let mut made = Replica::new(None, &mut Random::new([1; 16]));
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
    let add = |name| Intent::Add(ProfileId::DEFAULT, title(name));
    let done = made.operate(now, add("tmdb:1"), |_| false).expect("it exists");
    let operation = done.expect("it is new").0;
    let mut image = Writer::new();
    // Version and tag; replica; no household, no flags; nothing acknowledged; no session, no clock, no
    // offset, nothing sent; one operation waits, without its version, tag and checksum.
    image.raw(&[1, 1]);
    image.fixed64(7);
    image.raw(&[0; 7 + 4]);
    image.varint(1);
    image.raw(&operation[2..operation.len() - 4]);
    image.varint(0);
    Household::default().encode(&mut image);
    image.fixed32(checksum(image.as_slice()));
    let mut random = Random::new([2; 16]);
    let loaded = Replica::load(&[image.finish()], None, &mut random).expect("our version");
    assert_eq!(loaded.damage, None);
    let mut replica = loaded.replica;
    let before = Now { unix: UnixMillis(TODAY_MS - DAY_MS as u64), steady_ms: 0 };
    assert!(replica.operate(before, add("tmdb:2"), |_| false).is_ok());
    let stamps: Vec<u64> = replica.outbox().iter().map(|p| p.operation.timestamp.0).collect();
    assert!(stamps.len() == 2 && replica.outbox().get(Timestamp(stamps[1])).is_some());
    assert!(replica.is_listed(ProfileId::DEFAULT, &title("tmdb:2")));
    let again = Replica::load(&[replica.image()], None, &mut random).expect("our version");
    assert_eq!(again.replica.outbox().last(), Timestamp(stamps[1]));
    assert!(made.outbox().last() < Timestamp(stamps[1]), "made later");
}
