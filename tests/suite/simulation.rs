//! Whole households in a virtual world: fixed seeds, and fresh ones each time.

use omega_sync_tests::faults::{Counts, Fault, Rates};
use omega_sync_tests::run::Setup;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seeds that every run takes.
const FIXED: u64 = 200;
/// Of these, again with requests.
const FIXED_BY_REQUEST: u64 = 50;
/// Fresh seeds on top.
const FRESH: u64 = 20;
/// How long a failure's story is made smaller.
const SHRINK_MAX: Duration = Duration::from_secs(30);

fn live(seed: u64) -> Counts {
    let setup = Setup::of(seed);
    let lived = setup.live(false);
    assert!(lived.failure.is_none(), "{}", setup.report(SHRINK_MAX));
    lived.tally.faults
}

#[test]
fn households_come_to_rest_with_nothing_lost() {
    let mut counts = Counts::default();
    (0..FIXED).for_each(|seed| counts.add(&live(seed)));
    let usual = Fault::ALL.iter().filter(|fault| fault.is_usual());
    let never = usual.filter(|&&fault| counts.of(fault) == 0);
    let never: Vec<&str> = never.map(|fault| fault.name()).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

/// Sessions that are one request, beside sockets, and pages that hide.
#[test]
fn households_by_request_do_too() {
    let mut counts = Counts::default();
    for seed in 0..FIXED_BY_REQUEST {
        let setup = Setup::of(seed).with(Rates::with_requests(seed));
        let lived = setup.live(false);
        assert!(lived.failure.is_none(), "{}", setup.report(SHRINK_MAX));
        counts.add(&lived.tally.faults);
    }
    assert!(counts.of(Fault::Request) > 0 && counts.of(Fault::Hide) > 0);
}

#[test]
fn fresh_households_do_too() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let first = now.as_secs() * 1_000;
    println!("fresh seeds: npm run sim -- --seed {first} --seeds {FRESH}");
    for seed in first..first + FRESH {
        live(seed);
    }
}

/// Here everything happened that has no fault in it, and nothing else.
#[test]
fn a_quiet_living_room_is_quiet() {
    for seed in 0..10 {
        let lived = Setup::of(seed).with(Rates::NONE).live(false);
        assert_eq!(lived.failure, None);
        assert!(lived.actions > 0 && lived.taken > 0, "seed {seed} does something");
        let faults = Fault::ALL.iter().map(|&fault| lived.tally.faults.of(fault)).sum::<u64>();
        assert_eq!(faults, 0);
    }
}

#[test]
fn a_seed_repeats_to_the_byte() {
    for seed in [7, 11, 13] {
        let setup = Setup::of(seed);
        let [first, second] = [false, true].map(|tell| setup.live(tell));
        assert_eq!(first.fingerprint, second.fingerprint, "everything sent and stored");
        assert_eq!(first.actions, second.actions);
        assert!(!second.story.is_empty());
        assert_ne!(Setup::of(seed + 1).live(false).fingerprint, first.fingerprint);
    }
}
