//! One household's life from a seed, what came of it, and the smallest part of it that still fails.

use crate::dice::{Dice, Fingerprint};
use crate::faults::{Fault, Rates};
use crate::world::{Tally, World};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

/// A run, told completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// What decides everything.
    pub seed: u64,
    /// How many TVs.
    pub devices: usize,
    /// How many nodes of the server.
    pub nodes: usize,
    /// What goes wrong.
    pub rates: Rates,
    /// The steps that are taken, by their numbers.
    pub steps: Vec<u64>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Lived {
    /// How much happened.
    pub tally: Tally,
    /// Days that passed for the household.
    pub days: f64,
    /// What viewers did.
    pub actions: usize,
    /// What the server took.
    pub taken: usize,
    /// Of everything that was sent and stored.
    pub fingerprint: Fingerprint,
    /// Why it failed, if so.
    pub failure: Option<String>,
    /// What happened, if it was to be told.
    pub story: Vec<String>,
}

impl Setup {
    /// A seed's own household: 1 to 5 TVs, 1 to 3 nodes, a day or several, its own mixture of faults.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, u64::MAX - 3);
        let devices = [2, 2, 3, 3, 3, 4, 5, 1][dice.place(8)];
        let steps = [400, 1_500, 1_500, 3_000, 3_000, 9_000][dice.place(6)];
        let nodes = [1, 1, 2, 2, 2, 3][dice.place(6)];
        Self { seed, devices, nodes, rates: Rates::of(seed), steps: (0..steps).collect() }
    }

    /// The same with other rates.
    pub fn with(self, rates: Rates) -> Self {
        Self { rates, ..self }
    }

    /// Lives through it. `tell`: keeps the story.
    pub fn live(&self, tell: bool) -> Lived {
        let world = Cell::new(None);
        let failure = quietly(|| {
            let mut born = World::new(self.seed, (self.devices, self.nodes), self.rates, tell);
            let steps = self.steps.iter().copied();
            let lived = panic::catch_unwind(AssertUnwindSafe(|| born.live(steps)));
            world.set(Some(born));
            lived
        });
        let world: World = world.into_inner().expect("it was born");
        let life = world.oracle.lives.last();
        Lived {
            tally: world.tally,
            days: world.days(),
            actions: world.oracle.actions.len(),
            taken: life.map_or(0, crate::oracle::Life::len),
            fingerprint: world.fingerprint,
            failure,
            story: world.story.unwrap_or_default(),
        }
    }

    fn fails(&self) -> bool {
        self.live(false).failure.is_some()
    }

    /// Leaves out of a failing run what it fails without, first kinds of faults, then steps, for
    /// this long at most.
    pub fn shrink(&self, at_most: Duration) -> Self {
        let until = Instant::now() + at_most;
        let mut least = self.clone();
        for &fault in Fault::ALL {
            let smaller = least.clone().with(least.rates.without(fault));
            if smaller.rates != least.rates && Instant::now() < until && smaller.fails() {
                least = smaller;
            }
        }
        // Everything after the failing step first, then smaller and smaller pieces.
        let mut piece = least.steps.len() / 2;
        while piece > 0 && Instant::now() < until {
            let before = least.steps.len();
            let mut end = before;
            while end > 0 && Instant::now() < until {
                let start = end.saturating_sub(piece);
                let left_out: BTreeSet<u64> = least.steps[start..end].iter().copied().collect();
                let mut smaller = least.clone();
                smaller.steps.retain(|step| !left_out.contains(step));
                if smaller.fails() {
                    least = smaller;
                }
                end = start;
            }
            if piece > 1 {
                piece /= 2;
            } else if least.steps.len() == before {
                break;
            }
        }
        least
    }

    /// A failure for its reader: the seed, why, and the least that must happen for it.
    pub fn report(&self, at_most: Duration) -> String {
        let least = self.shrink(at_most);
        let lived = least.live(true);
        let failure = lived.failure.unwrap_or_else(|| "not any more".into());
        let faults: Vec<&str> = Fault::ALL
            .iter()
            .filter(|&&fault| lived.tally.faults.of(fault) > 0)
            .map(|fault| fault.name())
            .collect();
        let story = lived.story.join("\n  ");
        format!(
            "seed {} fails: {failure}\n  {} of {} steps are left, {} TVs, {} nodes, faults: {}\n  {story}",
            self.seed,
            least.steps.len(),
            self.steps.len(),
            self.devices,
            self.nodes,
            faults.join(", "),
        )
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static WORDS: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs something that may panic; returns what the panic said instead of printing it.
fn quietly(run: impl FnOnce() -> std::thread::Result<()>) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                WORDS.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = run();
    QUIET.set(false);
    result.err().map(|_| WORDS.take().unwrap_or_default())
}
