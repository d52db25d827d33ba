//! The contract of `AggregateStore`, on SQLite.

use super::*;
use crate::aggregate::release::{Place, Released};
use crate::aggregate::trends::Trend;
use crate::store::Store;
use crate::store::aggregate::{Charge, Item, PAGE_ROWS_MAX, RegionDay};
use omega_sync_core::id::EpochId;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern};
use omega_sync_core::session::server::Commit;
use tempfile::TempDir;
use tokio::runtime::Runtime;

struct Bench {
    runtime: Runtime,
    store: SqliteStore,
    folder: TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = SqliteStore::open(&folder.path().join("store")).unwrap();
    let bench = Bench { runtime, store, folder };
    bench.run(bench.store.shared(9, 99)).unwrap();
    bench
}

impl Bench {
    fn run<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        self.runtime.block_on(answer)
    }

    fn bring(&self, name: &str, epoch: u64, patterns: Vec<Pattern>) -> bool {
        let region = Some(Region::new("DE").unwrap());
        let brought = Brought { epoch, device: device("tv"), region, patterns };
        self.run(self.store.bring(&household(name), brought)).unwrap() == Bringing::Kept
    }

    fn waiting(&self, name: &str) -> Vec<(u128, u32)> {
        let waiting = self.run(self.store.waiting(&household(name))).unwrap();
        waiting.patterns.iter().map(|(_, one)| (one.id.0, one.sample_count())).collect()
    }

    fn end_epoch(&self, epoch: u64, revision: u64, spend: u64) -> Close {
        self.run(self.store.end_epoch(epoch_end(epoch, revision, spend))).unwrap()
    }

    fn page(&self, epoch: u64) -> EpochPage {
        self.run(self.store.epoch_page(epoch, None)).unwrap()
    }
}

fn household(name: &str) -> HouseholdId {
    HouseholdId::new(name).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn embedding(at: usize) -> Embedding {
    let components: Vec<f32> = (0..DIMENSIONS).map(|other| f32::from(other == at)).collect();
    Embedding::from_f32(&components).unwrap()
}

fn pattern(id: u128, samples: u32) -> Pattern {
    let genre = Genre::new("drama").unwrap();
    Pattern::new(PatternId(id), genre, embedding(id as usize % DIMENSIONS), samples, 1).unwrap()
}

fn charge(account: Account, trillionths: u64) -> Charge {
    let rho = Rho::from_trillionths;
    Charge { account, year: 3, rho: rho(trillionths), limit: rho(100) }
}

fn epoch_end(epoch: u64, revision: u64, spend: u64) -> EpochEnd {
    let released = vec![Released { place: None, pattern: pattern(epoch.into(), 60) }];
    let (charge, clusters) = (charge(Account::Patterns, spend), Vec::new());
    let private = true;
    let follows = epoch - 1;
    EpochEnd { epoch, follows, revision, forget_before: 0, charge, private, released, clusters }
}

fn title(name: &str, at: usize) -> FeedTitle {
    let content = ContentId::new(name).unwrap();
    FeedTitle { content, genre: Genre::new("war").unwrap(), embedding: embedding(at) }
}

#[test]
fn a_pattern_has_one_row_however_often_it_is_sent() {
    let bench = bench();
    assert!(bench.bring("home", 10, vec![pattern(1, 20), pattern(2, 30)]));
    assert!(bench.bring("home", 10, vec![pattern(1, 25)]));
    assert!(bench.bring("home", 10, vec![pattern(1, 25)]));
    assert_eq!(bench.waiting("home"), [(1, 25), (2, 30)]);
    assert_eq!(bench.waiting("other"), []);
    let page = bench.page(10);
    assert_eq!(page.households.len(), 1);
    assert_eq!(page.households[0].region, Some(Region::new("DE").unwrap()));
    assert_eq!(page.households[0].patterns, [pattern(1, 25), pattern(2, 30)]);
}

#[test]
fn two_devices_may_give_their_patterns_the_same_names() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(0, 20), pattern(1, 30)]);
    let phone = Brought {
        epoch: 10,
        device: device("phone"),
        region: None,
        patterns: vec![pattern(0, 40)],
    };
    bench.run(bench.store.bring(&household("home"), phone)).unwrap();
    let waiting = bench.run(bench.store.waiting(&household("home"))).unwrap().patterns;
    let of = |name: &str| -> Vec<u32> {
        let own = waiting.iter().filter(|(owner, _)| *owner == device(name));
        own.map(|(_, pattern)| pattern.sample_count()).collect()
    };
    assert_eq!((of("phone"), of("tv")), (vec![40], vec![20, 30]));
    assert_eq!(bench.page(10).households[0].patterns.len(), 3);
    bench.run(bench.store.set_device_opted_out(&household("home"), &device("tv"), true)).unwrap();
    assert_eq!(bench.waiting("home"), [(0, 40)]);
}

