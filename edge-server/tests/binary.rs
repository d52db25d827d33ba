//! The built binary: killed without warning, started again, and watched in what it logs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[cfg(feature = "otel")]
#[path = "binary/otel.rs"]
mod otel;

use futures_util::StreamExt;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::Intent;
use omega_sync_load::Tv;
use omega_sync_load::home::{Home, missing};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Nothing here takes longer, unless it never ends.
const DEADLINE: Duration = Duration::from_secs(30);
const EDGE: &str = env!("CARGO_BIN_EXE_omega-edge");

/// A folder with a secret, in which servers are started.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "thirty-two bytes or more of secret").unwrap();
        Self { folder }
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    fn token(&self, device: &str) -> String {
        self.token_of("home", device)
    }

    fn token_of(&self, household: &str, device: &str) -> String {
        let mut token = Command::new(EDGE);
        token.args(["token", "--household", household, "--device", device, "--jwt-secret-file"]);
        let output = token.arg(self.secret()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().into()
    }

    fn start(&self) -> Edge {
        self.start_with(&[])
    }

    fn start_with(&self, flags: &[&str]) -> Edge {
        self.start_in(flags, &[])
    }

    /// A server with variables in its environment.
    fn start_in(&self, flags: &[&str], variables: &[(&str, &str)]) -> Edge {
        let mut edge = self.spawn(flags, variables);
        let mut stderr = edge.child.stderr.take().unwrap();
        edge.log = Some(std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        }));
        edge
    }

    /// A server whose log nobody reads.
    fn start_unread(&self) -> Edge {
        self.spawn(&[], &[])
    }

    fn spawn(&self, flags: &[&str], variables: &[(&str, &str)]) -> Edge {
        let data: &Path = &self.folder.path().join("data");
        let mut serve = Command::new(EDGE);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        serve.arg("--jwt-secret-file").arg(self.secret()).args(flags);
        serve.env("SYNC_LOG", "trace").envs(variables.iter().copied());
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().parse().unwrap();
        Edge { child, address, log: None }
    }
}

/// A running server; killed when the test is over.
struct Edge {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Edge {
    /// Status and body of the answer to one request.
    fn ask(&self, token: &str, line: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: \
             close\r\nx-request-id: a-program\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
    }

