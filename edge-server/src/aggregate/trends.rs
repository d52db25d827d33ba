//! What is watched more than usual, per region and genre, counted privately day by day.
//!
//! The event is a household's first `playing` of a title on a day, the day being that of its arrival
//! here; at most [`TITLES_OF_DAY_MAX`] titles of a household count on a day. A closed day becomes a
//! histogram over (region, title), to which Gaussian noise is added, with L2 sensitivity
//! √[`TITLES_OF_DAY_MAX`], and of which only what passes a threshold is kept: titles are whatever
//! devices play, so a title's very presence could tell. Everything after that (scores, averages,
//! lists) is made of what was kept, so it costs nothing more. A day has a budget of its own.

use super::privacy::{Entropy, Gaussian, Guarantee, NoEntropy, PrivacyError, Rho, Sensitivity};
use super::region::Region;
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::Genre;
use std::collections::BTreeMap;

/// Titles of a household that count on one day.
pub const TITLES_OF_DAY_MAX: usize = 10;
/// Trends of one genre in a region's list.
pub const TRENDS_OF_GENRE_MAX: usize = 10;
/// Titles that are remembered of a region; the lowest scores are forgotten.
pub const REMEMBERED_MAX: usize = 1_000;
/// Days after which a count has half of its part in a score.
const HALF_LIFE_DAYS: f64 = 3.0;
/// Weight of a new day in the fast and in the slow average (2/(n + 1) of 2 and of 14 days).
const FAST: f64 = 2.0 / 3.0;
const SLOW: f64 = 2.0 / 15.0;
/// A rise by more deviations counts as by so many.
const RISE_MAX: f64 = 3.0;

/// The noise of a day's counts, and the count from which on a title is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayNoise {
    gaussian: Gaussian,
    threshold: i64,
    delta_of_threshold: f64,
}

impl DayNoise {
    /// Keeps a day's guarantee: half of δ is for the noise, half for the threshold.
    ///
    /// # Errors
    /// It needs more noise than can be drawn.
    pub fn new(day: Guarantee) -> Result<Self, PrivacyError> {
        let half = day.delta() / 2.0;
        let titles = u32::try_from(TITLES_OF_DAY_MAX).unwrap_or(u32::MAX);
        let rho = Rho::within(Guarantee::new(day.epsilon(), half)?);
        let gaussian = Gaussian::new(Sensitivity::of_cells(titles, 1)?, rho)?;
        let threshold = gaussian.threshold(1, titles, half);
        Ok(Self { gaussian, threshold, delta_of_threshold: half })
    }

    /// What a day costs.
    pub fn rho(self) -> Rho {
        self.gaussian.rho()
    }

    /// σ in households.
    pub fn sigma(self) -> f64 {
        self.gaussian.sigma()
    }

    /// A noisy count below this is as none.
    pub fn threshold(self) -> i64 {
        self.threshold
    }

    /// What so many days come to for a household that watches on each of them, at a δ of which the
    /// thresholds take their part.
    pub fn epsilon_of_days(self, days: u32, delta: f64) -> f64 {
        let thresholds = f64::from(days) * self.delta_of_threshold;
        self.rho().times(days).epsilon((delta - thresholds).max(delta / 2.0))
    }
}

/// Households of a region that began a title on a day.
pub type Counts = BTreeMap<(Region, ContentId), u64>;

/// Adds noise to each and keeps what passes the threshold.
///
/// # Errors
/// There is no randomness.
pub fn hide(
    counts: &Counts,
    noise: Option<DayNoise>,
    entropy: &mut impl Entropy,
) -> Result<BTreeMap<(Region, ContentId), u32>, NoEntropy> {
    let mut kept = BTreeMap::new();
    for (key, count) in counts {
        let mut noisy = i64::try_from(*count).unwrap_or(i64::MAX);
        let mut threshold = 1;
        if let Some(noise) = noise {
            noisy = noisy.saturating_add(noise.gaussian.sample(entropy)?);
            threshold = noise.threshold;
        }
        if noisy >= threshold {
            kept.insert(key.clone(), u32::try_from(noisy).unwrap_or(u32::MAX));
        }
    }
    Ok(kept)
}

/// What is remembered of a title in a region, all of it made of noisy counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Course {
    /// Counts, each worth half after `HALF_LIFE_DAYS`.
    pub score: f64,
    /// The average of the last days.
    pub fast: f64,
    /// The average of the last weeks.
    pub slow: f64,
    /// The variance around it.
    pub variance: f64,
}

impl Course {
    /// Takes in a day's count, 0 for a title that did not pass.
    pub fn day(&mut self, count: f64) {
        let decay = 0.5f64.powf(1.0 / HALF_LIFE_DAYS);
        self.score = self.score * decay + count;
        self.fast += FAST * (count - self.fast);
        let from_slow = count - self.slow;
        self.slow += SLOW * from_slow;
        self.variance = (1.0 - SLOW) * (self.variance + SLOW * from_slow * from_slow);
    }

    /// How far the fast average is above the slow one, in deviations; the noise's own is the least.
    pub fn rise(&self, sigma: f64) -> f64 {
        let deviation = (self.variance + sigma * sigma).sqrt().max(1.0);
        (self.fast - self.slow) / deviation
    }

    /// What a list is ordered by: the score, twice for each deviation that the title rises by.
    pub fn strength(&self, sigma: f64) -> f64 {
        self.score * self.rise(sigma).clamp(-RISE_MAX, RISE_MAX).exp2()
    }
}

