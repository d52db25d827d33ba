//! What a body says, as plain as people write it who have no codec: records of fixed-width fields,
//! and JSON. Neither says more than the body does.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::Writer;
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, DeviceId, ProfileId, ReplicaId};
use omega_sync_core::operation::{
    Capabilities, Change, DeviceRecord, Operation, PlayState, Progress,
};
use serde_json::{Value, json};

/// One statement of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A device did this.
    Operation(Operation),
    /// The live adds of a title, none when it left the watchlist.
    Watchlist(ProfileId, ContentId, Vec<Dot>),
    /// The progress of a title.
    Progress(ProfileId, ContentId, Dot, Option<Progress>),
    /// What a device says of itself.
    Device(DeviceId, Dot, Option<DeviceRecord>),
    /// Up to where a replica was seen.
    Seen(ReplicaId, Timestamp),
}

/// What is otherwise in `after`: of profiles that both have, because no trace makes or deletes one.
pub fn difference_of(before: &Household, after: &Household) -> Vec<Record> {
    let mut records = Vec::new();
    for (id, now) in after.profiles() {
        let Some(old) = before.profile(id) else { continue };
        for (content, dots) in now.watchlist().iter() {
            if old.watchlist().dots(content) != dots {
                records.push(Record::Watchlist(id, content.clone(), dots.to_vec()));
            }
        }
        for (content, _) in old.watchlist().iter() {
            if now.watchlist().dots(content).is_empty() {
                records.push(Record::Watchlist(id, content.clone(), Vec::new()));
            }
        }
        for (content, register) in now.progress().iter() {
            if old.progress().get(content) != Some(register) {
                let (dot, value) = (register.dot, register.value);
                records.push(Record::Progress(id, content.clone(), dot, value));
            }
        }
    }
    for (device, register) in after.devices().iter() {
        if before.devices().get(device) != Some(register) {
            let value = register.value.clone();
            records.push(Record::Device(device.clone(), register.dot, value));
        }
    }
    let seen = after.seen().iter().filter(|(id, through)| before.seen().of(*id) != *through);
    records.extend(seen.map(|(replica, through)| Record::Seen(replica, through)));
    records
}

/// Fixed-width fields, little endian; texts with a length byte.
pub fn fixed(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new();
    for record in records {
        record.fixed(&mut writer);
    }
    writer.finish()
}

/// One JSON array.
pub fn json(records: &[Record]) -> Vec<u8> {
    Value::from_iter(records.iter().map(Record::json)).to_string().into_bytes()
}

