//! Every figure of `/metrics` moves when what it is for happens: a figure that is in no story here fails.

use super::attacks::until_figure;
use super::taste::{QUARTER_MS, embedding, open_home, pattern};
use super::*;
use crate::aggregate::dice::Dice;
use crate::aggregate::settings::{DAY_MS, YEAR_DAYS};
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use std::collections::{BTreeMap, BTreeSet};

/// Figures that move in another test, which is named: these can't be moved in a process that has others.
const ELSEWHERE: [(&str, &str, &str); 1] = [(
    "omega_log_lines_dropped_total",
    "fn a_log_that_nobody_reads_stops_nothing",
    include_str!("../../tests/binary.rs"),
)];

/// Which figures there are, and which have moved.
#[derive(Default)]
struct Seen {
    known: BTreeSet<String>,
    moved: BTreeSet<String>,
}

/// Values by name and labels.
type Values = BTreeMap<String, String>;

impl Seen {
    async fn values(&mut self, home: &Home) -> Values {
        let (_, text) = home.get("/metrics").await;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        self.known.extend(types.map(|line| line.split(' ').next().unwrap().to_owned()));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// Notes what is another value now, or was not there.
    async fn since(&mut self, before: &Values, home: &Home) {
        for (name, value) in self.values(home).await {
            if before.get(&name) != Some(&value) {
                let plain = name.split('{').next().unwrap();
                // Of a histogram what counts is that something was timed.
                self.moved.insert(plain.trim_end_matches("_count").into());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_moves() {
    let mut seen = Seen::default();
    two_tvs_write(&mut seen).await;
    bytes_wait(&mut seen).await;
    something_is_wrong(&mut seen).await;
    households_teach(&mut seen).await;
    budget_is_spent(&mut seen).await;
    let operators = Limits { sockets_max: 7, rooms_max: 9, ..limits() };
    let (usual, other) = (home().await, home_with(operators).await);
    let before = seen.values(&usual).await;
    seen.since(&before, &other).await;

    for (name, test, source) in ELSEWHERE {
        assert!(!seen.moved.contains(name), "{name} moves here: it needs no exception");
        let (_, after) = source.split_once(test).expect("the test is there");
        assert!(after.contains(name), "{test} does not look at {name}");
        seen.moved.insert(name.into());
    }
    let still: Vec<&String> = seen.known.difference(&seen.moved).collect();
    assert!(still.is_empty(), "no story moves {still:?}: tell one, and put it on the dashboard");
}

async fn two_tvs_write(seen: &mut Seen) {
    let home = home().await;
    let before = seen.values(&home).await;
    let mut tv = home.join(1).await;
    let mut other = home.join(2).await;
    tv.add(1, "tmdb:1").await;
    tv.frame().await;
    other.frame().await;
    until_figure(&home, "omega_fanout_seconds_count 1\n").await;
    // One of them went, and comes back to what changed meanwhile.
    drop(other);
    let mut again = home.connect().await;
    let first = hello(2, &token("home", "read write"));
    again.send(first.encode()).await;
    let epoch = again.welcome().await.epoch.unwrap();
    let (cursor, number) = (Some(0), first.session.number + 1);
    let session = Session { number, nonce: 1 };
    let mut returns = home.connect().await;
    returns.send(Hello { cursor, session, epoch: Some(epoch.mark()), ..first }.encode()).await;
    returns.welcome().await;
    let catch_up = returns.frame().await;
    let caught_up = ServerFrame::decode(&catch_up);
    assert!(matches!(caught_up, Ok(ServerFrame::Difference(..))), "{caught_up:?}");
    seen.since(&before, &home).await;
    home.server.stop().await.unwrap();
}

async fn bytes_wait(seen: &mut Seen) {
    let home = home().await;
    let before = seen.values(&home).await;
    // To a socket that does not read; and of a request that is not all here.
    let (outbox, _reader) = home.server.edge.outboxes.open();
    outbox.push(vec![0; 100]).unwrap();
    let mut half = TcpStream::connect(home.server.address()).await.unwrap();
    let bearer = token("home", "read write");
    let head = format!(
        "POST /api/v1/sync HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 20\r\n\r\n0123456789"
    );
    half.write_all(head.as_bytes()).await.unwrap();
    until_figure(&home, "omega_exchange_bytes 10\n").await;
    seen.since(&before, &home).await;
    drop(half);
    until_figure(&home, "omega_exchange_bytes 0\n").await;
    home.server.stop().await.unwrap();
}

async fn something_is_wrong(seen: &mut Seen) {
    let home = home().await;
    let before = seen.values(&home).await;
    home.get("/nothing").await;
    home.binary("GET /openapi.json", "accept-encoding: gzip\r\n", b"").await;
    let mut tv = home.join(1).await;
    tv.operate(1, ProfileId(9), Change::Add(ContentId::new("tmdb:2").unwrap(), Vec::new())).await;
    tv.frame().await;
    let intruder = home.intruder();
    intruder.hold();
    tv.add(1, "tmdb:1").await;
    assert_eq!(tv.close().await, CloseCode::StorageUnavailable);
    intruder.let_go();
    seen.since(&before, &home).await;
    home.server.stop().await.unwrap();
}

async fn households_teach(seen: &mut Seen) {
    let private = home().await;
    let before = seen.values(&private).await;
    let home = open_home().await;
    // One title makes one cluster.
    assert_eq!(home.feed(&["t00"]).await.status, 200);
    for at in 0..30 {
        home.bring(&format!("h{at}"), &[pattern(1, 5)]).await;
    }
    // Others agree on another place, on one side of that.
    for at in 0..24 {
        home.bring(&format!("p{at}"), &[aside()]).await;
    }
    home.close(QUARTER_MS).await;
    seen.since(&before, &home).await;
    home.server.stop().await.unwrap();
}

/// Between the pattern of seed 5 and another place.
fn aside() -> Pattern {
    let own = embedding(&mut Dice::new(9)).to_f32();
    let common = embedding(&mut Dice::new(5)).to_f32();
    let both: Vec<f32> = common.iter().zip(own).map(|(a, b)| a + b).collect();
    let (genre, at) = (Genre::new("drama").unwrap(), Embedding::from_f32(&both).unwrap());
    Pattern::new(PatternId(2), genre, at, 40, 32).unwrap()
}

/// An operator allows less than what is spent already.
async fn budget_is_spent(seen: &mut Seen) {
    // All of it in one year of the ledger.
    let today = now().0 / DAY_MS;
    let ends_soon = today % YEAR_DAYS > YEAR_DAYS - 8;
    let first = if ends_soon { 12 } else { 2 };
    let home = home().await;
    assert_eq!(home.feed(&["t00", "t01"]).await.status, 200);
    let before = seen.values(&home).await;
    home.close(first * DAY_MS).await;
    let Home { folder, server } = home;
    server.stop().await.unwrap();
    let mut args = args(folder.path());
    args.aggregate.trend_epsilon = 0.05;
    let server = Server::start(&args, limits()).await.unwrap();
    let home = Home { folder, server };
    home.close((first + 2) * DAY_MS).await;
    home.close(QUARTER_MS).await;
    seen.since(&before, &home).await;
    home.server.stop().await.unwrap();
}