#[test]
fn of_too_many_patterns_those_with_the_most_samples_stay() {
    let bench = bench();
    let most = WAITING_MAX as u32;
    bench.bring("home", 10, (0..most).map(|at| pattern(at.into(), 100 + at)).collect());
    bench.bring("home", 10, vec![pattern(900, 99), pattern(901, 500)]);
    let waiting = bench.waiting("home");
    assert_eq!(waiting.len(), WAITING_MAX);
    assert!(waiting.contains(&(901, 500)), "{waiting:?}");
    assert!(!waiting.contains(&(900, 99)) && !waiting.contains(&(0, 100)), "{waiting:?}");
}

#[test]
fn a_device_takes_back_its_own_and_nothing_else() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(1, 20), pattern(2, 20)]);
    let take_back = |name, device_name| {
        let gone = vec![PatternId(1)];
        bench.run(bench.store.take_back(&household(name), &device(device_name), gone)).unwrap();
    };
    take_back("home", "phone");
    take_back("other", "tv");
    assert_eq!(bench.waiting("home").len(), 2);
    take_back("home", "tv");
    assert_eq!(bench.waiting("home"), [(2, 20)]);
    bench
        .run(bench.store.set_device_opted_out(&household("home"), &device("phone"), true))
        .unwrap();
    assert_eq!(bench.waiting("home"), [(2, 20)]);
    bench.run(bench.store.set_device_opted_out(&household("home"), &device("tv"), true)).unwrap();
    assert_eq!(bench.waiting("home"), []);
}

#[test]
fn who_takes_no_part_leaves_nothing_and_brings_nothing() {
    let bench = bench();
    let home = household("home");
    bench.bring("home", 10, vec![pattern(1, 20)]);
    let content = ContentId::new("a").unwrap();
    let play = vec![(100, home.clone(), Region::new("DE").unwrap(), content)];
    bench.run(bench.store.note_playing(play.clone())).unwrap();
    bench.run(bench.store.set_opted_out(&home, true)).unwrap();
    assert!(!bench.bring("home", 10, vec![pattern(1, 20)]));
    bench.run(bench.store.note_playing(play.clone())).unwrap();
    let kept = bench.run(bench.store.kept(&home)).unwrap();
    assert!(kept.waiting.opted_out && kept.waiting.patterns.is_empty(), "{kept:?}");
    assert!(kept.playing.is_empty(), "{kept:?}");
    bench.run(bench.store.set_opted_out(&home, false)).unwrap();
    assert!(bench.bring("home", 10, vec![pattern(1, 20)]));
    bench.run(bench.store.note_playing(play)).unwrap();
    assert_eq!(bench.run(bench.store.kept(&home)).unwrap().playing.len(), 1);
}

