//! A device whose sessions are single requests: the client's end.

use crate::home::{Home, Lost, TODAY_MS, Tv, add, household, play};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::EpochId;
use omega_sync_core::message::{
    ClientFrame, CloseCode, EXCHANGE_FRAMES_MAX, Exchange, Exchanged, FrameNumber, TOKEN_BYTES_MAX,
};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{
    HIDING_BYTES_AIM, Input, LEAVING_OPERATIONS_MAX, Output, REST_AFTER_WRITE_MS, REST_MS, Status,
};
use omega_sync_core::session::server::Room;
use proptest::prelude::*;

/// A TV that gets no socket, after its first request.
fn polling(home: &mut Home) -> Tv {
    let mut tv = home.tv(1, 0);
    tv.by_request = true;
    home.connect(&mut tv);
    assert_eq!(tv.client.status(), Status::Polling);
    tv
}

/// Lets time pass until the TV asks, and asks.
fn later(home: &mut Home, tv: &mut Tv) {
    home.time_ms += REST_MS;
    home.input(tv, Input::Woke);
}

fn frames(request: &[u8]) -> usize {
    Exchange::decode(request).expect("a request").frames.len()
}

fn wakes(outputs: &[Output]) -> Option<u64> {
    outputs.iter().rev().find_map(|output| match output {
        Output::Wake(after_ms) => Some(*after_ms),
        _ => None,
    })
}

#[test]
fn it_says_hello_alone_first_and_then_one_request_does_all() {
    let mut home = Home::new();
    let mut tv = home.tv(1, -7_200_000);
    tv.by_request = true;
    home.operate(&mut tv, add("film"));
    home.connect(&mut tv);
    let sizes: Vec<usize> = tv.requests.iter().map(|request| frames(request)).collect();
    assert_eq!(sizes, [0, 1], "the clock is measured before a stamp leaves");
    assert!(home.listed("film"));
    assert!(tv.client.replica().outbox().is_empty());
    assert_eq!(tv.client.status(), Status::Polling);
    let added = tv.client.replica().watchlist(omega_sync_core::id::ProfileId::DEFAULT)[0].added;
    assert!(added.0.abs_diff(TODAY_MS) < 1_000, "corrected by the welcome: {added:?}");
    // From then on one is enough, both ways.
    let mut other = home.tv(2, 0);
    home.refresh(&mut other);
    home.operate(&mut other, add("theirs"));
    home.operate(&mut tv, add("ours"));
    later(&mut home, &mut tv);
    assert_eq!(tv.requests.len(), 3);
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
    home.refresh(&mut other);
    assert_eq!(other.client.replica().confirmed(), tv.client.replica().confirmed());
}

#[test]
fn it_rests_a_jittered_while_and_less_after_a_write() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    let mut rests = Vec::new();
    for _ in 0..20 {
        later(&mut home, &mut tv);
        let outputs = tv.client.handle(home.now(&tv), Input::Woke);
        rests.extend(wakes(&outputs));
    }
    assert!(rests.iter().all(|rest| (REST_MS - REST_MS / 4..=REST_MS).contains(rest)), "{rests:?}");
    rests.dedup();
    assert!(rests.len() > 10, "jittered: {rests:?}");
    let outputs = tv.client.operate(home.now(&tv), add("film")).expect("valid");
    assert_eq!(wakes(&outputs), Some(REST_AFTER_WRITE_MS));
    home.time_ms += 1;
    let outputs = tv.client.operate(home.now(&tv), add("another")).expect("valid");
    assert_eq!(wakes(&outputs), None, "the first write set the time");
    tv.client.set_rest(900_000, u64::MAX);
    home.time_ms += REST_AFTER_WRITE_MS;
    home.input(&mut tv, Input::Woke);
    let outputs = tv.client.operate(home.now(&tv), add("third")).expect("valid");
    assert_eq!(wakes(&outputs), None, "this app wants no request after a write");
    assert_eq!(tv.client.status(), Status::Polling);
}

