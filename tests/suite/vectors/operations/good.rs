//! Operations that can be read: each kind, each flag of the head, and what contexts remember.

use super::super::story::{
    GUEST, HOME, KIDS, PHONE, TABLET, TV, add, at, device, dot, name, play, remove, take_off,
    television,
};
use super::{Sent, operation, written};
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::operation::PlayState::{Finished, Paused, Playing, Stopped};
use omega_sync_core::operation::{Change, Operation};
use serde_json::Value;

pub fn vectors() -> Vec<Value> {
    vec![
        a_title_that_plays(),
        flags_of_progress(),
        pace_of_an_author(),
        titles(),
        profiles(),
        times(),
        observed_up(),
        devices(),
        ends(),
        two_authors(),
        observed_down(),
    ]
}

/// One operation a frame, as a device that is online sends them.
fn each(operations: Vec<Operation>) -> Vec<Sent> {
    operations.into_iter().map(|operation| Sent::new(TV, vec![operation])).collect()
}

fn a_title_that_plays() -> Value {
    let ticks = (0..5).map(|tick| {
        let position_s = 60 + 10 * tick;
        let change = play("tmdb:550", position_s, 8_340, Playing);
        operation(at(i64::from(tick) * 10_000, 0), HOME, change)
    });
    let mut operations: Vec<Operation> = ticks.collect();
    operations.push(operation(at(50_400, 0), HOME, play("tmdb:550", 110, 8_340, Paused)));
    operations.push(operation(at(90_000, 0), HOME, play("tmdb:550", 110, 8_340, Playing)));
    operations.push(operation(at(90_500, 3), HOME, play("tmdb:550", 5_000, 8_340, Playing)));
    operations.push(operation(at(100_000, 0), HOME, play("tmdb:550", 9, 8_340, Stopped)));
    operations.push(operation(at(200_000, 0), HOME, play("tmdb:550", 8_340, 8_340, Finished)));
    written("a title that plays, pauses, jumps and ends", true, 0, each(operations))
}

/// Every flag of a progress head alone, and all of them.
fn flags_of_progress() -> Value {
    let operations = vec![
        operation(at(0, 0), HOME, play("tmdb:1", 0, 0, Playing)),
        // Position grows without a known end, and not above a known one.
        operation(at(1_499, 0), HOME, play("tmdb:1", 1, 0, Playing)),
        operation(at(2_998, 0), HOME, play("tmdb:1", 2, 100, Playing)),
        operation(at(1_002_998, 0), HOME, play("tmdb:1", 100, 100, Playing)),
        // Beyond its end it stays where it is.
        operation(at(2_002_998, 0), HOME, play("tmdb:1", 150, 100, Playing)),
        operation(at(3_002_998, 0), HOME, play("tmdb:1", 150, 100, Stopped)),
        operation(at(4_002_998, 65_535), KIDS, play("tv:7", u32::MAX, u32::MAX, Finished)),
        operation(at(4_002_999, 0), KIDS, play("tv:7", 0, u32::MAX, Paused)),
        operation(at(4_003_000, 0), HOME, play("tmdb:1", 150, 100, Stopped)),
    ];
    written("every flag of a progress update", true, 0, each(operations))
}

/// The pace is the author's, whatever the title.
fn pace_of_an_author() -> Value {
    let tick = |after_ms, title, position_s, state| {
        operation(at(after_ms, 0), HOME, play(title, position_s, 3_600, state))
    };
    let operations = vec![
        tick(0, "tmdb:1", 10, Playing),
        tick(30_000, "tmdb:1", 40, Playing),
        tick(31_000, "tmdb:2", 5, Playing),
        // Predicted 30 s after its own last progress.
        tick(61_000, "tmdb:2", 35, Playing),
        tick(61_001, "tmdb:1", 40, Paused),
        // Nothing played: the pace stays.
        tick(121_001, "tmdb:1", 40, Playing),
        tick(152_002, "tmdb:1", 71, Playing),
    ];
    written("the pace of an author", true, 0, each(operations))
}

