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

/// Sends operations until the server closes; how many were acknowledged before, and the code.
async fn flood(mut tv: Socket, replica: u64) -> (usize, CloseCode) {
    let mut acknowledged = 0;
    loop {
        tv.add(replica, &format!("tmdb:{acknowledged}")).await;
        match tv.message().await {
            Some(Ok(Message::Binary(_))) => acknowledged += 1,
            Some(Ok(Message::Close(Some(frame)))) => {
                return (acknowledged, CloseCode::from_code(frame.code.into()).unwrap());
            }
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_operations_loses_its_socket_and_slows_nobody_else() {
    let device = Rate { per_second: 1, burst: 40 };
    let operations = Allowance { device, household: Rate::ANY };
    let home = home_with(Limits { operations, ..limits() }).await;
    let flooding = home.join(1).await;
    let mut calm = home.connect().await;
    calm.send(hello(2, &token("other", "read write")).encode()).await;
    calm.welcome().await;
    calm.frame().await;
    let (flooded, ()) = tokio::join!(flood(flooding, 1), async {
        for number in 0..15 {
            calm.add(2, &format!("tmdb:{number}")).await;
            assert!(matches!(ServerFrame::decode(&calm.frame().await), Ok(ServerFrame::Ack(..))));
        }
    });
    let (acknowledged, code) = flooded;
    assert_eq!(code, CloseCode::RateLimited);
    // A frame and the operation in it; a slow machine gives some back meanwhile.
    assert!(acknowledged >= 19, "{acknowledged}");
    // What was acknowledged is taken.
    let list = home.rest("GET /api/v1/watchlist?limit=5000", json!(null)).await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), acknowledged);
    // And another device of the same household goes on.
    let mut other = home.connect().await;
    other.send(hello(3, &token_of("home", "phone", "read write")).encode()).await;
    other.welcome().await;
    other.frame().await;
    other.add(3, "tmdb:phone").await;
    assert!(matches!(ServerFrame::decode(&other.frame().await), Ok(ServerFrame::Ack(..))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_has_a_quota_of_bytes() {
    let household = Rate { per_second: 1, burst: 1_000 };
    let bytes = Allowance { device: Rate::ANY, household };
    let home = home_with(Limits { bytes, ..limits() }).await;
    let tv = home.join(1).await;
    let (_, code) = flood(tv, 1).await;
    assert_eq!(code, CloseCode::RateLimited);
    // Over HTTP it is told how long to wait.
    let exchange = omega_sync_core::message::Exchange {
        hello: hello(5, ""),
        acked: Timestamp::ZERO,
        frames: Vec::new(),
    };
    let bearer = format!("authorization: Bearer {}\r\n", token_of("home", "phone", "read"));
    let answer = home.sync(&bearer, &exchange.encode()).await;
    assert_eq!(answer.status, 429);
    assert!(answer.head.to_lowercase().contains("retry-after: "), "{}", answer.head);
    let mut plain = home.plain_with(&token_of("home", "phone", "read write")).await;
    let refused = plain.ask(json!({"type": "ping"})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("rate_limited")));
    assert!(refused["retry_after"].as_u64().unwrap() >= 1, "{refused}");
    let mut other = home.connect().await;
    other.send(hello(2, &token("other", "read write")).encode()).await;
    other.welcome().await;
    other.frame().await;
    other.add(2, "tmdb:1").await;
    assert!(matches!(ServerFrame::decode(&other.frame().await), Ok(ServerFrame::Ack(..))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_and_a_household_have_so_many_sockets() {
    let limits = Limits { device_sockets_max: 1, household_sockets_max: 2, ..limits() };
    let home = home_with(limits).await;
    let first = home.join(1).await;
    let refused = async |device: &str| {
        let mut socket = home.connect().await;
        socket.send(hello(9, &token_of("home", device, "read")).encode()).await;
        socket.close().await
    };
    assert_eq!(refused("tv").await, CloseCode::RateLimited);
    let mut plain = home.plain_with(&token_of("home", "phone", "read")).await;
    // Its token is acknowledged before it has its place; what comes next is not.
    assert_eq!(plain.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(refused("tablet").await, CloseCode::RateLimited);
    let mut other = home.connect().await;
    other.send(hello(2, &token("other", "read")).encode()).await;
    other.welcome().await;
    drop((first, plain));
    // The places come back when the server has noticed.
    let comes_back = async {
        loop {
            let mut socket = home.connect().await;
            socket.send(hello(4, &token_of("home", "tablet", "read")).encode()).await;
            if let Some(Ok(Message::Binary(_))) = socket.message().await {
                break;
            }
        }
    };
    timeout(DEADLINE, comes_back).await.expect("a place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_may_be_given_fewer_titles() {
    let home = home_with(Limits { entries_max: 2, ..limits() }).await;
    let mut tv = home.join(1).await;
    for (title, voids) in [("tmdb:1", 0), ("tmdb:2", 0), ("tmdb:3", 1)] {
        tv.add(1, title).await;
        match ServerFrame::decode(&tv.frame().await) {
            Ok(ServerFrame::Ack(_, ack)) => assert_eq!(ack.voids.len(), voids, "{title}"),
            other => panic!("{other:?}"),
        }
    }
    let add = json!({"operation": "add", "content_id": "tmdb:4"});
    let answer = home.rest("POST /api/v1/sync/watchlist", add).await;
    assert_eq!((answer.status, answer.problem()), (409, "household_full".into()));
}
