//! A server that was put back to a backup: what its devices owe it, and how they get along meanwhile.

use crate::hard_cases::{heard, reads_one, remove, restored, unheard};
use crate::home::{Home, Tv, add, household, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::household::Household;
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::{CloseCode, FrameNumber, ServerFrame};
use omega_sync_core::operation::{Intent, Part, VoidReason};
use omega_sync_core::session::client::{Input, Output, Status};
use omega_sync_core::session::server::{Room, RoomInput, RoomOutput};

const SHELF: ProfileId = ProfileId::DEFAULT;
const KIDS: ProfileId = ProfileId(7);

fn shows(tv: &Tv, name: &str) -> bool {
    tv.client.replica().is_listed(SHELF, &title(name))
}

/// Two TVs that know "film", and a server that is put back to when nobody had added it.
fn film_forgotten() -> (Home, Tv, Tv) {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut other);
    home.operate(&mut other, add("film"));
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    home.input(&mut other, Input::Offline);
    home.room = Room::create(household(), EpochId(2));
    (home, tv, other)
}

/// Seeds 275, 475, 644, 729: an update said "it takes all that is there" to a TV that had more than
/// the server, and what the TV lost by it was missing from its next offer.
#[test]
fn what_a_remove_had_not_seen_outlives_a_broken_offer() {
    let (mut home, mut tv, _) = film_forgotten();
    let mut third = home.tv(3, 0);
    home.refresh(&mut third);
    home.time_ms += 1_000;
    home.operate(&mut third, add("film"));
    home.connect_and_hold(&mut tv);
    heard(&mut home, &mut tv, &mut third, remove("film"));
    home.input(&mut tv, Input::Woke);
    // The offer never arrives.
    tv.held = None;
    home.refresh(&mut tv);
    assert!(home.listed("film"), "the first add was not seen by who removed the second");
}

/// Seeds 290, 315, 455: a TV named what it had observed by a version at which the server had not
/// joined its offer yet.
#[test]
fn a_remove_before_the_joined_state_arrives_takes_what_was_offered() {
    let (mut home, mut tv, _) = film_forgotten();
    home.connect_and_hold(&mut tv);
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    // The answers come one by one, and the viewer is between them.
    reads_one(&mut home, &mut tv);
    let outputs = tv.client.operate(home.now(&tv), remove("film")).expect("a valid action");
    home.carry_out(&mut tv, outputs);
    home.input(&mut tv, Input::Woke);
    home.refresh(&mut tv);
    assert!(!home.listed("film") && !shows(&tv, "film"));
}

/// With restores ten times as often, seed 27: between the word that the offer was taken and the state
/// with it the server was put back again, and the TV owed nothing any more.
#[test]
fn what_is_owed_is_owed_until_the_state_with_it_is_here() {
    let (mut home, mut tv, _) = film_forgotten();
    tv.may_write = false;
    home.refresh(&mut tv);
    assert!(!shows(&tv, "film"), "it shows what the household has");
    tv.may_write = true;
    home.connect_and_hold(&mut tv);
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    reads_one(&mut home, &mut tv);
    tv.inbox.clear();
    home.input(&mut tv, Input::Offline);
    home.room = Room::create(household(), EpochId(3));
    home.refresh(&mut tv);
    assert!(home.listed("film") && shows(&tv, "film"));
    assert!(tv.client.replica().owed().is_empty());
}

/// A refusal covered what the author had said before the restore, and the offer of who still knew it
/// lost it.
#[test]
fn a_refused_write_takes_nothing_back_that_an_offer_brings() {
    let (mut home, mut tv, mut other) = film_forgotten();
    other.may_write = false;
    home.refresh(&mut other);
    home.operate(&mut other, add("another"));
    assert_eq!(other.client.replica().rejected()[0].reason, VoidReason::Forbidden);
    home.refresh(&mut tv);
    assert!(home.listed("film"), "what the refused one had added before");
    home.refresh(&mut other);
    assert!(shows(&other, "film") && !shows(&other, "another"));
    assert_eq!(other.client.replica().confirmed(), home.room.household());
}

/// A TV that may only read owes "film" to the present life, and has heard "new" of it.
fn film_owed_and_new_heard() -> (Home, Tv) {
    let (mut home, mut tv, _) = film_forgotten();
    tv.may_write = false;
    home.refresh(&mut tv);
    let mut third = home.tv(3, 0);
    home.refresh(&mut third);
    heard(&mut home, &mut tv, &mut third, add("new"));
    home.input(&mut tv, Input::Woke);
    (home, tv)
}

