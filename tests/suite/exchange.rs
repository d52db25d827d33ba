//! A whole session in one request: what is taken, what is left out, and that repeating is harmless.

use crate::home::{Home, TODAY_MS, add, title};
use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Clock, DRIFT_MAX_MS, Timestamp, UnixMillis};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::id::{ProfileId, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, CloseCode, EXCHANGE_FRAMES_MAX, Exchange, FrameNumber, Hello, ServerFrame, Session,
};
use omega_sync_core::operation::{Change, Operation, PlayState, Progress, VoidReason};
use omega_sync_core::session::server::{ConnectionId, RoomInput, RoomOutput};
use proptest::prelude::*;

const ME: ReplicaId = ReplicaId(77);
const ASKS: ConnectionId = ConnectionId(9_999);

/// A client that knows nothing but one-shot sessions.
struct Caller {
    session: Session,
    clock: Clock,
    /// What it knows to be taken.
    acked: Timestamp,
    digest: u32,
    epoch: Option<u32>,
    cursor: Option<u64>,
    /// What waits to be taken.
    waiting: Vec<Operation>,
}

/// What came of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    acks: usize,
    voids: usize,
    close: Option<CloseCode>,
    to_others: usize,
}

impl Caller {
    fn new() -> Self {
        Self {
            session: Session { number: 0, nonce: 5 },
            clock: Clock::default(),
            acked: Timestamp::ZERO,
            digest: 0,
            epoch: None,
            cursor: None,
            waiting: Vec::new(),
        }
    }

    fn plays(&mut self, now_ms: u64, name: &str, position_s: u32) {
        let progress = Progress { position_s, duration_s: 100, state: PlayState::Playing };
        self.does(now_ms, Change::Progress(title(name), Some(progress)));
    }

    fn does(&mut self, now_ms: u64, change: Change) {
        let timestamp = self.clock.tick(UnixMillis(now_ms));
        self.waiting.push(Operation { timestamp, profile: ProfileId::DEFAULT, change });
    }

    fn hello(&self) -> Hello {
        Hello {
            token: String::new(),
            household: None,
            replica: ME,
            session: self.session,
            acked: (self.acked > Timestamp::ZERO).then_some(self.digest),
            epoch: self.epoch,
            cursor: self.cursor,
            owes_offer: false,
        }
    }

    /// A request with each waiting operation in a delta of its own.
    fn request(&mut self) -> Vec<u8> {
        self.session.number += 1;
        self.repeat()
    }

    fn repeat(&self) -> Vec<u8> {
        let mut context = Context::default();
        let mut number = FrameNumber::FIRST;
        let frames: Vec<Vec<u8>> = self
            .waiting
            .iter()
            .take(EXCHANGE_FRAMES_MAX)
            .map(|operation| {
                let (through, operations) = (operation.timestamp, vec![operation.clone()]);
                let delta = Delta { replica: ME, through, operations };
                ClientFrame::delta(number.advance(), &delta, &mut context, &mut |_| None)
            })
            .collect();
        let frames = frames.iter().map(Vec::as_slice).collect();
        Exchange { hello: self.hello(), acked: self.acked, frames }.encode()
    }

    /// Reads an answer.
    fn hears(&mut self, outputs: &[RoomOutput]) -> Outcome {
        let mut outcome = Outcome::default();
        for output in outputs {
            match output {
                RoomOutput::Send(ASKS, frame) => self.frame(frame, &mut outcome),
                RoomOutput::Close(ASKS, code) => outcome.close = Some(*code),
                RoomOutput::Send(..) => outcome.to_others += 1,
                _ => {}
            }
        }
        outcome
    }

