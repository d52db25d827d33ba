//! Remote commands and handoff, over REST and JSON.

use super::json::Plain;
use super::*;
use serde_json::{Value, json};

const COMMAND: &str = "POST /api/v1/devices/speaker/commands";

/// What a device says that takes every command.
pub(super) fn record(remote_controllable: bool, can_cast: bool) -> DeviceRecord {
    let capabilities = Capabilities { remote_controllable, can_cast, ..Capabilities::default() };
    DeviceRecord { capabilities, ..DeviceRecord::default() }
}

/// The household with a device `speaker` that says this of itself, and a TV that said it.
pub(super) async fn described(home: &Home, record: DeviceRecord) -> Socket {
    let mut tv = home.join(1).await;
    let id = DeviceId::new("speaker").unwrap();
    tv.operate(1, ProfileId::DEFAULT, Change::Device(id, Some(record))).await;
    tv.frame().await;
    tv
}

pub(super) async fn speaker(home: &Home) -> Plain {
    home.plain_with(&token_of("home", "speaker", "read")).await
}

impl Home {
    /// A request of the household's phone, which may do all.
    pub(super) async fn phone(&self, line: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", token_of("home", "phone", "read write control"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.ask(line, &headers, &body.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_written_to_the_newest_session_once() {
    let home = home().await;
    let _tv = described(&home, record(true, true)).await;
    let mut older = speaker(&home).await;
    assert_eq!(older.ask(json!({"type": "ping"})).await["type"], "pong");
    let mut newer = speaker(&home).await;
    assert_eq!(newer.ask(json!({"type": "ping"})).await["type"], "pong");
    for command in [
        json!({"type": "play"}),
        json!({"type": "pause"}),
        json!({"type": "stop"}),
        json!({"type": "seek", "position_seconds": 90}),
        json!({"type": "volume_set", "level": 100}),
        json!({"type": "volume_mute"}),
        json!({"type": "volume_unmute"}),
        json!({"type": "load_content", "content_id": "tmdb:550"}),
        json!({"type": "load_content", "content_id": "tmdb:550", "start_position": 7}),
        json!({"type": "cast_to", "target_device_id": "phone"}),
    ] {
        let before = now().0;
        let answer = home.phone(COMMAND, command.clone()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let said = answer.json();
        assert_eq!(said["status"], "delivered");
        let heard = newer.hear().await;
        assert_eq!(heard["command"], command);
        assert_eq!((&heard["type"], &heard["from"]), (&json!("device_command"), &json!("phone")));
        assert_eq!(heard["command_id"], said["command_id"]);
        let expires = heard["expires"].as_u64().unwrap();
        assert!((before + 5_000..=now().0 + 5_000).contains(&expires));
    }
    // The older session has heard nothing, and the newer one nothing more.
    for session in [&mut older, &mut newer] {
        assert_eq!(session.ask(json!({"type": "ping", "id": 1})).await["id"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_json_is_answered_there() {
    let home = home().await;
    let _tv = described(&home, record(true, false)).await;
    let mut speaker = speaker(&home).await;
    let mut phone = home.plain_with(&token_of("home", "phone", "read control")).await;
    let command = json!({
        "type": "device_command", "id": 3, "target_device_id": "speaker",
        "command": {"type": "pause"},
    });
    let ack = phone.ask(command.clone()).await;
    assert_eq!(
        (&ack["type"], &ack["id"], &ack["status"]),
        (&json!("ack"), &json!(3), &json!("delivered"))
    );
    assert_eq!(speaker.hear().await["command_id"], ack["command_id"]);
    let mut reader = home.plain_with(&token_of("home", "phone", "read write")).await;
    assert_eq!(reader.refused(command).await, "forbidden");
    let mut wrong = json!({"type": "device_command", "target_device_id": "speaker"});
    assert_eq!(phone.ask(wrong.clone()).await["errors"][0]["field"], "command");
    wrong["command"] = json!({"type": "seek"});
    assert_eq!(phone.ask(wrong).await["errors"][0]["field"], "position_seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_or_does_not_take_it_is_said() {
    let home = home().await;
    let pause = || json!({"type": "pause"});
    let answer = home.phone(COMMAND, pause()).await;
    assert_eq!((answer.status, answer.problem()), (404, "device_unknown".into()));
    let mut tv = described(&home, record(false, false)).await;
    let answer = home.phone(COMMAND, pause()).await;
    assert_eq!((answer.status, answer.problem()), (409, "device_offline".into()));
    let mut session = speaker(&home).await;
    assert_eq!(session.ask(json!({"type": "ping"})).await["type"], "pong");
    let answer = home.phone(COMMAND, pause()).await;
    assert_eq!((answer.status, answer.problem()), (422, "not_supported".into()));
    let id = DeviceId::new("speaker").unwrap();
    tv.operate(1, ProfileId::DEFAULT, Change::Device(id, Some(record(true, false)))).await;
    tv.frame().await;
    assert_eq!(session.hear().await["type"], "devices_update");
    assert_eq!(home.phone(COMMAND, pause()).await.status, 202);
    assert_eq!(session.hear().await["type"], "device_command");
    let cast = json!({"type": "cast_to", "target_device_id": "phone"});
    assert_eq!(home.phone(COMMAND, cast).await.problem(), "not_supported", "it can't cast");
    // Nor to a device that nobody knows.
    let id = DeviceId::new("speaker").unwrap();
    tv.operate(1, ProfileId::DEFAULT, Change::Device(id, Some(record(true, true)))).await;
    tv.frame().await;
    assert_eq!(session.hear().await["type"], "devices_update");
    let cast = json!({"type": "cast_to", "target_device_id": "nobody"});
    assert_eq!(home.phone(COMMAND, cast).await.problem(), "device_unknown");
    // Another household's device is unknown, whatever its name.
    let other = format!("Bearer {}", token_of("other", "phone", "control"));
    let headers = [("authorization", &*other), ("content-type", "application/json")];
    let answer = home.ask(COMMAND, &headers, &pause().to_string()).await;
    assert_eq!((answer.status, answer.problem()), (404, "device_unknown".into()));
    assert_eq!(session.ask(json!({"type": "ping"})).await["type"], "pong", "and has heard nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_wrong_names_its_field() {
    let home = home().await;
    let _tv = described(&home, record(true, true)).await;
    for (command, field) in [
        (json!({}), "type"),
        (json!({"type": "explode"}), "type"),
        (json!({"type": "seek"}), "position_seconds"),
        (json!({"type": "seek", "position_seconds": -1}), "position_seconds"),
        (json!({"type": "volume_set"}), "level"),
        (json!({"type": "volume_set", "level": 101}), "level"),
        (json!({"type": "volume_set", "level": 0.5}), "level"),
        (json!({"type": "volume_set", "level": null}), "level"),
        (json!({"type": "load_content"}), "content_id"),
        (json!({"type": "load_content", "content_id": ""}), "content_id"),
        (json!({"type": "cast_to"}), "target_device_id"),
        (json!({"type": "play", "level": 1}), "level"),
        (json!({"type": "pause", "position": 1}), "position"),
    ] {
        let answer = home.phone(COMMAND, command.clone()).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.into()]), "{command}");
    }
    let answer = home.phone("POST /api/v1/devices/%0a/commands", json!({"type": "play"})).await;
    assert_eq!(answer.fields(), ["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_written_in_time_expires_and_is_never_written() {
    let limits = Limits { command_life: Duration::ZERO, ..Limits::default() };
    let home = home_with(limits).await;
    let _tv = described(&home, record(true, false)).await;
    let mut session = speaker(&home).await;
    assert_eq!(session.ask(json!({"type": "ping"})).await["type"], "pong");
    let answer = home.phone(COMMAND, json!({"type": "pause"})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("expired")));
    let handoff = json!({"target_device_id": "speaker", "content_id": "tmdb:550"});
    let answer = home.phone("POST /api/v1/devices/handoff", handoff).await;
    assert_eq!((answer.status, answer.problem()), (409, "expired".into()));
    assert_eq!(session.ask(json!({"type": "ping"})).await["type"], "pong", "nothing before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_goes_on_where_it_was_and_pauses_the_source() {
    let home = home().await;
    let _tv = described(&home, record(true, false)).await;
    let mut speaker = speaker(&home).await;
    let mut phone = home.plain_with(&token_of("home", "phone", "read write control")).await;
    let playing = json!({
        "type": "progress_update", "content_id": "tmdb:550", "position_seconds": 1234,
        "duration_seconds": 7200, "state": "playing",
    });
    assert_eq!(phone.ask(playing).await["type"], "ack");
    assert_eq!(phone.hear().await["type"], "progress_update");
    assert_eq!(speaker.hear().await["type"], "progress_update");
    let wanted = json!({"target_device_id": "speaker", "content_id": "tmdb:550"});
    let answer = home.phone("POST /api/v1/devices/handoff", wanted.clone()).await;
    let expected = json!({
        "success": true, "target_device_id": "speaker", "content_id": "tmdb:550",
        "position_seconds": 1234,
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    let load = json!({"type": "load_content", "content_id": "tmdb:550", "start_position": 1234});
    assert_eq!(speaker.hear().await["command"], load);
    let paused = phone.hear().await;
    assert_eq!(
        (&paused["command"], &paused["from"]),
        (&json!({"type": "pause"}), &json!("speaker"))
    );

    let mut over_json = wanted;
    over_json["type"] = "device_handoff".into();
    phone.say(&over_json).await;
    let (first, second) = (phone.hear().await, phone.hear().await);
    let ack = if first["type"] == "ack" { &first } else { &second };
    assert_eq!(ack["position_seconds"], 1234, "{first} {second}");
    assert_eq!(speaker.hear().await["command"], load);
    let nobody = json!({"target_device_id": "nobody", "content_id": "tmdb:550"});
    let answer = home.phone("POST /api/v1/devices/handoff", nobody).await;
    assert_eq!((answer.status, answer.problem()), (404, "device_unknown".into()));
}

/// A device that describes itself over JSON hears of the change too, before or after the answer.
async fn describe(socket: &mut Plain, mut message: Value) -> Value {
    message["type"] = "device_describe".into();
    socket.say(&message).await;
    loop {
        let heard = socket.hear().await;
        if heard["type"] != "devices_update" {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_speaks_json_says_itself_that_it_takes_commands() {
    let home = home().await;
    let mut speaker = home.plain_with(&token_of("home", "speaker", "read write")).await;
    let play = json!({"type": "play"});
    assert_eq!(home.phone(COMMAND, play.clone()).await.problem(), "not_supported");
    let description = json!({
        "device_name": "Den", "device_type": "tv", "platform": "webOS 6", "app_version": "1.2",
        "capabilities": {
            "max_resolution": "4k", "hdr": ["hlg", "hdr10"], "audio": ["opus"],
            "screen_inches": 55.0, "remote_controllable": true,
        },
    });
    assert_eq!(describe(&mut speaker, description).await, json!({"type": "ack"}));
    let listed = home.phone("GET /api/v1/devices", json!({})).await.json();
    let listed = listed["devices"].as_array().unwrap().iter();
    let mut own = listed.filter(|device| device["device_id"] == "speaker");
    let mut own = own.next().unwrap().clone();
    own.as_object_mut().unwrap().remove("last_seen");
    let expected = json!({
        "device_id": "speaker", "device_name": "Den", "device_type": "tv", "platform": "webOS 6",
        "app_version": "1.2", "is_online": true, "capabilities": {
            "max_resolution": "4k", "hdr": ["hdr10", "hlg"], "audio": ["opus"], "video": [],
            "screen_inches": 55, "remote_controllable": true, "can_cast": false,
        },
    });
    assert_eq!(own, expected);
    let sent = home.phone(COMMAND, play.clone()).await;
    assert_eq!((sent.status, &sent.json()["status"]), (202, &json!("delivered")));
    loop {
        let heard = speaker.hear().await;
        if heard["type"] == "device_command" {
            assert_eq!(heard["command"], play);
            break;
        }
    }
    // What it does not say stays; what it can is said all at once.
    let said = describe(&mut speaker, json!({"capabilities": {"can_cast": true}})).await;
    assert_eq!(said["type"], "ack");
    assert_eq!(home.phone(COMMAND, play).await.problem(), "not_supported");
    let mut reader = home.plain_with(&token_of("home", "reader", "read")).await;
    let refused = describe(&mut reader, json!({"device_name": "mine"})).await;
    assert_eq!(refused["code"], "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_describes_itself_by_request_and_no_other() {
    let home = home().await;
    let own = "PATCH /api/v1/devices/phone";
    let controllable = json!({"capabilities": {"remote_controllable": true}});
    assert_eq!(home.phone(own, controllable.clone()).await.status, 200, "also as its first");
    let _speaker = speaker(&home).await;
    let other = home.phone("PATCH /api/v1/devices/speaker", controllable).await;
    assert_eq!((other.status, other.problem()), (403, "device_mismatch".into()));
    for (body, field) in [
        (json!({"platform": "x".repeat(65)}), "platform"),
        (json!({"app_version": "x".repeat(65)}), "app_version"),
        (json!({"device_type": "toaster"}), "device_type"),
        (json!({"capabilities": {"hdr": ["dolby"]}}), "capabilities.hdr"),
        (json!({"capabilities": {"max_resolution": "16k"}}), "capabilities.max_resolution"),
        (json!({"capabilities": {"screen_inches": 256}}), "capabilities.screen_inches"),
        (json!({"capabilities": {"screen_inches": null}}), "capabilities.screen_inches"),
        (json!({"capabilities": {"flies": true}}), "capabilities.flies"),
        (json!({"last_seen": 1}), "last_seen"),
    ] {
        assert_eq!(home.phone(own, body.clone()).await.fields(), [field], "{body}");
    }
    for nothing in [json!({}), json!({"device_name": null, "capabilities": null})] {
        assert_eq!(home.phone(own, nothing).await.status, 200, "all stays as it is");
    }
    let longest = json!({"platform": "x".repeat(64), "app_version": "x".repeat(64)});
    assert_eq!(home.phone(own, longest).await.status, 200);
}
