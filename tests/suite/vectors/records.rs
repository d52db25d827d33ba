//! What a device stores: an image, then records.

use super::meaning::{self, error, hex, id, number, signed, stamp, unhex, with};
use super::states::two_profiles;
use super::story::{
    HOME, KIDS, PHONE, START_MS, TABLET, add, at, content, device, dot, name, play, remove,
    state_bytes, television,
};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{Reader, checksum};
use omega_sync_core::delta::Delta;
use omega_sync_core::id::{DeviceId, EpochId, HouseholdId, ProfileId, Random};
use omega_sync_core::message::{Taken, Welcome};
use omega_sync_core::operation::PlayState::{Paused, Playing};
use omega_sync_core::operation::{Intent, Operation, Progress, VoidReason};
use omega_sync_core::replica::record::{RECORD_VERSION, Record};
use omega_sync_core::replica::{Now, Rejected, Replica};
use serde_json::{Value, json};

mod shown;

pub use shown::shown;

pub const ABOUT: &str = "\
    What a device stores: records, the image first, and the replica that comes out. shown is \
    what the engine's class answers: watchlist and progress of each profile as flat lists. A \
    damaged log counts up to the record before (kept); what comes after has an error. A \
    newer version is an error of all, and nothing may be changed.";
pub const STORED_ABOUT: &str = "\
    As records.json, written by one version of the records: every later version must load \
    it. Never changed once that version was released.";

/// Seed of the ids that a replica takes: the same in every run.
const SEED: [u8; 16] = *b"vectors in order";
const EPOCH: EpochId = EpochId(0x1122_3344_5566_7788);

/// A replica that stores what it does.
pub struct Device {
    pub replica: Replica,
    pub records: Vec<Vec<u8>>,
    now_ms: u64,
}

impl Device {
    pub fn new() -> Self {
        let household = HouseholdId::new("home-7").expect("a valid id");
        let replica = Replica::new(Some(household), &mut Random::new(SEED));
        let records = vec![replica.image()];
        Self { replica, records, now_ms: START_MS }
    }

    fn now(&self) -> Now {
        Now { unix: UnixMillis(self.now_ms), steady_ms: self.now_ms - START_MS }
    }

    fn store(&mut self, record: &Record) {
        self.records.push(record.encode());
    }

    fn operate(&mut self, leaves: bool, intent: Intent) -> Timestamp {
        self.now_ms += 1_000;
        let done = self.replica.operate(self.now(), intent, |_| leaves);
        let (record, _) = done.expect("it can be done").expect("something changes");
        self.records.push(record);
        self.replica.outbox().last()
    }

    /// Says hello and hears from the server; then everything is stored as one image.
    fn connect(&mut self, taken: Taken) {
        let record = self.replica.begin_session();
        self.store(&record);
        let welcome = Welcome {
            session: self.replica.session_number() as u8,
            household: None,
            epoch: (self.replica.epoch() != Some(EPOCH)).then_some(EPOCH),
            server_time: UnixMillis(self.now_ms + 2_500),
            taken: (taken != self.replica.acked()).then_some(taken),
            voids: Vec::new(),
        };
        self.replica.welcome(self.now(), 40, &welcome).expect("it fits");
        let state = two_profiles().household;
        self.replica.snapshot(70, state);
        self.records = vec![self.replica.image()];
    }
}

fn position(title: &str, position_s: u32) -> Intent {
    let progress = Progress { position_s, duration_s: 5_400, state: Playing };
    Intent::Progress(HOME, content(title), Some(progress))
}

/// One of each kind waits.
fn offline() -> Device {
    let mut device = Device::new();
    device.connect(Taken::default());
    device.operate(false, Intent::Add(HOME, content("tmdb:550")));
    device.operate(false, Intent::Remove(KIDS, content("tmdb:12")));
    device.operate(false, position("tt0111161", 61));
    device.operate(false, Intent::Progress(HOME, content("tmdb:550"), None));
    device.operate(false, Intent::NameProfile(ProfileId(0xabcd), "Teens".into()));
    device.operate(false, Intent::DeleteProfile(KIDS));
    let tv = DeviceId::new("tv-1").expect("a valid id");
    device.operate(false, Intent::DescribeDevice(tv.clone(), Some(television("4.2.0"))));
    device.operate(false, Intent::DescribeDevice(tv, None));
    device
}

