//! Backup and restore of a database file.
//!
//! A backup is one file, written while the server runs, of one moment of the database. A restore gives
//! every household a new epoch: devices that know more than the backup then offer what they know, and
//! nobody takes the old life for the new one. Invariant: at every moment the folder has either the old
//! database or the new one, whole.

use super::carried;
use super::database::{
    self, Database, FILE_NAME, classify, connect, lock, migrate, open_existing, recognise,
};
use crate::store::OpenError;
use rusqlite::Connection;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Added to the name of a file that is not whole yet.
const PARTIAL: &str = ".partial";
/// Added to the name of the database that a restore took the place of.
const REPLACED: &str = ".replaced";

/// Writes a copy of a folder's database to a new file, for this user only. The server may run.
///
/// # Errors
/// There is no database, it can't be read, or the file is there already or can't be written.
pub fn backup(folder: &Path, out: &Path) -> Result<(), OpenError> {
    let source = open_existing(&folder.join(FILE_NAME))?;
    copy(&source, out)
}

/// Copies a database of ours into a new file, which is there whole or not at all.
fn copy(source: &Connection, out: &Path) -> Result<(), OpenError> {
    recognise(source)?;
    if out.exists() {
        return Err(OpenError::Exists(out.display().to_string()));
    }
    let partial = beside(out, PARTIAL);
    let failed = |error: io::Error| database::unusable(&partial, &error);
    // What an earlier try left.
    remove(&partial).map_err(failed)?;
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
    let name = partial.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    source.execute("VACUUM INTO ?1", [name]).map_err(classify)?;
    // SQLite leaves this to its caller.
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&partial, out).map_err(failed)?;
    sync_folder(out).map_err(failed)
}

/// What a restore may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Nothing: there must be no database.
    Nothing,
    /// A database that can be read.
    Readable,
    /// Any file: what was erased or spent since the backup, and who opted out, may be forgotten.
    Anything,
}

/// What a restore found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the database is now that was there before.
    pub kept: Option<PathBuf>,
    /// Why that one could not be read.
    pub unread: Option<String>,
}

/// Puts a backup in the place of a folder's database, in a new epoch for every household. What the
/// replaced database knows and a backup must not undo is taken over (`carried`). The server must be
/// stopped.
///
/// # Errors
/// The folder is in use, there is what must not be replaced, or a file can't be used. Then nothing has
/// changed.
pub fn restore(folder: &Path, backup: &Path, replace: Replace) -> Result<Restored, OpenError> {
    let _lock = lock(folder)?;
    let place = folder.join(FILE_NAME);
    let kept = beside(&place, REPLACED);
    let present = place.exists();
    if present && replace == Replace::Nothing {
        return Err(OpenError::Exists(place.display().to_string()));
    }
    if present && kept.exists() {
        return Err(OpenError::Exists(kept.display().to_string()));
    }
    let failed = |error: io::Error| database::unusable(folder, &error);
    let new = beside(&place, ".restored");
    remove(&new).map_err(failed)?;
    copy(&open_existing(backup)?, &new)?;
    let unread = renew(&new, present.then_some(&place))?.map(|error| error.to_string());
    if let Some(reason) = &unread
        && replace != Replace::Anything
    {
        remove(&new).map_err(failed)?;
        return Err(OpenError::Unread(reason.clone()));
    }
    if present {
        keep(&place, &kept).map_err(failed)?;
    }
    File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&new, &place).map_err(failed)?;
    sync_folder(&place).map_err(failed)?;
    Ok(Restored { kept: present.then_some(kept), unread })
}

/// Makes a copy of a backup the next life of its households; says why what it replaces can't be read.
fn renew(new: &Path, replaced: Option<&PathBuf>) -> Result<Option<OpenError>, OpenError> {
    let mut connection = connect(new)?;
    let found = recognise(&connection)?;
    migrate(&mut connection, found)?;
    let beside =
        replaced.map(|place| settle(place).and_then(|()| carried::attach(&connection, place)));
    let mut transaction = connection.transaction().map_err(classify)?;
    transaction
        .execute_batch(
            "INSERT OR IGNORE INTO main.life (household, epoch)
                 SELECT key, epoch FROM main.household;
             UPDATE main.household SET epoch = random();
             UPDATE main.shared SET life = 1 + abs(random() % 1048575),
                 closed_epoch = NULL, closed_day = NULL;",
        )
        .map_err(classify)?;
    carried::forget_what_waits(&transaction)?;
    let carried =
        beside.map(|attached| attached.and_then(|()| Ok(carried::carry(&mut transaction)?)));
    transaction.commit().map_err(classify)?;
    // What was erased again leaves no trace in the file either.
    connection.execute_batch("VACUUM main").map_err(classify)?;
    connection.close().map_err(|(_, error)| classify(error))?;
    Ok(carried.and_then(Result::err))
}

/// Makes a database that is to be replaced one file, of this schema.
fn settle(place: &Path) -> Result<(), OpenError> {
    // Opening brings it up to date, closing folds its write-ahead log into it.
    let database = Database::open(place.parent().unwrap_or(Path::new(".")))?;
    Ok(database.connection.close().map_err(|(_, error)| classify(error))?)
}

/// Gives a database another name as well; one that could not be read keeps its files.
fn keep(place: &Path, kept: &Path) -> io::Result<()> {
    for ending in ["-wal", "-shm"] {
        let file = beside(place, ending);
        if file.exists() {
            fs::rename(file, beside(kept, ending))?;
        }
    }
    fs::hard_link(place, kept)
}

/// A file's name with more at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    for ending in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(beside(path, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}
