//! One-shot sessions over HTTP.

use super::*;
use crate::limits::BEACON_BYTES_MAX;
use omega_sync_core::message::{EXCHANGE_BYTES_MAX, Exchange, Exchanged};

const REPLICA: u64 = 77;

/// A client that has no WebSocket.
struct Caller {
    hello: Hello,
    acked: Timestamp,
    clock: Clock,
}

impl Caller {
    fn new() -> Self {
        let hello = Hello { session: Session { number: 1, nonce: 1 }, ..hello(REPLICA, "") };
        Self { hello, acked: Timestamp::ZERO, clock: Clock::default() }
    }

    /// One that knows the household's epoch.
    async fn known(home: &Home) -> Self {
        let mut caller = Self::new();
        let answer = home.sync(&home.bearer("read write"), &caller.request(&[])).await;
        caller.hear(&answer.binary);
        caller
    }

    fn request(&mut self, titles: &[&str]) -> Vec<u8> {
        self.hello.session.number += 1;
        let mut context = Context::default();
        let mut number = FrameNumber::FIRST;
        let mut frames = Vec::new();
        for title in titles {
            let through = self.clock.tick(now());
            let change = Change::Add(ContentId::new(title).unwrap(), Vec::new());
            let profile = ProfileId::DEFAULT;
            let operations = vec![Operation { timestamp: through, profile, change }];
            let delta = Delta { replica: ReplicaId(REPLICA), through, operations };
            let number = number.advance();
            frames.push(ClientFrame::delta(number, &delta, &mut context, &mut |_| None));
        }
        let frames = frames.iter().map(Vec::as_slice).collect();
        Exchange { hello: self.hello.clone(), acked: self.acked, frames }.encode()
    }

    /// Takes an answer in; returns how many deltas were acknowledged.
    fn hear(&mut self, answer: &[u8]) -> usize {
        let answer = Exchanged::decode(answer).unwrap();
        assert_eq!(answer.close, None);
        let mut acks = 0;
        for frame in answer.frames {
            match ServerFrame::decode(frame).unwrap() {
                ServerFrame::Welcome(welcome) => {
                    let epoch = welcome.epoch.map(|epoch| epoch.mark());
                    self.hello.epoch = epoch.or(self.hello.epoch);
                }
                ServerFrame::Ack(..) => acks += 1,
                _ => {}
            }
        }
        acks
    }
}

/// An answer whose body is no text.
pub(super) struct Binary {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) binary: Vec<u8>,
}

impl Binary {
    pub(super) fn problem(&self) -> String {
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        let problem: serde_json::Value = serde_json::from_slice(&self.binary).unwrap();
        problem["code"].as_str().unwrap().into()
    }
}

impl Home {
    fn bearer(&self, scope: &str) -> String {
        format!("authorization: Bearer {}\r\n", token("home", scope))
    }

    pub(super) async fn sync(&self, headers: &str, body: &[u8]) -> Binary {
        self.binary("POST /api/v1/sync", headers, body).await
    }

