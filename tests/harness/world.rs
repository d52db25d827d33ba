//! One household, its viewers, everything that goes wrong, and the checks.

use crate::device::Device;
use crate::link::{Faults, Link};
use crate::server::Server;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::household::{Change, Intent, PlayState, Progress};
use omega_sync_core::id::{ContentId, HouseholdId, ProfileId, Random};
use omega_sync_core::message::{ClientFrame, CloseCode};
use omega_sync_core::session::client::{Input, Output, Status};
use omega_sync_core::session::server::{ConnectionId, RoomInput, RoomOutput};

/// Steps in which a healed world must come to rest.
const SETTLE_STEPS_MAX: usize = 200_000;
/// When the story begins: 2027-01-15, in Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;

/// What a viewer did. The number of a progress update is its position in seconds, so it can be found
/// again anywhere.
#[derive(Debug, Clone)]
pub struct Action {
    /// Who did it.
    pub device: usize,
    /// What.
    pub intent: Intent,
    /// Whether its record reached the disk: then it must not be lost.
    pub durable: bool,
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
    /// Everything the viewers did.
    pub actions: Vec<Action>,
    /// What happened, for the reader of a failure.
    pub story: Vec<String>,
    faults: Faults,
    random: Random,
    household: HouseholdId,
}

impl World {
    /// A household of `devices` TVs that are switched on.
    ///
    /// # Panics
    /// Never: the household id is a constant.
    pub fn new(seed: u64, devices: usize, faults: Faults) -> Self {
        let mut bytes = [0x5a; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut world = Self {
            time_ms: START_MS,
            devices: Vec::new(),
            server: Server::default(),
            links: Vec::new(),
            actions: Vec::new(),
            story: Vec::new(),
            faults,
            random: Random::new(bytes),
            household: HouseholdId::new("home").expect("a constant"),
        };
        for index in 0..devices {
            let skew_ms = if faults.clock_jump > 0 { world.skew() } else { 0 };
            world.devices.push(Device::new(skew_ms));
            world.boot(index);
        }
        world
    }

    fn skew(&mut self) -> i64 {
        const DAY: i64 = 86_400_000;
        let skews = [0, 0, -40, 90_000, -3_000_000, 3 * DAY, -9 * DAY, -(START_MS as i64) + 60_000];
        skews[self.random.up_to(skews.len() as u64 - 1) as usize]
    }

    fn chance(&mut self, in_thousand: u64) -> bool {
        self.random.up_to(999) < in_thousand
    }

    fn pick(&mut self, count: usize) -> usize {
        self.random.up_to(count as u64 - 1) as usize
    }

    fn say(&mut self, text: String) {
        self.story.push(format!("{:>9} ms  {text}", self.time_ms - START_MS));
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let index = self.pick(self.devices.len());
        let step_ms = [0, 1, 20, 200, 3_000][self.pick(5)];
        self.time_ms += step_ms;
        if self.chance(2) {
            self.time_ms += 3_600_000 * (1 + self.random.up_to(9));
        }
        match self.random.up_to(99) {
            0..12 => self.act(index),
            12..45 => _ = self.carry_out(index),
            45..62 => _ = self.carry_out_server(),
            62..78 => _ = self.deliver_up(),
            78..94 => _ = self.deliver_down(index),
            _ => self.wake(index),
        }
        self.misfortune(index);
    }

    fn misfortune(&mut self, index: usize) {
        let faults = self.faults;
        if self.chance(faults.cut) && !self.links.is_empty() {
            let last = self.links.len() - 1;
            let place = last - self.pick(self.links.len().min(6));
            let silent = self.chance(500);
            let link = &mut self.links[place];
            link.up = Default::default();
            link.down = Default::default();
            link.broken = true;
            if !silent {
                link.server_open = false;
            }
            self.say(format!("link {place} breaks, silent: {silent}"));
        }
        if self.chance(faults.device_crash) {
            self.say(format!("tv {index} loses power"));
            self.hang_up(index);
            self.devices[index].cut_power();
        }
        if self.devices[index].client.is_none() && self.chance(200) {
            self.boot(index);
        }
        if self.chance(faults.server_crash) {
            self.say("the server is killed".into());
            self.server.kill();
            for link in &mut self.links {
                link.server_open = false;
                link.up = Default::default();
            }
        }
        if self.chance(faults.clock_jump) {
            self.devices[index].skew_ms = self.skew();
            self.say(format!("tv {index}'s clock is {} ms off", self.devices[index].skew_ms));
        }
        if self.chance(faults.partition) {
            let online = !self.devices[index].online;
            self.set_online(index, online);
        }
    }

    /// Plugs the network cable of a device in or out.
    pub fn set_online(&mut self, index: usize, online: bool) {
        self.say(format!("tv {index} is online: {online}"));
        self.devices[index].online = online;
        self.input(index, if online { Input::Online } else { Input::Offline });
    }

    fn boot(&mut self, index: usize) {
        self.say(format!("tv {index} is switched on"));
        let household = self.household.clone();
        self.devices[index].boot(&household, self.time_ms, &mut self.random);
        if self.devices[index].online {
            self.input(index, Input::Online);
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms);
        if let Some(client) = &mut device.client {
            let outputs = client.handle(now, input);
            device.queue.extend(outputs.into_iter().map(|output| (output, None)));
        }
    }

    fn act(&mut self, index: usize) {
        let Some(client) = &self.devices[index].client else {
            return;
        };
        let profiles: Vec<ProfileId> = client.replica().profiles().into_keys().collect();
        let profile = profiles[self.pick(profiles.len())];
        let number = self.actions.len() as u32;
        let title = |text: String| ContentId::new(&text).expect("short text");
        let shared = title(format!("shared:{}", self.random.up_to(2)));
        let intent = match self.random.up_to(99) {
            0..50 => {
                let state = PlayState::ALL[self.pick(4)];
                let progress = Progress { position_s: number, duration_s: 7_200, state };
                Intent::Progress(profile, shared, Some(progress))
            }
            50..60 => Intent::Add(profile, shared),
            60..68 => Intent::Remove(profile, shared),
            68..82 => Intent::Add(profile, title(format!("unique:{number}"))),
            82..92 => match self.listed(index, profile) {
                Some(content) => Intent::Remove(profile, content),
                None => return,
            },
            92..96 => Intent::NameProfile(ProfileId(self.random.bits()), format!("p{number}")),
            96..98 if profile != ProfileId::DEFAULT => Intent::DeleteProfile(profile),
            _ => return,
        };
        self.operate(index, intent);
    }

    fn listed(&mut self, index: usize, profile: ProfileId) -> Option<ContentId> {
        let client = self.devices[index].client.as_ref()?;
        let items = client.replica().watchlist(profile);
        if items.is_empty() {
            return None;
        }
        let place = self.pick(items.len());
        Some(items[place].content.clone())
    }

    /// A viewer does something on a device that is switched on.
    ///
    /// # Panics
    /// When the call fails, or the device does not show at once what its viewer did.
    pub fn operate(&mut self, index: usize, intent: Intent) {
        let number = self.actions.len() as u32;
        self.say(format!("tv {index}: action {number} {intent:?}"));
        self.actions.push(Action { device: index, intent: intent.clone(), durable: false });
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms);
        let client = device.client.as_mut().expect("switched on");
        let outputs = client.operate(now, intent.clone()).expect("a valid action");
        let replica = client.replica();
        match &intent {
            Intent::Add(profile, content) => assert!(replica.is_listed(*profile, content)),
            Intent::Remove(profile, content) => assert!(!replica.is_listed(*profile, content)),
            Intent::Progress(profile, content, value) => {
                let shown = replica.progress(*profile, content).map(|item| item.progress);
                assert_eq!(shown, *value, "a viewer's own update shows at once");
            }
            Intent::NameProfile(profile, _) => assert!(replica.has_profile(*profile)),
            Intent::DeleteProfile(profile) => assert!(!replica.has_profile(*profile)),
            Intent::DescribeDevice(device, record) => {
                assert_eq!(replica.device(device), record.as_ref());
            }
        }
        let mut tag = Some(number);
        for output in outputs {
            let stores = matches!(output, Output::Append(_) | Output::Replace(_));
            device.queue.push_back((output, if stores { tag.take() } else { None }));
        }
    }