    fn frame(&mut self, frame: &[u8], outcome: &mut Outcome) {
        match ServerFrame::decode(frame).expect("readable") {
            ServerFrame::Welcome(welcome) => {
                assert_eq!(welcome.session, self.session.number as u8);
                if let Some(epoch) = welcome.epoch {
                    self.epoch = Some(epoch.mark());
                }
                if let Some(taken) = welcome.taken {
                    (self.acked, self.digest) = (taken.through, taken.digest);
                    self.waiting.retain(|operation| operation.timestamp > taken.through);
                }
            }
            ServerFrame::Snapshot(_, version, _) => self.cursor = Some(version),
            ServerFrame::Difference(_, versions, _) => {
                self.cursor = self.cursor.map(|version| version + versions);
            }
            ServerFrame::Ack(_, ack) => {
                outcome.acks += 1;
                outcome.voids += ack.voids.len();
                let taken = self.waiting.remove(0);
                self.digest = taken.digest(self.digest);
                self.acked = taken.timestamp;
                self.cursor = self.cursor.map(|version| version + u64::from(ack.advances));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn ask_as(home: &mut Home, request: &[u8], may_write: bool) -> Vec<RoomOutput> {
    let exchange = Exchange::decode(request).expect("readable");
    home.room.exchange(UnixMillis(home.time_ms), ASKS, exchange, may_write)
}

fn ask(home: &mut Home, request: &[u8]) -> Vec<RoomOutput> {
    ask_as(home, request, true)
}

/// A caller that has said hello once.
fn known(home: &mut Home) -> Caller {
    let mut caller = Caller::new();
    let request = caller.request();
    let outputs = ask(home, &request);
    assert_eq!(caller.hears(&outputs), Outcome::default());
    caller
}

#[test]
fn the_second_request_is_taken_and_others_hear_of_it() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let mut caller = Caller::new();
    caller.plays(TODAY_MS, "film", 10);
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    assert_eq!(caller.hears(&outputs), Outcome::default(), "before the epoch is known");
    assert_eq!(home.position_s("film"), None);
    caller.plays(TODAY_MS + 1, "film", 20);
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    assert!(matches!(outputs[0], RoomOutput::Persist(_)), "durable first");
    let outcome = caller.hears(&outputs);
    assert_eq!(outcome, Outcome { acks: 2, to_others: 2, ..Outcome::default() });
    assert_eq!(home.position_s("film"), Some(20));
    assert_eq!(home.room.connections(), 1, "the session is over");
    assert_eq!(caller.cursor, Some(home.room.version()));
}

#[test]
fn a_lost_answer_neither_loses_nor_doubles() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.plays(TODAY_MS, "film", 10);
    let request = caller.request();
    ask(&mut home, &request);
    let (version, state) = (home.room.version(), home.room.household().clone());
    // Once with the same bytes, as a proxy repeats them, and once by the client.
    let outputs = ask(&mut home, &request);
    assert_eq!((home.room.version(), home.room.household()), (version, &state));
    caller.hears(&outputs);
    assert!(caller.waiting.is_empty(), "the welcome says that it was taken");
    caller.plays(TODAY_MS + 1, "film", 20);
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    assert_eq!(caller.hears(&outputs).acks, 1);
}

#[test]
fn a_late_request_does_not_fence_a_newer_session() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.plays(TODAY_MS, "film", 10);
    let late = caller.request();
    caller.waiting.clear();
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    caller.hears(&outputs);
    let outputs = ask(&mut home, &late);
    assert_eq!(outputs, [RoomOutput::Close(ASKS, CloseCode::StaleSession)]);
    assert_eq!(home.position_s("film"), None);
}

#[test]
fn a_page_that_closes_may_use_its_open_session() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.session.number += 1;
    let socket = ConnectionId(5);
    let input = RoomInput::Hello { connection: socket, hello: caller.hello(), may_write: true };
    home.room.handle(UnixMillis(home.time_ms), input);
    caller.plays(TODAY_MS, "film", 10);
    let nonce = caller.session.nonce;
    caller.session.nonce += 1;
    let outputs = ask(&mut home, &caller.repeat());
    let stale = RoomOutput::Close(ASKS, CloseCode::StaleSession);
    assert_eq!(outputs, [stale], "the same number with another nonce is a copy's");
    assert_eq!(home.room.connections(), 1);
    caller.session.nonce = nonce;
    let outputs = ask(&mut home, &caller.repeat());
    assert!(outputs.contains(&RoomOutput::Close(socket, CloseCode::Replaced)), "{outputs:?}");
    assert_eq!(caller.hears(&outputs).acks, 1);
    assert_eq!(home.position_s("film"), Some(10));
}

/// Makes a caller say what is not so.
type Spoil = fn(&mut Caller);

#[test]
fn what_it_does_not_know_is_not_taken() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.plays(TODAY_MS, "film", 10);
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    assert_eq!(caller.hears(&outputs).acks, 1);
    // Who comes from another life of the database owes an offer before anything else.
    let wrong: [(Spoil, usize); 3] = [
        (|caller| caller.digest ^= 1, 2),
        (|caller| caller.acked = Timestamp(caller.acked.0 - 1), 2),
        (|caller| caller.epoch = caller.epoch.map(|epoch| epoch ^ 1), 1),
    ];
    for (spoil, frames) in wrong {
        caller.plays(TODAY_MS + 60_000, "film", 20);
        let version = home.room.version();
        let (acked, digest, epoch) = (caller.acked, caller.digest, caller.epoch);
        spoil(&mut caller);
        let request = caller.request();
        let outputs = ask(&mut home, &request);
        assert_eq!(home.room.version(), version);
        let sent = outputs.iter().filter(|output| matches!(output, RoomOutput::Send(ASKS, _)));
        assert_eq!(sent.count(), frames, "welcome, perhaps a state, no ack: {outputs:?}");
        (caller.acked, caller.digest, caller.epoch) = (acked, digest, epoch);
    }
}

