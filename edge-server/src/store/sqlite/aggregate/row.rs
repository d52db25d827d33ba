//! Rows to values and back, and what releases share.

use super::super::database::{classify, signed, unsigned};
use super::{one, run, spent};
use crate::aggregate::privacy::{Ledger, PrivacyError};
use crate::aggregate::region::Region;
use crate::store::StoreError;
use crate::store::aggregate::Charge;
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use std::error::Error;

/// Only epochs that are not closed.
pub(super) const EPOCHS_OF_SHARED: &str =
    "AND epoch > (SELECT coalesce(max(closed_epoch), 0) FROM shared)";

/// What is stored is not what was written.
pub(super) fn refused(error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
}

/// An embedding's bytes.
pub(super) fn bytes(embedding: &Embedding) -> Vec<u8> {
    embedding.as_slice().iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// The embedding in a column.
pub(super) fn embedding(row: &Row<'_>, at: usize) -> rusqlite::Result<Embedding> {
    let bytes: Vec<u8> = row.get(at)?;
    let pairs = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    Embedding::from_units(&pairs.collect::<Vec<i16>>()).map_err(refused)
}

/// The genre in a column.
pub(super) fn genre(row: &Row<'_>, at: usize) -> rusqlite::Result<Genre> {
    Genre::new(&row.get::<_, String>(at)?).map_err(refused)
}

/// The region in a column.
pub(super) fn region(row: &Row<'_>, at: usize) -> rusqlite::Result<Region> {
    Region::new(&row.get::<_, String>(at)?).map_err(refused)
}

/// The pattern in five columns: id, genre, samples, successes, embedding.
pub(super) fn pattern(row: &Row<'_>, from: usize) -> rusqlite::Result<Pattern> {
    let id: [u8; 16] = row.get(from)?;
    let (samples, successes) = (row.get(from + 2)?, row.get(from + 3)?);
    let (genre, embedding) = (genre(row, from + 1)?, embedding(row, from + 4)?);
    let id = PatternId(u128::from_le_bytes(id));
    Pattern::new(id, genre, embedding, samples, successes).map_err(refused)
}

/// Debits a release; false, and nothing is debited, when too little is left.
pub(super) fn charge(connection: &Connection, charge: &Charge) -> Result<bool, StoreError> {
    let Charge { account, year, rho, limit } = *charge;
    let ledger = Ledger::new(limit, spent(connection, account, year)?);
    let ledger = match ledger.charge(rho) {
        Ok(ledger) => ledger,
        Err(PrivacyError::Spent { .. }) => return Ok(false),
        Err(error) => return Err(StoreError::Corrupt(error.to_string())),
    };
    let sql = "INSERT INTO budget (account, year, spent) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET spent = excluded.spent";
    let spent = signed(ledger.spent().trillionths());
    run(connection, sql, params![account.name(), signed(year), spent])?;
    Ok(true)
}

/// A version that no other row has.
pub(super) fn next_version(connection: &Connection) -> Result<i64, StoreError> {
    let sql = "UPDATE shared SET version = version + 1 RETURNING version";
    let missing = || classify(rusqlite::Error::QueryReturnedNoRows);
    one(connection, sql, [], |row| row.get(0))?.ok_or_else(missing)
}

/// Whether it is this span's turn to be closed, after the one it follows; if so, it counts as closed.
pub(super) fn close(
    connection: &Connection,
    column: &str,
    span: u64,
    follows: u64,
) -> Result<bool, StoreError> {
    let sql = format!("UPDATE shared SET {column} = ?1 WHERE {column} = ?2 RETURNING {column}");
    let values = [signed(span), signed(follows)];
    let closed = one(connection, &sql, values, |row| Ok(unsigned(row.get(0)?)))?;
    Ok(closed == Some(span))
}
