//! How much may be told of all households together, and when.

use super::privacy::{Guarantee, PrivacyError, Rho};
use super::region::Region;
use super::release::{Noise, Places};
use super::trends::DayNoise;
use omega_sync_core::clock::UnixMillis;

/// Milliseconds of a day; the day of an event is that of its arrival, in UTC.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Days of a year of the ledger.
pub const YEAR_DAYS: u64 = 365;
/// ε of a year of patterns, for a household, when nothing else is set.
pub const EPSILON: f64 = 4.0;
/// δ of a year of patterns, for a household, when nothing else is set.
pub const DELTA: f64 = 1e-6;
/// Releases of patterns in a year, when nothing else is set: quarters.
pub const RELEASES: u32 = 4;
/// Most releases in a year: one a minute, for trying it out.
pub const RELEASES_MAX: u32 = 365 * 24 * 60;
/// ε of a day of trends, for a household.
pub const DAY_EPSILON: f64 = 1.0;
/// δ of a day of trends, for a household.
pub const DAY_DELTA: f64 = 1e-9;
/// A pattern of fewer households, by the noisy count, is not released.
pub const HOUSEHOLDS_MIN: u32 = 50;
/// Where a household is whose token does not say it: a code that stands for no country.
pub const HOME: &str = "ZZ";

/// What an operator chooses. All of it is public.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    noise: Option<(Noise, DayNoise)>,
    year: Guarantee,
    releases: u32,
    /// [`HOUSEHOLDS_MIN`].
    pub households_min: u32,
    /// Where a household is whose token does not say it.
    pub home: Region,
    /// What patterns are released for.
    pub places: Places,
}

impl Settings {
    /// Private, with these guarantees.
    ///
    /// # Errors
    /// A release would need more noise than can be drawn.
    pub fn new(
        year: Guarantee,
        day: Guarantee,
        releases: u32,
        home: Region,
        places: Places,
    ) -> Result<Self, PrivacyError> {
        let releases = releases.clamp(1, RELEASES_MAX);
        let rho = Rho::within(year).share(1, releases);
        let noise = Noise::of_release(rho, places.levels())?;
        let noise = Some((noise, DayNoise::new(day)?));
        Ok(Self { noise, year, releases, households_min: HOUSEHOLDS_MIN, home, places })
    }

    /// The same without noise, for a developer's own server: nothing it releases is private.
    pub fn without_noise(self) -> Self {
        Self { noise: None, ..self }
    }

    /// Whether what is released has noise.
    pub fn is_private(&self) -> bool {
        self.noise.is_some()
    }

    /// The noise of an epoch.
    pub fn noise(&self) -> Noise {
        self.noise.map_or(Noise::Off, |(epoch, _)| epoch)
    }

    /// The noise of a day.
    pub fn day_noise(&self) -> Option<DayNoise> {
        self.noise.map(|(_, day)| day)
    }

    /// What an epoch costs.
    pub fn epoch_rho(&self) -> Rho {
        self.noise().rho(self.places.levels())
    }

    /// What may be spent on the epochs of a year.
    pub fn year_limit(&self) -> Rho {
        Rho::within(self.year)
    }

    /// The guarantee of a year of patterns.
    pub fn year(&self) -> Guarantee {
        self.year
    }

    /// What may be spent on the days of a year.
    pub fn days_limit(&self) -> Rho {
        let day = self.day_noise().map_or(Rho::ZERO, DayNoise::rho);
        day.times(u32::try_from(YEAR_DAYS).unwrap_or(u32::MAX))
    }

    /// Releases of patterns in a year.
    pub fn releases(&self) -> u32 {
        self.releases
    }

    /// The epoch of a time.
    pub fn epoch(&self, now: UnixMillis) -> u64 {
        // Years are divided evenly: no epoch is in two of them.
        let year = now.0 / (YEAR_DAYS * DAY_MS);
        let within = now.0 % (YEAR_DAYS * DAY_MS);
        let releases = u64::from(self.releases);
        year * releases + within * releases / (YEAR_DAYS * DAY_MS)
    }

    /// When an epoch is over, in Unix milliseconds.
    pub fn epoch_ends(&self, epoch: u64) -> u64 {
        let releases = u64::from(self.releases);
        let (year, next) = (epoch / releases, epoch % releases + 1);
        year * YEAR_DAYS * DAY_MS + (next * YEAR_DAYS * DAY_MS).div_ceil(releases)
    }

