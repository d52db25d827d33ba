//! A second opinion on each cluster, for the operator: its households' coordinate-wise median, which a
//! few can't move, and how far from it they are.
//!
//! It is never released. When the median is far from the mean that is, many households stand in one
//! place on one side. When they are more than half, the median is theirs; but then most of the cluster is
//! much more alike than households are. What an alarm says is not private, so it goes to the operator's
//! metrics and log only (`docs/privacy.md`).

use super::contribution::Contribution;
use super::space::AXES;
use omega_sync_core::pattern::PatternId;
use std::fmt;

/// Households from which on a median says anything.
const MEDIAN_HOUSEHOLDS_MIN: usize = 20;
/// Mean and median that are nearer than this agree, as a fraction of an embedding's norm.
pub const DISTANCE_MIN: f64 = 0.06;
/// Farther apart than so many times what chance makes them, they disagree.
pub const CHANCE_TIMES: f64 = 2.0;
/// Households of a cluster are too alike when they are spread less than this, as a fraction of an
/// embedding's norm.
pub const SPREAD_MIN: f64 = 0.05;
/// A normal distribution's deviation over the median of its absolute deviations.
const DEVIATION_OF_MAD: f64 = 1.4826;

/// Why a cluster may have been poisoned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// Its mean and its median are so far apart.
    Disagree(f64),
    /// Most of its households are the same but for so much.
    Alike(f64),
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagree(distance) => {
                write!(formatter, "mean and median are {distance:.3} apart")
            }
            Self::Alike(spread) => write!(formatter, "households are alike within {spread:.3}"),
        }
    }
}

/// A cluster that may have been poisoned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// The cluster.
    pub cluster: PatternId,
    /// What looks wrong about it.
    pub why: Why,
}

/// Where the households of one cluster are.
#[derive(Debug, Clone, Default)]
pub struct Members(Vec<([f32; AXES], f32)>);

impl Members {
    /// Adds a household, by what it contributed.
    pub fn add(&mut self, contribution: &Contribution) {
        self.0.push(contribution.placed());
    }

    /// What is wrong with them, if anything is.
    pub fn alarm(&self) -> Option<Why> {
        let members = &self.0;
        if members.len() < MEDIAN_HOUSEHOLDS_MIN {
            return None;
        }
        let total: f64 = members.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let squares: f64 = members.iter().map(|(_, weight)| f64::from(*weight).powi(2)).sum();
        let (mut apart, mut spread) = (0.0, 0.0);
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
            spread += deviation.powi(2);
        }
        // The mean of n has a variance of s²/n, the median π/2 as much; of weights n is (Σw)²/Σw².
        let by_chance = (spread * std::f64::consts::FRAC_PI_2 * squares / total.powi(2)).sqrt();
        let (apart, spread) = (apart.sqrt(), spread.sqrt());
        if spread < SPREAD_MIN {
            return Some(Why::Alike(spread));
        }
        let disagree = apart > DISTANCE_MIN && apart > CHANCE_TIMES * by_chance;
        disagree.then_some(Why::Disagree(apart))
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
            let why = members(200, 50, seed).alarm();
            let far = |distance| distance > 0.08 && distance < 0.12;
            assert!(matches!(why, Some(Why::Disagree(distance)) if far(distance)), "{why:?}");
        }
        assert_eq!(members(MEDIAN_HOUSEHOLDS_MIN - 5, 4, 1).alarm(), None, "too few to say");
    }

    #[test]
    fn households_that_are_most_of_a_cluster_and_all_the_same_do_too() {
        for seed in 0..20 {
            for honest in [0, 40, 90] {
                let why = members(honest, 100, seed).alarm();
                assert!(matches!(why, Some(Why::Alike(_))), "{honest}: {why:?}");
            }
        }
        // At the edge: spread a little less, and a little more.
        let spread = |by: f64| {
            let mut all = members(400, 0, 1);
            all.0.iter_mut().flat_map(|(at, _)| at).for_each(|to| *to *= by as f32);
            all.alarm()
        };
        let as_made = 0.04 * (AXES as f64).sqrt();
        assert!(matches!(spread(0.9 * SPREAD_MIN / as_made), Some(Why::Alike(_))));
        assert_eq!(spread(1.1 * SPREAD_MIN / as_made), None);
    }

    #[test]
    fn a_median_has_half_of_the_weight_below_it() {
        let mut values = [(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!(weighted_median(&mut values, 3.0), 2.0);
        let mut values = [(3.0, 5.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!(weighted_median(&mut values, 7.0), 3.0);
    }
}