#[test]
fn what_is_refused_is_reported_and_what_closes_it_is_obeyed() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    tv.may_write = false;
    home.operate(&mut tv, add("film"));
    later(&mut home, &mut tv);
    assert_eq!(tv.client.replica().rejected().len(), 1);
    assert!(!home.listed("film"));
    // A copy of its storage has spoken meanwhile: it goes on under a new id, nothing is lost.
    tv.may_write = true;
    let before = tv.client.replica().id();
    let mut copy = home.tv_from(tv.disk.clone(), 9, 0);
    copy.by_request = true;
    home.connect(&mut copy);
    later(&mut home, &mut copy);
    home.operate(&mut tv, add("kept"));
    for _ in 0..3 {
        home.retry(&mut tv);
    }
    assert_ne!(tv.client.replica().id(), before);
    assert!(home.listed("kept"));
}

#[test]
fn more_than_one_request_holds_goes_in_several_at_once() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    for number in 0..3_000 {
        let long = format!("a-title-with-a-long-name-of-its-own-so-that-bytes-add-up-{number}");
        let outputs = tv.client.operate(home.now(&tv), add(&long)).expect("valid");
        home.carry_out(&mut tv, outputs);
    }
    later(&mut home, &mut tv);
    assert!(tv.client.replica().outbox().is_empty());
    assert!(tv.requests.len() > 2, "{}", tv.requests.len());
    assert!(tv.requests.iter().all(|request| frames(request) <= EXCHANGE_FRAMES_MAX));
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn a_refusal_of_a_hiding_page_is_not_final_while_an_earlier_request_may_arrive() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    home.operate(&mut tv, add("film"));
    tv.losses.push_back(Lost::Request);
    home.input(&mut tv, Input::Hiding(String::new()));
    let late = tv.requests.last().expect("it hid").clone();
    tv.may_write = false;
    home.operate(&mut tv, add("forbidden"));
    home.input(&mut tv, Input::Hiding(String::new()));
    assert!(tv.client.replica().rejected().is_empty(), "nobody knows yet");
    assert_eq!(tv.client.replica().outbox().iter().count(), 2);
    tv.may_write = true;
    let answer = home.exchange(&mut tv, &late);
    assert!(answer.is_some() && home.listed("film"), "it was only late");
    tv.may_write = false;
    let id = tv.client.replica().id();
    home.retry(&mut tv);
    assert_eq!(tv.client.replica().id(), id);
    let refused = tv.client.replica().rejected();
    assert_eq!(refused.len(), 1, "in a session of its own the refusal is final");
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn after_a_restore_it_offers_what_was_confirmed() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    home.operate(&mut tv, add("film"));
    later(&mut home, &mut tv);
    home.room = Home::new().room;
    home.room = Room::create(household(), EpochId(2));
    home.operate(&mut tv, add("later"));
    home.time_ms += REST_MS;
    let (_, outputs) = answered(&mut home, &mut tv, |answer| answer);
    assert!(!outputs.contains(&Output::Disconnect), "it took nothing and said why: {outputs:?}");
    for _ in 0..3 {
        later(&mut home, &mut tv);
    }
    assert!(home.listed("film") && home.listed("later"));
    assert!(tv.client.replica().owed().is_empty());
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn a_page_that_hides_sends_what_waits_in_the_session_it_has() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let hide = |home: &mut Home, tv: &mut Tv| {
        tv.requests.clear();
        home.input(tv, Input::Hiding(String::new()));
        tv.requests.len()
    };
    assert_eq!(hide(&mut home, &mut tv), 0, "nothing waits");
    // The socket is gone, and the next one does not open yet.
    home.input(&mut tv, Input::Closed(1006));
    home.operate(&mut tv, add("film"));
    let session = tv.client.replica().session_number();
    let records = tv.disk.len();
    tv.losses.push_back(Lost::Answer);
    assert_eq!(hide(&mut home, &mut tv), 1);
    assert!(home.listed("film"), "though nobody is there to hear the answer");
    assert_eq!(tv.client.replica().session_number(), session, "no number had to be stored");
    assert_eq!(tv.disk.len(), records + 1, "that it may have left is durable before");
    // Killed in the background; the next start finds that it was taken.
    let mut again = home.tv_from(tv.disk.clone(), 3, 0);
    home.refresh(&mut again);
    assert_eq!(again.client.replica().confirmed(), home.room.household());
}

