//! Sessions that go well, and every way in which one ends.

use super::attacks::until_figure;
use super::*;
use crate::auth::LEEWAY;
use crate::store::sqlite::SqliteStore;
use omega_sync_core::message::{FRAME_BYTES_MAX, read_update};

/// The code that a socket is closed with after it sent one message.
async fn refused(home: &Home, message: Message) -> CloseCode {
    let mut socket = home.connect().await;
    // The server may close before it has read all of a message that is too large.
    let _ = socket.socket.send(message).await;
    socket.close().await
}

fn binary(frame: Vec<u8>) -> Message {
    Message::Binary(frame.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_acknowledged_handed_on_and_kept() {
    let home = home().await;
    let mut living_room = home.join(1).await;
    let mut bedroom = home.join(2).await;
    living_room.add(1, "tmdb:550").await;
    let ack = living_room.frame().await;
    match ServerFrame::decode(&ack).unwrap() {
        ServerFrame::Ack(number, ack) => {
            // The snapshot was the first of the stream.
            let mut expected = FrameNumber::FIRST;
            expected.advance();
            assert_eq!(number, expected);
            assert!(ack.advances && ack.voids.is_empty());
        }
        other => panic!("{other:?}"),
    }
    let update = bedroom.frame().await;
    match ServerFrame::decode(&update).unwrap() {
        ServerFrame::Update(_, body) => {
            let nothing = |_, _: &ContentId, _| Some(Vec::new());
            let delta = read_update(body.0, &mut bedroom.down, &nothing).unwrap();
            assert_eq!(delta.replica, ReplicaId(1));
        }
        other => panic!("{other:?}"),
    }
    let home = home.restart().await;
    assert_eq!(living_room.close().await, CloseCode::Restart);
    assert_eq!(bedroom.close().await, CloseCode::Restart);
    let mut socket = home.connect().await;
    socket.send(hello(3, &token("home", "read")).encode()).await;
    socket.frame().await;
    let snapshot = socket.frame().await;
    match ServerFrame::decode(&snapshot).unwrap() {
        ServerFrame::Snapshot(_, version, state) => {
            let shelf = state.profile(ProfileId::DEFAULT).unwrap();
            assert_eq!(shelf.watchlist().dots(&ContentId::new("tmdb:550").unwrap()).len(), 1);
            assert_eq!(version, 1);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn households_do_not_see_each_other() {
    let home = home().await;
    let mut ours = home.join(1).await;
    ours.add(1, "tmdb:550").await;
    ours.frame().await;
    let mut other = home.connect().await;
    other.send(hello(1, &token("other", "read write")).encode()).await;
    other.frame().await;
    let snapshot = other.frame().await;
    match ServerFrame::decode(&snapshot).unwrap() {
        ServerFrame::Snapshot(_, version, state) => {
            assert_eq!((version, state.entries()), (0, 0), "an empty household");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_header_counts_and_a_bad_one_is_refused_before_the_upgrade() {
    let home = home().await;
    let protocol = ("Sec-WebSocket-Protocol", "omega.v1");
    let bearer = format!("Bearer {}", token("home", "read"));
    let mut socket = home.connect_with(&[protocol, ("Authorization", &bearer)]).await.unwrap();
    socket.send(hello(1, "").encode()).await;
    assert!(matches!(ServerFrame::decode(&socket.frame().await), Ok(ServerFrame::Welcome(_))));
    for bad in ["Bearer", "Bearer x.y.z", "Basic dTpw", "Bearer \u{fc}"] {
        match home.connect_with(&[protocol, ("Authorization", bad)]).await.err().unwrap() {
            Error::Http(response) => assert_eq!(response.status(), 401, "{bad}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_allow_writing_voids_and_keeps_the_connection() {
    let home = home().await;
    let mut socket = home.connect().await;
    socket.send(hello(1, &token("home", "read")).encode()).await;
    socket.welcome().await;
    socket.frame().await;
    socket.add(1, "tmdb:550").await;
    match ServerFrame::decode(&socket.frame().await).unwrap() {
        ServerFrame::Ack(_, ack) => assert_eq!(ack.voids.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_first_frames_have_their_codes() {
    let home = home().await;
    let good = hello(1, &token("home", "read write"));
    let hello = good.encode();
    let mut version = hello.clone();
    version[0] = 0x20;
    let mut other_household = good.clone();
    other_household.household = HouseholdId::new("other").ok().map(|id| id.mark());
    let unreadable = hello_with(&good, &token("home", "write"));
    let expired = now().0 / 1000 - LEEWAY.as_secs() - 2;
    let cases = [
        (binary(vec![]), CloseCode::Malformed),
        (binary(vec![0xf0; 100]), CloseCode::VersionUnsupported),
        (binary(vec![0xff; 100]), CloseCode::Malformed),
        (binary(vec![1, 99]), CloseCode::Malformed),
        (binary(hello[..hello.len() - 1].to_vec()), CloseCode::Malformed),
        (binary([&hello[..], &[0]].concat()), CloseCode::Malformed),
        (binary(ClientFrame::ping()), CloseCode::Malformed),
        (binary(version), CloseCode::VersionUnsupported),
        (Message::Text("hello".into()), CloseCode::Malformed),
        (binary(hello_with(&good, "")), CloseCode::Unauthorized),
        (binary(hello_with(&good, "a.b.c")), CloseCode::Unauthorized),
        (binary(hello_with(&good, &token_until(expired))), CloseCode::Unauthorized),
        (binary(unreadable), CloseCode::Unauthorized),
        (binary(other_household.encode()), CloseCode::HouseholdMismatch),
        (binary(vec![1; FRAME_BYTES_MAX + 1]), CloseCode::TooLarge),
        (binary(vec![1; 4 * FRAME_BYTES_MAX]), CloseCode::TooLarge),
    ];
    for (at, (message, code)) in cases.into_iter().enumerate() {
        assert_eq!(refused(&home, message).await, code, "case {at}");
    }
    home.join(1).await;
}

fn hello_with(good: &Hello, token: &str) -> Vec<u8> {
    Hello { token: token.into(), ..good.clone() }.encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_as_a_subprotocol() {
    let home = home().await;
    let protocols = format!("omega.v1, omega.token.{}", token("home", "read write"));
    let mut socket = home.connect_with(&[("Sec-WebSocket-Protocol", &protocols)]).await.unwrap();
    socket.send(hello(1, "").encode()).await;
    assert_eq!(socket.welcome().await.household, HouseholdId::new("home").ok());
    let wrong = [("Sec-WebSocket-Protocol", "omega.v1, omega.token.a.b.c")];
    let mut socket = home.connect_with(&wrong).await.unwrap();
    socket.send(hello(1, &token("home", "read")).encode()).await;
    assert_eq!(socket.close().await, CloseCode::Unauthorized, "the header counts before the hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_later_frames_end_their_connection_alone() {
    let home = home().await;
    let mut witness = home.join(100).await;
    let mut replica = 1;
    let frames = [
        (binary(vec![0xff; 1000]), CloseCode::Malformed),
        (binary(vec![0x20; 1000]), CloseCode::VersionUnsupported),
        (binary(vec![0x11, 0xff]), CloseCode::Malformed),
        (binary(vec![0x91, 0]), CloseCode::Resync),
        (binary(hello(1, "").encode()), CloseCode::Malformed),
        (binary(vec![1; FRAME_BYTES_MAX + 1]), CloseCode::TooLarge),
        (Message::Text("{}".into()), CloseCode::Malformed),
    ];
    for (message, code) in frames {
        let mut socket = home.join(replica).await;
        replica += 1;
        socket.socket.send(message).await.unwrap();
        assert_eq!(socket.close().await, code);
    }
    let mut ahead = home.join(replica).await;
    let day_ms = 24 * 60 * 60 * 1000;
    let timestamp = Timestamp::new(UnixMillis(now().0 + day_ms), 0);
    let delta = Delta { replica: ReplicaId(replica), through: timestamp, operations: Vec::new() };
    let frame = ClientFrame::delta(ahead.next, &delta, &mut ahead.up, &mut |_| None);
    ahead.send(frame).await;
    assert_eq!(ahead.close().await, CloseCode::Drift);
    witness.send(ClientFrame::ping()).await;
    assert!(matches!(ServerFrame::decode(&witness.frame().await), Ok(ServerFrame::Pong)));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_socket() {
    let short = Duration::from_millis(300);
    let limits = Limits { hello_timeout: short, ..Limits::default() };
    let home = home_with(limits).await;
    assert_eq!(home.connect().await.close().await, CloseCode::Idle, "without a hello");

    // On a busy machine an answer may take a second.
    let (idle_timeout, ping_every) = (Duration::from_secs(2), Duration::from_millis(300));
    let home = home_with(Limits { idle_timeout, ping_every, ..Limits::default() }).await;
    let _silent = home.join(1).await;
    let mut answering = home.join(2).await;
    // Who reads answers the pings, and lives on although it says nothing itself.
    let mut pings = 0;
    while pings < 10 {
        match answering.message().await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    // Where nobody reads a close frame is lost as soon as the server has closed its end.
    until_figure(&home, "omega_closes_total{code=\"idle\"} 1\n").await;
}

/// A TV whose plug was pulled says no goodbye, on either protocol.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_nothing_any_more_is_not_online() {
    let (ping_every, idle_timeout) = (Duration::from_secs(2), Duration::from_secs(6));
    let home = home_with(Limits { idle_timeout, ping_every, ..limits() }).await;
    let online = async || {
        let list = home.rest("GET /api/v1/devices", serde_json::Value::Null).await.json();
        let devices = list["devices"].as_array().unwrap().clone();
        let online = devices.into_iter().filter(|device| device["is_online"] == true);
        online.map(|device| device["device_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut binary = home.connect().await;
    binary.send(hello(1, &token_of("home", "binary", "read")).encode()).await;
    binary.welcome().await;
    let _json = home.plain_with(&token_of("home", "json", "read")).await;
    assert_eq!(online().await, ["binary", "json"]);
    // From here on nobody reads these two, so nobody answers their pings; they stay open.
    let gone = async { while !online().await.is_empty() {} };
    timeout(DEADLINE, gone).await.expect("silence is the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token() {
    let home = home().await;
    let mut socket = home.connect().await;
    // Two seconds are left, the leeway included.
    let exp = now().0 / 1000 + 2 - LEEWAY.as_secs();
    socket.send(hello(1, &token_until(exp)).encode()).await;
    assert!(matches!(ServerFrame::decode(&socket.frame().await), Ok(ServerFrame::Welcome(_))));
    assert_eq!(socket.close().await, CloseCode::Unauthorized);
    let end = UNIX_EPOCH + Duration::from_secs(exp) + LEEWAY;
    assert!(SystemTime::now() >= end, "not before its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_close_with_their_codes() {
    let home = home_with(Limits { sockets_max: 1, ..Limits::default() }).await;
    let first = home.join(1).await;
    assert_eq!(home.connect().await.close().await, CloseCode::Overloaded);
    drop(first);

    let home = home_with(Limits { rooms_max: 1, ..Limits::default() }).await;
    let _first = home.join(1).await;
    let other = hello(2, &token("other", "read")).encode();
    assert_eq!(refused(&home, binary(other)).await, CloseCode::Overloaded);

    // Welcome and catch-up are two frames.
    let home = home_with(Limits { outbox_frames_max: 1, ..Limits::default() }).await;
    let slow = hello(1, &token("home", "read")).encode();
    assert_eq!(refused(&home, binary(slow)).await, CloseCode::Slow);
    let home = home_with(Limits { outbox_bytes_max: 10, ..Limits::default() }).await;
    let slow = hello(1, &token("home", "read")).encode();
    assert_eq!(refused(&home, binary(slow)).await, CloseCode::Slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_room_leaves_memory_and_comes_back() {
    let limits = Limits { room_idle: Duration::from_millis(50), ..Limits::default() };
    let home = home_with(limits).await;
    let mut socket = home.join(1).await;
    socket.add(1, "tmdb:550").await;
    socket.frame().await;
    socket.socket.close(None).await.unwrap();
    let mut live = home.server.edge.hub.live();
    timeout(DEADLINE, live.wait_for(|live| *live == 0)).await.unwrap().unwrap();
    let mut again = home.join(1).await;
    again.add(1, "tmdb:551").await;
    match ServerFrame::decode(&again.frame().await).unwrap() {
        ServerFrame::Ack(_, ack) => assert!(ack.advances),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_ends_the_room_and_recovers() {
    let home = home().await;
    let mut socket = home.join(1).await;
    let intruder = home.intruder();
    intruder.hold();
    socket.add(1, "tmdb:550").await;
    match socket.message().await {
        Some(Ok(Message::Close(Some(frame)))) => {
            assert_eq!(u16::from(frame.code), CloseCode::StorageUnavailable.code());
        }
        other => panic!("before anything is durable, nothing may be said: {other:?}"),
    }
    let (head, body) = home.get("/health").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(body.contains(r#""store":"storage_unavailable""#), "{body}");
    intruder.let_go();
    let mut socket = home.join(1).await;
    socket.add(1, "tmdb:550").await;
    assert!(matches!(ServerFrame::decode(&socket.frame().await), Ok(ServerFrame::Ack(..))));
    assert!(home.get("/health").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_makes_the_room_start_anew() {
    let home = home().await;
    let mut socket = home.join(1).await;
    home.intruder().change_epochs();
    socket.add(1, "tmdb:550").await;
    assert_eq!(socket.close().await, CloseCode::Restart);
    home.join(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_bytes_that_can_not_be_read_close_their_household_only() {
    let home = home().await;
    let mut socket = home.join(1).await;
    socket.add(1, "tmdb:550").await;
    socket.frame().await;
    let home = home.restart().await;
    home.intruder().garble_log();
    let ours = hello(1, &token("home", "read")).encode();
    assert_eq!(refused(&home, binary(ours)).await, CloseCode::StorageUnavailable);
    let mut other = home.connect().await;
    other.send(hello(1, &token("other", "read")).encode()).await;
    assert!(matches!(ServerFrame::decode(&other.frame().await), Ok(ServerFrame::Welcome(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_every_kind_of_connection_in_time() {
    let home = home().await;
    let mut joined = home.join(1).await;
    let mut silent = home.connect().await;
    let _bare = TcpStream::connect(home.server.address()).await.unwrap();
    let codes = tokio::spawn(async move { [joined.close().await, silent.close().await] });
    let started = std::time::Instant::now();
    home.server.stop().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(codes.await.unwrap(), [CloseCode::Restart; 2]);
    SqliteStore::open(&home.folder.path().join("store")).expect("the folder is free");
}
