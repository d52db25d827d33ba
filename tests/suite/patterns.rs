//! The pattern codec with the default tables: any patterns, any bytes, and the golden file.

use omega_sync_core::codec::{DecodeError, checksum};
use omega_sync_core::id::Random;
use omega_sync_core::pattern::message::{
    Encoded, Floor, MESSAGE_PATTERNS_MAX, Outgoing, decode, encode, encode_within, estimate_bytes,
};
use omega_sync_core::pattern::tables::{
    DEFAULT_TABLES, Parts, TABLES_BYTES_MAX, Tables, Weights, start,
};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternError, PatternId};
use proptest::prelude::*;
use std::sync::LazyLock;

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables::read(DEFAULT_TABLES).expect("valid"));

/// A pattern in any direction: the codec must bear all, also those that no tables expect.
pub fn pattern(random: &mut Random, genre: &str) -> Pattern {
    let components: Vec<f32> =
        (0..DIMENSIONS).map(|_| random.up_to(2_000) as f32 - 1_000.0).collect();
    let embedding = Embedding::from_f32(&components).expect("valid");
    let samples = 1 + random.up_to(300) as u32;
    let successes = random.up_to(samples.into()) as u32;
    let id = PatternId(u128::from(random.bits()) << (64 * random.up_to(1)));
    Pattern::new(id, Genre::new(genre).expect("valid"), embedding, samples, successes)
        .expect("valid")
}

/// The next version: a little of another direction, and more samples.
fn grown(pattern: &Pattern, random: &mut Random, part: f32) -> Pattern {
    let other: Vec<f32> = (0..DIMENSIONS).map(|_| random.up_to(2_000) as f32 - 1_000.0).collect();
    let norm = other.iter().map(|c| c * c).sum::<f32>().sqrt();
    let pairs = pattern.embedding.to_f32().into_iter().zip(other);
    let components: Vec<f32> = pairs.map(|(a, b)| a + part * b / norm).collect();
    let embedding = Embedding::from_f32(&components).expect("valid");
    let samples = pattern.sample_count() + 2;
    Pattern::new(pattern.id, pattern.genre.clone(), embedding, samples, pattern.success_count() + 1)
        .expect("valid")
}

fn firsts(patterns: &[Pattern]) -> Vec<Outgoing<'_>> {
    patterns.iter().map(|pattern| Outgoing { pattern, base: None }).collect()
}

