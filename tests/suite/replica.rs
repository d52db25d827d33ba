//! One device's copy: how it stamps, what of it leaves and in which order, what it owes and stores.

use crate::hard_cases::remove;
use crate::home::{Home, TODAY_MS, Tv, ack_lost, add, play, title};
use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Reader, Writer, checksum};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::{ENTRIES_MAX, Household};
use omega_sync_core::id::{ContentId, DeviceId, EpochId, ProfileId, Random, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, FrameNumber, OFFER_STATES_MAX, Taken, Welcome, read_delta, read_offer,
};
use omega_sync_core::operation::{
    Change, DeviceRecord, Intent, OBSERVED_MAX, Operation, PlayState, Progress, VoidReason,
};
use omega_sync_core::outbox::{List, Outbox, Pending};
use omega_sync_core::replica::{Mismatch, Now, REJECTED_MAX, Replica};
use omega_sync_core::session::client::{Input, Status};

/// An image whose operations wait in another order than they were made in.
#[test]
fn waiting_operations_are_stored_in_their_order() {
    let mut random = Random::new([1; 16]);
    let mut replica = Replica::new(None, &mut random);
    let now = Now { unix: UnixMillis(TODAY_MS), steady_ms: 0 };
    let mut records = vec![replica.image()];
    for name in ["tmdb:1", "tmdb:2"] {
        let done = replica.operate(now, Intent::Add(ProfileId::DEFAULT, title(name)), |_| false);
        let (record, _) = done.expect("it exists").expect("it is new");
        records.push(record);
    }
    let load = |records: &[Vec<u8>]| {
        let mut random = Random::new([2; 16]);
        Replica::load(records, None, &mut random).expect("our version").damage
    };
    assert_eq!(load(&records), None);
    records.swap(1, 2);
    assert_eq!(load(&records), Some(DecodeError::invalid("order of operations")));
    records[1] = records[2].clone();
    assert_eq!(load(&records), Some(DecodeError::invalid("order of operations")));
}

#[test]
fn a_remove_behind_a_refused_add_removes_what_its_viewer_saw() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    assert!(home.listed("film"));
    // Added again while the token only reads; the answer does not arrive.
    tv.may_write = false;
    home.connect(&mut tv);
    tv.held = Some(Vec::new());
    home.operate(&mut tv, add("film"));
    home.operate(&mut tv, remove("film"));
    let held = tv.held.take().expect("held");
    home.deliver(&mut tv, held.into_iter().next().expect("the add"));
    tv.inbox.clear();
    tv.may_write = true;
    home.refresh(&mut tv);
    assert!(!tv.client.replica().is_listed(SHELF, &title("film")));
    assert!(!home.listed("film"), "its viewer removed it");
}

pub const SHELF: ProfileId = ProfileId::DEFAULT;

pub const AUTHOR: ReplicaId = ReplicaId(1);

pub fn stamp(number: u64) -> Timestamp {
    Timestamp::new(UnixMillis(1_800_000_000_000 + number), 0)
}

fn dots(replica: u64) -> Vec<Dot> {
    let dot = |number| Dot { timestamp: stamp(number), replica: ReplicaId(replica) };
    (0..OBSERVED_MAX as u64).map(dot).collect()
}

pub fn pending(number: u64, change: Change) -> Pending {
    Pending {
        operation: Operation { timestamp: stamp(number), profile: SHELF, change },
        floor: Timestamp::ZERO,
        wall: UnixMillis(0),
        steady_ms: None,
    }
}

fn replica() -> (Replica, Random) {
    let mut random = Random::new([1; 16]);
    (Replica::new(None, &mut random), random)
}

/// A server in that life says that it took so much.
fn welcome(epoch: u64, taken: Taken) -> Welcome {
    Welcome {
        session: 0,
        household: None,
        epoch: Some(EpochId(epoch)),
        server_time: stamp(0).millis(),
        taken: Some(taken),
        voids: Vec::new(),
    }
}

fn now() -> Now {
    Now { unix: stamp(0).millis(), steady_ms: 0 }
}

pub fn one(operation: Operation) -> Delta {
    Delta { replica: AUTHOR, through: operation.timestamp, operations: vec![operation] }
}

/// The server has answered a TV's hello, and the TV has read the welcome and nothing behind it.
fn welcomed(home: &mut Home, tv: &mut Tv) {
    tv.held = Some(Vec::new());
    home.connect(tv);
    for frame in tv.held.replace(Vec::new()).unwrap_or_default() {
        home.deliver(tv, frame);
    }
    let welcome = tv.inbox.pop_front().expect("answered").expect("a frame");
    let outputs = tv.client.handle(home.now(tv), Input::Frame(&welcome));
    home.carry_out(tv, outputs);
    assert_eq!(tv.client.status(), Status::Syncing);
}

