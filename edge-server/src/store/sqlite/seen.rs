//! When devices were heard of last. A write of it waits for no fsync: with `synchronous=NORMAL` SQLite
//! puts it into the write-ahead log and leaves it to the system, so it survives the end of the process
//! at once, and a power cut with the next commit of any household, whose fsync is of the same file.

use super::database::{Database, classify};
use super::{SqliteStore, Write, ask};
use crate::presence::SEEN_MAX;
use crate::store::{Answer, StoreError};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{DeviceId, HouseholdId};
use rusqlite::{TransactionBehavior, params};

impl SqliteStore {
    pub(super) fn read_seen(&self, household: HouseholdId) -> Answer<Vec<(DeviceId, UnixMillis)>> {
        self.read(move |connection| {
            let run = || -> rusqlite::Result<Vec<(DeviceId, UnixMillis)>> {
                let mut rows = connection
                    .prepare_cached("SELECT device, at FROM device_seen WHERE household = ?1")?;
                let rows = rows.query_map([household.as_str()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
                })?;
                let rows: Vec<(String, u64)> = rows.collect::<rusqlite::Result<_>>()?;
                let known = rows.into_iter().filter_map(|(device, at)| {
                    Some((DeviceId::new(&device).ok()?, UnixMillis(at)))
                });
                Ok(known.collect())
            };
            run().map_err(classify)
        })
    }

    pub(super) fn write_seen(
        &self,
        household: HouseholdId,
        seen: Vec<(DeviceId, UnixMillis)>,
        forgotten: Vec<DeviceId>,
    ) -> Answer<()> {
        let queues = self.queues();
        Box::pin(async move {
            ask(&queues?.write, |reply| {
                Write::Change(Box::new(move |database| {
                    let result = write(database, &household, &seen, &forgotten);
                    // Who asked may have gone.
                    let _ = reply.to.send(result.clone());
                    result
                }))
            })
            .await
        })
    }
}

fn write(
    database: &mut Database,
    household: &HouseholdId,
    seen: &[(DeviceId, UnixMillis)],
    forgotten: &[DeviceId],
) -> Result<(), StoreError> {
    let connection = &mut database.connection;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(classify)?;
    let mut run = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let household = household.as_str();
        {
            let mut note = transaction.prepare_cached(
                "INSERT INTO device_seen (household, device, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
            )?;
            for (device, at) in seen {
                note.execute(params![household, device.as_str(), at.0.cast_signed()])?;
            }
            let mut forget = transaction
                .prepare_cached("DELETE FROM device_seen WHERE household = ?1 AND device = ?2")?;
            for device in forgotten {
                forget.execute(params![household, device.as_str()])?;
            }
            // As many as a room keeps.
            let mut trim = transaction.prepare_cached(
                "DELETE FROM device_seen WHERE household = ?1 AND device NOT IN (
                     SELECT device FROM device_seen WHERE household = ?1
                     ORDER BY at DESC, device LIMIT ?2)",
            )?;
            trim.execute(params![household, SEEN_MAX as i64])?;
        }
        transaction.commit()
    };
    let written = run().map_err(classify);
    // Whatever came of it, commits wait for their fsync again.
    connection.pragma_update(None, "synchronous", "FULL").map_err(classify)?;
    written
}

/// How many devices of a household the database in a folder has, as another process sees it.
#[cfg(test)]
pub(crate) fn seen_on_disk(folder: &std::path::Path, household: &str) -> usize {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let file = folder.join(super::FILE_NAME);
    let database = rusqlite::Connection::open_with_flags(file, flags).unwrap();
    let sql = "SELECT count(*) FROM device_seen WHERE household = ?1";
    database.query_row(sql, [household], |row| row.get::<_, u32>(0)).unwrap() as usize
}
