//! The rules of the handshake, and bad input, one by one.

use omega_sync_core::clock::{DRIFT_MAX_MS, UnixMillis};
use omega_sync_core::household::{Intent, PlayState, Progress, VoidReason};
use omega_sync_core::id::{ContentId, EpochId, HouseholdId, ProfileId};
use omega_sync_core::message::{ClientFrame, CloseCode};
use omega_sync_core::replica::{Now, OperationError};
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::collections::VecDeque;

const TODAY_MS: u64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// A room and TVs on a perfect network; time stands still unless a test moves it.
struct Home {
    room: Room,
    time_ms: u64,
    next_connection: u64,
}

struct Tv {
    client: Client,
    skew_ms: i64,
    disk: Vec<Vec<u8>>,
    connection: ConnectionId,
    /// Frames to the server that the test holds back.
    held: Option<Vec<Vec<u8>>>,
    may_write: bool,
    /// What the server sent and the TV has not handled.
    inbox: VecDeque<Result<Vec<u8>, CloseCode>>,
}

fn household() -> HouseholdId {
    HouseholdId::new("home").expect("short text")
}

fn title(name: &str) -> ContentId {
    ContentId::new(name).expect("short text")
}

fn add(name: &str) -> Intent {
    Intent::Add(ProfileId::DEFAULT, title(name))
}

fn play(name: &str, position_s: u32) -> Intent {
    let progress = Progress { position_s, duration_s: 7_200, state: PlayState::Playing };
    Intent::Progress(ProfileId::DEFAULT, title(name), Some(progress))
}

impl Home {
    fn new() -> Self {
        let room = Room::create(household(), EpochId(1));
        Self { room, time_ms: TODAY_MS, next_connection: 0 }
    }

    fn tv(&mut self, seed: u8, skew_ms: i64) -> Tv {
        self.tv_from(Vec::new(), seed, skew_ms)
    }

    fn tv_from(&mut self, disk: Vec<Vec<u8>>, seed: u8, skew_ms: i64) -> Tv {
        let opened = Client::load(&disk, None, [seed; 16]).expect("readable");
        let mut tv = Tv {
            client: opened.client,
            skew_ms,
            disk,
            connection: ConnectionId(u64::MAX),
            held: None,
            may_write: true,
            inbox: VecDeque::new(),
        };
        self.carry_out(&mut tv, opened.outputs);
        tv
    }

    fn now(&self, tv: &Tv) -> Now {
        Now {
            unix: UnixMillis(self.time_ms.saturating_add_signed(tv.skew_ms)),
            steady_ms: self.time_ms - TODAY_MS,
        }
    }

    fn connect(&mut self, tv: &mut Tv) {
        self.input(tv, Input::Online);
    }

    fn input(&mut self, tv: &mut Tv, input: Input) {
        let outputs = tv.client.handle(self.now(tv), input);
        self.carry_out(tv, outputs);
        while let Some(message) = tv.inbox.pop_front() {
            let input = match &message {
                Ok(frame) => Input::Frame(frame),
                Err(code) => Input::Closed(code.code()),
            };
            let outputs = tv.client.handle(self.now(tv), input);
            self.carry_out(tv, outputs);
        }
    }

    fn operate(&mut self, tv: &mut Tv, intent: Intent) {
        let outputs = tv.client.operate(self.now(tv), intent).expect("a valid action");
        self.carry_out(tv, outputs);
        self.input(tv, Input::Woke);
    }

    fn carry_out(&mut self, tv: &mut Tv, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Append(record) => tv.disk.push(record),
                Output::Replace(image) => tv.disk = vec![image],
                Output::Send(frame) => match &mut tv.held {
                    Some(held) => held.push(frame),
                    None => self.deliver(tv, frame),
                },
                Output::Connect => {
                    self.next_connection += 1;
                    tv.connection = ConnectionId(self.next_connection);
                    let outputs = tv.client.handle(self.now(tv), Input::Opened(String::new()));
                    self.carry_out(tv, outputs);
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, tv: &mut Tv, frame: Vec<u8>) {
        let connection = tv.connection;
        let input = match ClientFrame::decode(&frame) {
            Ok(ClientFrame::Hello(hello)) => {
                RoomInput::Hello { connection, hello, may_write: tv.may_write }
            }
            _ => RoomInput::Frame { connection, bytes: frame },
        };
        for output in self.room.handle(UnixMillis(self.time_ms), input) {
            match output {
                RoomOutput::Send(to, frame) if to == connection => tv.inbox.push_back(Ok(frame)),
                RoomOutput::Close(to, code) if to == connection => tv.inbox.push_back(Err(code)),
                _ => {}
            }
        }
    }

    /// Lets a TV hear what happened meanwhile: it comes back on a new connection.
    fn refresh(&mut self, tv: &mut Tv) {
        self.connect(tv);
        assert_eq!(tv.client.status(), Status::Live);
        assert!(tv.client.replica().outbox().is_empty());
    }

    /// Waits until the TV tries again.
    fn retry(&mut self, tv: &mut Tv) {
        self.time_ms += 61_000;
        self.input(tv, Input::Woke);
    }

    fn listed(&self, name: &str) -> bool {
        let shelf = self.room.household().profile(ProfileId::DEFAULT).expect("always there");
        !shelf.watchlist().dots(&title(name)).is_empty()
    }

    fn position_s(&self, name: &str) -> Option<u32> {
        let shelf = self.room.household().profile(ProfileId::DEFAULT).expect("always there");
        shelf.progress().get(&title(name)).and_then(|r| r.value).map(|p| p.position_s)
    }
}

#[test]
fn a_lost_ack_neither_loses_nor_doubles() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    // The server takes the delta, but the TV loses power before the ack.
    let before = tv.client.replica().acked();
    tv.held = Some(Vec::new());
    home.operate(&mut tv, play("film", 10));
    let held = tv.held.take().expect("held");
    let connection = tv.connection;
    for bytes in held {
        home.room.handle(UnixMillis(home.time_ms), RoomInput::Frame { connection, bytes });
    }
    let mut again = home.tv_from(tv.disk.clone(), 2, 0);
    assert_eq!(again.client.replica().acked(), before);
    let version = home.room.version();
    home.refresh(&mut again);
    assert_eq!(home.room.version(), version, "nothing was sent twice");
    assert_eq!(home.position_s("film"), Some(10));
    assert_eq!(again.client.replica().id(), tv.client.replica().id());
}

