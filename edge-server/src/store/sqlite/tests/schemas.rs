//! Databases as the program of each schema left them, brought up to date by this one. A schema that
//! was released has a file in `schemas/`, which stays as it is for good.

use super::super::database::{APPLICATION_ID, MIGRATIONS};
use super::*;
use crate::store::sqlite::check::check;
use omega_sync_core::household::Key;
use omega_sync_core::session::server::Room;
use std::path::PathBuf;

/// The newest schema of a version of this program that was released.
const RELEASED: i64 = 2;

fn files() -> Vec<(i64, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite/tests/schemas");
    let mut files: Vec<(i64, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let version = name.strip_prefix("schema-").unwrap().parse().unwrap();
            (version, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The database that a file describes: the schema by its migrations, then the file's rows.
fn build(folder: &TempDir, version: i64, rows: &str) {
    let old = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    for migration in &MIGRATIONS[..version as usize] {
        old.execute_batch(migration).unwrap();
    }
    old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", version).unwrap();
    old.execute_batch(rows).unwrap();
    old.close().unwrap();
}

/// A schema is the number of its last migration, and that is the number of its file.
#[test]
fn migrations_are_applied_in_the_order_of_their_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert_eq!(files.len(), MIGRATIONS.len());
    for (at, (file, migration)) in files.iter().zip(MIGRATIONS).enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:04}_", at + 1)), "{name}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), migration, "{name}");
    }
}

#[test]
fn every_released_schema_has_its_database() {
    let versions: Vec<i64> = files().into_iter().map(|(version, _)| version).collect();
    assert!(RELEASED <= MIGRATIONS.len() as i64);
    for version in 1..=RELEASED {
        assert!(versions.contains(&version), "schema {version}");
    }
}

#[test]
fn databases_of_every_schema_are_brought_up_to_date() {
    for (version, rows) in files() {
        let folder = tempfile::tempdir().unwrap();
        build(&folder, version, &rows);
        let store = open(&folder);
        let home = household(0);
        let stored = run(store.load(&home)).unwrap().unwrap();
        let room = Room::load(home.clone(), &stored).unwrap();
        let household = room.household();
        let shelf = household.profile(Default::default()).unwrap();
        let titles: Vec<&str> = shelf.watchlist().iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(titles.len(), 259, "schema {version}");
        assert!(titles.contains(&"tmdb:1") && titles.contains(&"tmdb:259"), "schema {version}");
        let gone = |key: &Key| matches!(key, Key::Watchlist(_, id) if id.as_str() == "tmdb:0");
        assert!(room.history().since(0).keys().any(gone), "schema {version}: what is gone");
        let next = Commit {
            epoch: stored.epoch,
            version: stored.version + 1,
            revision: stored.revision + 1,
            entries: vec![(stored.version + 1, stored.log[0].1.clone())],
            ..commit(stored.revision)
        };
        run(store.commit(&home, next)).unwrap();
        run(store.close()).unwrap();
        let mut findings = Vec::new();
        // The row of the replica that the commit above made up can't be read; nothing else is wrong.
        check(&folder.path().join(FILE_NAME), &mut |line| findings.push(line.to_owned())).unwrap();
        assert_eq!(findings.len(), 1, "schema {version}: {findings:?}");
    }
}

/// `cargo test -p omega-edge -- --ignored write_a_database`, before a release with a new migration.
#[test]
#[ignore = "writes a file of the sources"]
fn write_a_database_of_this_schema() {
    use std::fmt::Write;
    let folder = tempfile::tempdir().unwrap();
    super::upkeep::write_example(&folder);
    let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let mut text = String::from("-- Rows of a database of this schema; see ../schemas.rs.\n");
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for table in tables {
        let table = table.unwrap();
        let mut rows = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let names = rows.column_names().collect::<Vec<_>>().join(", ");
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
                rusqlite::types::ValueRef::Null => "NULL".into(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => {
                    format!("'{}'", std::str::from_utf8(text).unwrap().replace('\'', "''"))
                }
                rusqlite::types::ValueRef::Blob(bytes) => {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("x'{hex}'")
                }
            });
            let cells = cells.collect::<Vec<_>>().join(", ");
            writeln!(text, "INSERT INTO {table} ({names}) VALUES ({cells});").unwrap();
        }
    }
    let name = format!("schema-{}.sql", MIGRATIONS.len());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite/tests/schemas");
    std::fs::write(folder.join(name), text).unwrap();
}

/// What waited when epochs were counted from 1970 still waits, in an epoch that is not closed.
#[test]
fn contributions_of_counted_epochs_wait_on() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "UPDATE shared SET closed_epoch = 226, closed_day = 20700;
                INSERT INTO waiting VALUES
                    (226, 'home', 'tv', x'01', NULL, 'war', 9, 9, x'00'),
                    (227, 'home', 'tv', x'01', NULL, 'war', 12, 9, x'00');
                INSERT INTO epoch VALUES (227, 5);
                INSERT INTO contributed VALUES (226, 'home');";
    build(&folder, 7, rows);
    let store = open(&folder);
    run(store.close()).unwrap();
    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let now = "unixepoch() / 60";
    for (sql, expected) in [
        (format!("SELECT closed_epoch BETWEEN {now} - 60 AND {now} FROM shared"), 1),
        (format!("SELECT epoch BETWEEN {now} AND {now} + 131400 FROM waiting"), 1),
        ("SELECT samples FROM waiting".into(), 12),
        ("SELECT epoch = (SELECT number FROM epoch) FROM waiting".into(), 1),
        ("SELECT revision FROM epoch".into(), 1),
        ("SELECT count(*) FROM contributed".into(), 0),
    ] {
        let found: i64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, expected, "{sql}");
    }
}
