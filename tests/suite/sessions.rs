//! The rules of the handshake, and bad input, one by one.

use crate::home::{DAY_MS, Home, TODAY_MS, add, household, play, title};
use omega_sync_core::clock::{DRIFT_MAX_MS, UnixMillis};
use omega_sync_core::id::{EpochId, HouseholdId, ProfileId};
use omega_sync_core::message::{CloseCode, ServerFrame};
use omega_sync_core::operation::{Intent, VoidReason};
use omega_sync_core::replica::OperationError;
use omega_sync_core::session::client::{Client, Input, Status};
use omega_sync_core::session::server::{Room, RoomInput, RoomOutput};

#[test]
fn a_lost_ack_neither_loses_nor_doubles() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    // The server takes the delta, but the TV loses power before the ack.
    let before = tv.client.replica().acked();
    tv.held = Some(Vec::new());
    home.operate(&mut tv, play("film", 10));
    let held = tv.held.take().expect("held");
    let connection = tv.connection;
    for bytes in held {
        home.room.handle(UnixMillis(home.time_ms), RoomInput::Frame { connection, bytes });
    }
    let mut again = home.tv_from(tv.disk.clone(), 2, 0);
    assert_eq!(again.client.replica().acked(), before);
    let version = home.room.version();
    home.refresh(&mut again);
    assert_eq!(home.room.version(), version, "nothing was sent twice");
    assert_eq!(home.position_s("film"), Some(10));
    assert_eq!(again.client.replica().id(), tv.client.replica().id());
}

#[test]
fn a_clock_a_day_ahead_does_not_win() {
    let mut home = Home::new();
    let mut wrong = home.tv(1, DAY_MS);
    let mut right = home.tv(2, 0);
    home.operate(&mut wrong, play("film", 10));
    home.time_ms += 5_000;
    home.refresh(&mut right);
    home.operate(&mut right, play("film", 20));
    home.time_ms += 1_000;
    home.refresh(&mut wrong);
    assert_eq!(home.position_s("film"), Some(20), "the later viewer wins");
    home.operate(&mut wrong, play("film", 30));
    assert_eq!(home.position_s("film"), Some(30), "and the corrected clock is not behind");
}

#[test]
fn a_clock_at_1970_loses_nothing() {
    let mut home = Home::new();
    let mut right = home.tv(2, 0);
    home.refresh(&mut right);
    home.operate(&mut right, play("film", 10));
    let mut wrong = home.tv(1, -(TODAY_MS as i64));
    home.refresh(&mut wrong);
    home.input(&mut wrong, Input::Offline);
    home.time_ms += 5_000;
    home.operate(&mut wrong, play("film", 20));
    home.refresh(&mut wrong);
    assert_eq!(home.position_s("film"), Some(20));
}

#[test]
fn a_clock_that_jumps_ahead_while_connected_is_measured_again() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    tv.skew_ms = DAY_MS;
    home.operate(&mut tv, play("film", 10));
    assert_eq!(home.position_s("film"), None);
    assert_eq!(tv.client.close_code(), Some(CloseCode::Drift));
    home.retry(&mut tv);
    assert_eq!(home.position_s("film"), Some(10));
    assert_eq!(tv.client.status(), Status::Live);
    assert!(tv.client.replica().rejected().is_empty());
    let top = home.room.household().seen().iter().map(|(_, stamp)| stamp.millis().0).max();
    assert!(top.is_some_and(|top| top <= home.time_ms + DRIFT_MAX_MS));
}

#[test]
fn a_cloned_disk_becomes_another_replica() {
    let mut home = Home::new();
    let mut original = home.tv(1, 0);
    home.refresh(&mut original);
    home.operate(&mut original, add("before"));
    let mut copy = home.tv_from(original.disk.clone(), 9, 0);
    home.operate(&mut original, add("from the original"));
    home.operate(&mut copy, add("from the copy"));
    home.connect(&mut copy);
    home.retry(&mut copy);
    assert_ne!(copy.client.replica().id(), original.client.replica().id());
    // The copy used up the original's next session number, so the original moves on as well.
    home.connect(&mut original);
    home.retry(&mut original);
    assert_eq!(original.client.status(), Status::Live);
    for name in ["before", "from the original", "from the copy"] {
        assert!(home.listed(name), "{name}");
        assert!(original.client.replica().is_listed(ProfileId::DEFAULT, &title(name)), "{name}");
    }
}