fn titles() -> Value {
    let ids = [
        "tmdb:550",
        "tmdb:551",
        "tmdb:550",
        "tt0111161",
        "tt0",
        "tt00",
        "0",
        "00",
        "7",
        "550",
        "a-film",
        "A film, é",
        "tmdb:551",
        "x9999999999999999",
        "x1000000000000000",
        "x999999999999999",
        "tt0111162",
        "a-film",
        "tmdb:",
        "tmdb:0",
        "tmdb:007",
        "tt0111161",
        "5f3c9e1a-77b2-4f5e-9c1d-0a1b2c3d4e5f",
    ];
    let mut after_ms = 0;
    let mut operations: Vec<Operation> = Vec::new();
    for (count, id) in ids.into_iter().enumerate() {
        after_ms += 1_000;
        let change = if count % 2 == 0 { take_off(id) } else { add(id, &[]) };
        operations.push(operation(at(after_ms, 0), HOME, change));
    }
    let longest = "é".repeat(32);
    operations.push(operation(at(60_000, 0), HOME, take_off(&longest)));
    written("titles of every shape, new and known", true, 0, vec![Sent::new(TV, operations)])
}

fn profiles() -> Value {
    let operations = vec![
        operation(at(1_000, 0), KIDS, name("Kids")),
        operation(at(2_000, 0), KIDS, play("tmdb:1", 3, 0, Playing)),
        operation(at(3_000, 0), HOME, play("tmdb:1", 4, 0, Playing)),
        // A device's record is on no shelf: the author's last profile stays.
        operation(at(4_000, 0), KIDS, name("Children")),
        operation(at(5_000, 0), HOME, device("tv-1", None)),
        operation(at(6_000, 0), KIDS, play("tmdb:1", 6, 0, Playing)),
        operation(at(7_000, 0), KIDS, Change::DeleteProfile),
        operation(at(8_000, 0), HOME, name("Everybody")),
        operation(at(9_000, 0), GUEST, name("")),
        operation(at(9_001, 0), GUEST, name(&"n".repeat(64))),
    ];
    written("profiles", true, 0, each(operations))
}

fn times() -> Value {
    let stamps = [
        at(0, 1),
        at(1, 0),
        at(65_536, 0),
        at(65_536 + 65_536, 0),
        at(131_072 + 16_777_215, 0),
        at(16_908_287 + 16_777_216, 0),
        at(33_685_503 + 4_294_967_295, 0),
        at(4_328_652_798 + 4_294_967_296, 0),
        at(8_623_620_095, 0),
        at(8_623_620_095, 1),
        at(8_623_620_096, 65_535),
    ];
    let operations = stamps.into_iter().map(|stamp| operation(stamp, KIDS, name("n")));
    let mut sent = each(operations.collect());
    // A later delta of the same connection may go back: a clock was put right.
    let back = Timestamp::new(UnixMillis(1), 0);
    sent.push(Sent::new(TV, vec![operation(back, KIDS, name("n"))]));
    written("times of every length", true, 0, sent)
}

fn observed_up() -> Value {
    let (mine, old, new) =
        (dot(TV, at(1_000, 0)), dot(PHONE, at(-5_000, 0)), dot(PHONE, at(900, 2)));
    let first = operation(at(1_000, 0), HOME, add("tmdb:1", &[]));
    let again = operation(at(2_000, 0), HOME, add("tmdb:1", &[old, mine]));
    let later = operation(at(3_000, 0), HOME, remove("tmdb:1", &[new, dot(TV, at(2_000, 0))]));
    let far = operation(
        at(4_000, 0),
        HOME,
        remove("tmdb:2", &[old, dot(TABLET, at(0, 0)), dot(TABLET, at(0, 1))]),
    );
    let near = operation(at(5_000, 0), HOME, add("tmdb:2", &[]));
    let both = operation(at(6_000, 0), HOME, remove("tmdb:2", &[dot(TV, at(5_000, 0))]));
    let kids = operation(at(7_000, 0), KIDS, add("tmdb:1", &[]));
    let sent = vec![
        Sent::new(TV, vec![first]).whole(at(1_000, 0), 70),
        // At version 70 the phone's newer add had not come; the author's own counts anyway.
        Sent::new(TV, vec![again]).whole(at(2_000, 0), 70).live(
            HOME,
            "tmdb:1",
            &[(old, 70), (new, 72), (mine, 71)],
        ),
        Sent::new(TV, vec![later]).whole(at(3_000, 0), 72).live(
            HOME,
            "tmdb:1",
            &[(new, 72), (dot(TV, at(2_000, 0)), 73)],
        ),
        Sent::new(TV, vec![far]).live(HOME, "tmdb:2", &[(old, 1)]),
        Sent::new(TV, vec![near, both]).whole(at(5_000, 0), 2_000),
        Sent::new(TV, vec![kids]).whole(at(7_000, 0), 2_000).live(HOME, "tmdb:1", &[(mine, 71)]),
    ];
    written("what adds and removes observed, from a device", true, 70, sent)
}

