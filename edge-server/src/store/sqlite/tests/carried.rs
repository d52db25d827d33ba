//! What a restore must not undo, of the database that it replaces.

use super::*;
use crate::aggregate::privacy::Rho;
use crate::aggregate::region::Region;
use crate::store::access::{AccessStore, Revocation};
use crate::store::aggregate::{
    Account, AggregateStore, Bringing, Brought, Charge, Close, EpochEnd, Kept,
};
use crate::store::sqlite::upkeep::{Replace, backup, restore};
use omega_sync_core::id::{ContentId, DeviceId};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternId};
use std::path::PathBuf;

/// A moment in the open epoch and day of these tests: nothing before is over.
const OVER: (u64, u64) = (9, 99);

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn pattern(id: u128, samples: u32) -> Pattern {
    let components: Vec<f32> = (0..DIMENSIONS).map(|at| f32::from(at == 1)).collect();
    let embedding = Embedding::from_f32(&components).unwrap();
    Pattern::new(PatternId(id), Genre::new("drama").unwrap(), embedding, samples, 1).unwrap()
}

fn bring(store: &SqliteStore, household: &HouseholdId, name: &str, id: u128, samples: u32) {
    let (region, patterns) = (None, vec![pattern(id, samples)]);
    let brought = Brought { epoch: 12, device: device(name), region, patterns };
    assert_eq!(run(store.bring(household, brought)).unwrap(), Bringing::Kept);
}

fn play(store: &SqliteStore, household: &HouseholdId) {
    let content = ContentId::new("t").unwrap();
    let play = (100, household.clone(), Region::new("DE").unwrap(), content);
    run(store.note_playing(vec![play])).unwrap();
}

fn end(store: &SqliteStore, epoch: u64, follows: u64, spend: u64) {
    let rho = Rho::from_trillionths;
    let charge = Charge { account: Account::Patterns, year: 3, rho: rho(spend), limit: rho(1_000) };
    let end = EpochEnd {
        epoch,
        follows,
        revision: run(store.epoch_page(epoch, None)).unwrap().revision,
        forget_before: 0,
        charge,
        private: true,
        released: Vec::new(),
        clusters: Vec::new(),
    };
    assert_eq!(run(store.end_epoch(end)).unwrap(), Close::Done);
}

/// A store in which five households take part, and its backup.
fn example(folder: &TempDir) -> (SqliteStore, PathBuf) {
    let store = open(folder);
    run(store.shared(OVER.0, OVER.1)).unwrap();
    end(&store, 10, OVER.0, 5);
    for id in 0..5 {
        bring(&store, &household(id), "tv", 1, 20);
        play(&store, &household(id));
    }
    let out = folder.path().join("backup");
    backup(folder.path(), &out).unwrap();
    (store, out)
}

fn kept(store: &SqliteStore, id: usize) -> Kept {
    run(store.kept(&household(id))).unwrap()
}

fn samples(store: &SqliteStore, id: usize) -> Vec<(u128, u32)> {
    let patterns = kept(store, id).waiting.patterns;
    patterns.iter().map(|(_, one)| (one.id.0, one.sample_count())).collect()
}

fn spent(store: &SqliteStore) -> Rho {
    run(store.spent(Account::Patterns, 3)).unwrap()
}

#[test]
fn a_restore_undoes_no_decision_and_no_debit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, out) = example(&folder);
    run(store.set_opted_out(&household(0), true)).unwrap();
    run(store.set_device_opted_out(&household(1), &device("tv"), true)).unwrap();
    run(store.take_back(&household(2), &device("tv"), vec![PatternId(1)])).unwrap();
    // Its name is free then, for another one.
    bring(&store, &household(2), "tv", 1, 33);
    run(store.erase(&household(3))).unwrap();
    bring(&store, &household(4), "tv", 2, 44);
    end(&store, 11, 10, 7);
    let revoked = Revocation::Token { id: "token".into(), ends: 50 };
    run(store.revoke(revoked.clone(), 40)).unwrap();
    run(store.close()).unwrap();

    let restored = restore(folder.path(), &out, Replace::Readable).unwrap();
    assert_eq!(restored.unread, None);
    let store = open(&folder);
    run(store.shared(11, OVER.1)).unwrap();
    assert!(kept(&store, 0).waiting.opted_out);
    assert!(run(store.is_device_opted_out(&household(1), &device("tv"))).unwrap());
    for id in [0, 1, 3] {
        let kept = kept(&store, id);
        assert_eq!((kept.waiting.patterns.len(), kept.playing.len()), (0, 0), "{id}");
    }
    assert_eq!(samples(&store, 2), [(1, 33)], "not what was taken back under this name");
    assert_eq!(samples(&store, 4), [(1, 20), (2, 44)], "as it waited last");
    assert_eq!(kept(&store, 4).playing.len(), 1);
    assert_eq!(spent(&store), Rho::from_trillionths(12));
    assert_eq!(run(store.revocations()).unwrap(), [revoked.mark()]);
    // What is counted next is what waits.
    assert_eq!(run(store.epoch_page(12, None)).unwrap().households.len(), 2);
}

/// Who was counted in an epoch stays known, or would be counted in it again.
#[test]
fn who_was_counted_since_the_backup_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, out) = example(&folder);
    end(&store, 12, 10, 7);
    run(store.close()).unwrap();
    restore(folder.path(), &out, Replace::Readable).unwrap();
    let store = open(&folder);
    run(store.shared(11, OVER.1)).unwrap();
    assert_eq!(kept(&store, 0).waiting.counted_in, [12]);
    assert_eq!(samples(&store, 0), [], "it was counted");
    bring(&store, &household(0), "tv", 1, 21);
    assert!(run(store.epoch_page(12, None)).unwrap().households.is_empty());
}

/// Nobody can tell what was taken back since, or by whom.
#[test]
fn without_the_database_before_nothing_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, out) = example(&folder);
    run(store.close()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    restore(elsewhere.path(), &out, Replace::Nothing).unwrap();
    std::fs::write(folder.path().join(FILE_NAME), vec![7; 8192]).unwrap();
    restore(folder.path(), &out, Replace::Anything).unwrap();
    for folder in [&elsewhere, &folder] {
        let store = open(folder);
        run(store.shared(OVER.0, OVER.1)).unwrap();
        for id in 0..5 {
            assert_eq!(samples(&store, id), []);
            assert_eq!(kept(&store, id).playing.len(), 0);
        }
        assert_eq!(spent(&store), Rho::from_trillionths(5), "of the backup");
    }
}

/// Damage that shows only when a table is read stops a restore as well.
#[test]
fn a_database_that_lacks_a_table_can_t_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (store, out) = example(&folder);
    run(store.close()).unwrap();
    let intruder = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    intruder.execute_batch("DROP TABLE opted_out").unwrap();
    intruder.close().unwrap();
    let refused = restore(folder.path(), &out, Replace::Readable);
    assert!(matches!(refused, Err(OpenError::Unread(_))), "{refused:?}");
    let restored = restore(folder.path(), &out, Replace::Anything).unwrap();
    assert!(restored.unread.is_some());
    assert_eq!(spent(&open(&folder)), Rho::from_trillionths(5), "of it nothing is taken over");
}