#[test]
fn a_disk_rolled_back_to_yesterday_loses_nothing() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let yesterday = tv.disk.clone();
    home.operate(&mut tv, add("today"));
    home.operate(&mut tv, play("film", 30));
    let mut back = home.tv_from(yesterday, 5, 0);
    home.operate(&mut back, add("after the rollback"));
    home.connect(&mut back);
    home.retry(&mut back);
    assert_eq!(back.client.status(), Status::Live);
    for name in ["today", "after the rollback"] {
        assert!(back.client.replica().is_listed(ProfileId::DEFAULT, &title(name)), "{name}");
    }
    assert_eq!(home.position_s("film"), Some(30));
}

#[test]
fn a_restored_server_gets_back_what_devices_confirmed() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = home.tv(2, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("kept"));
    home.refresh(&mut other);
    // The backup is older than everything: an empty database of a new epoch.
    home.room = Room::create(household(), EpochId(2));
    home.operate(&mut tv, add("made meanwhile"));
    home.refresh(&mut tv);
    home.refresh(&mut other);
    assert!(home.listed("kept") && home.listed("made meanwhile"));
    assert!([&tv, &other].iter().all(|tv| tv.client.replica().owed().is_empty()));
    assert_eq!(tv.client.replica().confirmed(), other.client.replica().confirmed());
}

#[test]
fn writes_to_a_deleted_profile_are_voided_and_told() {
    let mut home = Home::new();
    let (mut a, mut b) = (home.tv(1, 0), home.tv(2, 0));
    let kids = ProfileId(77);
    home.refresh(&mut a);
    home.operate(&mut a, Intent::NameProfile(kids, "Kids".into()));
    home.refresh(&mut b);
    home.input(&mut b, Input::Offline);
    home.operate(&mut b, Intent::Add(kids, title("film")));
    home.refresh(&mut a);
    home.operate(&mut a, Intent::DeleteProfile(kids));
    home.refresh(&mut b);
    let rejected = b.client.replica().rejected();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, VoidReason::ProfileDeleted);
    assert!(!b.client.replica().has_profile(kids));
    let now = home.now(&b);
    let again = b.client.operate(now, Intent::Add(kids, title("film")));
    assert_eq!(again, Err(OperationError::UnknownProfile));
    let reloaded = home.tv_from(b.disk.clone(), 3, 0);
    assert_eq!(reloaded.client.replica().rejected().len(), 1, "kept until the app takes it");
}

#[test]
fn a_token_that_may_only_read_changes_nothing() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    tv.may_write = false;
    home.operate(&mut tv, add("film"));
    home.refresh(&mut tv);
    assert!(!home.listed("film"));
    assert_eq!(tv.client.replica().rejected()[0].reason, VoidReason::Forbidden);
    assert!(!tv.client.replica().is_listed(ProfileId::DEFAULT, &title("film")));
}

#[test]
fn another_household_is_refused_for_good_and_data_stays() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    home.room = Room::create(HouseholdId::new("neighbours").expect("short text"), EpochId(3));
    home.connect(&mut tv);
    assert_eq!(tv.client.status(), Status::Stopped);
    assert_eq!(tv.client.close_code(), Some(CloseCode::HouseholdMismatch));
    assert!(tv.client.replica().is_listed(ProfileId::DEFAULT, &title("film")));
    assert_eq!(home.room.version(), 0);
}