fn stored(outputs: &[Output]) -> usize {
    let is_stored = |output: &&Output| matches!(output, Output::Append(_) | Output::Replace(_));
    outputs.iter().filter(is_stored).count()
}

#[test]
fn what_was_written_without_a_socket_leaves_a_hiding_page_with_nothing_to_store_before() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    for number in 0..LEAVING_OPERATIONS_MAX as u32 {
        home.operate(&mut tv, play("film", number));
    }
    assert_eq!(tv.client.replica().outbox().len(), LEAVING_OPERATIONS_MAX, "each may leave");
    let mut copy = home.tv_from(tv.disk.clone(), 3, 0);
    home.refresh(&mut copy);
    assert_eq!(home.position_s("film"), Some(LEAVING_OPERATIONS_MAX as u32 - 1), "and is stored");
    let outputs = tv.client.handle(home.now(&tv), Input::Hiding(String::new()));
    assert_eq!(stored(&outputs), 0, "a page that is going has no time for it");
    assert!(outputs.iter().any(|output| matches!(output, Output::Exchange(..))));
    // What more is written coalesces as ever, and is noted when the page hides.
    for position_s in 100..110 {
        home.operate(&mut tv, play("film", position_s));
    }
    assert_eq!(tv.client.replica().outbox().len(), LEAVING_OPERATIONS_MAX + 1);
    let outputs = tv.client.handle(home.now(&tv), Input::Hiding(String::new()));
    assert_eq!(stored(&outputs), 1);
}

#[test]
fn a_page_that_says_twice_that_it_hides_asks_once() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    home.operate(&mut tv, add("film"));
    let hide = |home: &mut Home, tv: &mut Tv| {
        tv.requests.clear();
        tv.losses.push_back(Lost::Answer);
        home.input(tv, Input::Hiding(String::new()));
        tv.losses.clear();
        tv.requests.len()
    };
    assert_eq!(hide(&mut home, &mut tv), 1);
    assert_eq!(hide(&mut home, &mut tv), 0, "it is on its way");
    assert!(home.listed("film"));
    home.operate(&mut tv, add("another"));
    assert_eq!(hide(&mut home, &mut tv), 1, "which is not");
    for _ in 0..3 {
        home.retry(&mut tv);
    }
    assert!(home.listed("another"));
}

/// Bytes that a browser lets go of for a page that hides.
const HIDING_BYTES_MAX: usize = 64 * 1024;

/// What a TV hides with that owes an offer of so many titles and has much to say: the offer's length, and
/// the request.
fn hidden_with_offer(titles: u64) -> (usize, Vec<u8>) {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    let write = |home: &mut Home, tv: &mut Tv, from: u64, to: u64| {
        for number in from..to {
            // Each is as good as random.
            let name = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let outputs = tv.client.operate(home.now(tv), add(&name)).expect("valid");
            home.carry_out(tv, outputs);
        }
    };
    write(&mut home, &mut tv, 0, titles);
    later(&mut home, &mut tv);
    assert!(tv.client.replica().outbox().is_empty());
    home.room = Room::create(household(), EpochId(2));
    write(&mut home, &mut tv, titles, titles + 1_500);
    // It hears of the new life, and its offer is lost.
    tv.losses.extend([Lost::Nothing, Lost::Request]);
    later(&mut home, &mut tv);
    let mut first = FrameNumber::FIRST;
    let offer = ClientFrame::offer(first.advance(), tv.client.replica().owed());
    tv.requests.clear();
    tv.losses.push_back(Lost::Request);
    home.input(&mut tv, Input::Hiding("t".repeat(TOKEN_BYTES_MAX)));
    (offer.len(), tv.requests.pop().expect("it hid"))
}

