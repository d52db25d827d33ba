//! The room's own replica, which writes for clients that do not run the core.

use crate::home::{Home, TODAY_MS, Tv, add, household, play, title};
use omega_sync_core::clock::{DRIFT_MAX_MS, Timestamp, UnixMillis};
use omega_sync_core::id::{DeviceId, EpochId, ProfileId};
use omega_sync_core::message::{CloseCode, Hello, Session};
use omega_sync_core::operation::{
    DEVICE_TEXT_BYTES_MAX, DeviceRecord, Intent, PROFILE_NAME_BYTES_MAX, VoidReason,
};
use omega_sync_core::session::client::Input;
use omega_sync_core::session::server::{
    Commit, ConnectionId, Refusal, Room, RoomInput, RoomOutput, Stored, Written,
};
use proptest::prelude::*;

fn remove(name: &str) -> Intent {
    Intent::Remove(ProfileId::DEFAULT, title(name))
}

fn at(millis: u64) -> Option<Timestamp> {
    Some(Timestamp::new(UnixMillis(millis), 0))
}

/// The room writes, and the TVs that are connected hear of it.
fn write(home: &mut Home, tvs: &mut [Tv], intent: Intent) -> Result<Timestamp, Refusal> {
    let Written { timestamp, outputs } = home.room.write(UnixMillis(home.time_ms), intent, None)?;
    assert!(matches!(outputs[0], RoomOutput::Persist(_)), "durable before anyone hears of it");
    for output in outputs {
        if let RoomOutput::Send(to, frame) = output {
            let tv = tvs.iter_mut().find(|tv| tv.connection == to).expect("one that is connected");
            home.input(tv, Input::Frame(&frame));
        }
    }
    Ok(timestamp)
}

#[test]
fn a_write_is_on_a_tv_at_once_and_the_other_way_round() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let tvs = &mut [tv];
    write(&mut home, tvs, add("film")).expect("taken");
    write(&mut home, tvs, play("film", 10)).expect("taken");
    let replica = tvs[0].client.replica();
    assert!(replica.is_listed(ProfileId::DEFAULT, &title("film")));
    assert_eq!(replica.confirmed(), home.room.household(), "without another handshake");
    home.operate(&mut tvs[0], play("film", 20));
    assert_eq!(home.position_s("film"), Some(20));
    home.operate(&mut tvs[0], remove("film"));
    assert_eq!(write(&mut home, tvs, remove("film")), Err(Refusal::NotThere));
    let mut late = home.tv(2, 0);
    write(&mut home, tvs, add("other")).expect("taken");
    home.refresh(&mut late);
    assert_eq!(late.client.replica().confirmed(), home.room.household());
}

#[test]
fn a_write_is_later_than_all_that_is_there() {
    let mut home = Home::new();
    let mut ahead = home.tv(1, 0);
    home.refresh(&mut ahead);
    ahead.skew_ms = DRIFT_MAX_MS as i64;
    home.operate(&mut ahead, play("film", 10));
    let stamp = write(&mut home, &mut [ahead], play("film", 20)).expect("taken");
    assert_eq!(home.position_s("film"), Some(20));
    // A server whose clock is put back goes on where it was.
    let next = home.room.write(UnixMillis(TODAY_MS - 3_600_000), play("film", 30), None);
    assert_eq!(next.expect("taken").timestamp, stamp.next());
    assert_eq!(home.position_s("film"), Some(30));
}

#[test]
fn a_write_with_a_time_loses_to_what_came_later() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, play("film", 10));
    let now = UnixMillis(home.time_ms);
    let before = home.room.household().clone();
    let earlier = home.room.write(now, play("film", 20), at(TODAY_MS - 1_000));
    assert_eq!(earlier, Err(Refusal::Superseded));
    let ahead = home.room.write(now, play("film", 20), at(TODAY_MS + DRIFT_MAX_MS + 1));
    assert_eq!(ahead, Err(Refusal::Ahead));
    assert_eq!((home.room.household(), home.room.version()), (&before, 1), "nothing has changed");
    let other = home.room.write(now, play("other", 20), at(TODAY_MS - 1_000)).expect("taken");
    assert_eq!(other.timestamp.millis(), UnixMillis(TODAY_MS - 1_000));
    // A time a little ahead counts as the present, so that nothing is locked out by it.
    let edge = home.room.write(now, play("film", 30), at(TODAY_MS + DRIFT_MAX_MS)).expect("taken");
    assert_eq!(edge.timestamp.millis(), now);
    let next = home.room.write(now, play("more", 1), at(TODAY_MS - 5_000)).expect("taken");
    assert_eq!(next.timestamp, edge.timestamp.next(), "the replica's stamps ascend");
    let own = home.room.write(now, play("film", 5), at(TODAY_MS - 1_000));
    assert_eq!(own, Err(Refusal::Superseded), "also by a write of its own");
}

