//! The store's contract on a real file, and what SQLite does when things go wrong.

mod carried;
mod schemas;
mod upkeep;

use super::database::{FILE_NAME, LOCK_NAME};
use super::*;
use omega_sync_core::id::{EpochId, ReplicaId};
use omega_sync_core::session::server::Snapshot;
use rusqlite::Connection;
use std::future::Future;
use tempfile::TempDir;

const EPOCH: EpochId = EpochId(0xfedc_ba98_7654_3210);

fn household(number: usize) -> HouseholdId {
    HouseholdId::new(&format!("household-{number}")).unwrap()
}

/// The commit that takes a household whose commits all bring a version to the next one.
fn commit(follows: u64) -> Commit {
    Commit {
        epoch: EPOCH,
        follows,
        revision: follows + 1,
        version: follows + 1,
        entries: vec![(follows + 1, vec![follows as u8; 3])],
        replicas: vec![(ReplicaId(u64::MAX), vec![follows as u8])],
        snapshot: None,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path()).unwrap()
}

fn refusal(folder: &TempDir) -> OpenError {
    SqliteStore::open(folder.path()).err().unwrap()
}

fn works(commits: &[(HouseholdId, Commit)]) -> Vec<Work> {
    commits.iter().cloned().map(|(household, commit)| Work::Commit(household, commit)).collect()
}

#[test]
fn what_is_committed_is_there_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let home = household(1);
    assert_eq!(run(store.load(&home)), Ok(None));
    for version in 0..5 {
        run(store.commit(&home, commit(version))).unwrap();
    }
    let mut with_snapshot = commit(5);
    let bytes = vec![9; 10_000];
    with_snapshot.snapshot = Some(Snapshot { version: 6, bytes: bytes.clone() });
    run(store.commit(&home, with_snapshot)).unwrap();
    let expected = Stored {
        epoch: EPOCH,
        revision: 6,
        version: 6,
        snapshot: bytes,
        snapshot_version: 6,
        log: vec![],
        replicas: vec![(ReplicaId(u64::MAX), vec![5])],
    };
    assert_eq!(run(store.load(&home)), Ok(Some(expected.clone())));
    run(store.close()).unwrap();
    assert_eq!(run(store.load(&home)), Err(StoreError::Closed));
    let store = open(&folder);
    assert_eq!(run(store.load(&home)), Ok(Some(expected)));
    assert_eq!(run(store.load(&household(2))), Ok(None));
    run(store.close()).unwrap();
}

#[test]
fn a_commit_without_a_new_version_creates_a_household() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let rows_only = |follows| Commit { version: 0, entries: Vec::new(), ..commit(follows) };
    run(store.commit(&household(1), rows_only(0))).unwrap();
    let other = Commit { replicas: vec![(ReplicaId(7), vec![7])], ..rows_only(0) };
    let refused = run(store.commit(&household(1), other));
    assert_eq!(refused, Err(StoreError::Conflict), "another node's hello at the same version");
    run(store.commit(&household(1), rows_only(1))).unwrap();
    run(store.commit(&household(1), Commit { version: 1, ..commit(2) })).unwrap();
    let stored = run(store.load(&household(1))).unwrap().unwrap();
    assert_eq!((stored.epoch, stored.revision, stored.version), (EPOCH, 3, 1));
    assert_eq!(stored.replicas, [(ReplicaId(u64::MAX), vec![2])]);
}

#[test]
fn a_commit_against_another_revision_or_epoch_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let home = household(1);
    run(store.commit(&home, commit(0))).unwrap();
    let before = run(store.load(&home)).unwrap();
    let conflict = |commit| run(store.commit(&home, commit)) == Err(StoreError::Conflict);
    assert!(conflict(commit(0)), "twice");
    assert!(conflict(commit(2)), "ahead");
    assert!(conflict(Commit { epoch: EpochId(1), ..commit(1) }), "another epoch");
    assert_eq!(run(store.commit(&household(2), commit(3))), Err(StoreError::Conflict));
    assert_eq!(run(store.load(&home)).unwrap(), before);
    assert_eq!(run(store.load(&household(2))), Ok(None));
    assert_eq!(run(store.check()), Ok(()), "a conflict is no illness");
}

#[test]
fn commits_of_many_households_share_a_transaction_and_a_conflict_is_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Database::open(folder.path()).unwrap();
    let wal = folder.path().join(format!("{FILE_NAME}-wal"));
    let mut batch: Vec<_> = (0..100).map(|number| (household(number), commit(0))).collect();
    batch[50].1.follows = 7;
    batch.push((household(3), commit(1)));
    let results = database.commit(works(&batch)).unwrap();
    let failed: Vec<usize> = (0..results.len()).filter(|&at| results[at].is_err()).collect();
    assert_eq!(failed, [50]);
    assert_eq!(results[50], Err(StoreError::Conflict));
    assert_eq!(commit_frames(&wal), super::database::MIGRATIONS.len() + 1, "and ours");
    assert_eq!(database.load(&household(3)).unwrap().unwrap().version, 2);
    assert_eq!(database.load(&household(50)).unwrap(), None);
}

/// Counts the frames in a write-ahead log that end a transaction: those with a database size in the
/// second word of their header (SQLite's file format, section 4.1).
fn commit_frames(wal: &Path) -> usize {
    let bytes = std::fs::read(wal).unwrap();
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let page = word(8) as usize;
    let frames = (32..bytes.len()).step_by(24 + page);
    frames.filter(|&frame| word(frame + 4) != 0).count()
}

