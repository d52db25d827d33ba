//! Every frame, one at a time.

use super::commands;
use super::meaning::{self, error, hex, id, number, stamp, unhex};
use super::states::two_profiles;
use super::story::{HOME, KIDS, START_MS, TV, add, at, content, dot, state_bytes};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::{DecodeError, Writer};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::Household;
use omega_sync_core::id::{EpochId, HouseholdId};
use omega_sync_core::message::{
    Ack, ClientFrame, FrameNumber, Hello, OFFER_STATES_MAX, PROTOCOL_VERSION, ServerFrame, Session,
    TOKEN_BYTES_MAX, Taken, VOIDS_MAX, Welcome, read_offer,
};
use omega_sync_core::operation::{Operation, VoidReason};
use serde_json::{Value, json};

pub const ABOUT: &str = "Frames of both sides. household, digest and epoch of a hello are numbers \
    of 32 bits (marks); taken has a stamp and a digest; session of a welcome is modulo 256; what \
    flags leave out is left out here. A body is what follows the fields, as it is. ends_ms of a command \
    counts from the handshake; gone_s of a device that is here is left out.";

pub fn vectors() -> Vec<Value> {
    let mut vectors = client();
    vectors.extend(server());
    vectors.extend(commands::good_ones(good));
    vectors.extend(bad_client());
    vectors.extend(bad_server());
    vectors.extend(commands::bad_ones(bad));
    vectors
}

fn good(name: &str, from: &str, bytes: &[u8]) -> Value {
    let vector = json!({"name": name, "from": from, "bytes": hex(bytes)});
    let frame = if from == "client" { client_frame(bytes) } else { server_frame(bytes) };
    meaning::with(vector, json!({"frame": frame.expect("it was just written")}))
}

fn bad(name: &str, from: &str, bytes: &[u8], error: &str) -> Value {
    json!({"name": name, "from": from, "bytes": hex(bytes), "error": error})
}

fn household() -> HouseholdId {
    HouseholdId::new("home-7").expect("a valid id")
}

const EPOCH: EpochId = EpochId(0x1122_3344_5566_7788);

fn offer(states: &[Household]) -> Vec<u8> {
    ClientFrame::offer(FrameNumber::FIRST, states)
}

fn first_hello() -> Hello {
    Hello {
        token: String::new(),
        household: None,
        replica: TV,
        session: Session { number: 1, nonce: 0xdead_beef },
        acked: None,
        epoch: None,
        cursor: None,
        owes_offer: false,
    }
}

fn full_hello() -> Hello {
    Hello {
        token: "a.b.c".into(),
        household: Some(household().mark()),
        session: Session { number: 300, nonce: 1 },
        acked: Some(0x0bad_cafe),
        epoch: Some(EPOCH.mark()),
        cursor: Some(70_000),
        owes_offer: true,
        ..first_hello()
    }
}

fn client() -> Vec<Value> {
    let operation =
        Operation { timestamp: at(10_000, 0), profile: HOME, change: add("tmdb:550", &[]) };
    let delta = Delta { replica: TV, through: operation.timestamp, operations: vec![operation] };
    let mut context = Context::starting(UnixMillis(START_MS));
    let mut number = FrameNumber::FIRST;
    let first = ClientFrame::delta(number.advance(), &delta, &mut context, &mut |_| Some(0));
    let fifteenth = (2..16).map(|_| number.advance()).last().expect("numbers");
    let last = ClientFrame::delta(fifteenth, &delta, &mut context, &mut |_| Some(0));
    let wrapped = ClientFrame::delta(number, &delta, &mut context, &mut |_| Some(0));
    let synced = Hello { token: String::new(), owes_offer: false, ..full_hello() };
    let unsure = Hello { acked: Some(0), cursor: None, epoch: None, ..synced.clone() };
    vec![
        good("hello of a new replica", "client", &first_hello().encode()),
        good("hello with everything", "client", &full_hello().encode()),
        good("hello of a replica that is up to date", "client", &synced.encode()),
        good("hello that knows no digest", "client", &unsure.encode()),
        good("delta 1", "client", &first),
        good("delta 15", "client", &last),
        good("delta 16, which is 0", "client", &wrapped),
        good("offer", "client", &offer(&[two_profiles().household])),
        good("offer of nothing", "client", &offer(&[Household::default()])),
        good(
            "offer of two epochs",
            "client",
            &offer(&[Household::default(), two_profiles().household]),
        ),
        good("ping", "client", &ClientFrame::ping()),
    ]
}

