//! Messages of learned patterns, and the tables that they are coded with.

use crate::input::{joined, parts};
use omega_sync_core::codec::checksum;
use omega_sync_core::pattern::message::{Floor, Outgoing, decode, encode};
use omega_sync_core::pattern::tables::{Parts, Tables, Weights, start};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternError, PatternId};
use std::ops::Range;

/// Patterns that are encoded again: that is most of the work.
const ENCODED_AGAIN: usize = 2;
/// Where a message has the id of its tables.
const TABLES_ID: Range<usize> = 1..5;

/// Messages one after the other, as from one household: each may build on what the ones before said.
pub fn patterns(data: &[u8]) {
    let tables = Tables::read(&tables_file()).expect("valid tables");
    let mut known: Vec<Pattern> = Vec::new();
    for message in parts(data).into_iter().take(4) {
        let Ok(read) = decode(&tables, &named(&tables, message), &known) else { continue };
        for (at, pattern) in read.iter().enumerate() {
            is_valid(pattern);
            assert!(read[..at].iter().all(|other| other.id != pattern.id), "an id twice");
        }
        comes_back(&tables, &read[..read.len().min(ENCODED_AGAIN)], &known);
        for pattern in read {
            known.retain(|other| other.id != pattern.id);
            known.push(pattern);
        }
    }
}

/// A file of tables, then messages that are read and written with it.
pub fn pattern_tables(data: &[u8]) {
    let list = parts(data);
    let Some((file, messages)) = list.split_first() else { return };
    let Ok(tables) = Tables::read(file) else { return };
    for message in messages.iter().take(2) {
        if let Ok(read) = decode(&tables, &named(&tables, message), &[]) {
            read.iter().for_each(is_valid);
            comes_back(&tables, &read[..read.len().min(ENCODED_AGAIN)], &[]);
        }
    }
    comes_back(&tables, &household(1, 1), &[]);
}

/// The message as if it had been written with these tables, so that most of it is read.
fn named(tables: &Tables, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(id) = message.get_mut(TABLES_ID) {
        id.copy_from_slice(&tables.id().to_le_bytes());
    }
    message
}

fn is_valid(pattern: &Pattern) {
    assert!(Embedding::from_units(pattern.embedding.as_slice()).is_ok(), "the norm is not 1");
    assert!(pattern.success_count() <= pattern.sample_count());
    assert_eq!(Genre::new(pattern.genre.as_str()).as_ref(), Ok(&pattern.genre));
}

/// What was read can be written, and then says the same, as near as asked.
fn comes_back(tables: &Tables, patterns: &[Pattern], known: &[Pattern]) {
    let floor = Floor::default();
    let ours = checksum(&tables_file());
    let base = |pattern: &Pattern| known.iter().find(|known| known.id == pattern.id);
    let outgoing: Vec<Outgoing> =
        patterns.iter().map(|pattern| Outgoing { pattern, base: base(pattern) }).collect();
    let encoded = match encode(tables, floor, &outgoing) {
        // Centroids far out can't be corrected: a complaint, and nothing is sent.
        Err(PatternError::Norm) if tables.id() != ours => return,
        encoded => encoded.expect("what was read can be written"),
    };
    let read = decode(tables, &encoded.bytes, known).expect("what was written can be read");
    assert_eq!(read, encoded.decoded);
    assert_eq!(read.len(), patterns.len());
    for pattern in &read {
        let sent = patterns.iter().find(|sent| sent.id == pattern.id).expect("one that was sent");
        let told = |p: &Pattern| (p.genre.clone(), p.sample_count(), p.success_count());
        assert_eq!(told(pattern), told(sent));
        let cosine = pattern.embedding.cosine(&sent.embedding);
        assert!(cosine >= floor.cosine(), "a cosine of {cosine}");
    }
}

/// A small file, because it is read for each input.
fn tables_file() -> Vec<u8> {
    let axis = |at: usize| (0..DIMENSIONS).map(|i| if i == at { 127 } else { 0 }).collect();
    let parts = Parts {
        genres: vec![Genre::new("drama").expect("valid"), Genre::new("war").expect("valid")],
        centroids: vec![vec![13; DIMENSIONS]; 3],
        rows: (0..8).map(axis).collect(),
        variances: vec![160; 8],
        weights: Weights { message: 3, genre: 3, own: 15, certainty: 12 },
        step: 22,
        starts: start(),
    };
    parts.write().expect("valid")
}

/// Patterns of a made-up household, which differ by version.
fn household(count: usize, version: u32) -> Vec<Pattern> {
    let pattern = |at: usize| {
        let components: Vec<f32> = (0..DIMENSIONS)
            .map(|i| 1.0 + ((i * (at + 3) + version as usize * i / 50) % 17) as f32 / 40.0)
            .collect();
        let genre = Genre::new(["drama", "war", "unheard of"][at % 3]).expect("valid");
        let embedding = Embedding::from_f32(&components).expect("not zero");
        let id = PatternId(1 << (at * 9) | 5);
        Pattern::new(id, genre, embedding, 10 + version, 8).expect("valid")
    };
    (0..count).map(pattern).collect()
}

/// Messages to start from: first versions, then later ones.
pub fn seeds(of_tables: bool) -> Vec<Vec<u8>> {
    let file = tables_file();
    let tables = Tables::read(&file).expect("valid");
    let written = |count: usize| {
        let mut known: Vec<Pattern> = Vec::new();
        let mut messages = Vec::new();
        for version in 0..3 {
            let patterns = household(count, version);
            let base = |pattern: &Pattern| known.iter().find(|known| known.id == pattern.id);
            let outgoing: Vec<Outgoing> =
                patterns.iter().map(|pattern| Outgoing { pattern, base: base(pattern) }).collect();
            let encoded = encode(&tables, Floor::default(), &outgoing).expect("valid");
            known = encoded.decoded;
            messages.push(encoded.bytes);
        }
        messages
    };
    let inputs = [1, 3, 6].map(written).into_iter();
    let with_file = |messages: Vec<Vec<u8>>| match of_tables {
        true => joined(&[&[file.clone()][..], &messages[..1]].concat()),
        false => joined(&messages),
    };
    inputs.map(with_file).collect()
}