/// A log with a record of every tag.
fn online() -> Device {
    let mut tv = Device::new();
    tv.connect(Taken::default());
    let first = tv.operate(false, position("tmdb:1", 10));
    let second = tv.operate(true, Intent::Add(HOME, content("tmdb:1")));
    let third = tv.operate(false, Intent::Add(ProfileId(0x00c0_ffee_0000_0001), content("tmdb:2")));
    let sent = tv.replica.mark_sent(third).expect("not sent yet");
    tv.store(&sent);
    let (record, _) = tv.replica.acknowledged(first, 1, &[]).expect("there is room");
    tv.store(&record);
    let (record, _) = tv.replica.update(update()).expect("there is room");
    tv.store(&record);
    let session = tv.replica.begin_session();
    tv.store(&session);
    let void = [(third, VoidReason::ProfileDeleted)];
    let (record, _) = tv.replica.acknowledged(third, 1, &void).expect("there is room");
    tv.store(&record);
    assert!(second > first && tv.replica.rejected().len() == 1);
    let (record, _) = tv.replica.take_rejected();
    tv.store(&record);
    tv.operate(false, position("tmdb:1", 40));
    tv
}

fn update() -> Delta {
    let operation =
        |after_ms, profile, change| Operation { timestamp: at(after_ms, 0), profile, change };
    let operations = vec![
        operation(7_500, HOME, play("tmdb:3", 5, 7_200, Paused)),
        operation(8_000, HOME, add("tmdb:3", &[])),
        operation(9_000, HOME, remove("tmdb:550", &[dot(super::story::TV, at(0, 0))])),
        operation(10_000, KIDS, name("Children")),
        operation(11_000, HOME, device("phone", Some(television("1.0")))),
    ];
    Delta { replica: PHONE, through: at(12_000, 0), operations }
}

/// Refused operations that the app has not taken, and one that waits.
fn rejected() -> Device {
    let mut tv = Device::new();
    tv.connect(Taken::default());
    let first = tv.operate(true, Intent::Add(KIDS, content("tmdb:5")));
    let second = tv.operate(true, position("tmdb:6", 10));
    let void = [(first, VoidReason::ProfileUnknown), (second, VoidReason::HouseholdFull)];
    let (record, _) = tv.replica.acknowledged(second, 1, &void).expect("both are refused");
    tv.store(&record);
    tv.operate(true, Intent::NameProfile(ProfileId(9), "Nine".into()));
    tv.records = vec![tv.replica.image()];
    tv
}

/// The server's database was put back: an offer is owed.
fn owing() -> Device {
    let mut tv = Device::new();
    tv.connect(Taken::default());
    let stamp = tv.operate(true, position("tmdb:6", 10));
    let (record, _) = tv.replica.acknowledged(stamp, 1, &[]).expect("there is room");
    tv.store(&record);
    let welcome = Welcome {
        session: tv.replica.session_number() as u8,
        household: None,
        epoch: Some(EpochId(2)),
        server_time: UnixMillis(tv.now_ms - 90_000),
        taken: Some(Taken::default()),
        voids: Vec::new(),
    };
    tv.replica.welcome(tv.now(), 40, &welcome).expect("a new epoch may have lost it");
    tv.records = vec![tv.replica.image()];
    // Its token may only read now: what it sends is refused and leaves no trace.
    let stamp = tv.operate(true, position("tmdb:5", 20));
    let void = [(stamp, VoidReason::Forbidden)];
    let (record, _) = tv.replica.acknowledged(stamp, 0, &void).expect("nothing is taken");
    tv.store(&record);
    tv
}

fn vector(name: &str, records: &[Vec<u8>]) -> Value {
    let loaded = load(records).expect("it was just written");
    let hexes: Vec<String> = records.iter().map(|record| hex(record)).collect();
    let fields = meaning_of(&loaded);
    with(json!({"name": name, "records": hexes}), fields)
}

fn meaning_of(replica: &Replica) -> Value {
    json!({"replica": replica_fields(replica), "shown": shown(replica)})
}

