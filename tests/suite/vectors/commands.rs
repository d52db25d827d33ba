//! The frames of commands and presence.

use super::meaning::{id, number};
use super::story::{KIDS, content};
use omega_sync_core::codec::Writer;
use omega_sync_core::command::{
    Asked, Command, CommandId, CommandStatus, Handoff, LEVEL_MAX, Order, Outcome,
    PRESENT_DEVICES_MAX, Presence, Reply, Request,
};
use omega_sync_core::id::{DeviceId, ProfileId};
use omega_sync_core::message::{ClientFrame, ServerFrame};
use serde_json::{Map, Value, json};

const KINDS: [&str; 9] = [
    "play",
    "pause",
    "stop",
    "seek",
    "volume_set",
    "volume_mute",
    "volume_unmute",
    "load_content",
    "cast_to",
];
const ID: CommandId = CommandId(0x0102_0304_0506_0708);

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a valid id")
}

fn every_command() -> Vec<Command> {
    vec![
        Command::Play,
        Command::Pause,
        Command::Stop,
        Command::Seek(u32::MAX),
        Command::VolumeSet(LEVEL_MAX),
        Command::VolumeMute,
        Command::VolumeUnmute,
        Command::LoadContent(content("tmdb:550"), None),
        Command::CastTo(device("tv-2")),
    ]
}

fn asked(request: Request) -> Vec<u8> {
    let target = device("tv-1");
    ClientFrame::command(&Asked { id: ID, again: false, target, ends_ms: 65_000, request })
}

fn order(command: Command) -> Vec<u8> {
    ServerFrame::order(&Order { id: ID, from: device("phone"), ends_ms: 65_001, command })
}

fn handoff(profile: ProfileId, position_s: Option<u32>) -> Request {
    Request::Handoff(Handoff { profile, content: content("tmdb:550"), position_s })
}

fn presence(all: bool, devices: &[(&str, Option<u64>)]) -> Vec<u8> {
    let devices = devices.iter().map(|(name, gone_s)| (device(name), *gone_s)).collect();
    ServerFrame::presence(&Presence { all, devices })
}

pub fn good_ones(good: fn(&str, &str, &[u8]) -> Value) -> Vec<Value> {
    let mut vectors = vec![good("watch", "client", &ClientFrame::watch())];
    for (kind, command) in KINDS.iter().zip(every_command()) {
        assert_eq!(KINDS[usize::from(command.kind())], *kind);
        let request = asked(Request::Command(command.clone()));
        vectors.push(good(&format!("command to {kind}"), "client", &request));
        vectors.push(good(&format!("order to {kind}"), "server", &order(command)));
    }
    let again = Asked {
        id: ID,
        again: true,
        target: device("tv-1"),
        ends_ms: 0,
        request: Request::Command(Command::LoadContent(content("x"), Some(0))),
    };
    vectors.push(good(
        "command that may have left before",
        "client",
        &ClientFrame::command(&again),
    ));
    let known = asked(handoff(ProfileId::DEFAULT, None));
    vectors.push(good("handoff from where it is known to be", "client", &known));
    let told = asked(handoff(KIDS, Some(u32::MAX)));
    vectors.push(good("handoff from the sender's position", "client", &told));
    for reply in Reply::ALL {
        let name = format!("reply {}", reply.code());
        vectors.push(good(&name, "client", &ClientFrame::reply(ID, *reply)));
    }
    for status in CommandStatus::ALL {
        let name = format!("status {}", status.code());
        vectors.push(good(&name, "server", &ServerFrame::status(ID, (*status).into())));
    }
    let outcome = Outcome { status: CommandStatus::Delivered, position_s: Some(1_234) };
    vectors.push(good("status of a handoff", "server", &ServerFrame::status(ID, outcome)));
    let all = presence(true, &[("phone", None), ("tv-1", Some(0)), ("tv-2", Some(86_400))]);
    vectors.push(good("presence of all", "server", &all));
    vectors.push(good("presence that changed", "server", &presence(false, &[("tv-1", None)])));
    vectors
}

