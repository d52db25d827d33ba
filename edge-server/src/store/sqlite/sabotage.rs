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

    /// Takes the table of patterns that wait away, and puts it back.
    pub(crate) fn lose_waiting(&self) {
        self.0.execute_batch("ALTER TABLE waiting RENAME TO away").unwrap();
    }

    pub(crate) fn find_waiting(&self) {
        self.0.execute_batch("ALTER TABLE away RENAME TO waiting").unwrap();
    }

    /// A list of trends that can't be read, of the place of a server that was told none.
    pub(crate) fn garble_trends(&self) {
        let sql = "INSERT INTO trend VALUES ('ZZ', 0, 1, 't', '', 1.0, 1)";
        self.0.execute_batch(sql).unwrap();
    }

    pub(crate) fn lose_trends(&self) {
        self.0.execute_batch("DELETE FROM trend").unwrap();
    }

    /// Lets no epoch be closed, as if what waits had changed each time.
    pub(crate) fn overtake(&self) {
        let sql = "CREATE TRIGGER overtake BEFORE UPDATE OF closed_epoch ON shared
                   BEGIN SELECT RAISE(IGNORE); END";
        self.0.execute_batch(sql).unwrap();
    }

    pub(crate) fn fall_behind(&self) {
        self.0.execute_batch("DROP TRIGGER overtake").unwrap();
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
