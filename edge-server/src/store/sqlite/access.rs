//! Paired devices and revoked tokens in the embedded store. Each change is a transaction of its own,
//! with its fsync: they are rare.

use super::database::{Database, classify};
use super::{Read, SqliteStore, Write, ask};
use crate::aggregate::region::Region;
use crate::store::Answer;
use crate::store::access::{
    self, AccessStore, Digest, KnownKey, Mark, Name, PAIRINGS_MAX, Paired, Pairing, PairingId,
    Revocation, Rotated, Rotation,
};
use omega_sync_core::id::{DeviceId, HouseholdId};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use std::collections::BTreeSet;

impl AccessStore for SqliteStore {
    fn pair(&self, pairing: Pairing, now: u64) -> Answer<Paired> {
        self.change(move |connection| pair(connection, &pairing, now))
    }

    fn paired(&self, household: HouseholdId, now: u64) -> Answer<BTreeSet<DeviceId>> {
        self.look(move |connection| {
            let mut paired = connection
                .prepare_cached("SELECT device FROM pairing WHERE household = ?1 AND ends > ?2")?;
            let paired = paired
                .query_map(params![household.as_str(), now.cast_signed()], |row| {
                    id(0, DeviceId::new(&row.get::<_, String>(0)?))
                })?;
            paired.collect()
        })
    }

    fn rotate(&self, rotation: Rotation) -> Answer<Rotated> {
        self.change(move |connection| rotate(connection, &rotation))
    }

    fn unpair(&self, id: PairingId, used: Digest) -> Answer<Option<(HouseholdId, DeviceId)>> {
        self.change(move |connection| {
            let mut delete = connection.prepare_cached(
                "DELETE FROM pairing WHERE id = ?1 AND (current = ?2 OR previous = ?2)
                 RETURNING household, device",
            )?;
            delete.query_row(params![id, used], |row| owner(row, 0)).optional()
        })
    }

    fn revoke(&self, revocation: Revocation, now: u64) -> Answer<()> {
        self.change(move |connection| revoke(connection, &revocation, now))
    }

    fn revocations(&self) -> Answer<Vec<Mark>> {
        self.look(|connection| {
            let mut tokens = connection.prepare("SELECT id, ends FROM revoked_token")?;
            let tokens = tokens.query_map([], |row| {
                Ok(Mark { name: Name::Token(row.get(0)?), at: number(row, 1)? })
            })?;
            let mut before = connection.prepare("SELECT owner, at FROM not_before")?;
            let before = before.query_map([], |row| {
                Ok(Mark { name: Name::Owner(row.get(0)?), at: number(row, 1)? })
            })?;
            tokens.chain(before).collect()
        })
    }

    fn unrevoke(&self, name: Name) -> Answer<()> {
        self.change(move |connection| {
            match name {
                Name::Token(id) => connection
                    .prepare_cached("DELETE FROM revoked_token WHERE id = ?1")?
                    .execute([id]),
                Name::Owner(owner) => connection
                    .prepare_cached("DELETE FROM not_before WHERE owner = ?1")?
                    .execute([owner]),
            }
            .map(drop)
        })
    }

    fn set_pairing_key(&self, household: HouseholdId, key: KnownKey) -> Answer<()> {
        self.change(move |connection| {
            let mut replace = connection.prepare_cached(
                "INSERT OR REPLACE INTO pairing_key (household, digest, region) VALUES (?1, ?2, ?3)",
            )?;
            let region = key.region.as_ref().map(Region::as_str);
            replace.execute(params![household.as_str(), key.digest, region]).map(drop)
        })
    }

    fn pairing_key(&self, household: HouseholdId) -> Answer<Option<KnownKey>> {
        self.look(move |connection| {
            connection
                .prepare_cached("SELECT digest, region FROM pairing_key WHERE household = ?1")?
                .query_row([household.as_str()], |row| {
                    Ok(KnownKey { digest: row.get(0)?, region: region(row, 1)? })
                })
                .optional()
        })
    }
}

impl SqliteStore {
    /// Changes something in a transaction of its own, by the thread that writes.
    fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let queues = self.queues();
        let work = move |database: &mut Database| {
            let begun =
                database.connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = begun.map_err(classify)?;
            let done = work(&transaction).map_err(classify)?;
            transaction.commit().map_err(classify)?;
            Ok(done)
        };
        Box::pin(async move {
            ask(&queues?.write, |reply| {
                Write::Change(Box::new(move |database| {
                    let result = work(database);
                    let failed = result.as_ref().err().cloned();
                    // Who asked may have gone.
                    let _ = reply.to.send(result);
                    failed.map_or(Ok(()), Err)
                }))
            })
            .await
        })
    }

    /// Reads something, by the thread that reads.
    fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let queues = self.queues();
        Box::pin(async move {
            ask(&queues?.read, |reply| {
                Read::Look(Box::new(move |database| {
                    let _ = reply.to.send(work(&database.connection).map_err(classify));
                }))
            })
            .await
        })
    }
}

