//! The stories of `docs/hard-cases.md`, told to the real client and server.

use crate::home::{Home, Tv, ack_lost, add, household, play, title};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::Writer;
use omega_sync_core::household::{History, Household};
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::ClientFrame;
use omega_sync_core::operation::Intent;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{ANSWER_TIMEOUT_MS, Input, Output, Status};
use omega_sync_core::session::server::{Room, RoomInput, RoomOutput, Stored};

const HOUR_MS: u64 = 3_600_000;

pub fn remove(name: &str) -> Intent {
    Intent::Remove(ProfileId::DEFAULT, title(name))
}

/// A server that was put back to an earlier state, with a new epoch.
pub fn restored(backup: &Household, epoch: u64) -> Room {
    let mut writer = Writer::new();
    backup.encode(&mut writer);
    History::new(1).encode(&mut writer);
    let stored = Stored {
        epoch: EpochId(epoch),
        revision: 1,
        version: 1,
        snapshot: writer.finish(),
        snapshot_version: 1,
        log: Vec::new(),
        replicas: Vec::new(),
    };
    Room::load(household(), &stored).expect("a state that the room held")
}

/// A TV connects and the server takes all that waits on it; of the answers it hears only the welcome.
pub fn unheard(home: &mut Home, tv: &mut Tv) {
    let outputs = tv.client.handle(home.now(tv), Input::Online);
    home.carry_out(tv, outputs);
    tv.held = Some(Vec::new());
    reads_one(home, tv);
    let connection = tv.connection;
    for bytes in tv.held.take().expect("held") {
        home.room.handle(UnixMillis(home.time_ms), RoomInput::Frame { connection, bytes });
    }
    tv.inbox.clear();
    home.input(tv, Input::Offline);
}

/// What another TV does while this one listens; what it hears waits in its inbox.
pub fn heard(home: &mut Home, tv: &mut Tv, other: &mut Tv, intent: Intent) {
    other.held = Some(Vec::new());
    home.operate(other, intent);
    let connection = other.connection;
    for bytes in other.held.take().expect("held") {
        let input = RoomInput::Frame { connection, bytes };
        for output in home.room.handle(UnixMillis(home.time_ms), input) {
            match output {
                RoomOutput::Send(to, frame) if to == tv.connection => tv.inbox.push_back(Ok(frame)),
                RoomOutput::Send(to, frame) if to == connection => other.inbox.push_back(Ok(frame)),
                _ => {}
            }
        }
    }
    home.input(other, Input::Woke);
}

/// Reads one frame of those that wait.
pub fn reads_one(home: &mut Home, tv: &mut Tv) {
    let frame = tv.inbox.pop_front().expect("it waits").expect("the connection stays");
    let outputs = tv.client.handle(home.now(tv), Input::Frame(&frame));
    home.carry_out(tv, outputs);
}

/// A TV that fell asleep between its hello and the answer: its wall clock ran on, its steady clock
/// stood still.
struct Sleeper {
    tv: Tv,
    slept_ms: u64,
}

impl Sleeper {
    /// Says hello and sleeps; what the server answers waits in the inbox.
    fn new(home: &mut Home, seed: u8, slept_ms: u64) -> Self {
        let mut sleeper = Self { tv: home.tv(seed, 0), slept_ms: 0 };
        sleeper.says_hello(home);
        home.time_ms += slept_ms;
        sleeper.slept_ms = slept_ms;
        sleeper
    }

    fn says_hello(&mut self, home: &mut Home) {
        let now = self.now(home);
        let outputs = self.tv.client.handle(now, Input::Online);
        assert!(outputs.contains(&Output::Connect));
        home.next_connection += 1;
        self.tv.connection = omega_sync_core::session::server::ConnectionId(home.next_connection);
        for output in self.tv.client.handle(now, Input::Opened(String::new())) {
            if let Output::Send(frame) = output {
                home.deliver(&mut self.tv, frame);
            }
        }
    }

    fn now(&self, home: &Home) -> Now {
        let now = home.now(&self.tv);
        Now { steady_ms: now.steady_ms - self.slept_ms, ..now }
    }

