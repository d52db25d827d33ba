//! Histories that bytes say: what replicas do to a household, in an order that a server may see.

use crate::input::Script;
use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::delta::Delta;
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, DeviceId, ProfileId, ReplicaId};
use omega_sync_core::operation::{
    Capabilities, Change, DeviceRecord, DeviceType, Operation, PlayState, Progress,
};

/// When the server's clock starts.
pub const START: UnixMillis = UnixMillis(1_800_000_000_000);
/// Replicas in a history.
pub const REPLICAS: usize = 3;
/// Content ids of many shapes.
const TITLES: [&str; 16] = [
    "tmdb:550",
    "tmdb:551",
    "tmdb:552",
    "tmdb:1207341",
    "tmdb:0",
    "tmdb:007",
    "tmdb:",
    "550",
    "tt0111161",
    "tt0111162",
    "tt0111163",
    "tt0111164",
    "film-ÿ-99999999999999999999",
    "5f3c9e1a-77b2-4f5e-9c1d-0a1b2c3d4e5f",
    "Großstadt",
    "0000",
];
const DURATIONS: [u32; 4] = [0, 7_200, 1, u32::MAX];

pub fn title(index: usize) -> ContentId {
    ContentId::new(TITLES[index % TITLES.len()]).expect("a content id")
}

pub fn replica(who: usize) -> ReplicaId {
    ReplicaId(0xfeed_0000_0000_0000 + 7 * who as u64)
}

/// The live adds of a title.
pub fn dots(state: &Household, profile: ProfileId, content: &ContentId) -> Vec<Dot> {
    state.profile(profile).map_or(Vec::new(), |shelf| shelf.watchlist().dots(content).to_vec())
}

fn progress(script: &mut Script) -> Progress {
    let position_s = match script.below(8) {
        0 => u32::MAX,
        _ => 30 * u32::from(script.byte()),
    };
    let duration_s = DURATIONS[script.below(16) / 12 + script.below(2)];
    Progress { position_s, duration_s, state: PlayState::ALL[script.below(4)] }
}

fn record(script: &mut Script) -> Option<DeviceRecord> {
    let capabilities = Capabilities { hdr: script.byte() & 0xf, ..Capabilities::default() };
    (script.below(4) > 0).then(|| DeviceRecord {
        name: "Living room".into(),
        device_type: DeviceType::ALL[script.below(DeviceType::ALL.len())],
        platform: "webOS 5".into(),
        app_version: format!("4.2.{}", script.below(3)),
        capabilities,
    })
}

/// What a replica that sees `state` does next, on a shelf that it sees.
pub fn change(script: &mut Script, state: &Household) -> (ProfileId, Change) {
    let profiles: Vec<ProfileId> = state.profiles().map(|(id, _)| id).collect();
    let profile = profiles[script.below(16) * usize::from(script.below(3) == 0) % profiles.len()];
    let content = title(script.below(TITLES.len()));
    let change = match script.below(16) {
        0..=3 => {
            let blind = script.below(4) == 0;
            let observed = if blind { Vec::new() } else { dots(state, profile, &content) };
            Change::Add(content, observed)
        }
        4..=6 => {
            let observed = dots(state, profile, &content);
            Change::Remove(content, observed)
        }
        7..=11 => Change::Progress(content, Some(progress(script))),
        12 => Change::Progress(content, None),
        13 => {
            let profile = ProfileId(script.below(3) as u64);
            return (profile, Change::NameProfile(format!("naïve {}", script.byte())));
        }
        14 if script.below(3) == 0 => Change::DeleteProfile,
        _ => {
            let device = DeviceId::new(&format!("tv-{}", script.below(3))).expect("a device id");
            return (ProfileId::DEFAULT, Change::Device(device, record(script)));
        }
    };
    (profile, change)
}

/// Replicas that act and meet.
pub struct Living {
    pub states: [Household; REPLICAS],
    /// All they did, causes before effects.
    pub deltas: Vec<Delta>,
    now: u64,
}

impl Living {
    /// Lives through a script.
    pub fn new(script: &mut Script, events: usize) -> Self {
        let mut this = Self { states: Default::default(), deltas: Vec::new(), now: START.0 };
        while !script.is_empty() && this.deltas.len() < events {
            let (who, with) = (script.below(REPLICAS), script.below(4 * REPLICAS));
            if with < REPLICAS {
                let other = this.states[with].clone();
                this.states[who].join(other);
                this.states[with] = this.states[who].clone();
            } else {
                this.act(script, who);
            }
        }
        this
    }

    fn act(&mut self, script: &mut Script, who: usize) {
        let mut operations: Vec<Operation> = Vec::new();
        let mut delta = Delta { replica: replica(who), through: Timestamp::ZERO, operations };
        for _ in 0..=script.below(3) {
            // The last replica has a clock far behind that stands still.
            self.now += [1, 10_000, 977, 86_400_000][script.below(4)];
            let timestamp = match who {
                0 => Timestamp::new(UnixMillis(self.now / 1_000 * 1_000), self.now as u16),
                1 => Timestamp::new(UnixMillis(self.now), 0),
                _ => Timestamp::new(UnixMillis(77), 1 + self.deltas.len() as u16 * 4),
            };
            if timestamp <= self.states[who].seen().of(delta.replica).max(delta.through) {
                continue;
            }
            delta.through = timestamp;
            if script.below(16) > 0 {
                let (profile, change) = change(script, &self.states[who]);
                operations = vec![Operation { timestamp, profile, change }];
                let alone = Delta { operations: operations.clone(), ..delta.clone() };
                self.states[who].merge(&alone);
                delta.operations.append(&mut operations);
            }
        }
        if delta.through > Timestamp::ZERO {
            self.states[who].cover(delta.replica, delta.through);
            self.deltas.push(delta);
        }
    }
}

/// What the server makes of a delta: refused operations are left out. Returns what it passes on.
pub fn take(state: &mut Household, delta: &Delta) -> Delta {
    let mut taken = Delta { operations: Vec::new(), ..delta.clone() };
    let known = state.seen().of(delta.replica);
    for operation in delta.operations.iter().filter(|operation| operation.timestamp > known) {
        if state.check(operation).is_ok() {
            let (through, operations) = (operation.timestamp, vec![operation.clone()]);
            state.merge(&Delta { replica: delta.replica, through, operations });
            taken.operations.push(operation.clone());
        }
    }
    state.cover(delta.replica, delta.through);
    taken
}