#[test]
fn a_fault_ends_it_and_what_was_taken_before_counts() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.plays(TODAY_MS, "film", 10);
    caller.plays(TODAY_MS + 2 * DRIFT_MAX_MS, "film", 20);
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    let outcome = caller.hears(&outputs);
    assert_eq!((outcome.acks, outcome.close), (1, Some(CloseCode::Drift)));
    assert_eq!(home.position_s("film"), Some(10));
    assert_eq!(home.room.connections(), 0);

    caller.waiting.clear();
    let dot = Dot { timestamp: caller.acked.next(), replica: ME };
    let change = Change::Remove(title("film"), vec![]);
    let operation = Operation { timestamp: dot.timestamp, profile: ProfileId::DEFAULT, change };
    let delta = Delta { replica: ME, through: dot.timestamp, operations: vec![operation] };
    let mut context = Context::default();
    let first = FrameNumber::FIRST;
    let frame = ClientFrame::delta(first, &delta, &mut context, &mut |_| Some(0));
    caller.session.number += 1;
    let exchange = Exchange { hello: caller.hello(), acked: caller.acked, frames: vec![&frame] };
    let outputs = ask(&mut home, &exchange.encode());
    assert_eq!(caller.hears(&outputs).close, Some(CloseCode::Malformed), "what it observed");
}

#[test]
fn a_token_that_may_only_read_changes_nothing() {
    let mut home = Home::new();
    let mut caller = known(&mut home);
    caller.plays(TODAY_MS, "film", 10);
    let request = caller.request();
    let outputs = ask_as(&mut home, &request, false);
    let outcome = caller.hears(&outputs);
    assert_eq!((outcome.acks, outcome.voids), (1, 1));
    assert_eq!(home.position_s("film"), None);
    assert_eq!(VoidReason::Forbidden.code(), "forbidden");
}

/// What happens to a caller's next request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    AnswerLost,
    Lost,
    Twice,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Answered), Just(Fate::AnswerLost), Just(Fate::Lost), Just(Fate::Twice),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever gets lost or doubled, each operation is taken once, in order, and the last one counts.
    #[test]
    fn bad_networks_neither_lose_nor_double(fates in prop::collection::vec((fate(), 0..3usize), 1..25)) {
        let mut home = Home::new();
        let mut caller = Caller::new();
        let mut made = 0;
        let mut taken = 0;
        for (fate, more) in fates {
            for _ in 0..more {
                made += 1;
                caller.plays(home.time_ms, "film", made);
            }
            home.time_ms += 1_000;
            let request = caller.request();
            let before = home.room.version();
            match fate {
                Fate::Lost => {}
                Fate::AnswerLost => drop(ask(&mut home, &request)),
                Fate::Twice => {
                    ask(&mut home, &request);
                    let outputs = ask(&mut home, &request);
                    caller.hears(&outputs);
                }
                Fate::Answered => {
                    let outputs = ask(&mut home, &request);
                    caller.hears(&outputs);
                }
            }
            taken += home.room.version() - before;
        }
        // The first may only tell what was taken, and one request holds so many.
        for _ in 0..2 + caller.waiting.len() / EXCHANGE_FRAMES_MAX {
            let request = caller.request();
            let before = home.room.version();
            let outputs = ask(&mut home, &request);
            caller.hears(&outputs);
            taken += home.room.version() - before;
        }
        prop_assert!(caller.waiting.is_empty());
        prop_assert_eq!(taken, u64::from(made));
        prop_assert_eq!(home.position_s("film"), (made > 0).then_some(made));
    }
}

#[test]
fn it_stands_beside_sockets_of_other_replicas() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    let mut caller = known(&mut home);
    home.operate(&mut tv, add("theirs"));
    caller.does(TODAY_MS, Change::Add(title("ours"), vec![]));
    let request = caller.request();
    let outputs = ask(&mut home, &request);
    assert_eq!(caller.hears(&outputs).acks, 1);
    home.refresh(&mut tv);
    assert_eq!(tv.client.replica().confirmed(), home.room.household());
    assert!(home.listed("ours") && home.listed("theirs"));
}