#[test]
fn an_epoch_ends_once_from_the_state_that_was_counted() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(1, 20)]);
    let revision = bench.page(10).revision;
    assert_eq!(bench.end_epoch(11, 0, 10), Close::Stale, "it is not its turn");
    bench.bring("other", 10, vec![pattern(2, 20)]);
    assert_eq!(bench.end_epoch(10, revision, 10), Close::Stale, "somebody came in between");
    let revision = bench.page(10).revision;
    bench.run(bench.store.erase(&household("other"))).unwrap();
    assert_eq!(bench.end_epoch(10, revision, 10), Close::Stale, "somebody was erased in between");
    let revision = bench.page(10).revision;
    assert_eq!(bench.end_epoch(10, revision, 10), Close::Done);
    assert_eq!(bench.end_epoch(10, revision, 10), Close::Stale, "another node did it");
    let spent = bench.run(bench.store.spent(Account::Patterns, 3)).unwrap();
    assert_eq!(spent, Rho::from_trillionths(10), "once");
    let patterns = bench.run(bench.store.published(Wanted::AllPatterns, 0)).unwrap();
    assert_eq!(patterns.len(), 1);
}

#[test]
fn of_a_closed_epoch_only_who_was_counted_stays() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(1, 20)]);
    assert_eq!(bench.end_epoch(10, bench.page(10).revision, 10), Close::Done);
    let waiting = bench.run(bench.store.waiting(&household("home"))).unwrap();
    assert_eq!((waiting.patterns, waiting.counted_in), (Vec::new(), vec![10]));
    // A clock that went back brings nobody into an epoch that is closed.
    bench.bring("home", 9, vec![pattern(1, 21)]);
    assert!(bench.page(10).households.is_empty());
    assert_eq!(bench.page(11).households.len(), 1);
    // What the file has of the embedding is gone with its row.
    assert_eq!(bench.end_epoch(11, bench.page(11).revision, 10), Close::Done);
    let folder = bench.folder.path().join("store");
    bench.run(bench.store.close()).unwrap();
    let database = rusqlite::Connection::open(folder.join("omega.sqlite3")).unwrap();
    let count = "SELECT count(*) FROM waiting";
    let left: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
    let columns = "SELECT count(*) FROM pragma_table_info('contributed')";
    let columns: i64 = database.query_row(columns, [], |row| row.get(0)).unwrap();
    assert_eq!((left, columns), (0, 2), "household and epoch, nothing else");
}

#[test]
fn without_budget_what_waits_is_erased_unreleased() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(1, 20)]);
    assert_eq!(bench.end_epoch(10, bench.page(10).revision, 60), Close::Done);
    bench.bring("home", 11, vec![pattern(1, 20)]);
    assert_eq!(bench.end_epoch(11, bench.page(11).revision, 41), Close::Spent);
    assert_eq!(bench.waiting("home"), []);
    let patterns = bench.run(bench.store.published(Wanted::AllPatterns, 0)).unwrap();
    assert_eq!(patterns.len(), 1, "that of the first epoch");
    assert_eq!(bench.end_epoch(12, 0, 40), Close::Done, "all of the rest");
}

#[test]
fn pages_of_an_epoch_have_whole_households() {
    let bench = bench();
    let count = PAGE_ROWS_MAX / 40 + 3;
    for at in 0..count {
        bench.bring(&format!("h{at:04}"), 10, (0..40).map(|id| pattern(id, 20)).collect());
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = bench.run(bench.store.epoch_page(10, after)).unwrap();
        assert!(page.households.iter().all(|one| one.patterns.len() == 40));
        seen.extend(page.households.iter().map(|one| one.household.clone()));
        after = seen.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen.len(), count);
    assert!(seen.is_sorted());
}