#[test]
fn commits_that_wait_together_are_answered_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    run(async {
        let waiting: Vec<_> = (0..2_000)
            .map(|number| tokio::task::spawn(store.commit(&household(number), commit(0))))
            .collect();
        for one in waiting {
            one.await.unwrap().unwrap();
        }
    });
    let wal = folder.path().join(format!("{FILE_NAME}-wal"));
    let transactions = commit_frames(&wal);
    assert!(transactions < 200, "{transactions} transactions for 2,000 commits");
}

#[test]
fn a_full_disk_fails_the_commit_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Database::open(folder.path()).unwrap();
    let home = household(1);
    database.commit(works(&[(home.clone(), commit(0))])).unwrap()[0].clone().unwrap();
    database.fill();
    let large = Commit { entries: vec![(2, vec![1; 1_000_000])], ..commit(1) };
    let batch = [(household(2), commit(0)), (home.clone(), large)];
    assert_eq!(database.commit(works(&batch)), Err(StoreError::Full));
    assert_eq!(database.load(&home).unwrap().unwrap().version, 1);
    assert_eq!(database.load(&household(2)).unwrap(), None, "none of the batch");
    let small = database.commit(works(&[(home.clone(), commit(1))])).unwrap();
    assert_eq!(small, [Ok(())], "it works again when there is room");
}

#[test]
fn illness_is_reported_until_a_write_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let note = |result| note(&store.condition, result).unwrap_err();
    note(Err::<(), _>(StoreError::Full));
    // The check itself writes, and finds that writing works.
    assert_eq!(run(store.check()), Ok(()));
    note(Err::<(), _>(StoreError::Corrupt("torn".into())));
    run(store.commit(&household(1), commit(0))).unwrap();
    assert_eq!(run(store.check()), Err(StoreError::Corrupt("torn".into())), "until looked at");
}

#[test]
fn a_damaged_database_answers_with_an_error_and_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 0..200 {
        run(store.commit(&household(number), commit(0))).unwrap();
    }
    run(store.close()).unwrap();
    let path = folder.path().join(FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    // All pages with names of households become noise; those with the schema stay.
    let named = |page: &&mut [u8]| page.windows(10).any(|text| text == b"household-");
    bytes.chunks_mut(4096).filter(named).for_each(|page| page.fill(0xa5));
    std::fs::write(&path, bytes).unwrap();
    let store = open(&folder);
    assert!(matches!(run(store.load(&household(7))), Err(StoreError::Corrupt(_))));
    let failed = run(store.commit(&household(7), commit(1)));
    assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
    assert_eq!(run(store.check()).map_err(|error| error.code()), Err("storage_corrupt"));
}

#[test]
fn a_file_that_is_no_database_of_ours_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert!(matches!(refusal(&folder), OpenError::Store(StoreError::Corrupt(_))));
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 8192]);
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    assert!(refusal(&folder).to_string().contains("another program"));
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(open(&folder).close()).unwrap();
    let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let known: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "user_version", known + 1).unwrap();
    drop(connection);
    assert_eq!(refusal(&folder), OpenError::Newer { found: known + 1, known });
}

/// A database as the first schema's program left it.
#[test]
fn a_database_of_schema_1_is_brought_up_to_date_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    old.execute_batch(include_str!("../../../migrations/sqlite/0001_init.sql")).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x6f6d6567;
         PRAGMA user_version = 1;
         INSERT INTO household (id, epoch, version) VALUES ('household-1', 77, 2);
         INSERT INTO snapshot (household, version, state) VALUES (1, 1, x'0102');
         INSERT INTO log (household, version, entry) VALUES (1, 2, x'03');
         INSERT INTO replica (household, replica, state) VALUES (1, -1, x'04');",
    )
    .unwrap();
    drop(old);
    let store = open(&folder);
    let home = household(1);
    let stored = run(store.load(&home)).unwrap().unwrap();
    let expected = Stored {
        epoch: EpochId(77),
        revision: 1,
        version: 2,
        snapshot: vec![1, 2],
        snapshot_version: 1,
        log: vec![(2, vec![3])],
        replicas: vec![(ReplicaId(u64::MAX), vec![4])],
    };
    assert_eq!(stored, expected);
    let next = |follows| Commit {
        epoch: EpochId(77),
        version: 3,
        entries: vec![(3, vec![5])],
        ..commit(follows)
    };
    assert_eq!(run(store.commit(&home, next(0))), Err(StoreError::Conflict));
    run(store.commit(&home, next(1))).unwrap();
    run(store.close()).unwrap();
    let store = open(&folder);
    let stored = run(store.load(&home)).unwrap().unwrap();
    assert_eq!((stored.revision, stored.version, stored.log.len()), (2, 3, 2));
}

#[test]
fn two_stores_on_one_folder_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let error = refusal(&folder);
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(!error.to_string().contains('\n'));
    run(store.close()).unwrap();
    run(open(&folder).close()).unwrap();
    assert!(folder.path().join(LOCK_NAME).exists());
}

#[test]
fn a_folder_that_can_not_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteStore::open(&file).err().unwrap();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[test]
fn files_are_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    run(store.commit(&household(1), commit(0))).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 4, "lock, database, write-ahead log and its index");
}

#[test]
fn the_database_is_durable_by_setting() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    assert_eq!(database.setting("journal_mode"), "wal");
    assert_eq!(database.setting("synchronous"), "2");
}