#[test]
fn a_concurrent_add_survives_a_remove() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, add("film"));
    home.room.write(UnixMillis(home.time_ms), remove("film"), None).expect("taken");
    assert!(!home.listed("film"));
    home.refresh(&mut tv);
    assert!(home.listed("film"), "the TV added it again without knowing of the removal");
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn what_the_household_or_the_wire_does_not_take_changes_nothing() {
    let mut room = Room::create(household(), EpochId(1));
    let now = UnixMillis(TODAY_MS);
    let profile = ProfileId(7);
    let name = |length| Intent::NameProfile(profile, "x".repeat(length));
    let device = DeviceId::new("tv").expect("short text");
    let long = DeviceRecord { name: "x".repeat(DEVICE_TEXT_BYTES_MAX + 1), ..Default::default() };
    let unknown = Refusal::Void(VoidReason::ProfileUnknown);
    for (intent, refusal) in [
        (Intent::Add(profile, title("film")), unknown),
        (Intent::Remove(profile, title("film")), unknown),
        (remove("film"), Refusal::NotThere),
        (Intent::Progress(ProfileId::DEFAULT, title("film"), None), Refusal::NotThere),
        (Intent::DeleteProfile(ProfileId::DEFAULT), Refusal::Void(VoidReason::DefaultProfile)),
        (name(0), Refusal::Invalid),
        (name(PROFILE_NAME_BYTES_MAX + 1), Refusal::Invalid),
        (Intent::DescribeDevice(device.clone(), Some(long)), Refusal::Invalid),
        (Intent::DescribeDevice(device, None), Refusal::NotThere),
    ] {
        assert_eq!(room.write(now, intent.clone(), None), Err(refusal), "{intent:?}");
    }
    assert_eq!(room.version(), 0);
    room.write(now, name(PROFILE_NAME_BYTES_MAX), None).expect("taken");
    room.write(now, Intent::DeleteProfile(profile), None).expect("taken");
    let deleted = Refusal::Void(VoidReason::ProfileDeleted);
    assert_eq!(room.write(now, Intent::Add(profile, title("film")), None), Err(deleted));
}

#[test]
fn nobody_else_may_use_its_id() {
    let mut room = Room::create(household(), EpochId(1));
    let hello = Hello {
        token: String::new(),
        household: None,
        replica: room.resident(),
        session: Session { number: u64::MAX, nonce: 1 },
        acked: None,
        epoch: None,
        cursor: None,
        owes_offer: false,
    };
    let connection = ConnectionId(1);
    let input = RoomInput::Hello { connection, hello, may_write: true };
    let outputs = room.handle(UnixMillis(TODAY_MS), input);
    assert_eq!(outputs, [RoomOutput::Close(connection, CloseCode::StaleSession)]);
}

/// What a store would have after these outputs.
fn stored(commits: impl IntoIterator<Item = Commit>) -> Stored {
    let mut commits = commits.into_iter();
    let mut all = commits.next().expect("one");
    commits.for_each(|commit| all.merge(commit));
    Stored {
        epoch: all.epoch,
        revision: all.revision,
        version: all.version,
        snapshot: Vec::new(),
        snapshot_version: 0,
        log: all.entries,
        replicas: all.replicas,
    }
}

#[test]
fn it_goes_on_after_the_room_was_loaded() {
    let mut room = Room::create(household(), EpochId(9));
    let mut commits = Vec::new();
    let mut last = Timestamp::ZERO;
    for name in ["one", "two"] {
        let written = room.write(UnixMillis(TODAY_MS), add(name), None).expect("taken");
        assert!(written.timestamp > last);
        last = written.timestamp;
        commits.extend(written.outputs.into_iter().filter_map(|output| match output {
            RoomOutput::Persist(commit) => Some(commit),
            _ => None,
        }));
    }
    let mut loaded = Room::load(household(), &stored(commits)).expect("readable");
    assert_eq!(loaded.household(), room.household());
    assert_eq!(loaded.resident(), room.resident());
    let next = loaded.write(UnixMillis(0), add("three"), None).expect("taken");
    assert_eq!(next.timestamp, last.next(), "also with a clock that starts at 1970");
}

/// What happens next to one of three TVs or to the room.
#[derive(Debug, Clone)]
enum Step {
    Room(usize, u32),
    Tv(usize, usize, u32),
    Offline(usize),
    Online(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8usize, 0..100u32).prop_map(|(title, what)| Step::Room(title, what)),
        (0..3usize, 0..8usize, 0..100u32).prop_map(|(tv, title, what)| Step::Tv(tv, title, what)),
        (0..3usize).prop_map(Step::Offline),
        (0..3usize).prop_map(Step::Online),
    ]
}

fn intent(name: usize, what: u32) -> Intent {
    let name = format!("film {name}");
    match what % 4 {
        0 => add(&name),
        1 => remove(&name),
        _ => play(&name, what),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the TVs and the room do, in the end all have the same, and the room's stamps ascend.
    #[test]
    fn the_room_and_all_tvs_come_to_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut home = Home::new();
        let mut tvs: Vec<Tv> = (1..4).map(|seed| home.tv(seed, 0)).collect();
        let mut last = Timestamp::ZERO;
        for step in steps {
            home.time_ms += 500;
            match step {
                Step::Room(name, what) => {
                    let now = UnixMillis(home.time_ms);
                    if let Ok(written) = home.room.write(now, intent(name, what), None) {
                        prop_assert!(written.timestamp > last);
                        last = written.timestamp;
                    }
                }
                Step::Tv(tv, name, what) => home.operate(&mut tvs[tv], intent(name, what)),
                Step::Offline(tv) => home.input(&mut tvs[tv], Input::Offline),
                Step::Online(tv) => home.connect(&mut tvs[tv]),
            }
        }
        for tv in &mut tvs {
            home.time_ms += 120_000;
            home.input(tv, Input::Offline);
            home.refresh(tv);
        }
        for tv in &mut tvs {
            home.time_ms += 120_000;
            home.input(tv, Input::Offline);
            home.refresh(tv);
            prop_assert_eq!(tv.client.replica().confirmed(), home.room.household());
        }
    }
}