    /// Asks it to end, and returns its log.
    fn stop(mut self) -> String {
        self.terminate();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.take().unwrap().join().unwrap()
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Ends it as a power cut would, and returns its log.
    fn kill(mut self) -> String {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new TV of a server's.
async fn connect(edge: &Edge, token: &str, seed: u8) -> Tv {
    Tv::connect(edge.address, token, [seed; 16]).await.unwrap()
}

fn title(name: &str) -> ContentId {
    ContentId::new(name).unwrap()
}

const ADD: &str = "POST /api/v1/sync/watchlist";
const LIST: &str = "GET /api/v1/watchlist";

fn adding(name: &str) -> String {
    format!(r#"{{"operation": "add", "content_id": "{name}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_a_tv_share_a_household_through_power_cuts() {
    let place = Place::new();
    let token = place.token("backend");
    let edge = place.start();
    let mut tv = connect(&edge, &place.token("tv"), 1).await;
    let (status, body) = edge.ask(&token, ADD, &adding("from-rest"));
    assert_eq!(status, 200, "{body}");
    tv.until(|tv| tv.client.replica().is_listed(ProfileId::DEFAULT, &title("from-rest")))
        .await
        .unwrap();
    tv.operate(Intent::Add(ProfileId::DEFAULT, title("from-tv"))).await.unwrap();
    tv.until(|tv| tv.client.replica().outbox().is_empty()).await.unwrap();
    let (_, list) = edge.ask(&token, LIST, "");
    assert!(list.contains("from-rest") && list.contains("from-tv"), "{list}");
    edge.kill();

    let edge = place.start();
    let (_, after) = edge.ask(&token, LIST, "");
    assert_eq!(after, list, "what was answered is durable");
    let (status, _) = edge.ask(&token, ADD, &adding("from-rest-2"));
    assert_eq!(status, 200);
    let tv = connect(&edge, &place.token("tv"), 2).await;
    for name in ["from-rest", "from-tv", "from-rest-2"] {
        assert!(tv.client.replica().is_listed(ProfileId::DEFAULT, &title(name)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_at_work_has_what_it_acknowledged() {
    const HOUSEHOLDS: u8 = 8;
    /// Acknowledged writes of all, in each of its lives.
    const WRITES: u32 = 400;
    let place = Place::new();
    let data = place.folder.path().join("data").into_os_string();
    let mut acked = [0; HOUSEHOLDS as usize];
    let tokens = std::array::from_fn(|at| place.token_of(&format!("home-{at}"), "tv"));
    let tokens: [String; HOUSEHOLDS as usize] = tokens;
    for life in 0..3 {
        let edge = place.start();
        let mut homes = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let seed = life * 3 * HOUSEHOLDS + at as u8 + 1;
            let mut tvs = Vec::new();
            for more in 0..3 {
                tvs.push(connect(&edge, token, seed + more * HOUSEHOLDS).await);
            }
            // They have never been here: what they know is what the server's disk has.
            for tv in &tvs {
                assert_eq!(missing(acked[at], tv.client.replica()), None, "home-{at}, life {life}");
            }
            homes.push(Home { tvs, acked: acked[at] });
        }
        let all = Arc::new(AtomicU32::new(0));
        let work = homes.into_iter().map(|mut home| {
            let all = all.clone();
            tokio::spawn(async move {
                // Until the server is gone.
                while home.write().await.is_ok() {
                    all.fetch_add(1, Ordering::Relaxed);
                }
                home.acked
            })
        });
        let work: Vec<_> = work.collect();
        let enough = async {
            while all.load(Ordering::Relaxed) < WRITES {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, enough).await.expect("so many in time");
        edge.kill();
        for (at, home) in work.into_iter().enumerate() {
            acked[at] = home.await.unwrap();
        }
        let word = std::ffi::OsStr::new;
        let (code, said, _) = run(&[word("check"), word("--data"), &data]);
        assert!(code == Some(0) && said.contains("8 households, nothing wrong"), "{said}");
    }
    assert!(acked.iter().sum::<u32>() >= 3 * WRITES, "{acked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_no_token_and_no_title() {
    let place = Place::new();
    let token = place.token("tv");
    let edge = place.start();
    let (status, _) = edge.ask(&token, ADD, &adding("a-secret-title"));
    assert_eq!(status, 200);
    let wrong = format!("{token}x");
    assert_eq!(edge.ask(&wrong, "GET /api/v1/watchlist?after=a-secret-title", "").0, 401);
    assert_eq!(edge.ask(&token, "GET /api/v1/watchlist?after=a-secret-title", "").0, 422);
    assert_eq!(edge.ask(&token, "GET /a-secret-title", "").0, 404);
    assert_eq!(edge.ask(&token, ADD, r#"{"operation": "a-secret-title"}"#).0, 422);
    let mut tv = connect(&edge, &token, 1).await;
    tv.operate(Intent::Add(ProfileId::DEFAULT, title("a-secret-title-too"))).await.unwrap();
    tv.until(|tv| tv.client.replica().outbox().is_empty()).await.unwrap();
    let log = edge.stop();
    assert!(log.contains("POST") && log.contains("/api/v1/sync/watchlist"), "{log}");
    assert!(log.contains("status=401") && log.contains("status=422"), "{log}");
    let parts = token.split('.').chain(["a-secret-title"]);
    for secret in parts {
        assert!(!log.contains(secret), "the log has {secret}:\n{log}");
    }
}

#[test]
fn a_setting_without_effect_is_told_in_the_log() {
    let place = Place::new();
    let flags = ["--delta-sync-min-batch-size=10"];
    let log = place.start_in(&flags, &[("DELTA_SYNC_COMPRESSION", "true")]).stop();
    for name in ["DELTA_SYNC_COMPRESSION", "DELTA_SYNC_MIN_BATCH_SIZE"] {
        assert!(log.contains(&format!("{name} has no effect")), "{log}");
    }
    assert!(!place.start().stop().contains("has no effect"));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    const REQUESTS: usize = 8_000;
    let place = Place::new();
    let token = place.token("backend");
    let mut edge = place.start_unread();
    // Each request leaves more than 100 bytes in the log, all of them more than pipe and server keep.
    let mut stream = TcpStream::connect(edge.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut requests = stream.try_clone().unwrap();
    let asked = std::thread::spawn(move || {
        for _ in 0..REQUESTS {
            requests.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        }
    });
    let (mut answers, mut ends) = (BufReader::new(&mut stream), 0);
    while ends < REQUESTS {
        let mut line = String::new();
        answers.read_line(&mut line).expect("an answer in time");
        ends += usize::from(line.contains("HTTP/1.1 404"));
    }
    asked.join().unwrap();
    assert_eq!(edge.ask(&token, ADD, &adding("one")).0, 200);
    let (_, figures) = edge.ask(&token, "GET /metrics", "");
    let mut lines = figures.lines();
    let dropped = lines.find_map(|line| line.strip_prefix("omega_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{figures}");
    // Nor does it hold up the end.
    edge.terminate();
    assert_eq!(edge.child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_logged_with_the_request_that_it_is_for() {
    let place = Place::new();
    let token = place.token("backend");
    let edge = place.start();
    let mut tv = connect(&edge, &place.token("tv"), 1).await;
    assert_eq!(edge.ask(&token, ADD, &adding("before")).0, 200);
    tv.until(|tv| tv.client.replica().is_listed(ProfileId::DEFAULT, &title("before")))
        .await
        .unwrap();
    let file = place.folder.path().join("data").join("omega.sqlite3");
    let intruder = rusqlite::Connection::open(file).unwrap();
    // Another program has the database and does not let go.
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, body) = edge.ask(&token, ADD, &adding("never"));
    assert_eq!(status, 503, "{body}");
    intruder.execute_batch("ROLLBACK").unwrap();
    let log = edge.stop();
    let line = |text: &str| {
        let found = log.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no {text} in:\n{log}")).to_owned()
    };
    // The room has it from the request, the store from the room.
    let request = "request{id=\"a-program\" method=POST route=\"/api/v1/sync/watchlist\"}";
    for place in ["omega_edge::store::sqlite: commit", "omega_edge::room: a room ends"] {
        let said = line(place);
        assert!(said.contains(request), "{said}");
    }
    let said = line("omega_edge::ws: joined");
    assert!(said.contains("session{id=\"a-tv\"}"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_drains_first() {
    let place = Place::new();
    let token = place.token("backend");
    let mut edge = place.start_with(&["--drain", "2s"]);
    let mut tv = connect(&edge, &place.token("tv"), 1).await;
    tv.operate(Intent::Add(ProfileId::DEFAULT, title("from-tv"))).await.unwrap();
    tv.until(|tv| tv.client.replica().outbox().is_empty()).await.unwrap();
    // A request of which the last byte comes late.
    let body = adding("late");
    let mut late = TcpStream::connect(edge.address).unwrap();
    late.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "{ADD} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n",
        body.len(),
    );
    late.write_all(head.as_bytes()).unwrap();
    late.write_all(&body.as_bytes()[..body.len() - 1]).unwrap();
    edge.terminate();

    let ready = || edge.ask(&token, "GET /health", "").0;
    let wait = Instant::now();
    while ready() == 200 {
        assert!(wait.elapsed() < DEADLINE);
    }
    // Not ready, and yet at work.
    assert_eq!(edge.ask(&token, ADD, &adding("while-draining")).0, 200);
    while TcpStream::connect(edge.address).is_ok() {
        assert!(wait.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(20));
    }
    late.write_all(&body.as_bytes()[body.len() - 1..]).unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let code = loop {
        match timeout(DEADLINE, tv.socket.next()).await.expect("in time") {
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4000, "restart");
    assert_eq!(edge.child.wait().unwrap().code(), Some(0));
    edge.kill();

    let edge = place.start();
    let (_, list) = edge.ask(&token, LIST, "");
    for name in ["from-tv", "while-draining", "late"] {
        assert!(list.contains(name), "{name}: {list}");
    }
}

/// Runs a command of the binary; whether it succeeded, what it printed and what it complained of.
fn run(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String, String) {
    let output = Command::new(EDGE).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_looked_after_from_the_command_line() {
    let place = Place::new();
    let path = |name: &str| place.folder.path().join(name).into_os_string();
    let (data, backup, gone) = (path("data"), path("backup"), path("gone"));
    let token = place.token("backend");
    let edge = place.start();
    assert_eq!(edge.ask(&token, ADD, &adding("before")).0, 200);
    let word = std::ffi::OsStr::new;
    let (code, said, _) = run(&[word("backup"), word("--data"), &data, &backup]);
    assert!(code == Some(0) && said.contains("is a copy"), "{said}");
    assert_eq!(edge.ask(&token, ADD, &adding("after")).0, 200);
    let household = [word("--household"), word("home")];
    let export = [word("export"), word("--data"), &data, household[0], household[1]];
    let (code, json, _) = run(&export);
    assert!(code == Some(0) && json.contains("before") && json.contains("after"), "{json}");
    for (flag, file) in [("--data", &data), ("--file", &backup)] {
        let (code, said, _) = run(&[word("check"), word(flag), file]);
        assert!(code == Some(0) && said.contains("1 households, nothing wrong"), "{said}");
    }
    let restore = [word("restore"), word("--data"), &data, &backup, word("--replace")];
    let (code, _, complaint) = run(&restore);
    assert!(code == Some(1) && complaint.contains("in use by another server"), "{complaint}");
    let mut tv = connect(&edge, &place.token("tv"), 1).await;
    edge.kill();

    let (code, said, complaint) = run(&restore);
    assert!(code == Some(0) && said.contains("a new epoch"), "{complaint}");
    let edge = place.start();
    let (_, list) = edge.ask(&token, LIST, "");
    assert!(list.contains("before") && !list.contains("after"), "{list}");
    // The TV, which knew more than the backup, brings it.
    tv.reconnect(edge.address, &place.token("tv")).await.unwrap();
    assert!(tv.client.replica().is_listed(ProfileId::DEFAULT, &title("after")));
    let (_, list) = edge.ask(&token, LIST, "");
    assert!(list.contains("before") && list.contains("after"), "{list}");
    edge.kill();

    let erase = [word("erase"), word("--data"), &data, household[0], household[1]];
    assert_eq!(run(&erase).0, Some(0));
    let (code, _, complaint) = run(&erase);
    assert!(code == Some(1) && complaint.contains("nothing is held"), "{complaint}");
    // Over a database that can't be read only if that is meant.
    let database = place.folder.path().join("data/omega.sqlite3");
    std::fs::write(&database, vec![7; 8192]).unwrap();
    let (code, _, complaint) = run(&restore);
    assert!(code == Some(1) && complaint.contains("move it away"), "one is kept: {complaint}");
    std::fs::remove_file(database.with_extension("sqlite3.replaced")).unwrap();
    let (code, _, complaint) = run(&restore);
    assert!(code == Some(1) && complaint.contains("--replace-unreadable"), "{complaint}");
    assert_eq!(std::fs::read(&database).unwrap(), vec![7; 8192], "it is as it was");
    let flag = word("--replace-unreadable");
    let (code, said, _) = run(&[word("restore"), word("--data"), &data, &backup, flag]);
    assert!(code == Some(0) && said.contains("is not known any more"), "{said}");
    std::fs::write(&gone, vec![7; 8192]).unwrap();
    let (code, _, complaint) = run(&[word("check"), word("--file"), &gone]);
    assert!(code == Some(1) && complaint.contains("damaged"), "{complaint}");
    let (code, _, complaint) = run(&[word("check")]);
    assert!(code == Some(2) && complaint.contains("--data"), "{complaint}");
}
