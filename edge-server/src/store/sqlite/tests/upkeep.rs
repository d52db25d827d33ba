//! Backup, restore, check and erasure, on real files.

use super::*;
use crate::store::Held;
use crate::store::sqlite::check::{Checked, check};
use crate::store::sqlite::database::MIGRATIONS;
use crate::store::sqlite::upkeep::{Replace, Restored};
use crate::store::sqlite::{erasure, upkeep};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::Intent;
use omega_sync_core::session::server::{Room, RoomOutput};
use std::path::PathBuf;

/// Bytes that stand for what a household must leave nowhere.
const MARK: &[u8] = b"a-title-that-must-go";

/// What the core commits of a household that puts titles on its list.
fn commits(id: usize, titles: usize) -> Vec<Commit> {
    let mut room = Room::create(household(id), EPOCH);
    let mut commits = Vec::new();
    for title in 0..titles {
        let content = ContentId::new(&format!("tmdb:{title}")).unwrap();
        let intent = Intent::Add(ProfileId::DEFAULT, content);
        let now = UnixMillis(1_700_000_000_000 + title as u64);
        for output in room.write(now, intent, None).unwrap().outputs {
            if let RoomOutput::Persist(commit) = output {
                commits.push(commit);
            }
        }
    }
    commits
}

/// A store with real households, of these many titles each.
fn filled(folder: &TempDir, titles: &[usize]) -> SqliteStore {
    let store = open(folder);
    for (id, titles) in titles.iter().enumerate() {
        for commit in commits(id, *titles) {
            run(store.commit(&household(id), commit)).unwrap();
        }
    }
    store
}

fn findings(file: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let Checked { findings: count, .. } =
        check(file, &mut |finding| findings.push(finding.to_owned())).unwrap();
    assert_eq!(count, findings.len() as u64);
    findings
}

/// The files of a database.
fn files(folder: &TempDir) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder.path()).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

/// Whether any file has these bytes somewhere.
fn anywhere(folder: &TempDir, bytes: &[u8]) -> bool {
    let has = |file: &PathBuf| {
        std::fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes)
    };
    files(folder).iter().any(has)
}

#[test]
fn a_backup_is_one_moment_of_a_store_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[3, 300]);
    let out = elsewhere.path().join("backup.sqlite3");
    upkeep::backup(folder.path(), &out).unwrap();
    let next = commits(0, 5).split_off(3);
    for commit in next {
        run(store.commit(&household(0), commit)).unwrap();
    }
    assert_eq!(run(store.load(&household(0))).unwrap().unwrap().version, 5);
    assert_eq!(findings(&out), [""; 0]);
    let again = upkeep::backup(folder.path(), &out);
    assert!(matches!(again, Err(OpenError::Exists(_))), "{again:?}");
    assert_eq!(files(&elsewhere), std::slice::from_ref(&out), "nothing beside it");
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = out.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for this user only");
    }

    let new = tempfile::tempdir().unwrap();
    let restored = upkeep::restore(new.path(), &out, Replace::Nothing);
    assert_eq!(restored, Ok(Restored { kept: None, unread: None }));
    let restored = open(&new);
    let before = run(store.load(&household(1))).unwrap().unwrap();
    let after = run(restored.load(&household(1))).unwrap().unwrap();
    assert_ne!(after.epoch, before.epoch, "a new life");
    assert_eq!(Stored { epoch: before.epoch, ..after }, before);
    assert_eq!(run(restored.load(&household(0))).unwrap().unwrap().version, 3);
    let missing = upkeep::backup(elsewhere.path(), &elsewhere.path().join("other"));
    assert!(matches!(missing, Err(OpenError::Missing(_))), "{missing:?}");
}

#[test]
fn a_restore_needs_a_stopped_server_and_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[2]);
    let out = folder.path().join("backup");
    upkeep::backup(folder.path(), &out).unwrap();
    let restore = |replace| upkeep::restore(folder.path(), &out, replace);
    assert!(matches!(restore(Replace::Readable), Err(OpenError::Locked(_))));
    run(store.commit(&household(0), commits(0, 3).pop().unwrap())).unwrap();
    run(store.close()).unwrap();
    assert!(matches!(restore(Replace::Nothing), Err(OpenError::Exists(_))));
    let kept = restore(Replace::Readable).unwrap().kept.unwrap();
    assert_eq!(findings(&kept), [""; 0]);
    let store = open(&folder);
    assert_eq!(run(store.load(&household(0))).unwrap().unwrap().version, 2);
    run(store.close()).unwrap();
    let full = restore(Replace::Readable);
    assert_eq!(full, Err(OpenError::Exists(kept.display().to_string())), "one is kept already");
    // Over one that can't be read only if that is meant; then it is kept as well.
    std::fs::remove_file(&kept).unwrap();
    std::fs::write(folder.path().join(FILE_NAME), vec![7; 8192]).unwrap();
    let before = files(&folder);
    assert!(matches!(restore(Replace::Readable), Err(OpenError::Unread(_))));
    assert_eq!(files(&folder), before, "nothing has changed");
    assert_eq!(std::fs::read(folder.path().join(FILE_NAME)).unwrap(), vec![7; 8192]);
    let restored = restore(Replace::Anything).unwrap();
    assert_eq!(restored.kept.unwrap(), kept);
    assert!(restored.unread.is_some());
    assert_eq!(std::fs::read(kept).unwrap(), vec![7; 8192]);
    assert_eq!(run(open(&folder).load(&household(0))).unwrap().unwrap().version, 2);
}

