//! Bodies that must be refused. What comes before the last frame is good.

use super::super::meaning::hex;
use super::super::story::{HOME, TV, at, play};
use super::{Sent, operation, vector, written};
use omega_sync_core::delta::DELTA_OPERATIONS_MAX;
use omega_sync_core::operation::OBSERVED_MAX;
use omega_sync_core::operation::PlayState::Playing;
use serde_json::{Value, json};

/// Heads: kind and time of two bytes; a title follows where the kind has one.
const ADD: u8 = 0xa0;
const REMOVE: u8 = 0xa1;
const TAKE_OFF: u8 = 0xa2;
const NAME: u8 = 0x83;
const DELETE: u8 = 0x84;
const DEVICE: u8 = 0x85;
const END: u8 = 0x87;
/// A progress update with a title.
const PROGRESS: u8 = 0x20;
const TITLE: [u8; 3] = [0, 1, b'x'];

pub fn vectors() -> Vec<Value> {
    let mut vectors = heads();
    vectors.extend(titles());
    vectors.extend(payloads());
    vectors.extend(observed());
    vectors.push(after_a_good_frame());
    vectors
}

fn up(name: &str, body: &[&[u8]], error: &str) -> Value {
    refused(name, true, &body.concat(), error)
}

fn refused(name: &str, up: bool, body: &[u8], error: &str) -> Value {
    let frame = json!({"body": hex(body), "live": [], "error": error});
    super::meaning::with(vector(name, up, 0, vec![frame]), json!({"error": error}))
}

fn heads() -> Vec<Value> {
    let profile = [0; 8];
    let second = [DELETE, 0, 0];
    let many = [DELETE, 1, 0].repeat(DELTA_OPERATIONS_MAX + 1);
    vec![
        up("a delta of nothing", &[], "invalid"),
        up("an update of nothing", &[], "invalid"),
        refused("an update without a replica", false, &[], "truncated"),
        refused("an update of a replica that was not named", false, &[1, END, 1, 0], "limit"),
        refused("an update of a replica and no more", false, &[0; 9], "invalid"),
        up("kind 6", &[&[0x86, 0, 0]], "invalid"),
        up("an end with a profile", &[&[END | 0x40], &profile, &[1, 0]], "invalid"),
        up("an end with a title", &[&[END | 0x20], &TITLE, &[1, 0]], "invalid"),
        up(
            "a device with a profile",
            &[&[DEVICE | 0x40], &profile, &[1, 0, 1, b'd', 0]],
            "invalid",
        ),
        up("a name with a title", &[&[NAME | 0x20], &TITLE, &[1, 0, 0]], "invalid"),
        up("an operation after the end", &[&[END, 1, 0], &[DELETE, 1, 0]], "invalid"),
        up("two operations with one stamp", &[&[DELETE, 1, 0], &second], "invalid"),
        up("an end at the last operation", &[&[DELETE, 1, 0], &[END, 0, 0]], "invalid"),
        up("a stamp before the one before", &[&[DELETE, 1, 0], &[DELETE | 0x18, 2]], "invalid"),
        up("the stamp of nobody", &[&[END | 0x18], &zero()], "invalid"),
        up("a time that ends early", &[&[DELETE | 0x10, 1, 0, 0]], "truncated"),
        up("a profile that ends early", &[&[DELETE | 0x40], &profile[1..]], "truncated"),
        up("more operations than a delta may have", &[&many], "limit"),
    ]
}

/// From the start to stamp 0.
fn zero() -> Vec<u8> {
    let mut word = (super::START_MS * 2 - 1) << 1;
    let mut bytes = Vec::new();
    while word >= 0x80 {
        bytes.push(word as u8 | 0x80);
        word >>= 7;
    }
    bytes.push(word as u8);
    bytes
}

