//! Sessions call by call: the real client on one side, the real room and another device beyond it.

use super::meaning::{hex, unhex, with};
use super::records::shown;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{ContentId, HouseholdId, ProfileId};
use omega_sync_core::operation::{Intent, Part, PlayState, Progress, VoidReason};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output};
use omega_sync_core::session::metrics::Replay;
use serde_json::{Map, Value, json};

mod evening;

pub const ABOUT: &str = "\
    Calls on the engine's class (Replica of omega-sync/engine) after load with seed, records \
    and household, each with both clocks (now: Unix and steady milliseconds) and what it \
    must answer, named as readOutputs does; bytes are hex digits. first is what firstOutputs \
    answers after load, shown what the class answers at the end.";

pub fn vectors() -> Vec<Value> {
    evening::vectors()
}

/// The client, and what loading wants done first.
fn load(vector: &Value) -> (Client, Value) {
    let seed = unhex(&vector["seed"]).try_into().expect("16 bytes");
    let records: Vec<Vec<u8>> =
        vector["records"].as_array().expect("records").iter().map(unhex).collect();
    let household = HouseholdId::new(vector["household"].as_str().expect("text"));
    let mut opened = Client::load(&records, household.ok(), seed).expect("records of today");
    let first = opened.client.first_outputs();
    (opened.client, first.iter().map(output).collect())
}

fn now(step: &Value) -> Now {
    let clock = |at: usize| step["now"][at].as_u64().expect("milliseconds");
    Now { unix: UnixMillis(clock(0)), steady_ms: clock(1) }
}

/// Makes the call of a step, by its name in JavaScript.
fn call(client: &mut Client, step: &Value) -> Vec<Output> {
    let args = step["args"].as_array().expect("a list");
    let text = |at: usize| args[at].as_str().expect("text");
    let number = |at: usize| args[at].as_u64().expect("a number");
    let now = now(step);
    let bytes;
    let input = match step["call"].as_str().expect("a name") {
        "online" => Input::Online,
        "offline" => Input::Offline,
        "opened" => Input::Opened(text(0).into()),
        "closed" => Input::Closed(number(0) as u16),
        "wake" => Input::Woke,
        "rejectedTaken" => Input::RejectedTaken,
        "frame" => {
            bytes = unhex(&args[0]);
            Input::Frame(&bytes)
        }
        other => {
            let profile = ProfileId::new(text(0)).expect("a profile id");
            let content = || ContentId::new(text(1)).expect("a content id");
            let intent = match other {
                "watchlistAdd" => Intent::Add(profile, content()),
                "watchlistRemove" => Intent::Remove(profile, content()),
                "progressRemove" => Intent::Progress(profile, content(), None),
                "profileName" => Intent::NameProfile(profile, text(1).into()),
                "profileDelete" => Intent::DeleteProfile(profile),
                "progressSet" => {
                    let (position_s, duration_s) = (number(2) as u32, number(3) as u32);
                    let state = PlayState::ALL[number(4) as usize];
                    let progress = Progress { position_s, duration_s, state };
                    Intent::Progress(profile, content(), Some(progress))
                }
                _ => panic!("call {other}"),
            };
            return client.operate(now, intent).expect("it can be done");
        }
    };
    client.handle(now, input)
}

fn output(output: &Output) -> Value {
    match output {
        Output::Append(bytes) => json!(["append", hex(bytes)]),
        Output::Replace(bytes) => json!(["replace", hex(bytes)]),
        Output::Send(bytes) => json!(["send", hex(bytes)]),
        Output::Exchange(..) => panic!("no request here: {output:?}"),
        Output::Connect => json!(["connect"]),
        Output::Disconnect => json!(["disconnect"]),
        Output::Changed(parts) => json!(["changed", parts.iter().map(part).collect::<Value>()]),
        Output::Status(status) => json!(["status", status.name()]),
        Output::Wake(delay_ms) => json!(["wake", delay_ms]),
        Output::Rejected(count) => json!(["rejected", count]),
        Output::Replayed(replay) => json!(["replayed", report(replay)]),
        Output::Order(_) | Output::Outcome(..) | Output::Presence(_) => {
            panic!("no session of these vectors has {output:?}")
        }
    }
}

fn report(replay: &Replay) -> Value {
    let reasons = VoidReason::ALL.iter().zip(replay.refused).filter(|(_, count)| *count > 0);
    let reasons = reasons.map(|(reason, count)| (reason.code().to_owned(), count.into()));
    json!({
        "waited": replay.waited, "sent": replay.sent, "accepted": replay.accepted,
        "coalesced": replay.coalesced, "rejected": replay.rejected(),
        "remaining": replay.remaining, "reasons": reasons.collect::<Map<_, _>>(),
    })
}

fn part(part: &Part) -> String {
    match part {
        Part::Profiles => "profiles".to_owned(),
        Part::Watchlist(profile) => format!("watchlist:{profile}"),
        Part::Progress(profile) => format!("progress:{profile}"),
        Part::Devices => "devices".to_owned(),
    }
}

fn at_end(client: &Client) -> Value {
    let close = client.close_code().map_or("", |code| code.reason());
    let more = json!({
        "status": client.status().name(), "closeReason": close,
        "replicaId": client.replica().id().to_string(),
    });
    with(shown(client.replica()), more)
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let (mut client, first) = load(vector);
    let steps = vector["steps"].as_array().expect("steps").iter().map(|step| {
        let outputs: Value = call(&mut client, step).iter().map(output).collect();
        with(step.clone(), json!({"outputs": outputs}))
    });
    let steps: Value = steps.collect();
    Ok(json!({"first": first, "steps": steps, "shown": at_end(&client)}))
}
