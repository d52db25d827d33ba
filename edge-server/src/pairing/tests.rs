//! Codes and their answers, on a clock of the test's own.

use super::*;

fn from(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn wish(device: &str) -> Wish {
    Wish {
        client: "tv-app".into(),
        device: DeviceId::new(device).unwrap(),
        name: "Living room".into(),
        scope: "read write".into(),
    }
}

fn residence(household: &str) -> Residence {
    let region = Some(Region::new("DE-BY").unwrap());
    Residence { household: HouseholdId::new(household).unwrap(), region }
}

fn home() -> Residence {
    residence("home")
}

const EVERY: Duration = PAIR_POLL_EVERY;

#[test]
fn a_code_is_answered_once_and_told_once() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let codes = all.ask(wish("tv"), from(1), now).unwrap();
    assert_eq!(all.poll(&codes.device, "tv-app", now), Polled::Pending);
    assert_eq!(all.wish(codes.user, now), Some(wish("tv")));
    assert!(all.answer(codes.user, &home(), Some("read"), now).is_some());
    assert!(all.answer(codes.user, &home(), None, now).is_none(), "answered already");
    assert_eq!(all.wish(codes.user, now), None);
    assert_eq!(all.poll(&codes.device, "another", now + EVERY), Polled::Unknown);
    match all.poll(&codes.device, "tv-app", now + EVERY) {
        Polled::Allowed(Allowed { residence, device, scope, allowed_s }) => {
            assert_eq!((residence, device.as_str(), &*scope), (home(), "tv", "read"));
            assert!(now_s() - allowed_s < 60, "{allowed_s}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(all.poll(&codes.device, "tv-app", now + 2 * EVERY), Polled::Unknown);
    assert_eq!(all.poll("nonsense", "tv-app", now), Polled::Unknown);
}

#[test]
fn a_no_is_told_and_a_code_ends() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let codes = all.ask(wish("tv"), from(1), now).unwrap();
    let late = all.ask(wish("tv"), from(1), now).unwrap();
    all.answer(codes.user, &home(), None, now).unwrap();
    assert_eq!(all.poll(&codes.device, "tv-app", now), Polled::Denied);
    let moment = now + PAIR_CODE_LIFE - Duration::from_millis(1);
    assert!(all.wish(late.user, moment).is_some(), "the last moment");
    assert_eq!(all.poll(&late.device, "tv-app", moment), Polled::Pending);
    let end = now + PAIR_CODE_LIFE;
    assert!(all.answer(late.user, &home(), Some("read"), end).is_none());
    assert_eq!(all.poll(&late.device, "tv-app", end), Polled::Expired);
}

#[test]
fn a_yes_that_nobody_fetches_ends_too() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let codes = all.ask(wish("tv"), from(1), now).unwrap();
    all.answer(codes.user, &home(), Some("read"), now).unwrap();
    assert_eq!(all.poll(&codes.device, "tv-app", now + PAIR_CODE_LIFE), Polled::Expired);
}

#[test]
fn what_was_allowed_for_a_household_that_is_erased_counts_no_more() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let [erased, other, open] = ["a", "b", "c"].map(|device| all.ask(wish(device), from(1), now));
    let [erased, other, open] = [erased, other, open].map(Result::unwrap);
    all.answer(erased.user, &home(), Some("read"), now).unwrap();
    all.answer(other.user, &residence("other"), Some("read"), now).unwrap();
    all.forget(&home().household);
    assert_eq!(all.poll(&erased.device, "tv-app", now), Polled::Unknown);
    assert!(matches!(all.poll(&other.device, "tv-app", now), Polled::Allowed(_)));
    assert_eq!(all.poll(&open.device, "tv-app", now), Polled::Pending);
    assert_eq!(all.erasures(), 1);
    assert_eq!(all.held().by_code.len(), 1);
}

#[test]
fn who_asks_too_often_waits_longer_each_time() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let codes = all.ask(wish("tv"), from(1), now).unwrap();
    let poll = |seconds| all.poll(&codes.device, "tv-app", now + Duration::from_secs(seconds));
    assert_eq!(poll(0), Polled::Pending);
    assert_eq!(poll(5), Polled::Pending, "the interval");
    assert_eq!(poll(9), Polled::SlowDown);
    assert_eq!(poll(18), Polled::SlowDown, "now ten seconds");
    assert_eq!(poll(33), Polled::Pending, "now fifteen");
}

#[test]
fn what_is_asked_is_bounded_in_all_and_by_address() {
    let bounds = Bounds { asked_max: 10, asked_address_max: 4, ..Bounds::default() };
    let (all, now) = (Pairings::new(bounds), Instant::now());
    let ask = |last, at| all.ask(wish("tv"), from(last), at).map(drop);
    for _ in 0..4 {
        ask(1, now).unwrap();
    }
    assert!(matches!(ask(1, now), Err(Error::RateLimited(600))));
    for last in [2, 2, 2, 2, 3, 3] {
        ask(last, now).unwrap();
    }
    assert!(matches!(ask(3, now), Err(Error::Overloaded)));
    let over = now + PAIR_CODE_LIFE + OVER_KEPT;
    assert!(ask(3, over).is_ok(), "those that are over make room");
    assert_eq!(all.held().asked.len(), 1);
    assert_eq!(all.held().by_code.len(), 1);
}

#[test]
fn guesses_are_counted_by_address_and_in_all() {
    let all = Pairings::new(Bounds::default());
    let now = Instant::now();
    for _ in 0..PAIR_GUESSES {
        assert!(all.guess(from(1), now).is_ok());
    }
    assert!(matches!(all.guess(from(1), now), Err(Error::RateLimited(1..=6))));
    let mut passed = PAIR_GUESSES;
    for last in 2..=255 {
        passed += u32::from(all.guess(from(last), now).is_ok());
    }
    assert_eq!(passed, PAIR_GUESSES_ALL.burst, "of all addresses together");
}

#[test]
fn a_ticket_is_for_one_code_one_household_and_one_answer() {
    let (all, now) = (Pairings::new(Bounds::default()), Instant::now());
    let (one, other) = (all.ask(wish("a"), from(1), now), all.ask(wish("b"), from(1), now));
    let (one, other) = (one.unwrap().user, other.unwrap().user);
    let (ticket, about) = all.ticket(one, home(), now).unwrap().unwrap();
    assert_eq!(about, wish("a"));
    assert_eq!(all.redeem(one, &ticket, now), Some(home()));
    assert_eq!(all.redeem(other, &ticket, now), None);
    assert_eq!(all.redeem(one, "guess", now), None);
    assert_eq!(all.redeem(one, &ticket, now + PAIR_CODE_LIFE), None);
    let newer = all.ticket(one, residence("other"), now).unwrap().unwrap().0;
    assert_eq!(all.redeem(one, &ticket, now), None, "another page was opened since");
    all.answer(one, &home(), None, now).unwrap();
    assert_eq!(all.redeem(one, &newer, now), None);
}

#[test]
fn nobody_gives_more_than_they_have() {
    assert_eq!(common("read write control", "control read"), "read control");
    assert_eq!(common("admin read", "read write"), "read");
    assert_eq!(common("  read  ", "read"), "read");
    assert_eq!(common("readwrite", "read write"), "");
}
