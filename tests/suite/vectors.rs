//! Golden vectors: bytes and what they mean, in `tests/vectors`, for every implementation.
//!
//! Each file is written by [`rewrite`] and read here: its bytes must mean what the file says, and
//! what the file says must be written as these bytes. Names of fields: the `about` of each file and
//! `docs/protocol.md`.

mod commands;
mod differences;
mod frames;
mod meaning;
mod numbers;
mod operations;
mod records;
mod sessions;
mod states;
mod story;
mod taste;

use omega_sync_core::replica::record::RECORD_VERSION;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files together stay readable by a person and quick to fetch.
const BYTES_MAX: u64 = 200 * 1024;
/// What a decoder may answer instead of a meaning.
const ERRORS: [&str; 6] = ["truncated", "trailing", "version", "limit", "invalid", "checksum"];

/// One file: its name, what it says of itself, its vectors, and how one of them is read.
struct File {
    name: String,
    about: &'static str,
    vectors: Vec<Value>,
    /// What a vector's bytes mean, as the fields that the vector must have beside its bytes.
    read: fn(&Value) -> Result<Value, &'static str>,
}

fn files() -> Vec<File> {
    let file = |name: &str, about, vectors, read| File { name: name.into(), about, vectors, read };
    let stored = format!("stored-v{RECORD_VERSION}");
    vec![
        file("numbers", numbers::ABOUT, numbers::vectors(), numbers::read),
        file("frames", frames::ABOUT, frames::vectors(), frames::read),
        file("operations", operations::ABOUT, operations::vectors(), operations::read),
        file("states", states::ABOUT, states::vectors(), states::read),
        file("differences", differences::ABOUT, differences::vectors(), differences::read),
        file("records", records::ABOUT, records::vectors(), records::read),
        file(&stored, records::STORED_ABOUT, records::stored_vectors(), records::read),
        file("taste", taste::ABOUT, taste::vectors(), taste::read),
        file("sessions", sessions::ABOUT, sessions::vectors(), sessions::read),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"))
}

/// The file as text: one vector a line.
fn text(file: &File) -> String {
    let lines: Vec<String> = file.vectors.iter().map(Value::to_string).collect();
    let about = Value::from(file.about);
    format!("{{\"about\": {about},\n\"vectors\": [\n{}\n]}}\n", lines.join(",\n"))
}

fn stored(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(name)).expect("the file is there: CONTRIBUTING.md, Vectors");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    match file["vectors"].take() {
        Value::Array(vectors) if !vectors.is_empty() => vectors,
        _ => panic!("no vectors in {name}"),
    }
}

/// A vector's bytes mean what it says.
fn check(read: fn(&Value) -> Result<Value, &'static str>, vector: &Value) {
    let name = vector["name"].as_str().expect("a name");
    let stated = vector.get("error").map(|error| error.as_str().expect("a class of errors"));
    match (read(vector), stated) {
        (Err(error), Some(stated)) => {
            assert!(ERRORS.contains(&stated), "{name}: {stated}");
            assert_eq!(error, stated, "{name}");
        }
        (Ok(meaning), None) => {
            for (field, value) in meaning.as_object().expect("fields") {
                assert_eq!(value, &vector[field], "{name}: {field}");
            }
        }
        (Ok(meaning), Some(stated)) => panic!("{name}: {meaning} and no error {stated}"),
        (Err(error), None) => panic!("{name}: {error}"),
    }
}

#[test]
fn every_vector_means_what_it_says() {
    for file in files() {
        let vectors = stored(&file.name);
        let names: BTreeSet<&str> = vectors.iter().filter_map(|v| v["name"].as_str()).collect();
        assert_eq!(names.len(), vectors.len(), "a name of {} is there twice", file.name);
        for vector in &vectors {
            check(file.read, vector);
        }
    }
}

#[test]
fn the_files_are_what_is_written_today() {
    for file in files() {
        let stored = fs::read_to_string(path(&file.name)).unwrap_or_default();
        let written = text(&file);
        for (line, (stored, written)) in stored.lines().zip(written.lines()).enumerate() {
            let name = &file.name;
            assert_eq!(stored, written, "{name}.json, line {}: the format has changed", line + 1);
        }
        assert_eq!(stored.len(), written.len(), "{}.json has other vectors", file.name);
    }
}

#[test]
fn what_every_version_stored_is_loaded() {
    for version in 1..=RECORD_VERSION {
        for vector in stored(&format!("stored-v{version}")) {
            check(records::read, &vector);
        }
    }
}

#[test]
fn every_class_of_errors_has_a_vector_and_the_files_stay_small() {
    let folder = fs::read_dir(path("numbers").parent().expect("a folder")).expect("it is there");
    let mut bytes = 0;
    let mut errors = BTreeSet::new();
    let is_file = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "json");
    for entry in folder.flatten().filter(is_file) {
        bytes += entry.metadata().expect("a file").len();
        let name = entry.file_name().into_string().expect("UTF-8");
        for vector in stored(name.trim_end_matches(".json")) {
            errors.extend(vector["error"].as_str().map(String::from));
        }
    }
    assert!(bytes < BYTES_MAX, "{bytes} bytes of vectors");
    assert_eq!(errors, ERRORS.into_iter().map(String::from).collect());
}

/// Writes the files anew: `CONTRIBUTING.md` says how, after a change of the format that is meant.
#[test]
#[ignore = "writes to the source tree"]
fn rewrite() {
    for file in files() {
        fs::write(path(&file.name), text(&file)).expect("the folder can be written to");
    }
}