#[test]
fn what_was_erased_since_a_backup_stays_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[2, 2]);
    let out = folder.path().join("backup");
    upkeep::backup(folder.path(), &out).unwrap();
    assert_eq!(run(store.erase(&household(0))), Ok(true));
    run(store.close()).unwrap();
    upkeep::restore(folder.path(), &out, Replace::Readable).unwrap();
    let store = open(&folder);
    assert_eq!(run(store.load(&household(0))), Ok(None));
    assert_eq!(run(store.load(&household(1))).unwrap().unwrap().version, 2);
    assert_eq!(run(store.lives(&household(0))), Ok(Some(vec![])), "and is remembered");
    assert_eq!(run(store.lives(&household(1))), Ok(None));
}

#[test]
fn the_lives_since_an_erasure_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[2]);
    run(store.erase(&household(0))).unwrap();
    assert_eq!(run(store.erase(&household(0))), Ok(false), "there is nothing more");
    run(store.commit(&household(0), commits(0, 1).remove(0))).unwrap();
    assert_eq!(run(store.lives(&household(0))), Ok(Some(vec![])));
    run(store.close()).unwrap();
    let out = folder.path().join("backup");
    upkeep::backup(folder.path(), &out).unwrap();
    upkeep::restore(folder.path(), &out, Replace::Readable).unwrap();
    let store = open(&folder);
    assert_eq!(run(store.lives(&household(0))), Ok(Some(vec![EPOCH])));
    assert_ne!(run(store.load(&household(0))).unwrap().unwrap().epoch, EPOCH);
}

#[test]
fn an_erased_household_leaves_nothing_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (home, other) = (household(1), household(2));
    for version in 0..50 {
        let mut with = commit(version);
        with.entries[0].1 = [MARK, &[version as u8; 40]].concat();
        // Snapshots of several pages, each of which frees those of the one before.
        let bytes = MARK.repeat(1_000);
        let snapshot = Snapshot { version: version + 1, bytes };
        with.snapshot = (version % 10 == 9).then_some(snapshot);
        run(store.commit(&home, with)).unwrap();
        run(store.commit(&other, commit(version))).unwrap();
    }
    assert!(anywhere(&folder, MARK) && anywhere(&folder, home.as_str().as_bytes()));
    assert_eq!(run(store.erase(&home)), Ok(true));
    assert_eq!(run(store.load(&home)), Ok(None));
    assert_eq!(run(store.load(&other)).unwrap().unwrap().version, 50);
    assert!(!anywhere(&folder, MARK), "in a file of the running store");
    assert!(!anywhere(&folder, home.as_str().as_bytes()));
    assert!(run(store.export(&home)).unwrap().is_none());
    run(store.close()).unwrap();
    assert!(!anywhere(&folder, MARK), "in a file of the stopped store");
}

#[test]
fn what_an_older_version_deleted_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.execute_batch(MIGRATIONS[1]).unwrap();
    old.pragma_update(None, "application_id", super::super::database::APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    old.pragma_update(None, "secure_delete", false).unwrap();
    let bytes = MARK.repeat(1_000);
    old.execute("INSERT INTO snapshot VALUES (1, 1, ?1)", [bytes]).unwrap();
    old.execute_batch("DELETE FROM snapshot").unwrap();
    old.close().unwrap();
    assert!(anywhere(&folder, MARK));
    run(open(&folder).close()).unwrap();
    assert!(!anywhere(&folder, MARK));
}

#[test]
fn erasure_by_command_needs_a_stopped_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[2]);
    let erase = || erasure::erase(folder.path(), &household(0));
    assert!(matches!(erase(), Err(OpenError::Locked(_))));
    run(store.close()).unwrap();
    assert_eq!(erase(), Ok(true));
    assert_eq!(erase(), Ok(false));
    let empty = tempfile::tempdir().unwrap();
    let missing = erasure::erase(empty.path(), &household(0));
    assert!(matches!(missing, Err(OpenError::Missing(_))), "{missing:?}");
}

/// Tables with rows that belong to no household. Every other one has a column `household`.
const OF_NO_HOUSEHOLD: [&str; 11] = [
    "household",
    "erased",
    "not_before",
    "revoked_token",
    "shared",
    "epoch",
    "budget",
    "cluster",
    "published",
    "course",
    "trend",
];

