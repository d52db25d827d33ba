//! Whole states.

use super::meaning::{self, error, hex, state, unhex};
use super::story::{
    GUEST, HOME, KIDS, PHONE, START_MS, Story, TABLET, TV, add, at, device, dot, name, play,
    remove, state_bytes, take_off, television,
};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::household::{
    DEVICES_MAX, Household, PROFILES_EVER_MAX, PROFILES_MAX, REPLICAS_MAX, STATE_VERSION,
};
use omega_sync_core::id::{ProfileId, ReplicaId};
use omega_sync_core::operation::PlayState::{Finished, Paused, Playing, Stopped};
use omega_sync_core::operation::{Change, DeviceRecord, OBSERVED_MAX};
use omega_sync_core::rangecoder::{Bit, Coder, Number};
use serde_json::{Value, json};

pub const ABOUT: &str = "Whole states: u8 state version, then the difference from the empty state. \
    Lists are sorted by id, titles by their bytes. A profile without a name field has none.";

/// Seconds of 48 bits of milliseconds: the greatest distance of the base.
const STAMP_SECONDS_MAX: u64 = (1 << 48) / 1_000;

fn vector(name: &str, story: &Story) -> Value {
    let bytes = hex(&state_bytes(&story.household));
    json!({"name": name, "bytes": bytes, "state": state(&story.household)})
}

pub fn vectors() -> Vec<Value> {
    let mut vectors = vec![
        vector("nothing", &Story::new()),
        vector("one title", &Story::new().then(TV, at(0, 0), HOME, add("tmdb:550", &[]))),
        vector("the default profile with a name", &named()),
        vector("two profiles", &two_profiles()),
        vector("a deleted profile", &deleted()),
        vector("a replica of which nothing is left", &Story::new().cover(TABLET, at(1, 65_535))),
        vector("devices", &devices()),
        vector("titles of every shape", &titles()),
        vector("progress of every kind", &progress()),
        vector("whole seconds", &stamps(1_000)),
        vector("milliseconds", &stamps(1)),
        vector("stamps from 1970 to the end of time", &far_stamps()),
        vector("adds of several replicas", &concurrent()),
        vector("many replicas", &many_replicas()),
        vector("as many live adds as a title may have", &most_adds()),
        vector("as many profiles as there may be", &most_profiles()),
        vector("as many devices as there may be", &most_devices()),
    ];
    vectors.extend(bad());
    vectors
}

fn named() -> Story {
    Story::new().then(PHONE, at(-7_000, 0), HOME, name("Wohnzimmer"))
}

pub fn two_profiles() -> Story {
    Story::new()
        .then(TV, at(0, 0), HOME, add("tmdb:550", &[]))
        .then(TV, at(1_000, 0), KIDS, name("Kids"))
        .then(PHONE, at(2_000, 0), KIDS, add("tmdb:12", &[]))
        .then(PHONE, at(3_000, 0), KIDS, play("tmdb:12", 1_200, 6_000, Playing))
        .then(TV, at(4_000, 0), GUEST, name("Gäste 🎬"))
        .then(PHONE, at(5_000, 0), HOME, play("tmdb:550", 60, 8_340, Paused))
        .then(TV, at(6_000, 0), HOME, remove("tmdb:551", &[]))
}

fn deleted() -> Story {
    two_profiles().then(TABLET, at(7_000, 0), GUEST, Change::DeleteProfile).then(
        TABLET,
        at(8_000, 0),
        KIDS,
        play("tmdb:13", 9, 0, Stopped),
    )
}

fn devices() -> Story {
    let plain = DeviceRecord { app_version: "1".into(), ..DeviceRecord::default() };
    Story::new()
        .then(TV, at(0, 0), HOME, device("tv-1", Some(television("4.2.0"))))
        .then(TV, at(1_000, 0), HOME, device("tv-2", Some(television("4.2.1"))))
        .then(PHONE, at(2_000, 0), HOME, device("phone", Some(plain)))
        .then(TABLET, at(3_000, 0), HOME, device("old tablet", None))
}