fn pair(connection: &Connection, pairing: &Pairing, now: u64) -> rusqlite::Result<Paired> {
    let (household, device) = (pairing.household.as_str(), pairing.device.as_str());
    // Here and not before, so that nothing can be revoked in between.
    let own = |device| access::owner(&pairing.household, device);
    let revoked = connection
        .prepare_cached("SELECT 1 FROM not_before WHERE owner IN (?1, ?2) AND at >= ?3")?
        .exists(params![own(None), own(Some(&pairing.device)), pairing.allowed_s.cast_signed()])?;
    if revoked {
        return Ok(Paired::Revoked);
    }
    connection
        .prepare_cached("DELETE FROM pairing WHERE household = ?1 AND (device = ?2 OR ends <= ?3)")?
        .execute(params![household, device, now.cast_signed()])?;
    let others: u32 = connection
        .prepare_cached("SELECT count(*) FROM pairing WHERE household = ?1")?
        .query_row([household], |row| row.get(0))?;
    if others as usize >= PAIRINGS_MAX {
        return Ok(Paired::Full);
    }
    connection
        .prepare_cached(
            "INSERT INTO pairing (id, household, device, scope, current, previous, ends, region)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
        )?
        .execute(params![
            pairing.id,
            household,
            device,
            pairing.scope,
            pairing.current,
            pairing.ends.cast_signed(),
            pairing.region.as_ref().map(Region::as_str)
        ])?;
    Ok(Paired::Done)
}

/// The token before the current one counts as long as the current one was never used: the answer
/// that brought it may be lost, and a TV that loses power is no thief. Invariant: at most these two
/// count, so of two holders of one token one is found out at the latest when both have used what they
/// got for it.
fn rotate(connection: &Connection, rotation: &Rotation) -> rusqlite::Result<Rotated> {
    let found = connection
        .prepare_cached(
            "SELECT household, device, scope, region, current, previous, ends FROM pairing
             WHERE id = ?1",
        )?
        .query_row([rotation.id], |row| {
            let allowed = (owner(row, 0)?, row.get::<_, String>(2)?, region(row, 3)?);
            let digests: (Digest, Digest) = (row.get(4)?, row.get(5)?);
            Ok((allowed, digests, number(row, 6)?))
        })
        .optional()?;
    let Some((((household, device), scope, region), (current, previous), ends)) = found else {
        return Ok(Rotated::Unknown);
    };
    if ends <= rotation.now {
        return Ok(Rotated::Unknown);
    }
    if rotation.used != current && rotation.used != previous {
        connection.prepare_cached("DELETE FROM pairing WHERE id = ?1")?.execute([rotation.id])?;
        set_not_before(connection, &household, Some(&device), rotation.now / 1000)?;
        return Ok(Rotated::Reused { household, device });
    }
    connection
        .prepare_cached("UPDATE pairing SET current = ?2, previous = ?3, ends = ?4 WHERE id = ?1")?
        .execute(params![rotation.id, rotation.next, rotation.used, rotation.ends.cast_signed()])?;
    Ok(Rotated::Done { household, device, scope, region })
}

fn revoke(connection: &Connection, revocation: &Revocation, now: u64) -> rusqlite::Result<()> {
    match revocation {
        Revocation::Token { id, ends } => {
            connection
                .prepare_cached("DELETE FROM revoked_token WHERE ends < ?1")?
                .execute([now.cast_signed()])?;
            connection
                .prepare_cached(
                    "INSERT INTO revoked_token (id, ends) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET ends = max(ends, excluded.ends)",
                )?
                .execute(params![id, ends.cast_signed()])?;
        }
        Revocation::Before { household, device, at } => {
            set_not_before(connection, household, device.as_ref(), *at)?;
            connection
                .prepare_cached(
                    "DELETE FROM pairing WHERE household = ?1 AND (?2 = '' OR device = ?2)",
                )?
                .execute(params![
                    household.as_str(),
                    device.as_ref().map_or("", DeviceId::as_str)
                ])?;
        }
    }
    Ok(())
}

fn set_not_before(
    connection: &Connection,
    household: &HouseholdId,
    device: Option<&DeviceId>,
    at: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO not_before (owner, at) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
        )?
        .execute(params![access::owner(household, device), at.cast_signed()])
        .map(drop)
}

fn owner(row: &Row, at: usize) -> rusqlite::Result<(HouseholdId, DeviceId)> {
    let text = |at| row.get::<_, String>(at);
    Ok((id(at, HouseholdId::new(&text(at)?))?, id(at + 1, DeviceId::new(&text(at + 1)?))?))
}

fn region(row: &Row, at: usize) -> rusqlite::Result<Option<Region>> {
    let text: Option<String> = row.get(at)?;
    text.map(|text| id(at, Region::new(&text))).transpose()
}

fn number(row: &Row, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

/// An id as it was stored; another is damage.
fn id<T, E: std::fmt::Display>(at: usize, read: Result<T, E>) -> rusqlite::Result<T> {
    read.map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(at, kind, error.to_string().into())
    })
}

#[cfg(test)]
mod tests;