#[test]
fn a_clock_a_day_ahead_does_not_win() {
    let mut home = Home::new();
    let mut wrong = home.tv(1, DAY_MS);
    let mut right = home.tv(2, 0);
    home.operate(&mut wrong, play("film", 10));
    home.time_ms += 5_000;
    home.refresh(&mut right);
    home.operate(&mut right, play("film", 20));
    home.time_ms += 1_000;
    home.refresh(&mut wrong);
    assert_eq!(home.position_s("film"), Some(20), "the later viewer wins");
    home.operate(&mut wrong, play("film", 30));
    assert_eq!(home.position_s("film"), Some(30), "and the corrected clock is not behind");
}

#[test]
fn a_clock_at_1970_loses_nothing() {
    let mut home = Home::new();
    let mut right = home.tv(2, 0);
    home.refresh(&mut right);
    home.operate(&mut right, play("film", 10));
    let mut wrong = home.tv(1, -(TODAY_MS as i64));
    home.refresh(&mut wrong);
    home.input(&mut wrong, Input::Offline);
    home.time_ms += 5_000;
    home.operate(&mut wrong, play("film", 20));
    home.refresh(&mut wrong);
    assert_eq!(home.position_s("film"), Some(20));
}

#[test]
fn a_clock_that_jumps_ahead_while_connected_is_measured_again() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    tv.skew_ms = DAY_MS;
    home.operate(&mut tv, play("film", 10));
    assert_eq!(home.position_s("film"), None);
    assert_eq!(tv.client.close_code(), Some(CloseCode::Drift));
    home.retry(&mut tv);
    assert_eq!(home.position_s("film"), Some(10));
    assert_eq!(tv.client.status(), Status::Live);
    assert!(tv.client.replica().rejected().is_empty());
    let top = home.room.household().seen().iter().map(|(_, stamp)| stamp.millis().0).max();
    assert!(top.is_some_and(|top| top <= home.time_ms + DRIFT_MAX_MS));
}

#[test]
fn a_cloned_disk_becomes_another_replica() {
    let mut home = Home::new();
    let mut original = home.tv(1, 0);
    home.refresh(&mut original);
    home.operate(&mut original, add("before"));
    let mut copy = home.tv_from(original.disk.clone(), 9, 0);
    home.operate(&mut original, add("from the original"));
    home.operate(&mut copy, add("from the copy"));
    home.connect(&mut copy);
    home.retry(&mut copy);
    assert_ne!(copy.client.replica().id(), original.client.replica().id());
    // The copy used up the original's next session number, so the original moves on as well.
    home.connect(&mut original);
    home.retry(&mut original);
    assert_eq!(original.client.status(), Status::Live);
    for name in ["before", "from the original", "from the copy"] {
        assert!(home.listed(name), "{name}");
        assert!(original.client.replica().is_listed(ProfileId::DEFAULT, &title(name)), "{name}");
    }
}

#[test]
fn a_disk_rolled_back_to_yesterday_loses_nothing() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let yesterday = tv.disk.clone();
    home.operate(&mut tv, add("today"));
    home.operate(&mut tv, play("film", 30));
    let mut back = home.tv_from(yesterday, 5, 0);
    home.operate(&mut back, add("after the rollback"));
    home.connect(&mut back);
    home.retry(&mut back);
    assert_eq!(back.client.status(), Status::Live);
    for name in ["today", "after the rollback"] {
        assert!(back.client.replica().is_listed(ProfileId::DEFAULT, &title(name)), "{name}");
    }
    assert_eq!(home.position_s("film"), Some(30));
}