#[test]
fn a_version_is_given_once_and_the_nearest_place_wins() {
    let bench = bench();
    let version = bench.run(bench.store.feed(vec![title("a", 1), title("b", 2)])).unwrap();
    assert_eq!(version, 2);
    assert_eq!(bench.run(bench.store.feed(vec![title("b", 2)])).unwrap(), 2, "as it was");
    assert_eq!(bench.run(bench.store.feed(vec![title("a", 3)])).unwrap(), 3);
    let titles = bench.run(bench.store.published(Wanted::Titles, 0)).unwrap();
    let versions: Vec<u64> = titles.iter().map(|one| one.version).collect();
    assert_eq!(versions, [2, 3]);
    assert_eq!(titles[1].item, Item::Title(title("a", 3)));
    let place = |text: &str| Some(Region::new(text).unwrap());
    let released = |place: &Place, id, samples| Released {
        place: place.clone(),
        pattern: pattern(id, samples),
    };
    let (de, by) = (place("DE"), place("DE-BY"));
    let all = [(&None, 1, 60), (&None, 2, 61), (&de, 1, 62), (&by, 1, 63)];
    let released = all.map(|(place, id, samples)| released(place, id, samples)).to_vec();
    let end = EpochEnd { released, ..epoch_end(10, 0, 1) };
    assert_eq!(bench.run(bench.store.end_epoch(end)).unwrap(), Close::Done);
    let samples = |places: Vec<Place>, after| -> Vec<u32> {
        let found = bench.run(bench.store.published(Wanted::Patterns(places), after)).unwrap();
        let samples = found.into_iter().map(|one| match one.item {
            Item::Pattern(pattern) => pattern.sample_count(),
            Item::Title(title) => panic!("{title:?}"),
        });
        samples.collect()
    };
    assert_eq!(samples(vec![by, de.clone(), None], 0), [61, 63]);
    assert_eq!(samples(vec![de.clone(), None], 0), [61, 62]);
    assert_eq!(samples(vec![None], 0), [60, 61]);
    assert_eq!(samples(vec![de, None], 5), [62], "after a version");
    assert_eq!(bench.run(bench.store.shared(11, 100)).unwrap().version, 7);
}

#[test]
fn a_day_ends_once_and_keeps_no_household() {
    let bench = bench();
    let region = Region::new("DE").unwrap();
    let content = |at: usize| ContentId::new(&format!("t{at:02}")).unwrap();
    let plays: Vec<FirstPlay> = (0..TITLES_OF_DAY_MAX + 2)
        .map(|at| (100, household("home"), region.clone(), content(at)))
        .chain([(100, household("other"), region.clone(), content(0))])
        .collect();
    for _ in 0..2 {
        bench.run(bench.store.note_playing(plays.clone())).unwrap();
    }
    let counts = bench.run(bench.store.day_counts(100)).unwrap();
    assert_eq!(counts.len(), TITLES_OF_DAY_MAX, "of a household and day");
    assert_eq!(counts[&(region.clone(), content(0))], 2, "once for each household");
    let course = Course { score: 2.0, fast: 1.0, slow: 0.5, variance: 0.1 };
    let list =
        vec![Trend { content: content(0), genre: Genre::new("war").unwrap(), strength: 4.5 }];
    let courses = BTreeMap::from([(content(0), course)]);
    let regions = vec![RegionDay { region: region.clone(), courses, list: list.clone() }];
    let charge = charge(Account::Trends, 99);
    let end = DayEnd { day: 100, counts, charge, private: false, regions };
    bench.run(bench.store.set_opted_out(&household("other"), true)).unwrap();
    assert_eq!(bench.run(bench.store.end_day(end.clone())).unwrap(), Close::Stale, "one less");
    let counts = bench.run(bench.store.day_counts(100)).unwrap();
    let end = DayEnd { counts, ..end };
    assert_eq!(bench.run(bench.store.end_day(end.clone())).unwrap(), Close::Done);
    assert_eq!(bench.run(bench.store.end_day(end.clone())).unwrap(), Close::Stale);
    assert!(bench.run(bench.store.day_counts(100)).unwrap().is_empty());
    let trends = bench.run(bench.store.trends(&region)).unwrap().unwrap();
    assert_eq!(trends, TrendList { day: 100, private: false, list });
    assert_eq!(bench.run(bench.store.courses(false)).unwrap()[&region][&content(0)], course);
    assert!(bench.run(bench.store.shared(10, 101)).unwrap().not_private);
    let end = DayEnd { day: 101, counts: BTreeMap::new(), ..end };
    assert_eq!(bench.run(bench.store.end_day(end)).unwrap(), Close::Spent);
    assert_eq!(bench.run(bench.store.trends(&region)).unwrap().unwrap().day, 100);
}

