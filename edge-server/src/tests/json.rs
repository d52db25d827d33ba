//! Sockets that speak JSON, beside TVs and REST.

use super::*;
use crate::auth::LEEWAY;
use crate::json::news::NEWS_MAX;
use crate::limits::{JSON_BYTES_MAX, LISTENERS_MAX, MESSAGE_ID_BYTES_MAX};
use serde_json::{Value, json};

/// A program with a plain WebSocket.
pub(super) struct Plain(pub(super) Socket);

impl Plain {
    pub(super) async fn say(&mut self, message: &Value) {
        self.0.socket.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    pub(super) async fn hear(&mut self) -> Value {
        loop {
            match self.0.message().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn close(&mut self) -> CloseCode {
        self.0.close().await
    }

    pub(super) async fn ask(&mut self, message: Value) -> Value {
        self.say(&message).await;
        self.hear().await
    }

    /// The code of the error that a message is answered with.
    pub(super) async fn refused(&mut self, message: Value) -> String {
        let answer = self.ask(message).await;
        assert_eq!(answer["type"], "error", "{answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty());
        answer["code"].as_str().unwrap().into()
    }
}

impl Home {
    async fn bare(&self) -> Plain {
        Plain(self.connect_with(&[]).await.unwrap())
    }

    pub(super) async fn plain_with(&self, token: &str) -> Plain {
        let mut socket = self.bare().await;
        let ack = socket.ask(json!({"type": "auth", "token": token, "id": 1})).await;
        assert_eq!(ack, json!({"type": "ack", "id": 1}));
        socket
    }

    async fn plain(&self) -> Plain {
        self.plain_with(&token("home", "read write")).await
    }
}

fn adding(title: &str) -> Value {
    json!({"type": "watchlist_update", "operation": "add", "content_id": title})
}

fn playing(title: &str, position: u32) -> Value {
    json!({"type": "progress_update", "content_id": title, "position_seconds": position})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_socket_a_tv_and_a_request_share_a_household() {
    let home = home().await;
    let mut tv = home.join(1).await;
    let mut other = home.plain_with(&token_of("home", "phone", "read")).await;
    let mut plain = home.plain().await;
    let mut message = adding("tmdb:550");
    message["id"] = "first".into();
    let ack = plain.ask(message).await;
    assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &json!("first")));
    assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Update(..))));
    let expected = json!({
        "type": "watchlist_update", "operation": "add", "content_id": "tmdb:550", "profile": "",
        "timestamp": ack["timestamp"], "hlc": ack["hlc"],
    });
    assert_eq!(other.hear().await, expected);
    assert_eq!(plain.hear().await, expected, "its author hears of it too, after the ack");

    tv.add(1, "tmdb:551").await;
    tv.frame().await;
    assert_eq!(other.hear().await["content_id"], "tmdb:551");
    assert_eq!(plain.hear().await["content_id"], "tmdb:551");
    let rest = json!({
        "content_id": "tmdb:551", "position_seconds": 60, "duration_seconds": 120,
        "state": "paused",
    });
    let said = home.rest("POST /api/v1/sync/progress", rest).await.json();
    let expected = json!({
        "type": "progress_update", "content_id": "tmdb:551", "profile": "", "position_seconds": 60,
        "duration_seconds": 120, "state": "paused", "completion_percent": 50,
        "timestamp": said["timestamp"], "hlc": said["hlc"],
    });
    assert_eq!(other.hear().await, expected);
    assert_eq!(plain.hear().await, expected);