fn load(records: &[Vec<u8>]) -> Result<Replica, &'static str> {
    let loaded = Replica::load(records, None, &mut Random::new(SEED)).map_err(error)?;
    match loaded.damage {
        None => Ok(loaded.replica),
        Some(damage) => Err(error(damage)),
    }
}

pub fn vectors() -> Vec<Value> {
    let mut vectors = vec![
        vector("a new replica", &Device::new().records),
        vector("operations of every kind that wait", &offline().records),
        vector("a record of every tag", &online().records),
    ];
    vectors.extend(bad());
    vectors
}

pub fn stored_vectors() -> Vec<Value> {
    vec![
        vector("a television after an evening online", &online().records),
        vector("a television that was offline", &[offline().replica.image()]),
        vector("a television with refused operations", &rejected().records),
        vector("a television that owes an offer", &owing().records),
    ]
}

/// A record with these bytes and a right checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &checksum(body).to_le_bytes()[..]].concat()
}

/// A good record with other bytes in the body.
fn changed(record: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = record[..record.len() - 4].to_vec();
    change(&mut body);
    sealed(&body)
}

fn bad() -> Vec<Value> {
    let log = online().records;
    let image = &log[0];
    let state_at = image.len() - 4 - state_bytes(&two_profiles().household).len();
    let newer = |record: &[u8]| changed(record, |body| body[0] = RECORD_VERSION + 1);
    let mut flipped = log[1].clone();
    flipped[5] ^= 0x10;
    let cases: Vec<(&str, usize, Vec<Vec<u8>>, &str)> = vec![
        ("an image of a newer version", 0, vec![newer(image)], "version"),
        ("an image of version 0", 0, vec![changed(image, |body| body[0] = 0)], "version"),
        ("an image with a newer state", 0, vec![changed(image, |b| b[state_at] += 1)], "version"),
        (
            "a newer record after an image of today",
            1,
            vec![image.clone(), newer(&log[1])],
            "version",
        ),
        ("an image of three bytes", 0, vec![vec![RECORD_VERSION, 1, 0]], "truncated"),
        ("a checksum without a body", 0, vec![checksum(&[]).to_le_bytes().to_vec()], "truncated"),
        ("a body without a tag", 0, vec![sealed(&[RECORD_VERSION])], "truncated"),
        ("an image with a bit turned over", 0, vec![flip(image, 40)], "checksum"),
        (
            "a record with a bit turned over",
            1,
            vec![image.clone(), flipped, log[2].clone()],
            "checksum",
        ),
        ("a record that was cut", 3, cut(&log), "checksum"),
        ("an image with a byte too many", 0, vec![changed(image, |body| body.push(0))], "trailing"),
        (
            "a record with a byte too many",
            1,
            vec![image.clone(), changed(&log[3], |b| b.push(1))],
            "trailing",
        ),
        ("an image that ends early", 0, vec![changed(image, |b| b.truncate(20))], "truncated"),
        ("a record before the image", 0, vec![log[1].clone(), image.clone()], "invalid"),
        ("a second image", 1, vec![image.clone(), image.clone()], "invalid"),
        ("tag 0", 1, vec![image.clone(), sealed(&[RECORD_VERSION, 0])], "invalid"),
        ("tag 9", 1, vec![image.clone(), sealed(&[RECORD_VERSION, 9])], "invalid"),
        (
            "an update of a title that is only known by its place",
            1,
            vec![image.clone(), by_place()],
            "invalid",
        ),
        ("an ack with reason 5", 1, vec![image.clone(), ack(&[1, 1, 5])], "invalid"),
        (
            "an ack with 4,097 refused operations",
            1,
            vec![image.clone(), ack(&[0x81, 0x20])],
            "limit",
        ),
        (
            "an operation that is an end",
            1,
            vec![image.clone(), sealed(&[RECORD_VERSION, 2, 0x87, 1, 0, 0, 0])],
            "invalid",
        ),
    ];
    cases.into_iter().map(refused).collect()
}

