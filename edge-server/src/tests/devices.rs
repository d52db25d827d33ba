//! Devices that are renamed, forgotten, and remembered across restarts.

use super::commands::{described, record};
use super::*;
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
    // A line on the list that was never a session goes without touching any token.
    let answer = home.phone("DELETE /api/v1/devices/speaker", json!({})).await;
    assert_eq!(answer.status, 200);
    assert!(home.device("speaker").await.is_none());
    let mut speaker = home.plain_with(&token_of("home", "speaker", "read")).await;
    assert_eq!(speaker.ask(json!({"type": "ping"})).await["type"], "pong");
}
