//! Flags of `serve` that say what may be told of all households together.

use crate::aggregate::privacy::{Guarantee, PrivacyError};
use crate::aggregate::region::Region;
use crate::aggregate::release::Places;
use crate::aggregate::settings::{
    DAY_DELTA, DAY_EPSILON, DELTA, EPSILON, HOME, RELEASES, RELEASES_MAX, Settings,
};
use crate::error::ProcessError;
use clap::Args;
use omega_sync_core::pattern::tables::{DEFAULT_TABLES, Tables};
use omega_sync_core::session::taste::TABLES_BYTES_MAX;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flags of `serve` about patterns and trends.
#[derive(Debug, Clone, Args)]
pub struct AggregateArgs {
    /// Where households are whose token has no `region`: a country (ISO 3166-1 alpha-2) or a part of one
    #[arg(long, value_name = "CODE", default_value = HOME, value_parser = region)]
    pub region: Region,
    /// Countries, and parts of countries, that get global patterns of their own: codes with commas
    /// between them. Each level of places takes its share of the budget
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = region)]
    pub pattern_places: Vec<Region>,
    /// Releases of global patterns in a year, which share its budget
    #[arg(long, value_name = "N", default_value_t = RELEASES, value_parser = releases)]
    pub releases_per_year: u32,
    /// Privacy budget of a household for a year of patterns: epsilon
    #[arg(long, value_name = "NUMBER", default_value_t = EPSILON)]
    pub epsilon: f64,
    /// Privacy budget of a household for a year of patterns: delta
    #[arg(long, value_name = "NUMBER", default_value_t = DELTA)]
    pub delta: f64,
    /// Privacy budget of a household for a day of trends: epsilon
    #[arg(long, value_name = "NUMBER", default_value_t = DAY_EPSILON)]
    pub trend_epsilon: f64,
    /// Privacy budget of a household for a day of trends: delta
    #[arg(long, value_name = "NUMBER", default_value_t = DAY_DELTA)]
    pub trend_delta: f64,
    /// Tables that patterns are coded with, as `omega-edge train` writes them; left out: those of the
    /// package. Devices fetch others once. Every server of a household must have the same
    #[arg(long, value_name = "FILE")]
    pub pattern_tables: Option<PathBuf>,
    /// Release patterns and trends without noise: nothing is private then. With --dev only
    #[arg(long, requires = "dev")]
    pub no_noise: bool,
}

impl Default for AggregateArgs {
    fn default() -> Self {
        Self {
            region: Settings::default().home,
            pattern_places: Vec::new(),
            releases_per_year: RELEASES,
            epsilon: EPSILON,
            delta: DELTA,
            trend_epsilon: DAY_EPSILON,
            trend_delta: DAY_DELTA,
            pattern_tables: None,
            no_noise: false,
        }
    }
}

impl AggregateArgs {
    /// What they say.
    ///
    /// # Errors
    /// A budget is out of its range, or too small.
    pub fn settings(&self) -> Result<Settings, ProcessError> {
        let usage =
            |flags: &str, error: PrivacyError| ProcessError::Usage(format!("{flags}: {error}"));
        let year = Guarantee::new(self.epsilon, self.delta);
        let year = year.map_err(|error| usage("--epsilon, --delta", error))?;
        let day = Guarantee::new(self.trend_epsilon, self.trend_delta);
        let day = day.map_err(|error| usage("--trend-epsilon, --trend-delta", error))?;
        let places = Places::new(self.pattern_places.iter().cloned());
        let made = Settings::new(year, day, self.releases_per_year, self.region.clone(), places);
        let flags = "--epsilon, --releases-per-year, --trend-epsilon";
        let settings = made.map_err(|error| usage(flags, error))?;
        Ok(if self.no_noise { settings.without_noise() } else { settings })
    }
}

/// The file of tables, and what it says.
#[derive(Debug, Clone)]
pub struct TablesFile {
    /// As it is handed to devices.
    pub bytes: Arc<[u8]>,
    /// As it is used here.
    pub tables: Arc<Tables>,
}

impl AggregateArgs {
    /// Reads the tables that patterns are coded with.
    ///
    /// # Errors
    /// There is no such file, or it holds no tables that devices can read.
    pub fn tables(&self) -> Result<TablesFile, ProcessError> {
        let named = |what: &dyn Display| {
            let file = self.pattern_tables.as_deref().unwrap_or(Path::new("the package's"));
            ProcessError::Usage(format!("--pattern-tables {}: {what}", file.display()))
        };
        let bytes: Arc<[u8]> = match &self.pattern_tables {
            None => DEFAULT_TABLES.into(),
            Some(file) => read(file).map_err(|error| named(&error))?.into(),
        };
        if bytes.len() > TABLES_BYTES_MAX {
            return Err(named(&format!("more than {TABLES_BYTES_MAX} bytes")));
        }
        let tables = Tables::read(&bytes).map_err(|error| named(&error))?;
        Ok(TablesFile { bytes, tables: Arc::new(tables) })
    }
}

/// As much of a file as can matter.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(TABLES_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a region.
pub(super) fn region(text: &str) -> Result<Region, String> {
    Region::new(text).map_err(|error| error.to_string())
}

fn releases(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=RELEASES_MAX).contains(number));
    number.ok_or_else(|| format!("use a number from 1 to {RELEASES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(AggregateArgs::default().settings().unwrap(), Settings::default());
        let off = AggregateArgs { no_noise: true, ..AggregateArgs::default() };
        assert!(!off.settings().unwrap().is_private());
    }

    #[test]
    fn tables_come_from_a_file_that_devices_can_read() {
        let package = AggregateArgs::default().tables().unwrap();
        assert_eq!(*package.bytes, *DEFAULT_TABLES);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.tables");
        let args = AggregateArgs { pattern_tables: Some(file.clone()), ..Default::default() };
        let line = || args.tables().unwrap_err().to_string();
        assert!(line().contains("--pattern-tables") && line().contains("own.tables"), "{}", line());
        std::fs::write(&file, b"OST\x09").unwrap();
        assert!(line().contains("own.tables"), "{}", line());
        std::fs::write(&file, vec![0; TABLES_BYTES_MAX + 1]).unwrap();
        assert!(line().contains("more than"), "{}", line());
        std::fs::write(&file, DEFAULT_TABLES).unwrap();
        assert_eq!(args.tables().unwrap().tables.id(), package.tables.id());
    }

    #[test]
    fn a_budget_out_of_range_names_its_flag() {
        let line = |args: AggregateArgs| args.settings().unwrap_err().to_string();
        let default = AggregateArgs::default;
        let epsilon = line(AggregateArgs { epsilon: 0.0, ..default() });
        assert!(epsilon.contains("--epsilon") && epsilon.contains("at most 16"), "{epsilon}");
        let delta = line(AggregateArgs { trend_delta: 0.5, ..default() });
        assert!(delta.contains("--trend-delta"), "{delta}");
        let minute = AggregateArgs { releases_per_year: RELEASES_MAX, epsilon: 0.01, ..default() };
        assert!(line(minute).contains("too small"));
    }
}
