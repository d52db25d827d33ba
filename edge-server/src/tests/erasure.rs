//! What is held of a household: shown to it, and erased so that no device brings it back.

use super::*;
use crate::store::sqlite::FILE_NAME;
use omega_sync_core::message::Exchange;
use serde_json::{Value, json};

const TITLE: &str = "a-title-that-must-go";

async fn export(home: &Home) -> Value {
    let answer = home.rest("GET /api/v1/household/export", Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

async fn erase(home: &Home) -> Answer {
    let bearer = format!("Bearer {}", token("home", "write control"));
    let headers = [("authorization", &*bearer)];
    home.ask("DELETE /api/v1/household?confirm=erase", &headers, "").await
}

async fn add(home: &Home, title: &str) {
    let body = json!({"operation": "add", "content_id": title});
    assert_eq!(home.rest("POST /api/v1/sync/watchlist", body).await.status, 200);
}

/// Whether the server's files have a text anywhere.
fn in_a_file(home: &Home, text: &str) -> bool {
    let files = std::fs::read_dir(home.folder.path().join("store")).unwrap();
    let has = |path| {
        std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.map(|file| file.unwrap().path()).any(has)
}

/// A hello of a device that knows an epoch.
fn knowing(replica: u64, epoch: u32) -> Hello {
    Hello { epoch: Some(epoch), ..hello(replica, &token("home", "read write")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_reads_everything_that_is_held_of_it() {
    let home = home().await;
    let empty = export(&home).await;
    assert_eq!((&empty["household"], &empty["version"]), (&json!("home"), &json!(0)));
    let mut tv = home.join(7).await;
    let (kids, gone) = (ProfileId(0xabc), ProfileId(0xdef));
    let record = DeviceRecord { name: "Living room".into(), ..DeviceRecord::default() };
    for (profile, change) in [
        (kids, Change::NameProfile("Kids".into())),
        (gone, Change::NameProfile("Gone".into())),
        (gone, Change::DeleteProfile),
        (kids, Change::Add(ContentId::new("tmdb:1").unwrap(), Vec::new())),
        (ProfileId::DEFAULT, Change::Device(DeviceId::new("tv").unwrap(), Some(record))),
    ] {
        tv.operate(7, profile, change).await;
        tv.frame().await;
    }
    for (path, body) in [
        ("watchlist", json!({"operation": "add", "content_id": "tmdb:2"})),
        ("watchlist", json!({"operation": "remove", "content_id": "tmdb:2"})),
        (
            "progress",
            json!({
                "content_id": "tmdb:3", "position_seconds": 5, "duration_seconds": 9,
                "state": "paused",
            }),
        ),
    ] {
        let answer = home.rest(&format!("POST /api/v1/sync/{path}"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let all = export(&home).await;
    assert_eq!(all["version"], 8);
    assert_eq!(all["profiles"][0]["profile"], "");
    assert_eq!(all["profiles"][0]["progress"][0]["content_id"], "tmdb:3");
    assert_eq!(all["profiles"][0]["progress"][0]["position_seconds"], 5);
    assert_eq!(all["profiles"][1]["profile"], "0000000000000abc");
    assert_eq!(all["profiles"][1]["name"], "Kids");
    assert_eq!(all["profiles"][1]["watchlist"][0]["content_id"], "tmdb:1");
    assert_eq!(all["deleted_profiles"], json!(["0000000000000def"]));
    assert_eq!(all["devices"][0]["description"]["device_name"], "Living room");
    let has = |list: &str, field: &str, value: &str| {
        all[list].as_array().unwrap().iter().any(|entry| entry[field] == value)
    };
    assert!(has("replicas", "replica", "0000000000000007"), "{all}");
    assert!(has("gone", "id", "tmdb:2"), "{all}");
    assert!(has("log", "operation", "remove") && has("log", "name", "Kids"), "{all}");
    let parameter = home.rest("GET /api/v1/household/export?all=1", Value::Null).await;
    assert_eq!(parameter.fields(), ["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_must_be_meant() {
    let home = home().await;
    add(&home, TITLE).await;
    let bearer = format!("Bearer {}", token("home", "write control"));
    for query in ["", "?confirm=", "?confirm=yes", "?confirm"] {
        let line = format!("DELETE /api/v1/household{query}");
        let answer = home.ask(&line, &[("authorization", &bearer)], "").await;
        assert_eq!(answer.fields(), ["confirm"], "{query}");
    }
    assert!(in_a_file(&home, TITLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_household_is_gone_and_no_device_brings_it_back() {
    let home = home().await;
    let mut tv = home.connect().await;
    tv.send(hello(7, &token("home", "read write")).encode()).await;
    let epoch = tv.welcome().await.epoch.unwrap();
    tv.frame().await;
    let mut plain = home.plain_with(&token("home", "read write")).await;
    add(&home, TITLE).await;
    assert!(in_a_file(&home, TITLE), "before");
    let erased = erase(&home).await;
    assert_eq!((erased.status, erased.json()["existed"].clone()), (200, json!(true)));
    assert_eq!(tv.close().await, CloseCode::Erased);
    assert_eq!(plain.close().await, CloseCode::Erased);
    assert!(!in_a_file(&home, TITLE), "after");
    assert_eq!(export(&home).await["version"], 0);

    // A device that was away must forget, by socket or by request; one that knows nothing is welcome.
    let mut away = home.connect().await;
    away.send(knowing(8, epoch.mark()).encode()).await;
    assert_eq!(away.close().await, CloseCode::Erased);
    let exchange =
        Exchange { hello: knowing(8, epoch.mark()), acked: Timestamp::ZERO, frames: Vec::new() };
    let refused = home.sync("", &exchange.encode()).await;
    assert_eq!((refused.status, refused.problem()), (410, "erased".into()));
    let mut new = home.connect().await;
    new.send(hello(9, &token("home", "read write")).encode()).await;
    let next = new.welcome().await.epoch.unwrap();
    assert_ne!(next, epoch);

    // It is remembered across restarts, and the new life goes on.
    add(&home, "another-title").await;
    let home = home.restart().await;
    let mut away = home.connect().await;
    away.send(knowing(8, epoch.mark()).encode()).await;
    assert_eq!(away.close().await, CloseCode::Erased);
    let mut known = home.connect().await;
    known.send(knowing(9, next.mark()).encode()).await;
    assert_eq!(known.welcome().await.epoch, None, "the same");
    assert!(std::fs::exists(home.folder.path().join("store").join(FILE_NAME)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_fails_says_so() {
    let home = home().await;
    add(&home, TITLE).await;
    let mut tv = home.join(1).await;
    let intruder = home.intruder();
    intruder.hold();
    let refused = erase(&home).await;
    assert_eq!((refused.status, refused.problem()), (503, "storage_unavailable".into()));
    assert_eq!(tv.close().await, CloseCode::StorageUnavailable);
    intruder.let_go();
    let list = home.rest("GET /api/v1/watchlist", Value::Null).await;
    assert!(list.body.contains(TITLE), "nothing is lost by half");
    assert_eq!(erase(&home).await.status, 200);
    assert!(!in_a_file(&home, TITLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_watched_last_is_erased_with_the_rest() {
    let home = home().await;
    for number in 0..40 {
        let body = json!({
            "content_id": format!("{TITLE}-{number}"), "position_seconds": 1,
            "duration_seconds": 2, "state": "playing",
        });
        assert_eq!(home.rest("POST /api/v1/sync/progress", body).await.status, 200);
        assert_eq!(erase(&home).await.json()["existed"], true);
        // Whatever else is written by now was asked for later.
        add(&home, "another-title").await;
        assert!(!export(&home).await.to_string().contains(TITLE), "{number}");
    }
}
