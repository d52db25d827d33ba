//! Where a household is: what its token says, in each request and in its room.

use super::*;
use omega_sync_core::operation::{PlayState, Progress};

fn token_in(household: &str, region: &str) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": household, "did": "tv", "exp": now().0 / 1_000 + 60,
        "scope": "read write", "region": region,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// The region and titles of the trends that a token gets, and what is known then.
async fn trends(home: &Home, token: &str, known: Known) -> (Option<(String, Vec<String>)>, Known) {
    let bearer = format!("authorization: Bearer {token}\r\n");
    let request = Request { known, ..request(&home.tables()) };
    let answer = home.sync(&bearer, &request.encode()).await.binary;
    let told = Told::decode(&answer).unwrap();
    let titles = told.trends.map(|trends| {
        let titles = trends.list.iter().map(|trend| trend.content.as_str().to_owned());
        (trends.region, titles.collect())
    });
    (titles, told.known)
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_are_those_of_the_token_s_country_and_another_one_s_are_news() {
    let home = open_home().await;
    let [de, fr] = [token_in("one", "DE-BY"), token_in("two", "FR")];
    // One begins a title by a request, the other over a socket.
    let body = json!({
        "content_id": "rest", "position_seconds": 1, "duration_seconds": 2, "state": "playing",
    });
    let headers =
        [("authorization", &*format!("Bearer {de}")), ("content-type", "application/json")];
    let line = "POST /api/v1/sync/progress";
    assert_eq!(home.ask(line, &headers, &body.to_string()).await.status, 200);
    let mut socket = home.connect().await;
    socket.send(hello(7, &fr).encode()).await;
    socket.welcome().await;
    socket.frame().await;
    let progress = Progress { position_s: 1, duration_s: 2, state: PlayState::Playing };
    let content = ContentId::new("socket").unwrap();
    let change = Change::Progress(content, Some(progress));
    socket.operate(7, ProfileId::DEFAULT, change).await;
    socket.frame().await;
    // The note of a play follows its answer.
    for household in ["one", "two"] {
        let noted = async || home.own(household).await["playing"].as_array().unwrap().len() == 1;
        timeout(DEADLINE, async { while !noted().await {} }).await.unwrap();
    }
    home.close(DAY_MS).await;
    let (told, known) = trends(&home, &de, Known::default()).await;
    assert_eq!(told, Some(("DE".into(), vec!["rest".into()])));
    assert_eq!(trends(&home, &de, known).await, (None, known));
    let moved = token_in("one", "FR");
    let (told, known) = trends(&home, &moved, known).await;
    assert_eq!(told, Some(("FR".into(), vec!["socket".into()])));
    assert_eq!(trends(&home, &moved, known).await, (None, known));
    home.server.stop().await.unwrap();
}

/// While patterns are taken back again and again no end may fit between two changes.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_overtaken_is_tried_a_few_times_and_later_again() {
    let home = home().await;
    home.own("home").await;
    home.intruder().overtake();
    let days = home.close(QUARTER_MS).await;
    assert!(days > 80, "{days}: they don't wait for the epoch");
    assert_eq!(home.close(QUARTER_MS).await, 0);
    home.intruder().fall_behind();
    assert_eq!(home.close(QUARTER_MS).await, 1);
    home.server.stop().await.unwrap();
}
