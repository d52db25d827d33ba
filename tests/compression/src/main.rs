//! Compresses the bodies of traces with zstd and prints one JSON line for each kind and form: the
//! dictionaries, and of each body its hex digits and the bytes that each way takes. Brotli and the
//! sums are left to `tests/bench/compression.mjs`.
//!
//! A dictionary is trained on one half of the traces, the other half is compressed with it, and the
//! other way round: no body is compressed with a dictionary that knows its household.

use omega_sync_compression::record::{fixed, json};
use omega_sync_compression::schedule::bodies;
use omega_sync_compression::trace::{Trace, TraceError};
use omega_sync_compression::{Body, Kind};
use serde_json::{Value, json as value};
use std::fmt::Write;
use std::process::ExitCode;
use thiserror::Error;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, FrameFormat};

const FAST: i32 = 3;
const THOROUGH: i32 = 19;
/// A client would have to carry it: half of the bytes that the whole package may take.
const DICTIONARY_BYTES_MAX: usize = 16 * 1024;
/// Each half has at least one trace to train on.
const TRACES_MIN: usize = 2;

#[derive(Debug, Error)]
enum Failure {
    #[error("name at least {TRACES_MIN} traces: a dictionary is trained on other households")]
    TooFew,
    #[error("{0}: {1}")]
    Trace(String, TraceError),
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    #[error("zstd: {0}")]
    Zstd(#[from] std::io::Error),
}

/// How a body could be written.
#[derive(Clone, Copy)]
enum Form {
    Ours,
    Fixed,
    Json,
}

impl Form {
    const ALL: [(Self, &str); 3] =
        [(Self::Ours, "ours"), (Self::Fixed, "fixed"), (Self::Json, "json")];

    fn of(self, body: &Body) -> Vec<u8> {
        match self {
            Self::Ours => body.bytes.clone(),
            Self::Fixed => fixed(&body.records),
            Self::Json => json(&body.records),
        }
    }
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("compression: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(files: Vec<String>) -> Result<(), Failure> {
    if files.len() < TRACES_MIN {
        return Err(Failure::TooFew);
    }
    let mut homes = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| Failure::Read(file.clone(), error))?;
        let trace = Trace::parse(&text).map_err(|error| Failure::Trace(file.clone(), error))?;
        homes.push(bodies(&trace));
        eprintln!("{file}: replayed");
    }
    for kind in Kind::ALL {
        for (form, name) in Form::ALL {
            let written: Vec<Vec<Vec<u8>>> = homes
                .iter()
                .map(|home| home[&kind].iter().map(|body| form.of(body)).collect())
                .collect();
            let records = homes.iter().flat_map(|home| &home[&kind]).map(|b| b.records.len());
            let records: usize = records.sum();
            let (bodies, dictionaries) = measure(&written)?;
            let head = value!({ "kind": kind.name(), "form": name, "records": records });
            println!("{}", value!({ "of": head, "dictionaries": dictionaries, "bodies": bodies }));
        }
        eprintln!("{}: compressed", kind.name());
    }
    Ok(())
}

/// All bodies of one kind and form, by trace. Returns the figures of each, and of each dictionary.
fn measure(homes: &[Vec<Vec<u8>>]) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut bodies = Vec::new();
    let mut dictionaries = Vec::new();
    let mut plain = [compressor(FAST, &[])?, compressor(THOROUGH, &[])?];
    for half in 0..2 {
        let halves = homes.iter().enumerate();
        let (own, others): (Vec<_>, Vec<_>) = halves.partition(|(at, _)| at % 2 == half);
        let samples: Vec<&Vec<u8>> = others.iter().flat_map(|(_, bodies)| *bodies).collect();
        let (dictionary, trained) = dictionary(&samples);
        let about = value!({
            "samples": samples.len(), "bytes": dictionary.len(), "trained": trained,
        });
        dictionaries.push(about);
        let mut with = compressor(FAST, &dictionary)?;
        for body in own.iter().flat_map(|(_, bodies)| *bodies) {
            let [fast, thorough] = &mut plain;
            bodies.push(value!([
                hex(body),
                fast.compress(body)?.len(),
                thorough.compress(body)?.len(),
                with.compress(body)?.len(),
            ]));
        }
    }
    Ok((bodies, dictionaries))
}

/// What ZDICT trains, and whether it could. It gives up on samples that are few or have nothing in
/// common; then the last of them, as they are, are the best dictionary there is.
fn dictionary(samples: &[&Vec<u8>]) -> (Vec<u8>, bool) {
    match zstd::dict::from_samples(samples, DICTIONARY_BYTES_MAX) {
        Ok(dictionary) => (dictionary, true),
        Err(_) => {
            let all: Vec<u8> = samples.iter().flat_map(|sample| sample.iter().copied()).collect();
            (all[all.len().saturating_sub(DICTIONARY_BYTES_MAX)..].to_vec(), false)
        }
    }
}

/// With the shortest frame there is: no magic number, size, checksum or name of the dictionary.
fn compressor(level: i32, dictionary: &[u8]) -> Result<Compressor<'static>, Failure> {
    let mut compressor = Compressor::with_dictionary(level, dictionary)?;
    for parameter in [
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        compressor.set_parameter(parameter)?;
    }
    Ok(compressor)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