#[test]
fn a_restored_server_gets_back_what_devices_confirmed() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let mut other = home.tv(2, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("kept"));
    home.refresh(&mut other);
    // The backup is older than everything: an empty database of a new epoch.
    home.room = Room::create(household(), EpochId(2));
    home.operate(&mut tv, add("made meanwhile"));
    home.refresh(&mut tv);
    home.refresh(&mut other);
    assert!(home.listed("kept") && home.listed("made meanwhile"));
    assert!(!tv.client.replica().owes_offer() && !other.client.replica().owes_offer());
    assert_eq!(tv.client.replica().confirmed(), other.client.replica().confirmed());
}

#[test]
fn writes_to_a_deleted_profile_are_voided_and_told() {
    let mut home = Home::new();
    let (mut a, mut b) = (home.tv(1, 0), home.tv(2, 0));
    let kids = ProfileId(77);
    home.refresh(&mut a);
    home.operate(&mut a, Intent::NameProfile(kids, "Kids".into()));
    home.refresh(&mut b);
    home.input(&mut b, Input::Offline);
    home.operate(&mut b, Intent::Add(kids, title("film")));
    home.refresh(&mut a);
    home.operate(&mut a, Intent::DeleteProfile(kids));
    home.refresh(&mut b);
    let rejected = b.client.replica().rejected();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, VoidReason::ProfileDeleted);
    assert!(!b.client.replica().has_profile(kids));
    let now = home.now(&b);
    let again = b.client.operate(now, Intent::Add(kids, title("film")));
    assert_eq!(again, Err(OperationError::UnknownProfile));
    let reloaded = home.tv_from(b.disk.clone(), 3, 0);
    assert_eq!(reloaded.client.replica().rejected().len(), 1, "kept until the app takes it");
}

#[test]
fn a_token_that_may_only_read_changes_nothing() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    tv.may_write = false;
    home.operate(&mut tv, add("film"));
    home.refresh(&mut tv);
    assert!(!home.listed("film"));
    assert_eq!(tv.client.replica().rejected()[0].reason, VoidReason::Forbidden);
    assert!(!tv.client.replica().is_listed(ProfileId::DEFAULT, &title("film")));
}

#[test]
fn another_household_is_refused_for_good_and_data_stays() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    home.room = Room::create(HouseholdId::new("neighbours").expect("short text"), EpochId(3));
    home.connect(&mut tv);
    assert_eq!(tv.client.status(), Status::Stopped);
    assert_eq!(tv.client.close_code(), Some(CloseCode::HouseholdMismatch));
    assert!(tv.client.replica().is_listed(ProfileId::DEFAULT, &title("film")));
    assert_eq!(home.room.version(), 0);
}

#[test]
fn garbage_closes_one_connection_and_changes_nothing() {
    let mut home = Home::new();
    let (mut a, mut b) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut a);
    home.refresh(&mut b);
    home.operate(&mut a, add("film"));
    let (version, frames) =
        (home.room.version(), [&[][..], &[1], &[1, 99], &[1, 2, 1, 0xff], &[3, 2]]);
    for frame in frames {
        home.refresh(&mut b);
        let connection = b.connection;
        let input = RoomInput::Frame { connection, bytes: frame.to_vec() };
        let outputs = home.room.handle(UnixMillis(home.time_ms), input);
        let code =
            if frame == [3, 2] { CloseCode::VersionUnsupported } else { CloseCode::Malformed };
        assert_eq!(outputs, [RoomOutput::Close(connection, code)], "{frame:?}");
    }
    assert_eq!(home.room.version(), version);
    home.operate(&mut a, add("another"));
    assert!(home.listed("another"));
}

#[test]
fn damaged_storage_keeps_what_can_be_read() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("at the server"));
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, add("only here"));
    home.operate(&mut tv, add("in the damaged record"));
    let mut disk = tv.disk.clone();
    let last = disk.last_mut().expect("a record");
    last[3] ^= 0x40;
    let opened = Client::load(&disk, None, [8; 16]).expect("readable");
    assert!(opened.damage.is_some());
    let mut again = home.tv_from(disk, 8, 0);
    assert_ne!(again.client.replica().id(), tv.client.replica().id());
    home.refresh(&mut again);
    assert!(home.listed("at the server") && home.listed("only here"));
}

#[test]
fn storage_from_a_newer_version_is_refused() {
    let mut home = Home::new();
    let tv = home.tv(1, 0);
    let mut image = tv.disk[0].clone();
    image[0] = 2;
    let end = image.len() - 4;
    let sum = omega_sync_core::codec::checksum(&image[..end]);
    image[end..].copy_from_slice(&sum.to_le_bytes());
    let refused = Client::load(&[image], None, [1; 16]);
    assert!(matches!(refused, Err(omega_sync_core::codec::DecodeError::Version(2))));
}
