//! One connection to the database file: opening, schema, and every line of SQL.

use crate::store::{OpenError, StoreError};
use omega_sync_core::id::{EpochId, HouseholdId, ReplicaId};
use omega_sync_core::session::server::{Commit, Snapshot, Stored};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// The database's file name in the data folder.
pub const FILE_NAME: &str = "omega.sqlite3";
/// The lock's file name. Apart from the database, whose own locks SQLite takes and drops.
pub const LOCK_NAME: &str = "omega-edge.lock";
/// Marks a SQLite file as ours: "omeg".
pub(super) const APPLICATION_ID: i64 = 0x6f6d_6567;
/// In order; `PRAGMA user_version` counts those that were applied. Only ever appended to.
pub(super) const MIGRATIONS: [&str; 11] = [
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_revision.sql"),
    include_str!("../../../migrations/sqlite/0003_access.sql"),
    include_str!("../../../migrations/sqlite/0004_lives.sql"),
    include_str!("../../../migrations/sqlite/0005_aggregate.sql"),
    include_str!("../../../migrations/sqlite/0006_devices.sql"),
    include_str!("../../../migrations/sqlite/0007_waiting_by_device.sql"),
    include_str!("../../../migrations/sqlite/0008_epochs_by_minute.sql"),
    include_str!("../../../migrations/sqlite/0009_opted_out_devices.sql"),
    include_str!("../../../migrations/sqlite/0010_private_courses.sql"),
    include_str!("../../../migrations/sqlite/0011_regions.sql"),
];
/// From this schema on whatever was deleted was overwritten.
const SECURE_DELETE_SINCE: i64 = 3;
/// How long to wait for another process, such as a backup, to release the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this size after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// Creates the folder if it is missing and takes its lock, which ends with the file or the process.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let failed = |error: io::Error| unusable(folder, &error);
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let file = owned(&folder.join(LOCK_NAME)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Opens a file for writing; a new one is for this user only.
fn owned(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub(super) fn unusable(folder: &Path, error: &io::Error) -> OpenError {
    OpenError::Folder { path: folder.display().to_string(), reason: error.to_string() }
}

/// A write that is no household's commit.
pub(super) type Job = Box<dyn FnOnce(&Connection) -> Result<(), StoreError> + Send>;

/// Something to be written.
pub(super) enum Work {
    /// A household's commit.
    Commit(HouseholdId, Commit),
    /// Anything else.
    Job(Job),
}

/// A connection.
pub(super) struct Database {
    pub(super) connection: Connection,
}

impl Database {
    /// Opens for writing and brings the schema up to date.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        // SQLite gives the files beside the database the same mode as the database.
        owned(&path).map_err(|error| unusable(folder, &error))?;
        let mut connection = connect(&path)?;
        let found = recognise(&connection)?;
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(classify)?;
        if mode != "wal" {
            let reason = format!("the file system allows no write-ahead log (mode {mode})");
            return Err(OpenError::Folder { path: folder.display().to_string(), reason });
        }
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT).map_err(classify)?;
        migrate(&mut connection, found)?;
        Ok(Self { connection })
    }

    /// Opens a second connection that only reads.
    pub(super) fn open_reader(folder: &Path) -> Result<Self, StoreError> {
        let connection = connect(&folder.join(FILE_NAME))?;
        connection.pragma_update(None, "query_only", true).map_err(classify)?;
        Ok(Self { connection })
    }

    /// Does everything in one transaction and makes it durable. The outer error means that nothing
    /// happened, an inner one that this one thing did not.
    pub(super) fn commit(
        &mut self,
        works: Vec<Work>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let mut transaction = begun.map_err(classify)?;
        let mut results = Vec::with_capacity(works.len());
        for work in works {
            let savepoint = transaction.savepoint().map_err(classify)?;
            let done = match work {
                Work::Commit(household, commit) => apply(&savepoint, &household, &commit),
                Work::Job(job) => job(&savepoint),
            };
            let result = match done {
                Ok(()) => savepoint.commit().map_err(classify),
                Err(error) => {
                    // Undoes this commit; or fails, if SQLite has undone all of them already.
                    drop(savepoint);
                    Err(error)
                }
            };
            let undone = transaction.is_autocommit();
            match result {
                // These are this household's own trouble; all others hit the whole database.
                Ok(()) | Err(StoreError::Conflict | StoreError::Corrupt(_)) if !undone => {
                    results.push(result);
                }
                Ok(()) => return Err(StoreError::Unavailable("a transaction was undone".into())),
                Err(error) => return Err(error),
            }
        }
        transaction.commit().map_err(classify)?;
        Ok(results)
    }

    /// Everything kept of a household, from one state of the database.
    pub(super) fn load(&mut self, household: &HouseholdId) -> Result<Option<Stored>, StoreError> {
        let transaction = self.connection.transaction().map_err(classify)?;
        read(&transaction, household).map_err(classify)
    }

    /// Reads anything, from one state of the database.
    pub(super) fn read_with<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.connection.transaction().map_err(classify)?;
        work(&transaction)
    }

    /// Reads something.
    pub(super) fn probe_read(&self) -> Result<(), StoreError> {
        let found = self.connection.query_row("SELECT 1 FROM household LIMIT 1", [], |_| Ok(()));
        found.optional().map(drop).map_err(classify)
    }

    /// Writes something that changes nothing, with its fsync.
    pub(super) fn probe_write(&self) -> Result<(), StoreError> {
        let schema = schema_version(&self.connection)?;
        self.connection.pragma_update(None, "user_version", schema).map_err(classify)
    }

    /// A setting, to see that it holds.
    #[cfg(test)]
    pub(super) fn setting(&self, name: &str) -> String {
        let read = |row: &rusqlite::Row| row.get::<_, rusqlite::types::Value>(0);
        match self.connection.pragma_query_value(None, name, read).unwrap() {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Lets the file grow by no page more, to see what a full disk does.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.connection.query_row("PRAGMA max_page_count = 1", [], |_| Ok(())).unwrap();
    }
}

