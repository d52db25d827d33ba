//! Contributions, budgets and releases in SQLite: every line of their SQL.

mod day;
mod epoch;
mod published;
mod row;

use self::row::{EPOCHS_OF_SHARED, pattern, refused};
use super::database::{classify, signed, unsigned};
use super::{SqliteStore, erasure};
use crate::aggregate::privacy::Rho;
use crate::aggregate::region::Region;
use crate::aggregate::settings::YEAR_MINUTES;
use crate::aggregate::space::Anchor;
use crate::aggregate::trends::{Course, TITLES_OF_DAY_MAX};
use crate::store::aggregate::{
    Account, AggregateStore, Bringing, Brought, Close, DayCounts, DayEnd, EpochEnd, EpochPage,
    FeedTitle, FirstPlay, Kept, OPTED_OUT_DEVICES_MAX, Published, Shared, TrendList, WAITING_MAX,
    Waiting, Wanted,
};
use crate::store::{Answer, StoreError};
use omega_sync_core::id::{ContentId, DeviceId, HouseholdId};
use omega_sync_core::pattern::PatternId;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

impl AggregateStore for SqliteStore {
    fn shared(&self, over_epoch: u64, over_day: u64) -> Answer<Shared> {
        let read = self.read(shared);
        let begin = self.write(move |connection| begin(connection, over_epoch, over_day));
        Box::pin(async move {
            match read.await? {
                Some(shared) => Ok(shared),
                None => begin.await,
            }
        })
    }

    fn waiting(&self, household: &HouseholdId) -> Answer<Waiting> {
        let household = household.clone();
        self.read(move |connection| waiting(connection, &household))
    }

    fn bring(&self, household: &HouseholdId, brought: Brought) -> Answer<Bringing> {
        let household = household.clone();
        self.write(move |connection| bring(connection, &household, &brought))
    }

    fn take_back(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        gone: Vec<PatternId>,
    ) -> Answer<()> {
        let (household, device) = (household.clone(), device.clone());
        self.write(move |connection| {
            let sql = "DELETE FROM waiting WHERE household = ?1 AND device = ?2 AND pattern = ?3";
            gone.iter().try_for_each(|id| {
                let id = id.0.to_le_bytes();
                run(connection, sql, params![household.as_str(), device.as_str(), id])
            })
        })
    }

    fn set_device_opted_out(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        opted_out: bool,
    ) -> Answer<()> {
        let (household, device) = (household.clone(), device.clone());
        self.write(move |connection| {
            let who = params![household.as_str(), device.as_str()];
            if !opted_out {
                let sql = "DELETE FROM opted_out_device WHERE household = ?1 AND device = ?2";
                return run(connection, sql, who);
            }
            run(connection, "DELETE FROM waiting WHERE household = ?1 AND device = ?2", who)?;
            run(connection, "DELETE FROM playing WHERE household = ?1", [household.as_str()])?;
            if is_erased(connection, &household)? {
                return Ok(());
            }
            let sql = "INSERT INTO opted_out_device (household, device) SELECT ?1, ?2
                       WHERE (SELECT count(*) FROM opted_out_device WHERE household = ?1) < ?3
                       ON CONFLICT DO NOTHING";
            let most = OPTED_OUT_DEVICES_MAX as i64;
            run(connection, sql, params![household.as_str(), device.as_str(), most])
        })
    }

    fn is_device_opted_out(&self, household: &HouseholdId, device: &DeviceId) -> Answer<bool> {
        let (household, device) = (household.clone(), device.clone());
        self.read(move |connection| {
            let sql = "SELECT 1 FROM opted_out_device WHERE household = ?1 AND device = ?2";
            let who = params![household.as_str(), device.as_str()];
            Ok(one(connection, sql, who, |_| Ok(()))?.is_some())
        })
    }

    fn set_opted_out(&self, household: &HouseholdId, opted_out: bool) -> Answer<()> {
        let household = household.clone();
        self.write(move |connection| {
            let sql = match opted_out {
                true => "INSERT INTO opted_out (household) VALUES (?1) ON CONFLICT DO NOTHING",
                false => "DELETE FROM opted_out WHERE household = ?1",
            };
            run(connection, sql, params![household.as_str()])?;
            if opted_out { erase(connection, &household) } else { Ok(()) }
        })
    }

    fn kept(&self, household: &HouseholdId) -> Answer<Kept> {
        let household = household.clone();
        self.read(move |connection| {
            let waiting = waiting(connection, &household)?;
            let sql = "SELECT day, content FROM playing WHERE household = ?1 ORDER BY day, content";
            let playing = all(connection, sql, params![household.as_str()], |row| {
                let content: String = row.get(1)?;
                Ok((unsigned(row.get(0)?), ContentId::new(&content).map_err(refused)?))
            })?;
            Ok(Kept { waiting, playing })
        })
    }