/// A stamp at or below a refused one would count as answered, and never leave.
#[test]
fn what_is_done_after_a_refusal_is_stamped_after_it() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    let kids = ProfileId(7);
    home.refresh(&mut other);
    home.operate(&mut other, Intent::NameProfile(kids, "Kids".into()));
    home.refresh(&mut tv);
    home.refresh(&mut other);
    home.operate(&mut other, Intent::DeleteProfile(kids));
    // The clock is four minutes ahead for a while, which the server still takes.
    tv.skew_ms = 240_000;
    ack_lost(&mut home, &mut tv, Intent::Add(kids, title("film")));
    tv.skew_ms = 0;
    welcomed(&mut home, &mut tv);
    assert_eq!(tv.client.replica().rejected().len(), 1);
    home.operate(&mut tv, play("film", 20));
    for frame in tv.held.take().expect("held") {
        home.deliver(&mut tv, frame);
    }
    home.input(&mut tv, Input::Woke);
    assert!(tv.client.replica().outbox().is_empty());
    assert_eq!(home.position_s("film"), Some(20));
}

/// The handshake found it taken; then the storage turns out to be a copy, before the state came.
#[test]
fn what_was_taken_is_not_sent_again_under_a_new_id() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut tv);
    ack_lost(&mut home, &mut tv, add("film"));
    welcomed(&mut home, &mut tv);
    assert_eq!(tv.held.as_deref(), Some(&[][..]), "nor under its old one");
    home.input(&mut tv, Input::Offline);
    (tv.held, tv.inbox) = (None, Default::default());
    home.refresh(&mut other);
    home.operate(&mut other, Intent::Remove(SHELF, title("film")));
    let mut copy = home.tv_from(tv.disk.clone(), 9, 0);
    home.refresh(&mut copy);
    let id = tv.client.replica().id();
    home.connect(&mut tv);
    home.retry(&mut tv);
    assert_ne!(tv.client.replica().id(), id);
    assert!(!home.listed("film"), "it was added once, and removed");
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

#[test]
fn what_never_left_and_was_taken_back_is_not_sent() {
    let mut outbox = Outbox::default();
    outbox.push(AUTHOR, pending(1, Change::Add(title("film"), Vec::new())));
    let own = Dot { timestamp: stamp(1), replica: AUTHOR };
    outbox.push(AUTHOR, pending(2, Change::Remove(title("film"), vec![own])));
    assert!(outbox.is_empty());
}

/// More than [`OBSERVED_MAX`] nobody could read.
#[test]
fn what_waits_never_observes_more_than_one_operation_can() {
    let mut outbox = Outbox::default();
    outbox.push(AUTHOR, pending(1, Change::Add(title("film"), dots(2))));
    outbox.push(AUTHOR, pending(2, Change::Add(title("film"), dots(3))));
    let observed = |outbox: &Outbox| {
        let waiting = outbox.get(stamp(2)).and_then(Operation::observed);
        waiting.map(<[Dot]>::len)
    };
    assert_eq!(observed(&outbox), Some(OBSERVED_MAX));
    outbox.adopt(AUTHOR, ReplicaId(4));
    assert_eq!(observed(&outbox), Some(OBSERVED_MAX));
    let named = outbox.get(stamp(2)).and_then(Operation::observed).unwrap_or_default();
    assert!(named.contains(&Dot { timestamp: stamp(2), replica: AUTHOR }), "its old self");
}

#[test]
fn an_outbox_forgets_what_is_gone_and_keeps_what_left() {
    let mut outbox = Outbox::default();
    outbox.push(AUTHOR, pending(1, Change::Add(title("film"), Vec::new())));
    outbox.push(AUTHOR, pending(2, Change::Add(title("other"), Vec::new())));
    outbox.mark_sent(stamp(1));
    outbox.mark_sent(stamp(0));
    assert_eq!(outbox.sent_through(), stamp(1));
    assert_eq!(outbox.take(stamp(1)).len(), 1);
    let left: Vec<_> = outbox.titles(SHELF, List::Watchlist).cloned().collect();
    assert_eq!(left, [title("other")]);
}

