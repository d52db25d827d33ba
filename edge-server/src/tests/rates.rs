//! Who asks too often is told to wait, and nobody else waits.

use super::*;
use futures_util::future::join_all;
use serde_json::json;

const LINE: &str = "GET /api/v1/devices";

async fn ask(home: &Home, household: &str, device: &str) -> Answer {
    let bearer = format!("Bearer {}", token_of(household, device, "read"));
    home.ask(LINE, &[("authorization", &bearer)], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_above_its_rate_waits_and_nobody_else() {
    let rate = Rate { per_second: 1, burst: 5 };
    let home = home_with(Limits { device_rate: rate, ..limits() }).await;
    // All at once, so that a slow machine gives no places back meanwhile.
    let answers = join_all((0..20).map(|_| ask(&home, "home", "tv"))).await;
    let refused = answers.iter().find(|answer| answer.status != 200).expect("a limit");
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 5);
    assert_eq!((refused.status, refused.problem()), (429, "rate_limited".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(ask(&home, "home", "phone").await.status, 200);
    assert_eq!(ask(&home, "other", "tv").await.status, 200, "of the same name elsewhere");
    assert_eq!(home.get("/health").await.0.split(' ').nth(1), Some("200"));
    // A wrong token takes no place of anybody's.
    let none = home.ask(LINE, &[("authorization", "Bearer x.y.z")], "").await;
    assert_eq!(none.status, 401);
    // And a TV's socket goes on.
    let mut tv = home.join(1).await;
    tv.add(1, "tmdb:550").await;
    assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Ack(..))));
    let text = home.get("/metrics").await.1;
    let count = answers.iter().filter(|answer| answer.status == 429).count();
    let line = format!("omega_problems_total{{code=\"rate_limited\"}} {count}\n");
    assert!(text.contains(&line), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_above_its_rate_slows_no_other() {
    let rate = Rate { per_second: 1, burst: 2 };
    let home = home_with(Limits { household_rate: rate, ..limits() }).await;
    let devices = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let answers = join_all(devices.map(|device| ask(&home, "home", device))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
    for household in ["one", "two", "three"] {
        assert_eq!(ask(&home, household, "tv").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_socket_above_its_rate_is_told_and_lives_on() {
    let rate = Rate { per_second: 5, burst: 2 };
    let home = home_with(Limits { device_rate: rate, ..limits() }).await;
    let mut plain = home.plain_with(&token("home", "read write")).await;
    for _ in 0..20 {
        plain.say(&json!({"type": "ping", "id": 1})).await;
    }
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(plain.hear().await);
    }
    let refused = answers.iter().find(|answer| answer["type"] == "error").expect("a limit");
    assert_eq!((&refused["code"], &refused["retry_after"]), (&json!("rate_limited"), &json!(1)));
    assert_eq!(refused["id"], 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(plain.ask(json!({"type": "ping"})).await["type"], "pong");
}