#[test]
fn every_table_says_whose_rows_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let mut tables = database
        .connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut count = 0;
    for table in tables {
        let (name, sql): (String, String) = table.unwrap();
        let named = sql.lines().any(|line| line.trim_start().starts_with("household "));
        let free = OF_NO_HOUSEHOLD.contains(&name.as_str());
        assert!(named != free, "table {name}: erasure and export must know whose rows it has");
        count += 1;
    }
    assert!(count > 4, "{count}");
}

#[test]
fn rows_of_other_parts_are_exported_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder, &[1, 1]);
    let intruder = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    intruder
        .execute_batch(
            "CREATE TABLE named (household TEXT, word TEXT, bytes BLOB, nil INTEGER) STRICT;
             INSERT INTO named VALUES ('household-0', 'mine', x'0aff', NULL);
             INSERT INTO named VALUES ('household-1', 'theirs', x'00', 1);
             CREATE TABLE keyed (household INTEGER, number REAL) STRICT;
             INSERT INTO keyed SELECT key, key * 1.5 FROM household;",
        )
        .unwrap();
    drop(intruder);
    let Held { stored, rows } = run(store.export(&household(0))).unwrap().unwrap();
    assert_eq!(stored, run(store.load(&household(0))).unwrap());
    let rows = serde_json::to_value(rows).unwrap();
    let expected = serde_json::json!([
        ["keyed", [{"number": 1.5}]],
        ["named", [{"word": "mine", "bytes": "0aff", "nil": null}]],
    ]);
    assert_eq!(rows, expected);
    run(store.erase(&household(0))).unwrap();
    assert!(run(store.export(&household(0))).unwrap().is_none());
    assert_eq!(run(store.export(&household(1))).unwrap().unwrap().rows.len(), 2);
}

#[test]
fn a_check_finds_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    run(filled(&folder, &[0, 3, 300]).close()).unwrap();
    let path = folder.path().join(FILE_NAME);
    assert_eq!(findings(&path), [""; 0]);
    let sound = std::fs::read(&path).unwrap();
    for (sql, expected) in [
        ("UPDATE log SET entry = x'ff' WHERE version = 2", "household household-1: the core"),
        ("DELETE FROM log WHERE version = 2", "household household-1: the core can't read it"),
        ("UPDATE household SET version = 4 WHERE key = 1", "end of the log"),
        ("UPDATE snapshot SET version = 400", "snapshot of version 400, but it is at 300"),
        ("UPDATE household SET revision = 0 WHERE key = 2", "household-2: revision 0"),
        ("INSERT INTO log VALUES (2, 7, x'00')", "1 log entries that its snapshot holds already"),
        ("INSERT INTO log VALUES (9, 1, x'00')", "table log: 1 rows of no household"),
        ("INSERT INTO replica VALUES (9, 1, x'00')", "table replica: 1 rows of no household"),
        ("UPDATE household SET id = '' WHERE key = 1", "household : its id is none"),
        ("UPDATE replica SET state = x''", "the core can't read it"),
    ] {
        std::fs::write(&path, &sound).unwrap();
        let intruder = Connection::open(&path).unwrap();
        intruder.execute_batch(sql).unwrap();
        intruder.close().unwrap();
        let findings = findings(&path);
        assert!(findings.iter().any(|line| line.contains(expected)), "{sql}: {findings:?}");
    }
    let mut torn = sound.clone();
    let from = sound.len() - 4096 * 2;
    torn[from..from + 4096].fill(0xa5);
    std::fs::write(&path, torn).unwrap();
    let torn = findings(&path);
    assert!(torn.iter().any(|line| line.starts_with("database: ")), "{torn:?}");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert!(matches!(check(&path, &mut |_| {}), Err(OpenError::Store(StoreError::Corrupt(_)))));
}

/// A household that has a snapshot, a log after it, and a title that is gone.
pub(super) fn write_example(folder: &TempDir) {
    let store = open(folder);
    let mut room = Room::create(household(0), EPOCH);
    let add = |title: u64| {
        Intent::Add(ProfileId::DEFAULT, ContentId::new(&format!("tmdb:{title}")).unwrap())
    };
    let remove = Intent::Remove(ProfileId::DEFAULT, ContentId::new("tmdb:0").unwrap());
    let intents = [add(0), remove].into_iter().chain((1..260).map(add));
    for (at, intent) in intents.enumerate() {
        let now = UnixMillis(1_700_000_000_000 + at as u64);
        for output in room.write(now, intent, None).unwrap().outputs {
            if let RoomOutput::Persist(commit) = output {
                run(store.commit(&household(0), commit)).unwrap();
            }
        }
    }
    run(store.close()).unwrap();
}
