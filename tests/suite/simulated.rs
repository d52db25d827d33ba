//! What the simulator found, one by one.

use crate::home::{Home, Tv, add, household, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::operation::{Changed, Intent, Part};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};

const SHELF: ProfileId = ProfileId::DEFAULT;

fn name(text: &str) -> Intent {
    Intent::NameProfile(SHELF, text.into())
}

fn remove(text: &str) -> Intent {
    Intent::Remove(SHELF, title(text))
}

/// Lets a TV connect and hear everything; returns the parts that it said changed.
fn heard(home: &mut Home, tv: &mut Tv) -> Changed {
    let mut said = Changed::new();
    let outputs = tv.client.handle(home.now(tv), Input::Online);
    note(&mut said, &outputs);
    for output in &outputs {
        if let Output::Connect = output {
            home.next_connection += 1;
            tv.connection = ConnectionId(home.next_connection);
            let opened = tv.client.handle(home.now(tv), Input::Opened(String::new()));
            note(&mut said, &opened);
            home.carry_out(tv, opened);
        }
    }
    while let Some(message) = tv.inbox.pop_front() {
        let frame = message.expect("the server keeps the connection");
        let outputs = tv.client.handle(home.now(tv), Input::Frame(&frame));
        note(&mut said, &outputs);
        home.carry_out(tv, outputs);
    }
    said
}

fn note(said: &mut Changed, outputs: &[Output]) {
    for output in outputs {
        if let Output::Changed(parts) = output {
            said.extend(parts.iter().copied());
        }
    }
}

#[test]
fn a_waiting_name_that_a_later_one_beats_does_not_flip_unsaid() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = home.tv(2, 0);
    home.refresh(&mut tv);
    home.refresh(&mut other);
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, name("mine"));
    home.time_ms += 60_000;
    home.operate(&mut other, name("theirs"));
    // The server's answers come one by one: hello and what is missing first, then the ack.
    tv.held = Some(Vec::new());
    home.connect(&mut tv);
    let held = tv.held.take().expect("held");
    for frame in held {
        home.deliver(&mut tv, frame);
    }
    let mut shown = tv.client.replica().profiles();
    while let Some(message) = tv.inbox.pop_front() {
        let frame = message.expect("the server keeps the connection");
        let outputs = tv.client.handle(home.now(&tv), Input::Frame(&frame));
        let mut said = Changed::new();
        note(&mut said, &outputs);
        let now = tv.client.replica().profiles();
        assert!(now == shown || said.contains(&Part::Profiles), "{shown:?} became {now:?}");
        shown = now;
        home.carry_out(&mut tv, outputs);
    }
    assert_eq!(shown.get(&SHELF).map(String::as_str), Some("theirs"));
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
fn a_remove_behind_a_refused_add_removes_what_its_viewer_saw() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    assert!(home.listed("film"));
    // Added again while the token only reads; the answer does not arrive.
    tv.may_write = false;
    home.connect(&mut tv);
    tv.held = Some(Vec::new());
    home.operate(&mut tv, add("film"));
    home.operate(&mut tv, remove("film"));
    let held = tv.held.take().expect("held");
    home.deliver(&mut tv, held.into_iter().next().expect("the add"));
    tv.inbox.clear();
    tv.may_write = true;
    home.refresh(&mut tv);
    assert!(!tv.client.replica().is_listed(SHELF, &title("film")));
    assert!(!home.listed("film"), "its viewer removed it");
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

/// Hands the server what a TV sent, until nothing is left; what is for the other waits with it.
fn talk(home: &mut Home, tv: &mut Tv, other: &mut Tv) {
    loop {
        for bytes in tv.held.replace(Vec::new()).unwrap_or_default() {
            let connection = tv.connection;
            let input = match ClientFrame::decode(&bytes) {
                Ok(ClientFrame::Hello(hello)) => {
                    RoomInput::Hello { connection, hello, may_write: true }
                }
                _ => RoomInput::Frame { connection, bytes },
            };
            for output in home.room.handle(UnixMillis(home.time_ms), input) {
                match output {
                    RoomOutput::Send(to, frame) if to == connection => {
                        tv.inbox.push_back(Ok(frame))
                    }
                    RoomOutput::Send(_, frame) => other.inbox.push_back(Ok(frame)),
                    _ => {}
                }
            }
        }
        let Some(message) = tv.inbox.pop_front() else {
            return;
        };
        let frame = message.expect("the server keeps the connection");
        let outputs = tv.client.handle(home.now(tv), Input::Frame(&frame));
        home.carry_out(tv, outputs);
    }
}

#[test]
fn an_ack_that_changes_the_screen_says_so() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = home.tv(2, 0);
    home.refresh(&mut tv);
    home.refresh(&mut other);
    // The server takes an add and the other TV hears of it, its author does not; a backup returns.
    tv.held = Some(Vec::new());
    home.operate(&mut tv, add("film"));
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    tv.inbox.clear();
    home.refresh(&mut other);
    home.input(&mut tv, Input::Offline);
    home.input(&mut other, Input::Offline);
    home.room = Room::create(household(), EpochId(2));
    // The author is welcomed; what it sends then takes a while.
    home.time_ms += 1_000;
    tv.held = Some(Vec::new());
    home.connect(&mut tv);
    let hello = tv.held.replace(Vec::new()).expect("held").remove(0);
    home.deliver(&mut tv, hello);
    while let Some(message) = tv.inbox.pop_front() {
        let frame = message.expect("the server keeps the connection");
        let outputs = tv.client.handle(home.now(&tv), Input::Frame(&frame));
        home.carry_out(&mut tv, outputs);
    }
    let late = tv.held.replace(Vec::new()).expect("held");
    // Meanwhile the other TV brings the add back, and removes it.
    other.held = Some(Vec::new());
    home.connect(&mut other);
    talk(&mut home, &mut other, &mut tv);
    let outputs = other.client.operate(home.now(&other), remove("film")).expect("a valid action");
    home.carry_out(&mut other, outputs);
    talk(&mut home, &mut other, &mut tv);
    assert!(!home.listed("film"), "removed by somebody who knew it");
    for frame in late {
        let connection = tv.connection;
        let input = RoomInput::Frame { connection, bytes: frame };
        for output in home.room.handle(UnixMillis(home.time_ms), input) {
            if let RoomOutput::Send(to, frame) = output
                && to == connection
            {
                tv.inbox.push_back(Ok(frame));
            }
        }
    }
    let mut listed = tv.client.replica().is_listed(SHELF, &title("film"));
    while let Some(message) = tv.inbox.pop_front() {
        let frame = message.expect("the server keeps the connection");
        let outputs = tv.client.handle(home.now(&tv), Input::Frame(&frame));
        let mut said = Changed::new();
        note(&mut said, &outputs);
        let now = tv.client.replica().is_listed(SHELF, &title("film"));
        assert!(now == listed || said.contains(&Part::Watchlist(SHELF)), "unsaid: {now}");
        listed = now;
        home.carry_out(&mut tv, outputs);
    }
    assert!(!listed, "somebody who knew it removed it");
}