fn titles() -> Vec<Value> {
    let long = [&[TAKE_OFF, 0, 65][..], &[b'x'; 65], &[1, 0]].concat();
    let longest = [&[TAKE_OFF, 0, 64][..], &[b'x'; 63], b"1", &[1, 0]].concat();
    vec![
        up("the last title of an author that had none", &[&[TAKE_OFF & !0x20, 1, 0]], "invalid"),
        up("a known title when none is", &[&[TAKE_OFF, 1, 1, 0]], "invalid"),
        up(
            "a known title before the first",
            &[&[TAKE_OFF], &TITLE, &[1, 0, TAKE_OFF, 3, 1, 0]],
            "invalid",
        ),
        up("a prefix when none is known", &[&[TAKE_OFF, 2, 1, 0]], "invalid"),
        up(
            "a prefix of a title without a number",
            &[&[TAKE_OFF], &TITLE, &[1, 0, TAKE_OFF, 2, 1, 0]],
            "invalid",
        ),
        up("a title of no bytes", &[&[TAKE_OFF, 0, 0, 1, 0]], "invalid"),
        up("a title of 65 bytes", &[&long], "limit"),
        up("a title that is not UTF-8", &[&[TAKE_OFF, 0, 1, 0xff, 1, 0]], "invalid"),
        up("a title with a line feed", &[&[TAKE_OFF, 0, 2, b'a', 10, 1, 0]], "invalid"),
        up("a title that ends early", &[&[TAKE_OFF, 0, 9, b'a', 1, 0]], "truncated"),
        up("a number that makes a title too long", &[&longest, &[TAKE_OFF, 22, 1, 0]], "invalid"),
        up(
            "a number of 16 digits",
            &[&[TAKE_OFF, 0, 2, b'a', b'1', 1, 0], &[TAKE_OFF], &sixteen_digits(), &[1, 0]],
            "invalid",
        ),
    ]
}

/// The title word of 10^15 at the first of one prefix.
fn sixteen_digits() -> Vec<u8> {
    let mut word: u64 = (10_u64.pow(15) + 1) * 2;
    let mut bytes = Vec::new();
    while word >= 0x80 {
        bytes.push(word as u8 | 0x80);
        word >>= 7;
    }
    bytes.push(word as u8);
    bytes
}

fn payloads() -> Vec<Value> {
    let device = |record: &[u8]| [&[DEVICE, 1, 0, 1, b'd', 1][..], record].concat();
    let long_text = [&[0, 0, 65][..], &[b'n'; 65], &[0, 0]].concat();
    let long_name = [&[NAME, 1, 0, 65][..], &[b'n'; 65]].concat();
    vec![
        up("a position before the start", &[&[PROGRESS | 8], &TITLE, &[1]], "invalid"),
        up(
            "a position of 33 bits",
            &[&[PROGRESS | 8], &TITLE, &[0x80, 0x80, 0x80, 0x80, 0x20]],
            "invalid",
        ),
        up(
            "a duration of 33 bits",
            &[&[PROGRESS | 16], &TITLE, &[0x80, 0x80, 0x80, 0x80, 0x10]],
            "invalid",
        ),
        up("a position that is missing", &[&[PROGRESS | 8], &TITLE], "truncated"),
        up("a name of 65 bytes", &[&long_name], "limit"),
        up("a name that is not UTF-8", &[&[NAME, 1, 0, 1, 0x80]], "invalid"),
        up("a name that ends early", &[&[NAME, 1, 0, 2, b'n']], "truncated"),
        up("a device without an id", &[&[DEVICE, 1, 0, 0, 0]], "invalid"),
        up("a device that is neither there nor gone", &[&[DEVICE, 1, 0, 1, b'd', 2]], "invalid"),
        up("device type 5", &[&device(&[5, 0, 0, 0, 0])], "invalid"),
        up("resolution 5", &[&device(&[0, 5, 0, 0, 0])], "invalid"),
        up(
            "capabilities of 33 bits",
            &[&device(&[0, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 0])],
            "invalid",
        ),
        up("a device's name of 65 bytes", &[&device(&long_text)], "limit"),
        up("a device's record that ends early", &[&device(&[0, 0, 0, 0])], "truncated"),
    ]
}

fn observed() -> Vec<Value> {
    let many = (OBSERVED_MAX + 1) as u8;
    let all = [0; 9].iter().chain(&[0]).copied().collect::<Vec<u8>>().repeat(usize::from(many));
    vec![
        up("65 observed adds", &[&[REMOVE], &TITLE, &[1, 0, 0, many], &all], "limit"),
        up(
            "an observed add of a replica that was not named",
            &[&[ADD], &TITLE, &[1, 0, 0, 1, 1, 0]],
            "limit",
        ),
        up(
            "an observed add without a stamp",
            &[&[ADD], &TITLE, &[1, 0, 0, 1], &[0; 9]],
            "truncated",
        ),
        up("an add without what it observed", &[&[ADD], &TITLE, &[1, 0]], "truncated"),
    ]
}

/// Who read the frame before reads this one wrong, and says so.
fn after_a_good_frame() -> Value {
    let good = operation(at(0, 0), HOME, play("tmdb:1", 3, 9, Playing));
    let mut vector =
        written("a bad frame after a good one", true, 0, vec![Sent::new(TV, vec![good])]);
    let bad = json!({"body": hex(&[TAKE_OFF, 3, 1, 0]), "live": [], "error": "invalid"});
    if let Some(frames) = vector["frames"].as_array_mut() {
        frames.push(bad);
    }
    super::meaning::with(vector, json!({"error": "invalid"}))
}
