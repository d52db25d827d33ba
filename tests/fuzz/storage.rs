//! What is read from storage: a device's records, and a household as the server's store has it.

use crate::device::Device;
use crate::input::{Script, parts};
use crate::sessions::{Home, household, intent};
use omega_sync_core::codec::{Reader, Writer, checksum};
use omega_sync_core::id::{EpochId, Random, ReplicaId};
use omega_sync_core::message::{Hello, Session};
use omega_sync_core::replica::Replica;
use omega_sync_core::replica::record::RECORD_VERSION;
use omega_sync_core::session::server::{ConnectionId, Room, RoomInput, Stored};

const SEED: [u8; 16] = [3; 16];
/// Version and checksum around a record.
const VERSION_BYTES: usize = 1;
const CHECKSUM_BYTES: usize = 4;

/// A record with this tag and body.
fn sealed(part: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(RECORD_VERSION);
    writer.raw(part);
    writer.fixed32(checksum(writer.as_slice()));
    writer.finish()
}

/// Tag and body of a record.
pub fn opened(record: &[u8]) -> &[u8] {
    &record[VERSION_BYTES..record.len() - CHECKSUM_BYTES]
}

/// Records with right checksums. What is loaded can be stored, and goes on.
pub fn records(data: &[u8]) {
    let parts = parts(data);
    let records: Vec<Vec<u8>> = parts.iter().map(|part| sealed(part)).collect();
    let Ok(loaded) = Replica::load(&records, None, &mut Random::new(SEED)) else { return };
    let image = loaded.replica.image();
    let again = Replica::load(&[image], None, &mut Random::new(SEED)).expect("our version");
    assert_eq!(again.damage, None);
    assert_eq!(again.replica, loaded.replica);
    let mut device = Device::boot(&records, SEED).expect("it was just loaded");
    let mut script = Script(parts.last().copied().unwrap_or_default());
    for _ in 0..4 {
        let state = device.client.replica().confirmed().clone();
        device.operate(intent(&mut script, &state));
        device.connect();
    }
    device.comes_back();
    let replica = device.client.replica();
    for (profile, _) in replica.profiles() {
        assert!(replica.has_profile(profile));
        assert!(
            replica
                .watchlist(profile)
                .iter()
                .all(|item| { replica.is_listed(profile, &item.content) })
        );
        assert!(
            replica
                .all_progress(profile)
                .iter()
                .all(|item| { replica.progress(profile, &item.content).as_ref() == Some(item) })
        );
    }
}

/// An input for [`room`].
pub fn stored_parts(stored: &Stored) -> Vec<Vec<u8>> {
    let mut head = Writer::new();
    head.varint(stored.version);
    head.varint(stored.snapshot_version);
    head.varint(stored.replicas.len() as u64);
    let mut parts = vec![head.finish(), stored.snapshot.clone()];
    parts.extend(stored.replicas.iter().map(|(id, row)| [&id.0.to_le_bytes()[..], row].concat()));
    parts.extend(stored.log.iter().map(|(version, bytes)| {
        let mut entry = Writer::new();
        entry.varint(*version);
        entry.raw(bytes);
        entry.finish()
    }));
    parts
}

fn stored(data: &[u8]) -> Option<Stored> {
    let mut parts = parts(data).into_iter();
    let mut head = Reader::new(parts.next()?);
    let (version, snapshot_version) = (head.varint().ok()?, head.varint().ok()?);
    let rows = head.varint().ok()? as usize;
    let snapshot = parts.next()?.to_vec();
    let mut stored = Stored {
        epoch: EpochId(1),
        revision: 1,
        version,
        snapshot,
        snapshot_version,
        log: Vec::new(),
        replicas: Vec::new(),
    };
    for part in parts {
        let mut reader = Reader::new(part);
        if stored.replicas.len() < rows {
            let id = ReplicaId(reader.fixed64().ok()?);
            stored.replicas.push((id, reader.rest().to_vec()));
        } else {
            stored.log.push((reader.varint().ok()?, reader.rest().to_vec()));
        }
    }
    Some(stored)
}

/// A household as a store has it: whoever comes then is brought to the present.
pub fn room(data: &[u8]) {
    let Some(stored) = stored(data) else { return };
    let mut behind = Room::create(household(), stored.epoch);
    let followed = behind.follow(&stored).is_ok();
    let loaded = Room::load(household(), &stored);
    assert_eq!(followed, loaded.is_ok(), "a room follows from nothing to what can be loaded");
    let Ok(room) = loaded else { return };
    assert_eq!(behind.household(), room.household());
    let mut home = Home::new(room);
    for back in 0..4 {
        let Some(version) = stored.version.checked_sub(back) else { break };
        let hello = Hello {
            token: String::new(),
            household: None,
            replica: ReplicaId(900 + back),
            session: Session { number: 1, nonce: 1 },
            acked: None,
            epoch: Some(EpochId(1).mark()),
            cursor: Some(version),
            owes_offer: false,
        };
        let connection = ConnectionId(10 + back);
        home.handle(RoomInput::Hello { connection, hello, may_write: true });
    }
    home.stored.revision = home.room.revision();
    home.settle();
    home.settle();
    let replica = home.device.client.replica();
    if home.device.connected {
        assert_eq!(replica.confirmed(), home.room.household());
    }
}
