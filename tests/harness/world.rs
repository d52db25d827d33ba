//! One household: its TVs, its server, what lies between them, and the order in which things
//! happen.
//!
//! In each step one thing happens, chosen by the step's dice among all that could: an output is
//! carried out, a frame arrives, a viewer presses a key, something breaks. After each the checks
//! look at it.

use crate::device::Device;
use crate::dice::{Dice, Fingerprint};
use crate::faults::{Counts, Fault, Rates};
use crate::link::Link;
use crate::oracle::Oracle;
use crate::server::{Node, Server};
use crate::stamps::WallClock;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::session::client::Status;

/// Steps in which a healed world must come to rest.
const SETTLE_STEPS_MAX: u64 = 200_000;
/// When the story begins: 2027-01-15, in Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;
/// How often, in 10,000 steps, a viewer does something.
const ACT_RATE: u16 = 1_200;
/// More lots than all devices and connections have.
const NODE_LOTS: usize = 1_000;
/// How often, in 10,000 steps, everybody goes to bed or to work.
const PAUSE_RATE: u16 = 60;

/// Of so many seeds one looks at each screen after each call.
const LOOK_ALWAYS: u64 = 64;
/// The others look after so many calls.
const LOOK_EVERY: u32 = 80;

/// How much happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Calls of a client or room.
    pub calls: u64,
    /// Frames that arrived.
    pub frames: u64,
    /// Screens compared with what they must show.
    pub screens: u64,
    /// Connections opened.
    pub connections: u64,
    /// Commits refused because another node's came first.
    pub refused: u64,
    /// How often a room took in what other nodes had committed.
    pub followed: u64,
    /// How often it had to go by the whole state.
    pub jumps: u64,
    /// Connections closed because their replica came to another node.
    pub moved: u64,
    /// Faults.
    pub faults: Counts,
}

/// The whole of it.
#[derive(Debug)]
pub struct World {
    /// True time in Unix milliseconds.
    pub time_ms: u64,
    /// The TVs.
    pub devices: Vec<Device>,
    /// The server.
    pub server: Server,
    /// Every connection there ever was.
    pub links: Vec<Link>,
    /// Those on which something can still happen.
    pub alive: Vec<usize>,
    /// What must be true.
    pub oracle: Oracle,
    /// How much happened.
    pub tally: Tally,
    /// Everything that was sent and stored.
    pub fingerprint: Fingerprint,
    /// What happened, for the reader of a failure, when one is to be told.
    pub story: Option<Vec<String>>,
    /// What goes wrong.
    pub rates: Rates,
    /// The present step's dice.
    pub dice: Dice,
    /// Whose home it is.
    pub household: HouseholdId,
    /// Titles named so far.
    pub titles: u32,
    /// The faults that happen by themselves, each with its rate.
    pub per_step: Vec<(Fault, u16)>,
    /// Every screen is looked at after so many calls.
    pub look_every: u32,
    seed: u64,
    step: u64,
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Device(usize),
    Server(usize),
    Called(usize),
    Read(usize),
    Up(usize),
    Down(usize),
    Wake(usize),
}

impl World {
    /// A household of so many TVs, which are switched on, and so many nodes.
    ///
    /// # Panics
    /// Never: the household id is a constant.
    pub fn new(seed: u64, (devices, nodes): (usize, usize), rates: Rates, tell: bool) -> Self {
        let mut world = Self {
            time_ms: START_MS,
            devices: Vec::new(),
            server: Server::default(),
            links: Vec::new(),
            alive: Vec::new(),
            oracle: Oracle::default(),
            tally: Tally::default(),
            fingerprint: Fingerprint::default(),
            story: tell.then(Vec::new),
            rates,
            dice: Dice::new(seed, u64::MAX - 1),
            household: HouseholdId::new("home").expect("a constant"),
            titles: 3,
            look_every: if seed.is_multiple_of(LOOK_ALWAYS) { 1 } else { LOOK_EVERY },
            per_step: rates.per_step(),
            seed,
            step: 0,
        };
        world.server.nodes.resize_with(nodes, Node::default);
        for index in 0..devices {
            let wrong = rates.rate(Fault::ClockJump) > 0 || rates.rate(Fault::Standby) > 0;
            let skew_ms = if wrong { world.skew() } else { 0 };
            world.devices.push(Device { skew_ms, ..Device::default() });
            world.oracle.clocks.walls.push(WallClock::default());
            world.boot(index);
        }
        world
    }