#[test]
fn a_full_household_lets_a_title_be_added_again() {
    let mut household = Household::default();
    let text = |number| ContentId::new(&format!("tmdb:{number}")).expect("short text");
    for number in 0..ENTRIES_MAX as u64 {
        let change = Change::Add(text(number), Vec::new());
        let operation = Operation { timestamp: stamp(number), profile: SHELF, change };
        household.merge(&one(operation));
    }
    let again = |observed| Operation {
        timestamp: stamp(ENTRIES_MAX as u64),
        profile: SHELF,
        change: Change::Add(text(0), observed),
    };
    assert!(household.check(&again(Vec::new())).is_err(), "one entry more");
    let there = Dot { timestamp: stamp(0), replica: AUTHOR };
    assert_eq!(household.check(&again(vec![there])), Ok(()), "in place of one");
    let mut writer = Writer::new();
    household.encode(&mut writer);
    let read = Household::decode(&mut Reader::new(writer.as_slice()));
    assert_eq!(read.as_ref(), Ok(&household), "and a full one can be read");
}

#[test]
fn nobody_deletes_the_default_profile() {
    let mut household = Household::default();
    let change = Change::DeleteProfile;
    let changed = household.merge(&one(Operation { timestamp: stamp(1), profile: SHELF, change }));
    assert!(changed.is_empty() && !household.is_deleted(SHELF));
    assert!(household.profile(SHELF).is_some());
}

#[test]
fn a_title_counts_as_watched_from_95_percent_on() {
    let at = |position_s| Progress { position_s, duration_s: 1_000, state: PlayState::Paused };
    assert!(at(950).is_completed() && !at(949).is_completed());
    assert_eq!((at(950).resume_s(), at(949).resume_s()), (0, 949));
    assert_eq!(at(5_000).completion_percent(), 100);
}

/// What a server says that it took must fit what this replica knows of its own history.
#[test]
fn only_a_server_that_fits_its_history_is_believed() {
    let (now, (mut replica, _)) = (now(), replica());
    assert!(replica.welcome(now, 0, &welcome(1, Taken::default())).is_ok());
    replica.operate(now, add("film"), |_| true).expect("a valid action");
    replica.acknowledged(replica.outbox().last(), 1, &[]).expect("there is room");
    replica.operate(now, add("other"), |_| true).expect("a valid action");
    let first = replica.acked();
    let waiting = &replica.outbox().iter().next().expect("one waits").operation;
    let both = Taken { through: waiting.timestamp, digest: waiting.digest(first.digest) };
    let says = |taken, epoch| replica.clone().welcome(now, 0, &welcome(epoch, taken)).map(drop);
    for taken in [first, both, Taken { digest: 0, ..both }, Taken { digest: 0, ..first }] {
        assert_eq!(says(taken, 1), Ok(()));
    }
    let unknown = Taken { through: both.through.next(), digest: 0 };
    let others = [first, both].map(|taken| Taken { digest: taken.digest ^ 1, ..taken });
    for taken in [others[0], others[1], Taken::default(), unknown] {
        assert_eq!(says(taken, 1), Err(Mismatch), "{taken:?}");
    }
    assert_eq!(says(Taken::default(), 2), Ok(()), "a backup may know less");
    let mut restored = replica.clone();
    assert!(restored.welcome(now, 0, &welcome(2, Taken::default())).is_ok());
    restored.acknowledged(restored.outbox().last(), 1, &[]).expect("there is room");
    let again = Taken { through: both.through, digest: waiting.digest(0) };
    assert_eq!(restored.acked(), again, "what a backup forgot is in no digest");
}

/// More could not be loaded again.
#[test]
fn so_many_refused_operations_are_kept() {
    let (now, (mut replica, mut random)) = (now(), replica());
    for number in 0..=REJECTED_MAX {
        replica.operate(now, add(&format!("tmdb:{number}")), |_| true).expect("a valid action");
    }
    let waiting = replica.outbox().iter().map(|pending| pending.operation.timestamp);
    let voids: Vec<_> = waiting.map(|stamp| (stamp, VoidReason::HouseholdFull)).collect();
    replica.acknowledged(replica.outbox().last(), 1, &voids).expect("all are refused");
    assert_eq!(replica.rejected().len(), REJECTED_MAX);
    assert_eq!(replica.rejected()[0].operation.timestamp, voids[1].0, "the oldest went");
    let loaded = Replica::load(&[replica.image()], None, &mut random).expect("this version");
    assert_eq!((loaded.damage, loaded.replica.rejected().len()), (None, REJECTED_MAX));
}

