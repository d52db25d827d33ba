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
/// Milliseconds of a minute: epochs end on whole ones, counted from 1970.
const MINUTE_MS: u64 = 60 * 1_000;
/// Minutes of a year of the ledger.
pub const YEAR_MINUTES: u64 = YEAR_DAYS * DAY_MS / MINUTE_MS;
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
pub const SHOWN_HOUSEHOLDS_MIN: u32 = 50;
/// Where a household is whose token does not say it: a code that stands for no country.
pub const HOME: &str = "ZZ";

/// What an operator chooses. All of it is public.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    noise: Option<(Noise, DayNoise)>,
    year: Guarantee,
    releases: u32,
    /// [`SHOWN_HOUSEHOLDS_MIN`].
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
        Ok(Self { noise, year, releases, households_min: SHOWN_HOUSEHOLDS_MIN, home, places })
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

    /// The epoch of a time. Its number is the minute that follows it, so it says the same whatever the
    /// number of releases in a year was before, or becomes.
    pub fn epoch(&self, now: UnixMillis) -> u64 {
        let minute = now.0 / MINUTE_MS;
        let (year, within) = (minute / YEAR_MINUTES, minute % YEAR_MINUTES);
        // Years are divided evenly: no epoch is in two of them.
        let releases = u64::from(self.releases);
        let next = within * releases / YEAR_MINUTES + 1;
        year * YEAR_MINUTES + (next * YEAR_MINUTES).div_ceil(releases)
    }

    /// The first epoch that is not closed, when those up to `closed` are: a shorter one than others
    /// where the number of releases in a year has changed.
    pub fn epoch_after(&self, closed: u64) -> u64 {
        self.epoch(UnixMillis(epoch_ends(closed)))
    }

    /// Whether the clock is behind what was closed by another one: then the epoch that is going on, or the
    /// day, will not be released.
    pub fn is_behind(&self, now: UnixMillis, closed_epoch: u64, closed_day: u64) -> bool {
        closed_epoch >= self.epoch(now) || closed_day >= day(now)
    }

    /// The epoch that what comes now counts in. A clock that went back brings nothing into a closed one.
    pub fn open_epoch(&self, now: UnixMillis, closed: u64) -> u64 {
        self.epoch(now).max(self.epoch_after(closed))
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

/// When an epoch is over, in Unix milliseconds.
pub fn epoch_ends(epoch: u64) -> u64 {
    epoch.saturating_mul(MINUTE_MS)
}

/// The last epoch, and the last day, that are over at a time, whatever the settings are.
pub fn over(now: UnixMillis) -> (u64, u64) {
    (now.0 / MINUTE_MS, day(now).saturating_sub(1))
}

/// The year that an epoch is charged to.
pub fn year_of_epoch(epoch: u64) -> u64 {
    epoch.saturating_sub(1) / YEAR_MINUTES
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
    use super::super::median::{DISTANCE_MIN, SPREAD_MIN};
    use super::super::release::PRIOR_SQUARE;
    use super::super::space::AXES;
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
            format!("fewer than {SHOWN_HOUSEHOLDS_MIN} households"),
            format!("than {DISTANCE_MIN} and"),
            format!("a spread of {SPREAD_MIN} around"),
            format!("along {AXES} public axes"),
            format!("on each of the {} numbers", AXES + 3),
            format!("with a variance of {PRIOR_SQUARE} in all"),
        ] {
            assert!(page.contains(&figure), "the page does not say: {figure}");
        }
    }

    #[test]
    fn years_are_divided_into_epochs_without_a_gap() {
        for releases in [1, 3, 4, 7, 365, RELEASES_MAX] {
            let settings = Settings { releases, ..Settings::default() };
            let year = 57 * YEAR_DAYS * DAY_MS;
            let (mut epoch, mut epochs) = (settings.epoch(UnixMillis(year)), 1);
            while epochs < releases.min(1_000) {
                let end = epoch_ends(epoch);
                assert_eq!(settings.epoch(UnixMillis(end - 1)), epoch, "{releases}");
                assert!(settings.epoch_after(epoch) > epoch, "{releases}");
                assert_eq!(year_of_epoch(epoch), 57);
                (epoch, epochs) = (settings.epoch_after(epoch), epochs + 1);
            }
            let last = settings.epoch(UnixMillis(year + YEAR_DAYS * DAY_MS - 1));
            assert_eq!(last, 58 * YEAR_MINUTES, "{releases}: all of the year, and no more");
            assert_eq!((year_of_epoch(last), epoch_ends(last)), (57, year + YEAR_DAYS * DAY_MS));
            assert!(epochs < releases || epoch == last, "{releases} of them");
        }
    }

    #[test]
    fn a_clock_that_is_behind_is_noticed() {
        let (settings, now) = (Settings::default(), UnixMillis(20_805 * DAY_MS + 1));
        let (epoch, day) = over(now);
        assert_eq!((epoch, day), (20_805 * 24 * 60, 20_804));
        assert!(!settings.is_behind(now, epoch, day));
        let open = settings.epoch(now);
        assert!(!settings.is_behind(now, open - 1, day), "what is open now is released");
        assert!(settings.is_behind(now, open, day) && settings.is_behind(now, epoch, day + 1));
    }

    /// Who begins with one number of releases and goes on with another waits for the new one's first end.
    #[test]
    fn a_first_start_closes_nothing_that_is_to_come() {
        let now = UnixMillis(56 * YEAR_DAYS * DAY_MS + 200 * DAY_MS + 5 * MINUTE_MS);
        let (closed, _) = over(now);
        for releases in [1, 4, 365, RELEASES_MAX] {
            let settings = Settings { releases, ..Settings::default() };
            assert_eq!(settings.epoch_after(closed), settings.epoch(now), "{releases}");
            assert_eq!(settings.open_epoch(now, closed), settings.epoch(now), "{releases}");
        }
    }

    /// What was closed stays closed, what is open ends no later, and the ledger's year is the calendar's.
    #[test]
    fn another_number_of_releases_goes_on_where_the_last_one_was() {
        let now = UnixMillis(56 * YEAR_DAYS * DAY_MS + 200 * DAY_MS);
        let of = |releases| Settings { releases, ..Settings::default() };
        for (before, after) in [(4, 12), (12, 4), (4, 3), (3, 7), (1, RELEASES_MAX)] {
            let open = of(before).epoch(now);
            let closed = epoch_ends(open) - YEAR_DAYS * DAY_MS / u64::from(before);
            let closed = closed / MINUTE_MS;
            let after = of(after);
            let mut epoch = after.epoch_after(closed);
            assert!(closed < epoch && after.open_epoch(now, closed) >= epoch);
            while epoch < open {
                assert_eq!(year_of_epoch(epoch), 56);
                epoch = after.epoch_after(epoch);
            }
            assert!(epoch >= open && year_of_epoch(epoch) == 56);
        }
    }
}