#[test]
fn a_hiding_page_leaves_an_offer_that_is_too_long_for_another_request() {
    let (short, request) = hidden_with_offer(3_400);
    assert!((HIDING_BYTES_AIM - 4_096..HIDING_BYTES_AIM).contains(&short), "{short}");
    assert!(frames(&request) > 1, "an offer and what fits beside it");
    assert!(request.len() < HIDING_BYTES_MAX, "{}", request.len());
    let (long, request) = hidden_with_offer(3_800);
    assert!((HIDING_BYTES_AIM + 1..HIDING_BYTES_AIM + 4_096).contains(&long), "{long}");
    assert_eq!(frames(&request), 0, "nor is anything taken before it");
}

#[test]
fn who_comes_back_from_hiding_gets_a_socket_again() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Closed(1006));
    home.operate(&mut tv, add("film"));
    home.input(&mut tv, Input::Hiding(String::new()));
    assert!(home.listed("film"));
    assert_eq!(tv.client.status(), Status::Live, "the answer came, and a socket after it");
}

#[test]
fn an_answer_that_is_none_or_late_is_not_believed() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    home.operate(&mut tv, add("film"));
    home.time_ms += REST_MS;
    tv.losses.push_back(Lost::Answer);
    home.input(&mut tv, Input::Woke);
    for nothing in [&[][..], &[0], &[1, 7], &[255; 40]] {
        let mut copy = home.tv_from(tv.disk.clone(), 5, 0);
        copy.by_request = true;
        copy.losses.push_back(Lost::Answer);
        home.connect(&mut copy);
        home.input(&mut copy, Input::Answered(1, nothing));
        assert_eq!(copy.client.status(), Status::Connecting, "{nothing:?}");
    }
    let now = Now { unix: UnixMillis(home.time_ms), steady_ms: home.time_ms - TODAY_MS };
    tv.client.handle(now, Input::Offline);
    assert!(tv.client.handle(now, Input::Answered(1, &[])).is_empty(), "nobody waits for it");
}

/// The next request goes well, but this becomes of its answer's frames. Gives how many there were, too.
fn answered(
    home: &mut Home,
    tv: &mut Tv,
    change: impl Fn(Exchanged) -> Exchanged,
) -> (usize, Vec<Output>) {
    let outputs = tv.client.handle(home.now(tv), Input::Woke);
    assert!(outputs.contains(&Output::Connect), "{outputs:?}");
    let outputs = tv.client.handle(home.now(tv), Input::Asked(String::new()));
    let request = outputs.into_iter().find_map(|output| match output {
        Output::Exchange(number, request) => Some((number, request)),
        _ => None,
    });
    let (number, request) = request.expect("a request");
    let answer = home.exchange(tv, &request).expect("nothing is lost");
    let answer = Exchanged::decode(&answer).expect("an answer");
    let count = answer.frames.len();
    let Exchanged { frames, close } = change(answer);
    let frames: Vec<Vec<u8>> = frames.into_iter().map(<[u8]>::to_vec).collect();
    let answer = Exchanged::encode(&frames, close.and_then(CloseCode::from_code));
    (count, tv.client.handle(home.now(tv), Input::Answered(number, &answer)))
}

#[test]
fn an_answer_that_leads_nowhere_ends_the_attempt() {
    for (frames, close, what) in [
        (0, None, "an empty body"),
        (1, None, "a welcome and no state"),
        (2, None, "nothing of what was sent"),
        (2, Some(CloseCode::Overloaded), "the session was closed"),
    ] {
        let mut home = Home::new();
        let mut tv = polling(&mut home);
        home.operate(&mut tv, add("film"));
        home.time_ms += REST_MS;
        let close = close.map(CloseCode::code);
        let (whole, outputs) = answered(&mut home, &mut tv, |answer| Exchanged {
            frames: answer.frames[..frames].to_vec(),
            close,
        });
        assert_eq!(whole, 3, "welcome, state, ack");
        assert!(outputs.contains(&Output::Disconnect), "{what}: {outputs:?}");
        assert!(!outputs.contains(&Output::Connect), "{what}: not at once: {outputs:?}");
        assert_eq!(tv.client.status(), Status::Connecting, "{what}");
        home.retry(&mut tv);
        assert!(tv.client.replica().outbox().is_empty() && home.listed("film"), "{what}");
    }
}