/// It hears everything, its writes are refused at once, and what it owes is taken when it may write.
#[test]
fn who_may_only_read_neither_waits_nor_loses_what_it_owes() {
    let (mut home, mut tv) = film_owed_and_new_heard();
    assert!(shows(&tv, "new"));
    home.operate(&mut tv, add("mine"));
    assert_eq!(tv.client.replica().rejected()[0].reason, VoidReason::Forbidden);
    let version = home.room.version();
    home.refresh(&mut tv);
    assert_eq!(home.room.version(), version, "it changes nothing");
    let mut tv = home.tv_from(tv.disk, 4, 0);
    home.refresh(&mut tv);
    assert!(home.listed("film") && home.listed("new") && !home.listed("mine"));
    assert!(tv.client.replica().owed().is_empty());
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

/// Two backups were put back before it might write: what either life had confirmed to it comes back.
#[test]
fn what_two_lives_confirmed_is_offered() {
    let (mut home, mut tv) = film_owed_and_new_heard();
    home.input(&mut tv, Input::Offline);
    home.room = Room::create(household(), EpochId(3));
    home.refresh(&mut tv);
    assert!(!shows(&tv, "film") && !shows(&tv, "new"));
    // Through its storage, too.
    let mut tv = home.tv_from(tv.disk, 4, 0);
    assert_eq!(tv.client.replica().owed().len(), 2);
    home.refresh(&mut tv);
    assert!(home.listed("film") && home.listed("new"));
    assert!(tv.client.replica().owed().is_empty());
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

/// With restores ten times as often, seed 373: what another TV's offer covered counted as taken and
/// went into the next offer, although the server had refused it and its author never heard so.
#[test]
fn what_waits_is_judged_again_by_a_new_life() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut other);
    home.operate(&mut other, Intent::NameProfile(KIDS, "Kids".into()));
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    let backup = home.room.household().clone();
    home.operate(&mut other, Intent::DeleteProfile(KIDS));
    home.operate(&mut tv, Intent::Add(KIDS, title("film")));
    unheard(&mut home, &mut tv);
    home.refresh(&mut other);
    // A first restore: by the other TV's offer everything that this one said is known.
    home.room = restored(&backup, 2);
    home.refresh(&mut other);
    // It hears that in the welcome, and nothing more before the second restore.
    home.connect_and_hold(&mut tv);
    tv.held = None;
    home.input(&mut tv, Input::Offline);
    home.room = restored(&backup, 3);
    home.refresh(&mut tv);
    assert!(home.room.household().profile(KIDS).is_some(), "nobody has said that it is deleted");
    assert!(home.listed_for(KIDS, "film"));
    home.refresh(&mut other);
    home.refresh(&mut tv);
    assert!(!tv.client.replica().has_profile(KIDS));
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

/// Seed 1039: a profile that only waiting operations knew was deleted in the state that came.
#[test]
fn a_state_that_deletes_a_waiting_profile_says_so() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut tv);
    home.operate(&mut tv, Intent::NameProfile(KIDS, "Kids".into()));
    home.refresh(&mut other);
    home.input(&mut tv, Input::Offline);
    home.operate(&mut other, Intent::DeleteProfile(KIDS));
    let state = home.room.household().clone();
    let mut tv = home.tv(1, 0);
    home.operate(&mut tv, Intent::NameProfile(KIDS, "Kids".into()));
    home.operate(&mut tv, Intent::Add(KIDS, title("film")));
    home.room = restored(&state, 1);
    tv.held = Some(Vec::new());
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    home.carry_out(&mut tv, outputs);
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    tv.held = Some(Vec::new());
    reads_one(&mut home, &mut tv);
    assert!(tv.client.replica().has_profile(KIDS));
    let frame = tv.inbox.pop_front().expect("the state").expect("the connection stays");
    let outputs = tv.client.handle(home.now(&tv), Input::Frame(&frame));
    assert!(!tv.client.replica().has_profile(KIDS));
    let told = outputs.iter().any(
        |output| matches!(output, Output::Changed(parts) if parts.contains(&Part::Watchlist(KIDS))),
    );
    assert!(told, "{outputs:?}");
}

/// The body of an offer is read only when it is wanted.
#[test]
fn an_offer_that_is_not_wanted_is_not_read() {
    let (mut home, mut tv, _) = film_forgotten();
    tv.may_write = false;
    home.connect_and_hold(&mut tv);
    let connection = tv.connection;
    let mut offer = |bytes: &[u8]| {
        let input = RoomInput::Frame { connection, bytes: bytes.to_vec() };
        home.room.handle(UnixMillis(home.time_ms), input)
    };
    let outputs = offer(&[0x12, 0xff]);
    let state = ServerFrame::snapshot(FrameNumber::FIRST, 0, &Household::default());
    assert_eq!(outputs, [RoomOutput::Send(connection, state)], "who may only read");
    let outputs = offer(&[0x22, 0xff]);
    assert_eq!(outputs, [RoomOutput::Close(connection, CloseCode::Malformed)], "a second one");
    home.input(&mut tv, Input::Offline);
    assert_eq!(tv.client.status(), Status::Offline);
}
