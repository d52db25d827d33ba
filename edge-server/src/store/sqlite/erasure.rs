//! Erasing a household: every row of every table that belongs to it, and every trace in the files.
//!
//! Invariant: a table whose rows belong to a household says so by a column `household`, either its key
//! (a number) or its id (a text), so erasure and export find it by the schema and a new table can't be
//! forgotten; `tests` has the list of the others. Freed space is overwritten (`secure_delete`), and
//! the write-ahead log is emptied before an erasure is answered.

use super::database::{Database, FILE_NAME, classify, lock, open_existing, read, recognise};
use crate::store::{Held, OpenError, Rows, StoreError};
use omega_sync_core::id::{EpochId, HouseholdId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;

/// Of a household's id, kept of one that was erased.
const DIGEST_BYTES: usize = 16;
/// Tables that the core's own state is in; the others are exported row by row.
const CORE_TABLES: [&str; 3] = ["snapshot", "log", "replica"];

/// A table with rows of households.
struct Table {
    name: String,
    /// Whether they are named by their id and not by their key.
    by_id: bool,
}

/// Erases a household from a folder's database. The server must be stopped. Answers whether there
/// was anything.
///
/// # Errors
/// The folder is in use, or the database can't be used.
pub fn erase(folder: &Path, household: &HouseholdId) -> Result<bool, OpenError> {
    let _lock = lock(folder)?;
    if !folder.join(FILE_NAME).exists() {
        return Err(OpenError::Missing(folder.join(FILE_NAME).display().to_string()));
    }
    let mut database = Database::open(folder)?;
    let existed = database.erase(household)?;
    // With the server stopped there is time to leave no free page at all.
    database.connection.execute_batch("VACUUM").map_err(classify)?;
    database.empty_log()?;
    Ok(existed)
}

impl Database {
    /// Erases a household and remembers that it was erased. Answers whether there was anything.
    pub(super) fn erase(&mut self, household: &HouseholdId) -> Result<bool, StoreError> {
        let run = |connection: &mut Connection| -> rusqlite::Result<bool> {
            let transaction = connection.transaction()?;
            let existed = erase_rows(&transaction, household.as_str())?;
            transaction.execute(
                "INSERT OR IGNORE INTO erased (household_digest) VALUES (?1)",
                [digest(household.as_str())],
            )?;
            transaction.commit()?;
            Ok(existed)
        };
        let existed = run(&mut self.connection).map_err(classify)?;
        self.empty_log()?;
        Ok(existed)
    }

    /// Folds the write-ahead log into the database and empties it: what was erased was in it too.
    pub(super) fn empty_log(&self) -> Result<(), StoreError> {
        let checkpoint = |row: &rusqlite::Row| row.get::<_, i64>(0);
        let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint);
        match busy.map_err(classify)? {
            0 => Ok(()),
            // Somebody reads, such as a backup.
            _ => Err(StoreError::Unavailable("somebody reads the write-ahead log".into())),
        }
    }

    /// Whether a household was ever erased, and the epochs of its former lives since then.
    pub(super) fn lives(
        &self,
        household: &HouseholdId,
    ) -> Result<Option<Vec<EpochId>>, StoreError> {
        let run = || -> rusqlite::Result<Option<Vec<EpochId>>> {
            let erased = self
                .connection
                .prepare_cached("SELECT 1 FROM erased WHERE household_digest = ?1")?
                .exists([digest(household.as_str())])?;
            if !erased {
                return Ok(None);
            }
            let mut lives = self.connection.prepare_cached(
                "SELECT life.epoch FROM life JOIN household ON life.household = household.key
                 WHERE household.id = ?1",
            )?;
            let lives = lives.query_map([household.as_str()], |row| row.get::<_, i64>(0))?;
            let lives = lives.map(|life| Ok(EpochId(life?.cast_unsigned())));
            Ok(Some(lives.collect::<rusqlite::Result<_>>()?))
        };
        run().map_err(classify)
    }
}

/// Everything that a folder's database has of a household; the server may run.
///
/// # Errors
/// There is no database, or it can't be read.
pub fn export(folder: &Path, household: &HouseholdId) -> Result<Option<Held>, OpenError> {
    let mut connection = open_existing(&folder.join(FILE_NAME))?;
    recognise(&connection)?;
    Ok(held(&mut connection, household)?)
}

/// Everything that is held of a household, from one moment.
pub(super) fn held(
    connection: &mut Connection,
    household: &HouseholdId,
) -> Result<Option<Held>, StoreError> {
    let transaction = connection.transaction().map_err(classify)?;
    let stored = read(&transaction, household).map_err(classify)?;
    let rows = rows(&transaction, household.as_str()).map_err(classify)?;
    let held = stored.is_some() || !rows.is_empty();
    Ok(held.then_some(Held { stored, rows }))
}

