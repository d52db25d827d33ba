//! The same for both ends of a session, and for what the server stores.

use super::{AUTHOR, SHELF, one, stamp};
use crate::home::{Home, Tv, add, household, play, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::Writer;
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::{
    Change, DEVICE_TEXT_BYTES_MAX, DeviceRecord, Household, Intent, Operation,
};
use omega_sync_core::id::{DeviceId, EpochId, ReplicaId};
use omega_sync_core::message::{ClientFrame, FrameNumber, Hello, ServerFrame, Session, Taken};
use omega_sync_core::session::client::{
    Client, IN_FLIGHT_MAX, Input, LOG_BYTES_MIN, Output, Status,
};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput, Stored};

fn hello(replica: ReplicaId, number: u64) -> Hello {
    Hello {
        token: String::new(),
        household: None,
        replica,
        session: Session { number, nonce: 7 },
        acked: None,
        epoch: None,
        cursor: None,
        owes_offer: false,
    }
}

fn added(number: u64, name: &str) -> Operation {
    let change = Change::Add(title(name), Vec::new());
    Operation { timestamp: stamp(number), profile: SHELF, change }
}

/// What another TV does; what the server tells `tv` of it waits in its inbox.
fn does(home: &mut Home, other: &mut Tv, intent: Intent, tv: &mut Tv) {
    other.held = Some(Vec::new());
    home.operate(other, intent);
    let connection = other.connection;
    for bytes in other.held.take().expect("held") {
        let input = RoomInput::Frame { connection, bytes };
        for output in home.room.handle(UnixMillis(home.time_ms), input) {
            if let RoomOutput::Send(to, frame) = output
                && to == tv.connection
            {
                tv.inbox.push_back(Ok(frame));
            }
        }
    }
}

/// A remove waits because the window is full. Meanwhile an update brings an add that its viewer had not
/// seen: the frame must not say that it observed all that is live.
#[test]
fn a_remove_that_waited_takes_what_its_viewer_saw() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    home.refresh(&mut other);
    home.refresh(&mut tv);
    tv.held = Some(Vec::new());
    for number in 0..IN_FLIGHT_MAX {
        home.operate(&mut tv, play(&format!("tmdb:{number}"), 1));
    }
    home.operate(&mut tv, Intent::Remove(SHELF, title("film")));
    let held = tv.held.replace(Vec::new()).expect("held");
    assert_eq!(held.len(), IN_FLIGHT_MAX, "the remove waits");
    does(&mut home, &mut other, add("film"), &mut tv);
    for frame in held {
        home.deliver(&mut tv, frame);
    }
    home.input(&mut tv, Input::Woke);
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    home.input(&mut tv, Input::Woke);
    assert!(tv.client.replica().outbox().is_empty());
    assert!(home.listed("film"), "an add that nobody had seen when they removed");
}

/// Records of a device do not coalesce and are long; a server refuses a delta that is too long for good.
#[test]
fn a_long_outbox_leaves_in_deltas_that_a_server_takes() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    let device = DeviceId::new("kitchen").expect("short text");
    for number in 0..500 {
        let text = format!("{number:0width$}", width = DEVICE_TEXT_BYTES_MAX);
        let (name, platform, app_version) = (text.clone(), text.clone(), text);
        let record = DeviceRecord { name, platform, app_version, ..DeviceRecord::default() };
        home.operate(&mut tv, Intent::DescribeDevice(device.clone(), Some(record)));
    }
    home.refresh(&mut tv);
    assert_eq!(tv.client.close_code(), None);
}

#[test]
fn a_socket_that_opens_late_is_not_greeted() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let session = tv.client.replica().session_number();
    let outputs = tv.client.handle(home.now(&tv), Input::Opened(String::new()));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send(_))));
    assert_eq!(tv.client.replica().session_number(), session);
    assert_eq!(tv.client.status(), Status::Offline);
}

#[test]
fn an_image_takes_the_place_of_a_long_log() {
    let home = Home::new();
    let mut tv = Client::load(&[], None, [1; 16]).expect("new").client;
    let now = omega_sync_core::replica::Now { unix: UnixMillis(home.time_ms), steady_ms: 0 };
    let (mut log_bytes, mut image_bytes, mut images) = (0, 0, 0);
    for number in 0..2_000 {
        for output in tv.operate(now, add(&format!("tmdb:{number}"))).expect("a valid action") {
            match output {
                Output::Append(record) => log_bytes += record.len(),
                Output::Replace(image) => {
                    (log_bytes, image_bytes) = (0, image.len());
                    images += 1;
                }
                _ => {}
            }
        }
        assert!(log_bytes <= LOG_BYTES_MIN.max(4 * image_bytes));
    }
    assert!(images > 0, "the log was long enough");
}

/// What raised a replica's stamp is not in the digest that the server had; comparing it would take the
/// storage for a copy.
#[test]
fn an_offer_makes_digests_unknown_that_it_outdates() {
    let mut room = Room::create(household(), EpochId(1));
    let now = UnixMillis(stamp(0).millis().0 + 1_000);
    let mut enter = |connection, hello| {
        let connection = ConnectionId(connection);
        room.handle(now, RoomInput::Hello { connection, hello, may_write: true })
    };
    enter(1, hello(AUTHOR, 1));
    enter(2, Hello { owes_offer: true, ..hello(ReplicaId(2), 1) });
    let delta = one(added(1, "film"));
    let first = FrameNumber::FIRST;
    let bytes = ClientFrame::delta(first, &delta, &mut Context::starting(now), &mut |_| None);
    room.handle(now, RoomInput::Frame { connection: ConnectionId(1), bytes });
    let mut state = Household::default();
    state.merge(&delta);
    state.merge(&one(added(2, "other")));
    let bytes = ClientFrame::offer(first, &state);
    room.handle(now, RoomInput::Frame { connection: ConnectionId(2), bytes });
    let connection = ConnectionId(3);
    let hello = Hello { epoch: Some(EpochId(1).mark()), acked: Some(1), ..hello(AUTHOR, 2) };
    let outputs = room.handle(now, RoomInput::Hello { connection, hello, may_write: true });
    let taken = outputs.iter().find_map(|output| match output {
        RoomOutput::Send(_, frame) => match ServerFrame::decode(frame) {
            Ok(ServerFrame::Welcome(welcome)) => welcome.taken,
            _ => None,
        },
        _ => None,
    });
    assert_eq!(taken, Some(Taken { through: stamp(2), digest: 0 }));
}

#[test]
fn a_log_with_a_hole_or_without_its_end_is_damage() {
    let entry = |version: u64| {
        let delta: Delta = one(added(version, "film"));
        let mut writer = Writer::new();
        delta.store(&mut writer);
        (version, writer.finish())
    };
    let load = |version: u64, log: &[u64]| {
        let stored = Stored {
            epoch: EpochId(1),
            revision: version,
            version,
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: log.iter().copied().map(entry).collect(),
            replicas: Vec::new(),
        };
        Room::load(household(), &stored).map(|room| room.version())
    };
    assert_eq!(load(3, &[1, 2, 3]), Ok(3));
    for (version, log) in [(3, &[1, 3][..]), (3, &[2, 3]), (3, &[1, 2]), (2, &[1, 2, 3])] {
        assert!(load(version, log).is_err(), "{log:?} up to {version}");
    }
}