fn sent(floor: Floor, outgoing: &[Outgoing<'_>]) -> Encoded {
    let encoded = encode(&TABLES, floor, outgoing).expect("valid patterns");
    assert_eq!(encoded.taken, outgoing.len());
    encoded
}

fn exact(a: &Embedding, b: &Embedding) -> f64 {
    a.dot(b) as f64 / (a.dot(a) as f64 * b.dot(b) as f64).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn what_is_decoded_meets_the_floor_and_counts_are_exact(
        seed: u64,
        cosine in 0.5..0.999f32,
        count in 1..6usize,
    ) {
        let floor = Floor::new(cosine).expect("in range");
        let mut random = Random::new([seed.to_le_bytes(), [3; 8]].concat().try_into().expect("16"));
        let genres = ["drama", "Science Fiction", "space opera"];
        let patterns: Vec<Pattern> =
            (0..count).map(|at| pattern(&mut random, genres[at % 3])).collect();
        let first = sent(floor, &firsts(&patterns));
        let decoded = decode(&TABLES, &first.bytes, &[]).expect("just written");
        prop_assert_eq!(&decoded, &first.decoded);
        let newer: Vec<Pattern> = patterns
            .iter()
            .map(|pattern| grown(pattern, &mut random, 0.2))
            .collect();
        let base = |id| decoded.iter().find(|pattern| pattern.id == id);
        let outgoing: Vec<Outgoing> =
            newer.iter().map(|pattern| Outgoing { pattern, base: base(pattern.id) }).collect();
        let second = sent(floor, &outgoing);
        let again = decode(&TABLES, &second.bytes, &decoded).expect("just written");
        prop_assert_eq!(&again, &second.decoded);
        for (wanted, got) in [(&patterns, &decoded), (&newer, &again)] {
            prop_assert_eq!(wanted.len(), got.len());
            for pattern in wanted.iter() {
                let got = got.iter().find(|got| got.id == pattern.id).expect("each is there");
                prop_assert!(exact(&pattern.embedding, &got.embedding) >= f64::from(cosine));
                prop_assert_eq!(&pattern.genre, &got.genre);
                prop_assert_eq!(pattern.sample_count(), got.sample_count());
                prop_assert_eq!(pattern.success_count(), got.success_count());
            }
        }
        // Nobody else's base will do.
        let unknown = decode(&TABLES, &second.bytes, &newer);
        prop_assert_eq!(unknown, Err(PatternError::BaseUnknown));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        let mut message = vec![3];
        message.extend(TABLES.id().to_le_bytes());
        message.extend(bytes);
        for pattern in decode(&TABLES, &message, &[]).unwrap_or_default() {
            prop_assert!(Embedding::from_units(pattern.embedding.as_slice()).is_ok());
        }
    }
}

#[test]
fn a_cap_leaves_the_rest_and_an_estimate_is_near() {
    let mut random = Random::new([4; 16]);
    let patterns: Vec<Pattern> = (0..14).map(|_| pattern(&mut random, "comedy")).collect();
    let outgoing = firsts(&patterns);
    let floor = Floor::new(0.9).expect("in range");
    let mut at = 0;
    while at < patterns.len() {
        let batch = encode_within(&TABLES, floor, &outgoing[at..], 900).expect("valid");
        assert!(batch.taken > 0 && batch.bytes.len() <= 900);
        let decoded = decode(&TABLES, &batch.bytes, &[]).expect("just written");
        let expected = &patterns[at..at + batch.taken];
        assert!(decoded.iter().all(|got| expected.iter().any(|wanted| wanted.id == got.id)));
        at += batch.taken;
        if at < patterns.len() {
            let more = sent(floor, &outgoing[at - batch.taken..=at]).bytes.len();
            assert!(more > 900, "one more would have fitted: {more}");
        }
    }
    assert_eq!(encode_within(&TABLES, floor, &outgoing, 9).expect("valid").taken, 0);
    let whole = sent(floor, &outgoing).bytes.len();
    let estimate = estimate_bytes(&TABLES, floor, &outgoing).expect("valid");
    assert!(estimate.abs_diff(whole) * 10 <= whole, "{estimate} for {whole}");
}

/// A pattern that the transform expresses, as real ones mostly are.
fn expressed(random: &mut Random, genre: &str, id: u128) -> Pattern {
    let any = pattern(random, genre);
    let floor = Floor::new(0.55).expect("in range");
    let mut rough = sent(floor, &firsts(&[any])).decoded.remove(0);
    rough.id = PatternId(id);
    rough
}

#[test]
fn an_estimate_is_within_ten_percent_of_first_later_and_global_messages() {
    let mut random = Random::new([12; 16]);
    let genres = ["drama", "comedy", "war", "space opera"];
    let mut made = |count: usize, likeness: f32| -> Vec<Pattern> {
        let middle = expressed(&mut random, "drama", 0);
        let one = |at: usize| {
            let mut own = expressed(&mut random, genres[at * genres.len() / count], at as u128);
            let pairs = middle.embedding.to_f32().into_iter().zip(own.embedding.to_f32());
            let mixed: Vec<f32> = pairs.map(|(a, b)| likeness * a + b).collect();
            own.embedding = Embedding::from_f32(&mixed).expect("not zero");
            own
        };
        (0..count).map(one).collect()
    };
    let near = |name: &str, floor: f32, outgoing: &[Outgoing]| {
        let floor = Floor::new(floor).expect("in range");
        let encoded = sent(floor, outgoing);
        let (estimate, whole) =
            (estimate_bytes(&TABLES, floor, outgoing).expect("valid"), encoded.bytes.len());
        let off = 100.0 * (estimate as f64 - whole as f64) / whole as f64;
        assert!(off.abs() <= 10.0, "{name}: {estimate} for {whole}, {off:.1} %");
        encoded.decoded
    };
    let mut other = Random::new([13; 16]);
    for (floor, likeness) in [(0.9, 2.0), (0.98, 4.0), (0.98, 2.0)] {
        let patterns = made(10, likeness);
        let mut known = near("first", floor, &firsts(&patterns));
        for part in [0.1, 0.25, 0.4] {
            let newer: Vec<Pattern> =
                patterns.iter().map(|pattern| grown(pattern, &mut other, part)).collect();
            let base = |p: &Pattern| known.iter().find(|known| known.id == p.id);
            let outgoing: Vec<Outgoing> =
                newer.iter().map(|pattern| Outgoing { pattern, base: base(pattern) }).collect();
            known = near(&format!("later, {part} of {floor}"), floor, &outgoing);
        }
    }
    near("global", 0.9, &firsts(&made(100, 2.0)));
}

/// Tables as of a catalogue of its own: other axes, whose variances fall quickly, and nothing learned.
fn own_tables() -> Tables {
    let axis = |at: usize| (0..DIMENSIONS).map(|i| if i == at { 127 } else { 0 }).collect();
    let parts = Parts {
        genres: ["comedy", "drama"].map(|genre| Genre::new(genre).expect("valid")).to_vec(),
        centroids: vec![vec![13; DIMENSIONS]; 3],
        rows: (0..256).map(axis).collect(),
        variances: (0..256).map(|at| 175 - (at / 4) as u8).collect(),
        weights: Weights { message: 3, genre: 3, own: 15, certainty: 12 },
        step: 19,
        starts: start(),
    };
    Tables::read(&parts.write().expect("valid")).expect("just written")
}

#[test]
fn an_estimate_is_within_ten_percent_with_own_tables_too() {
    let tables = own_tables();
    let mut random = Random::new([14; 16]);
    let mut moved = |at: &[f32], by: f32| -> Vec<f32> {
        let fall = |place: usize| by * 0.98f32.powi(place as i32) / 1_000.0;
        let mut noise = |place: usize| (random.up_to(2_000) as f32 - 1_000.0) * fall(place);
        at.iter().enumerate().map(|(place, c)| c + noise(place)).collect()
    };
    let made = |at: usize, samples: u32, components: &[f32]| {
        let embedding = Embedding::from_f32(components).expect("not zero");
        let genre = Genre::new(["comedy", "drama"][at % 2]).expect("valid");
        Pattern::new(PatternId(at as u128), genre, embedding, samples, samples - 2).expect("valid")
    };
    for count in [1, 10, 30] {
        let floor = Floor::default();
        let mut places = vec![vec![0.05; DIMENSIONS]; count];
        let mut known: Vec<Pattern> = Vec::new();
        for (samples, by) in [(20, 0.4), (22, 0.1), (23, 0.05)] {
            places.iter_mut().for_each(|place| *place = moved(place, by));
            let newer: Vec<Pattern> =
                places.iter().enumerate().map(|(at, place)| made(at, samples, place)).collect();
            let base = |p: &Pattern| known.iter().find(|known| known.id == p.id);
            let outgoing: Vec<Outgoing> =
                newer.iter().map(|pattern| Outgoing { pattern, base: base(pattern) }).collect();
            let encoded = encode(&tables, floor, &outgoing).expect("valid patterns");
            let estimate = estimate_bytes(&tables, floor, &outgoing).expect("valid");
            let whole = encoded.bytes.len();
            let what = format!("{count} patterns of {samples} samples: {estimate} for {whole}");
            assert!(estimate.abs_diff(whole) * 10 <= whole, "{what}");
            assert_eq!(decode(&tables, &encoded.bytes, &known).as_ref(), Ok(&encoded.decoded));
            known = encoded.decoded;
        }
    }
}

#[test]
fn wrong_tables_versions_and_messages_have_their_names() {
    let mut random = Random::new([5; 16]);
    let one = pattern(&mut random, "drama");
    let floor = Floor::default();
    let mut bytes = sent(floor, &firsts(std::slice::from_ref(&one))).bytes;
    for length in 0..bytes.len() {
        let cut = decode(&TABLES, &bytes[..length], &[]);
        assert_ne!(cut.map_err(drop), Ok(vec![one.clone()]), "cut to {length}");
    }
    bytes[1] ^= 1;
    let other = TABLES.id() ^ 1;
    assert_eq!(decode(&TABLES, &bytes, &[]), Err(PatternError::TablesUnknown(other)));
    bytes[0] = 9;
    let version = PatternError::Bytes(DecodeError::version(9));
    assert_eq!(decode(&TABLES, &bytes, &[]), Err(version));
    let twice = [one.clone(), one.clone()];
    assert_eq!(encode(&TABLES, floor, &firsts(&twice)).err(), Some(PatternError::Duplicate));
    let other_genre = pattern(&mut random, "comedy");
    let wrong = Outgoing { pattern: &one, base: Some(&other_genre) };
    let whole = sent(floor, &[wrong]);
    assert!(decode(&TABLES, &whole.bytes, &[]).is_ok(), "a base of another pattern is not used");
    for cosine in [0.499, 0.9991, f32::NAN] {
        assert_eq!(Floor::new(cosine), Err(PatternError::Floor));
    }
}

#[test]
fn a_message_holds_256_patterns_and_no_more() {
    let mut random = Random::new([6; 16]);
    let mut patterns: Vec<Pattern> =
        (0..=MESSAGE_PATTERNS_MAX).map(|_| pattern(&mut random, "drama")).collect();
    let floor = Floor::new(0.5).expect("in range");
    let limit = PatternError::Limit("MESSAGE_PATTERNS_MAX");
    assert_eq!(encode(&TABLES, floor, &firsts(&patterns)).err(), Some(limit));
    patterns.pop();
    let whole = sent(floor, &firsts(&patterns));
    let decoded = decode(&TABLES, &whole.bytes, &[]).expect("just written");
    assert_eq!(decoded.len(), MESSAGE_PATTERNS_MAX);
}

#[test]
fn a_version_that_is_near_enough_costs_its_counts_only() {
    let mut random = Random::new([8; 16]);
    let mut old = pattern(&mut random, "drama");
    old.id = PatternId(20);
    let floor = Floor::new(0.9).expect("in range");
    let first = sent(Floor::new(0.99).expect("in range"), &firsts(std::slice::from_ref(&old)));
    let new = grown(&old, &mut random, 0.05);
    let second = sent(floor, &[Outgoing { pattern: &new, base: Some(&first.decoded[0]) }]);
    assert!(second.bytes.len() <= 5 + 10, "{} bytes", second.bytes.len());
    assert_eq!(second.decoded[0].embedding, first.decoded[0].embedding);
    assert_eq!(second.decoded[0].sample_count(), new.sample_count());
}

#[test]
fn damaged_tables_are_refused_and_their_size_is_bounded() {
    assert!(DEFAULT_TABLES.len() < 80_000);
    for length in (0..DEFAULT_TABLES.len()).step_by(997) {
        // What ends too early reads as zeros, which are no file that anybody wrote: its name differs.
        let cut = Tables::read(&DEFAULT_TABLES[..length]);
        assert!(cut.is_err() || cut.is_ok_and(|tables| tables.id() != TABLES.id()));
    }
    let mut long = DEFAULT_TABLES.to_vec();
    long.resize(TABLES_BYTES_MAX + 1, 7);
    assert_eq!(Tables::read(&long).err(), Some(DecodeError::limit("TABLES_BYTES_MAX")));
    long.truncate(TABLES_BYTES_MAX);
    assert_eq!(Tables::read(&long).err(), Some(DecodeError::Trailing));
    assert_eq!(TABLES.id(), checksum(DEFAULT_TABLES));
}

const GOLDEN: &str = "vectors/patterns/golden.txt";

/// Messages of every kind, and what they mean: `message NAME HEX`, and a line for each pattern in it,
/// `pattern ID GENRE SAMPLES SUCCESSES` and the units of its embedding in hex, little endian. A message
/// may build on those before it.
fn golden() -> String {
    let mut random = Random::new([11; 16]);
    let floor = |cosine| Floor::new(cosine).expect("in range");
    let genres = ["drama", "comedy", "space_opera", "drama", "war"];
    let mut patterns: Vec<Pattern> =
        genres.iter().map(|genre| pattern(&mut random, genre)).collect();
    // Neighbours, as devices name theirs; the others are far apart.
    for (pattern, id) in patterns.iter_mut().zip([3, 4, 9]) {
        pattern.id = PatternId(id);
    }
    let newer: Vec<Pattern> = patterns.iter().map(|p| grown(p, &mut random, 0.5)).collect();
    let newest: Vec<Pattern> = newer.iter().map(|p| grown(p, &mut random, 0.02)).collect();
    let mut known: Vec<Pattern> = Vec::new();
    let mut text = String::new();
    let lessons = [
        ("rows", &patterns, 0.6),
        ("again", &newer, 0.62),
        ("counts", &newest, 0.6),
        ("corrected", &newest, 0.97),
    ];
    for (name, patterns, cosine) in lessons {
        let base = |p: &Pattern| known.iter().find(|known| known.id == p.id);
        let outgoing: Vec<Outgoing> =
            patterns.iter().map(|pattern| Outgoing { pattern, base: base(pattern) }).collect();
        let encoded = sent(floor(cosine), &outgoing);
        text += &format!("message {name} {}\n", hex(&encoded.bytes));
        text += &encoded.decoded.iter().map(line).collect::<String>();
        known = encoded.decoded;
    }
    text
}

fn line(pattern: &Pattern) -> String {
    let units: Vec<u8> =
        pattern.embedding.as_slice().iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let (samples, successes) = (pattern.sample_count(), pattern.success_count());
    let genre = pattern.genre.as_str();
    format!("pattern {:032x} {genre} {samples} {successes} {}\n", pattern.id.0, hex(&units))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_golden_file_is_decoded_to_the_same_bits() {
    let path = format!("{}/{GOLDEN}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("it is there");
    let mut known: Vec<Pattern> = Vec::new();
    let mut lines = text.lines().peekable();
    let mut messages = 0;
    while let Some(message) = lines.next() {
        let bytes = message.split(' ').nth(2).expect("a message");
        let bytes: Vec<u8> = (0..bytes.len() / 2)
            .map(|at| u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).expect("hex"))
            .collect();
        known = decode(&TABLES, &bytes, &known).expect("a valid message");
        for pattern in &known {
            assert_eq!(lines.next().map(|line| format!("{line}\n")), Some(line(pattern)));
        }
        assert!(lines.peek().is_none_or(|line| line.starts_with("message ")));
        messages += 1;
    }
    assert_eq!(messages, 4);
}

#[test]
#[ignore = "writes the golden file"]
fn rewrite_golden() {
    let path = format!("{}/{GOLDEN}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, golden()).expect("it can be written");
}
