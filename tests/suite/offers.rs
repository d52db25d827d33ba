//! What devices bring back to a database that was put back: limits, and who has the last word.

use crate::home::{Home, TODAY_MS, Tv, add, household, play, title};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{Reader, Writer};
use omega_sync_core::delta::Delta;
use omega_sync_core::household::{ENTRIES_MAX, Household};
use omega_sync_core::id::{EpochId, ProfileId, ReplicaId};
use omega_sync_core::message::{ClientFrame, FrameNumber, Hello, Session};
use omega_sync_core::operation::{Change, Intent, Operation};
use omega_sync_core::session::client::{Client, Input, Output};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};

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
