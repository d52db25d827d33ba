//! What was touched since a version, for a receiver who has the state of that version.

use super::meaning::{error, hex, unhex};
use super::states::{Hand, from_hex, titles, two_profiles};
use super::story::{
    GUEST, HOME, KIDS, PHONE, Story, TABLET, TV, add, at, device, dot, name, play, remove,
    state_bytes, take_off, television,
};
use omega_sync_core::codec::{Reader, Writer};
use omega_sync_core::operation::Change;
use omega_sync_core::operation::PlayState::{Finished, Paused, Playing, Stopped};
use serde_json::{Value, json};

pub const ABOUT: &str = "Differences, each with its length: a receiver in state before is in state \
    after when it has replaced the keys. Both states are as in states.json. In a bad vector before \
    stays as it is.";

fn vector(name: &str, before: &Story, after: &Story) -> Value {
    json!({
        "name": name, "before": hex(&state_bytes(&before.household)),
        "bytes": hex(&after.since(before)), "after": hex(&state_bytes(&after.household)),
    })
}

pub fn vectors() -> Vec<Value> {
    let (home, month) = (two_profiles(), month());
    let late = |after_ms: i64| at(20_000 + after_ms, 0);
    let gone = home.clone().then(TV, late(0), HOME, remove("tmdb:550", &[dot(TV, at(0, 0))]));
    let mut vectors = vec![
        vector("nothing was touched", &home, &home),
        vector("from nothing", &Story::new(), &home),
        vector("a title came", &home, &home.clone().then(TV, late(0), HOME, add("tmdb:9", &[]))),
        vector(
            "a title came that sorts first",
            &home,
            &home.clone().then(TV, late(9), HOME, add("a", &[])),
        ),
        vector("a title played on", &home, &playing(&home, 8_340)),
        vector("a title has another duration", &home, &playing(&home, 8_341)),
        vector("a title is off the watchlist and stays in progress", &home, &gone),
        vector("a title went as it came", &home, &came_and_went(&home)),
        vector("the last title of a list went", &titles(), &last_went()),
        vector(
            "off continue watching",
            &home,
            &home.clone().then(PHONE, late(0), KIDS, take_off("tmdb:12")),
        ),
        vector(
            "a profile got another name",
            &home,
            &home.clone().then(TV, late(1), KIDS, name("Kinder")),
        ),
        vector("a profile came", &home, &profile_came(&home)),
        vector("a profile was deleted", &home, &profile_went(&home)),
        vector(
            "a profile came and was deleted",
            &Story::new(),
            &home.clone().then(TV, late(0), KIDS, Change::DeleteProfile),
        ),
        vector(
            "a replica without anything to show",
            &home,
            &home.clone().cover(TABLET, late(1_234)),
        ),
        vector("a stamp before the base of what was seen", &home, &slow_clock(&home)),
        vector("devices came, changed and went", &with_devices(&home), &devices(&home)),
        vector("known titles among many", &month, &evening(&month)),
        vector("new titles with the usual prefix", &month, &new_titles(&month)),
        vector("more titles than a model remembers", &Story::new(), &shelf()),
        vector("several adds of one title", &home, &adds(&home)),
    ];
    vectors.extend(bad());
    vectors
}

fn playing(home: &Story, duration_s: u32) -> Story {
    let change = play("tmdb:550", 120, duration_s, Playing);
    home.clone().then(PHONE, at(65_000, 0), HOME, change)
}

/// Removed titles are told by keys without a value.
fn came_and_went(home: &Story) -> Story {
    let stamp = at(21_000, 0);
    home.clone()
        .then(PHONE, stamp, HOME, add("tmdb:77", &[]))
        .then(TV, at(22_000, 0), HOME, remove("tmdb:77", &[dot(PHONE, stamp)]))
        .then(TV, at(23_000, 5), HOME, remove("tmdb:550", &[dot(TV, at(0, 0))]))
}

fn last_went() -> Story {
    let ids = [("tmdb:550", 0), ("tmdb:007", 4_000), ("a film", 16_000)];
    ids.into_iter().zip(70_000..).fold(titles(), |story, ((id, added), after_ms)| {
        story.then(PHONE, at(after_ms, 0), HOME, remove(id, &[dot(TV, at(added, 0))]))
    })
}

fn profile_came(home: &Story) -> Story {
    let teens = omega_sync_core::id::ProfileId(0x7000_0000_0000_0000);
    home.clone()
        .then(TABLET, at(20_000, 0), teens, name("Teens"))
        .then(TABLET, at(21_000, 0), teens, add("tt0111161", &[]))
        .then(TABLET, at(22_000, 0), teens, play("tt0111161", 5_400, 5_400, Finished))
}

fn profile_went(home: &Story) -> Story {
    home.clone()
        .then(TV, at(20_000, 0), KIDS, play("tmdb:12", 1_300, 6_000, Stopped))
        .then(PHONE, at(21_000, 0), KIDS, Change::DeleteProfile)
        .then(PHONE, at(22_000, 0), GUEST, add("tmdb:1", &[]))
}

fn slow_clock(home: &Story) -> Story {
    home.clone().then(TABLET, at(-86_400_000, 0), HOME, play("tmdb:8", 1, 2, Playing))
}

fn with_devices(home: &Story) -> Story {
    home.clone()
        .then(TV, at(10_000, 0), HOME, device("tv-1", Some(television("4.2.0"))))
        .then(PHONE, at(11_000, 0), HOME, device("phone", Some(television("1.0"))))
        .then(TABLET, at(12_000, 0), HOME, device("tablet", Some(television("2.0"))))
}

