//! Numbers and stamps, each alone.

use super::meaning::{error, hex, number, signed, stamp, to_stamp, unhex};
use super::story::{TV, at, dot, remove};
use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::id::ProfileId;
use omega_sync_core::operation::{Change, Operation};
use serde_json::{Value, json};

pub const ABOUT: &str = "One number each: bytes and value. varint, signed, stamp (plain) and \
    relative_stamp (relative to from). A stamp is [Unix milliseconds, counter]; a number above \
    2^53 is text.";

fn vector(name: &str, kind: &str, bytes: &[u8], more: Value) -> Value {
    let vector = json!({"name": name, "kind": kind, "bytes": hex(bytes)});
    super::meaning::with(vector, more)
}

pub fn vectors() -> Vec<Value> {
    let mut vectors = Vec::new();
    for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 32, 1 << 53, (1 << 53) + 1, u64::MAX] {
        let mut writer = Writer::new();
        writer.varint(value);
        let name = format!("varint {value}");
        vectors.push(vector(&name, "varint", writer.as_slice(), json!({"value": number(value)})));
    }
    for value in [0, -1, 1, -64, 64, i64::from(i32::MIN), i64::MAX, i64::MIN] {
        let mut writer = Writer::new();
        writer.signed(value);
        let name = format!("signed {value}");
        vectors.push(vector(&name, "signed", writer.as_slice(), json!({"value": signed(value)})));
    }
    for value in [Timestamp::ZERO, Timestamp(1), at(0, 0), at(123, 7), Timestamp(u64::MAX)] {
        let mut writer = Writer::new();
        writer.varint(value.0);
        let name = format!("stamp {} and {}", value.millis().0, value.counter());
        vectors.push(vector(&name, "stamp", writer.as_slice(), json!({"value": stamp(value)})));
    }
    let relative = [
        ("the same", at(0, 0), at(0, 0)),
        ("the same but for the counter", at(0, 9), at(0, 8)),
        ("10 s later", at(0, 0), at(10_000, 0)),
        ("10 s later, after a counter", at(0, 5), at(10_000, 0)),
        ("1 ms earlier", at(0, 0), at(-1, 0)),
        ("1 ms earlier, with a counter", at(0, 0), at(-1, 1)),
        ("the highest counter", at(0, 0), at(1, u16::MAX)),
        ("from 1970", Timestamp::ZERO, at(0, 0)),
        ("back to 1970", at(0, 0), Timestamp::ZERO),
        ("the highest stamp", Timestamp::ZERO, Timestamp(u64::MAX)),
    ];
    for (name, from, value) in relative {
        let name = format!("relative: {name}");
        let more = json!({"from": stamp(from), "value": stamp(value)});
        vectors.push(vector(&name, "relative_stamp", &relative_bytes(from, value), more));
    }
    vectors.extend(bad());
    vectors
}

fn bad() -> Vec<Value> {
    let from = json!({"from": stamp(at(0, 0))});
    let cases: [(&str, &str, &[u8], &str); 16] = [
        ("varint of no bytes", "varint", &[], "truncated"),
        ("varint that goes on", "varint", &[0x80], "truncated"),
        ("varint with a zero too many", "varint", &[0x80, 0x00], "invalid"),
        ("varint 1 in two bytes", "varint", &[0x81, 0x00], "invalid"),
        (
            "varint of 65 bits",
            "varint",
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            "invalid",
        ),
        (
            "varint of 11 bytes",
            "varint",
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 129, 0],
            "invalid",
        ),
        ("varint and a byte", "varint", &[0x01, 0x00], "trailing"),
        ("signed that goes on", "signed", &[0xff], "truncated"),
        ("signed, padded", "signed", &[0x82, 0x00], "invalid"),
        ("stamp that goes on", "stamp", &[0x80, 0x80], "truncated"),
        ("relative: nothing", "relative_stamp", &[], "truncated"),
        ("relative: no counter", "relative_stamp", &[0x01], "truncated"),
        ("relative: counter 0", "relative_stamp", &[0x01, 0x00], "invalid"),
        ("relative: counter 65,536", "relative_stamp", &[0x01, 0x80, 0x80, 0x04], "invalid"),
        ("relative: 2^48 ms", "relative_stamp", &BEYOND, "invalid"),
        ("relative: before 1970", "relative_stamp", &BEFORE, "invalid"),
    ];
    let bad = |(name, kind, bytes, error): (&str, &str, &[u8], &str)| {
        let more = if kind == "relative_stamp" { from.clone() } else { json!({}) };
        vector(name, kind, bytes, super::meaning::with(json!({"error": error}), more))
    };
    cases.into_iter().map(bad).collect()
}

/// 2^48 ms after 1970, and 1 ms before, both from the start.
const BEYOND: [u8; 8] = [0x80, 0x80, 0xbb, 0xf4, 0xb9, 0xae, 0xfe, 0x01];
const BEFORE: [u8; 7] = [0x82, 0x80, 0xc5, 0x8b, 0xc6, 0xd1, 0x01];

/// A relative stamp stands behind this in an operation that observed one dot.
fn carrier(from: Timestamp) -> Operation {
    Operation {
        timestamp: from,
        profile: ProfileId::DEFAULT,
        change: remove("x", &[dot(TV, from)]),
    }
}

fn relative_bytes(from: Timestamp, value: Timestamp) -> Vec<u8> {
    let mut operation = carrier(from);
    operation.change = remove("x", &[dot(TV, value)]);
    let mut writer = Writer::new();
    operation.encode(&mut writer);
    writer.finish().split_off(prefix(from).len())
}

/// The carrier's bytes without the relative stamp, which is one byte for the same stamp.
fn prefix(from: Timestamp) -> Vec<u8> {
    let mut operation = carrier(from);
    operation.change = remove("x", &[dot(TV, Timestamp::new(from.millis(), 0))]);
    let mut writer = Writer::new();
    operation.encode(&mut writer);
    let mut bytes = writer.finish();
    bytes.pop();
    bytes
}

fn read_relative(bytes: &[u8], from: Timestamp) -> Result<Timestamp, DecodeError> {
    let carried = [prefix(from), bytes.to_vec()].concat();
    let mut reader = Reader::new(&carried);
    let operation = Operation::decode(&mut reader)?;
    reader.finish()?;
    match operation.change {
        Change::Remove(_, observed) => Ok(observed[0].timestamp),
        other => panic!("{other:?}"),
    }
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let bytes = unhex(&vector["bytes"]);
    let mut reader = Reader::new(&bytes);
    let kind = vector["kind"].as_str().expect("a kind");
    let value = match kind {
        "varint" => reader.varint().map(number),
        "signed" => reader.signed().map(signed),
        "stamp" => reader.varint().map(|word| stamp(Timestamp(word))),
        "relative_stamp" => {
            let from = to_stamp(&vector["from"]);
            let read = read_relative(&bytes, from).map_err(error)?;
            assert_eq!(relative_bytes(from, read), bytes);
            return Ok(json!({"value": stamp(read)}));
        }
        other => panic!("kind {other}"),
    };
    let value = value.map_err(error)?;
    reader.finish().map_err(error)?;
    let mut writer = Writer::new();
    match kind {
        "signed" => writer.signed(Reader::new(&bytes).signed().map_err(error)?),
        _ => writer.varint(Reader::new(&bytes).varint().map_err(error)?),
    }
    assert_eq!(writer.as_slice(), bytes, "one encoding");
    Ok(json!({"value": value}))
}