    fn note_playing(&self, plays: Vec<FirstPlay>) -> Answer<()> {
        self.write(move |connection| note_playing(connection, &plays))
    }

    fn epoch_page(&self, epoch: u64, after: Option<HouseholdId>) -> Answer<EpochPage> {
        self.read(move |connection| epoch::page(connection, epoch, after.as_ref()))
    }

    fn end_epoch(&self, end: EpochEnd) -> Answer<Close> {
        self.write(move |connection| epoch::end(connection, &end))
    }

    fn day_counts(&self, day: u64) -> Answer<DayCounts> {
        self.read(move |connection| day::counts(connection, day))
    }

    fn courses(&self, private: bool) -> Answer<BTreeMap<Region, BTreeMap<ContentId, Course>>> {
        self.read(move |connection| day::courses(connection, private))
    }

    fn end_day(&self, end: DayEnd) -> Answer<Close> {
        self.write(move |connection| day::end(connection, &end))
    }

    fn clusters(&self) -> Answer<Vec<Anchor>> {
        self.read(epoch::clusters)
    }

    fn spent(&self, account: Account, year: u64) -> Answer<Rho> {
        self.read(move |connection| spent(connection, account, year))
    }

    fn feed(&self, titles: Vec<FeedTitle>) -> Answer<u64> {
        self.write(move |connection| published::feed(connection, &titles))
    }

    fn published(&self, what: Wanted, after: u64) -> Answer<Vec<Published>> {
        self.read(move |connection| published::published(connection, &what, after))
    }

    fn trends(&self, region: &Region) -> Answer<Option<TrendList>> {
        let region = region.clone();
        self.read(move |connection| day::trends(connection, &region))
    }
}

/// Runs a statement for what it changes.
fn run(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), StoreError> {
    let run = || connection.prepare_cached(sql)?.execute(values);
    run().map(drop).map_err(classify)
}

/// All rows of a query.
fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let run = || -> rusqlite::Result<Vec<T>> {
        connection.prepare_cached(sql)?.query_map(values, read)?.collect()
    };
    run().map_err(classify)
}

/// The row of a query, if there is one.
fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let run = || connection.prepare_cached(sql)?.query_row(values, read).optional();
    run().map_err(classify)
}

fn shared(connection: &Connection) -> Result<Option<Shared>, StoreError> {
    let sql = "SELECT life, version, closed_epoch, closed_day,
                      EXISTS (SELECT 1 FROM published WHERE private = 0)
                      OR EXISTS (SELECT 1 FROM trend WHERE private = 0)
               FROM shared WHERE closed_epoch IS NOT NULL";
    one(connection, sql, [], |row| {
        Ok(Shared {
            life: row.get(0)?,
            version: unsigned(row.get(1)?),
            closed_epoch: unsigned(row.get(2)?),
            closed_day: unsigned(row.get(3)?),
            not_private: row.get(4)?,
        })
    })
}

fn begin(connection: &Connection, epoch: u64, day: u64) -> Result<Shared, StoreError> {
    let (epoch, day) = (signed(epoch), signed(day));
    let sql = "UPDATE shared SET closed_epoch = ?1, closed_day = ?2 WHERE closed_epoch IS NULL";
    run(connection, sql, [epoch, day])?;
    // What a backup brought back may have been released before: never again.
    // And what a clock that was ahead brought would wait until then.
    let last = epoch + signed(YEAR_MINUTES);
    run(connection, "DELETE FROM epoch WHERE number <= ?1 OR number > ?2", [epoch, last])?;
    run(connection, "DELETE FROM waiting WHERE epoch <= ?1 OR epoch > ?2", [epoch, last])?;
    run(connection, "DELETE FROM playing WHERE day <= ?1 OR day > ?1 + 1", [day])?;
    let missing = || StoreError::Corrupt("the table `shared` is empty".into());
    shared(connection)?.ok_or_else(missing)
}

fn is_opted_out(connection: &Connection, household: &HouseholdId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM opted_out WHERE household = ?1";
    Ok(one(connection, sql, params![household.as_str()], |_| Ok(()))?.is_some())
}

/// A request that was on its way when its household was erased brings nothing back.
fn is_erased(connection: &Connection, household: &HouseholdId) -> Result<bool, StoreError> {
    erasure::is_erased(connection, household.as_str()).map_err(classify)
}

