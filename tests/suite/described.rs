//! What a device says of itself without a name: it keeps the one that it has, wherever that was given.

use crate::home::{Home, Tv};
use omega_sync_core::id::DeviceId;
use omega_sync_core::operation::{DeviceRecord, Intent};
use omega_sync_core::replica::OperationError;
use omega_sync_core::session::client::Output;

fn device() -> DeviceId {
    DeviceId::new("tv").expect("short text")
}

fn record(name: &str, platform: &str) -> DeviceRecord {
    DeviceRecord { name: name.into(), platform: platform.into(), ..DeviceRecord::default() }
}

fn named(name: &str, platform: &str) -> Intent {
    Intent::DescribeDevice(device(), Some(record(name, platform)))
}

fn describe(home: &mut Home, tv: &mut Tv, platform: &str) -> Vec<Output> {
    let what = record("counts for nothing", platform);
    let outputs = tv.client.describe(home.now(tv), device(), what).expect("valid");
    home.carry_out(tv, outputs.clone());
    outputs
}

/// What the server has of the device: its name and platform.
fn held(home: &Home) -> Option<(String, String)> {
    let record = home.room.household().devices().get(&device())?.value.clone()?;
    Some((record.name, record.platform))
}

fn pair(name: &str, platform: &str) -> Option<(String, String)> {
    Some((name.into(), platform.into()))
}

/// A household that knows the device, and its storage after a new installation.
fn reinstalled() -> (Home, Tv) {
    let mut home = Home::new();
    let mut before = home.tv(1, 0);
    home.refresh(&mut before);
    home.operate(&mut before, named("Living room", "webOS 4"));
    home.connect(&mut before);
    assert_eq!(held(&home), pair("Living room", "webOS 4"));
    home.time_ms += 60_000;
    let tv = home.tv(2, 0);
    (home, tv)
}

#[test]
fn a_new_installation_keeps_the_name_that_the_household_knows() {
    for by_request in [false, true] {
        let (mut home, mut tv) = reinstalled();
        tv.by_request = by_request;
        assert_eq!(describe(&mut home, &mut tv, "webOS 5"), [], "the name may be there");
        assert_eq!(tv.client.pending(), 1, "somebody waits for it");
        home.connect(&mut tv);
        assert_eq!(held(&home), pair("Living room", "webOS 5"));
        assert_eq!(tv.client.pending(), 0);
        assert_eq!(tv.client.replica().device(&device()), Some(&record("Living room", "webOS 5")));
    }
}

#[test]
fn what_a_device_says_later_counts() {
    for later in ["Bedroom", ""] {
        let (mut home, mut tv) = reinstalled();
        describe(&mut home, &mut tv, "first");
        home.operate(&mut tv, named(later, "second"));
        assert_eq!(tv.client.pending(), 1, "in place of what it said before");
        home.refresh(&mut tv);
        assert_eq!(held(&home), pair(later, "second"));
    }
    let (mut home, mut tv) = reinstalled();
    describe(&mut home, &mut tv, "first");
    describe(&mut home, &mut tv, "second");
    home.operate(&mut tv, Intent::DescribeDevice(DeviceId::new("another").expect("short"), None));
    home.refresh(&mut tv);
    assert_eq!(held(&home), pair("Living room", "second"), "that was about another device");
}

#[test]
fn who_knows_the_household_writes_at_once() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, omega_sync_core::session::client::Input::Offline);
    assert_ne!(describe(&mut home, &mut tv, "webOS 5"), [], "it has no name");
    home.operate(&mut tv, named("Living room", "webOS 5"));
    assert_ne!(describe(&mut home, &mut tv, "webOS 6"), [], "its name is here");
    assert_eq!(describe(&mut home, &mut tv, "webOS 6"), [], "saying the same again costs nothing");
    home.refresh(&mut tv);
    assert_eq!(held(&home), pair("Living room", "webOS 6"));
}

#[test]
fn what_is_no_record_is_refused_where_it_is_said() {
    let (home, mut tv) = reinstalled();
    let long = record("", &"x".repeat(65));
    let refused = tv.client.describe(home.now(&tv), device(), long);
    assert_eq!(refused, Err(OperationError::DeviceRecord));
    assert_eq!(tv.client.pending(), 0);
}

#[test]
fn what_is_refused_takes_nothing_away_that_waits() {
    let (mut home, mut tv) = reinstalled();
    describe(&mut home, &mut tv, "webOS 5");
    let refused = tv.client.operate(home.now(&tv), named(&"x".repeat(65), "webOS 6"));
    assert_eq!(refused, Err(OperationError::DeviceRecord));
    assert_eq!(tv.client.pending(), 1);
    home.connect(&mut tv);
    assert_eq!(held(&home), pair("Living room", "webOS 5"));
}
