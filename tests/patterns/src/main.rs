//! `patterns encode JOB EMBEDDINGS TABLES MESSAGES` and `patterns decode MESSAGES TABLES EMBEDDINGS`:
//! two processes, so that what is decoded can only come from the bytes and the tables. Each prints one
//! JSON object about what it did.

use omega_sync_core::pattern::message::{Floor, decode, encode, estimate_bytes};
use omega_sync_core::pattern::tables::Tables;
use omega_sync_patterns::{Job, Known, outgoing};
use serde_json::json;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words[..] {
        ["encode", job, embeddings, tables, messages] => {
            encode_all(job, embeddings, tables, messages)?
        }
        ["decode", messages, tables, embeddings] => decode_all(messages, tables, embeddings)?,
        _ => return Err("patterns encode|decode …: see the source".into()),
    };
    println!("{said}");
    Ok(())
}

/// Writes each message after its length (u32, little endian).
fn encode_all(
    job: &str,
    embeddings: &str,
    tables: &str,
    out: &str,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let job = Job::read(&std::fs::read_to_string(job)?)?;
    let patterns = job.patterns(&std::fs::read(embeddings)?)?;
    let tables = Tables::read(&std::fs::read(tables)?)?;
    let floor = Floor::new(job.floor)?;
    let mut known = Known::new();
    let mut written = Vec::new();
    let (mut sizes, mut estimates, mut nanos, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for plan in &job.messages {
        let list = outgoing(&patterns, &plan.rows, plan.fresh, &known)?;
        let estimate = estimate_bytes(&tables, floor, &list)?;
        let begun = Instant::now();
        let encoded = encode(&tables, floor, &list)?;
        nanos += begun.elapsed().as_nanos();
        count += list.len();
        estimates.push(estimate);
        known.extend(encoded.decoded);
        sizes.push(encoded.bytes.len());
        written.extend_from_slice(&(encoded.bytes.len() as u32).to_le_bytes());
        written.extend_from_slice(&encoded.bytes);
    }
    std::fs::write(out, written)?;
    let id = format!("{:08x}", tables.id());
    let us = nanos as f64 / 1_000.0 / count.max(1) as f64;
    Ok(json!({
        "sizes": sizes,
        "estimates": estimates,
        "tables": id,
        "encode_us": us,
    }))
}

/// Writes all decoded embeddings, f32, in the order of the messages.
fn decode_all(
    messages: &str,
    tables: &str,
    out: &str,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let bytes = std::fs::read(messages)?;
    let tables = Tables::read(&std::fs::read(tables)?)?;
    let mut rest = &bytes[..];
    let mut known = Known::new();
    let mut written: Vec<u8> = Vec::new();
    let (mut said, mut nanos, mut count) = (Vec::new(), 0, 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        let begun = Instant::now();
        let patterns = decode(&tables, message, known.all())?;
        nanos += begun.elapsed().as_nanos();
        count += patterns.len();
        let mut list = Vec::new();
        for pattern in &patterns {
            written.extend(pattern.embedding.to_f32().iter().flat_map(|c| c.to_le_bytes()));
            list.push(json!({
                "id": format!("{:032x}", pattern.id.0),
                "genre": pattern.genre.as_str(),
                "sample_count": pattern.sample_count(),
                "success_count": pattern.success_count(),
            }));
        }
        known.extend(patterns);
        said.push(list);
    }
    std::fs::write(out, written)?;
    let us = nanos as f64 / 1_000.0 / count.max(1) as f64;
    Ok(json!({ "messages": said, "decode_us": us }))
}