pub fn titles() -> Story {
    let ids = [
        "tmdb:550",
        "tmdb:551",
        "tmdb:1207341",
        "tmdb:0",
        "tmdb:007",
        "tmdb:",
        "550",
        "tt0111161",
        "tt00111161",
        "x999999999999999",
        "x1000000000000000",
        "x9999999999999999999",
        "Großstadt",
        "0000",
        "0",
        "5f3c9e1a-77b2-4f5e-9c1d-0a1b2c3d4e5f",
        "a film",
        "film-é-9",
    ];
    let mut story = Story::new();
    for (count, id) in (0..).zip(ids) {
        story = story.then(TV, at(count * 1_000, 0), HOME, add(id, &[]));
    }
    let longest = format!("{}9", "z".repeat(63));
    story.then(TV, at(60_000, 0), HOME, take_off(&longest))
}

fn progress() -> Story {
    let most = u32::MAX;
    let entries = [
        play("a:1", 0, 0, Playing),
        play("a:2", 77, 0, Playing),
        play("a:3", 0, 7_200, Playing),
        play("a:4", 7_199, 7_200, Paused),
        play("a:5", 7_200, 7_200, Stopped),
        play("a:6", 7_300, 7_200, Stopped),
        play("a:7", 7_200, 7_200, Finished),
        play("a:8", 7_111, 7_200, Finished),
        play("a:9", 0, 5, Finished),
        play("a:10", most, 7_200, Finished),
        play("a:11", most, most, Playing),
        play("a:12", 3_000_000_000, most, Paused),
        play("a:13", 1, 70_000, Playing),
        take_off("a:14"),
    ];
    let mut story = Story::new();
    for (count, change) in (0..).zip(entries) {
        story = story.then(TV, at(count * 60_000, 0), HOME, change);
    }
    story.then(TV, at(0, 0), HOME, add("a:1", &[])).then(
        PHONE,
        at(1_000, 0),
        HOME,
        add("a:14", &[]),
    )
}

fn stamps(unit_ms: i64) -> Story {
    Story::new()
        .then(TV, at(-86_400 * unit_ms, 0), HOME, add("tmdb:1", &[]))
        .then(PHONE, at(-3_600 * unit_ms, 1), HOME, add("tmdb:2", &[]))
        .then(TV, at(7 * unit_ms, 0), HOME, play("tmdb:1", 4, 9, Paused))
        .cover(TV, at(11 * unit_ms, 300))
}

fn far_stamps() -> Story {
    Story::new()
        .then(TV, Timestamp(1), HOME, add("tmdb:1", &[]))
        .then(TV, Timestamp::new(UnixMillis(999), 65_535), HOME, add("tmdb:2", &[]))
        .then(PHONE, Timestamp(u64::MAX), HOME, add("tmdb:3", &[]))
}

fn concurrent() -> Story {
    Story::new()
        .then(TV, at(0, 0), HOME, add("tmdb:1", &[]))
        .then(PHONE, at(0, 0), HOME, add("tmdb:1", &[]))
        .then(TABLET, at(0, 1), HOME, add("tmdb:1", &[]))
        .then(TV, at(1_500, 0), HOME, add("tmdb:2", &[]))
        .then(PHONE, at(1_500, 0), HOME, add("tmdb:2", &[dot(TV, at(1_500, 0))]))
        .then(TABLET, at(1_500, 0), HOME, remove("tmdb:1", &[dot(TV, at(0, 0))]))
}

