//! What a restore takes over from the database that it replaces: all that a backup must not undo.
//!
//! Invariant: after a restore nobody takes part who had opted out, nothing waits that was taken back or
//! counted since the backup, nothing is there of whom was erased, no token counts that was revoked, and
//! the ledger has what was spent. Where the replaced database can't say so, nothing waits at all.

use super::database::classify;
use super::erasure;
use crate::store::{OpenError, StoreError};
use rusqlite::{Connection, Transaction};
use std::path::Path;

/// The name that the replaced database has beside the restored one.
const REPLACED: &str = "replaced";
/// Both databases are of one schema. Whoever took no part then or now takes none.
const JOIN: &str = "
    INSERT OR IGNORE INTO main.opted_out SELECT * FROM replaced.opted_out;
    INSERT OR IGNORE INTO main.opted_out_device SELECT * FROM replaced.opted_out_device;
    INSERT OR IGNORE INTO main.contributed SELECT * FROM replaced.contributed;
    INSERT OR IGNORE INTO main.revoked_token SELECT * FROM replaced.revoked_token;
    INSERT INTO main.not_before SELECT * FROM replaced.not_before WHERE true
        ON CONFLICT DO UPDATE SET at = max(at, excluded.at);
    INSERT INTO main.budget SELECT * FROM replaced.budget WHERE true
        ON CONFLICT DO UPDATE SET spent = max(spent, excluded.spent);";
/// What waits is what waited last. Of patterns that were taken back nothing else tells.
const WAIT: &str = "
    INSERT INTO main.epoch SELECT * FROM replaced.epoch;
    INSERT INTO main.waiting SELECT * FROM replaced.waiting;
    INSERT INTO main.playing SELECT * FROM replaced.playing;
    DELETE FROM main.waiting WHERE household IN (SELECT household FROM opted_out)
        OR (household, device) IN (SELECT household, device FROM opted_out_device);
    DELETE FROM main.playing WHERE household IN (SELECT household FROM opted_out)
        OR household IN (SELECT household FROM opted_out_device);";

/// Puts a database that is to be replaced beside a restored one. Not within a transaction.
pub(super) fn attach(connection: &Connection, replaced: &Path) -> Result<(), OpenError> {
    let name = replaced.to_str().ok_or_else(|| OpenError::Folder {
        path: replaced.display().to_string(),
        reason: "its name is no text".into(),
    })?;
    let sql = format!("ATTACH DATABASE ?1 AS {REPLACED}");
    connection.execute(&sql, [name]).map_err(classify)?;
    Ok(())
}

/// Forgets what waits: it may have been taken back, or counted.
pub(super) fn forget_what_waits(connection: &Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM main.waiting; DELETE FROM main.playing; DELETE FROM main.epoch";
    connection.execute_batch(sql).map_err(classify)
}

/// Takes over all that the database beside this one has, or nothing.
pub(super) fn carry(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    let run = |transaction: &mut Transaction<'_>| -> rusqlite::Result<()> {
        let all = transaction.savepoint()?;
        let erased = erasure::list(&all, REPLACED)?;
        erasure::repeat(&all, &erased)?;
        all.execute_batch(JOIN)?;
        all.execute_batch(WAIT)?;
        all.commit()
    };
    run(transaction).map_err(classify)
}