fn refused(case: (&str, usize, Vec<Vec<u8>>, &str)) -> Value {
    let (name, kept, records, error) = case;
    let hexes: Vec<String> = records.iter().map(|record| hex(record)).collect();
    let vector = json!({"name": name, "records": hexes, "error": error});
    if error == "version" {
        return vector;
    }
    let damaged = Replica::load(&records, None, &mut Random::new(SEED)).expect("it is survived");
    with(vector, json!({"kept": kept, "shown": shown(&damaged.replica)}))
}

fn flip(record: &[u8], at: usize) -> Vec<u8> {
    let mut record = record.to_vec();
    record[at] ^= 1;
    record
}

/// The last record lost its last byte.
fn cut(log: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut records = log[..4].to_vec();
    records[3].pop();
    records
}

fn by_place() -> Vec<u8> {
    let replica = TABLET.0.to_le_bytes();
    sealed(&[&[RECORD_VERSION, 6, 0][..], &replica, &[0xa2, 1, 1, 0]].concat())
}

/// An acknowledgement of stamp 1 with these voids.
fn ack(voids: &[u8]) -> Vec<u8> {
    sealed(&[&[RECORD_VERSION, 5, 1, 0, 0, 0, 0, 1][..], voids].concat())
}

fn replica_fields(replica: &Replica) -> Value {
    let outbox = replica.outbox().iter().map(|pending| {
        let more = json!({"floor": stamp(pending.floor), "wall": number(pending.wall.0)});
        with(meaning::operation(&pending.operation), more)
    });
    let rejected = replica.rejected().iter().map(|Rejected { operation, reason }| {
        with(meaning::operation(operation), json!({"reason": reason.code()}))
    });
    let acked = replica.acked();
    let fields = json!({
        "id": id(replica.id().0),
        "acked": {"stamp": stamp(acked.through), "digest": acked.digest},
        "session": number(replica.session_number()), "offset_ms": signed(replica.offset_ms()),
        "sent_through": stamp(replica.outbox().sent_through()),
        "outbox": outbox.collect::<Value>(), "rejected": rejected.collect::<Value>(),
        "state": meaning::state(replica.confirmed()), "owes_offer": !replica.owed().is_empty(),
    });
    let owed: Vec<Value> = replica.owed().iter().map(meaning::state).collect();
    let owed = if owed.is_empty() { json!({}) } else { json!({"owed": owed}) };
    let fields = with(fields, owed);
    let fields = with(fields, hidden(&replica.image()));
    let household = replica.household().map(|household| json!({"household": household.as_str()}));
    with(fields, household.unwrap_or_else(|| json!({})))
}

/// What only the image says: epoch, cursor and clock.
fn hidden(image: &[u8]) -> Value {
    let mut reader = Reader::new(&image[2..]);
    let mut fields = json!({});
    let mut read = || {
        reader.fixed64()?;
        reader.bytes(64, "household")?;
        let flags = reader.u8()?;
        if flags & 1 != 0 {
            fields["epoch"] = id(reader.fixed64()?);
        }
        if flags & 2 != 0 {
            let epoch = id(reader.fixed64()?);
            fields["cursor"] = json!({"epoch": epoch, "version": number(reader.varint()?)});
        }
        reader.varint()?;
        reader.fixed32()?;
        reader.varint()?;
        fields["clock"] = stamp(Timestamp(reader.varint()?));
        Ok::<(), omega_sync_core::codec::DecodeError>(())
    };
    read().expect("an image that was just written");
    fields
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let records: Vec<Vec<u8>> =
        vector["records"].as_array().expect("records").iter().map(unhex).collect();
    let loaded = load(&records);
    if let Some(kept) = vector["kept"].as_u64() {
        let damaged = Replica::load(&records, None, &mut Random::new(SEED)).map_err(error)?.replica;
        let name = &vector["name"];
        assert_eq!(shown(&damaged), vector["shown"], "{name}");
        assert_eq!(damaged.cursor(), None, "{name}: it asks for a snapshot");
        let kept = load(&records[..kept as usize]).expect("records before the damage");
        assert_eq!(damaged.confirmed(), kept.confirmed(), "{name}");
        assert!(damaged.id() != kept.id() || kept.session_number() == 0, "{name}: a new id");
    }
    let replica = loaded?;
    if records.len() == 1 && replica.image() != records[0] {
        panic!("{}: written otherwise", vector["name"]);
    }
    Ok(meaning_of(&replica))
}