    /// What another TV does while this one sleeps; its update waits in the inbox.
    fn misses(&mut self, home: &mut Home, other: &mut Tv, intent: Intent) {
        other.held = Some(Vec::new());
        home.operate(other, intent);
        let connection = other.connection;
        for bytes in other.held.take().expect("held") {
            let input = RoomInput::Frame { connection, bytes };
            for output in home.room.handle(UnixMillis(home.time_ms), input) {
                match output {
                    RoomOutput::Send(to, frame) if to == self.tv.connection => {
                        self.tv.inbox.push_back(Ok(frame));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Reads everything that waits.
    fn reads(&mut self, home: &mut Home) {
        let now = self.now(home);
        while let Some(Ok(frame)) = self.tv.inbox.pop_front() {
            let outputs = self.tv.client.handle(now, Input::Frame(&frame));
            self.send(home, outputs);
        }
    }

    /// Wakes, reads everything, and does something.
    fn wakes_and(&mut self, home: &mut Home, intent: Intent) {
        self.reads(home);
        let outputs = self.tv.client.operate(self.now(home), intent).expect("a valid action");
        self.send(home, outputs);
        if self.tv.client.status() != Status::Live {
            // Nobody knows how old the answer was: a new hello.
            self.tv.inbox.clear();
            self.says_hello(home);
            self.reads(home);
        }
    }

    fn send(&mut self, home: &mut Home, outputs: Vec<Output>) {
        for output in outputs {
            if let Output::Send(frame) = output {
                assert!(!matches!(ClientFrame::decode(&frame), Ok(ClientFrame::Hello(_))));
                home.deliver(&mut self.tv, frame);
            }
        }
    }
}

/// A clock falls two hours behind while connected. A device that refused to observe stamps so far ahead
/// of it would play below what its viewer saw.
#[test]
fn who_saw_a_stamp_goes_above_it_however_wrong_its_clock() {
    let mut home = Home::new();
    let mut other = home.tv(2, 0);
    home.refresh(&mut other);
    let mut sleeper = Sleeper::new(&mut home, 1, 0);
    sleeper.reads(&mut home);
    sleeper.tv.skew_ms -= 2 * HOUR_MS as i64;
    sleeper.misses(&mut home, &mut other, play("film", 20));
    home.time_ms += 1_000;
    sleeper.wakes_and(&mut home, play("film", 30));
    assert_eq!(home.position_s("film"), Some(30), "the viewer who saw 20 and went on wins");
}

/// A snapshot that no longer knows who made a title can't say that the title was removed. So what a
/// state has seen of a replica stays, however long the replica is gone.
#[test]
fn a_removal_outlives_a_backup_that_has_the_title() {
    let mut home = Home::new();
    let mut author = home.tv(1, 0);
    home.refresh(&mut author);
    home.operate(&mut author, add("film"));
    home.input(&mut author, Input::Offline);
    let backup = home.room.household().clone();
    let mut remover = home.tv(2, 0);
    home.refresh(&mut remover);
    home.operate(&mut remover, remove("film"));
    home.input(&mut remover, Input::Offline);
    // A year later nobody but a newcomer, who never saw the title, is left.
    home.time_ms += 365 * 24 * HOUR_MS;
    let mut newcomer = home.tv(3, 0);
    home.refresh(&mut newcomer);
    home.room = restored(&backup, 2);
    assert!(home.listed("film"), "the backup has it");
    home.refresh(&mut newcomer);
    assert!(!home.listed("film"), "removed is removed");
    assert_eq!(newcomer.client.replica().confirmed(), home.room.household());
}

/// Another TV tells a restored server how far it had seen, refused operations included. Their author
/// goes on from there, and nobody shows what was refused.
#[test]
fn what_was_refused_before_a_restore_stays_out() {
    let mut home = Home::new();
    let (mut tv, mut other) = (home.tv(1, 0), home.tv(2, 0));
    let kids = ProfileId(7);
    home.refresh(&mut other);
    home.operate(&mut other, Intent::NameProfile(kids, "Kids".into()));
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    let backup = home.room.household().clone();
    home.operate(&mut other, Intent::DeleteProfile(kids));
    home.operate(&mut tv, Intent::Add(kids, title("film")));
    unheard(&mut home, &mut tv);
    home.refresh(&mut other);
    home.room = restored(&backup, 2);
    home.refresh(&mut other);
    home.refresh(&mut tv);
    assert!(!tv.client.replica().has_profile(kids));
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
}

/// The add that goes out under a new id stands for the adds that its author had seen; removing it takes
/// them all.
#[test]
fn a_remove_after_a_rollback_takes_what_its_add_replaced() {
    let mut home = Home::new();
    let (mut first, mut tv) = (home.tv(1, 0), home.tv(2, 0));
    home.refresh(&mut first);
    home.operate(&mut first, add("film"));
    home.refresh(&mut tv);
    ack_lost(&mut home, &mut tv, add("film"));
    let disk = tv.disk.clone();
    home.refresh(&mut tv);
    home.operate(&mut tv, play("other", 1));
    // The disk goes back to before the ack, and the TV to another id; the viewer removes the title.
    let mut back = home.tv_from(disk, 3, 0);
    home.connect(&mut back);
    home.operate(&mut back, remove("film"));
    home.retry(&mut back);
    assert!(back.client.replica().outbox().is_empty());
    assert_ne!(back.client.replica().id(), tv.client.replica().id());
    assert!(!home.listed("film"));
    assert_eq!(back.client.replica().confirmed(), home.room.household());
}

/// The last operation that the server took looks the same in both histories; one before it does not.
#[test]
fn a_rollback_to_another_history_is_noticed() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, add("film"));
    home.operate(&mut tv, add("other"));
    let disk = tv.disk.clone();
    home.operate(&mut tv, remove("film"));
    home.refresh(&mut tv);
    assert!(home.listed("other") && !home.listed("film"));
    // Back to before the remove. The first hello is lost, so the next has a number that is new.
    let mut back = home.tv_from(disk, 3, 0);
    back.held = Some(Vec::new());
    home.connect(&mut back);
    back.held = None;
    home.time_ms += ANSWER_TIMEOUT_MS;
    home.input(&mut back, Input::Woke);
    home.retry(&mut back);
    home.retry(&mut back);
    assert_eq!(back.client.status(), Status::Live);
    assert!(back.client.replica().outbox().is_empty());
    assert_eq!(back.client.replica().confirmed(), home.room.household());
}

/// The answer to the hello is two hours old when it is read.
#[test]
fn an_answer_that_waited_in_standby_does_not_set_a_right_clock_back() {
    let mut home = Home::new();
    let mut other = home.tv(2, 0);
    let mut sleeper = Sleeper::new(&mut home, 1, 2 * HOUR_MS);
    home.time_ms -= HOUR_MS;
    home.refresh(&mut other);
    home.operate(&mut other, play("film", 20));
    home.time_ms += HOUR_MS;
    sleeper.wakes_and(&mut home, play("film", 30));
    assert_eq!(home.position_s("film"), Some(30), "the later viewer wins");
}
