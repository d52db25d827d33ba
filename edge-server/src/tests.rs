//! The whole server over real sockets and a real database, one bad input at a time.

mod address;
mod attacks;
mod commands;
mod devices;
mod erasure;
mod exchange;
mod figures;
mod gzip;
mod http;
#[cfg(feature = "crypto")]
mod identity;
mod json;
mod matrix;
mod orders;
mod pairing;
mod rates;
mod rest;
mod revocation;
#[cfg(feature = "crypto")]
mod secure;
mod sessions;
mod taste;

use crate::Server;
use crate::auth::{AUDIENCE, Authority, ISSUER, Secret};
use crate::config::{Cli, Command, ServeArgs};
use crate::limits::Limits;
use crate::pairing::Bounds;
use crate::quota::{Allowance, Rate};
use crate::store::sqlite::sabotage::Intruder;
use futures_util::{SinkExt, StreamExt};
use omega_sync_core::clock::{Clock, Timestamp, UnixMillis};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::id::{ContentId, DeviceId, HouseholdId, ProfileId, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, CloseCode, FrameNumber, Hello, ServerFrame, Session, Welcome,
};
use omega_sync_core::operation::{
    Capabilities, Change, DeviceRecord, DeviceType, Operation, Resolution,
};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

const SECRET: &[u8] = b"a secret of this test, thirty-two bytes";
/// Nothing in these tests takes longer, unless it never ends.
const DEADLINE: Duration = Duration::from_secs(20);

fn args(data: &Path) -> ServeArgs {
    let secret = data.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let line =
        "omega-edge serve --listen 127.0.0.1:0 --dev --device-rate 0 --household-rate 0 --data";
    let mut line: Vec<OsString> = line.split(' ').map(Into::into).collect();
    line.extend([data.join("store").into(), "--jwt-secret-file".into(), secret.into()]);
    match Cli::read(line).unwrap().unwrap().command {
        Command::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

/// A server with a folder of its own.
struct Home {
    folder: TempDir,
    server: Server,
}

async fn home_with(limits: Limits) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&args(folder.path()), limits).await.unwrap();
    Home { folder, server }
}

/// Limits that no test reaches by chance.
fn limits() -> Limits {
    let any = Rate { per_second: 0, burst: 0 };
    let pairing = Bounds { guesses: 0, guesses_all: any, ..Bounds::default() };
    Limits {
        address_rate: any,
        pairing,
        device_rate: any,
        household_rate: any,
        operations: Allowance::ANY,
        bytes: Allowance::ANY,
        device_sockets_max: 0,
        household_sockets_max: 0,
        ..Limits::default()
    }
}

async fn home() -> Home {
    home_with(limits()).await
}

impl Home {
    async fn restart(self) -> Self {
        let Self { folder, server } = self;
        server.stop().await.unwrap();
        let server = Server::start(&args(folder.path()), limits()).await.unwrap();
        Self { folder, server }
    }

    fn intruder(&self) -> Intruder {
        Intruder::open(&self.folder.path().join("store"))
    }

    async fn connect(&self) -> Socket {
        self.connect_with(&[("Sec-WebSocket-Protocol", "omega.v1")]).await.unwrap()
    }

    async fn connect_with(&self, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
        let address = self.server.address();
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let (up, down) = (Context::default(), Context::default());
        Ok(Socket { socket, up, down, next: FrameNumber::FIRST, clock: Clock::default() })
    }

    /// Connects a replica and reads its welcome and catch-up.
    async fn join(&self, replica: u64) -> Socket {
        let mut socket = self.connect().await;
        socket.send(hello(replica, &token("home", "read write")).encode()).await;
        socket.welcome().await;
        let catch_up = socket.frame().await;
        assert!(matches!(ServerFrame::decode(&catch_up), Ok(ServerFrame::Snapshot(..))));
        socket
    }

