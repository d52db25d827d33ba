//! How often a client comes back to a server that closes at what it is sent.

use crate::home::{Home, Tv, add};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::message::CloseCode;
use omega_sync_core::replica::Now;
use omega_sync_core::session::backoff::{DELAY_FIRST_MS, DELAY_MAX_MS};
use omega_sync_core::session::client::{Client, Input, Output, Status};

/// Full jitter: of so many delays one is near its bound.
const TRIES: usize = 16;
/// TVs that lose their server in one moment.
const FLEET: u64 = 1_000;
/// So many of them may come back in one tenth of the time that they have; 100 would be even.
const OF_A_TENTH_MAX: usize = 150;

/// The server closes; says how long the client waits before it comes back.
fn closed(home: &Home, tv: &mut Tv, code: CloseCode) -> u64 {
    wait(&tv.client.handle(home.now(tv), Input::Closed(code.code())))
}

fn wait(outputs: &[Output]) -> u64 {
    let waits = outputs.iter().find_map(|output| match output {
        Output::Wake(delay_ms) => Some(*delay_ms),
        _ => None,
    });
    waits.expect("it will come back")
}

/// How long a TV of a fleet waits when the server has stopped it so many times in a row.
fn wait_of(number: u64, stops: usize) -> u64 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut client = Client::load(&[], None, seed).expect("new").client;
    let mut now = Now { unix: UnixMillis(crate::home::TODAY_MS), steady_ms: 0 };
    client.handle(now, Input::Online);
    let mut delay_ms = 0;
    for _ in 0..stops {
        now.steady_ms += delay_ms;
        client.handle(now, Input::Woke);
        delay_ms = wait(&client.handle(now, Input::Closed(CloseCode::Restart.code())));
    }
    delay_ms
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

#[test]
fn a_fleet_that_lost_its_server_comes_back_spread_over_all_the_time_it_has() {
    for (stops, bound_ms) in [(1, DELAY_FIRST_MS), (4, 8 * DELAY_FIRST_MS), (12, DELAY_MAX_MS)] {
        let mut tenths = [0; 10];
        for number in 0..FLEET {
            let delay_ms = wait_of(number, stops);
            assert!(delay_ms <= bound_ms, "{delay_ms} of {bound_ms}");
            tenths[(delay_ms * 10 / (bound_ms + 1)) as usize] += 1;
        }
        assert!(tenths.iter().all(|tvs| *tvs <= OF_A_TENTH_MAX), "{bound_ms} ms: {tenths:?}");
    }
}
