//! The golden messages of patterns, decoded in WebAssembly.

use omega_sync_core::pattern::Pattern;
use omega_sync_core::pattern::message::decode;
use omega_sync_core::pattern::tables::{DEFAULT_TABLES, Tables};
use wasm_bindgen_test::wasm_bindgen_test;

const GOLDEN: &str = include_str!("../../tests/vectors/patterns/golden.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
    (0..hex.len() / 2).map(digit).collect()
}

#[wasm_bindgen_test]
fn golden_messages_are_decoded_to_the_same_bits() {
    let tables = Tables::read(DEFAULT_TABLES).expect("valid");
    let mut known: Vec<Pattern> = Vec::new();
    let mut lines = GOLDEN.lines();
    let mut messages = 0;
    while let Some(message) = lines.next() {
        let message = bytes(message.split(' ').nth(2).expect("a message"));
        known = decode(&tables, &message, &known).expect("valid");
        for pattern in &known {
            let words: Vec<&str> = lines.next().expect("a pattern").split(' ').collect();
            let units: Vec<u8> =
                pattern.embedding.as_slice().iter().flat_map(|unit| unit.to_le_bytes()).collect();
            assert_eq!(words[1], format!("{:032x}", pattern.id.0));
            assert_eq!(words[2], pattern.genre.as_str());
            assert_eq!(words[3], pattern.sample_count().to_string());
            assert_eq!(words[4], pattern.success_count().to_string());
            assert_eq!(bytes(words[5]), units);
        }
        messages += 1;
    }
    assert_eq!(messages, 4);
}