impl Record {
    fn fixed(&self, writer: &mut Writer) {
        match self {
            Self::Operation(operation) => operation_fixed(writer, operation),
            Self::Watchlist(profile, content, dots) => {
                writer.u8(0x10);
                writer.fixed64(profile.0);
                text_fixed(writer, content.as_str());
                dots_fixed(writer, dots);
            }
            Self::Progress(profile, content, dot, value) => {
                writer.u8(0x11);
                writer.fixed64(profile.0);
                text_fixed(writer, content.as_str());
                dot_fixed(writer, *dot);
                progress_fixed(writer, *value);
            }
            Self::Device(device, dot, record) => {
                writer.u8(0x12);
                text_fixed(writer, device.as_str());
                dot_fixed(writer, *dot);
                device_fixed(writer, record.as_ref());
            }
            Self::Seen(replica, through) => {
                writer.u8(0x13);
                dot_fixed(writer, Dot { timestamp: *through, replica: *replica });
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Operation(operation) => operation_json(operation),
            Self::Watchlist(profile, content, dots) => json!({
                "kind": "watchlist", "profile": profile_json(*profile),
                "content": content.as_str(), "adds": dots_json(dots),
            }),
            Self::Progress(profile, content, dot, value) => json!({
                "kind": "progress", "profile": profile_json(*profile),
                "content": content.as_str(), "by": dot_json(*dot), "value": progress_json(*value),
            }),
            Self::Device(device, dot, record) => json!({
                "kind": "device", "device": device.as_str(), "by": dot_json(*dot),
                "record": device_json(record.as_ref()),
            }),
            Self::Seen(replica, through) => {
                let dot = Dot { timestamp: *through, replica: *replica };
                json!({ "kind": "seen", "by": dot_json(dot) })
            }
        }
    }
}

fn operation_fixed(writer: &mut Writer, operation: &Operation) {
    let kind = match &operation.change {
        Change::Add(..) => 0,
        Change::Remove(..) => 1,
        Change::Progress(..) => 2,
        Change::NameProfile(_) => 3,
        Change::DeleteProfile => 4,
        Change::Device(..) => 5,
    };
    writer.u8(kind);
    writer.fixed64(operation.timestamp.0);
    writer.fixed64(operation.profile.0);
    match &operation.change {
        Change::Add(content, observed) | Change::Remove(content, observed) => {
            text_fixed(writer, content.as_str());
            dots_fixed(writer, observed);
        }
        Change::Progress(content, value) => {
            text_fixed(writer, content.as_str());
            progress_fixed(writer, *value);
        }
        Change::NameProfile(name) => text_fixed(writer, name),
        Change::DeleteProfile => {}
        Change::Device(device, record) => {
            text_fixed(writer, device.as_str());
            device_fixed(writer, record.as_ref());
        }
    }
}

fn operation_json(operation: &Operation) -> Value {
    let (kind, mut value) = match &operation.change {
        Change::Add(content, observed) => {
            ("add", json!({ "content": content.as_str(), "observed": dots_json(observed) }))
        }
        Change::Remove(content, observed) => {
            ("remove", json!({ "content": content.as_str(), "observed": dots_json(observed) }))
        }
        Change::Progress(content, value) => {
            ("progress", json!({ "content": content.as_str(), "value": progress_json(*value) }))
        }
        Change::NameProfile(name) => ("name", json!({ "name": name })),
        Change::DeleteProfile => ("delete", json!({})),
        Change::Device(device, record) => {
            ("device", json!({ "device": device.as_str(), "record": device_json(record.as_ref()) }))
        }
    };
    value["kind"] = kind.into();
    value["profile"] = profile_json(operation.profile);
    value["at"] = stamp_json(operation.timestamp);
    value
}

fn text_fixed(writer: &mut Writer, text: &str) {
    // No id or name is 128 bytes long, so the length is one byte.
    writer.bytes(text.as_bytes());
}

fn dot_fixed(writer: &mut Writer, dot: Dot) {
    writer.fixed64(dot.replica.0);
    writer.fixed64(dot.timestamp.0);
}

fn dots_fixed(writer: &mut Writer, dots: &[Dot]) {
    // At most `OBSERVED_MAX`, 64.
    writer.u8(dots.len() as u8);
    for dot in dots {
        dot_fixed(writer, *dot);
    }
}

fn progress_fixed(writer: &mut Writer, value: Option<Progress>) {
    let Some(Progress { position_s, duration_s, state }) = value else {
        return writer.u8(u8::MAX);
    };
    writer.u8(state_place(state));
    writer.fixed32(position_s);
    writer.fixed32(duration_s);
}

fn device_fixed(writer: &mut Writer, record: Option<&DeviceRecord>) {
    let Some(record) = record else {
        return writer.u8(u8::MAX);
    };
    record.encode(writer);
}

fn state_place(state: PlayState) -> u8 {
    PlayState::ALL.iter().position(|other| *other == state).unwrap_or(0) as u8
}

fn stamp_json(stamp: Timestamp) -> Value {
    match stamp.counter() {
        0 => json!(stamp.millis().0),
        counter => json!([stamp.millis().0, counter]),
    }
}

fn dot_json(dot: Dot) -> Value {
    json!({ "replica": format!("{:016x}", dot.replica.0), "at": stamp_json(dot.timestamp) })
}

fn dots_json(dots: &[Dot]) -> Value {
    Value::from_iter(dots.iter().copied().map(dot_json))
}

fn profile_json(profile: ProfileId) -> Value {
    match profile {
        ProfileId::DEFAULT => json!(""),
        ProfileId(id) => json!(format!("{id:016x}")),
    }
}

fn progress_json(value: Option<Progress>) -> Value {
    let Some(Progress { position_s, duration_s, state }) = value else {
        return Value::Null;
    };
    let state = ["playing", "paused", "stopped", "finished"][usize::from(state_place(state))];
    json!({ "position": position_s, "duration": duration_s, "state": state })
}

fn device_json(record: Option<&DeviceRecord>) -> Value {
    let Some(record) = record else {
        return Value::Null;
    };
    let names = |bits: u8, names: &[&str]| -> Value {
        let set = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        Value::from_iter(set.map(|(_, name)| *name))
    };
    let device_type = ["tv", "phone", "tablet", "computer", "other"][record.device_type as usize];
    json!({
        "name": record.name, "type": device_type, "platform": record.platform,
        "app": record.app_version,
        "hdr": names(record.capabilities.hdr, &Capabilities::HDR),
        "audio": names(record.capabilities.audio, &Capabilities::AUDIO),
        "video": names(record.capabilities.video, &Capabilities::VIDEO),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use omega_sync_core::clock::UnixMillis;
    use omega_sync_core::session::metrics::plain_bytes;

    fn operation(change: Change) -> Operation {
        let timestamp = Timestamp::new(UnixMillis(1_767_225_600_000), 0);
        Operation { timestamp, profile: ProfileId::DEFAULT, change }
    }

    #[test]
    fn a_plain_record_is_as_long_as_the_metrics_say() {
        let content = || ContentId::new("tmdb:550").unwrap();
        let dot = Dot { timestamp: Timestamp(5), replica: ReplicaId(1) };
        let progress = Progress { position_s: 1, duration_s: 2, state: PlayState::Paused };
        for change in [
            Change::Add(content(), vec![dot, dot]),
            Change::Remove(content(), Vec::new()),
            Change::Progress(content(), Some(progress)),
            Change::Progress(content(), None),
            Change::NameProfile("Ana".into()),
            Change::DeleteProfile,
        ] {
            let operation = operation(change);
            let length = plain_bytes(&operation);
            assert_eq!(fixed(&[Record::Operation(operation)]).len() as u64, length);
        }
    }

    #[test]
    fn json_says_what_the_operation_says() {
        let progress = Progress { position_s: 12, duration_s: 90, state: PlayState::Finished };
        let content = ContentId::new("tmdb:550").unwrap();
        let change = Change::Progress(content, Some(progress));
        let text = json(&[Record::Operation(operation(change))]);
        let said: Value = serde_json::from_slice(&text).unwrap();
        let wanted = json!([{
            "kind": "progress", "profile": "", "at": 1_767_225_600_000_u64, "content": "tmdb:550",
            "value": { "position": 12, "duration": 90, "state": "finished" },
        }]);
        assert_eq!(said, wanted);
    }
}