/// What tables beside the core's have of a household, by the tables' names.
fn rows(connection: &Connection, household: &str) -> rusqlite::Result<Vec<(String, Rows)>> {
    let key = key(connection, household)?;
    let mut all = Vec::new();
    for table in tables(connection)? {
        if CORE_TABLES.contains(&table.name.as_str()) {
            continue;
        }
        let mut statement = connection
            .prepare(&format!("SELECT * FROM \"{}\" WHERE household = ?1", table.name))?;
        let names: Vec<String> = statement.column_names().map(Into::into).collect();
        let mut found = match table.by_id {
            true => statement.query([household])?,
            false => statement.query([key])?,
        };
        let mut rows = Rows::new();
        while let Some(row) = found.next()? {
            let cells = names.iter().enumerate().filter(|(_, name)| *name != "household");
            let cells = cells.map(|(at, name)| Ok((name.clone(), value(row.get_ref(at)?))));
            rows.push(cells.collect::<rusqlite::Result<_>>()?);
        }
        if !rows.is_empty() {
            all.push((table.name, rows));
        }
    }
    Ok(all)
}

fn value(cell: ValueRef) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
    }
}

/// Whether a household was erased and has not begun anew.
pub(super) fn is_erased(connection: &Connection, household: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM erased WHERE household_digest = ?1
               AND NOT EXISTS (SELECT 1 FROM household WHERE id = ?2)";
    connection.prepare_cached(sql)?.exists(params![digest(household), household])
}

/// The digests of all households that were erased in a database of this connection.
pub(super) fn list(connection: &Connection, database: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut digests =
        connection.prepare(&format!("SELECT household_digest FROM {database}.erased"))?;
    digests.query_map([], |row| row.get(0))?.collect()
}

/// Erases what was erased in another copy of the database and not yet in this one.
pub(super) fn repeat(connection: &Connection, erased: &[Vec<u8>]) -> rusqlite::Result<()> {
    let known = list(connection, "main")?;
    let erased: Vec<&Vec<u8>> = erased.iter().filter(|digest| !known.contains(digest)).collect();
    let mut ids = connection.prepare("SELECT id FROM household")?;
    let mut ids: BTreeSet<String> =
        ids.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables(connection)?.into_iter().filter(|table| table.by_id) {
        let mut named = connection.prepare(&format!("SELECT household FROM \"{}\"", table.name))?;
        for id in named.query_map([], |row| row.get::<_, String>(0))? {
            ids.insert(id?);
        }
    }
    for id in ids {
        if erased.contains(&&digest(&id)) {
            erase_rows(connection, &id)?;
        }
    }
    for digest in erased {
        connection
            .execute("INSERT OR IGNORE INTO erased (household_digest) VALUES (?1)", [digest])?;
    }
    Ok(())
}

fn erase_rows(connection: &Connection, household: &str) -> rusqlite::Result<bool> {
    let key = key(connection, household)?;
    let mut erased = 0;
    for table in tables(connection)? {
        let delete = format!("DELETE FROM \"{}\" WHERE household = ?1", table.name);
        erased += match table.by_id {
            true => connection.execute(&delete, [household])?,
            false => connection.execute(&delete, [key])?,
        };
    }
    erased += connection.execute("DELETE FROM household WHERE id = ?1", params![household])?;
    Ok(erased > 0)
}

/// The number that stands for a household in other tables.
fn key(connection: &Connection, household: &str) -> rusqlite::Result<Option<i64>> {
    let mut key = connection.prepare_cached("SELECT key FROM household WHERE id = ?1")?;
    key.query_row([household], |row| row.get(0)).optional()
}

/// Every table with rows of households, but that of the households.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut tables = connection.prepare_cached(
        "SELECT t.name, c.type = 'TEXT' FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND c.name = 'household' ORDER BY t.name",
    )?;
    tables.query_map([], |row| Ok(Table { name: row.get(0)?, by_id: row.get(1)? }))?.collect()
}

/// Those that name households by their key.
pub(super) fn keyed_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let keyed = tables(connection)?.into_iter().filter(|table| !table.by_id);
    Ok(keyed.map(|table| table.name).collect())
}

/// What is kept of the id of a household that was erased.
fn digest(household: &str) -> Vec<u8> {
    Sha256::digest(household.as_bytes())[..DIGEST_BYTES].to_vec()
}
