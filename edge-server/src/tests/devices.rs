//! Devices that are renamed, forgotten, and remembered across restarts.

use super::commands::{described, record};
use super::pairing::{oauth_error, quick};
use super::revocation::next_second;
use super::*;
use crate::error::{Error as Failure, Kind, Subject};
use crate::store::sqlite::seen_on_disk;
use omega_sync_core::id::EpochId;
use omega_sync_core::operation::Intent;
use omega_sync_core::session::server::Room;
use serde_json::{Value, json};

impl Home {
    /// The devices as REST lists them.
    async fn devices(&self) -> Vec<Value> {
        let answer = self.phone("GET /api/v1/devices", json!({})).await;
        answer.json()["devices"].as_array().unwrap().clone()
    }

    async fn device(&self, id: &str) -> Option<Value> {
        self.devices().await.into_iter().find(|device| device["device_id"] == id)
    }
}

/// A token of the household's tablet that says when it was issued.
fn tablet_token(issued_s: u64) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "home", "did": "tablet", "iat": issued_s,
        "exp": issued_s + 600,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

async fn tablet(home: &Home, token: &str) -> Socket {
    let mut tablet = home.connect().await;
    tablet.send(hello(now().0, token).encode()).await;
    tablet
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_device_was_seen_survives_a_restart_and_nobody_stays_online() {
    let home = home().await;
    let before = now().0;
    let mut tablet = tablet(&home, &token_of("home", "tablet", "read")).await;
    tablet.welcome().await;
    assert_eq!(home.device("tablet").await.unwrap()["is_online"], true);
    let home = home.restart().await;
    let after = home.device("tablet").await.expect("known although it never described itself");
    assert_eq!(after["is_online"], false);
    let seen = after["last_seen"].as_u64().expect("a time");
    assert!((before..=now().0).contains(&seen), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_renamed_and_keeps_the_rest() {
    let home = home().await;
    let mut tv = described(&home, record(true, false)).await;
    let name = json!({"device_name": "Kitchen"});
    let answer = home.phone("PATCH /api/v1/devices/speaker", name.clone()).await;
    assert_eq!((answer.status, answer.json()["device_id"].as_str()), (200, Some("speaker")));
    assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Update(..))));
    let speaker = home.device("speaker").await.unwrap();
    assert_eq!(speaker["device_name"], "Kitchen");
    assert_eq!(speaker["capabilities"]["remote_controllable"], true);
    let answer = home.phone("PATCH /api/v1/devices/nobody", name).await;
    assert_eq!((answer.status, answer.problem()), (404, "device_unknown".into()));
    let long = json!({"device_name": "x".repeat(65)});
    let answer = home.phone("PATCH /api/v1/devices/speaker", long).await;
    assert_eq!(answer.fields(), ["device_name"]);
}

/// Routes look before they write, so only a change that comes between finds this.
#[test]
fn a_refused_write_of_a_device_speaks_of_the_device() {
    let mut room = Room::create(HouseholdId::new("home").unwrap(), EpochId(1));
    let mut answer = |record: Option<DeviceRecord>| {
        let intent = Intent::DescribeDevice(DeviceId::new("tv").unwrap(), record);
        let refusal = room.write(now(), intent, None).unwrap_err();
        Failure::of_refusal(refusal, Subject::Device).kind()
    };
    assert_eq!(answer(None), Kind::DeviceUnknown);
    let long = DeviceRecord { name: "x".repeat(65), ..DeviceRecord::default() };
    assert_eq!(answer(Some(long)), Kind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_forgotten_loses_its_session_and_its_tokens_for_good() {
    let home = home().await;
    let _tv = described(&home, record(true, false)).await;
    let issued_s = now().0 / 1_000;
    let old = tablet_token(issued_s);
    let mut socket = tablet(&home, &old).await;
    socket.welcome().await;
    let answer = home.phone("DELETE /api/v1/devices/tablet", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(socket.close().await, CloseCode::Unauthorized);
    assert!(home.device("tablet").await.is_none());
    assert_eq!(tablet(&home, &old).await.close().await, CloseCode::Unauthorized);
    let home = home.restart().await;
    assert_eq!(tablet(&home, &old).await.close().await, CloseCode::Unauthorized);
    assert!(home.device("tablet").await.is_none());
    let answer = home.phone("DELETE /api/v1/devices/tablet", json!({})).await;
    assert_eq!((answer.status, answer.problem()), (404, "device_unknown".into()));
    // One that is paired anew comes back.
    let mut socket = tablet(&home, &tablet_token(issued_s + 300)).await;
    socket.welcome().await;
    assert!(home.device("tablet").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_never_seen_here_loses_its_tokens_too() {
    let home = home().await;
    let _tv = described(&home, record(true, false)).await;
    let old = json!(token_of("home", "speaker", "read"));
    let answer = home.phone("DELETE /api/v1/devices/speaker", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(home.device("speaker").await.is_none());
    assert_eq!(home.works(&old).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paired_device_is_known_before_it_comes() {
    let home = home_with(quick()).await;
    let tokens = home.paired().await;
    let listed = home.device("tv-new").await.expect("it is paired");
    assert_eq!((&listed["is_online"], &listed["last_seen"]), (&json!(false), &Value::Null));
    let name = json!({"device_name": "Attic"});
    assert_eq!(home.phone("PATCH /api/v1/devices/tv-new", name).await.status, 200);
    assert_eq!(home.device("tv-new").await.unwrap()["device_name"], "Attic");
    let answer = home.phone("DELETE /api/v1/devices/tv-new", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(home.device("tv-new").await.is_none());
    assert_eq!(home.works(&tokens["access_token"]).await, 401);
    let refreshed = home.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(oauth_error(&refreshed), "invalid_grant");
    let answer = home.phone("DELETE /api/v1/devices/tv-new", json!({})).await;
    assert_eq!(answer.problem(), "device_unknown");
    // Paired anew it is on the list again, although it was taken off.
    next_second().await;
    home.paired().await;
    assert!(home.device("tv-new").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_had_an_answer_is_known_after_a_crash() {
    let home = home().await;
    let ask = async |device: &str, path: &str| {
        let bearer = format!("Bearer {}", token_of("home", device, "read"));
        home.ask(&format!("GET /api/v1/{path}"), &[("authorization", &*bearer)], "").await
    };
    // What is in the database by the time of the answer survives the end of the process.
    let folder = home.folder.path().join("store");
    let asks = [
        ("tv", "watchlist"),
        ("stolen", "progress"),
        ("third", "household/export"),
        ("fourth", "taste/contributions"),
    ];
    for (at, (device, path)) in asks.into_iter().enumerate() {
        assert_eq!(ask(device, path).await.status, 200);
        assert_eq!(seen_on_disk(&folder, "home"), at + 1, "{device}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_taken_off_and_comes_by_request_is_on_the_list_again() {
    let home = home().await;
    let mut tv = described(&home, record(true, false)).await;
    let change = Change::Device(DeviceId::new("speaker").unwrap(), None);
    tv.operate(1, ProfileId::DEFAULT, change).await;
    tv.frame().await;
    assert!(home.device("speaker").await.is_none());
    // By a clock that counts milliseconds, what comes now is not later for sure.
    let comes = async {
        while home.device("speaker").await.is_none() {
            assert_eq!(home.works(&json!(token_of("home", "speaker", "read"))).await, 200);
        }
    };
    timeout(DEADLINE, comes).await.expect("it is on the list");
}
