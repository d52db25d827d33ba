//! A server that says it took what no household can hold.

use crate::home::{Home, Tv, add, title};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::delta::{Context, DELTA_OPERATIONS_MAX, Delta};
use omega_sync_core::household::ENTRIES_MAX;
use omega_sync_core::id::{ProfileId, ReplicaId};
use omega_sync_core::message::{Ack, FrameNumber, ServerFrame};
use omega_sync_core::operation::{Change, Operation};
use omega_sync_core::session::client::{Input, Status};

const AUTHOR: ReplicaId = ReplicaId(99);

/// A TV that is up to date, the context of what it hears, and the number of its next frame.
fn listening(home: &mut Home) -> (Tv, Context, FrameNumber) {
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let mut number = FrameNumber::FIRST;
    number.advance();
    (tv, Context::starting(UnixMillis(home.time_ms)), number)
}

/// The TV hears that somebody added so many titles.
fn hears_adds(
    home: &mut Home,
    (tv, context, number): &mut (Tv, Context, FrameNumber),
    count: usize,
) {
    let operation = |at: usize| Operation {
        timestamp: Timestamp::new(UnixMillis(home.time_ms + at as u64), 0),
        profile: ProfileId::DEFAULT,
        change: Change::Add(title(&format!("tmdb:{at}")), Vec::new()),
    };
    let operations: Vec<Operation> = (0..count).map(operation).collect();
    for some in operations.chunks(DELTA_OPERATIONS_MAX) {
        let through = some.last().expect("a chunk has one").timestamp;
        let delta = Delta { replica: AUTHOR, through, operations: some.to_vec() };
        let frame = ServerFrame::update(number.advance(), &delta, context, &mut |_| None);
        home.input(tv, Input::Frame(&frame));
    }
}

/// It broke off, can be loaded again, and takes the true state the next time.
fn is_not_believed(home: &mut Home, mut tv: Tv) {
    assert_eq!(tv.client.status(), Status::Connecting);
    assert_eq!(tv.client.replica().cursor(), None, "the next hello asks for the state");
    assert_eq!(tv.client.replica().confirmed().check_limits(), Ok(()));
    assert_eq!(home.tv_from(tv.disk.clone(), 2, 0).client.replica().cursor(), None);
    // A server that never took what it acknowledged looks like another history: one try more.
    home.connect(&mut tv);
    home.retry(&mut tv);
    assert_eq!(tv.client.status(), Status::Live);
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn an_update_with_one_title_too_many_ends_the_connection() {
    let mut home = Home::new();
    let mut full = listening(&mut home);
    hears_adds(&mut home, &mut full, ENTRIES_MAX);
    assert_eq!(full.0.client.status(), Status::Live, "so many are allowed");
    let mut home = Home::new();
    let mut more = listening(&mut home);
    hears_adds(&mut home, &mut more, ENTRIES_MAX + 1);
    is_not_believed(&mut home, more.0);
}

#[test]
fn an_ack_of_what_must_be_refused_ends_the_connection() {
    let mut home = Home::new();
    let mut full = listening(&mut home);
    hears_adds(&mut home, &mut full, ENTRIES_MAX);
    let (mut tv, _, mut number) = full;
    tv.held = Some(Vec::new());
    home.operate(&mut tv, add("film"));
    let ack = ServerFrame::ack(number.advance(), &Ack { advances: true, voids: Vec::new() });
    home.input(&mut tv, Input::Frame(&ack));
    tv.held = None;
    is_not_believed(&mut home, tv);
}

/// What moves confirmed state on needs one that is the server's.
#[test]
fn an_update_before_the_state_ends_the_connection() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    home.carry_out(&mut tv, outputs);
    let welcome = tv.inbox.pop_front().expect("answered").expect("a frame");
    tv.inbox.clear();
    home.input(&mut tv, Input::Frame(&welcome));
    assert_eq!(tv.client.status(), Status::Syncing);
    let context = Context::starting(UnixMillis(home.time_ms));
    let mut hearing = (tv, context, FrameNumber::FIRST);
    hears_adds(&mut home, &mut hearing, 1);
    let (mut tv, ..) = hearing;
    assert_eq!(tv.client.status(), Status::Connecting);
    assert!(!tv.client.replica().is_listed(ProfileId::DEFAULT, &title("tmdb:0")));
    home.refresh(&mut tv);
}
