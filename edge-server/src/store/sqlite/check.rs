//! Looks a database over: the file, each household, and what belongs to none.

use super::database::{classify, open_existing, read, recognise};
use crate::store::OpenError;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::session::server::{Room, Stored};
use rusqlite::{Connection, Transaction};
use std::path::Path;

/// Lines of SQLite's own report.
const INTEGRITY_LINES_MAX: u32 = 100;

/// What a check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Households that were looked at.
    pub households: u64,
    /// What is wrong.
    pub findings: u64,
}

/// Checks a database file, a backup or one that is in use, and tells each finding.
///
/// # Errors
/// It is not there, not ours, or of a newer version.
pub fn check(file: &Path, tell: &mut dyn FnMut(&str)) -> Result<Checked, OpenError> {
    let mut connection = open_existing(file)?;
    recognise(&connection)?;
    let mut checked = Checked::default();
    let mut tell = |finding: String| {
        checked.findings += 1;
        tell(&finding);
    };
    // All of it from one moment.
    let transaction = connection.transaction().map_err(classify)?;
    for line in integrity(&transaction).unwrap_or_else(|error| vec![error.to_string()]) {
        tell(format!("database: {line}"));
    }
    match strays(&transaction) {
        Ok(strays) => strays.into_iter().for_each(&mut tell),
        Err(error) => tell(format!("database: {error}")),
    }
    let mut households = 0;
    match ids(&transaction) {
        Ok(ids) => {
            for id in ids {
                households += 1;
                for finding in household(&transaction, &id) {
                    tell(format!("household {id}: {finding}"));
                }
            }
        }
        Err(error) => tell(format!("database: {error}")),
    }
    checked.households = households;
    Ok(checked)
}

/// What SQLite says of the file; nothing when all is well.
fn integrity(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut lines =
        connection.prepare(&format!("PRAGMA integrity_check({INTEGRITY_LINES_MAX})"))?;
    let lines = lines.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Rows that belong to a household that is not there.
fn strays(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut findings = Vec::new();
    for table in super::erasure::keyed_tables(connection)? {
        let count: i64 = connection.query_row(
            &format!(
                "SELECT count(*) FROM \"{table}\" WHERE household NOT IN (SELECT key FROM household)"
            ),
            [],
            |row| row.get(0),
        )?;
        if count > 0 {
            findings.push(format!("table {table}: {count} rows of no household"));
        }
    }
    Ok(findings)
}

fn ids(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut ids = connection.prepare("SELECT id FROM household ORDER BY key")?;
    ids.query_map([], |row| row.get(0))?.collect()
}

/// What is wrong with one household.
fn household(transaction: &Transaction, id: &str) -> Vec<String> {
    let Ok(id) = HouseholdId::new(id) else {
        return vec!["its id is none".into()];
    };
    match read(transaction, &id) {
        Ok(Some(stored)) => stored_findings(id, &stored),
        Ok(None) => vec!["its row is gone".into()],
        Err(error) => vec![format!("it can't be read: {error}")],
    }
}

fn stored_findings(id: HouseholdId, stored: &Stored) -> Vec<String> {
    let mut findings = Vec::new();
    if stored.revision == 0 {
        findings.push("revision 0, but it has had a commit".into());
    }
    if stored.snapshot_version > stored.version {
        let Stored { version, snapshot_version, .. } = stored;
        findings.push(format!("snapshot of version {snapshot_version}, but it is at {version}"));
    }
    let old = stored.log.iter().filter(|(version, _)| *version <= stored.snapshot_version).count();
    if old > 0 {
        findings.push(format!("{old} log entries that its snapshot holds already"));
    }
    match Room::load(id, stored) {
        Ok(room) => {
            if let Err(error) = room.household().check_limits() {
                findings.push(format!("beyond its limits: {error}"));
            }
        }
        Err(error) => findings.push(format!("the core can't read it: {error}")),
    }
    findings
}