/// Titles of one region, and how they fare.
pub type Courses = BTreeMap<ContentId, Course>;

/// Takes a region's next day in; what passed no threshold counts as 0, what has faded is forgotten.
pub fn next_day(courses: &mut Courses, day: &BTreeMap<ContentId, u32>) {
    for (content, course) in courses.iter_mut() {
        course.day(day.get(content).copied().map_or(0.0, f64::from));
    }
    for (content, count) in day {
        if !courses.contains_key(content) {
            let mut course = Course::default();
            course.day(f64::from(*count));
            courses.insert(content.clone(), course);
        }
    }
    courses.retain(|_, course| course.score >= 1.0);
    if courses.len() > REMEMBERED_MAX {
        let mut scores: Vec<f64> = courses.values().map(|course| course.score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let least = scores[REMEMBERED_MAX - 1];
        courses.retain(|_, course| course.score >= least);
    }
}

/// A title on a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// The title.
    pub content: ContentId,
    /// Its genre.
    pub genre: Genre,
    /// How strongly, in households.
    pub strength: f64,
}

/// A region's list: of each genre the strongest, all of them the strongest first.
pub fn list(
    courses: &Courses,
    sigma: f64,
    genre_of: impl Fn(&ContentId) -> Option<Genre>,
) -> Vec<Trend> {
    let mut all: Vec<Trend> = courses
        .iter()
        .filter_map(|(content, course)| {
            let strength = course.strength(sigma);
            Some(Trend { content: content.clone(), genre: genre_of(content)?, strength })
        })
        .collect();
    all.sort_by(|a, b| b.strength.total_cmp(&a.strength).then_with(|| a.content.cmp(&b.content)));
    let mut of_genre: BTreeMap<Genre, usize> = BTreeMap::new();
    all.retain(|trend| {
        let seen = of_genre.entry(trend.genre.clone()).or_default();
        *seen += 1;
        *seen <= TRENDS_OF_GENRE_MAX
    });
    all
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    fn content(name: &str) -> ContentId {
        ContentId::new(name).unwrap()
    }

    fn noise() -> DayNoise {
        DayNoise::new(Guarantee::new(1.0, 1e-9).unwrap()).unwrap()
    }

    fn counts(of: &[(&str, u64)]) -> Counts {
        let region = Region::new("DE").unwrap();
        of.iter().map(|(name, count)| ((region.clone(), content(name)), *count)).collect()
    }

    #[test]
    fn a_day_keeps_its_guarantee() {
        let noise = noise();
        assert!(noise.rho().epsilon(0.5e-9) <= 1.0);
        assert!(noise.sigma() > 15.0 && noise.sigma() < 25.0, "{}", noise.sigma());
        let year = noise.epsilon_of_days(365, 1e-6);
        assert!(year > 15.0 && year < 30.0, "{year}");
        // The threshold's own δ: ten titles that one household alone has.
        let tail = (noise.threshold() - 2) as f64 / noise.sigma();
        assert!(10.0 * 0.5 * (-tail * tail / 2.0).exp() <= 0.5e-9);
    }

    #[test]
    fn few_households_are_hidden_and_many_are_shown() {
        let (mut dice, noise) = (Dice::new(1), noise());
        let counts = counts(&[("rare", 1), ("some", 60), ("popular", 400)]);
        for _ in 0..200 {
            let kept = hide(&counts, Some(noise), &mut dice).unwrap();
            assert_eq!(kept.len(), 1, "{kept:?}");
            let shown = kept.values().next().copied().unwrap();
            assert!(f64::from(shown.abs_diff(400)) < 6.0 * noise.sigma(), "{shown}");
        }
        assert_eq!(hide(&counts, None, &mut dice).unwrap().len(), 3, "without noise all");
    }

    #[test]
    fn what_rises_is_stronger_than_what_is_always_there() {
        let mut courses = Courses::new();
        for day in 0..30 {
            let mut counts = BTreeMap::from([(content("steady"), 200), (content("gone"), 10)]);
            if day >= 27 {
                counts.insert(content("new"), 190);
                counts.remove(&content("gone"));
            }
            next_day(&mut courses, &counts);
        }
        let drama = |_: &ContentId| Genre::new("drama").ok();
        let list: Vec<String> =
            list(&courses, 20.0, drama).iter().map(|t| t.content.as_str().to_owned()).collect();
        assert_eq!(list, ["new", "steady", "gone"]);
        let steady = courses[&content("steady")];
        assert!(steady.rise(20.0).abs() < 0.2, "{}", steady.rise(20.0));
        // At half of its score after each three days.
        for _ in 0..60 {
            next_day(&mut courses, &BTreeMap::new());
        }
        assert!(courses.is_empty(), "{courses:?}");
    }

    #[test]
    fn a_genre_has_ten_places_and_a_region_remembers_so_many_titles() {
        let mut courses = Courses::new();
        let many = 0..REMEMBERED_MAX as u32 + 5;
        next_day(&mut courses, &many.map(|at| (content(&format!("t{at}")), 10 + at)).collect());
        assert_eq!(courses.len(), REMEMBERED_MAX);
        let genre = |content: &ContentId| {
            let odd = content.as_str().ends_with(['1', '3', '5', '7', '9']);
            Genre::new(if odd { "odd" } else { "even" }).ok()
        };
        let list = list(&courses, 0.0, genre);
        assert_eq!(list.len(), 2 * TRENDS_OF_GENRE_MAX);
        assert!(list.windows(2).all(|pair| pair[0].strength >= pair[1].strength));
    }
}
