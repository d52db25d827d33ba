//! The watchlist, the progress and the devices over REST, beside a TV that speaks the binary
//! protocol.

use super::*;
use crate::http::household::PAGE_ENTRIES_MAX;
use omega_sync_core::clock::DRIFT_MAX_MS;
use omega_sync_core::household::Household;
use omega_sync_core::message::read_update;
use serde_json::{Value, json};

const WATCHLIST: &str = "POST /api/v1/sync/watchlist";
const PROGRESS: &str = "POST /api/v1/sync/progress";

fn adding(title: &str) -> Value {
    json!({"operation": "add", "content_id": title})
}

fn playing(title: &str, position: u32) -> Value {
    json!({
        "content_id": title, "position_seconds": position, "duration_seconds": 100,
        "state": "playing",
    })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body.as_object_mut().unwrap().insert(name.into(), value);
    body
}

fn titles(page: &Answer) -> Vec<String> {
    let page = page.json();
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["content_id"].as_str().unwrap().into()).collect()
}

/// The next update that a TV gets of somebody else's change.
async fn update(socket: &mut Socket) -> Delta {
    let frame = socket.frame().await;
    match ServerFrame::decode(&frame).unwrap() {
        ServerFrame::Update(_, body) => {
            read_update(body.0, &mut socket.down, &|_, _, _| Some(Vec::new())).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_on_a_tv_at_once_and_the_other_way_round() {
    let home = home().await;
    let mut tv = home.join(1).await;
    let answer = home.rest(WATCHLIST, adding("tmdb:550")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["success"], &said["operation"]), (&json!(true), &json!("add")));
    assert_eq!(said["content_id"], "tmdb:550");
    let delta = update(&mut tv).await;
    let hlc: u64 = said["hlc"].as_str().unwrap().parse().unwrap();
    assert_eq!(delta.through, Timestamp(hlc));
    assert_eq!(delta.through.millis().0, said["timestamp"].as_u64().unwrap());
    match &delta.operations[0].change {
        Change::Add(title, _) => assert_eq!(title.as_str(), "tmdb:550"),
        other => panic!("{other:?}"),
    }

    let answer = home.rest(PROGRESS, playing("tmdb:550", 25)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["position_seconds"], &said["completion_percent"]), (&json!(25), &json!(25)));
    update(&mut tv).await;

    tv.add(1, "tmdb:551").await;
    assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Ack(..))));
    let list = home.rest("GET /api/v1/watchlist", Value::Null).await;
    assert_eq!(titles(&list), ["tmdb:551", "tmdb:550"], "the last added first");
    let progress = home.rest("GET /api/v1/progress", Value::Null).await.json();
    let item = &progress["items"][0];
    assert_eq!((&item["position_seconds"], &item["resume_seconds"]), (&json!(25), &json!(25)));
    assert_eq!((&item["duration_seconds"], &item["state"]), (&json!(100), &json!("playing")));
    assert_eq!(item["hlc"], said["hlc"]);

    let remove = with(adding("tmdb:551"), "operation", json!("remove"));
    assert_eq!(home.rest(WATCHLIST, remove.clone()).await.status, 200);
    update(&mut tv).await;
    let again = home.rest(WATCHLIST, remove).await;
    assert_eq!((again.status, again.problem()), (404, "not_on_watchlist".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_restart() {
    let home = home().await;
    let first = home.rest(PROGRESS, playing("tmdb:550", 10)).await.json();
    let home = home.restart().await;
    let second = home.rest(PROGRESS, playing("tmdb:550", 20)).await.json();
    let hlc = |said: &Value| said["hlc"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(hlc(&second) > hlc(&first));
    let page = home.rest("GET /api/v1/progress", Value::Null).await.json();
    assert_eq!(page["items"][0]["position_seconds"], 20);
    // A TV that was away gets it with its snapshot.
    let mut tv = home.connect().await;
    tv.send(hello(1, &token("home", "read")).encode()).await;
    tv.welcome().await;
    match ServerFrame::decode(&tv.frame().await).unwrap() {
        ServerFrame::Snapshot(_, 2, state) => assert_eq!(Household::entries(&state), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_said_and_nothing_is_there() {
    let home = home().await;
    assert_eq!(home.rest(WATCHLIST, adding("tmdb:550")).await.status, 200);
    let intruder = home.intruder();
    intruder.hold();
    let answer = home.rest(WATCHLIST, adding("tmdb:551")).await;
    assert_eq!((answer.status, answer.problem()), (503, "storage_unavailable".into()));
    assert_eq!(answer.header("retry-after"), Some("5"));
    intruder.let_go();
    let list = home.rest("GET /api/v1/watchlist", Value::Null).await;
    assert_eq!(titles(&list), ["tmdb:550"]);
    home.intruder().change_epochs();
    let answer = home.rest(WATCHLIST, adding("tmdb:552")).await;
    assert_eq!((answer.status, answer.problem()), (503, "restart".into()), "another wrote");
    assert_eq!(home.rest(WATCHLIST, adding("tmdb:552")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_wrong_names_its_fields() {
    let home = home().await;
    let long = "x".repeat(65);
    for (line, body, field) in [
        (WATCHLIST, json!({}), "operation"),
        (WATCHLIST, json!([]), ""),
        (WATCHLIST, json!({"operation": "add"}), "content_id"),
        (WATCHLIST, with(adding("t"), "operation", json!("toggle")), "operation"),
        (WATCHLIST, adding(""), "content_id"),
        (WATCHLIST, adding(&long), "content_id"),
        (WATCHLIST, adding("a\nb"), "content_id"),
        (WATCHLIST, with(adding("t"), "content_id", json!(550)), "content_id"),
        (WATCHLIST, with(adding("t"), "profile", json!("kids")), "profile"),
        (WATCHLIST, with(adding("t"), "timestamp", json!(-1)), "timestamp"),
        (WATCHLIST, with(adding("t"), "timestamp", json!(0.5)), "timestamp"),
        (WATCHLIST, with(adding("t"), "timestamp", json!((1_u64 << 47) + 1)), "timestamp"),
        (WATCHLIST, with(adding("t"), "hlc", json!("soon")), "hlc"),
        (WATCHLIST, with(adding("t"), "hlc", json!(u64::MAX.to_string())), "hlc"),
        (WATCHLIST, with(adding("t"), "contentId", json!("t")), "contentId"),
        (PROGRESS, adding("t"), "operation"),
        (PROGRESS, with(playing("t", 1), "position_seconds", json!(-1)), "position_seconds"),
        (
            PROGRESS,
            with(playing("t", 1), "position_seconds", json!(4_294_967_296_u64)),
            "position_seconds",
        ),
        (PROGRESS, with(playing("t", 1), "position_seconds", json!("1")), "position_seconds"),
        (PROGRESS, with(playing("t", 1), "duration_seconds", Value::Null), "duration_seconds"),
        (PROGRESS, with(playing("t", 1), "state", json!("rewinding")), "state"),
    ] {
        let answer = home.rest(line, body.clone()).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.into()]), "{body}");
    }
    let bearer = format!("Bearer {}", token("home", "read write"));
    let authorization = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    for (headers, body, status, code) in [
        (vec![authorization, json], "{", 400, "malformed"),
        (vec![authorization, json], "", 400, "malformed"),
        (vec![authorization], "{}", 415, "media_type_unsupported"),
        (vec![authorization, ("content-type", "text/plain")], "{}", 415, "media_type_unsupported"),
    ] {
        let answer = home.ask(WATCHLIST, &headers, body).await;
        assert_eq!((answer.status, answer.problem()), (status, code.into()), "{body}");
    }
    assert_eq!(titles(&home.rest("GET /api/v1/watchlist", Value::Null).await), [""; 0]);
    let fractions = with(playing("t", 1), "position_seconds", json!(25.9));
    assert_eq!(home.rest(PROGRESS, fractions).await.json()["position_seconds"], 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_household_does_not_take_is_said() {
    let home = home().await;
    let mut tv = home.join(1).await;
    let (known, gone) = (ProfileId(7), ProfileId(8));
    for (profile, change) in [
        (known, Change::NameProfile("Kids".into())),
        (gone, Change::NameProfile("Gone".into())),
        (gone, Change::DeleteProfile),
    ] {
        tv.operate(1, profile, change).await;
        tv.frame().await;
    }
    let on = |profile: ProfileId| with(adding("t"), "profile", json!(profile.to_string()));
    assert_eq!(home.rest(WATCHLIST, on(known)).await.status, 200);
    for (profile, code) in [(ProfileId(9), "profile_unknown"), (gone, "profile_deleted")] {
        let answer = home.rest(WATCHLIST, on(profile)).await;
        assert_eq!((answer.status, answer.problem()), (404, code.into()));
        let line = format!("GET /api/v1/progress?profile={profile}");
        let answer = home.rest(&line, Value::Null).await;
        assert_eq!((answer.status, answer.problem()), (404, code.into()));
    }
    let list = home.rest("GET /api/v1/watchlist?profile=0000000000000007", Value::Null).await;
    assert_eq!(titles(&list), ["t"]);
    assert_eq!(titles(&home.rest("GET /api/v1/watchlist", Value::Null).await), [""; 0]);

    let at = now().0;
    let then = with(playing("film", 10), "timestamp", json!(at));
    let said = home.rest(PROGRESS, then.clone()).await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(home.rest(PROGRESS, then).await.status, 200, "it may be repeated");
    let ahead = with(playing("film", 20), "timestamp", json!(now().0 + 2 * DRIFT_MAX_MS));
    let answer = home.rest(PROGRESS, ahead).await;
    assert_eq!((answer.status, answer.problem()), (409, "drift".into()));
    let whole = with(adding("w"), "timestamp", json!(at as f64));
    let said = home.rest(WATCHLIST, whole).await.json();
    assert!(said["timestamp"].as_u64().unwrap() >= at, "1.0 is 1: {said}");
    let nulls = with(with(adding("n"), "timestamp", Value::Null), "hlc", Value::Null);
    assert_eq!(home.rest(WATCHLIST, nulls).await.status, 200, "null is as good as missing");
    let late = with(playing("film", 20), "timestamp", json!(at - 60_000));
    let answer = home.rest(PROGRESS, late).await;
    assert_eq!((answer.status, answer.problem()), (409, "superseded".into()));
    let page = home.rest("GET /api/v1/progress", Value::Null).await.json();
    assert_eq!(page["items"][0]["position_seconds"], 10);
    assert_eq!(page["items"][0]["timestamp"], at);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let home = home().await;
    let all: Vec<String> = (0..5).map(|number| format!("t{number}")).collect();
    for title in &all {
        assert_eq!(home.rest(WATCHLIST, adding(title)).await.status, 200);
    }
    let mut found = Vec::new();
    let mut line = "GET /api/v1/watchlist?limit=2".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = home.rest(&line, Value::Null).await;
        let names = titles(&page);
        sizes.push(names.len());
        found.extend(names);
        match page.json()["next"].as_str() {
            Some(next) => line = format!("GET /api/v1/watchlist?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    found.reverse();
    assert_eq!(found, all);
    for (query, field) in [
        ("limit=0", "limit"),
        (&*format!("limit={}", PAGE_ENTRIES_MAX + 1), "limit"),
        ("limit=many", "limit"),
        ("after=t1", "after"),
        ("after=+000000000000001000000000000000f", "after"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
        ("profile=kids", "profile"),
    ] {
        let answer = home.rest(&format!("GET /api/v1/progress?{query}"), Value::Null).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.into()]), "{query}");
    }
    let both = home.rest("GET /api/v1/watchlist?limit=0&page=1", Value::Null).await;
    assert_eq!(both.fields(), ["limit", "page"], "all that is wrong at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let home = home().await;
    home.rest(WATCHLIST, adding("t")).await;
    let bearer = format!("Bearer {}", token("home", "read"));
    let authorization = ("authorization", bearer.as_str());
    for path in ["watchlist", "progress", "devices"] {
        let line = format!("GET /api/v1/{path}");
        let first = home.ask(&line, &[authorization], "").await;
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        let tag = first.header("etag").unwrap();
        if path == "devices" {
            // Says when the asking device was seen, which is now.
            continue;
        }
        assert!(tag.starts_with("W/"), "{tag}");
        let strong = tag.trim_start_matches("W/");
        for given in [tag, strong, &format!("\"other\", {tag}"), "*"] {
            let again = home.ask(&line, &[authorization, ("if-none-match", given)], "").await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{given}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let other = home.ask(&line, &[authorization, ("if-none-match", "\"other\"")], "").await;
        assert_eq!((other.status, other.body), (200, first.body));
    }
    let list = home.ask("GET /api/v1/watchlist", &[authorization], "").await;
    let tag = list.header("etag").unwrap().to_owned();
    home.rest(WATCHLIST, adding("u")).await;
    let known = ("if-none-match", tag.as_str());
    let changed = home.ask("GET /api/v1/watchlist", &[authorization, known], "").await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(&*tag));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_online_while_they_are_connected() {
    let home = home().await;
    let phone = format!("Bearer {}", token_of("home", "phone", "read"));
    let ask =
        async || home.ask("GET /api/v1/devices", &[("authorization", &phone)], "").await.json();
    let mut tv = home.join(1).await;
    let record = DeviceRecord {
        name: "Living room".into(),
        device_type: DeviceType::Tv,
        platform: "webOS 5".into(),
        app_version: "1.0".into(),
        capabilities: Capabilities {
            resolution: Resolution::EightK,
            hdr: 0b1001,
            audio: 0b1000,
            remote_controllable: true,
            screen_inches: 65,
            ..Capabilities::default()
        },
    };
    let id = DeviceId::new("tv").unwrap();
    tv.operate(1, ProfileId::DEFAULT, Change::Device(id, Some(record))).await;
    tv.frame().await;
    let list = ask().await;
    assert_eq!(list["total"], 2);
    assert_eq!(list["devices"][0]["device_id"], "phone");
    assert_eq!(list["devices"][0]["is_online"], false, "a request is no connection");
    assert!(list["devices"][0]["last_seen"].is_u64());
    let mut device = list["devices"][1].clone();
    assert!(device["last_seen"].as_u64().unwrap() <= now().0);
    device.as_object_mut().unwrap().remove("last_seen");
    let expected = json!({
        "device_id": "tv", "device_type": "tv", "platform": "webOS 5", "is_online": true,
        "device_name": "Living room", "app_version": "1.0",
        "capabilities": {
            "max_resolution": "8k", "hdr": ["hdr10", "dolby_vision"], "audio": ["atmos"],
            "video": [], "remote_controllable": true, "can_cast": false, "screen_inches": 65,
        },
    });
    assert_eq!(device, expected);
    tv.socket.close(None).await.unwrap();
    while tv.socket.next().await.is_some() {}
    let gone = async {
        while ask().await["devices"][1]["is_online"] == true {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("offline when its socket is gone");
    let home = home.restart().await;
    let list = home.ask("GET /api/v1/devices", &[("authorization", &phone)], "").await.json();
    assert_eq!(list["devices"][1]["is_online"], false, "nobody is online who is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_sees_its_own_only() {
    let home = home().await;
    home.rest(WATCHLIST, adding("ours")).await;
    home.rest(PROGRESS, playing("ours", 10)).await;
    let other = format!("Bearer {}", token("other", "read write"));
    let headers = [("authorization", other.as_str()), ("content-type", "application/json")];
    for path in ["watchlist", "progress"] {
        let page = home.ask(&format!("GET /api/v1/{path}"), &headers, "").await;
        assert_eq!(page.json(), json!({"items": []}), "{path}");
    }
    let devices = home.ask("GET /api/v1/devices", &headers, "").await.json();
    assert_eq!(devices["total"], 1, "itself");
    let remove = with(adding("ours"), "operation", json!("remove")).to_string();
    assert_eq!(home.ask(WATCHLIST, &headers, &remove).await.status, 404);
    assert_eq!(titles(&home.rest("GET /api/v1/watchlist", Value::Null).await), ["ours"]);
}