    /// Carries out one output of a device; says whether there was one.
    fn carry_out(&mut self, index: usize) -> bool {
        let Some((output, action)) = self.devices[index].queue.pop_front() else {
            return false;
        };
        match output {
            Output::Append(record) => self.devices[index].disk.push(record),
            Output::Replace(image) => self.devices[index].disk = vec![image],
            Output::Send(frame) => {
                let link = self.devices[index].link.map(|place| &mut self.links[place]);
                if let Some(link) = link.filter(|link| !link.broken) {
                    link.up.push(frame, &self.faults, &mut self.random);
                }
            }
            Output::Connect => self.connect(index),
            Output::Disconnect => self.hang_up(index),
            Output::Wake(delay_ms) => {
                let now = self.devices[index].now(self.time_ms).steady_ms;
                self.devices[index].wake_at_ms = Some(now + delay_ms);
            }
            Output::Changed(_) | Output::Status(_) | Output::Rejected(_) => {}
        }
        if let Some(number) = action {
            self.actions[number as usize].durable = true;
        }
        true
    }

    fn connect(&mut self, index: usize) {
        self.hang_up(index);
        if !self.devices[index].online {
            self.input(index, Input::Closed(1006));
            return;
        }
        self.links.push(Link { device_open: true, server_open: true, ..Link::default() });
        self.devices[index].link = Some(self.links.len() - 1);
        self.input(index, Input::Opened("token".into()));
    }

    fn hang_up(&mut self, index: usize) {
        if let Some(place) = self.devices[index].link.take() {
            self.links[place].device_open = false;
        }
    }

