//! What devices bring of taste and get of it, over the real server.

mod regions;
mod withdrawal;

use super::*;
use crate::aggregate::dice::Dice;
use crate::aggregate::settings::{DAY_MS, SHOWN_HOUSEHOLDS_MIN};
use omega_sync_core::message::{Exchange, Exchanged};
use omega_sync_core::pattern::exchange::{
    ANSWER_BYTES, Answer as Told, Batch, Known, Outcome, Request, Taken, is_answer,
};
use omega_sync_core::pattern::message::{Floor, Outgoing, decode, encode};
use omega_sync_core::pattern::tables::{DEFAULT_TABLES, Tables};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternId};
use serde_json::{Value, json};

/// A body that feeds these titles, all of them much like the pattern of seed 5.
pub(super) fn feed_of(titles: &[&str]) -> Value {
    let (common, mut dice) = (embedding(&mut Dice::new(5)).to_f32(), Dice::new(1));
    let titles = titles.iter().map(|title| {
        let own = embedding(&mut dice).to_f32();
        let both: Vec<f32> = common.iter().zip(own).map(|(a, b)| a + b / 3.0).collect();
        let embedding = Embedding::from_f32(&both).unwrap().to_f32();
        json!({"content_id": title, "genre": "drama", "embedding": embedding})
    });
    json!({"titles": titles.collect::<Vec<_>>()})
}

pub(super) fn embedding(dice: &mut Dice) -> Embedding {
    let components: Vec<f32> = (0..DIMENSIONS).map(|_| dice.normal() as f32).collect();
    Embedding::from_f32(&components).unwrap()
}

pub(super) fn pattern(id: u128, seed: u64) -> Pattern {
    let (genre, at) = (Genre::new("drama").unwrap(), embedding(&mut Dice::new(seed)));
    Pattern::new(PatternId(id), genre, at, 40, 32).unwrap()
}

pub(super) async fn open_home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    args.aggregate.no_noise = true;
    let server = Server::start(&args, limits()).await.unwrap();
    Home { folder, server }
}

impl Home {
    fn tables(&self) -> Tables {
        Tables::read(&self.server.edge.aggregate.tables().1).unwrap()
    }

