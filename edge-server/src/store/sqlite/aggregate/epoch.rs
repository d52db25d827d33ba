//! Reading an epoch, and its end.

use super::super::database::{signed, unsigned};
use super::published::publish_pattern;
use super::row::{self, charge, close, embedding, genre, pattern, refused, region};
use super::{all, one, run};
use crate::aggregate::region::Region;
use crate::aggregate::space::Anchor;
use crate::store::StoreError;
use crate::store::aggregate::{Close, Counted, EpochEnd, EpochPage, PAGE_ROWS_MAX};
use omega_sync_core::id::HouseholdId;
use omega_sync_core::pattern::{Pattern, PatternId};
use rusqlite::{Connection, params};

fn revision(connection: &Connection, epoch: u64) -> Result<u64, StoreError> {
    let sql = "SELECT sum(revision) FROM epoch WHERE number <= ?1 HAVING count(*) > 0";
    let found = one(connection, sql, [signed(epoch)], |row| Ok(unsigned(row.get(0)?)))?;
    Ok(found.unwrap_or(0))
}

/// Whole households, as far as a page goes. Who was counted in this epoch already is left out.
pub(super) fn page(
    connection: &Connection,
    epoch: u64,
    after: Option<&HouseholdId>,
) -> Result<EpochPage, StoreError> {
    let sql = "SELECT household, region, pattern, genre, samples, successes, embedding, device
               FROM waiting
               WHERE epoch <= ?1 AND household > ?2
                 AND NOT EXISTS (SELECT 1 FROM contributed AS c
                                 WHERE c.household = waiting.household AND c.epoch = ?1)
               ORDER BY household, device, pattern, epoch LIMIT ?3";
    let after = after.map_or("", |household| household.as_str());
    let values = params![signed(epoch), after, PAGE_ROWS_MAX as i64];
    let rows: Vec<(HouseholdId, Option<Region>, Pattern, String)> =
        all(connection, sql, values, |row| {
            let household = HouseholdId::new(&row.get::<_, String>(0)?).map_err(refused)?;
            let from = match row.get_ref(1)? {
                rusqlite::types::ValueRef::Null => None,
                _ => Some(region(row, 1)?),
            };
            Ok((household, from, pattern(row, 2)?, row.get(7)?))
        })?;
    let more = rows.len() == PAGE_ROWS_MAX;
    let mut households: Vec<Counted> = Vec::new();
    let mut last_device = String::new();
    for (household, region, pattern, device) in rows {
        match households.last_mut().filter(|last| last.household == household) {
            Some(of) => {
                // One that waits since an earlier epoch has a newer version in this one.
                let is_last = |last: &Pattern| last.id == pattern.id && last_device == device;
                of.patterns.pop_if(|last| is_last(last));
                of.patterns.push(pattern);
            }
            None => households.push(Counted { household, region, patterns: vec![pattern] }),
        }
        last_device = device;
    }
    if more {
        // The last one may go on in the next page; its patterns are fewer than a page.
        households.pop();
    }
    Ok(EpochPage { revision: revision(connection, epoch)?, households, more })
}

pub(super) fn end(connection: &Connection, end: &EpochEnd) -> Result<Close, StoreError> {
    let epoch = signed(end.epoch);
    if revision(connection, end.epoch)? != end.revision
        || !close(connection, "closed_epoch", end.epoch, end.follows)?
    {
        return Ok(Close::Stale);
    }
    let sql = "INSERT INTO contributed (epoch, household)
               SELECT DISTINCT ?1, household FROM waiting WHERE epoch <= ?1
               ON CONFLICT DO NOTHING";
    run(connection, sql, [epoch])?;
    // First what the trigger would count up.
    run(connection, "DELETE FROM epoch WHERE number <= ?1", [epoch])?;
    run(connection, "DELETE FROM waiting WHERE epoch <= ?1", [epoch])?;
    let forget = signed(end.forget_before);
    run(connection, "DELETE FROM contributed WHERE epoch < ?1", [forget])?;
    if !charge(connection, &end.charge)? {
        return Ok(Close::Spent);
    }
    let known = clusters(connection)?;
    for cluster in known.iter().filter(|cluster| !end.clusters.contains(cluster)) {
        let id = i64::try_from(cluster.id.0).unwrap_or(i64::MAX);
        run(connection, "DELETE FROM cluster WHERE pattern = ?1", [id])?;
    }
    for cluster in end.clusters.iter().filter(|cluster| !known.contains(cluster)) {
        let sql = "INSERT INTO cluster (pattern, genre, embedding) VALUES (?1, ?2, ?3)";
        let id = i64::try_from(cluster.id.0).unwrap_or(i64::MAX);
        let values = params![id, cluster.genre.as_str(), row::bytes(&cluster.centre)];
        run(connection, sql, values)?;
    }
    for released in &end.released {
        publish_pattern(connection, released, end.private)?;
    }
    Ok(Close::Done)
}

pub(super) fn clusters(connection: &Connection) -> Result<Vec<Anchor>, StoreError> {
    let sql = "SELECT pattern, genre, embedding FROM cluster ORDER BY pattern";
    all(connection, sql, [], |row| {
        let id = PatternId(u128::from(unsigned(row.get(0)?)));
        Ok(Anchor { id, genre: genre(row, 1)?, centre: embedding(row, 2)? })
    })
}
