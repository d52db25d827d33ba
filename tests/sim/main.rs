//! `npm run sim -- [--seeds N] [--seed S] [--steps K]`: whole households in a virtual world.
//!
//! Without `--seed` it runs the seeds 0 to N-1. A failing seed is printed with the end of its story;
//! `--seed S` runs that one again, to the byte.

use omega_sync_tests::checks::live_through;
use omega_sync_tests::link::Faults;
use omega_sync_tests::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// Lines of a failed run's story that are printed.
const STORY_LINES: usize = 60;

fn main() -> ExitCode {
    let mut seeds = 200;
    let mut only = None;
    let mut steps = 1_500;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        match (word.as_str(), value) {
            ("--seeds", Some(value)) => seeds = value,
            ("--seed", Some(value)) => only = Some(value),
            ("--steps", Some(value)) => steps = value as usize,
            _ => {
                eprintln!("usage: sim [--seeds N] [--seed S] [--steps K], each with a number");
                return ExitCode::from(2);
            }
        }
    }
    let range = only.map_or(0..seeds, |seed| seed..seed + 1);
    let count = range.end - range.start;
    let started = Instant::now();
    let mut total = Totals::default();
    let failed = range.filter(|&seed| !run(seed, steps, &mut total)).count();
    let seconds = started.elapsed().as_secs_f64();
    println!("{total:?}");
    println!(
        "{} passed, {failed} failed, {steps} steps each, {seconds:.1} s",
        count - failed as u64
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What happened in all runs together: a simulation that does nothing proves nothing.
#[derive(Debug, Default)]
struct Totals {
    actions: usize,
    taken: usize,
    refused: usize,
    connections: usize,
    days: f64,
}

fn run(seed: u64, steps: usize, total: &mut Totals) -> bool {
    let mut world = World::new(seed, 2 + (seed % 3) as usize, Faults::ALL);
    let ok = catch_unwind(AssertUnwindSafe(|| live_through(&mut world, steps))).is_ok();
    total.actions += world.actions.len();
    total.taken += world.server.store.history.iter().map(|d| d.operations.len()).sum::<usize>();
    total.refused += world.refused().len();
    total.connections += world.links.len();
    total.days += world.days();
    if !ok {
        println!("seed {seed} failed; the end of its story:");
        for line in world.story.iter().rev().take(STORY_LINES).rev() {
            println!("  {line}");
        }
    }
    ok
}
