//! What a test does to a database behind the server's back.

use super::database::FILE_NAME;
use rusqlite::Connection;
use std::path::Path;

/// Another program's connection to the database.
pub(crate) struct Intruder(Connection);

impl Intruder {
    pub(crate) fn open(folder: &Path) -> Self {
        Self(Connection::open(folder.join(FILE_NAME)).unwrap())
    }

    /// Keeps everyone else from writing, as a backup tool that forgot to let go.
    pub(crate) fn hold(&self) {
        self.0.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    pub(crate) fn let_go(&self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }

    /// Puts every household into another epoch.
    pub(crate) fn change_epochs(&self) {
        self.0.execute_batch("UPDATE household SET epoch = epoch + 1").unwrap();
    }

    /// Makes every log entry unreadable to the core; to SQLite they are fine.
    pub(crate) fn garble_log(&self) {
        self.0.execute_batch("UPDATE log SET entry = x'ffff'").unwrap();
    }
}