#[test]
fn garbage_closes_one_connection_and_changes_nothing() {
    let mut home = Home::new();
    let (mut a, mut b) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut a);
    home.refresh(&mut b);
    home.operate(&mut a, add("film"));
    let (version, frames) =
        (home.room.version(), [&[][..], &[0x11], &[0x1f], &[0x11, 0xff], &[0x20]]);
    for frame in frames {
        home.refresh(&mut b);
        let connection = b.connection;
        let input = RoomInput::Frame { connection, bytes: frame.to_vec() };
        let outputs = home.room.handle(UnixMillis(home.time_ms), input);
        let code =
            if frame == [0x20] { CloseCode::VersionUnsupported } else { CloseCode::Malformed };
        assert_eq!(outputs, [RoomOutput::Close(connection, code)], "{frame:?}");
    }
    assert_eq!(home.room.version(), version);
    home.operate(&mut a, add("another"));
    assert!(home.listed("another"));
}

#[test]
fn a_difference_that_does_not_fit_changes_nothing_and_asks_for_the_state() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    let shown = tv.client.replica().watchlist(ProfileId::DEFAULT);
    // The third frame of the stream, after the snapshot and the ack: one version further, and bytes
    // that are no difference, because the last of them is 0.
    home.input(&mut tv, Input::Frame(&[0x32, 1, 1, 0]));
    assert_eq!(tv.client.replica().cursor(), None, "the next hello asks for the state");
    assert_eq!(tv.client.replica().watchlist(ProfileId::DEFAULT), shown);
    home.refresh(&mut tv);
    assert_eq!(tv.client.status(), Status::Live);
    assert_eq!(tv.client.replica().base_version(), Some(home.room.version()));
}

#[test]
fn a_client_counts_what_it_sent_and_how_a_reconnect_went() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    for minute in 0..10 {
        home.time_ms += 60_000;
        home.operate(&mut tv, play("film", 60 * minute));
    }
    let live = tv.client.metrics();
    assert_eq!((live.operations, live.sent, live.acknowledged), (10, 10, 10));
    assert_eq!((live.coalesced, live.retried, live.rejected), (0, 0, 0));
    assert!(live.delta_bytes < live.plain_bytes, "{live:?}");
    assert!(live.saved_percent() > 50, "{live:?}");

    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, play("film", 700));
    home.operate(&mut tv, play("film", 710));
    home.operate(&mut tv, add("another"));
    let lost = Intent::NameProfile(ProfileId(5), "Kids".into());
    home.operate(&mut tv, lost);
    assert_eq!(tv.client.metrics().coalesced, 1);
    home.refresh(&mut tv);
    let replay = tv.client.replay();
    assert_eq!((replay.waited, replay.sent, replay.remaining), (4, 3, 0), "{replay:?}");
    assert_eq!((replay.coalesced, replay.accepted, replay.rejected()), (1, 3, 0));
    let after = tv.client.metrics();
    assert_eq!((after.operations, after.sent, after.acknowledged), (14, 13, 13));
}

#[test]
fn damaged_storage_keeps_what_can_be_read() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("at the server"));
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, add("only here"));
    home.operate(&mut tv, add("in the damaged record"));
    let mut disk = tv.disk.clone();
    let last = disk.last_mut().expect("a record");
    last[3] ^= 0x40;
    let opened = Client::load(&disk, None, [8; 16]).expect("readable");
    assert!(opened.damage.is_some());
    let mut again = home.tv_from(disk, 8, 0);
    assert_ne!(again.client.replica().id(), tv.client.replica().id());
    home.refresh(&mut again);
    assert!(home.listed("at the server") && home.listed("only here"));
}

#[test]
fn storage_from_a_newer_version_is_refused() {
    let mut home = Home::new();
    let tv = home.tv(1, 0);
    let mut image = tv.disk[0].clone();
    image[0] = 2;
    let end = image.len() - 4;
    let sum = omega_sync_core::codec::checksum(&image[..end]);
    image[end..].copy_from_slice(&sum.to_le_bytes());
    let refused = Client::load(&[image], None, [1; 16]);
    assert_eq!(refused.err(), Some(omega_sync_core::codec::DecodeError::version(2)));
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