    /// The year that an epoch is charged to.
    pub fn year_of_epoch(&self, epoch: u64) -> u64 {
        epoch / u64::from(self.releases)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let year = Guarantee::new(EPSILON, DELTA);
        let day = Guarantee::new(DAY_EPSILON, DAY_DELTA);
        let made = year.and_then(|year| Ok((year, day?))).and_then(|(year, day)| {
            let home = Region::new(HOME).map_err(|_| PrivacyError::Free)?;
            Self::new(year, day, RELEASES, home, Places::new([]))
        });
        made.expect("the defaults are in their ranges, as a test sees")
    }
}

/// The day of a time.
pub fn day(now: UnixMillis) -> u64 {
    now.0 / DAY_MS
}

/// The year that a day is charged to.
pub fn year_of_day(day: u64) -> u64 {
    day / YEAR_DAYS
}

#[cfg(test)]
mod tests {
    use super::super::contribution::{CELL_SQUARED, CLIP, COUNT_UNITS, UNITS};
    use super::super::median::DISTANCE_MIN;
    use super::*;

    #[test]
    fn the_defaults_keep_their_promise_over_a_year() {
        let settings = Settings::default();
        let year = settings.epoch_rho().times(settings.releases());
        assert!(year <= settings.year_limit());
        assert!(year.epsilon(DELTA) <= EPSILON);
        assert!(year.epsilon(DELTA) > EPSILON * 0.999, "and waste nothing of it");
        assert!(settings.days_limit() > Rho::ZERO);
        assert!(settings.is_private() && !settings.clone().without_noise().is_private());
        let off = settings.without_noise();
        assert_eq!((off.epoch_rho(), off.days_limit()), (Rho::ZERO, Rho::ZERO));
    }

    /// The page says what the program does.
    #[test]
    fn the_figures_of_the_page_are_these() {
        let page = include_str!("../../../docs/privacy.md").split_whitespace();
        let page = page.collect::<Vec<_>>().join(" ");
        let settings = Settings::default();
        let (epoch, year) = (settings.epoch_rho(), settings.year_limit());
        let noise = settings.day_noise().unwrap();
        let clip_square = ((CLIP * UNITS as f64) as u64).pow(2);
        for figure in [
            format!("ρ = {:.4}-zCDP, that is ε = {:.2} at", epoch.value(), epoch.epsilon(DELTA)),
            format!("ε = {EPSILON}, δ = 1e-6** (ρ = {:.4})", year.value()),
            format!("ε = {DAY_EPSILON}, δ = 1e-9** (ρ = {:.4})", noise.rho().value()),
            format!("| ε = {:.1} at δ = 1e-6 |", noise.epsilon_of_days(365, 1e-6)),
            format!("σ = Δ/√(2ρ) = {:.2} on each", settings.noise().sigma()),
            format!("is at most {}² + 3 × {}²", clip_square.isqrt(), COUNT_UNITS),
            format!("Δ = {} units", (3 * CELL_SQUARED).isqrt() + 1),
            format!("= {:.3} of an embedding", ((3 * CELL_SQUARED) as f64).sqrt() / UNITS as f64),
            format!("σ = {:.1} households", noise.sigma()),
            format!("noisy count reaches {} households", noise.threshold()),
            format!("fewer than {HOUSEHOLDS_MIN} households"),
            format!("than {DISTANCE_MIN} and"),
        ] {
            assert!(page.contains(&figure), "the page does not say: {figure}");
        }
    }

    #[test]
    fn years_are_divided_into_epochs_without_a_gap() {
        for releases in [1, 3, 4, 7, 365, RELEASES_MAX] {
            let settings = Settings { releases, ..Settings::default() };
            for epoch in [0, 1, 5, 57 * u64::from(releases), 57 * u64::from(releases) + 3] {
                let end = settings.epoch_ends(epoch);
                assert_eq!(settings.epoch(UnixMillis(end - 1)), epoch, "{releases}");
                assert_eq!(settings.epoch(UnixMillis(end)), epoch + 1, "{releases}");
            }
            let last = settings.epoch_ends(u64::from(releases) - 1);
            assert_eq!(last, YEAR_DAYS * DAY_MS);
        }
    }
}