/// A TV that sent nothing would otherwise ask again at once, and again.
#[test]
fn a_welcome_without_a_state_is_no_answer() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    home.time_ms += REST_MS;
    let (whole, outputs) = answered(&mut home, &mut tv, |answer| Exchanged {
        frames: answer.frames[..1].to_vec(),
        close: None,
    });
    assert_eq!(whole, 2, "welcome, state");
    assert!(outputs.contains(&Output::Disconnect), "{outputs:?}");
    assert!(!outputs.contains(&Output::Connect), "not at once: {outputs:?}");
}

fn fate() -> impl Strategy<Value = Lost> {
    prop_oneof![Just(Lost::Nothing), Just(Lost::Request), Just(Lost::Answer)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Requests and answers get lost, sockets come and go: each write is taken once, and the last counts.
    #[test]
    fn bad_networks_neither_lose_nor_double(
        steps in prop::collection::vec((fate(), 0..3usize, any::<bool>(), any::<bool>()), 1..25),
    ) {
        let mut home = Home::new();
        let mut tv = home.tv(1, 0);
        let mut made = 0;
        home.connect(&mut tv);
        let before = home.room.version();
        for (lost, writes, by_request, hides) in steps {
            home.time_ms += 61_000;
            tv.by_request = by_request;
            if by_request {
                home.input(&mut tv, Input::Closed(1006));
            }
            for _ in 0..writes {
                made += 1;
                home.operate(&mut tv, play(&format!("film {made}"), made));
            }
            tv.losses.push_back(lost);
            if hides {
                home.input(&mut tv, Input::Hiding(String::new()));
            }
            home.retry(&mut tv);
            tv.losses.clear();
        }
        for _ in 0..4 {
            home.retry(&mut tv);
        }
        prop_assert!(tv.client.replica().outbox().is_empty());
        prop_assert!(home.room.version() - before <= u64::from(made));
        for number in 1..=made {
            prop_assert_eq!(home.position_s(&format!("film {number}")), Some(number));
        }
        prop_assert_eq!(tv.client.replica().confirmed(), home.room.household());
    }
}

#[test]
fn an_answer_to_an_earlier_request_acknowledges_nothing() {
    let mut home = Home::new();
    let mut tv = polling(&mut home);
    let hide = |home: &mut Home, tv: &mut Tv| {
        let outputs = tv.client.handle(home.now(tv), Input::Hiding(String::new()));
        let request = outputs.into_iter().find_map(|output| match output {
            Output::Exchange(number, request) => Some((number, request)),
            _ => None,
        });
        request.expect("something waits")
    };
    home.operate(&mut tv, add("one"));
    let (first, request) = hide(&mut home, &mut tv);
    home.operate(&mut tv, add("two"));
    let (second, _) = hide(&mut home, &mut tv);
    assert_ne!(first, second);
    // The first one arrives, and its answer comes when the second one is on its way.
    let answer = home.exchange(&mut tv, &request).expect("nothing is lost");
    home.input(&mut tv, Input::Answered(first, &answer));
    assert_eq!(tv.client.replica().outbox().len(), 2, "of whose deltas it says nothing");
    for _ in 0..3 {
        home.retry(&mut tv);
    }
    assert!(home.listed("one") && home.listed("two"));
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn an_answer_sends_nothing_on_a_socket() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.operate(&mut tv, add("film"));
    tv.client.handle(home.now(&tv), Input::Online);
    let asked = tv.client.handle(home.now(&tv), Input::Asked(String::new()));
    let request = asked.into_iter().find_map(|output| match output {
        Output::Exchange(number, request) => Some((number, request)),
        _ => None,
    });
    let (number, request) = request.expect("a request");
    let answer = home.exchange(&mut tv, &request).expect("nothing is lost");
    let outputs = tv.client.handle(home.now(&tv), Input::Answered(number, &answer));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send(_))), "{outputs:?}");
    assert!(outputs.contains(&Output::Connect), "what waits goes in the next request");
}
