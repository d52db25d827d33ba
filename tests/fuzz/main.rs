//! Fuzzing on the stable toolchain: what the decoders and the merge must bear, whatever arrives.
//!
//! A plain loop mutates real encodings by a fixed seed, so every run is the same; a target fails by a
//! panic, by memory beyond its bound, and in a release build by time. What failed is written to
//! `target/fuzz/<target>`; copied to `tests/fuzz/corpus/<target>/found-<what>` it is tried first in
//! every run.
//!
//! - `cargo test -p omega-sync-tests --test fuzz` is the run of the suite.
//! - `FUZZ_EXECUTIONS=1000000 FUZZ_SEED=7 cargo test --release -p omega-sync-tests --test fuzz NAME`
//!   looks further.
//! - `cargo test -p omega-sync-tests --test fuzz -- --ignored` writes the corpus anew, as another
//!   fuzzer wants it.

mod deltas;
mod device;
mod frames;
mod household;
mod input;
mod living;
mod mutation;
mod patterns;
mod run;
mod seeds;
mod sessions;
mod storage;
mod targets;
mod texts;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

macro_rules! run {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run::run(targets::named(stringify!($name)));
        })*

        #[test]
        fn every_target_runs() {
            let run = [$(stringify!($name)),*];
            assert_eq!(targets::TARGETS.map(|target| target.name), run);
        }
    };
}

run! {
    client_frame server_frame client_deltas server_updates state difference history records room
    titles range_coder merge client_session room_session patterns pattern_tables
}

#[test]
#[ignore = "writes the corpus"]
fn write_corpus() {
    run::write_corpus();
}