fn waiting(connection: &Connection, household: &HouseholdId) -> Result<Waiting, StoreError> {
    let opted_out = is_opted_out(connection, household)?;
    // Of each the newest version: where the number of releases in a year has changed, patterns wait for
    // several ends. SQLite takes the other columns from the row that has the maximum.
    let sql =
        "SELECT pattern, genre, samples, successes, embedding, device, max(epoch) FROM waiting
               WHERE household = ?1";
    let sql =
        &format!("{sql} {EPOCHS_OF_SHARED} GROUP BY device, pattern ORDER BY device, pattern");
    let patterns = all(connection, sql, params![household.as_str()], |row| {
        let device = DeviceId::new(&row.get::<_, String>(5)?).map_err(refused)?;
        Ok((device, pattern(row, 0)?))
    })?;
    let sql = "SELECT epoch FROM contributed WHERE household = ?1 ORDER BY epoch";
    let counted_in =
        all(connection, sql, params![household.as_str()], |row| Ok(unsigned(row.get(0)?)))?;
    Ok(Waiting { opted_out, patterns, counted_in })
}

fn bring(
    connection: &Connection,
    household: &HouseholdId,
    brought: &Brought,
) -> Result<Bringing, StoreError> {
    if is_erased(connection, household)? {
        return Ok(Bringing::Erased);
    }
    if is_opted_out(connection, household)? {
        return Ok(Bringing::OptedOut);
    }
    if brought.patterns.is_empty() {
        return Ok(Bringing::Kept);
    }
    let closed = shared(connection)?.map_or(0, |shared| shared.closed_epoch);
    let epoch = signed(brought.epoch.max(closed + 1));
    let sql = "INSERT INTO epoch (number, revision) VALUES (?1, 1)
               ON CONFLICT DO UPDATE SET revision = revision + 1";
    run(connection, sql, [epoch])?;
    for pattern in &brought.patterns {
        let sql = "INSERT INTO waiting (epoch, household, pattern, device, region, genre, samples,
                                        successes, embedding)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                   ON CONFLICT DO UPDATE SET
                       region = excluded.region, genre = excluded.genre, samples = excluded.samples,
                       successes = excluded.successes, embedding = excluded.embedding";
        let values = params![
            epoch,
            household.as_str(),
            pattern.id.0.to_le_bytes(),
            brought.device.as_str(),
            brought.region.as_ref().map(Region::as_str),
            pattern.genre.as_str(),
            pattern.sample_count(),
            pattern.success_count(),
            row::bytes(&pattern.embedding),
        ];
        run(connection, sql, values)?;
    }
    let sql =
        "DELETE FROM waiting WHERE epoch = ?1 AND household = ?2 AND (device, pattern) NOT IN (
                   SELECT device, pattern FROM waiting WHERE epoch = ?1 AND household = ?2
                   ORDER BY samples DESC, device, pattern LIMIT ?3)";
    run(connection, sql, params![epoch, household.as_str(), WAITING_MAX as i64])?;
    Ok(Bringing::Kept)
}

/// Erases what waits.
fn erase(connection: &Connection, household: &HouseholdId) -> Result<(), StoreError> {
    for sql in
        ["DELETE FROM waiting WHERE household = ?1", "DELETE FROM playing WHERE household = ?1"]
    {
        run(connection, sql, params![household.as_str()])?;
    }
    Ok(())
}

fn note_playing(connection: &Connection, plays: &[FirstPlay]) -> Result<(), StoreError> {
    let closed = shared(connection)?.map_or(0, |shared| shared.closed_day);
    for (day, household, region, content) in plays {
        if is_erased(connection, household)? {
            continue;
        }
        let sql = "INSERT INTO playing (day, household, content, region)
                   SELECT ?1, ?2, ?3, ?4
                   WHERE NOT EXISTS (SELECT 1 FROM opted_out WHERE household = ?2)
                     AND NOT EXISTS (SELECT 1 FROM opted_out_device WHERE household = ?2)
                     AND (SELECT count(*) FROM playing WHERE day = ?1 AND household = ?2) < ?5
                   ON CONFLICT DO NOTHING";
        let values = params![
            signed((*day).max(closed + 1)),
            household.as_str(),
            content.as_str(),
            region.as_str(),
            TITLES_OF_DAY_MAX as i64,
        ];
        run(connection, sql, values)?;
    }
    Ok(())
}

fn spent(connection: &Connection, account: Account, year: u64) -> Result<Rho, StoreError> {
    let sql = "SELECT spent FROM budget WHERE account = ?1 AND year = ?2";
    let spent = one(connection, sql, params![account.name(), signed(year)], |row| row.get(0))?;
    Ok(Rho::from_trillionths(unsigned(spent.unwrap_or(0))))
}

#[cfg(test)]
mod tests;
