//! Tokens that are revoked count no more, at once and after a restart, and their sessions end.

use super::*;
use crate::clock::now_s;
use crate::http::admin::TIME_S_MAX;
use serde_json::{Value, json};

const LINE: &str = "GET /api/v1/watchlist";

impl Home {
    pub(super) async fn revoke(&self, what: Value) -> Answer {
        let bearer = format!("Bearer {}", token("operator", "admin"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.ask("POST /api/v1/admin/revocations", &headers, &what.to_string()).await
    }

    async fn reads(&self, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        self.ask(LINE, &[("authorization", &bearer)], "").await.status
    }
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims
}

/// Tokens say in whole seconds when they were issued.
pub(super) async fn next_second() {
    let now = now_s();
    while now_s() == now {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_counts_no_more() {
    let home = home().await;
    let (one, other) = (token("home", "read"), token("home", "read"));
    let id = claims(&one)["jti"].as_str().unwrap().to_owned();
    assert_ne!(claims(&other)["jti"], id.as_str());
    let mut plain = home.plain_with(&one).await;
    let answer = home.revoke(json!({"token_id": id})).await;
    assert_eq!((answer.status, answer.json()["token_id"].as_str()), (200, Some(&*id)));
    assert_eq!((home.reads(&one).await, home.reads(&other).await), (401, 200));
    assert_eq!(plain.0.close().await, CloseCode::Unauthorized);
    let home = home.restart().await;
    assert_eq!((home.reads(&one).await, home.reads(&other).await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_s_earlier_tokens_count_no_more() {
    let home = home().await;
    let (tv, phone) = (token("home", "read"), token_of("home", "phone", "read"));
    let neighbour = token("other", "read");
    let mut binary = home.join(1).await;
    let mut plain = home.plain_with(&phone).await;
    let answer = home.revoke(json!({"household": "home"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(binary.close().await, CloseCode::Unauthorized);
    assert_eq!(plain.0.close().await, CloseCode::Unauthorized);
    for token in [&tv, &phone] {
        assert_eq!(home.reads(token).await, 401);
    }
    assert_eq!(home.reads(&token_until(now_s() + 60)).await, 401, "issued who knows when");
    assert_eq!(home.reads(&neighbour).await, 200);
    next_second().await;
    let later = token("home", "read");
    assert_eq!(home.reads(&later).await, 200);
    let home = home.restart().await;
    assert_eq!((home.reads(&tv).await, home.reads(&later).await), (401, 200));
    // An earlier time takes nothing back.
    assert_eq!(home.revoke(json!({"household": "home", "not_before": 1})).await.status, 200);
    assert_eq!(home.reads(&tv).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_cut_off_and_no_other() {
    let home = home().await;
    let (tv, phone) = (token("home", "read"), token_of("home", "phone", "read"));
    let mut cut = home.plain_with(&tv).await;
    let mut living = home.plain_with(&phone).await;
    let answer = home.revoke(json!({"household": "home", "device_id": "tv"})).await;
    assert_eq!(answer.json()["device_id"], "tv");
    assert_eq!(cut.0.close().await, CloseCode::Unauthorized);
    assert_eq!((home.reads(&tv).await, home.reads(&phone).await), (401, 200));
    assert_eq!(living.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(home.reads(&token("other", "read")).await, 200, "of the same name elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_whose_token_was_renewed_lives_on() {
    let home = home().await;
    let (one, other) = (token("home", "read"), token("home", "read"));
    let mut plain = home.plain_with(&one).await;
    let renewed = plain.ask(json!({"type": "auth", "token": other})).await;
    assert_eq!(renewed["type"], "ack");
    assert_eq!(home.revoke(json!({"token_id": claims(&one)["jti"]})).await.status, 200);
    assert_eq!(plain.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(home.revoke(json!({"token_id": claims(&other)["jti"]})).await.status, 200);
    assert_eq!(plain.0.close().await, CloseCode::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_too_little_or_too_much_is_refused() {
    let home = home().await;
    for (body, field) in [
        (json!({}), ""),
        (json!({"token_id": "a", "household": "home"}), ""),
        (json!({"token_id": ""}), "token_id"),
        (json!({"token_id": "x".repeat(257)}), "token_id"),
        (json!({"token_id": "a", "device_id": "tv"}), "token_id"),
        (json!({"token_id": "a", "not_before": 1}), "token_id"),
        (json!({"household": "home", "ends": 1}), "ends"),
        (json!({"household": "home", "not_before": now_s() + 3600}), "not_before"),
        (json!({"household": "x".repeat(65)}), "household"),
        (json!({"device_id": "tv"}), ""),
        (json!({"token_id": "a", "more": 1}), "more"),
        (json!({"token_id": "a", "ends": TIME_S_MAX + 1}), "ends"),
        (json!({"token_id": "a", "ends": 1.5}), "ends"),
    ] {
        assert_eq!(home.revoke(body.clone()).await.fields(), [field], "{body}");
    }
    let far = home.revoke(json!({"token_id": "x".repeat(256), "ends": TIME_S_MAX as f64})).await;
    assert_eq!(far.status, 200, "{far:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_durable_does_not_count() {
    let home = home().await;
    let tv = token("home", "read");
    let intruder = home.intruder();
    intruder.hold();
    let answer = home.revoke(json!({"household": "home"})).await;
    assert_eq!(answer.problem(), "storage_unavailable");
    assert_eq!(home.reads(&tv).await, 200, "nothing was revoked");
    intruder.let_go();
    assert_eq!(home.revoke(json!({"household": "home"})).await.status, 200);
    assert_eq!(home.reads(&tv).await, 401);
}

impl Home {
    /// An operator's request about what is revoked.
    async fn revoked(&self, line: &str) -> Answer {
        let bearer = format!("Bearer {}", token("operator", "admin"));
        let line = line.replacen(' ', " /api/v1/admin/revocations", 1);
        self.ask(&line, &[("authorization", &bearer)], "").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_is_revoked_and_takes_it_back() {
    let home = home().await;
    let (one, tv) = (token_of("home", "phone", "read"), token("home", "read"));
    let other = token("other", "read");
    let id = claims(&one)["jti"].as_str().unwrap().to_owned();
    assert_eq!(home.revoked("GET ").await.json(), json!({"items": []}));
    home.revoke(json!({"token_id": id})).await;
    home.revoke(json!({"token_id": "ended", "ends": 1})).await;
    home.revoke(json!({"household": "home", "device_id": "tv"})).await;
    home.revoke(json!({"household": "other"})).await;
    // In pages.
    let (mut items, mut next) = (Vec::new(), String::new());
    for more in [true, true, false] {
        let page = home.revoked(&format!("GET ?limit=1{next}")).await.json();
        items.extend(page["items"].as_array().unwrap().clone());
        assert_eq!(page.get("next").is_some(), more, "{page}");
        next = format!("&after={}", page["next"].as_str().unwrap_or_default());
    }
    assert_eq!(items.len(), 3);
    assert_eq!(items[0]["token_id"], id.as_str());
    assert!(items[0]["ends"].as_u64().unwrap() > now_s() && items[0]["owner"].is_null());
    assert!(items[1]["not_before"].as_u64().unwrap() <= now_s());
    // By name: those of the household, and of one device.
    let of = async |query: &str| home.revoked(&format!("GET {query}")).await.json();
    assert_eq!(of("?household=home").await, json!({"items": []}));
    let own = of("?household=home&device_id=tv").await;
    let owner = own["items"][0]["owner"].as_str().unwrap().to_owned();
    assert!(items[1..].contains(&own["items"][0]), "{own} {items:?}");
    assert_eq!(of("?household=other&device_id=tv").await["items"].as_array().unwrap().len(), 1);

    assert_eq!((home.reads(&one).await, home.reads(&tv).await), (401, 401));
    for (query, existed) in [
        (format!("?token_id={id}"), true),
        (format!("?token_id={id}"), false),
        ("?token_id=ended".into(), false),
        ("?household=home".into(), false),
        (format!("?owner={owner}"), true),
    ] {
        let answer = home.revoked(&format!("DELETE {query}")).await;
        assert_eq!(answer.json(), json!({"success": true, "existed": existed}), "{query}");
    }
    assert_eq!((home.reads(&one).await, home.reads(&tv).await), (200, 200));
    assert_eq!(home.reads(&other).await, 401, "another's stays");
    let home = home.restart().await;
    assert_eq!((home.reads(&one).await, home.reads(&tv).await), (200, 200));
    assert_eq!(home.revoked("DELETE ?household=other").await.json()["existed"], true);
    assert_eq!(home.revoked("GET ").await.json(), json!({"items": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_asks_of_revocations_is_checked() {
    let home = home().await;
    for (line, field) in [
        ("GET ?limit=0", "limit"),
        ("GET ?limit=1001", "limit"),
        ("GET ?after=x", "after"),
        ("GET ?after=owner:0", "after"),
        ("GET ?device_id=tv", "device_id"),
        ("GET ?token_id=x", "token_id"),
        ("DELETE ", ""),
        ("DELETE ?device_id=tv", "device_id"),
        ("DELETE ?token_id=x&household=home", ""),
        ("DELETE ?owner=00", "owner"),
        ("DELETE ?owner=0123456789ABCDEF0123456789abcdef", "owner"),
    ] {
        assert_eq!(home.revoked(line).await.fields(), [field], "{line}");
    }
    assert_eq!(home.revoked("GET ?limit=1000").await.status, 200);
    // What the store could not do has not happened.
    let token = token("home", "read");
    home.revoke(json!({"household": "home"})).await;
    let intruder = home.intruder();
    intruder.hold();
    let refused = home.revoked("DELETE ?household=home").await;
    assert_eq!(refused.problem(), "storage_unavailable");
    intruder.let_go();
    assert_eq!(home.reads(&token).await, 401);
}