/// Where the number of releases in a year has changed, something may wait for an end that never comes.
#[test]
fn an_epoch_counts_what_waits_for_an_earlier_one_and_nothing_twice() {
    let bench = bench();
    bench.bring("home", 11, vec![pattern(1, 20), pattern(2, 20)]);
    bench.bring("home", 13, vec![pattern(1, 30)]);
    bench.bring("other", 14, vec![pattern(3, 20)]);
    let page = bench.page(13);
    let [home] = &page.households[..] else { panic!("{page:?}") };
    let samples: Vec<u32> = home.patterns.iter().map(Pattern::sample_count).collect();
    assert_eq!(samples, [30, 20], "the newer version, and what has no newer one");
    let end = |revision| EpochEnd { follows: 9, ..epoch_end(13, revision, 10) };
    bench.bring("home", 11, vec![pattern(4, 20)]);
    assert_eq!(bench.run(bench.store.end_epoch(end(page.revision))).unwrap(), Close::Stale);
    let revision = bench.page(13).revision;
    assert_eq!(bench.run(bench.store.end_epoch(end(revision))).unwrap(), Close::Done);
    assert!(bench.page(13).households.is_empty());
    assert_eq!(bench.page(14).households.len(), 1, "what comes later waits");
}

/// All of it can be seen, and the newest version is what the next one builds on.
#[test]
fn what_waits_for_several_ends_is_shown_once_each() {
    let bench = bench();
    bench.bring("home", 11, vec![pattern(1, 20), pattern(2, 20)]);
    bench.bring("home", 13, vec![pattern(1, 30)]);
    assert_eq!(bench.waiting("home"), [(1, 30), (2, 20)]);
}

#[test]
fn what_waits_for_a_time_far_ahead_is_forgotten_at_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = Bench { runtime, store: SqliteStore::open(folder.path()).unwrap(), folder };
    let last = 9 + YEAR_MINUTES;
    for (name, epoch) in [("over", 9), ("open", 10), ("last", last), ("ahead", last + 1)] {
        bench.bring(name, epoch, vec![pattern(1, 20)]);
    }
    let region = Region::new("DE").unwrap();
    let plays = [("over", 99), ("open", 100), ("ahead", 101)]
        .map(|(name, day)| (day, household(name), region.clone(), ContentId::new("t").unwrap()));
    bench.run(bench.store.note_playing(plays.to_vec())).unwrap();
    bench.run(bench.store.shared(9, 99)).unwrap();
    let kept = |name| {
        let kept = bench.run(bench.store.kept(&household(name))).unwrap();
        (kept.waiting.patterns.len(), kept.playing.len())
    };
    assert_eq!(["over", "open", "last", "ahead"].map(kept), [(0, 0), (1, 1), (1, 0), (0, 0)]);
}

#[test]
fn an_end_says_which_clusters_there_are() {
    let bench = bench();
    let anchor = |id: u128, at| {
        let genre = Genre::new("drama").unwrap();
        Anchor { id: PatternId(id), genre, centre: embedding(at) }
    };
    let end = |epoch, clusters: Vec<Anchor>| {
        let end = EpochEnd { clusters: clusters.clone(), ..epoch_end(epoch, 0, 1) };
        assert_eq!(bench.run(bench.store.end_epoch(end)).unwrap(), Close::Done);
        assert_eq!(bench.run(bench.store.clusters()).unwrap(), clusters);
    };
    end(10, vec![anchor(1, 1), anchor(2, 2)]);
    end(11, vec![anchor(2, 3), anchor(4, 4)]);
}

#[test]
fn what_was_asked_before_an_erasure_is_erased() {
    let bench = bench();
    let home = household("home");
    let play = (100, home.clone(), Region::new("DE").unwrap(), ContentId::new("t").unwrap());
    // The writer is held up until all of them wait.
    let (go, wait) = std::sync::mpsc::channel();
    let held = bench.store.write(move |_| wait.recv().map_err(|_| StoreError::Closed));
    let (noted, erased) = (bench.store.note_playing(vec![play]), bench.store.erase(&home));
    let go = async { go.send(()).unwrap() };
    let (_, noted, erased, ()) =
        bench.runtime.block_on(async { tokio::join!(biased; held, noted, erased, go) });
    assert_eq!((noted, erased), (Ok(()), Ok(true)));
    assert_eq!(bench.run(bench.store.kept(&home)).unwrap().playing, []);
}

