//! How often a client comes back to a server that closes at what it is sent.

use crate::home::{Home, Tv, add};
use omega_sync_core::message::CloseCode;
use omega_sync_core::session::backoff::DELAY_FIRST_MS;
use omega_sync_core::session::client::{Input, Output, Status};

/// Full jitter: of so many delays one is near its bound.
const TRIES: usize = 16;

/// The server closes; says how long the client waits before it comes back.
fn closed(home: &Home, tv: &mut Tv, code: CloseCode) -> u64 {
    let outputs = tv.client.handle(home.now(tv), Input::Closed(code.code()));
    let waits = outputs.iter().find_map(|output| match output {
        Output::Wake(delay_ms) => Some(*delay_ms),
        _ => None,
    });
    waits.expect("it will come back")
}

/// Says hello and catches up; what it sends then stays in `held`.
fn come_back(home: &mut Home, tv: &mut Tv, input: Input) {
    tv.held = Some(Vec::new());
    let outputs = tv.client.handle(home.now(tv), input);
    home.carry_out(tv, outputs);
    let hello = tv.held.take().expect("held").pop().expect("a hello");
    home.deliver(tv, hello);
    tv.held = Some(Vec::new());
    home.input(tv, Input::Woke);
    assert_eq!(tv.client.status(), Status::Live);
}

#[test]
fn a_server_that_closes_at_each_delta_is_asked_ever_less_often() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.operate(&mut tv, add("film"));
    come_back(&mut home, &mut tv, Input::Online);
    let mut delays = Vec::new();
    for _ in 0..TRIES {
        let delay_ms = closed(&home, &mut tv, CloseCode::Drift);
        delays.push(delay_ms);
        home.time_ms += delay_ms;
        come_back(&mut home, &mut tv, Input::Woke);
    }
    assert!(delays[0] <= DELAY_FIRST_MS, "{delays:?}");
    assert!(delays.iter().any(|delay| *delay > 8 * DELAY_FIRST_MS), "{delays:?}");

    // An answer to what it sent is a success: from then on it comes back soon again.
    let delta = tv.held.take().expect("held").pop().expect("a delta");
    home.deliver(&mut tv, delta);
    home.input(&mut tv, Input::Woke);
    assert!(tv.client.replica().outbox().is_empty());
    assert!(closed(&home, &mut tv, CloseCode::Restart) <= DELAY_FIRST_MS);
}

#[test]
fn a_client_with_nothing_to_send_comes_back_soon_each_time() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    come_back(&mut home, &mut tv, Input::Online);
    for _ in 0..TRIES {
        let delay_ms = closed(&home, &mut tv, CloseCode::Restart);
        assert!(delay_ms <= DELAY_FIRST_MS, "{delay_ms}");
        home.time_ms += delay_ms;
        come_back(&mut home, &mut tv, Input::Woke);
    }
}