    fn wake(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms).steady_ms;
        if device.wake_at_ms.is_some_and(|at| at <= now) {
            device.wake_at_ms = None;
            self.input(index, Input::Woke);
        }
    }

    /// A frame from some device arrives at the server; says whether there was one.
    fn deliver_up(&mut self) -> bool {
        let waiting = |link: &Link| {
            link.server_open && (!link.up.is_empty() || (!link.device_open && link.greeted))
        };
        let from = self.links.len().saturating_sub(24);
        let places: Vec<usize> =
            (from..self.links.len()).filter(|&place| waiting(&self.links[place])).collect();
        if places.is_empty() {
            return false;
        }
        let place = places[self.pick(places.len())];
        if !self.links[place].device_open && self.chance(self.faults.late) {
            return true;
        }
        let connection = ConnectionId(place as u64);
        let link = &mut self.links[place];
        let input = match link.up.pop() {
            None => {
                link.server_open = false;
                RoomInput::Closed(connection)
            }
            Some(bytes) if link.greeted => RoomInput::Frame { connection, bytes },
            Some(bytes) => match ClientFrame::decode(&bytes) {
                Ok(ClientFrame::Hello(hello)) => {
                    link.greeted = true;
                    RoomInput::Hello { connection, hello, may_write: true }
                }
                _ => {
                    link.server_open = false;
                    link.close_code = Some(CloseCode::Malformed.code());
                    return true;
                }
            },
        };
        let Server { room, queue, store } = &mut self.server;
        let room = room.get_or_insert_with(|| store.room(&self.household));
        queue.extend(room.handle(UnixMillis(self.time_ms), input));
        true
    }

    /// Carries out one output of the server; says whether there was one.
    fn carry_out_server(&mut self) -> bool {
        let Some(output) = self.server.queue.pop_front() else {
            return false;
        };
        match output {
            RoomOutput::Persist(commit) => {
                let fails = self.chance(self.faults.store_failure);
                if fails || !self.server.store.commit(&commit) {
                    self.say("a commit fails".into());
                    self.server.kill();
                    for link in self.links.iter_mut().filter(|link| link.server_open) {
                        link.server_open = false;
                        link.close_code = Some(CloseCode::StorageUnavailable.code());
                    }
                }
            }
            RoomOutput::Send(ConnectionId(place), frame) => {
                let link = &mut self.links[place as usize];
                if link.server_open && !link.broken {
                    link.down.push(frame, &self.faults, &mut self.random);
                }
            }
            RoomOutput::Close(ConnectionId(place), code) => {
                let link = &mut self.links[place as usize];
                link.server_open = false;
                link.close_code = Some(code.code());
            }
        }
        true
    }

    /// A frame, or the end of the connection, arrives at a device; says whether there was one.
    fn deliver_down(&mut self, index: usize) -> bool {
        let Some(place) = self.devices[index].link else {
            return false;
        };
        let link = &mut self.links[place];
        if let Some(frame) = link.down.pop() {
            self.input(index, Input::Frame(&frame));
            return true;
        }
        if link.server_open {
            return false;
        }
        let code = link.close_code.unwrap_or(1006);
        self.hang_up(index);
        self.input(index, Input::Closed(code));
        true
    }

    /// Everything works again; ends when all devices are up to date.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn settle(&mut self) {
        self.say("everything works again".into());
        self.faults = Faults::NONE;
        for index in 0..self.devices.len() {
            if self.devices[index].client.is_none() {
                self.boot(index);
            }
            self.set_online(index, true);
        }
        self.run_until_quiet();
    }

    /// Runs without faults until nothing is left to do.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn run_until_quiet(&mut self) {
        for _ in 0..SETTLE_STEPS_MAX {
            let mut busy = self.carry_out_server() | self.deliver_up();
            for index in 0..self.devices.len() {
                busy |= self.carry_out(index) | self.deliver_down(index);
            }
            if busy {
                continue;
            }
            if self.devices.iter().all(is_quiet) {
                return;
            }
            self.time_ms += 1_000;
            (0..self.devices.len()).for_each(|index| self.wake(index));
        }
        let statuses: Vec<_> =
            self.devices.iter().map(|d| d.client.as_ref().map(|c| c.status())).collect();
        panic!("the household does not come to rest: {statuses:?}");
    }

    /// How much time has passed, in days.
    pub fn days(&self) -> f64 {
        (self.time_ms - START_MS) as f64 / 86_400_000.0
    }

    /// The values of all progress updates that were ever taken, in order.
    pub fn taken(&self) -> Vec<u32> {
        let operations = self.server.store.history.iter().flat_map(|delta| &delta.operations);
        let value = |change: &Change| match change {
            Change::Progress(_, Some(progress)) => Some(progress.position_s),
            _ => None,
        };
        operations.filter_map(|operation| value(&operation.change)).collect()
    }

    /// The changes that devices were told were refused.
    pub fn refused(&self) -> Vec<(ProfileId, Change)> {
        let clients = self.devices.iter().filter_map(|device| device.client.as_ref());
        let rejected = clients.flat_map(|client| client.replica().rejected());
        rejected.map(|r| (r.operation.profile, r.operation.change.clone())).collect()
    }
}

fn is_quiet(device: &Device) -> bool {
    device.client.as_ref().is_some_and(|client| {
        client.status() == Status::Live && client.replica().outbox().is_empty()
    })
}
