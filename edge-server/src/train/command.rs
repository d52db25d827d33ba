//! `omega-edge train`: reads a catalogue, reports what is to be expected, writes the tables.

use super::{Catalogue, Options, expect, ticks, train};
use crate::error::ProcessError;
use clap::Args;
use omega_sync_core::pattern::tables::Tables;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Columns of the bar.
const BAR_COLUMNS: usize = 40;

/// Flags of `train`.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// Array of title embeddings: NumPy format, rows of 384 float16 or float32
    pub catalogue: PathBuf,
    /// Lines of JSON, one for each row: genre or genres, and pop
    /// [default: CATALOGUE without _f16 and .npy, with .jsonl]
    #[arg(long, value_name = "FILE")]
    pub meta: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "patterns.tables")]
    pub out: PathBuf,
    /// Only the titles whose line has this text in this field
    #[arg(long, value_name = "FIELD=TEXT")]
    pub only: Option<String>,
    /// For patterns of other catalogues than this one
    #[arg(long)]
    pub foreign: bool,
    /// Count all titles alike, whatever "pop" says
    #[arg(long)]
    pub ignore_popularity: bool,
    /// Rows of the transform: fewer make a smaller file and longer messages
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = rank())]
    pub rank: u16,
}

fn rank() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=384)
}

/// Trains; gives what is to be printed.
///
/// # Errors
/// When the catalogue can't be read or used, or the file not be written.
pub fn run(args: &TrainArgs) -> Result<String, ProcessError> {
    let usage = |error: &dyn std::fmt::Display| ProcessError::Usage(error.to_string());
    let meta = args.meta.clone().unwrap_or_else(|| {
        let name = args.catalogue.to_string_lossy();
        let stem = name.trim_end_matches(".npy").trim_end_matches("_f16").to_owned();
        PathBuf::from(stem + ".jsonl")
    });
    let only = args.only.as_deref().map(|only| only.split_once('='));
    if only == Some(None) {
        return Err(ProcessError::Usage("--only must be FIELD=TEXT".to_owned()));
    }
    let catalogue =
        Catalogue::read(&args.catalogue, &meta, only.flatten()).map_err(|error| usage(&error))?;
    let options = Options {
        rank: args.rank.into(),
        foreign: args.foreign,
        popularity: !args.ignore_popularity,
    };
    let mut bar = Bar { done: 0, whole: 2 * ticks(), shown: std::io::stderr().is_terminal() };
    let small = |error| {
        ProcessError::Usage(format!(
            "{} titles are not enough to train on: {error}",
            catalogue.titles().len()
        ))
    };
    let expected = expect(&catalogue, &options, &mut || bar.tick()).map_err(small)?;
    let bytes = train(&catalogue, &options, &mut || bar.tick()).map_err(small)?;
    bar.end();
    let id = Tables::read(&bytes).map_err(|error| usage(&error))?.id();
    let out = args.out.display();
    std::fs::write(&args.out, &bytes)
        .map_err(|error| ProcessError::System(format!("can't write {out}: {error}")))?;
    let (known, unknown) = expected.titles;
    Ok(format!(
        "{out}: tables {id:08x}, {} bytes, from {} titles of {} genres\n\
         Expected, cosine 0.98, ten patterns sent for the first time: {:.0} bytes a message, {} at most\n\
         (trained on {known} titles, measured on patterns of the other {unknown})",
        bytes.len(),
        catalogue.titles().len(),
        catalogue.genres().len(),
        expected.mean,
        expected.max,
    ))
}

/// A bar on a terminal, a line at the end of each quarter elsewhere.
struct Bar {
    done: usize,
    whole: usize,
    shown: bool,
}

impl Bar {
    fn tick(&mut self) {
        self.done += 1;
        let mut stderr = std::io::stderr();
        // Nobody may be there to see it.
        let _ = if self.shown {
            let full = BAR_COLUMNS * self.done / self.whole;
            let bar = "#".repeat(full) + &".".repeat(BAR_COLUMNS - full);
            write!(stderr, "\rtraining [{bar}] {}%", 100 * self.done / self.whole)
        } else if self.done.is_multiple_of(self.whole / 4) {
            writeln!(stderr, "training: {}%", 100 * self.done / self.whole)
        } else {
            Ok(())
        };
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(std::io::stderr());
        }
    }
}