    /// How wrong a wall clock may be; once just beyond what a server takes.
    pub fn skew(&mut self) -> i64 {
        const DAY: i64 = 86_400_000;
        let skews = [0, 0, 330_000, -40, 900, 90_000, -3_000_000, 3 * DAY, -9 * DAY];
        skews[self.dice.place(skews.len())]
    }

    /// How wrong a wall clock is that starts at 1970.
    pub fn skew_1970(&self) -> i64 {
        60_000 - self.time_ms as i64
    }

    /// Whether a fault happens now.
    pub fn hits(&mut self, fault: Fault) -> bool {
        self.dice.hits(self.rates.rate(fault))
    }

    /// Notes that a fault happens, for the counts and the story.
    pub fn note(&mut self, fault: Fault, text: impl FnOnce() -> String) {
        self.tally.faults.note(fault);
        self.say(|| format!("[{}] {}", fault.name(), text()));
    }

    /// Adds a line to the story, if one is told.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let time = (self.time_ms - START_MS) as f64 / 1000.0;
            story.push(format!("step {:>5} {time:>10.3} s  {}", self.step, text()));
        }
    }

    /// How much time has passed, in days.
    pub fn days(&self) -> f64 {
        (self.time_ms - START_MS) as f64 / 86_400_000.0
    }

    /// One thing happens.
    pub fn step(&mut self, step: u64) {
        self.step = step;
        self.dice = Dice::new(self.seed, step);
        self.time_ms += match self.dice.below(10) {
            0..6 => self.dice.below(3),
            6..9 => self.dice.below(200),
            _ => self.dice.below(5_000),
        };
        self.trouble();
        if self.dice.hits(PAUSE_RATE) {
            self.pause();
        }
        if self.dice.hits(ACT_RATE) {
            self.act();
            return;
        }
        match self.choose() {
            Some(next) => self.happen(next),
            None if self.dice.below(3) == 0 => self.act(),
            None => self.wait(),
        }
    }

    /// What can happen now, one of it. Each has its own lot, so that one more or less changes
    /// nothing between the others.
    fn choose(&mut self) -> Option<Next> {
        let base = self.dice.bits();
        let mut chosen = None;
        let mut offer = |lot: usize, next| {
            let lot = Dice::new(base, lot as u64).bits();
            if chosen.is_none_or(|(least, _)| lot < least) {
                chosen = Some((lot, next));
            }
        };
        let time_ms = self.time_ms;
        for (index, node) in self.server.nodes.iter().enumerate() {
            let lot = NODE_LOTS * index;
            if !node.queue.is_empty() {
                offer(lot, Next::Server(index));
            }
            if node.is_called(time_ms) {
                offer(lot + 1, Next::Called(index));
            }
            if node.has_read() {
                offer(lot + 2, Next::Read(index));
            }
        }
        for (index, device) in self.devices.iter().enumerate() {
            if !device.is_awake(time_ms) {
                continue;
            }
            if !device.queue.is_empty() {
                offer(4 * index + 1, Next::Device(index));
            }
            let link = device.link.map(|place| &self.links[place]);
            if link.is_some_and(|link| !link.broken && link.has_down(time_ms)) {
                offer(4 * index + 2, Next::Down(index));
            }
            let steady_ms = device.now(time_ms).steady_ms;
            if device.wake_at_ms.is_some_and(|at| at <= steady_ms) {
                offer(4 * index + 3, Next::Wake(index));
            }
        }
        for &place in &self.alive {
            let link = &self.links[place];
            if link.has_up(time_ms) {
                offer(4 * link.device + 4, Next::Up(place));
            }
        }
        chosen.map(|(_, next)| next)
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Device(index) => self.carry_out(index),
            Next::Server(node) => self.carry_out_server(node),
            Next::Called(node) => self.call(node),
            Next::Read(node) => self.follow_store(node),
            Next::Up(place) => self.deliver_up(place),
            Next::Down(index) => self.deliver_down(index),
            Next::Wake(index) => self.wake(index),
        }
    }

    /// Time passes until something can happen, a minute at most.
    fn wait(&mut self) {
        const WAIT_MS_MAX: u64 = 60_000;
        let mut until_ms = self.time_ms + WAIT_MS_MAX;
        for device in &self.devices {
            let left = |at: u64| at.saturating_sub(device.now(self.time_ms).steady_ms);
            if let Some(at) = device.wake_at_ms.filter(|_| device.is_awake(self.time_ms)) {
                until_ms = until_ms.min(self.time_ms + left(at));
            }
        }
        for node in &self.server.nodes {
            let woken = node.bus.front().map(|wake| wake.ready_ms);
            for at in woken.into_iter().chain(node.poll_at_ms) {
                until_ms = until_ms.min(at.max(self.time_ms + 1));
            }
        }
        for &place in &self.alive {
            let link = &self.links[place];
            let frames = [link.up.frames.front(), link.down.frames.front()];
            let soonest = frames.into_iter().flatten().map(|frame| frame.ready_ms).min();
            until_ms = soonest.map_or(until_ms, |at| until_ms.min(at.max(self.time_ms + 1)));
        }
        self.time_ms = until_ms.max(self.time_ms + 1);
    }

    /// Everything works again; ends when all devices are up to date.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn settle(&mut self) {
        let tampered = self.rates.tampers();
        self.rates = Rates::NONE;
        self.per_step.clear();
        self.dice = Dice::new(self.seed, u64::MAX - 2);
        self.say(|| "everything works again".into());
        for node in &mut self.server.nodes {
            node.cut_until_ms = 0;
        }
        let asleep = self.devices.iter().map(|device| device.asleep_until_ms).max();
        self.time_ms = self.time_ms.max(asleep.unwrap_or(0));
        for index in 0..self.devices.len() {
            if self.devices[index].client.is_none() {
                self.devices[index].offline = false;
                self.boot(index);
            }
            let read_only = |place: usize| !self.links[place].may_write;
            // What a connection lost without breaking, only a new one brings.
            let stuck = tampered || self.devices[index].link.is_some_and(read_only);
            if self.devices[index].offline || stuck {
                self.set_online(index, true);
            }
        }
        self.run_until_quiet();
    }

    /// Runs without faults until nothing is left to do.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn run_until_quiet(&mut self) {
        for _ in 0..SETTLE_STEPS_MAX {
            if let Some(next) = self.choose() {
                self.happen(next);
            } else if self.is_quiet() {
                return;
            } else {
                self.wait();
            }
        }
        let clients = self.devices.iter().filter_map(|device| device.client.as_ref());
        let states: Vec<_> = clients
            .map(|client| (client.status(), client.replica().cursor(), client.close_code()))
            .collect();
        panic!("the household does not come to rest: {states:?}");
    }

    fn is_quiet(&self) -> bool {
        let version = self.server.store.version();
        let revision = self.server.store.revision();
        let mut rooms = self.server.nodes.iter().filter_map(|node| node.room.as_ref());
        let nodes_rest = rooms.all(|room| room.revision() == revision);
        nodes_rest
            && self.devices.iter().all(|device| {
                device.client.as_ref().is_some_and(|client| {
                    let replica = client.replica();
                    let at = replica.cursor().map(|cursor| (cursor.epoch, cursor.version));
                    let empty = replica.outbox().is_empty() && replica.owed().is_empty();
                    client.status() == Status::Live && empty && at == version
                })
            })
    }
}