fn welcome() -> Welcome {
    Welcome {
        session: 44,
        household: None,
        epoch: None,
        server_time: UnixMillis(START_MS),
        taken: None,
        voids: Vec::new(),
    }
}

fn voids() -> Vec<(Timestamp, VoidReason)> {
    let stamps = (0..).map(|count| at(i64::from(count) * 1_000, count));
    stamps.zip(VoidReason::ALL).collect()
}

fn server() -> Vec<Value> {
    let first = Welcome {
        household: Some(household()),
        epoch: Some(EPOCH),
        taken: Some(Taken::default()),
        ..welcome()
    };
    let taken = Some(Taken { through: at(9_000, 3), digest: 0xffff_ffff });
    let refused = Welcome { taken, voids: voids(), ..welcome() };
    let number = FrameNumber::FIRST;
    let state = two_profiles();
    let next = state.clone().then(TV, at(30_000, 0), KIDS, add("tmdb:3", &[]));
    let body = next.since(&state);
    let report = |advances, voids| ServerFrame::ack(number, &Ack { advances, voids });
    vec![
        good("welcome that says nothing new", "server", &welcome().encode()),
        good("welcome of a new replica", "server", &first.encode()),
        good("welcome with refused operations", "server", &refused.encode()),
        good(
            "snapshot of nothing",
            "server",
            &ServerFrame::snapshot(number, 0, &Household::default()),
        ),
        good("snapshot", "server", &ServerFrame::snapshot(number, 70_000, &state.household)),
        good("difference of no versions", "server", &ServerFrame::difference(number, 0, |_| {})),
        good(
            "difference",
            "server",
            &ServerFrame::difference(number, 1, |writer| writer.raw(&body)),
        ),
        good(
            "difference of versions that touched nothing",
            "server",
            &ServerFrame::difference(number, 2, |writer| writer.u8(0)),
        ),
        good("update", "server", &update()),
        good("ack", "server", &report(true, Vec::new())),
        good("report of a delta that was known", "server", &report(false, Vec::new())),
        good("report of refused operations", "server", &report(true, voids())),
        good("report of both", "server", &report(false, voids()[..1].to_vec())),
        good("offered", "server", &ServerFrame::offered()),
        good("pong", "server", &ServerFrame::pong()),
    ]
}

fn update() -> Vec<u8> {
    let change = super::story::remove("tmdb:550", &[dot(TV, at(0, 0))]);
    let operation = Operation { timestamp: at(10_000, 0), profile: HOME, change };
    assert_eq!(operation.change.content(), Some(&content("tmdb:550")));
    let delta = Delta { replica: TV, through: at(20_000, 0), operations: vec![operation] };
    let mut context = Context::starting(UnixMillis(START_MS));
    ServerFrame::update(FrameNumber::FIRST, &delta, &mut context, &mut |_| None)
}

/// The first byte of a hello or welcome of another version.
fn of_version(version: u8, frame: &[u8]) -> Vec<u8> {
    [&[version << 4], &frame[1..]].concat()
}