#[test]
fn nothing_of_an_erased_household_comes_back_until_it_begins_anew() {
    let bench = bench();
    let (home, region) = (household("home"), Region::new("DE").unwrap());
    let begin = |epoch| {
        let (entries, replicas) = (Vec::new(), Vec::new());
        let epoch = EpochId(epoch);
        let commit = Commit {
            epoch,
            follows: 0,
            revision: 1,
            version: 0,
            entries,
            replicas,
            snapshot: None,
        };
        bench.run(bench.store.commit(&home, commit)).unwrap();
    };
    let late = || {
        let play = (100, home.clone(), region.clone(), ContentId::new("t").unwrap());
        bench.run(bench.store.note_playing(vec![play])).unwrap();
        let (region, patterns) = (None, vec![pattern(1, 20)]);
        let brought = Brought { epoch: 10, device: device("tv"), region, patterns };
        bench.run(bench.store.bring(&home, brought)).unwrap()
    };
    assert_eq!(late(), Bringing::Kept, "one that was never here");
    begin(1);
    bench.run(bench.store.erase(&home)).unwrap();
    assert_eq!(late(), Bringing::Erased);
    bench.run(bench.store.set_device_opted_out(&home, &device("tv"), true)).unwrap();
    assert!(bench.run(bench.store.export(&home)).unwrap().is_none());
    begin(2);
    assert_eq!(late(), Bringing::Kept);
    assert_eq!(bench.run(bench.store.kept(&home)).unwrap().playing.len(), 1);
}

#[test]
fn one_device_that_takes_no_part_keeps_the_household_s_plays_back() {
    let bench = bench();
    let home = household("home");
    let play = |at: u64| {
        (100 + at, home.clone(), Region::new("DE").unwrap(), ContentId::new("t").unwrap())
    };
    let set = |name: &str, opted_out| {
        bench.run(bench.store.set_device_opted_out(&home, &device(name), opted_out)).unwrap();
    };
    let plays = |at| {
        bench.run(bench.store.note_playing(vec![play(at)])).unwrap();
        bench.run(bench.store.kept(&home)).unwrap().playing.len()
    };
    assert_eq!(plays(0), 1);
    set("tv", true);
    set("phone", true);
    assert_eq!(plays(1), 0, "what was noted is erased, and nothing more is");
    set("tv", false);
    assert_eq!(plays(2), 0, "the phone takes no part yet");
    set("phone", false);
    assert_eq!(plays(3), 1);
    for number in 0..=OPTED_OUT_DEVICES_MAX {
        set(&number.to_string(), true);
    }
    let is_out = |number: usize| {
        let device = device(&number.to_string());
        bench.run(bench.store.is_device_opted_out(&home, &device)).unwrap()
    };
    assert!(is_out(OPTED_OUT_DEVICES_MAX - 1) && !is_out(OPTED_OUT_DEVICES_MAX));
    assert_eq!(plays(4), 0);
}

/// A backup knows less than the world: what waits in it may have been released since.
#[test]
fn after_a_restore_nothing_that_waited_is_released_and_versions_are_of_another_life() {
    let bench = bench();
    bench.bring("home", 10, vec![pattern(1, 20)]);
    bench.bring("other", 12, vec![pattern(2, 20)]);
    let folder = bench.folder.path().join("store");
    let backup = bench.folder.path().join("backup");
    super::super::upkeep::backup(&folder, &backup).unwrap();
    bench.run(bench.store.close()).unwrap();
    let replace = super::super::upkeep::Replace::Readable;
    super::super::upkeep::restore(&folder, &backup, replace).unwrap();
    let store = SqliteStore::open(&folder).unwrap();
    let shared = bench.run(store.shared(11, 129)).unwrap();
    assert_eq!((shared.closed_epoch, shared.closed_day), (11, 129));
    assert_ne!(shared.life, 0);
    assert!(bench.run(store.epoch_page(10, None)).unwrap().households.is_empty());
    assert_eq!(bench.run(store.epoch_page(12, None)).unwrap().households.len(), 1);
}
