//! Values of the core as JSON: what a vector says that bytes mean.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::delta::Delta;
use omega_sync_core::household::{Household, Key};
use omega_sync_core::id::{ProfileId, ReplicaId};
use omega_sync_core::operation::{Capabilities, Change, DeviceRecord, Operation, Progress};
use serde_json::{Map, Value, json};

/// Above this a JSON number is not exact everywhere.
const EXACT_MAX: u64 = 1 << 53;
const STATES: [&str; 4] = ["playing", "paused", "stopped", "finished"];
const DEVICE_TYPES: [&str; 5] = ["tv", "phone", "tablet", "computer", "other"];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex digits");
    assert!(text.len().is_multiple_of(2), "whole bytes");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

pub fn error(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Truncated => "truncated",
        DecodeError::Trailing => "trailing",
        DecodeError::Limit(_) => "limit",
        DecodeError::Invalid(_) => "invalid",
        DecodeError::Version(_) => "version",
        DecodeError::Checksum => "checksum",
    }
}

/// A number; as text when JavaScript could not hold it.
pub fn number(value: u64) -> Value {
    if value <= EXACT_MAX { value.into() } else { value.to_string().into() }
}

pub fn signed(value: i64) -> Value {
    if value.unsigned_abs() <= EXACT_MAX { value.into() } else { value.to_string().into() }
}

pub fn to_u64(value: &Value) -> u64 {
    let text = value.as_str().map(|text| text.parse().expect("digits"));
    text.or(value.as_u64()).expect("a number")
}

pub fn id(id: u64) -> Value {
    format!("{id:016x}").into()
}

pub fn to_id(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().expect("hex digits"), 16).expect("hex digits")
}

pub fn stamp(stamp: Timestamp) -> Value {
    json!([stamp.millis().0, stamp.counter()])
}

pub fn to_stamp(value: &Value) -> Timestamp {
    let counter = value[1].as_u64().expect("a counter");
    Timestamp(to_u64(&value[0]) << 16 | counter)
}

pub fn dot(dot: Dot) -> Value {
    json!({"replica": id(dot.replica.0), "stamp": stamp(dot.timestamp)})
}

pub fn to_dot(value: &Value) -> Dot {
    Dot { replica: ReplicaId(to_id(&value["replica"])), timestamp: to_stamp(&value["stamp"]) }
}

pub fn dots(dots: &[Dot]) -> Value {
    dots.iter().map(|one| dot(*one)).collect()
}

/// The fields of two objects in one.
pub fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn progress(progress: Option<Progress>) -> Value {
    match progress {
        None => json!({"removed": true}),
        Some(Progress { position_s, duration_s, state }) => json!({
            "state": STATES[state as usize], "position": position_s, "duration": duration_s,
        }),
    }
}

fn record(record: Option<&DeviceRecord>) -> Value {
    let Some(record) = record else {
        return json!({"removed": true});
    };
    let Capabilities { resolution, hdr, audio, video, .. } = record.capabilities;
    let flags = u32::from(record.capabilities.can_cast) << 4
        | u32::from(record.capabilities.remote_controllable) << 5;
    let capabilities = resolution as u32
        | flags
        | u32::from(hdr) << 6
        | u32::from(video) << 10
        | u32::from(audio) << 16
        | u32::from(record.capabilities.screen_inches) << 24;
    json!({"record": {
        "name": record.name, "type": DEVICE_TYPES[record.device_type as usize],
        "platform": record.platform, "app_version": record.app_version,
        "capabilities": capabilities,
    }})
}

pub fn operation(operation: &Operation) -> Value {
    let (kind, more) = match &operation.change {
        Change::Add(content, observed) => {
            ("add", json!({"content": content.as_str(), "observed": dots(observed)}))
        }
        Change::Remove(content, observed) => {
            ("remove", json!({"content": content.as_str(), "observed": dots(observed)}))
        }
        Change::Progress(content, Some(value)) => {
            ("progress", with(json!({"content": content.as_str()}), progress(Some(*value))))
        }
        Change::Progress(content, None) => {
            ("progress_removed", json!({"content": content.as_str()}))
        }
        Change::NameProfile(name) => ("name", json!({"name": name})),
        Change::DeleteProfile => ("delete", json!({})),
        Change::Device(device, value) => {
            ("device", with(json!({"device": device.as_str()}), record(value.as_ref())))
        }
    };
    let fields = json!({
        "stamp": stamp(operation.timestamp), "profile": id(operation.profile.0), "kind": kind,
    });
    with(fields, more)
}

pub fn delta(delta: &Delta) -> Value {
    let operations: Vec<Value> = delta.operations.iter().map(operation).collect();
    json!({
        "replica": id(delta.replica.0), "through": stamp(delta.through), "operations": operations,
    })
}

pub fn state(state: &Household) -> Value {
    let seen = state.seen().iter();
    let seen: Value = seen
        .map(|(replica, seen)| json!({"replica": id(replica.0), "stamp": stamp(seen)}))
        .collect();
    let deleted = state.keys().filter_map(|key| match key {
        Key::Deleted(profile) => Some(id(profile.0)),
        _ => None,
    });
    let profiles = state.profiles().map(|(profile_id, _)| profile(state, profile_id));
    let devices = state.devices().iter().map(|(device, register)| {
        let named = json!({"id": device.as_str(), "dot": dot(register.dot)});
        with(named, record(register.value.as_ref()))
    });
    json!({
        "seen": seen, "deleted": deleted.collect::<Value>(),
        "profiles": profiles.collect::<Value>(), "devices": devices.collect::<Value>(),
    })
}

fn profile(state: &Household, profile_id: ProfileId) -> Value {
    let profile = state.profile(profile_id).expect("one of its own");
    let mut fields = Map::new();
    fields.insert("id".into(), id(profile_id.0));
    if let Some(naming) = profile.naming() {
        let name = json!({"dot": dot(naming.dot), "text": naming.value});
        fields.insert("name".into(), name);
    }
    let watchlist = profile.watchlist().iter();
    let watchlist =
        watchlist.map(|(content, live)| json!({"content": content.as_str(), "adds": dots(live)}));
    fields.insert("watchlist".into(), watchlist.collect());
    let entries = profile.progress().iter().map(|(content, register)| {
        let named = json!({"content": content.as_str(), "dot": dot(register.dot)});
        with(named, progress(register.value))
    });
    fields.insert("progress".into(), entries.collect());
    fields.into()
}