fn bad_client() -> Vec<Value> {
    let hello = first_hello().encode();
    let full = full_hello().encode();
    let flags = [&hello[..hello.len() - 1], &[64]].concat();
    let mut token = hello[..hello.len() - 1].to_vec();
    let mut length = Writer::new();
    length.varint(TOKEN_BYTES_MAX as u64 + 1);
    token.push(32);
    token.extend(length.finish());
    let one = offer(&[two_profiles().household]);
    let newer = [&one[..1], &[2], &one[2..]].concat();
    let most = offer(&vec![Household::default(); OFFER_STATES_MAX]);
    let more = offer(&vec![Household::default(); OFFER_STATES_MAX + 1]);
    assert!(client_frame(&most).is_ok());
    vec![
        bad("no bytes from a client", "client", &[], "truncated"),
        bad("hello of version 0", "client", &of_version(0, &hello), "version"),
        bad(
            "hello of the next version",
            "client",
            &of_version(PROTOCOL_VERSION + 1, &hello),
            "version",
        ),
        bad("hello of version 15, of which nothing else is known", "client", &[0xf0], "version"),
        bad("hello that ends early", "client", &full[..full.len() - 1], "truncated"),
        bad("hello without flags", "client", &hello[..hello.len() - 1], "truncated"),
        bad("hello with a byte too many", "client", &[&full[..], &[0]].concat(), "trailing"),
        bad("hello with an unknown flag", "client", &flags, "invalid"),
        bad("hello with a token of 4,097 bytes", "client", &token, "limit"),
        bad("offer of a newer state", "client", &newer, "version"),
        bad("offer with a byte too many", "client", &[&one[..], &[1]].concat(), "truncated"),
        bad("offer of nine epochs", "client", &more, "limit"),
        bad("ping with a number", "client", &[0x13], "invalid"),
        bad("ping with a body", "client", &[0x03, 0], "trailing"),
        bad("tag 4 from a client", "client", &[0x04], "invalid"),
        bad("tag 15 from a client", "client", &[0x1f], "invalid"),
    ]
}

fn bad_server() -> Vec<Value> {
    let welcome = welcome().encode();
    let flags = [&welcome[..1], &[16], &welcome[2..]].concat();
    let household = [&welcome[..1], &[1], &welcome[2..], &[0]].concat();
    let long = [&welcome[..1], &[1], &welcome[2..], &[65]].concat();
    let state = state_bytes(&two_profiles().household);
    let snapshot = [&[0x11, 5, 2][..], &state[1..]].concat();
    let mut many = Writer::new();
    many.raw(&[0x15, 1]);
    many.varint(VOIDS_MAX as u64 + 1);
    vec![
        bad("no bytes from a server", "server", &[], "truncated"),
        bad("welcome of version 0", "server", &of_version(0, &welcome), "version"),
        bad(
            "welcome of the next version",
            "server",
            &of_version(PROTOCOL_VERSION + 1, &welcome),
            "version",
        ),
        bad("welcome that ends early", "server", &welcome[..welcome.len() - 1], "truncated"),
        bad("welcome with a byte too many", "server", &[&welcome[..], &[0]].concat(), "trailing"),
        bad("welcome with an unknown flag", "server", &flags, "invalid"),
        bad("welcome to a household without an id", "server", &household, "invalid"),
        bad("welcome to a household of 65 bytes", "server", &long, "limit"),
        bad("snapshot of a newer state", "server", &snapshot, "version"),
        bad("snapshot without a state", "server", &[0x11, 5], "truncated"),
        bad("difference without a body", "server", &[0x12, 1], "truncated"),
        bad("difference that ends early", "server", &[0x12, 1, 2, 7], "truncated"),
        bad("difference with a byte too many", "server", &[0x12, 1, 0, 7], "trailing"),
        bad("difference of no versions with a body", "server", &[0x12, 0, 0], "trailing"),
        bad("difference without versions", "server", &[0x12], "truncated"),
        bad("ack with a body", "server", &[0x14, 0], "trailing"),
        bad("report without voids", "server", &[0x15, 1], "truncated"),
        bad("report of two versions", "server", &[0x15, 2, 0], "invalid"),
        bad("report with reason 5", "server", &[0x15, 1, 1, 1, 5], "invalid"),
        bad("report of 4,097 refused operations", "server", many.as_slice(), "limit"),
        bad("offered with a number", "server", &[0x16], "invalid"),
        bad("offered with a body", "server", &[0x06, 1], "trailing"),
        bad("pong with a number", "server", &[0x17], "invalid"),
        bad("tag 8 from a server", "server", &[0x08], "invalid"),
    ]
}

