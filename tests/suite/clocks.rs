//! What wrong, set and sleeping clocks do to stamps, and what they must not.

use crate::changes::heard;
use crate::home::{DAY_MS, Home, TODAY_MS, add, household, play, title};
use crate::replica::{AUTHOR, SHELF, pending, stamp};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{Writer, checksum};
use omega_sync_core::household::Household;
use omega_sync_core::id::{EpochId, ProfileId, Random};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::operation::{Change, Intent, Operation, Part};
use omega_sync_core::outbox::{Correction, Outbox, Pending};
use omega_sync_core::replica::{Now, Replica};
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::collections::VecDeque;

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

#[test]
fn a_welcome_says_that_times_were_corrected() {
    let mut home = Home::new();
    let mut tv = home.tv(1, -86_400_000);
    home.operate(&mut tv, add("film"));
    let before = tv.client.replica().watchlist(SHELF);
    let said = heard(&mut home, &mut tv);
    let after = tv.client.replica().watchlist(SHELF);
    assert_ne!(before, after, "the time of the add was a day off");
    // A first connection brings a snapshot, which says everything.
    assert!(said.contains(&Part::Watchlist(SHELF)));
    // Again with a connection that brings no snapshot.
    home.input(&mut tv, Input::Offline);
    tv.skew_ms = 0;
    home.operate(&mut tv, add("other"));
    let before = tv.client.replica().watchlist(SHELF);
    let said = heard(&mut home, &mut tv);
    let after = tv.client.replica().watchlist(SHELF);
    assert_ne!(before, after, "the clock was corrected once too often");
    assert!(said.contains(&Part::Watchlist(SHELF)), "{before:?}, {after:?}");
}

#[test]
fn a_standby_between_hello_and_welcome_does_not_set_the_clock_wrong() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    tv.held = Some(Vec::new());
    home.connect(&mut tv);
    let hello = tv.held.take().expect("held").remove(0);
    home.deliver(&mut tv, hello);
    let welcome = tv.inbox.pop_front().expect("answered").expect("a frame");
    // The TV sleeps for ten hours with the answer in its socket; its steady clock stands still.
    home.time_ms += 10 * 3_600_000;
    let now = Now { unix: UnixMillis(home.time_ms), steady_ms: 100 };
    tv.client.handle(now, Input::Frame(&welcome));
    assert_eq!(tv.client.replica().offset_ms(), 0, "its clock was right all along");
}

#[test]
fn an_answer_after_its_time_does_not_set_a_measured_clock_wrong() {
    let mut home = Home::new();
    let mut tv = home.tv(1, -3_000_000);
    home.refresh(&mut tv);
    assert_eq!(tv.client.replica().offset_ms(), 3_000_000);
    tv.held = Some(Vec::new());
    home.connect(&mut tv);
    let hello = tv.held.take().expect("held").remove(0);
    home.deliver(&mut tv, hello);
    let welcome = tv.inbox.pop_front().expect("answered").expect("a frame");
    // Nobody woke the TV for six hours. The server read its clock at some time in between, so by
    // this answer alone the TV's own clock might be right.
    home.time_ms += 6 * 3_600_000;
    tv.inbox.clear();
    tv.client.handle(home.now(&tv), Input::Frame(&welcome));
    assert_eq!(tv.client.replica().offset_ms(), 3_000_000, "it was measured before");
    home.retry(&mut tv);
    assert_eq!(tv.client.replica().offset_ms(), 3_000_000, "and is again");
    assert_eq!(tv.client.status(), Status::Live);
}

/// Two operations that were made 50 s ago, while the wall clock was wrong, and it is right by now: one
/// at 1970 by a device that had seen nothing, one two days before what its device had seen.
#[test]
fn a_wall_clock_that_cannot_be_right_does_not_tell_when() {
    const TWO_DAYS_MS: u64 = 2 * 86_400_000;
    let correction =
        Correction { server: UnixMillis(1_800_000_900_000), offset_ms: 0, steady_ms: 60_000 };
    for (wall, floor) in [(100_000, Timestamp::ZERO), (stamp(0).millis().0 - TWO_DAYS_MS, stamp(0))]
    {
        let mut outbox = Outbox::default();
        let add = pending(0, Change::Add(title("film"), Vec::new()));
        let timestamp = Timestamp::new(UnixMillis(wall), 0).max(floor.next());
        let operation = Operation { timestamp, ..add.operation };
        let steady_ms = Some(10_000);
        outbox.push(AUTHOR, Pending { operation, floor, wall: UnixMillis(wall), steady_ms });
        outbox.restart(AUTHOR, Timestamp::ZERO, correction);
        assert_eq!(outbox.last().millis().0, correction.server.0 - 50_000);
    }
}

/// Its wall clock stood at 1970 when the viewer played, and was set before it came back.
#[test]
fn the_steady_clock_tells_when_the_wall_clock_was_set_since() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut tv);
    home.refresh(&mut other);
    home.input(&mut tv, Input::Offline);
    home.operate(&mut other, play("film", 10));
    home.time_ms += 60_000;
    tv.skew_ms = -(home.time_ms as i64);
    home.operate(&mut tv, play("film", 20));
    tv.skew_ms = 0;
    home.time_ms += 60_000;
    home.refresh(&mut tv);
    assert_eq!(home.position_s("film"), Some(20), "the later viewer wins");
}