    pub(super) async fn binary(&self, line: &str, headers: &str, body: &[u8]) -> Binary {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may have refused before all is sent.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Binary { status, head, binary: answer[end + 4..].to_vec() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_one_request_is_durable_and_heard_by_tvs() {
    let home = home().await;
    let mut tv = home.join(1).await;
    let mut caller = Caller::known(&home).await;
    let typed = format!("{}content-type: application/octet-stream\r\n", home.bearer("read write"));
    let answer = home.sync(&typed, &caller.request(&["one", "two"])).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("content-type: application/octet-stream"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    assert_eq!(caller.hear(&answer.binary), 2);
    for _ in 0..2 {
        assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Update(..))));
    }
    let home = home.restart().await;
    let bearer = format!("Bearer {}", token("home", "read"));
    let list = home.ask("GET /api/v1/watchlist", &[("authorization", &bearer)], "").await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_closes_sends_its_token_in_the_hello() {
    let home = home().await;
    let mut caller = Caller::known(&home).await;
    caller.hello.token = token_of("home", "tv", "read write");
    let answer = home.sync("", &caller.request(&["one"])).await;
    assert_eq!((answer.status, caller.hear(&answer.binary)), (200, 1));
    caller.hello.token = "x.y.z".into();
    let answer = home.sync("", &caller.request(&["two"])).await;
    assert_eq!((answer.status, answer.problem()), (401, "unauthorized".into()));
    caller.hello.token.clear();
    let answer = home.sync("", &caller.request(&["two"])).await;
    assert_eq!((answer.status, answer.problem()), (401, "unauthorized".into()));
    for (size, code) in [(BEACON_BYTES_MAX, "malformed"), (BEACON_BYTES_MAX + 1, "too_large")] {
        assert_eq!(home.sync("", &vec![0; size]).await.problem(), code);
    }
    let bearer = home.bearer("read write");
    for (size, code) in [(EXCHANGE_BYTES_MAX, "malformed"), (EXCHANGE_BYTES_MAX + 1, "too_large")] {
        assert_eq!(home.sync(&bearer, &vec![0; size]).await.problem(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_and_what_can_not_be_read_is_refused() {
    let home = home().await;
    let mut caller = Caller::known(&home).await;
    let bearer = home.bearer("read write");
    let wrong = [
        (home.bearer("write control admin"), 403, "forbidden"),
        (format!("{bearer}x-device-id: phone\r\n"), 403, "device_mismatch"),
        (format!("{bearer}content-type: application/json\r\n"), 415, "media_type_unsupported"),
        ("authorization: Bearer x.y.z\r\n".into(), 401, "unauthorized"),
        ("authorization: Basic dTpw\r\n".into(), 401, "unauthorized"),
    ];
    for (headers, status, code) in wrong {
        let answer = home.sync(&headers, &caller.request(&["one"])).await;
        assert_eq!((answer.status, answer.problem()), (status, code.into()), "{headers}");
    }
    let request = caller.request(&["one"]);
    for length in 0..request.len() {
        let answer = home.sync(&bearer, &request[..length]).await;
        // A part may end after a frame; what it says then is taken once.
        assert!([200, 400, 409].contains(&answer.status), "{length}: {}", answer.head);
    }
    let other = format!("authorization: Bearer {}\r\n", token("other", "read write"));
    let mut theirs = Caller::new();
    let home_mark = HouseholdId::new("home").unwrap().mark();
    theirs.hello.household = Some(home_mark);
    let answer = home.sync(&other, &theirs.request(&[])).await;
    assert_eq!((answer.status, answer.problem()), (403, "household_mismatch".into()));
    let good = format!("{bearer}x-device-id: tv\r\n");
    assert_eq!(home.sync(&good, &caller.request(&[])).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_request_is_refused_and_an_open_socket_is_closed_by_a_newer_one() {
    let home = home().await;
    let mut caller = Caller::known(&home).await;
    let bearer = home.bearer("read write");
    let late = caller.request(&["late"]);
    let mut socket = home.connect().await;
    caller.hello.session.number += 1;
    let hello = Hello { token: token("home", "read write"), ..caller.hello.clone() };
    socket.send(hello.encode()).await;
    socket.welcome().await;
    let answer = home.sync(&bearer, &late).await;
    assert_eq!((answer.status, answer.problem()), (409, "stale_session".into()));
    // The open session, said again by a page that closes.
    caller.hello.session.number -= 1;
    let answer = home.sync(&bearer, &caller.request(&["last"])).await;
    assert_eq!((answer.status, caller.hear(&answer.binary)), (200, 1));
    assert_eq!(socket.close().await, CloseCode::Replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_read_are_bounded_together() {
    let limits = Limits { exchanges_bytes_max: 1_000, ..Limits::default() };
    let home = home_with(limits).await;
    let bearer = home.bearer("read write");
    let answer = home.sync(&bearer, &[0; 1_001]).await;
    assert_eq!((answer.status, answer.problem()), (503, "overloaded".into()));
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    for _ in 0..3 {
        assert_eq!(home.sync(&bearer, &[0; 1_000]).await.status, 400, "the place is free again");
    }
}