/// Leaves out what is null.
fn present(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

fn client_frame(bytes: &[u8]) -> Result<Value, DecodeError> {
    let number = bytes.first().map(|head| head >> 4);
    Ok(match ClientFrame::decode(bytes)? {
        ClientFrame::Hello(hello) => {
            assert_eq!(hello.encode(), bytes);
            let Session { number: session, nonce } = hello.session;
            let token = (!hello.token.is_empty()).then_some(hello.token);
            present(json!({
                "tag": "hello", "version": number, "replica": id(hello.replica.0),
                "session": meaning::number(session), "nonce": nonce, "household": hello.household,
                "digest": hello.acked, "epoch": hello.epoch,
                "cursor": hello.cursor.map(meaning::number),
                "owes_offer": hello.owes_offer.then_some(true), "token": token,
            }))
        }
        ClientFrame::Delta(_, body) => {
            json!({"tag": "delta", "number": number, "body": hex(body.0)})
        }
        ClientFrame::Offer(_, body) => {
            let states = read_offer(&body)?;
            assert_eq!(states.iter().flat_map(state_bytes).collect::<Vec<u8>>(), bytes[1..]);
            json!({"tag": "offer", "number": number, "body": hex(&bytes[1..])})
        }
        ClientFrame::Ping => json!({"tag": "ping"}),
        frame => commands::client(frame, bytes),
    })
}

fn voids_of(voids: &[(Timestamp, VoidReason)]) -> Value {
    let void = |(at, reason): &(Timestamp, VoidReason)| {
        let reason = reason.code();
        json!({"stamp": stamp(*at), "reason": reason})
    };
    voids.iter().map(void).collect()
}

fn server_frame(bytes: &[u8]) -> Result<Value, DecodeError> {
    let head = bytes.first().map(|head| head >> 4);
    Ok(match ServerFrame::decode(bytes)? {
        ServerFrame::Welcome(welcome) => {
            assert_eq!(welcome.encode(), bytes);
            let taken = welcome
                .taken
                .map(|taken| json!({"stamp": stamp(taken.through), "digest": taken.digest}));
            let voids = (!welcome.voids.is_empty()).then(|| voids_of(&welcome.voids));
            present(json!({
                "tag": "welcome", "version": head, "session": welcome.session,
                "server_ms": number(welcome.server_time.0), "taken": taken, "voids": voids,
                "household": welcome.household.map(|household| household.to_string()),
                "epoch": welcome.epoch.map(|epoch| id(epoch.0)),
            }))
        }
        ServerFrame::Snapshot(_, version, state) => {
            let body = state_bytes(&state);
            assert!(bytes.ends_with(&body));
            let version = number(version);
            json!({"tag": "snapshot", "number": head, "version": version, "body": hex(&body)})
        }
        ServerFrame::Difference(_, versions, body) => json!({
            "tag": "difference", "number": head, "versions": number(versions), "body": hex(body.0),
        }),
        ServerFrame::Update(_, body) => {
            json!({"tag": "update", "number": head, "body": hex(body.0)})
        }
        ServerFrame::Ack(number, ack) => {
            assert_eq!(ServerFrame::ack(number, &ack), bytes);
            if bytes.len() == 1 {
                return Ok(json!({"tag": "ack", "number": head}));
            }
            let advances = u8::from(ack.advances);
            let voids = voids_of(&ack.voids);
            json!({"tag": "report", "number": head, "advances": advances, "voids": voids})
        }
        ServerFrame::Offered => json!({"tag": "offered"}),
        ServerFrame::Pong => json!({"tag": "pong"}),
        frame => commands::server(frame, bytes),
    })
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let bytes = unhex(&vector["bytes"]);
    let frame = match vector["from"].as_str() {
        Some("client") => client_frame(&bytes),
        Some("server") => server_frame(&bytes),
        other => panic!("from {other:?}"),
    };
    Ok(json!({"frame": frame.map_err(error)?}))
}