pub fn bad_ones(bad: fn(&str, &str, &[u8], &str) -> Value) -> Vec<Value> {
    let pause = asked(Request::Command(Command::Pause));
    let loud = order(Command::VolumeSet(LEVEL_MAX));
    let louder = [&loud[..loud.len() - 1], &[LEVEL_MAX + 1]].concat();
    let seek = order(Command::Seek(0));
    let far = [&seek[..seek.len() - 1], &[0x80, 0x80, 0x80, 0x80, 0x10]].concat();
    let mut many = Writer::new();
    many.raw(&[0x0b, 1]);
    many.varint(PRESENT_DEVICES_MAX as u64 + 1);
    let kind = |bytes: &[u8], kind: u8| [&bytes[..1], &[kind], &bytes[2..]].concat();
    let reply = ClientFrame::reply(ID, Reply::Done);
    let status = ServerFrame::status(ID, CommandStatus::Expired.into());
    let last = |bytes: &[u8], last: u8| [&bytes[..bytes.len() - 1], &[last]].concat();
    vec![
        bad("command of an unknown kind", "client", &kind(&pause, 11), "invalid"),
        bad("watch said again", "client", &kind(&ClientFrame::watch(), 0x8a), "truncated"),
        bad("command with a number", "client", &[&[0x15], &pause[1..]].concat(), "invalid"),
        bad("command with a byte too many", "client", &[&pause[..], &[0]].concat(), "trailing"),
        bad("reply 3", "client", &last(&reply, 3), "invalid"),
        bad("order of a handoff", "server", &kind(&order(Command::Pause), 9), "invalid"),
        bad("order above the highest volume", "server", &louder, "limit"),
        bad("order to a position beyond 32 bits", "server", &far, "invalid"),
        bad("status 8", "server", &last(&status, 8), "invalid"),
        bad(
            "status with a position that is not there",
            "server",
            &last(&status, 0x80),
            "truncated",
        ),
        bad("presence of 257 devices", "server", many.as_slice(), "limit"),
        bad("presence neither of all nor of changes", "server", &[0x0b, 2, 0], "invalid"),
    ]
}

fn command(command: &Command) -> Map<String, Value> {
    let mut fields = Map::new();
    let kind = usize::from(command.kind());
    fields.insert("command".into(), KINDS[kind].into());
    match command {
        Command::Seek(position_s) => fields.insert("position_s".into(), (*position_s).into()),
        Command::VolumeSet(level) => fields.insert("level".into(), (*level).into()),
        Command::LoadContent(content, start_s) => {
            fields.extend(start_s.map(|start_s| ("position_s".into(), start_s.into())));
            fields.insert("content".into(), content.as_str().into())
        }
        Command::CastTo(device) => fields.insert("device".into(), device.as_str().into()),
        _ => None,
    };
    fields
}

pub fn client(frame: ClientFrame, bytes: &[u8]) -> Value {
    match frame {
        ClientFrame::Watch => json!({"tag": "command", "command": "watch"}),
        ClientFrame::Reply(command_id, reply) => {
            assert_eq!(ClientFrame::reply(command_id, reply), bytes);
            json!({"tag": "reply", "id": id(command_id.0), "reply": reply.code()})
        }
        ClientFrame::Command(asked) => {
            assert_eq!(ClientFrame::command(&asked), bytes);
            let mut fields = match &asked.request {
                Request::Command(asked) => command(asked),
                Request::Handoff(Handoff { profile, content, position_s }) => {
                    let mut fields = Map::new();
                    fields.insert("command".into(), "handoff".into());
                    fields.insert("profile".into(), profile.to_string().into());
                    fields.insert("content".into(), content.as_str().into());
                    fields.extend(position_s.map(|at| ("position_s".into(), at.into())));
                    fields
                }
            };
            fields.insert("tag".into(), "command".into());
            fields.insert("id".into(), id(asked.id.0));
            fields.insert("target".into(), asked.target.as_str().into());
            fields.insert("ends_ms".into(), number(asked.ends_ms));
            if asked.again {
                fields.insert("again".into(), true.into());
            }
            fields.into()
        }
        other => panic!("{other:?}"),
    }
}

pub fn server(frame: ServerFrame, bytes: &[u8]) -> Value {
    match frame {
        ServerFrame::Order(order) => {
            assert_eq!(ServerFrame::order(&order), bytes);
            let mut fields = command(&order.command);
            fields.insert("tag".into(), "order".into());
            fields.insert("id".into(), id(order.id.0));
            fields.insert("from".into(), order.from.as_str().into());
            fields.insert("ends_ms".into(), number(order.ends_ms));
            fields.into()
        }
        ServerFrame::Status(command_id, outcome) => {
            assert_eq!(ServerFrame::status(command_id, outcome), bytes);
            let mut fields = json!({
                "tag": "status", "id": id(command_id.0), "status": outcome.status.code(),
            });
            if let Some(position_s) = outcome.position_s {
                fields["position_s"] = position_s.into();
            }
            fields
        }
        ServerFrame::Presence(presence) => {
            assert_eq!(ServerFrame::presence(&presence), bytes);
            let device = |(device, gone_s): &(DeviceId, Option<u64>)| match gone_s {
                None => json!({"device": device.as_str()}),
                Some(gone_s) => json!({"device": device.as_str(), "gone_s": number(*gone_s)}),
            };
            let devices: Vec<Value> = presence.devices.iter().map(device).collect();
            json!({"tag": "presence", "all": u8::from(presence.all), "devices": devices})
        }
        other => panic!("{other:?}"),
    }
}
