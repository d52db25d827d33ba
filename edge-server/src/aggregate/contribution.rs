//! What one household adds to one epoch, and the most that it can.
//!
//! Of a household's patterns one per genre counts, that of the most samples, and of genres the three
//! with the most samples. Each adds one vector to one cluster (and, for each level that is released,
//! to one cell of that level): its weighted distance from the cluster's reference along the public
//! axes, its weight, its weighted rate of success, and one. Invariant: the squared norm of that vector
//! in whole units is at most [`CELL_SQUARED`], whatever the pattern is.

use super::space::{AXES, Axes};
use omega_sync_core::pattern::{Genre, Pattern};
use std::collections::BTreeMap;

/// Genres of one household that count in one epoch.
pub const CONTRIBUTED_GENRES_MAX: usize = 3;
/// Longest distance of a pattern from its cluster's reference that counts; a longer one is shortened
/// to it. The norm of an embedding is 1; of patterns of simulated households 95 of 100 are nearer to
/// their cluster than this (`docs/privacy.md`), so it shortens few and saves half of the noise.
pub const CLIP: f64 = 0.5;
/// From so many samples on a pattern has the whole weight.
pub const SAMPLES_CAP: u32 = 200;
/// Units of 1 along an axis.
pub const UNITS: i64 = 1 << 14;
/// Units of the weight 1, of a weighted success rate of 1, and of a count of 1: as much noise as the
/// axes get, counted in units, is little against what 50 households add here.
pub const COUNT_UNITS: i64 = UNITS / 4;
/// The largest squared norm of what one pattern adds to one cell, in squared units.
pub const CELL_SQUARED: u64 =
    ((UNITS / 2) * (UNITS / 2) + 3 * COUNT_UNITS * COUNT_UNITS).cast_unsigned();

/// A pattern's weight, 0 to 1: min(ln(1 + n) / ln(1 + cap), 1).
pub fn weight(samples: u32) -> f64 {
    (f64::from(samples).ln_1p() / f64::from(SAMPLES_CAP).ln_1p()).min(1.0)
}

/// The patterns that count, one per genre.
pub fn counted<'a>(
    patterns: impl IntoIterator<Item = &'a Pattern>,
    has_cluster: impl Fn(&Genre) -> bool,
) -> Vec<&'a Pattern> {
    let mut best: BTreeMap<&Genre, &Pattern> = BTreeMap::new();
    for pattern in patterns {
        if !has_cluster(&pattern.genre) {
            continue;
        }
        let entry = best.entry(&pattern.genre).or_insert(pattern);
        if rank(pattern) < rank(entry) {
            *entry = pattern;
        }
    }
    let mut best: Vec<&Pattern> = best.into_values().collect();
    best.sort_by_key(|pattern| rank(pattern));
    best.truncate(CONTRIBUTED_GENRES_MAX);
    best
}

/// Most samples first; equal ones by their names.
fn rank(pattern: &Pattern) -> (std::cmp::Reverse<u32>, u128) {
    (std::cmp::Reverse(pattern.sample_count()), pattern.id.0)
}

/// What a pattern adds to a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    axes: [i64; AXES],
    weight: i64,
    success: i64,
}

impl Contribution {
    /// Clips, weighs and rounds towards zero. `reference` is a point that is known already.
    pub fn new(pattern: &Pattern, reference: &[f64], axes: &Axes) -> Self {
        let embedding = super::space::point(&pattern.embedding);
        let apart: Vec<f64> = embedding.iter().zip(reference).map(|(a, b)| a - b).collect();
        Self::of_distance(axes.project(&apart), pattern)
    }

    fn of_distance(distance: [f64; AXES], pattern: &Pattern) -> Self {
        let norm = super::space::dot(&distance, &distance).sqrt();
        let weight = weight(pattern.sample_count());
        let mut scale = weight * if norm > CLIP { CLIP / norm } else { 1.0 };
        let rate = f64::from(pattern.success_count()) / f64::from(pattern.sample_count());
        loop {
            // `as` cuts off towards zero, so rounding makes no vector longer.
            let units = |component: f64| (component * scale * UNITS as f64) as i64;
            let contribution = Self {
                axes: distance.map(units),
                weight: (weight * COUNT_UNITS as f64) as i64,
                success: (weight * rate * COUNT_UNITS as f64) as i64,
            };
            if contribution.squared() <= CELL_SQUARED {
                return contribution;
            }
            // The division above was rounded up: whole numbers decide what is short enough.
            scale *= 1.0 - 1e-9;
        }
    }