fn devices(home: &Story) -> Story {
    let mut renamed = television("2.0");
    renamed.name = "Kitchen".into();
    with_devices(home)
        .then(TV, at(20_000, 0), HOME, device("tv-1", Some(television("4.3.0"))))
        .then(TABLET, at(21_000, 0), HOME, device("tablet", Some(renamed)))
        .then(PHONE, at(22_000, 0), HOME, device("phone", None))
        .then(PHONE, at(23_000, 0), HOME, device("a new phone", Some(television("1.1"))))
}

/// A household with some titles of one prefix.
fn month() -> Story {
    let titles = (0..24).map(|count: i64| (count, format!("tmdb:{}", 100 + 37 * count)));
    titles.fold(Story::new(), |story, (count, id)| {
        let replica = if count % 2 == 0 { TV } else { PHONE };
        let change = match count % 3 {
            0 => add(&id, &[]),
            _ => play(&id, 600 + count as u32, 5_400, Stopped),
        };
        story.then(replica, at(count * 3_600_000, 0), HOME, change)
    })
}

/// Models forget after 126 decisions.
fn shelf() -> Story {
    (0..150_i64).fold(Story::new(), |story, count| {
        let id = format!("tmdb:{}", 10 + count * count % 7_919);
        let change = if count % 5 == 0 { play(&id, 9, 9, Finished) } else { add(&id, &[]) };
        story.then(TV, at(count * 60_000, 0), HOME, change)
    })
}

fn evening(month: &Story) -> Story {
    let evening = |after_ms: i64| at(30 * 3_600_000 + after_ms, 0);
    month
        .clone()
        .then(TABLET, evening(0), HOME, play("tmdb:137", 900, 5_400, Playing))
        .then(TABLET, evening(10_000), HOME, play("tmdb:137", 910, 5_400, Paused))
        .then(TV, evening(60_000), HOME, play("tmdb:951", 5_400, 5_400, Finished))
        .then(TV, evening(61_000), HOME, play("tmdb:100", 1, 7_000, Playing))
        .then(TV, evening(62_000), HOME, remove("tmdb:211", &[dot(PHONE, at(3 * 3_600_000, 0))]))
        .then(TV, evening(63_000), HOME, add("tmdb:174", &[]))
}

fn new_titles(month: &Story) -> Story {
    let evening = |after_ms: i64| at(30 * 3_600_000 + after_ms, 0);
    month
        .clone()
        .then(PHONE, evening(0), HOME, add("tmdb:5000", &[]))
        .then(PHONE, evening(1_000), HOME, add("tmdb:5001", &[]))
        .then(PHONE, evening(2_000), HOME, add("tt0111161", &[]))
        .then(PHONE, evening(3_000), HOME, add("tmdb:", &[]))
}

fn adds(home: &Story) -> Story {
    home.clone()
        .then(PHONE, at(20_000, 1), HOME, add("tmdb:550", &[]))
        .then(TABLET, at(20_000, 1), HOME, add("tmdb:550", &[]))
        .then(TABLET, at(21_000, 0), HOME, add("tmdb:551", &[]))
        .then(TV, at(21_000, 0), HOME, add("tmdb:551", &[]))
}

fn bad() -> Vec<Value> {
    let (home, month) = (two_profiles(), month());
    let good = evening(&month).since(&month);
    let with_length = |body: &[u8]| {
        let mut writer = Writer::new();
        writer.bytes(body);
        writer.finish()
    };
    let cases = [
        ("no bytes", &month, Vec::new(), "truncated"),
        ("a byte less than its length says", &month, good[..good.len() - 1].to_vec(), "truncated"),
        ("a byte after the end", &month, [&good[..], &[0]].concat(), "trailing"),
        (
            "a byte that the reader does not reach",
            &month,
            with_length(&[&good[1..], &[7; 5]].concat()),
            "trailing",
        ),
        ("a zero at the end", &month, with_length(&[&good[1..], &[0]].concat()), "trailing"),
        ("for a receiver with other titles", &home, good.clone(), "checksum"),
        ("for a receiver with more titles", &new_titles(&month), good, "checksum"),
        ("a replica of which only stamp 0 was seen", &Story::new(), unseen(), "invalid"),
        ("a base before 1970", &Story::new(), early(), "invalid"),
    ];
    let bad = cases.map(|(name, before, bytes, error)| {
        let before = hex(&state_bytes(&before.household));
        json!({"name": name, "before": before, "bytes": hex(&bytes), "error": error})
    });
    bad.to_vec()
}

/// A new replica of which stamp 0 was seen.
fn unseen() -> Vec<u8> {
    let mut hand = Hand::new();
    hand.ids(&[1]);
    hand.base_at(false, 0);
    hand.with_length()
}

/// A new replica, and a base a second before 1970.
fn early() -> Vec<u8> {
    let mut hand = Hand::new();
    hand.ids(&[1]);
    hand.base_at(true, 1);
    hand.with_length()
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let before = from_hex(&vector["before"]);
    let bytes = unhex(&vector["bytes"]);
    let mut household = before.clone();
    let mut reader = Reader::new(&bytes);
    let applied = household.apply_difference(&mut reader);
    if applied.is_err() {
        assert_eq!(household, before, "{}: an error changes nothing", vector["name"]);
    }
    applied.map_err(error)?;
    reader.finish().map_err(error)?;
    Ok(json!({"after": hex(&state_bytes(&household))}))
}