fn many_replicas() -> Story {
    let mut story = Story::new();
    for count in 0..20_u64 {
        let replica = ReplicaId(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let after_ms = count as i64 * 1_777;
        let change = match count % 3 {
            0 => add(&format!("tmdb:{}", count * 37), &[]),
            1 => play(&format!("tmdb:{}", count * 41), count as u32, 5_400, Playing),
            _ => take_off("tmdb:1"),
        };
        story = story.then(replica, at(after_ms, 0), HOME, change);
    }
    story
}

fn most_adds() -> Story {
    let adds = 0..OBSERVED_MAX as i64;
    adds.fold(Story::new(), |story, count| {
        story.then(TV, at(count * 1_000, 0), HOME, add("tmdb:1", &[]))
    })
}

fn most_profiles() -> Story {
    let others = 1..PROFILES_MAX as u64;
    others.fold(Story::new(), |story, count| {
        story.then(TV, at(count as i64, 0), ProfileId(count << 32), name(&count.to_string()))
    })
}

fn most_devices() -> Story {
    let devices = 0..DEVICES_MAX as i64;
    devices.fold(Story::new(), |story, count| {
        story.then(TV, at(count * 1_000, 0), HOME, device(&count.to_string(), None))
    })
}

/// Writes a difference from nothing by hand, as `docs/protocol.md` says.
pub struct Hand {
    coder: Coder<'static>,
    none: Bit,
}

impl Hand {
    pub fn new() -> Self {
        let mut coder = Coder::writer();
        coder.bit(&mut Bit::default(), true);
        Self { coder, none: Bit::rare(2) }
    }

    pub fn count(&mut self, count: u64) {
        if self.coder.bit(&mut self.none, count > 0) {
            self.coder.small(count - 1);
        }
    }

    pub fn ids(&mut self, ids: &[u64]) {
        self.count(ids.len() as u64);
        for id in ids {
            self.coder.direct(64, *id);
        }
    }

    /// The base is the start, all stamps are whole seconds before it and at most `oldest`: 0 or 1.
    fn base(&mut self, oldest: u64) -> Number {
        self.base_at(false, START_MS / 1_000);
        self.coder.bit(&mut Bit::default(), false);
        self.coder.bit(&mut Bit::rare(1), true);
        self.coder.direct(6, oldest);
        Number::new(oldest as u32, false, oldest)
    }

    /// The base, whole seconds from 1970.
    pub fn base_at(&mut self, earlier: bool, seconds: u64) {
        self.coder.bit(&mut Bit::rare(2), earlier);
        self.coder.number(&mut Number::new(31, false, STAMP_SECONDS_MAX), seconds);
        self.coder.bit(&mut Bit::default(), false);
    }

    /// One replica, one name for the default profile, and up to where the replica was seen.
    fn name(mut self, text: &[u8], seen: Option<u64>) -> Self {
        self.ids(&[7]);
        let mut age = self.base(seen.unwrap_or_default());
        let mut counter = Bit::rare(6);
        self.ids(&[]);
        self.ids(&[]);
        self.coder.bit(&mut Bit::rare(1), true);
        self.coder.number(&mut age, 0);
        self.coder.bit(&mut counter, false);
        self.coder.number(&mut Number::new(4, false, 64), text.len() as u64);
        let mut trees = vec![Vec::new(); 32];
        let mut before = 0;
        for byte in text {
            self.coder.symbol(&mut trees[before % 32], usize::from(*byte), 256);
            before = usize::from(*byte);
        }
        self.coder.bit(&mut Bit::rare(1), false);
        self.count(0);
        if self.coder.bit(&mut Bit::rare(1), seen.is_some()) {
            self.coder.number(&mut age, seen.unwrap_or_default());
            self.coder.bit(&mut counter, false);
        }
        self
    }

    fn body(self) -> Vec<u8> {
        self.coder.finish().expect("a writer does not fail")
    }

    /// The difference with its length.
    pub fn with_length(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(&self.body());
        writer.finish()
    }

    fn state(self) -> Vec<u8> {
        whole(&self.body())
    }
}

/// A state with this body.
fn whole(body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(STATE_VERSION);
    writer.bytes(body);
    writer.finish()
}

fn hand(write: impl FnOnce(&mut Hand)) -> Vec<u8> {
    let mut hand = Hand::new();
    write(&mut hand);
    hand.state()
}

fn bad() -> Vec<Value> {
    let good = state_bytes(&two_profiles().household);
    let longer = whole(&[&good[2..], &[1; 5]].concat());
    let padded = whole(&[&good[2..], &[0]].concat());
    let newer = [&[STATE_VERSION + 1], &good[1..]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no bytes", Vec::new(), "truncated"),
        ("no difference", vec![STATE_VERSION], "truncated"),
        ("an older version", vec![STATE_VERSION - 1, 0], "version"),
        ("a newer version", newer, "version"),
        ("a newer version of which nothing else is known", vec![255], "version"),
        ("a byte less than its length says", good[..good.len() - 1].to_vec(), "truncated"),
        ("a byte after the state", [&good[..], &[0]].concat(), "trailing"),
        ("a byte that the reader does not reach", longer, "trailing"),
        ("a zero at the end", padded, "trailing"),
        ("a zero for nothing", whole(&[0]), "trailing"),
        ("a length of 512 KiB and one", vec![STATE_VERSION, 0x81, 0x80, 0x20], "limit"),
        ("a padded length", vec![STATE_VERSION, 0x80, 0x00], "invalid"),
        ("too many replicas", hand(|h| h.count(REPLICAS_MAX as u64 + 1)), "limit"),
        (
            "too many profiles that were deleted",
            hand(|h| (h.ids(&[]), h.base(0), h.count(PROFILES_EVER_MAX as u64 + 1)).2),
            "limit",
        ),
        ("two replicas with one id", hand(|h| h.ids(&[5, 5])), "invalid"),
        ("replicas in the wrong order", hand(|h| h.ids(&[5, 4])), "invalid"),
        (
            "the default profile deleted",
            hand(|h| (h.ids(&[]), h.base(0), h.ids(&[0])).2),
            "invalid",
        ),
        (
            "the default profile is new",
            hand(|h| (h.ids(&[]), h.base(0), h.ids(&[]), h.ids(&[0])).3),
            "invalid",
        ),
        ("a dot without a replica", hand(unnamed), "invalid"),
        ("a dot that was not seen", Hand::new().name(b"x", Some(1)).state(), "invalid"),
        ("a name that is not UTF-8", Hand::new().name(&[0xff], None).state(), "invalid"),
    ];
    let bad = |(name, bytes, error): (&str, Vec<u8>, &str)| {
        let bytes = hex(&bytes);
        json!({"name": name, "bytes": bytes, "error": error})
    };
    let mut vectors: Vec<Value> = cases.into_iter().map(bad).collect();
    // The same by hand, but right: what the bad ones differ in is what is refused.
    let right = Hand::new().name(b"x", None).state();
    let stated = Story::new().then(ReplicaId(7), at(0, 0), HOME, name("x")).household;
    vectors.push(json!({
        "name": "a name, written by hand", "bytes": hex(&right), "state": state(&stated),
    }));
    vectors
}

/// A name in a difference of no replica.
fn unnamed(hand: &mut Hand) {
    hand.ids(&[]);
    hand.base(0);
    hand.ids(&[]);
    hand.ids(&[]);
    hand.coder.bit(&mut Bit::rare(1), true);
}

fn decode(bytes: &[u8]) -> Result<Household, DecodeError> {
    let mut reader = Reader::new(bytes);
    let household = Household::decode(&mut reader)?;
    reader.finish()?;
    Ok(household)
}

/// A state from a vector's hex digits.
pub fn from_hex(value: &Value) -> Household {
    decode(&unhex(value)).expect("a state")
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let bytes = unhex(&vector["bytes"]);
    let household = decode(&bytes).map_err(error)?;
    let written = hex(&state_bytes(&household));
    Ok(json!({"state": meaning::state(&household), "bytes": written}))
}
