//! One household at the server: what it takes of its devices, stores, and forgets.

use crate::home::{Home, TODAY_MS, Tv, add, household, play, title};
use crate::replica::{AUTHOR, SHELF, one, stamp};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::{Household, Key, REPLICAS_MAX, Touch};
use omega_sync_core::id::{DeviceId, EpochId, Random, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, CloseCode, FRAME_BYTES_MAX, FrameNumber, Hello, ServerFrame, Session, Taken,
    Welcome,
};
use omega_sync_core::operation::{Change, DEVICE_TEXT_BYTES_MAX, DeviceRecord, Intent, Operation};
use omega_sync_core::replica::{Now, Replica};
use omega_sync_core::session::client::{
    Client, IN_FLIGHT_MAX, Input, LOG_BYTES_MIN, Output, Status,
};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput, Stored};

/// A server that lets the version leap as far as it goes.
#[test]
fn a_version_stops_at_its_highest() {
    let mut fresh = Replica::new(None, &mut Random::new([1; 16]));
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
    let welcome = Welcome {
        session: 1,
        household: Some(household()),
        epoch: Some(EpochId(1)),
        server_time: UnixMillis(TODAY_MS),
        taken: None,
        voids: Vec::new(),
    };
    assert!(fresh.welcome(now, 0, &welcome).is_ok());
    fresh.snapshot(1, Household::default());
    let mut nothing = Writer::new();
    nothing.bytes(&[]);
    assert!(fresh.difference(u64::MAX, nothing.as_slice()).is_ok());
    assert_eq!(fresh.base_version(), Some(u64::MAX));
}

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

/// A room in which [`AUTHOR`] and another replica say hello; the other one owes an offer.
struct Offered {
    room: Room,
    now: UnixMillis,
    up: Context,
    number: FrameNumber,
}

impl Offered {
    fn new() -> Self {
        let room = Room::create(household(), EpochId(1));
        let now = UnixMillis(stamp(0).millis().0 + 1_000);
        let up = Context::starting(now);
        let mut this = Self { room, now, up, number: FrameNumber::FIRST };
        this.enter(1, hello(AUTHOR, 1));
        this.enter(2, Hello { owes_offer: true, ..hello(ReplicaId(2), 1) });
        this
    }

    fn enter(&mut self, connection: u64, hello: Hello) -> Vec<RoomOutput> {
        let connection = ConnectionId(connection);
        self.room.handle(self.now, RoomInput::Hello { connection, hello, may_write: true })
    }

    /// The author comes back on a new connection; what the server says that it took.
    fn taken(&mut self, connection: u64) -> Option<Taken> {
        let epoch = Some(EpochId(1).mark());
        let hello = Hello { epoch, acked: Some(1), ..hello(AUTHOR, connection) };
        (self.up, self.number) = (Context::starting(self.now), FrameNumber::FIRST);
        self.enter(connection, hello).iter().find_map(|output| match output {
            RoomOutput::Send(_, frame) => match ServerFrame::decode(frame) {
                Ok(ServerFrame::Welcome(welcome)) => welcome.taken,
                _ => None,
            },
            _ => None,
        })
    }

    fn delta(&mut self, connection: u64, delta: &Delta) -> Vec<RoomOutput> {
        let bytes = ClientFrame::delta(self.number.advance(), delta, &mut self.up, &mut |_| None);
        let connection = ConnectionId(connection);
        self.room.handle(self.now, RoomInput::Frame { connection, bytes })
    }

    fn offer(&mut self, connection: u64, state: &Household) -> Vec<RoomOutput> {
        let bytes = ClientFrame::offer(FrameNumber::FIRST, std::slice::from_ref(state));
        let connection = ConnectionId(connection);
        self.room.handle(self.now, RoomInput::Frame { connection, bytes })
    }
}

/// What raised a replica's stamp is not in the digest that the server had; comparing it would take the
/// storage for a copy.
#[test]
fn an_offer_makes_digests_unknown_that_it_outdates() {
    let mut home = Offered::new();
    home.delta(1, &one(added(1, "film")));
    let mut state = home.room.household().clone();
    state.merge(&one(added(2, "other")));
    home.offer(2, &state);
    assert_eq!(home.taken(3), Some(Taken { through: stamp(2), digest: 0 }));
    home.delta(3, &one(added(3, "third")));
    let taken = home.taken(4);
    assert_eq!(taken, Some(Taken { through: stamp(3), digest: 0 }), "nor does it go on from there");
}