/// Opens a database that is there, to read only: one that a server uses, or a backup.
pub(super) fn open_existing(path: &Path) -> Result<Connection, OpenError> {
    if !path.is_file() {
        return Err(OpenError::Missing(path.display().to_string()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(classify)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(classify)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(classify)?;
    Ok(connection)
}

/// Opens for writing.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(classify)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(classify)?;
    // What is deleted is overwritten: an erased household leaves nothing in free space, and neither
    // does what its log and snapshots had before.
    connection.pragma_update(None, "secure_delete", true).map_err(classify)?;
    // FULL: every commit waits for an fsync of the write-ahead log.
    connection.pragma_update(None, "synchronous", "FULL").map_err(classify)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(classify)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn schema_version(connection: &Connection) -> Result<i64, StoreError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(classify)
}

/// Refuses what is not ours or too new, before anything is written, and returns the schema's
/// version.
pub(super) fn recognise(connection: &Connection) -> Result<i64, OpenError> {
    let known = MIGRATIONS.len() as i64;
    let found = schema_version(connection)?;
    let application: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(classify)?;
    // A new file; also one of a first start that was killed before its first migration.
    let empty = application == 0 && found == 0 && tables(connection)? == 0;
    if application != APPLICATION_ID && !empty {
        return Err(StoreError::Corrupt("it belongs to another program".into()).into());
    }
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    Ok(found)
}

/// Applies the migrations that are missing, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> Result<(), StoreError> {
    for (at, migration) in MIGRATIONS.iter().enumerate() {
        let version = at as i64 + 1;
        if version <= found {
            continue;
        }
        let transaction = connection.transaction().map_err(classify)?;
        transaction.execute_batch(migration).map_err(classify)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(classify)?;
        transaction.pragma_update(None, "user_version", version).map_err(classify)?;
        transaction.commit().map_err(classify)?;
    }
    if (1..SECURE_DELETE_SINCE).contains(&found) {
        // Free space of older versions still holds what they deleted.
        connection.execute_batch("VACUUM").map_err(classify)?;
    }
    Ok(())
}

fn tables(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(classify)
}

fn apply(
    connection: &Connection,
    household: &HouseholdId,
    commit: &Commit,
) -> Result<(), StoreError> {
    let key = advance(connection, household, commit)?;
    let run = || -> rusqlite::Result<()> {
        let mut append = connection
            .prepare_cached("INSERT INTO log (household, version, entry) VALUES (?1, ?2, ?3)")?;
        for (version, entry) in &commit.entries {
            append.execute(params![key, signed(*version), entry])?;
        }
        let mut replace = connection.prepare_cached(
            "INSERT INTO replica (household, replica, state) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET state = excluded.state",
        )?;
        for (replica, state) in &commit.replicas {
            replace.execute(params![key, signed(replica.0), state])?;
        }
        if let Some(Snapshot { version, bytes }) = &commit.snapshot {
            let mut replace = connection.prepare_cached(
                "INSERT INTO snapshot (household, version, state) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET version = excluded.version, state = excluded.state",
            )?;
            replace.execute(params![key, signed(*version), bytes])?;
            connection
                .prepare_cached("DELETE FROM log WHERE household = ?1 AND version <= ?2")?
                .execute(params![key, signed(*version)])?;
        }
        Ok(())
    };
    run().map_err(classify)?;
    Ok(())
}

/// Compares and sets the household's revision, creating its row for the first, and returns its key.
fn advance(
    connection: &Connection,
    household: &HouseholdId,
    commit: &Commit,
) -> Result<i64, StoreError> {
    let run = || -> rusqlite::Result<Option<i64>> {
        if commit.follows == 0 {
            connection
                .prepare_cached(
                    "INSERT INTO household (id, epoch, version, revision) VALUES (?1, ?2, 0, 0)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![household.as_str(), signed(commit.epoch.0)])?;
        }
        connection
            .prepare_cached(
                "UPDATE household SET revision = ?4, version = ?5
                 WHERE id = ?1 AND epoch = ?2 AND revision = ?3 RETURNING key",
            )?
            .query_row(
                params![
                    household.as_str(),
                    signed(commit.epoch.0),
                    signed(commit.follows),
                    signed(commit.revision),
                    signed(commit.version)
                ],
                |row| row.get(0),
            )
            .optional()
    };
    run().map_err(classify)?.ok_or(StoreError::Conflict)
}

pub(super) fn read(
    transaction: &Transaction,
    household: &HouseholdId,
) -> Result<Option<Stored>, rusqlite::Error> {
    let row = transaction
        .prepare_cached("SELECT key, epoch, revision, version FROM household WHERE id = ?1")?
        .query_row([household.as_str()], |row| {
            let numbers = (unsigned(row.get(1)?), unsigned(row.get(2)?), unsigned(row.get(3)?));
            Ok((row.get::<_, i64>(0)?, numbers))
        })
        .optional()?;
    let Some((key, (epoch, revision, version))) = row else {
        return Ok(None);
    };
    let snapshot = transaction
        .prepare_cached("SELECT version, state FROM snapshot WHERE household = ?1")?
        .query_row([key], |row| Ok((unsigned(row.get(0)?), row.get(1)?)))
        .optional()?;
    let (snapshot_version, snapshot) = snapshot.unwrap_or_default();
    let log = transaction
        .prepare_cached("SELECT version, entry FROM log WHERE household = ?1 ORDER BY version")?
        .query_map([key], |row| Ok((unsigned(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let replicas = transaction
        .prepare_cached("SELECT replica, state FROM replica WHERE household = ?1")?
        .query_map([key], |row| Ok((ReplicaId(unsigned(row.get(0)?)), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let epoch = EpochId(epoch);
    Ok(Some(Stored { epoch, revision, version, snapshot, snapshot_version, log, replicas }))
}

/// SQLite's integers are signed; the same 64 bits, and versions never come near the top one.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(super) fn classify(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch,
        ) => StoreError::Corrupt(error.to_string()),
        None => StoreError::Corrupt(error.to_string()),
        Some(_) => StoreError::Unavailable(error.to_string()),
    }
}
