//! Where a household's bytes are kept, and what every store promises.
//!
//! The contract, which each implementation is tested against:
//! 1. A commit whose answer is `Ok` survives a crash of the process and of the machine.
//! 2. A commit is all or nothing, and happens only if the household is of the commit's epoch and at
//!    the revision that the commit follows; else the answer is [`StoreError::Conflict`] and nothing
//!    has changed. The first commit of a household, which follows revision 0, creates it.
//! 3. A failed commit of one household does not undo an acknowledged one of any household.
//! 4. A load sees every commit whose answer came before it was asked for, and never part of one.
//! 5. A store that fails answers with an error for as long as it fails, and works again after.

pub mod access;
pub mod aggregate;
pub mod sqlite;

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{DeviceId, EpochId, HouseholdId};
use omega_sync_core::message::CloseCode;
use omega_sync_core::session::server::{Commit, Stored};
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;
use thiserror::Error;

/// A store's answer; the work goes on whether or not it is awaited.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps households. See the contract at the head of this module.
pub trait Store: Send + Sync {
    /// Everything that is kept of a household, `None` if it was never committed.
    fn load(&self, household: &HouseholdId) -> Answer<Option<Stored>>;

    /// Makes a commit durable.
    fn commit(&self, household: &HouseholdId, commit: Commit) -> Answer<()>;

    /// Erases everything that is kept of a household, and remembers that it was erased. There must be
    /// no commit of it on its way. Answers whether there was anything; when the answer is an error,
    /// some trace may be left: erase it again.
    fn erase(&self, household: &HouseholdId) -> Answer<bool>;

    /// Of a household that was ever erased, the epochs that it had since then and has no more.
    fn lives(&self, household: &HouseholdId) -> Answer<Option<Vec<EpochId>>>;

    /// Everything that is held of a household, `None` for nothing.
    fn export(&self, household: &HouseholdId) -> Answer<Option<Held>>;

    /// When each device of a household was heard of last, as far as that was written.
    fn seen(&self, household: &HouseholdId) -> Answer<Vec<(DeviceId, UnixMillis)>>;

    /// Writes when devices were heard of, and forgets others. It survives the end of the process; a
    /// power cut only from the next commit on.
    fn see(
        &self,
        household: &HouseholdId,
        seen: Vec<(DeviceId, UnixMillis)>,
        forgotten: Vec<DeviceId>,
    ) -> Answer<()>;

    /// Whether loads and commits work at the moment.
    fn check(&self) -> Answer<()>;

    /// Finishes what was asked for and releases the data folder.
    fn close(&self) -> Answer<()>;
}

/// Rows of one table that belong to a household, by the names of their columns; bytes are in hex.
pub type Rows = Vec<Map<String, Value>>;

/// Everything that a store has of a household.
#[derive(Debug, Clone)]
pub struct Held {
    /// What the core made; `None` if nothing was ever committed.
    pub stored: Option<Stored>,
    /// What other parts of the server keep, by the names of their tables.
    pub rows: Vec<(String, Rows)>,
}

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Someone else has committed in between.
    #[error("the household was changed by another writer")]
    Conflict,
    /// There is no room.
    #[error("the disk is full: free some space")]
    Full,
    /// The database is damaged, or no database.
    #[error("the database is damaged ({0}): restore a backup, or move it away to start empty")]
    Corrupt(String),
    /// It does not work at the moment.
    #[error("the store does not work at the moment: {0}")]
    Unavailable(String),
    /// It was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict => "storage_conflict",
            Self::Full => "storage_full",
            Self::Corrupt(_) => "storage_corrupt",
            Self::Unavailable(_) => "storage_unavailable",
            Self::Closed => "storage_closed",
        }
    }

    /// What a household's connections are closed with when its commit or load fails.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Conflict | Self::Closed => CloseCode::Restart,
            _ => CloseCode::StorageUnavailable,
        }
    }
}

/// Why a database could not be opened, copied, restored or looked over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The database was written by a newer version of this program.
    #[error("the database has schema {found} and this program knows {known}: run a newer version")]
    Newer {
        /// Schema of the database.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// Another server has the data folder.
    #[error("the data folder {0} is in use by another server: stop it, or choose another folder")]
    Locked(String),
    /// The data folder can't be used.
    #[error("can't use the data folder {path}: {reason}; choose one that can be written")]
    Folder {
        /// Which folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file is not there.
    #[error("there is no database {0}")]
    Missing(String),
    /// A file is there already.
    #[error("{0} is there already: move it away first")]
    Exists(String),
    /// A database that a restore would take the place of.
    #[error(
        "the database that is there can't be read ({0}): restoring over it would bring back what was \
         erased, and who opted out, since the backup. Nothing has changed; with --replace-unreadable \
         it is restored all the same"
    )]
    Unread(String),
    /// It is open, and did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}