/// What an offer brought is in no history: who was here before gets the whole state.
#[test]
fn an_offer_ends_what_can_be_told_by_the_history() {
    let mut home = Offered::new();
    home.delta(1, &one(added(1, "film")));
    let mut state = home.room.household().clone();
    state.merge(&one(added(2, "other")));
    home.enter(5, hello(ReplicaId(5), 1));
    let outputs = home.offer(5, &state);
    let malformed = RoomOutput::Close(ConnectionId(5), CloseCode::Malformed);
    assert_eq!(outputs, [malformed], "one that is not owed");
    home.offer(2, &state);
    assert_eq!(home.room.version(), 2);
    let epoch = Some(EpochId(1).mark());
    let answer = home.enter(9, Hello { epoch, cursor: Some(1), ..hello(ReplicaId(9), 1) });
    let whole = answer.iter().any(|output| match output {
        RoomOutput::Send(_, frame) => {
            matches!(ServerFrame::decode(frame), Ok(ServerFrame::Snapshot(..)))
        }
        _ => false,
    });
    assert!(whole, "{answer:?}");
}

#[test]
fn who_may_only_read_offers_nothing() {
    let mut home = Offered::new();
    let mut state = Household::default();
    state.merge(&one(added(2, "other")));
    let connection = ConnectionId(5);
    let hello = Hello { owes_offer: true, ..hello(ReplicaId(5), 1) };
    home.room.handle(home.now, RoomInput::Hello { connection, hello, may_write: false });
    home.offer(5, &state);
    assert_eq!((home.room.version(), home.room.household()), (0, &Household::default()));
}

/// One that said hello before an offer filled the household up; with it no state could be loaded.
#[test]
fn a_household_full_of_replicas_takes_no_other_ones_operation() {
    let mut home = Offered::new();
    let full = |first: u64| {
        let mut state = Household::default();
        for id in first..first + REPLICAS_MAX as u64 {
            let through = stamp(1);
            state.merge(&Delta { replica: ReplicaId(id), through, operations: Vec::new() });
        }
        state
    };
    home.enter(5, Hello { owes_offer: true, ..hello(ReplicaId(5), 1) });
    home.offer(2, &full(1_000));
    assert_eq!(home.room.household().seen().len(), REPLICAS_MAX);
    home.offer(5, &full(5_000));
    assert_eq!(home.room.household().seen().len(), REPLICAS_MAX, "nor a joined state beyond");
    let outputs = home.delta(1, &one(added(2, "film")));
    assert_eq!(outputs, [RoomOutput::Close(ConnectionId(1), CloseCode::Overloaded)]);
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

#[test]
fn a_frame_may_be_as_long_as_its_limit() {
    let Hello { replica, .. } = hello(AUTHOR, 1);
    let delta = Delta { replica, ..one(added(1, "film")) };
    let mut context = Context::starting(UnixMillis(0));
    let mut frame = ClientFrame::delta(FrameNumber::FIRST, &delta, &mut context, &mut |_| None);
    frame.resize(FRAME_BYTES_MAX, 0);
    assert!(matches!(ClientFrame::decode(&frame), Ok(ClientFrame::Delta(..))));
    frame.push(0);
    assert_eq!(ClientFrame::decode(&frame), Err(DecodeError::limit("FRAME_BYTES_MAX")));
}

/// The row of a replica that was acknowledged is gone: this is not the database that it knows.
#[test]
fn a_replica_that_the_server_forgot_takes_a_new_id() {
    let mut room = Room::create(household(), EpochId(1));
    let connection = ConnectionId(1);
    let hello = Hello { epoch: Some(EpochId(1).mark()), acked: Some(1), ..hello(AUTHOR, 2) };
    let now = stamp(0).millis();
    let outputs = room.handle(now, RoomInput::Hello { connection, hello, may_write: true });
    assert_eq!(outputs, [RoomOutput::Close(connection, CloseCode::StaleSession)]);
}

/// A difference that leaves out how far its authors were seen.
#[test]
fn a_difference_brings_nothing_that_was_not_seen() {
    let device = DeviceId::new("kitchen").expect("short text");
    let record = Change::Device(device.clone(), Some(DeviceRecord::default()));
    let add = Change::Add(title("film"), Vec::new());
    let keys = [Key::Watchlist(SHELF, title("film")), Key::Device(device)];
    for (change, key) in [add, record].into_iter().zip(keys) {
        let mut here = Household::default();
        for (replica, through) in [(AUTHOR, stamp(1)), (ReplicaId(4), stamp(100))] {
            here.merge(&Delta { replica, through, operations: Vec::new() });
        }
        let mut there = here.clone();
        there.merge(&one(Operation { timestamp: stamp(5), profile: SHELF, change }));
        let mut writer = Writer::new();
        there.encode_difference(&mut writer, &[(key, Touch::New)].into_iter().collect());
        let applied = here.apply_difference(&mut Reader::new(writer.as_slice()));
        assert_eq!(applied, Err(DecodeError::invalid("dot that was not seen")));
    }
}
