//! Whatever changes on a screen is told to its app, and nothing else.

use crate::home::{Home, Tv, add, household, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::operation::{Changed, Intent, Part};
use omega_sync_core::session::client::{Input, Output};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};

const SHELF: ProfileId = ProfileId::DEFAULT;

fn name(text: &str) -> Intent {
    Intent::NameProfile(SHELF, text.into())
}

fn remove(text: &str) -> Intent {
    Intent::Remove(SHELF, title(text))
}

/// Lets a TV connect and hear everything; returns the parts that it said changed.
pub fn heard(home: &mut Home, tv: &mut Tv) -> Changed {
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