/// What is owed of one life and of the next is kept apart: joined it could be too much to be stored.
#[test]
fn what_is_owed_can_be_stored() {
    let (now, (mut replica, mut random)) = (now(), replica());
    let state = |author| {
        let mut household = Household::default();
        for number in 0..ENTRIES_MAX as u64 - 1 {
            let mut random = Random::new([number as u8; 16]);
            let text: String = (0..3).map(|_| format!("{:016x}", random.bits())).collect();
            let content = ContentId::new(&format!("{text}{author}{number:x}")).expect("short text");
            let change = Change::Add(content, Vec::new());
            let operation = Operation { timestamp: stamp(number), profile: SHELF, change };
            household.merge(&Delta { replica: ReplicaId(author), ..one(operation) });
        }
        household
    };
    assert!(replica.welcome(now, 0, &welcome(1, Taken::default())).is_ok());
    replica.snapshot(1, state(2));
    assert!(replica.welcome(now, 0, &welcome(2, Taken::default())).is_ok());
    assert_eq!(replica.owed().len(), 1);
    replica.snapshot(1, state(3));
    assert!(replica.welcome(now, 0, &welcome(3, Taken::default())).is_ok());
    let loaded = Replica::load(&[replica.image()], None, &mut random).expect("this version");
    assert_eq!(loaded.damage, None);
    assert_eq!(loaded.replica.confirmed(), replica.confirmed());
    assert_eq!(loaded.replica.owed(), [state(2), state(3)]);
    // A frame does not hold many of them: the later ones go.
    let many: Vec<_> = (0..OFFER_STATES_MAX).map(|life| state(life as u64 + 1)).collect();
    let frame = ClientFrame::offer(FrameNumber::FIRST, &many);
    let Ok(ClientFrame::Offer(_, body)) = ClientFrame::decode(&frame) else { panic!("no offer") };
    let offered = read_offer(&body).expect("it was just written");
    assert!(offered.len() < many.len() && offered.iter().eq(many.iter().rev().take(offered.len())));
}

/// A life of which nothing came adds nothing to what is owed, and the oldest of too many is forgotten.
#[test]
fn so_many_lives_are_owed() {
    let (now, (mut replica, _)) = (now(), replica());
    let mut state = Household::default();
    for life in 1..=OFFER_STATES_MAX as u64 + 2 {
        assert!(replica.welcome(now, 0, &welcome(2 * life, Taken::default())).is_ok());
        state.cover(ReplicaId(life), stamp(life));
        replica.snapshot(1, state.clone());
        assert!(replica.welcome(now, 0, &welcome(2 * life + 1, Taken::default())).is_ok());
        assert!(replica.owed().len() <= OFFER_STATES_MAX);
        assert_eq!(replica.owed().last(), Some(&state));
    }
    let firsts: Vec<usize> = replica.owed().iter().map(|state| state.seen().len()).collect();
    assert_eq!(firsts, (3..).take(OFFER_STATES_MAX).collect::<Vec<_>>());
}

/// A version of an earlier life is none.
#[test]
fn a_difference_has_a_base_in_its_own_epoch_only() {
    let (mut replica, _) = replica();
    assert!(replica.welcome(now(), 0, &welcome(1, Taken::default())).is_ok());
    replica.snapshot(7, Household::default());
    assert_eq!(replica.base_version(), Some(7));
    assert!(replica.welcome(now(), 0, &welcome(2, Taken::default())).is_ok());
    assert_eq!(replica.base_version(), None);
    replica.snapshot(3, Household::default());
    assert_eq!(replica.base_version(), Some(3));
}

/// A handshake found an operation taken; before its state came, a backup took the server's place.
#[test]
fn what_an_earlier_life_took_is_sent_to_the_next() {
    let (mut replica, _) = replica();
    assert!(replica.welcome(now(), 0, &welcome(1, Taken::default())).is_ok());
    replica.operate(now(), add("film"), |_| true).expect("a valid action");
    let taken = Taken { through: replica.outbox().last(), digest: 0 };
    assert!(replica.welcome(now(), 0, &welcome(1, taken)).is_ok());
    assert_eq!(replica.outbox().len(), 1, "its state is still to come");
    assert!(replica.welcome(now(), 0, &welcome(2, Taken::default())).is_ok());
    let waiting: Vec<_> = replica.outbox().above(replica.acked().through).collect();
    assert_eq!(waiting.len(), 1, "it goes again, under its name");
    assert_eq!(waiting[0].timestamp, taken.through);
}

/// The clock was ahead when the earlier life took something; what waits must not fall behind that.
#[test]
fn what_waits_stays_above_what_an_earlier_life_took() {
    let (mut replica, _) = replica();
    assert!(replica.welcome(now(), 0, &welcome(1, Taken::default())).is_ok());
    let ahead = Now { unix: UnixMillis(stamp(0).millis().0 + 240_000), steady_ms: 0 };
    replica.operate(ahead, add("film"), |_| true).expect("a valid action");
    let first = replica.outbox().last();
    replica.operate(ahead, add("other"), |_| false).expect("a valid action");
    replica.acknowledged(first, 1, &[]).expect("there is room");
    assert!(replica.welcome(now(), 0, &welcome(2, Taken::default())).is_ok());
    assert!(replica.outbox().last() > first);
}

