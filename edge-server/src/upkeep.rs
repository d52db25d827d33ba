//! The commands that look after a database: backup, restore, check, export, erase. What they say goes
//! to a writer, one line each; what is wrong comes back as an error.

use crate::config::{BackupArgs, CheckArgs, HouseholdArgs, RestoreArgs};
use crate::error::ProcessError;
use crate::http::export::Export;
use crate::store::sqlite::upkeep::{Replace, Restored};
use crate::store::sqlite::{FILE_NAME, check as checks, erasure, upkeep};
use std::io::Write;
use std::path::PathBuf;

/// Writes a copy of the database; the server may run.
///
/// # Errors
/// As the store says.
pub fn backup(args: &BackupArgs, out: &mut impl Write) -> Result<(), ProcessError> {
    upkeep::backup(&args.data, &args.out)?;
    say(out, &format!("{} is a copy of this moment", args.out.display()))
}

/// Puts a backup in the place of the database.
///
/// # Errors
/// As the store says, or the backup has something wrong with it: then nothing has changed.
pub fn restore(args: &RestoreArgs, out: &mut impl Write) -> Result<(), ProcessError> {
    examine(args.backup.clone(), out)?;
    let replace = match (args.replace_unreadable, args.replace) {
        (true, _) => Replace::Anything,
        (_, true) => Replace::Readable,
        _ => Replace::Nothing,
    };
    let Restored { kept, unread } = upkeep::restore(&args.data, &args.backup, replace)?;
    if let Some(kept) = kept {
        say(out, &format!("the database before is {}", kept.display()))?;
    }
    if let Some(reason) = unread {
        let lost = "what was erased, spent and revoked since the backup, and who opted out, is not \
                    known any more";
        say(out, &format!("it can't be read ({reason}): {lost}"))?;
    }
    say(out, "restored: every household begins a new epoch")
}

/// Looks a database over.
///
/// # Errors
/// It can't be opened, or [`ProcessError::Findings`]: then each finding was told.
pub fn check(args: &CheckArgs, out: &mut impl Write) -> Result<(), ProcessError> {
    let folder = args.data.as_ref().map(|folder| folder.join(FILE_NAME));
    let file = args.file.clone().or(folder).unwrap_or_default();
    let households = examine(file, out)?;
    say(out, &format!("{households} households, nothing wrong"))
}

fn examine(file: PathBuf, out: &mut impl Write) -> Result<u64, ProcessError> {
    let mut told = Ok(());
    let checked = checks::check(&file, &mut |finding| {
        if told.is_ok() {
            told = say(out, finding);
        }
    })?;
    told?;
    let checks::Checked { households, findings } = checked;
    match findings {
        0 => Ok(households),
        findings => Err(ProcessError::Findings { households, findings }),
    }
}

/// Prints everything that is held of a household; the server may run.
///
/// # Errors
/// There is nothing, or it can't be read.
pub fn export(args: &HouseholdArgs, out: &mut impl Write) -> Result<(), ProcessError> {
    let HouseholdArgs { data, household } = args;
    let held = erasure::export(data, household)?;
    let held = held.ok_or_else(|| ProcessError::NoHousehold(household.as_str().into()))?;
    let export = Export::read(household, held)?;
    let text = serde_json::to_string_pretty(&export);
    say(out, &text.map_err(|error| ProcessError::System(error.to_string()))?)
}

/// Erases a household.
///
/// # Errors
/// There is nothing of it, or as the store says.
pub fn erase(args: &HouseholdArgs, out: &mut impl Write) -> Result<(), ProcessError> {
    let HouseholdArgs { data, household } = args;
    if !erasure::erase(data, household)? {
        return Err(ProcessError::NoHousehold(household.as_str().into()));
    }
    say(out, "erased; its devices forget their copies when they connect")
}

fn say(out: &mut impl Write, line: &str) -> Result<(), ProcessError> {
    let written = writeln!(out, "{line}");
    written.map_err(|error| ProcessError::System(format!("can't write the answer: {error}")))
}