    /// One HTTP exchange: status line with headers, and body.
    async fn http(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.into(), body.into())
    }

    /// A figure of the server's.
    async fn figure(&self, name: &str) -> u64 {
        let (_, figures) = self.get("/metrics").await;
        let value = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    async fn get(&self, path: &str) -> (String, String) {
        self.http(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .await
    }
}

/// An HTTP answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem, of which all that every problem has was checked.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:omega-sync:problem:{code}"), "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["request_id"], self.header("x-request-id").unwrap(), "{self:?}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{self:?}");
        code.into()
    }

    /// The names of the fields that are wrong.
    fn fields(&self) -> Vec<String> {
        assert_eq!(self.problem(), "invalid");
        let problem = self.json();
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().into()).collect()
    }
}

impl Home {
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let (head, body) = self.http(&format!("{request}\r\n{body}")).await;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect();
        Answer { status, headers, body }
    }

    /// A request of the household `home`'s TV, with all it may do.
    async fn rest(&self, line: &str, body: serde_json::Value) -> Answer {
        let bearer = format!("Bearer {}", token("home", "read write"));
        let authorization = ("authorization", bearer.as_str());
        match body {
            serde_json::Value::Null => self.ask(line, &[authorization], "").await,
            body => {
                let json = ("content-type", "application/json; charset=utf-8");
                self.ask(line, &[authorization, json], &body.to_string()).await
            }
        }
    }
}

struct Socket {
    socket: WebSocketStream<TcpStream>,
    up: Context,
    down: Context,
    next: FrameNumber,
    clock: Clock,
}

impl Socket {
    async fn send(&mut self, frame: Vec<u8>) {
        self.socket.send(Message::Binary(frame.into())).await.unwrap();
    }

    /// Reads the welcome, with which the contexts begin.
    async fn welcome(&mut self) -> Welcome {
        match ServerFrame::decode(&self.frame().await) {
            Ok(ServerFrame::Welcome(welcome)) => {
                self.up = Context::starting(welcome.server_time);
                self.down = Context::starting(welcome.server_time);
                welcome
            }
            other => panic!("no welcome but {other:?}"),
        }
    }

    async fn add(&mut self, replica: u64, title: &str) {
        let change = Change::Add(ContentId::new(title).unwrap(), Vec::new());
        self.operate(replica, ProfileId::DEFAULT, change).await;
    }

    async fn operate(&mut self, replica: u64, profile: ProfileId, change: Change) {
        let timestamp = self.clock.tick(now());
        let operations = vec![Operation { timestamp, profile, change }];
        let delta = Delta { replica: ReplicaId(replica), through: timestamp, operations };
        let number = self.next.advance();
        let frame = ClientFrame::delta(number, &delta, &mut self.up, &mut |_| None);
        self.send(frame).await;
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(DEADLINE, self.socket.next()).await.expect("a message in time")
    }

    /// The next frame, pings aside.
    async fn frame(&mut self) -> Vec<u8> {
        loop {
            match self.message().await {
                Some(Ok(Message::Binary(frame))) => return frame.to_vec(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("no frame but {other:?}"),
            }
        }
    }

    /// The code and reason the server closes with; frames before it are skipped.
    async fn close(&mut self) -> CloseCode {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code = CloseCode::from_code(frame.code.into()).unwrap();
                    assert_eq!(frame.reason.as_str(), code.reason());
                    return code;
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }
}

fn hello(replica: u64, token: &str) -> Hello {
    Hello {
        token: token.into(),
        household: None,
        replica: ReplicaId(replica),
        session: Session { number: now().0, nonce: 1 },
        acked: None,
        cursor: None,
        epoch: None,
        owes_offer: false,
    }
}

fn token(household: &str, scope: &str) -> String {
    token_of(household, "tv", scope)
}

fn token_of(household: &str, device: &str, scope: &str) -> String {
    let authority = Authority::new(&Secret::new(SECRET).unwrap(), ISSUER, AUDIENCE);
    let household = HouseholdId::new(household).unwrap();
    let device = DeviceId::new(device).unwrap();
    authority.issue(&household, &device, scope, None, Duration::from_secs(60)).unwrap()
}

/// A token that ends at a time of one's choice.
fn token_until(exp: u64) -> String {
    let claims = serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "home", "did": "tv", "exp": exp,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn now() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}