    /// The squared norm, in squared units.
    fn squared(&self) -> u64 {
        let axes = self.axes.iter().map(|units| units * units).sum::<i64>();
        let (weight, success) = (self.weight * self.weight, self.success * self.success);
        (axes + weight + success + COUNT_UNITS * COUNT_UNITS).cast_unsigned()
    }

    /// Its place along the axes, and its weight.
    pub(super) fn placed(&self) -> ([f32; AXES], f32) {
        let weight = self.weight.max(1) as f64 / COUNT_UNITS as f64;
        let place = self.axes.map(|units| (units as f64 / UNITS as f64 / weight) as f32);
        (place, weight as f32)
    }
}

/// What all households of one cluster and place add up to: one part of the vector that is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    axes: [i64; AXES],
    weight: i64,
    success: i64,
    count: i64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { axes: [0; AXES], weight: 0, success: 0, count: 0 }
    }
}

impl Cell {
    /// Adds one household's.
    pub fn add(&mut self, contribution: &Contribution) {
        let Contribution { axes, weight, success } = contribution;
        self.axes.iter_mut().zip(axes).for_each(|(to, units)| *to += units);
        self.weight += weight;
        self.success += success;
        self.count += COUNT_UNITS;
    }

    /// All of its numbers, for noise.
    pub(super) fn numbers(&mut self) -> impl Iterator<Item = &mut i64> {
        let counts = [&mut self.weight, &mut self.success, &mut self.count];
        self.axes.iter_mut().chain(counts)
    }

    /// How many households are in it.
    pub fn households(&self) -> f64 {
        self.count as f64 / COUNT_UNITS as f64
    }

    /// Their weight together.
    pub fn weight(&self) -> f64 {
        self.weight as f64 / COUNT_UNITS as f64
    }

    /// Their weighted rate of success, 0 to 1.
    pub fn success_rate(&self) -> f64 {
        if self.weight <= 0 {
            return 0.0;
        }
        (self.success as f64 / self.weight as f64).clamp(0.0, 1.0)
    }

