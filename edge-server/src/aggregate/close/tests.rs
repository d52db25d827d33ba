//! Several nodes on one store end the same epoch at the same moment.

use super::super::contribution::tests::pattern;
use super::super::dice::Dice;
use super::super::settings::{DAY_MS, epoch_ends};
use super::super::space::{point, tests::titles};
use super::*;
use crate::store::Store;
use crate::store::aggregate::{Bringing, Brought, FeedTitle};
use crate::store::sqlite::SqliteStore;
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::sync::Barrier;
use tokio::runtime::{Builder, Runtime};

const NODES: usize = 2;
const HOUSEHOLDS: u64 = 80;

/// Randomness that waits for the other nodes when it is first asked for: by then each has counted.
struct Meeting<'a> {
    dice: Dice,
    counted: Option<&'a Barrier>,
}

impl Entropy for Meeting<'_> {
    fn next(&mut self) -> Result<u64, NoEntropy> {
        if let Some(counted) = self.counted.take() {
            counted.wait();
            // The test does something here.
            counted.wait();
        }
        Ok(self.dice.roll())
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn bring(store: &SqliteStore, runtime: &Runtime, epoch: u64, name: &str, at: &Title) {
    let patterns = vec![pattern(1, at.genre.as_str(), &point(&at.embedding), 40)];
    let device = DeviceId::new("tv").unwrap();
    let brought = Brought { epoch, device, region: None, patterns };
    let household = HouseholdId::new(name).unwrap();
    let bringing = runtime.block_on(store.bring(&household, brought)).unwrap();
    assert_eq!(bringing, Bringing::Kept);
}

fn counted_in(store: &SqliteStore, runtime: &Runtime, name: &str) -> Vec<u64> {
    let household = HouseholdId::new(name).unwrap();
    let waiting = runtime.block_on(store.waiting(&household)).unwrap();
    assert_eq!(waiting.patterns, [], "{name}");
    waiting.counted_in
}

/// What each of the nodes saw while it tried to end what is over, until nothing was.
fn end_together(
    store: &SqliteStore,
    settings: &Settings,
    now: UnixMillis,
    meanwhile: impl FnOnce(),
) -> Vec<Vec<Ended>> {
    let counted = Barrier::new(NODES + 1);
    std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..NODES)
            .map(|node| {
                let counted = &counted;
                scope.spawn(move || {
                    let runtime = runtime();
                    let closing = Closing { store, settings, runtime: runtime.handle() };
                    let dice = Dice::new(node as u64);
                    let mut entropy = Meeting { dice, counted: Some(counted) };
                    let mut ends = Vec::new();
                    while let Some(end) = closing.epoch(now, &mut entropy).unwrap() {
                        ends.push(end);
                    }
                    ends
                })
            })
            .collect();
        counted.wait();
        meanwhile();
        counted.wait();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    })
}

fn done(ends: &[Vec<Ended>]) -> usize {
    ends.iter().flatten().filter(|end| end.close == Close::Done).count()
}