#[test]
fn an_image_with_flags_that_nobody_knows_is_damage() {
    let (replica, mut random) = replica();
    let mut image = replica.image();
    // Version, tag, id, an empty household, flags.
    const FLAGS: usize = 1 + 1 + 8 + 1;
    image[FLAGS] |= 8;
    let end = image.len() - 4;
    let sum = checksum(&image[..end]).to_le_bytes();
    image[end..].copy_from_slice(&sum);
    let loaded = Replica::load(&[image], None, &mut random).expect("this version");
    assert_eq!(loaded.damage, Some(DecodeError::invalid("image flags")));
}

#[test]
fn an_add_observes_as_much_as_one_operation_can() {
    let mut state = Household::default();
    for author in 2..2 + OBSERVED_MAX as u64 {
        let change = Change::Add(title("film"), Vec::new());
        let operation = Operation { timestamp: stamp(author), profile: SHELF, change };
        state.merge(&Delta { replica: ReplicaId(author), ..one(operation) });
    }
    let (mut replica, _) = replica();
    replica.snapshot(1, state);
    for _ in 0..2 {
        replica.operate(now(), add("film"), |_| true).expect("a valid action");
        let last = replica.outbox().get(replica.outbox().last()).expect("it waits");
        assert_eq!(last.observed().map(<[Dot]>::len), Some(OBSERVED_MAX));
    }
}

/// A name that waits for the server does not bring a profile back that somebody else deleted.
#[test]
fn a_deleted_profile_is_not_shown_by_a_waiting_name() {
    let profile = ProfileId(7);
    let (mut replica, _) = replica();
    let name = Intent::NameProfile(profile, "mine".into());
    replica.operate(now(), name, |_| true).expect("a valid action");
    assert!(replica.profiles().contains_key(&profile));
    let mut state = Household::default();
    let change = Change::DeleteProfile;
    state.merge(&one(Operation { timestamp: stamp(9), profile, change }));
    replica.snapshot(1, state);
    assert!(!replica.profiles().contains_key(&profile) && !replica.has_profile(profile));
}

#[test]
fn each_device_has_its_own_record() {
    let (mut replica, _) = replica();
    let device = |name: &str| DeviceId::new(name).expect("short text");
    let record = |name: &str| DeviceRecord { name: name.into(), ..DeviceRecord::default() };
    for name in ["kitchen", "attic"] {
        let intent = Intent::DescribeDevice(device(name), Some(record(name)));
        replica.operate(now(), intent, |_| true).expect("a valid action");
    }
    for name in ["kitchen", "attic"] {
        assert_eq!(replica.device(&device(name)), Some(&record(name)));
    }
}

/// Milliseconds have 48 bits; one more would begin again at 1970.
#[test]
fn no_gap_leads_past_the_last_stamp() {
    // The deletion of a profile, a gap of four bytes after the last stamp.
    let body = [0x80 | 4 | 2 << 3, 0, 0, 0, 1];
    let read = |last: u64| {
        let mut context = Context::starting(UnixMillis(last));
        read_delta(&body, &mut context, AUTHOR, &|_, _, _| None).map(|delta| delta.through.millis())
    };
    let end = 1 << 48;
    assert_eq!(read(end - (1 << 24) - 1), Ok(UnixMillis(end - 1)));
    assert_eq!(read(end - (1 << 24)), Err(DecodeError::invalid("stamp")));
}

#[test]
fn what_is_so_already_makes_no_operation() {
    let (mut replica, _) = replica();
    let device = DeviceId::new("kitchen").expect("short text");
    let describe = || Intent::DescribeDevice(device.clone(), Some(DeviceRecord::default()));
    let clear = || Intent::Progress(SHELF, title("film"), None);
    let remove = || Intent::Remove(SHELF, title("film"));
    assert!(replica.operate(now(), describe(), |_| true).is_ok_and(|done| done.is_some()));
    for intent in [describe(), clear(), remove()] {
        assert!(replica.operate(now(), intent, |_| true).is_ok_and(|done| done.is_none()));
    }
    assert_eq!(replica.outbox().len(), 1);
}

#[test]
fn a_varint_has_edges_at_seven_bits_each() {
    for value in (0..64).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits]).chain([u64::MAX]) {
        let mut writer = Writer::new();
        writer.varint(value);
        assert_eq!(Reader::new(writer.as_slice()).varint(), Ok(value));
    }
}
