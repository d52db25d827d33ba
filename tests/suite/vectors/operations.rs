//! Operations as a connection carries them: one context runs through the frames of a vector.

use super::meaning::{self, delta, error, hex, id, number, to_dot, to_id, to_u64, unhex};
use super::story::{START_MS, TV};
use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::Writer;
use omega_sync_core::delta::{Context, Delta, LiveAdds};
use omega_sync_core::id::{ContentId, ProfileId, ReplicaId};
use omega_sync_core::message::{read_delta, read_update};
use omega_sync_core::operation::{Change, Operation};
use serde_json::{Value, json};
use std::cell::RefCell;

mod bad;
mod good;

pub const ABOUT: &str = "Bodies of delta frames (direction up, all of one replica) and of update \
    frames (down). One context runs through the frames, from the welcome's time (start) and \
    version. live: the adds that live before the frame, of the titles it names; up, each with the \
    version at which it came.";

/// An add that lives at the receiver.
struct Live {
    profile: ProfileId,
    content: &'static str,
    /// With the version at which it came.
    dots: Vec<(Dot, u64)>,
}

/// One delta and what its writer knows of the receiver.
struct Sent {
    live: Vec<Live>,
    delta: Delta,
    /// Stamps of operations that observed what lived at a version.
    whole: Vec<(Timestamp, u64)>,
}

impl Sent {
    fn new(replica: ReplicaId, operations: Vec<Operation>) -> Self {
        let through = operations.last().map_or(Timestamp::ZERO, |last| last.timestamp);
        Self { live: Vec::new(), delta: Delta { replica, through, operations }, whole: Vec::new() }
    }

    fn through(mut self, through: Timestamp) -> Self {
        self.delta.through = through;
        self
    }

    /// The operation with that stamp observed what lived at `version`.
    fn whole(mut self, timestamp: Timestamp, version: u64) -> Self {
        self.whole.push((timestamp, version));
        self
    }

    fn live(mut self, profile: ProfileId, content: &'static str, dots: &[(Dot, u64)]) -> Self {
        self.live.push(Live { profile, content, dots: dots.to_vec() });
        self
    }

    fn frame(&self, up: bool, body: &[u8]) -> Value {
        let live = self.live.iter().map(|Live { profile, content, dots }| {
            let dots = dots.iter().map(|(one, version)| match up {
                true => meaning::with(meaning::dot(*one), json!({"version": version})),
                false => meaning::dot(*one),
            });
            json!({"profile": id(profile.0), "content": content, "dots": dots.collect::<Value>()})
        });
        let (live, delta): (Value, Value) = (live.collect(), stated(&self.delta, up));
        json!({"body": hex(body), "live": live, "delta": delta})
    }
}

/// Going up, the replica is the connection's.
fn stated(value: &Delta, up: bool) -> Value {
    let mut value = delta(value);
    if let (true, Some(fields)) = (up, value.as_object_mut()) {
        fields.remove("replica");
    }
    value
}

fn operation(timestamp: Timestamp, profile: ProfileId, change: Change) -> Operation {
    Operation { timestamp, profile, change }
}

fn context(version: u64) -> Context {
    let mut context = Context::starting(UnixMillis(START_MS));
    context.begin_at(version);
    context
}

fn vector(name: &str, up: bool, version: u64, frames: Vec<Value>) -> Value {
    let (direction, replica) =
        if up { ("up", json!({"replica": id(TV.0)})) } else { ("down", json!({})) };
    let vector = json!({
        "name": name, "direction": direction, "start": START_MS, "version": number(version),
        "frames": frames,
    });
    meaning::with(vector, replica)
}

/// A vector of what is written.
fn written(name: &str, up: bool, version: u64, sent: Vec<Sent>) -> Value {
    let mut context = context(version);
    let frames = sent.iter().map(|sent| {
        let mut writer = Writer::new();
        let whole = |operation: &Operation| {
            let of = sent.whole.iter().find(|(stamp, _)| *stamp == operation.timestamp);
            of.map(|(_, version)| *version)
        };
        write(&mut writer, up, &sent.delta, &mut context, &mut { whole });
        sent.frame(up, writer.as_slice())
    });
    vector(name, up, version, frames.collect())
}

fn write(
    writer: &mut Writer,
    up: bool,
    delta: &Delta,
    context: &mut Context,
    live: omega_sync_core::delta::ObservesLive,
) {
    match up {
        true => delta.encode_operations(writer, context, live),
        false => delta.encode(writer, context, live),
    }
}

/// The adds that live at a receiver, from a frame of a vector.
fn live_adds(frame: &Value, profile: ProfileId, content: &ContentId) -> Vec<(Dot, u64)> {
    let live = frame["live"].as_array().map_or(&[][..], Vec::as_slice);
    let named = live
        .iter()
        .find(|live| to_id(&live["profile"]) == profile.0 && live["content"] == content.as_str());
    let dots = named.and_then(|live| live["dots"].as_array()).map_or(&[][..], Vec::as_slice);
    let version = |dot: &Value| dot.get("version").map_or(0, to_u64);
    dots.iter().map(|dot| (to_dot(dot), version(dot))).collect()
}

/// Titles that were read without their dots, each with the version that was observed.
type Named = RefCell<Vec<(ProfileId, ContentId, u64)>>;

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let up = vector["direction"] == "up";
    let version = to_u64(&vector["version"]);
    let (mut reads, mut writes) = (context(version), context(version));
    let mut frames = Vec::new();
    for frame in vector["frames"].as_array().expect("frames") {
        let body = unhex(&frame["body"]);
        let named = Named::default();
        let live = |profile, content: &ContentId, version| {
            named.borrow_mut().push((profile, content.clone(), version));
            let seen = |&(dot, came): &(Dot, u64)| {
                (!up || dot.replica == TV || came <= version).then_some(dot)
            };
            Some(live_adds(frame, profile, content).iter().filter_map(seen).collect())
        };
        let live: LiveAdds = &live;
        let delta = match up {
            true => read_delta(&body, &mut reads, TV, live),
            false => read_update(&body, &mut reads, live),
        };
        let delta = match delta {
            Ok(delta) => delta,
            Err(refused) => {
                assert_eq!(frame["error"], error(refused), "{}", vector["name"]);
                return Err(error(refused));
            }
        };
        if vector.get("rewritten") != Some(&Value::Bool(false)) {
            assert_eq!(
                rewritten(up, &delta, &mut writes, &named),
                hex(&body),
                "{}",
                vector["name"]
            );
        }
        let fields = json!({"delta": stated(&delta, up)});
        frames.push(meaning::with(frame.clone(), fields));
    }
    Ok(json!({"frames": frames}))
}

/// What was read, written again.
fn rewritten(up: bool, delta: &Delta, context: &mut Context, named: &Named) -> String {
    let named = named.borrow();
    let mut writer = Writer::new();
    let live = |operation: &Operation| {
        let title = operation.change.content();
        let of = named.iter().find(|(p, c, _)| *p == operation.profile && Some(c) == title);
        of.map(|(_, _, version)| *version)
    };
    write(&mut writer, up, delta, context, &mut { live });
    hex(writer.as_slice())
}

pub fn vectors() -> Vec<Value> {
    let mut vectors = good::vectors();
    vectors.extend(bad::vectors());
    vectors
}