#[test]
fn of_two_nodes_that_end_an_epoch_at_the_same_moment_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, settings) = (runtime(), Settings::default());
    let store = SqliteStore::open(folder.path()).unwrap();
    // The first two of a year.
    let epoch = settings.epoch(UnixMillis(57 * YEAR_MINUTES * 60_000));
    let next = settings.epoch_after(epoch);
    runtime.block_on(store.shared(epoch - 1, 0)).unwrap();
    let titles = titles(2, 12, 1);
    let fed = titles.iter().enumerate().map(|(at, title)| FeedTitle {
        content: ContentId::new(&format!("t{at}")).unwrap(),
        genre: title.genre.clone(),
        embedding: title.embedding.clone(),
    });
    runtime.block_on(store.feed(fed.collect())).unwrap();
    let over = |epoch| UnixMillis(epoch_ends(epoch));
    let spent =
        |epoch| runtime.block_on(store.spent(Account::Patterns, year_of_epoch(epoch))).unwrap();
    for household in 0..HOUSEHOLDS {
        bring(&store, &runtime, epoch, &format!("h{household}"), &titles[0]);
    }

    // Both have counted the same: one ends it, the other finds it done.
    let ends = end_together(&store, &settings, over(epoch), || ());
    assert_eq!(done(&ends), 1, "{ends:?}");
    assert!(ends.iter().all(|node| node.len() == 1), "{ends:?}");
    assert_eq!(ends.iter().flatten().filter(|end| end.close == Close::Stale).count(), 1);
    assert_eq!(spent(epoch), settings.epoch_rho(), "debited once");
    let first = runtime.block_on(store.published(Wanted::AllPatterns, 0)).unwrap();
    let released = ends.iter().flatten().find(|end| end.close == Close::Done).unwrap().released;
    assert_eq!(first.len(), released, "what the one made that ended it");
    assert!((0..HOUSEHOLDS).all(|h| counted_in(&store, &runtime, &format!("h{h}")) == [epoch]));

    // Somebody comes after both have counted: neither ends it with what it has, and nobody is lost.
    bring(&store, &runtime, next, "early", &titles[0]);
    let late = || bring(&store, &self::runtime(), next, "late", &titles[1]);
    let ends = end_together(&store, &settings, over(next), late);
    assert_eq!(done(&ends), 1, "{ends:?}");
    assert!(ends.iter().all(|node| node[0].close == Close::Stale), "{ends:?}");
    assert_eq!(spent(next), settings.epoch_rho().times(2), "debited once");
    for name in ["early", "late"] {
        assert_eq!(counted_in(&store, &runtime, name), [next], "{name}");
    }
    runtime.block_on(store.close()).unwrap();
}

/// What was counted exactly must not come back in a list or a pattern that is called private.
#[test]
fn what_was_released_without_noise_is_forgotten_when_there_is_noise() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, private) = (runtime(), Settings::default());
    let open = private.clone().without_noise();
    let store = SqliteStore::open(folder.path()).unwrap();
    let start = 20_805;
    let epoch = open.epoch(UnixMillis(start * DAY_MS));
    runtime.block_on(store.shared(epoch - 1, start - 1)).unwrap();
    let content = ContentId::new("t").unwrap();
    let title = titles(1, 1, 1).remove(0);
    let rho = Rho::ZERO;
    let charge = Charge { account: Account::Patterns, year: 56, rho, limit: rho };
    let end = EpochEnd {
        epoch,
        follows: epoch - 1,
        revision: 0,
        forget_before: 0,
        charge,
        private: false,
        released: vec![Released {
            place: None,
            pattern: pattern(1, title.genre.as_str(), &point(&title.embedding), 60),
        }],
        clusters: Vec::new(),
    };
    assert_eq!(runtime.block_on(store.end_epoch(end)).unwrap(), Close::Done);
    let regions = ["DE", "FR"].map(|region| Region::new(region).unwrap());
    let plays = regions.iter().map(|region| {
        (start, HouseholdId::new(region.as_str()).unwrap(), region.clone(), content.clone())
    });
    runtime.block_on(store.note_playing(plays.collect())).unwrap();
    let closing = |settings| Closing { store: &store, settings, runtime: runtime.handle() };
    let mut dice = Dice::new(1);
    let day_after = |days| UnixMillis((start + days) * DAY_MS);
    assert_eq!(closing(&open).day(day_after(1), &mut dice).unwrap().unwrap().released, 2);
    let released = |settings| closing(settings).released().unwrap().len();
    assert_eq!((released(&open), released(&private)), (1, 0));

    assert_eq!(closing(&private).day(day_after(2), &mut dice).unwrap().unwrap().released, 0);
    for region in &regions {
        assert_eq!(runtime.block_on(store.trends(region)).unwrap(), None, "{region:?}");
    }
    assert!(runtime.block_on(store.courses(false)).unwrap().is_empty());
    runtime.block_on(store.close()).unwrap();
}