    pub(super) async fn feed(&self, titles: &[&str]) -> Answer {
        let bearer = format!("Bearer {}", token("operator", "admin"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.ask("POST /api/v1/content", &headers, &feed_of(titles).to_string()).await
    }

    /// One exchange about taste of a household's TV; `header` goes with it.
    async fn taste(&self, household: &str, request: &Request<'_>, header: &str) -> Vec<u8> {
        let hello = hello(getrandom::u64().unwrap(), "");
        let frame = request.encode();
        let exchange = Exchange { hello, acked: Timestamp::ZERO, frames: vec![&frame] };
        let bearer =
            format!("authorization: Bearer {}\r\n{header}", token(household, "read write"));
        let answer = self.sync(&bearer, &exchange.encode()).await;
        assert_eq!(answer.status, 200, "{household}");
        let exchanged = Exchanged::decode(&answer.binary).unwrap();
        let frame = exchanged.frames.into_iter().find(|frame| is_answer(frame));
        frame.expect("an answer").to_vec()
    }

    pub(super) async fn bring(&self, household: &str, patterns: &[Pattern]) -> Taken {
        let tables = self.tables();
        let outgoing: Vec<Outgoing> =
            patterns.iter().map(|pattern| Outgoing { pattern, base: None }).collect();
        let encoded = encode(&tables, Floor::default(), &outgoing).unwrap();
        let message = &encoded.bytes[..];
        let request = Request { batch: Some(Batch { number: 7, message }), ..request(&tables) };
        let answer = self.taste(household, &request, "").await;
        let receipt = Told::decode(&answer).unwrap().receipt.unwrap();
        assert_eq!(receipt.number, 7);
        receipt.taken
    }

    pub(super) async fn close(&self, later_ms: u64) -> usize {
        let then = UnixMillis(now().0 + later_ms);
        self.server.edge.aggregate.close_due(then).await.unwrap()
    }

    async fn own(&self, household: &str) -> Value {
        let bearer = format!("Bearer {}", token(household, "read"));
        let line = "GET /api/v1/taste/contributions";
        self.ask(line, &[("authorization", &bearer)], "").await.json()
    }

    /// Begins a title; how many first plays the server has noted then.
    async fn began(&self, title: &str) -> usize {
        let body = json!({
            "content_id": title, "position_seconds": 1, "duration_seconds": 2, "state": "playing",
        });
        assert_eq!(self.rest("POST /api/v1/sync/progress", body).await.status, 200);
        // The note of a play follows its answer, and comes before the household's next.
        self.rest("GET /api/v1/progress", Value::Null).await;
        self.own("home").await["playing"].as_array().unwrap().len()
    }
}

fn request(tables: &Tables) -> Request<'static> {
    Request {
        opted_out: false,
        wants_titles: true,
        known: Known::default(),
        position: 0,
        tables: tables.id(),
        answer_bytes: ANSWER_BYTES,
        gone: Vec::new(),
        batch: None,
    }
}

pub(super) const QUARTER_MS: u64 = 366 * DAY_MS / 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_household_brings_it_can_see_and_take_back() {
    let home = home().await;
    assert_eq!(home.bring("home", &[pattern(1, 1), pattern(2, 2)]).await, Taken::Taken);
    assert_eq!(home.bring("home", &[pattern(1, 3)]).await, Taken::Taken);
    let own = home.own("home").await;
    assert_eq!(own["takes_part"], true);
    assert_eq!(own["privacy"], "private");
    let waiting = own["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 2, "{own}");
    assert_eq!(waiting[0]["pattern"], format!("{:032x}", 1));
    assert_eq!(waiting[0]["embedding"].as_array().unwrap().len(), DIMENSIONS);
    let counts: Vec<&Value> = waiting.iter().map(|one| &one["counts"]).collect();
    assert_eq!(counts, [true, false], "one of a genre");
    assert!(own["epoch_ends"].as_u64().unwrap() > now().0);
    assert_eq!(home.own("other").await["waiting"], json!([]));
    let out = home.rest("POST /api/v1/taste/opt-out", Value::Null).await;
    assert_eq!((out.status, out.json()), (200, json!({"takes_part": false})));
    let own = home.own("home").await;
    assert_eq!((&own["takes_part"], &own["waiting"]), (&json!(false), &json!([])));
    assert_eq!(home.bring("home", &[pattern(1, 1)]).await, Taken::OptedOut);
    let again = home.rest("DELETE /api/v1/taste/opt-out", Value::Null).await;
    assert_eq!(again.json(), json!({"takes_part": true}));
    assert_eq!(home.bring("home", &[pattern(1, 1)]).await, Taken::Taken);
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_alone_needs_a_token_and_gets_one_answer() {
    let home = home().await;
    let frame = request(&home.tables()).encode();
    let refused = home.sync("", &frame).await;
    assert_eq!(refused.status, 401);
    let other =
        format!("authorization: Bearer {}\r\nx-device-id: phone\r\n", token("home", "read"));
    assert_eq!(home.sync(&other, &frame).await.status, 403, "of another device");
    for (scope, status) in [("read", 200), ("write", 403)] {
        let bearer = format!("authorization: Bearer {}\r\n", token("home", scope));
        let answer = home.sync(&bearer, &frame).await;
        assert_eq!(answer.status, status, "{scope}");
        assert_eq!(Told::decode(&answer.binary).is_ok(), status == 200);
    }
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_that_an_answer_names_are_handed_out_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.tables");
    let mut args = args(folder.path());
    args.aggregate.pattern_tables = Some(file.clone());
    assert!(Server::start(&args, limits()).await.is_err(), "there is no such file");
    // Another beginning of a step is a file of its own.
    let mut bytes = DEFAULT_TABLES.to_vec();
    let package = Tables::read(DEFAULT_TABLES).unwrap();
    let genres: usize = package.genres().iter().map(|genre| genre.as_str().len() + 1).sum();
    let step = 4 + 1 + genres + 2 + 4;
    bytes[step] -= 1;
    std::fs::write(&file, &bytes).unwrap();
    let own = Tables::read(&bytes).unwrap();
    assert_ne!(own.id(), package.id());
    let home = Home { server: Server::start(&args, limits()).await.unwrap(), folder };

    let answer = home.taste("home", &request(&package), "").await;
    let told = Told::decode(&answer).unwrap();
    assert_eq!((told.tables, told.patterns), (own.id(), None));
    let encoded = encode(&package, Floor::default(), &[]).unwrap();
    let batch = Some(Batch { number: 1, message: &encoded.bytes });
    let answer = home.taste("home", &Request { batch, ..request(&package) }, "").await;
    assert_eq!(Told::decode(&answer).unwrap().receipt.unwrap().taken, Taken::OtherTables);

    let bearer = format!("authorization: Bearer {}\r\n", token("home", "read"));
    let line = |id| format!("GET /api/v1/taste/tables/{id:08x}");
    let fetched = home.binary(&line(own.id()), &bearer, b"").await;
    assert_eq!((fetched.status, &fetched.binary), (200, &bytes));
    let tag = format!("etag: \"{:08x}\"", own.id());
    for header in [&tag, "cache-control: private, max-age=31536000, immutable"] {
        assert!(fetched.head.contains(header), "{}", fetched.head);
    }
    let known = format!("{bearer}if-none-match: \"{:08x}\"\r\n", own.id());
    assert_eq!(home.binary(&line(own.id()), &known, b"").await.status, 304);
    assert_eq!(home.binary(&line(package.id()), &bearer, b"").await.problem(), "not_found");
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_bases_that_are_gone_is_refused_by_name() {
    let home = home().await;
    let (tables, first, next) = (home.tables(), pattern(1, 1), pattern(1, 2));
    assert_eq!(home.bring("home", std::slice::from_ref(&first)).await, Taken::Taken);
    // What the server holds is what it decoded.
    let held = |pattern: &Pattern| {
        let outgoing = [Outgoing { pattern, base: None }];
        encode(&tables, Floor::default(), &outgoing).unwrap().decoded.remove(0)
    };
    let taken = async |base: &Pattern| {
        let outgoing = [Outgoing { pattern: &next, base: Some(base) }];
        let encoded = encode(&tables, Floor::default(), &outgoing).unwrap();
        let message = &encoded.bytes[..];
        let batch = Some(Batch { number: 1, message });
        let answer = home.taste("home", &Request { batch, ..request(&tables) }, "").await;
        Told::decode(&answer).unwrap().receipt.unwrap().taken
    };
    assert_eq!(taken(&held(&pattern(1, 9))).await, Taken::BaseUnknown, "another base");
    assert_eq!(taken(&held(&first)).await, Taken::Taken);
    assert!(home.close(QUARTER_MS).await > 90, "an epoch, and the days in it");
    assert_eq!(taken(&held(&next)).await, Taken::BaseUnknown, "it closed");
    let other = Request { tables: 77, ..request(&tables) };
    let answer = home.taste("home", &other, "").await;
    let told = Told::decode(&answer).unwrap();
    assert_eq!((told.tables, told.patterns, told.titles), (tables.id(), None, None));
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_enough_households_have_in_common_reaches_everyone() {
    let home = open_home().await;
    let titles: Vec<String> = (0..12).map(|at| format!("t{at:02}")).collect();
    let names: Vec<&str> = titles.iter().map(String::as_str).collect();
    let fed = home.feed(&names).await;
    assert_eq!((fed.status, fed.json()), (200, json!({"titles": 12, "version": 12})));
    for at in 0..SHOWN_HOUSEHOLDS_MIN {
        assert_eq!(home.bring(&format!("h{at}"), &[pattern(1, 5)]).await, Taken::Taken);
    }
    let version = async || {
        let bearer = format!("Bearer {}", token("home", "read"));
        home.ask("GET /api/v1/sync/version", &[("authorization", &bearer)], "").await.json()
    };
    assert_eq!(version().await, json!({"version": 12, "privacy": "not private"}));
    home.close(QUARTER_MS).await;
    assert_eq!(version().await["version"], 13);
    let tables = home.tables();
    let answer = home.taste("home", &request(&tables), "").await;
    let told = Told::decode(&answer).unwrap();
    assert!(told.not_private && !told.full && told.outcome == Outcome::Ok, "{told:?}");
    assert_eq!(told.known.version, 13);
    let patterns = decode(&tables, told.patterns.unwrap(), &[]).unwrap();
    assert_eq!((patterns.len(), patterns[0].sample_count()), (1, SHOWN_HOUSEHOLDS_MIN));
    let cosine = patterns[0].embedding.cosine(&pattern(1, 5).embedding);
    assert!(cosine > 0.9, "{cosine}");
    // Titles in as many parts as they need.
    let (mut known, mut seen, mut rounds) = (told.known, told.titles.unwrap().contents, 1);
    while seen.len() < 12 {
        let answer = home.taste("home", &Request { known, ..request(&tables) }, "").await;
        assert!(answer.len() <= ANSWER_BYTES as usize, "{}", answer.len());
        let told = Told::decode(&answer).unwrap();
        assert!(told.patterns.is_none(), "they are known");
        (known, rounds) = (told.known, rounds + 1);
        seen.extend(told.titles.unwrap().contents);
        assert_eq!(told.more, seen.len() < 12);
    }
    let seen: Vec<&str> = seen.iter().map(|content| content.as_str()).collect();
    assert_eq!(seen, names, "{rounds} rounds");
    let answer = home.taste("home", &Request { known, ..request(&tables) }, "").await;
    let told = Told::decode(&answer).unwrap();
    assert!(told.patterns.is_none() && told.titles.is_none() && !told.more, "{told:?}");
    // From ahead, from another life, and by the header.
    let ahead = Known { version: 99, ..known };
    let life = Known { version: 1 << 40 | 5, ..known };
    for (known, header) in [(ahead, ""), (life, ""), (known, "x-sync-version: 4000\r\n")] {
        let answer = home.taste("home", &Request { known, ..request(&tables) }, header).await;
        let told = Told::decode(&answer).unwrap();
        assert!(told.full && told.outcome == Outcome::Conflict, "{header}: {told:?}");
        assert_eq!(decode(&tables, told.patterns.unwrap(), &[]).unwrap().len(), 1);
    }
    let own = home.own("h0").await;
    assert_eq!((&own["waiting"], &own["counted_in"].as_array().unwrap().len()), (&json!([]), &1));
    assert_eq!(own["privacy"], "not private");
    for (line, word) in [("/health", "not private"), ("/metrics", "omega_not_private 1")] {
        let (_, body) = home.get(line).await;
        assert!(body.contains(word), "{line}: {body}");
    }
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_watched_today_is_a_trend_tomorrow() {
    let home = open_home().await;
    home.feed(&["t00"]).await;
    home.rest("POST /api/v1/taste/opt-out", Value::Null).await;
    for household in ["one", "two", "home"] {
        let bearer = format!("Bearer {}", token(household, "read write"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        for (title, state) in [("t00", "playing"), ("t00", "playing"), ("unfed", "paused")] {
            let body = json!({
                "content_id": title, "position_seconds": 1, "duration_seconds": 2, "state": state,
            });
            let line = "POST /api/v1/sync/progress";
            assert_eq!(home.ask(line, &headers, &body.to_string()).await.status, 200);
        }
    }
    // The note of a play follows its answer.
    for household in ["one", "two"] {
        let noted = async || home.own(household).await["playing"].as_array().unwrap().len() == 1;
        timeout(DEADLINE, async { while !noted().await {} }).await.unwrap();
    }
    assert_eq!(home.own("home").await["playing"], json!([]), "it takes no part");
    home.close(DAY_MS).await;
    assert_eq!(home.own("one").await["playing"], json!([]));
    let tables = home.tables();
    let answer = home.taste("home", &request(&tables), "").await;
    let told = Told::decode(&answer).unwrap();
    let trends = told.trends.unwrap();
    assert_eq!((trends.region.as_str(), trends.list.len()), ("ZZ", 1), "{trends:?}");
    assert_eq!((trends.list[0].content.as_str(), trends.list[0].genre.as_str()), ("t00", "drama"));
    assert!(trends.until_ms > now().0 && trends.until_ms <= now().0 + 2 * DAY_MS);
    let answer = home.taste("home", &Request { known: told.known, ..request(&tables) }, "").await;
    assert!(Told::decode(&answer).unwrap().trends.is_none(), "they are known");
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_names_what_is_wrong_with_each_title() {
    let home = home().await;
    let bearer = format!("Bearer {}", token("operator", "admin"));
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let feed =
        async |body: Value| home.ask("POST /api/v1/content", &headers, &body.to_string()).await;
    let mut body = feed_of(&["a", "b", "c"]);
    body["titles"][0]["genre"] = "".into();
    body["titles"][1]["embedding"][0] = 9.0.into();
    body["titles"][2]["embedding"] = json!([1.0]);
    let wrong = feed(body).await;
    let fields = ["titles[0].genre", "titles[1].embedding", "titles[2].embedding"];
    assert_eq!((wrong.status, wrong.fields()), (422, fields.map(String::from).to_vec()));
    assert_eq!(feed(json!({"titles": []})).await.fields(), ["titles"]);
    let mut body = feed_of(&["a"]);
    body["titles"][0]["content_id"] = "".into();
    assert_eq!(feed(body).await.fields(), ["titles[0].content_id"]);
    home.server.stop().await.unwrap();
}

/// The same over a socket, where household and taste share a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_takes_requests_about_taste() {
    let home = home().await;
    let mut socket = home.join(1).await;
    let tables = home.tables();
    socket.send(request(&tables).encode()).await;
    let answer = socket.frame().await;
    assert!(is_answer(&answer));
    assert_eq!(Told::decode(&answer).unwrap().tables, tables.id());
    socket.add(1, "a").await;
    assert!(!is_answer(&socket.frame().await), "the ack of the household");
    socket.send(vec![4, 255]).await;
    assert_eq!(socket.close().await, CloseCode::Malformed);
    home.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_of_an_app_keeps_what_its_household_begins_back() {
    let home = open_home().await;
    let tables = home.tables();
    let switch = async |opted_out| {
        home.taste("home", &Request { opted_out, ..request(&tables) }, "").await;
    };
    assert_eq!(home.began("one").await, 1);
    switch(true).await;
    assert_eq!(home.own("home").await["playing"], json!([]));
    assert_eq!(home.began("two").await, 0);
    switch(false).await;
    assert_eq!(home.began("three").await, 1);
    // A device that is forgotten keeps nothing back for good.
    switch(true).await;
    let forgotten = home.phone("DELETE /api/v1/devices/tv", json!({})).await;
    assert_eq!(forgotten.status, 200, "{forgotten:?}");
    let body = json!({
        "content_id": "four", "position_seconds": 1, "duration_seconds": 2, "state": "playing",
    });
    assert_eq!(home.phone("POST /api/v1/sync/progress", body).await.status, 200);
    let own = home.phone("GET /api/v1/taste/contributions", json!({})).await.json();
    assert_eq!(own["playing"][0]["content_id"], "four");
}