    // What a message leaves out stays as it was.
    assert_eq!(plain.ask(playing("tmdb:551", 90)).await["type"], "ack");
    let told = plain.hear().await;
    assert_eq!((&told["duration_seconds"], &told["state"]), (&json!(120), &json!("paused")));
    let remove =
        json!({"type": "watchlist_update", "operation": "remove", "content_id": "tmdb:550"});
    assert_eq!(plain.ask(remove.clone()).await["type"], "ack");
    let told = plain.hear().await;
    assert_eq!((&told["operation"], &told["content_id"]), (&json!("remove"), &json!("tmdb:550")));
    assert_eq!(plain.refused(remove).await, "not_on_watchlist");
    let home = home.restart().await;
    let list = home.rest("GET /api/v1/watchlist", Value::Null).await.json();
    assert_eq!(list["items"][0]["content_id"], "tmdb:551", "what was acknowledged is durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_wrong_is_answered_and_the_socket_lives_on() {
    let home = home().await;
    let mut plain = home.plain().await;
    for (mut message, field) in [
        (json!({}), "type"),
        (json!({"type": 7}), "type"),
        (json!({"type": "watchlist"}), "type"),
        (json!({"type": "ping", "more": 1}), "more"),
        (json!({"type": "ping", "id": {}}), "id"),
        (json!({"type": "ping", "id": "x".repeat(MESSAGE_ID_BYTES_MAX + 1)}), "id"),
        (json!({"type": "watchlist_update", "operation": "add"}), "content_id"),
        (
            json!({"type": "progress_update", "content_id": "t", "position_seconds": -1}),
            "position_seconds",
        ),
        (json!({"type": "auth"}), "token"),
    ] {
        let id = if field == "id" { Value::Null } else { json!("whose answer it is") };
        if field != "id" {
            message["id"] = id.clone();
        }
        let answer = plain.ask(message.clone()).await;
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["id"]),
            (&json!("error"), &json!("invalid"), &id),
            "{message}"
        );
        assert_eq!(answer["errors"][0]["field"], field, "{message}");
    }
    for text in ["", "{", "[]", "7", "nonsense"] {
        plain.0.socket.send(Message::Text(text.into())).await.unwrap();
        assert_eq!(plain.hear().await["code"], "malformed", "{text}");
    }
    let mut unknown = adding("t");
    unknown["profile"] = "00000000000000ff".into();
    unknown["id"] = 5.into();
    let answer = plain.ask(unknown).await;
    assert_eq!((&answer["code"], &answer["id"]), (&json!("profile_unknown"), &json!(5)));
    let longest = "x".repeat(MESSAGE_ID_BYTES_MAX);
    let pong = plain.ask(json!({"type": "ping", "id": longest})).await;
    assert_eq!(pong, json!({"type": "pong", "id": longest}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_says_who_it_is() {
    let home = home().await;
    for first in [
        adding("t"),
        json!({"type": "ping"}),
        json!({"type": "auth", "token": "x.y.z"}),
        json!({"type": "auth", "token": ""}),
        json!({"type": "auth", "token": token("home", "write control admin")}),
    ] {
        let mut plain = home.bare().await;
        plain.say(&first).await;
        assert_eq!(plain.0.close().await, CloseCode::Unauthorized, "{first}");
    }
    for (_, attack) in crate::auth::tests::attacks(SECRET) {
        let mut plain = home.bare().await;
        plain.say(&json!({"type": "auth", "token": attack})).await;
        assert_eq!(plain.0.close().await, CloseCode::Unauthorized, "{attack}");
    }
    let mut plain = home.bare().await;
    plain.0.socket.send(Message::Text("nonsense".into())).await.unwrap();
    assert_eq!(plain.0.close().await, CloseCode::Malformed);

    let bearer = format!("Bearer {}", token("home", "read"));
    let socket = home.connect_with(&[("authorization", &bearer)]).await.unwrap();
    let mut reader = Plain(socket);
    assert_eq!(reader.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(reader.refused(adding("t")).await, "forbidden");
    assert_eq!(reader.refused(playing("t", 1)).await, "forbidden");
    // A later token may allow more, but not be somebody else's.
    for (other, code) in [
        (token("other", "read write"), "household_mismatch"),
        (token_of("home", "phone", "read write"), "device_mismatch"),
        ("x.y.z".into(), "unauthorized"),
    ] {
        assert_eq!(reader.refused(json!({"type": "auth", "token": other})).await, code);
    }
    let more = json!({"type": "auth", "token": token("home", "read write")});
    assert_eq!(reader.ask(more).await["type"], "ack");
    assert_eq!(reader.ask(adding("t")).await["type"], "ack");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_with_its_token_unless_another_comes() {
    let home = home().await;
    // Two seconds are left, the leeway included.
    let exp = now().0 / 1000 + 2 - LEEWAY.as_secs();
    let mut ends = home.plain_with(&token_until(exp)).await;
    let mut renewed = home.plain_with(&token_until(exp)).await;
    let more = json!({"type": "auth", "token": token("home", "read")});
    assert_eq!(renewed.ask(more).await["type"], "ack");
    assert_eq!(ends.0.close().await, CloseCode::Unauthorized);
    assert!(SystemTime::now() >= UNIX_EPOCH + Duration::from_secs(exp) + LEEWAY);
    assert_eq!(renewed.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_is_online() {
    let home = home().await;
    let mut plain = home.plain_with(&token_of("home", "speaker", "read")).await;
    let ask =
        async || home.rest("GET /api/v1/devices", Value::Null).await.json()["devices"].clone();
    assert_eq!(plain.ask(json!({"type": "device_heartbeat", "id": 9})).await["id"], 9);
    let devices = ask().await;
    assert_eq!(
        (&devices[0]["device_id"], &devices[0]["is_online"]),
        (&json!("speaker"), &json!(true))
    );
    plain.0.socket.close(None).await.unwrap();
    while plain.0.socket.next().await.is_some() {}
    let gone = async {
        while ask().await[0]["is_online"] == true {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("offline when its socket is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_told_one_by_one_is_a_reset() {
    let home = home().await;
    let mut plain = home.plain().await;
    let mut tv = home.join(1).await;
    let profile = ProfileId(7);
    tv.operate(1, profile, Change::NameProfile("Kids".into())).await;
    let told = plain.hear().await;
    assert_eq!((&told["type"], &told["name"]), (&json!("profile_update"), &json!("Kids")));
    assert_eq!(told["profile"], "0000000000000007");
    tv.operate(1, profile, Change::DeleteProfile).await;
    assert_eq!(plain.hear().await, json!({"type": "reset"}));
    let id = DeviceId::new("tv").unwrap();
    let device = Change::Device(id, Some(DeviceRecord::default()));
    tv.operate(1, ProfileId::DEFAULT, device).await;
    assert_eq!(plain.hear().await["type"], "devices_update");
    for count in [NEWS_MAX, NEWS_MAX + 1] {
        let operations: Vec<Operation> = (0..count)
            .map(|number| {
                let content = ContentId::new(&format!("{count}:{number}")).unwrap();
                let change = Change::Add(content, Vec::new());
                let timestamp = tv.clock.tick(now());
                Operation { timestamp, profile: ProfileId::DEFAULT, change }
            })
            .collect();
        let through = operations.last().unwrap().timestamp;
        let delta = Delta { replica: ReplicaId(1), through, operations };
        let number = tv.next.advance();
        let frame = ClientFrame::delta(number, &delta, &mut tv.up, &mut |_| None);
        tv.send(frame).await;
        if count == NEWS_MAX {
            for number in 0..count {
                assert_eq!(plain.hear().await["content_id"], format!("{count}:{number}"));
            }
        } else {
            assert_eq!(plain.hear().await, json!({"type": "reset"}));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_sockets_have_limits_and_close_codes() {
    let home = home().await;
    let mut plain = home.plain().await;
    plain.0.socket.send(Message::Binary(vec![3].into())).await.unwrap();
    assert_eq!(plain.0.close().await, CloseCode::Malformed);
    let mut plain = home.plain().await;
    let long = "x".repeat(JSON_BYTES_MAX + 1);
    plain.0.socket.send(Message::Text(long.into())).await.unwrap();
    assert_eq!(plain.0.close().await, CloseCode::TooLarge);

    let mut all = Vec::new();
    for number in 0..LISTENERS_MAX {
        all.push(home.plain_with(&token_of("crowd", &number.to_string(), "read")).await);
    }
    for plain in &mut all {
        assert_eq!(plain.ask(json!({"type": "ping"})).await["type"], "pong");
    }
    let mut more = home.plain_with(&token_of("crowd", "more", "read")).await;
    assert_eq!(more.0.close().await, CloseCode::Overloaded);
    let codes = tokio::spawn(async move { all[0].0.close().await });
    home.server.stop().await.unwrap();
    assert_eq!(codes.await.unwrap(), CloseCode::Restart);

    let home = home_with(Limits { outbox_bytes_max: 10, ..Limits::default() }).await;
    let mut slow = home.plain().await;
    slow.say(&adding("t")).await;
    assert_eq!(slow.0.close().await, CloseCode::Slow);
    let short = Duration::from_millis(200);
    let home = home_with(Limits { hello_timeout: short, ..Limits::default() }).await;
    assert_eq!(home.bare().await.0.close().await, CloseCode::Idle, "without a token");
    let home = home_with(Limits { idle_timeout: short, ..Limits::default() }).await;
    assert_eq!(home.plain().await.0.close().await, CloseCode::Idle);
}
