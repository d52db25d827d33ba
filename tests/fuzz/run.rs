//! The loop: corpus first, then mutations of it.

use crate::mutation::mutated;
use crate::targets::{TARGETS, Target};
use crate::{MEMORY, seeds};
use omega_sync_core::id::Random;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one input may take in a release build, in milliseconds. The best of [`TRIES`] counts, because
/// the machine has other things to do.
const EXECUTION_MS_MAX: u64 = 50;
const TRIES: usize = 3;
/// The seed of the suite's run.
const SEED: u64 = 1;

/// One target at a time, so that what it allocates can be told from what others do.
static ALONE: Mutex<()> = Mutex::new(());

fn folder(of: &str, target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of).join(target.name)
}

/// Real encodings as they are made now, and the files, also those of older formats.
fn corpus(target: Target) -> Vec<Vec<u8>> {
    let mut corpus = seeds::of(target.name);
    let files = fs::read_dir(folder("fuzz/corpus", target)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    corpus.extend(files.into_iter().map(|file| fs::read(file).expect("a file of the corpus")));
    assert!(!corpus.is_empty(), "no corpus for {}", target.name);
    corpus
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Runs a target over its corpus and as many mutations as declared.
pub fn run(target: Target) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = corpus(target);
    let seed = number("FUZZ_SEED").unwrap_or(SEED);
    let executions = number("FUZZ_EXECUTIONS").unwrap_or(target.executions);
    let mut random = Random::new([seed.to_be_bytes(), [0; 8]].concat().try_into().expect("16"));
    let start = Instant::now();
    let mut most = 0;
    for (number, data) in corpus.iter().enumerate() {
        most = execute(target, data, &format!("entry {number} of the corpus")).max(most);
    }
    for number in 0..executions {
        let data = mutated(&mut random, &corpus, target.parts);
        most = execute(target, &data, &format!("execution {number} of seed {seed}")).max(most);
    }
    let seconds = start.elapsed().as_secs_f64().max(1e-9);
    let rate = executions as f64 / seconds;
    println!("{}: {executions} in {seconds:.1} s ({rate:.0}/s), {most} bytes", target.name);
}

/// Runs a target once; returns the memory it had at its height.
fn execute(target: Target, data: &[u8], what: &str) -> usize {
    let complaint = match catch_unwind(|| measured(target, data)) {
        Ok((bytes, mut time)) => {
            let late = |time: Duration| {
                !cfg!(debug_assertions) && time > Duration::from_millis(EXECUTION_MS_MAX)
            };
            for _ in 1..TRIES {
                if late(time) {
                    time = measured(target, data).1.min(time);
                }
            }
            if bytes <= target.bytes_max && !late(time) {
                return bytes;
            }
            format!("{bytes} bytes of {}, {time:?}", target.bytes_max)
        }
        Err(_) => "a panic, see above".to_owned(),
    };
    let folder = folder("../target/fuzz", target);
    let file = folder.join("failed");
    fs::create_dir_all(&folder).and_then(|()| fs::write(&file, data)).expect("a folder of ours");
    let bytes = data.len();
    panic!("{}: {what}, {bytes} bytes, in {}: {complaint}", target.name, file.display());
}

fn measured(target: Target, data: &[u8]) -> (usize, Duration) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let start = Instant::now();
    (target.run)(data);
    let time = start.elapsed();
    (MEMORY.peak_usage().saturating_sub(before), time)
}

/// Writes the real encodings to files.
pub fn write_corpus() {
    for target in TARGETS {
        let folder = folder("fuzz/corpus", target);
        fs::create_dir_all(&folder).expect("a folder of ours");
        for (number, data) in seeds::of(target.name).into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), data).expect("a file of ours");
        }
    }
}
