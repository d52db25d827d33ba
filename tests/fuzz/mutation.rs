//! Changes to an input that leave most of it alone, so that what follows a change is still read.

use crate::input::{joined, parts};
use omega_sync_core::codec::Writer;
use omega_sync_core::id::Random;

/// No mutated input is longer.
const INPUT_BYTES_MAX: usize = 8 * 1024;
/// Bytes that a decoder may take for more than a number.
const BYTES: [u8; 10] = [0, 1, 2, 0x10, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];
/// Numbers at the edges of what is declared.
const NUMBERS: [u64; 17] = [
    0,
    1,
    63,
    64,
    65,
    255,
    500,
    1_024,
    4_096,
    5_000,
    u16::MAX as u64,
    u32::MAX as u64,
    (1 << 48) - 1,
    1 << 48,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// An input made of one or two of the corpus.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>], of_parts: bool) -> Vec<u8> {
    let mut data = pick(random, corpus).clone();
    for _ in 0..=random.up_to(3) {
        if of_parts && random.up_to(7) > 0 {
            change_parts(random, corpus, &mut data);
        } else {
            let other = pick(random, corpus);
            change(random, other, &mut data);
        }
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}

fn pick<'a, T>(random: &mut Random, list: &'a [T]) -> &'a T {
    &list[random.up_to(list.len() as u64 - 1) as usize]
}

fn place(random: &mut Random, data: &[u8]) -> usize {
    random.up_to(data.len() as u64) as usize
}

/// A run of at most 32 bytes, mostly a short one.
fn range(random: &mut Random, data: &[u8]) -> core::ops::Range<usize> {
    let start = place(random, data);
    let longest = 1 << random.up_to(5);
    start..data.len().min(start + 1 + random.up_to(longest) as usize)
}

fn change_parts(random: &mut Random, corpus: &[Vec<u8>], data: &mut Vec<u8>) {
    let mut list: Vec<Vec<u8>> = parts(data).into_iter().map(<[u8]>::to_vec).collect();
    let other = pick(random, corpus);
    let other = parts(other);
    let at = random.up_to(list.len() as u64) as usize;
    match (random.up_to(15), list.get_mut(at)) {
        (0, Some(_)) => drop(list.remove(at)),
        (1, Some(part)) => {
            let copy = part.clone();
            list.insert(at, copy);
        }
        (2, Some(_)) => {
            let with = random.up_to(list.len() as u64 - 1) as usize;
            list.swap(at, with);
        }
        (3, _) if !other.is_empty() => list.insert(at, pick(random, &other).to_vec()),
        (4, _) => list.extend(other.into_iter().map(<[u8]>::to_vec)),
        (_, Some(part)) if !other.is_empty() => {
            let other = *pick(random, &other);
            change(random, other, part);
        }
        _ => list.push(Vec::new()),
    }
    *data = joined(&list);
}

fn change(random: &mut Random, other: &[u8], data: &mut Vec<u8>) {
    let at = place(random, data);
    match (random.up_to(10), data.get_mut(at)) {
        (0..=2, Some(byte)) => *byte ^= 1 << random.up_to(7),
        (3, Some(byte)) => *byte = *pick(random, &BYTES),
        (4, Some(byte)) => *byte = random.bits() as u8,
        (5, _) => {
            let run: Vec<u8> = (0..=random.up_to(8)).map(|_| random.bits() as u8).collect();
            data.splice(at..at, run);
        }
        (6, _) => drop(data.drain(range(random, data))),
        (7, _) => {
            let run = data[range(random, data)].to_vec();
            data.splice(at..at, run);
        }
        (8, _) => {
            let run = other[range(random, other)].to_vec();
            let end = data.len().min(at + run.len() * random.up_to(1) as usize);
            data.splice(at..end, run);
        }
        (9, _) => {
            let mut number = Writer::new();
            number.varint(*pick(random, &NUMBERS));
            let end = data.len().min(at + 1 + random.up_to(1) as usize);
            data.splice(at..end, number.finish());
        }
        _ => data.truncate(at),
    }
}
