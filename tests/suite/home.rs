//! A room and TVs on a perfect network, for tests that tell one story.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{ContentId, EpochId, HouseholdId, ProfileId};
use omega_sync_core::message::{ClientFrame, CloseCode, Exchange, Exchanged};
use omega_sync_core::operation::{Intent, PlayState, Progress};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, RoomOutput};
use std::collections::VecDeque;

pub const TODAY_MS: u64 = 1_800_000_000_000;
pub const DAY_MS: i64 = 86_400_000;

/// The room; time stands still unless a test moves it.
pub struct Home {
    pub room: Room,
    pub time_ms: u64,
    pub next_connection: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Nothing,
    Request,
    Answer,
}

/// A TV and its storage.
pub struct Tv {
    pub client: Client,
    pub skew_ms: i64,
    pub disk: Vec<Vec<u8>>,
    pub connection: ConnectionId,
    /// Frames to the server that the test holds back.
    pub held: Option<Vec<Vec<u8>>>,
    pub may_write: bool,
    /// Whether no socket gets through, so that each session is one request.
    pub by_request: bool,
    /// Every request so far, and what gets lost of the next ones.
    pub requests: Vec<Vec<u8>>,
    pub losses: VecDeque<Lost>,
    /// What the server sent and the TV has not handled.
    pub inbox: VecDeque<Result<Vec<u8>, CloseCode>>,
}

pub fn household() -> HouseholdId {
    HouseholdId::new("home").expect("short text")
}

pub fn title(name: &str) -> ContentId {
    ContentId::new(name).expect("short text")
}

pub fn add(name: &str) -> Intent {
    Intent::Add(ProfileId::DEFAULT, title(name))
}

pub fn play(name: &str, position_s: u32) -> Intent {
    let progress = Progress { position_s, duration_s: 7_200, state: PlayState::Playing };
    Intent::Progress(ProfileId::DEFAULT, title(name), Some(progress))
}

impl Home {
    pub fn new() -> Self {
        let room = Room::create(household(), EpochId(1));
        Self { room, time_ms: TODAY_MS, next_connection: 0 }
    }

    pub fn tv(&mut self, seed: u8, skew_ms: i64) -> Tv {
        self.tv_from(Vec::new(), seed, skew_ms)
    }

    pub fn tv_from(&mut self, disk: Vec<Vec<u8>>, seed: u8, skew_ms: i64) -> Tv {
        let opened = Client::load(&disk, None, [seed; 16]).expect("readable");
        let mut tv = Tv {
            client: opened.client,
            skew_ms,
            disk,
            connection: ConnectionId(u64::MAX),
            held: None,
            may_write: true,
            by_request: false,
            requests: Vec::new(),
            losses: VecDeque::new(),
            inbox: VecDeque::new(),
        };
        let first = tv.client.first_outputs();
        self.carry_out(&mut tv, first);
        tv
    }

    pub fn now(&self, tv: &Tv) -> Now {
        Now {
            unix: UnixMillis(self.time_ms.saturating_add_signed(tv.skew_ms)),
            steady_ms: self.time_ms - TODAY_MS,
        }
    }

    pub fn connect(&mut self, tv: &mut Tv) {
        self.input(tv, Input::Online);
    }

    /// Connects and hears the welcome and what follows it at once; what the TV sends then is held.
    pub fn connect_and_hold(&mut self, tv: &mut Tv) {
        let outputs = tv.client.handle(self.now(tv), Input::Online);
        self.carry_out(tv, outputs);
        tv.held = Some(Vec::new());
        self.input(tv, Input::Woke);
    }

    pub fn input(&mut self, tv: &mut Tv, input: Input) {
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

    pub fn operate(&mut self, tv: &mut Tv, intent: Intent) {
        let outputs = tv.client.operate(self.now(tv), intent).expect("a valid action");
        self.carry_out(tv, outputs);
        self.input(tv, Input::Woke);
    }

    pub fn carry_out(&mut self, tv: &mut Tv, outputs: Vec<Output>) {
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
                    let token = String::new();
                    let input =
                        if tv.by_request { Input::Asked(token) } else { Input::Opened(token) };
                    let outputs = tv.client.handle(self.now(tv), input);
                    self.carry_out(tv, outputs);
                }
                Output::Exchange(number, request) => {
                    tv.requests.push(request.clone());
                    if let Some(answer) = self.exchange(tv, &request) {
                        let outputs =
                            tv.client.handle(self.now(tv), Input::Answered(number, &answer));
                        self.carry_out(tv, outputs);
                    }
                }
                _ => {}
            }
        }
    }

    /// A request and its answer, as it goes over HTTP; `None` when it, or its answer, is lost.
    pub fn exchange(&mut self, tv: &mut Tv, request: &[u8]) -> Option<Vec<u8>> {
        let lost = tv.losses.pop_front();
        if lost == Some(Lost::Request) {
            return None;
        }
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let exchange = Exchange::decode(request).expect("a request");
        let now = UnixMillis(self.time_ms);
        let (mut frames, mut close) = (Vec::new(), None);
        for output in self.room.exchange(now, connection, exchange, tv.may_write) {
            match output {
                RoomOutput::Send(to, frame) if to == connection => frames.push(frame),
                RoomOutput::Close(to, code) if to == connection => close = Some(code),
                _ => {}
            }
        }
        (lost != Some(Lost::Answer)).then(|| Exchanged::encode(&frames, close))
    }

    pub fn deliver(&mut self, tv: &mut Tv, frame: Vec<u8>) {
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
    pub fn refresh(&mut self, tv: &mut Tv) {
        self.connect(tv);
        assert_eq!(tv.client.status(), Status::Live);
        assert!(tv.client.replica().outbox().is_empty());
    }

    /// Waits until the TV tries again.
    pub fn retry(&mut self, tv: &mut Tv) {
        self.time_ms += 61_000;
        self.input(tv, Input::Woke);
    }

    pub fn listed(&self, name: &str) -> bool {
        self.listed_for(ProfileId::DEFAULT, name)
    }

    pub fn listed_for(&self, profile: ProfileId, name: &str) -> bool {
        let shelf = self.room.household().profile(profile);
        shelf.is_some_and(|shelf| !shelf.watchlist().dots(&title(name)).is_empty())
    }

    pub fn position_s(&self, name: &str) -> Option<u32> {
        let shelf = self.room.household().profile(ProfileId::DEFAULT).expect("always there");
        shelf.progress().get(&title(name)).and_then(|r| r.value).map(|p| p.position_s)
    }
}

/// The server takes what a TV does, and the TV never hears that it did.
pub fn ack_lost(home: &mut Home, tv: &mut Tv, intent: Intent) {
    tv.held = Some(Vec::new());
    home.operate(tv, intent);
    let connection = tv.connection;
    for bytes in tv.held.take().expect("held") {
        home.room.handle(UnixMillis(home.time_ms), RoomInput::Frame { connection, bytes });
    }
    home.input(tv, Input::Offline);
}