fn devices() -> Value {
    let operations = vec![
        operation(at(1_000, 0), HOME, device("tv-1", Some(television("4.2.0")))),
        operation(at(2_000, 0), HOME, device("phone", Some(Default::default()))),
        operation(at(3_000, 0), HOME, device("tv-1", None)),
    ];
    written("devices", true, 0, vec![Sent::new(TV, operations)])
}

fn ends() -> Value {
    let played = operation(at(1_000, 0), HOME, play("tmdb:1", 3, 9, Playing));
    let next = operation(at(9_000, 0), HOME, play("tmdb:1", 7, 9, Playing));
    let sent = vec![
        Sent::new(PHONE, vec![played]).through(at(4_000, 0)),
        Sent::new(TABLET, Vec::new()).through(at(4_000, 1)),
        Sent::new(PHONE, vec![next]),
        Sent::new(TABLET, Vec::new()).through(at(100_000, 0)),
    ];
    written("deltas that cover more than their operations", false, 0, sent)
}

/// Each author has a last title, profile and pace; titles and their last progress are shared.
fn two_authors() -> Value {
    let tick = |after_ms, profile, title, position_s| {
        operation(at(after_ms, 0), profile, play(title, position_s, 3_600, Playing))
    };
    let sent = vec![
        Sent::new(PHONE, vec![tick(0, KIDS, "tmdb:1", 10)]),
        Sent::new(TABLET, vec![tick(500, HOME, "tmdb:2", 20)]),
        Sent::new(PHONE, vec![tick(10_000, KIDS, "tmdb:1", 20)]),
        Sent::new(TABLET, vec![tick(15_500, HOME, "tmdb:2", 35)]),
        Sent::new(PHONE, vec![tick(20_000, KIDS, "tmdb:1", 30)]),
        Sent::new(TABLET, vec![tick(30_500, HOME, "tmdb:2", 50)]),
        Sent::new(TABLET, vec![tick(35_000, KIDS, "tmdb:1", 45)]),
        Sent::new(PHONE, vec![tick(50_000, KIDS, "tmdb:1", 60)]),
    ];
    written("two authors", false, 0, sent)
}

fn observed_down() -> Value {
    let (one, two) = (dot(PHONE, at(-9_000, 0)), dot(TABLET, at(-8_000, 7)));
    let first = operation(at(1_000, 0), HOME, add("tmdb:1", &[one, two]));
    let part = operation(at(2_000, 0), HOME, remove("tmdb:2", &[two]));
    let again = operation(at(3_000, 0), HOME, add("tmdb:2", &[]));
    let own = operation(at(4_000, 0), HOME, remove("tmdb:2", &[dot(TABLET, at(3_000, 0))]));
    let none = operation(at(5_000, 0), KIDS, add("tmdb:1", &[]));
    let dead = operation(at(6_000, 0), HOME, remove("tmdb:3", &[one, dot(TV, at(5_000, 0))]));
    let sent = vec![
        Sent::new(PHONE, vec![first]).whole(at(1_000, 0), 0).live(
            HOME,
            "tmdb:1",
            &[(one, 0), (two, 0)],
        ),
        Sent::new(TABLET, vec![part, again, own]).live(HOME, "tmdb:2", &[(one, 0), (two, 0)]),
        Sent::new(PHONE, vec![none]).whole(at(5_000, 0), 0).live(HOME, "tmdb:1", &[(one, 0)]),
        Sent::new(TV, vec![dead]),
    ];
    written("what adds and removes observed, from the server", false, 0, sent)
}
