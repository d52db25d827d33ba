//! A second opinion on each cluster: the coordinate-wise median, which a few households can't move.
//!
//! It is never released. When it is far from the mean that is, many households stand in one place on
//! one side: the operator should look before the next epoch. What the alarm says is not private, so it
//! goes to the operator's metrics and log only (`docs/privacy.md`).

use super::contribution::Contribution;
use super::space::AXES;
use omega_sync_core::pattern::PatternId;

/// Households from which on a median says anything.
const HOUSEHOLDS_MIN: usize = 20;
/// Mean and median that are nearer than this agree, as a fraction of an embedding's norm.
pub const DISTANCE_MIN: f64 = 0.06;
/// Farther apart than so many times what chance makes them, they disagree.
pub const CHANCE_TIMES: f64 = 2.0;
/// A normal distribution's deviation over the median of its absolute deviations.
const DEVIATION_OF_MAD: f64 = 1.4826;

/// A cluster that may have been poisoned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Which.
    pub cluster: PatternId,
    /// How far apart its mean and median are.
    pub distance: f64,
}

/// Where the households of one cluster are.
#[derive(Debug, Clone, Default)]
pub struct Members(Vec<([f32; AXES], f32)>);

impl Members {
    /// Adds one.
    pub fn add(&mut self, contribution: &Contribution) {
        self.0.push(contribution.placed());
    }

    /// The distance between weighted mean and weighted median, if they disagree.
    pub fn alarm(&mut self) -> Option<f64> {
        let members = &mut self.0;
        if members.len() < HOUSEHOLDS_MIN {
            return None;
        }
        let total: f64 = members.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let squares: f64 = members.iter().map(|(_, weight)| f64::from(*weight).powi(2)).sum();
        let (mut apart, mut by_chance) = (0.0, 0.0);
        for axis in 0..AXES {
            let sum = members.iter().map(|(at, weight)| f64::from(at[axis]) * f64::from(*weight));
            let mean = sum.sum::<f64>() / total;
            let mut values: Vec<(f64, f64)> = members
                .iter()
                .map(|(at, weight)| (f64::from(at[axis]), f64::from(*weight)))
                .collect();
            let median = weighted_median(&mut values, total);
            values.iter_mut().for_each(|(value, _)| *value = (*value - median).abs());
            let deviation = DEVIATION_OF_MAD * weighted_median(&mut values, total);
            apart += (mean - median).powi(2);
            by_chance += deviation.powi(2);
        }
        // The mean of n has a variance of s²/n, the median π/2 as much; of weights n is (Σw)²/Σw².
        let by_chance = (by_chance * std::f64::consts::FRAC_PI_2 * squares / total.powi(2)).sqrt();
        let apart = apart.sqrt();
        (apart > DISTANCE_MIN && apart > CHANCE_TIMES * by_chance).then_some(apart)
    }
}

/// The value with half of the weight below it.
fn weighted_median(values: &mut [(f64, f64)], total: f64) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut below = 0.0;
    for (value, weight) in values.iter() {
        below += weight;
        if below * 2.0 >= total {
            return *value;
        }
    }
    values.last().map_or(0.0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::dice::Dice;

    fn members(honest: usize, poisoners: usize, seed: u64) -> Members {
        let mut dice = Dice::new(seed);
        let mut all = Vec::new();
        for at in 0..honest + poisoners {
            let mut place = [0.0; AXES];
            if at < honest {
                place.iter_mut().for_each(|to| *to = (dice.normal() * 0.04) as f32);
            } else {
                place[3] = 0.5;
            }
            all.push((place, 0.5 + dice.fraction() as f32 / 2.0));
        }
        Members(all)
    }

    #[test]
    fn honest_households_raise_no_alarm() {
        for seed in 0..20 {
            assert_eq!(members(60, 0, seed).alarm(), None);
            assert_eq!(members(400, 0, seed).alarm(), None);
        }
    }

    #[test]
    fn many_households_in_one_far_place_do() {
        for seed in 0..20 {
            let distance = members(200, 50, seed).alarm().unwrap();
            assert!(distance > 0.08 && distance < 0.12, "{distance}");
        }
        assert_eq!(members(HOUSEHOLDS_MIN - 5, 4, 1).alarm(), None, "too few to say");
    }

    #[test]
    fn a_median_has_half_of_the_weight_below_it() {
        let mut values = [(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!(weighted_median(&mut values, 3.0), 2.0);
        let mut values = [(3.0, 5.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!(weighted_median(&mut values, 7.0), 3.0);
    }
}