    /// Their weighted mean distance from the reference along the axes, for a weight above 0.
    pub fn mean(&self, weight: f64) -> [f64; AXES] {
        self.axes.map(|units| units as f64 / UNITS as f64 / weight)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::dice::Dice;
    use super::super::space::{dot, embedding, point};
    use super::*;
    use omega_sync_core::pattern::{DIMENSIONS, PatternId};
    use proptest::prelude::*;

    pub(crate) fn pattern(id: u128, genre: &str, at: &[f64], samples: u32) -> Pattern {
        let successes = samples - samples / 5;
        let genre = Genre::new(genre).unwrap();
        Pattern::new(PatternId(id), genre, embedding(at).unwrap(), samples, successes).unwrap()
    }

    pub(crate) fn random_point(dice: &mut Dice) -> Vec<f64> {
        (0..DIMENSIONS).map(|_| dice.normal()).collect()
    }

    #[test]
    fn a_weight_grows_with_the_logarithm_up_to_its_cap() {
        assert_eq!(weight(0), 0.0);
        assert!((weight(10) - 11f64.ln() / 201f64.ln()).abs() < 1e-12);
        assert!(weight(SAMPLES_CAP - 1) < 1.0);
        assert_eq!((weight(SAMPLES_CAP), weight(u32::MAX)), (1.0, 1.0));
    }

    #[test]
    fn one_pattern_of_a_genre_counts_and_three_genres() {
        let mut dice = Dice::new(1);
        let mut made = |id, genre, samples| pattern(id, genre, &random_point(&mut dice), samples);
        let patterns = [
            made(1, "drama", 40),
            made(2, "drama", 50),
            made(3, "crime", 50),
            made(4, "war", 49),
            made(5, "music", 51),
            made(6, "unheard of", 99),
        ];
        let known = |genre: &Genre| genre.as_str() != "unheard of";
        let names = |patterns: Vec<&Pattern>| -> Vec<u128> {
            patterns.iter().map(|pattern| pattern.id.0).collect()
        };
        assert_eq!(names(counted(&patterns, known)), [5, 2, 3]);
        assert_eq!(names(counted(patterns.iter().rev(), known)), [5, 2, 3], "in any order");
        assert!(counted(&[], known).is_empty());
    }

    #[test]
    fn what_is_far_away_is_shortened_and_what_is_near_is_not() {
        let axes = Axes::plain();
        let mut along = [0.0; AXES];
        along[0] = 1.0;
        let far = axes.lift(&along);
        let whole = pattern(1, "drama", &far, SAMPLES_CAP);
        let contribution = Contribution::new(&whole, &vec![0.0; DIMENSIONS], &axes);
        let (place, weight) = contribution.placed();
        assert_eq!(weight, 1.0);
        assert!((f64::from(place[0]) - CLIP).abs() < 1e-3, "{}", place[0]);
        let reference: Vec<f64> = point(&whole.embedding).iter().map(|x| x * 0.75).collect();
        let near = Contribution::new(&whole, &reference, &axes);
        assert!((near.placed().0[0] - 0.25).abs() < 1e-3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever is sent, one contribution is no longer than the sensitivity says.
        #[test]
        fn no_contribution_is_longer_than_it_may_be(
            seed in any::<u64>(), samples in 1u32..500, size in 0.0f64..40.0, all in any::<bool>(),
        ) {
            let mut dice = Dice::new(seed);
            let mut distance = [0.0; AXES];
            let scale = size / AXES as f64;
            distance.iter_mut().for_each(|to| *to = dice.normal() * scale);
            let at = random_point(&mut dice);
            let genre = Genre::new("drama").unwrap();
            let successes = if all { samples } else { samples / 2 };
            let pattern =
                Pattern::new(PatternId(1), genre, embedding(&at).unwrap(), samples, successes);
            let contribution = Contribution::of_distance(distance, &pattern.unwrap());
            prop_assert!(contribution.squared() <= CELL_SQUARED);
        }

        /// One household of weight w moves the mean of a cluster of weight W by at most 2w/(W + w);
        /// with our clip, by half of that.
        #[test]
        fn one_household_can_t_pull_a_mean_far(
            seed in any::<u64>(), households in 1usize..60, samples in 1u32..1_000,
        ) {
            let mut dice = Dice::new(seed);
            let draw = |dice: &mut Dice, samples, size: f64| {
                let mut distance = [0.0; AXES];
                distance.iter_mut().for_each(|to| *to = dice.normal() * size);
                let pattern = pattern(1, "drama", &random_point(dice), samples);
                Contribution::of_distance(distance, &pattern)
            };
            let mut cell = Cell::default();
            for _ in 0..households {
                let samples = 1 + dice.below(300) as u32;
                cell.add(&draw(&mut dice, samples, 0.05));
            }
            let before = cell.mean(cell.weight());
            let total = cell.weight();
            // The worst: straight away from all others, as far as can be.
            let mut attack = draw(&mut dice, samples, 10.0);
            let away = before.map(|x| -x * 1e9);
            attack = Contribution { axes: Contribution::of_distance(
                away, &pattern(1, "drama", &random_point(&mut dice), samples)).axes, ..attack };
            cell.add(&attack);
            let after = cell.mean(cell.weight());
            let moved: Vec<f64> = before.iter().zip(after).map(|(a, b)| a - b).collect();
            let (moved, weight) = (dot(&moved, &moved).sqrt(), weight(samples));
            // Rounding to units, of each household along each axis.
            let rounding = 2.0 * (households + 1) as f64 * (AXES as f64).sqrt() / UNITS as f64 / total;
            let bound = 2.0 * CLIP * weight / (total + weight) + rounding;
            prop_assert!(moved <= bound, "{moved} {bound}");
            prop_assert!(moved <= 2.0 * weight / (total + weight) + rounding);
        }
    }
}
