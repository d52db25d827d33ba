//! `npm run sim -- [--seeds N] [--seed S] [--restore] [--requests] [--first]`: whole households in a
//! virtual world. `--restore` puts the server's database back often, in every household; with
//! `--requests` sessions are often single requests. `--first` ends with the first failure and tells no
//! story.
//!
//! Without `--seed` it runs the seeds 0 to N-1, with it N seeds from S on (1 when N is not given).
//! The last line is a summary in JSON. A failing seed is printed with the least story that still
//! fails; `--seed S` runs that one again, to the byte.

use omega_sync_tests::dice::Fingerprint;
use omega_sync_tests::faults::{Counts, Fault, Rates};
use omega_sync_tests::run::{Lived, Setup};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Seeds without `--seeds`.
const SEEDS: u64 = 1_000;
/// A run of so many seeds in which a fault never happens tests less than it says.
const BIG: u64 = 500;
/// Failures that are told; the others are counted.
const TOLD_MAX: usize = 3;
/// How long a failure's story is made smaller.
const SHRINK_MAX: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let (mut seeds, mut first) = (None, None);
    let (mut restore, mut requests, mut only_first) = (false, false, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if ["--restore", "--requests", "--first"].contains(&word.as_str()) {
            restore |= word == "--restore";
            requests |= word == "--requests";
            only_first |= word == "--first";
            continue;
        }
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        match (word.as_str(), value) {
            ("--seeds", Some(value)) => seeds = Some(value),
            ("--seed", Some(value)) => first = Some(value),
            _ => {
                eprintln!(
                    "usage: sim [--seeds N] [--seed S] [--restore] [--requests] [--first], N and S \
                     numbers"
                );
                return ExitCode::from(2);
            }
        }
    }
    let count = seeds.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let mut total = Totals::default();
    let started = Instant::now();
    let mut failed = Vec::new();
    for seed in first..first.saturating_add(count) {
        let mut setup = Setup::of(seed);
        if restore {
            setup = setup.with(Rates::with_restores(seed));
        }
        if requests {
            setup = setup.with(Rates::with_requests(seed));
        }
        let lived = setup.live(false);
        total.add(&lived);
        if let Some(failure) = lived.failure {
            let line: Vec<&str> = failure.lines().skip(1).collect();
            println!("seed {seed}: {}", line.join(" "));
            if only_first {
                return ExitCode::FAILURE;
            }
            failed.push(setup);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    for setup in failed.iter().take(TOLD_MAX) {
        println!("{}", setup.report(SHRINK_MAX));
    }
    let never: Vec<&str> = Fault::ALL
        .iter()
        .filter(|fault| fault.is_usual() && (!restore || fault.goes_with_restores()))
        .filter(|&&fault| count >= BIG && total.faults.of(fault) == 0)
        .map(|fault| fault.name())
        .collect();
    if !never.is_empty() {
        println!("these faults never happened: {}", never.join(", "));
    }
    let failures: Vec<u64> = failed.iter().map(|setup| setup.seed).collect();
    println!("{}", total.json(count, &failures, seconds));
    if failed.is_empty() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What happened in all runs together: a simulation that does nothing proves nothing.
#[derive(Debug, Default)]
struct Totals {
    actions: usize,
    taken: usize,
    days: f64,
    calls: u64,
    frames: u64,
    screens: u64,
    connections: u64,
    refused: u64,
    followed: u64,
    jumps: u64,
    moved: u64,
    faults: Counts,
    fingerprint: Fingerprint,
}

impl Totals {
    fn add(&mut self, lived: &Lived) {
        self.actions += lived.actions;
        self.taken += lived.taken;
        self.days += lived.days;
        self.calls += lived.tally.calls;
        self.frames += lived.tally.frames;
        self.screens += lived.tally.screens;
        self.connections += lived.tally.connections;
        self.refused += lived.tally.refused;
        self.followed += lived.tally.followed;
        self.jumps += lived.tally.jumps;
        self.moved += lived.tally.moved;
        self.faults.add(&lived.tally.faults);
        self.fingerprint.note(lived.fingerprint.0, &[]);
    }

    fn json(&self, seeds: u64, failed: &[u64], seconds: f64) -> String {
        let faults: Vec<String> = Fault::ALL
            .iter()
            .map(|&fault| format!("\"{}\":{}", fault.name(), self.faults.of(fault)))
            .collect();
        format!(
            "{{\"seeds\":{seeds},\"failed\":{failed:?},\"seconds\":{seconds:.2},\
             \"household_days\":{:.1},\"household_days_per_s\":{:.0},\"actions\":{},\
             \"actions_per_day\":{:.0},\"operations_taken\":{},\"calls\":{},\"frames\":{},\
             \"screens_compared\":{},\"connections\":{},\"commits_refused\":{},\
             \"nodes_followed\":{},\"of_them_by_the_whole_state\":{},\
             \"sessions_ended_by_another_node\":{},\"fingerprint\":\"{:016x}\",\
             \"faults\":{{{}}}}}",
            self.days,
            self.days / seconds,
            self.actions,
            self.actions as f64 / self.days,
            self.taken,
            self.calls,
            self.frames,
            self.screens,
            self.connections,
            self.refused,
            self.followed,
            self.jumps,
            self.moved,
            self.fingerprint.0,
            faults.join(",")
        )
    }
}
