//! A household with a past, told operation by operation: states and differences are taken from it.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::Writer;
use omega_sync_core::delta::Delta;
use omega_sync_core::household::{History, Household};
use omega_sync_core::id::{ContentId, DeviceId, ProfileId, ReplicaId};
use omega_sync_core::operation::{
    Capabilities, Change, DeviceRecord, DeviceType, Operation, PlayState, Progress, Resolution,
};

/// When everything here begins: a whole second in 2027.
pub const START_MS: u64 = 1_800_000_000_000;

pub const TV: ReplicaId = ReplicaId(0x0123_4567_89ab_cdef);
pub const PHONE: ReplicaId = ReplicaId(0xfedc_ba98_7654_3210);
pub const TABLET: ReplicaId = ReplicaId(0x8000_0000_0000_0001);
pub const HOME: ProfileId = ProfileId::DEFAULT;
pub const KIDS: ProfileId = ProfileId(0x00c0_ffee_0000_0001);
pub const GUEST: ProfileId = ProfileId(0xffff_0000_ffff_0000);

pub fn content(text: &str) -> ContentId {
    ContentId::new(text).expect("a valid id")
}

/// A stamp so many milliseconds after the start.
pub fn at(after_ms: i64, counter: u16) -> Timestamp {
    Timestamp::new(UnixMillis(START_MS.saturating_add_signed(after_ms)), counter)
}

pub fn dot(replica: ReplicaId, timestamp: Timestamp) -> Dot {
    Dot { timestamp, replica }
}

pub fn add(title: &str, observed: &[Dot]) -> Change {
    Change::Add(content(title), observed.to_vec())
}

pub fn remove(title: &str, observed: &[Dot]) -> Change {
    Change::Remove(content(title), observed.to_vec())
}

pub fn play(title: &str, position_s: u32, duration_s: u32, state: PlayState) -> Change {
    Change::Progress(content(title), Some(Progress { position_s, duration_s, state }))
}

pub fn take_off(title: &str) -> Change {
    Change::Progress(content(title), None)
}

pub fn name(text: &str) -> Change {
    Change::NameProfile(text.into())
}

pub fn device(id: &str, record: Option<DeviceRecord>) -> Change {
    Change::Device(DeviceId::new(id).expect("a valid id"), record)
}

/// A television with something in every field.
pub fn television(app_version: &str) -> DeviceRecord {
    DeviceRecord {
        name: "Living room".into(),
        device_type: DeviceType::Tv,
        platform: "webOS 5".into(),
        app_version: app_version.into(),
        capabilities: Capabilities {
            resolution: Resolution::UltraHd,
            hdr: 0b0101,
            audio: 0b1000_1111,
            video: 0b00_1011,
            remote_controllable: true,
            can_cast: false,
            screen_inches: 55,
        },
    }
}

/// What a household was at each version.
#[derive(Clone)]
pub struct Story {
    pub household: Household,
    history: History,
    version: u64,
}

impl Story {
    pub fn new() -> Self {
        Self { household: Household::default(), history: History::new(0), version: 0 }
    }

    /// One operation becomes the next version.
    pub fn then(
        mut self,
        replica: ReplicaId,
        timestamp: Timestamp,
        profile: ProfileId,
        change: Change,
    ) -> Self {
        let operations = vec![Operation { timestamp, profile, change }];
        self.take(&Delta { replica, through: timestamp, operations });
        self
    }

    /// Nothing is left of what a replica did up to a stamp.
    pub fn cover(mut self, replica: ReplicaId, through: Timestamp) -> Self {
        self.take(&Delta { replica, through, operations: Vec::new() });
        self
    }

    fn take(&mut self, delta: &Delta) {
        self.version += 1;
        self.history.note(self.version, self.household.touched_by(delta));
        self.household.merge(delta);
    }

    /// The bytes of what was touched since another moment of this story.
    pub fn since(&self, before: &Self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.household.encode_difference(&mut writer, &self.history.since(before.version));
        writer.finish()
    }
}

/// The state's bytes.
pub fn state_bytes(household: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    household.encode(&mut writer);
    writer.finish()
}
