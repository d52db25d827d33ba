//! Who may do what, for every route there is: each with every kind of wrong token, with each scope,
//! and with what belongs to another household. A route that has no entry here fails.

use super::*;
use crate::auth::SCOPES;
use crate::auth::tests::attacks;
use crate::http::routes;
use omega_sync_core::message::Exchange;
use serde_json::{Value, json};

/// What only the first household has.
const SECRET_TITLE: &str = "a-title-of-the-first-household";
const SECRET_PLAY: &str = "a-title-that-the-first-household-began";
const SECRET_DEVICE: &str = "a-device-of-the-first-household";
const SECRET_PROFILE: &str = "00000000000005ec";

const ERASE: &str = "DELETE /api/v1/household";
const TAKE_BACK: &str = "DELETE /api/v1/admin/revocations";
const FORGET: &str = "DELETE /api/v1/devices/{id}";

/// What a route is sent, and what it needs.
struct Entry {
    /// Method and path, as the router has them.
    route: &'static str,
    /// The scope that it needs, in a word or more.
    scope: &'static str,
    sends: Sends,
    /// What a good token gets.
    good: u16,
}

enum Sends {
    Nothing,
    Json(Value),
    Form(&'static str),
    Hello,
    Upgrade,
}

/// Every route's entry. What names a title names one of the first household's.
fn entries() -> Vec<Entry> {
    let of = |route, scope, sends, good| Entry { route, scope, sends, good };
    let get = |route, scope| of(route, scope, Sends::Nothing, 200);
    let form = |route, body, good| of(route, "", Sends::Form(body), good);
    let post = |route, scope, body| of(route, scope, Sends::Json(body), 200);
    let add = json!({"operation": "add", "content_id": SECRET_TITLE});
    let progress = json!({
        "content_id": SECRET_TITLE, "position_seconds": 1, "duration_seconds": 2, "state": "stopped",
    });
    vec![
        // First: it takes away what the others bring.
        get(ERASE, "write control"),
        get("GET /health", "admin"),
        get("GET /api/v1/health", "admin"),
        get("GET /metrics", "admin"),
        get("GET /openapi.json", "admin"),
        get("GET /docs", "admin"),
        of("GET /ws", "read", Sends::Upgrade, 101),
        of("POST /api/v1/sync", "read", Sends::Hello, 200),
        post("POST /api/v1/sync/watchlist", "write", add),
        post("POST /api/v1/sync/progress", "write", progress),
        get("GET /api/v1/sync/version", "read"),
        get("GET /api/v1/taste/contributions", "read"),
        of("GET /api/v1/taste/tables/{id}", "read", Sends::Nothing, 404),
        of("POST /api/v1/taste/opt-out", "write", Sends::Nothing, 200),
        of("DELETE /api/v1/taste/opt-out", "write", Sends::Nothing, 200),
        post("POST /api/v1/content", "admin", taste::feed_of(&["a-public-title"])),
        get("GET /api/v1/watchlist", "read"),
        get("GET /api/v1/progress", "read"),
        get("GET /api/v1/devices", "read"),
        get("GET /api/v1/household/export", "read"),
        // The device that asks is known, and has no socket.
        of(
            "POST /api/v1/devices/handoff",
            "control",
            Sends::Json(json!({"target_device_id": "tv", "content_id": SECRET_TITLE})),
            409,
        ),
        of(
            "POST /api/v1/devices/{id}/commands",
            "control",
            Sends::Json(json!({"type": "pause"})),
            409,
        ),
        of(
            "POST /api/v1/pairing",
            "control",
            Sends::Json(json!({"user_code": "BCDF-GHJK", "decision": "show"})),
            404,
        ),
        post("POST /api/v1/admin/pairing-keys", "admin", json!({"household": "matrix"})),
        form("POST /oauth/device_authorization", "client_id=tv-app", 200),
        form("POST /oauth/token", "grant_type=refresh_token&refresh_token=x", 400),
        form("POST /oauth/revoke", "token=x", 200),
        form("POST /pair", "user_code=BCDFGHJK&household=first&key=x", 403),
        get("GET /pair", ""),
        get("GET /pair/qr.svg?user_code=BCDF-GHJK", ""),
        of(FORGET, "write control", Sends::Nothing, 404),
        of("PATCH /api/v1/devices/{id}", "write", Sends::Json(json!({"device_name": "TV"})), 200),
        post(
            "POST /api/v1/admin/revocations",
            "admin",
            json!({"token_id": "of a token that nobody has"}),
        ),
        get("GET /api/v1/admin/revocations", "admin"),
        get(TAKE_BACK, "admin"),
    ]
}

/// The entries of the routes that need a token.
fn guarded() -> Vec<Entry> {
    entries().into_iter().filter(|entry| !entry.scope.is_empty()).collect()
}

/// What came of a request: its status, the problem's code if there is one, and all the text.
#[derive(Debug)]
struct Outcome {
    status: u16,
    code: String,
    text: String,
}

impl Outcome {
    fn of(answer: Answer) -> Self {
        // Pages and OAuth have words of their own.
        let problem = answer.header("content-type") == Some("application/problem+json");
        let code = if problem { answer.problem() } else { String::new() };
        assert!(problem || answer.status < 400 || !answer.body.is_empty(), "{answer:?}");
        Self { status: answer.status, code, text: answer.body }
    }
}

/// A replica that no other request has used.
fn fresh_replica() -> u64 {
    getrandom::u64().unwrap()
}

/// Sends a request from elsewhere than this machine, as a proxy says it.
async fn send(home: &Home, entry: &Entry, headers: &[(&'static str, &str)]) -> Outcome {
    let mut headers = headers.to_vec();
    headers.push(("x-forwarded-for", "192.0.2.1"));
    // Who asks must not forget itself.
    let device = if entry.route == FORGET { "nobody" } else { "tv" };
    let mut line = entry.route.replace("{id}", device);
    if entry.route == ERASE {
        line.push_str("?confirm=erase");
    }
    if entry.route == TAKE_BACK {
        line.push_str("?token_id=of+a+token+that+nobody+has");
    }
    match &entry.sends {
        Sends::Nothing => Outcome::of(home.ask(&line, &headers, "").await),
        Sends::Json(body) => {
            headers.push(("content-type", "application/json"));
            Outcome::of(home.ask(&line, &headers, &body.to_string()).await)
        }
        Sends::Form(body) => {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            Outcome::of(home.ask(&line, &headers, body).await)
        }
        Sends::Hello => {
            let hello = hello(fresh_replica(), "");
            let exchange = Exchange { hello, acked: Timestamp::ZERO, frames: Vec::new() };
            let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
            let answer = home.sync(&lines.collect::<String>(), &exchange.encode()).await;
            let code = if answer.status < 400 { String::new() } else { answer.problem() };
            let text = String::from_utf8_lossy(&answer.binary).into_owned();
            Outcome { status: answer.status, code, text }
        }
        Sends::Upgrade => upgrade(home, &headers).await,
    }
}

/// A socket's token is checked before the upgrade when it is in the header, its scope after the
/// hello: browsers can't read the answer to a refused upgrade.
async fn upgrade(home: &Home, headers: &[(&'static str, &str)]) -> Outcome {
    let mut headers = headers.to_vec();
    headers.push(("sec-websocket-protocol", "omega.v1"));
    match home.connect_with(&headers).await {
        Ok(mut socket) => {
            socket.send(hello(fresh_replica(), "").encode()).await;
            let first = socket.message().await;
            let (status, code, text) = match first {
                Some(Ok(Message::Binary(frame))) => (101, String::new(), frame.to_vec()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code = CloseCode::from_code(frame.code.into()).unwrap();
                    assert_eq!(code, CloseCode::Unauthorized);
                    // No token at all is as wrong as a bad one; with one, it is the scope.
                    let given = headers.iter().any(|(name, _)| *name == "authorization");
                    let code = if given { "forbidden" } else { "unauthorized" };
                    (if given { 403 } else { 401 }, code.into(), Vec::new())
                }
                other => panic!("{other:?}"),
            };
            Outcome { status, code, text: String::from_utf8_lossy(&text).into_owned() }
        }
        Err(Error::Http(response)) => {
            let status = response.status().as_u16();
            let code = if status == 401 { "unauthorized" } else { "device_mismatch" };
            Outcome { status, code: code.into(), text: String::new() }
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn bearer(household: &str, scope: &str) -> String {
    format!("Bearer {}", token(household, scope))
}

#[test]
fn every_route_has_an_entry() {
    let routes = routes::all().into_iter().map(|route| format!("{} {}", route.method, route.path));
    let mut routes: Vec<String> = routes.collect();
    let mut known: Vec<String> = entries()
        .iter()
        .map(|entry| entry.route.split('?').next().unwrap_or_default().into())
        .collect();
    routes.sort();
    known.sort();
    assert_eq!(routes, known, "a route needs an entry in this matrix, and each entry its route");
}

/// No route takes one of these tokens.
pub(super) async fn refuses(home: &Home, attacks: &[(String, String)]) {
    for entry in guarded() {
        for (name, token) in attacks {
            let header = format!("Bearer {token}");
            let outcome = send(home, &entry, &[("authorization", &header)]).await;
            assert_eq!(
                (outcome.status, &*outcome.code),
                (401, "unauthorized"),
                "{} {name}",
                entry.route
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_takes_a_wrong_token() {
    let home = home().await;
    let named = attacks(SECRET).into_iter().map(|(name, token)| (name.to_owned(), token));
    refuses(&home, &named.collect::<Vec<_>>()).await;
    for entry in guarded() {
        let none = send(&home, &entry, &[]).await;
        assert_eq!((none.status, &*none.code), (401, "unauthorized"), "{}", entry.route);
        let good = token("home", SCOPES);
        for scheme in ["Basic", "DPoP", "bearer:", ""] {
            let header = format!("{scheme} {good}");
            let outcome = send(&home, &entry, &[("authorization", &header)]).await;
            assert_eq!(outcome.status, 401, "{} {scheme}", entry.route);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_needs_its_scope_and_no_other() {
    let home = home().await;
    for entry in guarded() {
        for scope in SCOPES.split(' ') {
            let bearer = bearer("home", scope);
            let outcome = send(&home, &entry, &[("authorization", &bearer)]).await;
            let expected = if scope == entry.scope { entry.good } else { 403 };
            assert_eq!(outcome.status, expected, "{} with {scope}: {outcome:?}", entry.route);
            let refused = outcome.status == 403;
            assert!(!refused || outcome.code == "forbidden", "{outcome:?}");
        }
        let own: Vec<&str> = entry.scope.split(' ').collect();
        let rest: Vec<&str> = SCOPES.split(' ').filter(|scope| !own.contains(scope)).collect();
        let bearer_of_own = bearer("home", entry.scope);
        let outcome = send(&home, &entry, &[("authorization", &bearer_of_own)]).await;
        assert_eq!(outcome.status, entry.good, "{}: {outcome:?}", entry.route);
        for scope in [&rest.join(" "), "", "READ WRITE ADMIN", "*"] {
            let bearer = bearer("home", scope);
            let outcome = send(&home, &entry, &[("authorization", &bearer)]).await;
            assert_eq!(outcome.status, 403, "{} with '{scope}'", entry.route);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_serves_another_device_than_the_token_s() {
    let home = home().await;
    for entry in guarded() {
        let bearer = bearer("home", entry.scope);
        for (device, expected) in [("tv", entry.good), ("phone", 403), ("TV", 403), ("", 403)] {
            let headers = [("authorization", bearer.as_str()), ("x-device-id", device)];
            let outcome = send(&home, &entry, &headers).await;
            assert_eq!(outcome.status, expected, "{} as '{device}'", entry.route);
            assert!(expected != 403 || outcome.code == "device_mismatch", "{outcome:?}");
        }
        // Whichever way its token came.
        if let Sends::Upgrade = entry.sends {
            let protocols = format!("omega.v1, omega.token.{}", token("home", "read"));
            let headers = [("sec-websocket-protocol", &*protocols), ("x-device-id", "phone")];
            let mut socket = home.connect_with(&headers).await.unwrap();
            socket.send(hello(fresh_replica(), "").encode()).await;
            assert_eq!(socket.close().await, CloseCode::Unauthorized);
        }
        let both = [("authorization", &*bearer), ("x-device-id", "tv"), ("x-device-id", "phone")];
        assert_eq!(send(&home, &entry, &both).await.status, 403, "{}", entry.route);
    }
}

/// Asks as one device of a household, with all it may do.
async fn ask_as(home: &Home, (household, device): (&str, &str), line: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {}", token_of(household, device, SCOPES));
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    home.ask(line, &headers, &body).await
}

/// All that a household can see of itself, but when its devices were here: who looks is here.
async fn state(home: &Home, household: &str) -> Vec<Value> {
    let lists = ["watchlist?limit=5000", "progress?limit=5000", "devices"];
    let mut all = Vec::new();
    for path in [&lists[..], &["taste/contributions", "household/export"]].concat() {
        let line = format!("GET /api/v1/{path}");
        let answer = ask_as(home, (household, "tv"), &line, Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut state = answer.json();
        for list in ["/devices", "/more/device_seen"] {
            for device in
                state.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                device
                    .as_object_mut()
                    .unwrap()
                    .retain(|name, _| name != "last_seen" && name != "at");
            }
        }
        all.push(state);
    }
    all
}

/// Fills the first household with what no other has: a device, a profile with lists, a title that
/// was begun, a paired device. The code that was allowed is the answer.
async fn fill_first(home: &Home) -> Value {
    let phone = ("first", SECRET_DEVICE);
    let mut socket = home.connect().await;
    let replica = fresh_replica();
    socket.send(hello(replica, &token("first", "read write")).encode()).await;
    socket.welcome().await;
    socket.frame().await;
    let profile = ProfileId::new(SECRET_PROFILE).unwrap();
    socket.operate(replica, profile, Change::NameProfile("a-title".into())).await;
    socket.frame().await;
    let progress = json!({
        "content_id": SECRET_PLAY, "position_seconds": 1, "duration_seconds": 2, "state": "playing",
        "profile": SECRET_PROFILE,
    });
    let added = json!({
        "operation": "add", "content_id": SECRET_TITLE, "profile": SECRET_PROFILE,
    });
    for (path, body) in [("progress", progress), ("watchlist", added)] {
        let line = format!("POST /api/v1/sync/{path}");
        assert_eq!(ask_as(home, phone, &line, body).await.status, 200);
    }
    let code = home.ask_for_code().await["user_code"].clone();
    let allow = json!({"user_code": code, "decision": "allow"});
    assert_eq!(ask_as(home, phone, "POST /api/v1/pairing", allow).await.status, 200);
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_reaches_another_household() {
    let home = home().await;
    let first = [("authorization", &*bearer("first", SCOPES)), ("x-device-id", "tv")];
    for entry in entries() {
        send(&home, &entry, &first).await;
    }
    let code = fill_first(&home).await;
    // The note of a play follows its answer.
    let began = |state: &[Value]| state[3]["playing"][0]["content_id"] == SECRET_PLAY;
    timeout(DEADLINE, async { while !began(&state(&home, "first").await) {} }).await.unwrap();
    let before = state(&home, "first").await;
    let has = |at: usize, word: &str| before[at].to_string().contains(word);
    assert!(has(0, SECRET_TITLE) && has(1, SECRET_TITLE) && has(2, SECRET_DEVICE), "{before:?}");
    assert!(has(4, SECRET_PROFILE) && has(4, SECRET_DEVICE) && has(4, SECRET_PLAY), "{before:?}");
    let mut second = entries();
    // Changing nothing of its own, the second household sees nothing at all.
    second.sort_by_key(|entry| matches!(entry.sends, Sends::Json(_)));
    for entry in &second {
        let bearer = bearer("second", SCOPES);
        let outcome = send(&home, entry, &[("authorization", &bearer)]).await;
        assert_eq!(outcome.status, entry.good, "{}: {outcome:?}", entry.route);
        let own = matches!(entry.sends, Sends::Json(_));
        assert!(own || !outcome.text.contains("a-title"), "{}: {outcome:?}", entry.route);
        assert!(!outcome.text.contains(SECRET_DEVICE), "{}: {outcome:?}", entry.route);
    }
    names_what_only_the_first_has(&home, code).await;
    for operation in ["remove", "add"] {
        let body = json!({"operation": operation, "content_id": SECRET_TITLE});
        ask_as(&home, ("second", "tv"), "POST /api/v1/sync/watchlist", body).await;
    }
    assert_eq!(state(&home, "first").await, before, "the first household is as it was");
    // Nothing in a request can name a household.
    for name in ["household", "household_id", "sub", "user_id", "tenant"] {
        let line = format!("GET /api/v1/watchlist?{name}=first");
        let answer = ask_as(&home, ("second", "tv"), &line, Value::Null).await;
        assert_eq!(answer.fields(), [name]);
    }
}

/// What is there in the first household is not there for the second, by whichever route it is named.
async fn names_what_only_the_first_has(home: &Home, code: Value) {
    let progress = json!({
        "content_id": SECRET_TITLE, "position_seconds": 1, "duration_seconds": 2,
        "state": "stopped", "profile": SECRET_PROFILE,
    });
    let added = json!({
        "operation": "add", "content_id": SECRET_TITLE, "profile": SECRET_PROFILE,
    });
    let (device, shelf) =
        (format!("devices/{SECRET_DEVICE}"), format!("?profile={SECRET_PROFILE}"));
    let named = [
        ("PATCH", &*device, json!({"device_name": "mine"}), "device_unknown"),
        ("DELETE", &device, Value::Null, "device_unknown"),
        ("POST", &format!("{device}/commands"), json!({"type": "pause"}), "device_unknown"),
        (
            "POST",
            "devices/handoff",
            json!({"target_device_id": SECRET_DEVICE, "content_id": SECRET_TITLE}),
            "device_unknown",
        ),
        ("GET", &format!("watchlist{shelf}"), Value::Null, "profile_unknown"),
        ("GET", &format!("progress{shelf}"), Value::Null, "profile_unknown"),
        ("POST", "sync/watchlist", added, "profile_unknown"),
        ("POST", "sync/progress", progress, "profile_unknown"),
        ("POST", "pairing", json!({"user_code": code, "decision": "deny"}), "code_unknown"),
    ];
    for (method, path, body, problem) in named {
        let line = format!("{method} /api/v1/{path}");
        let answer = ask_as(home, ("second", "tv"), &line, body).await;
        assert_eq!((answer.status, &*answer.problem()), (404, problem), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_for_everybody_takes_no_notice_of_tokens_and_tells_nothing() {
    let home = home().await;
    let write = bearer("first", "write");
    let headers = [("authorization", &*write), ("content-type", "application/json")];
    let body = json!({"operation": "add", "content_id": SECRET_TITLE}).to_string();
    home.ask("POST /api/v1/sync/watchlist", &headers, &body).await;
    let open: Vec<Entry> = entries().into_iter().filter(|entry| entry.scope.is_empty()).collect();
    assert!(open.len() >= 6);
    for entry in open {
        let (admin, forged) = (bearer("first", SCOPES), "Bearer x.y.z");
        for token in [None, Some(&*admin), Some(forged)] {
            let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
            let outcome = send(&home, &entry, &headers).await;
            assert_eq!(outcome.status, entry.good, "{} {outcome:?}", entry.route);
            assert!(!outcome.text.contains(SECRET_TITLE), "{}", entry.route);
        }
    }
}
