//! Differential privacy, and nothing else: no clock, no storage, randomness as an argument.
//!
//! The unit is the household: neighbouring data sets differ by everything that one household did in
//! the time of a release. Privacy loss is counted as ρ of zero-concentrated differential privacy
//! (zCDP; Bun & Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
//! Bounds", TCC 2016): it adds up over releases (their Lemma 1.7, also when a later one depends on
//! an earlier one's result), and Gaussian noise of variance σ² on a vector whose L2 norm one
//! household changes by at most Δ costs Δ²/2σ². [`Rho::epsilon`] says what a ρ means as (ε, δ).
//!
//! Invariant: everything that costs budget is a whole number (ρ in trillionths, Δ² and σ² in squared
//! units), rounded to the safe side, so that no sum of floating-point numbers decides what is spent.

mod gaussian;

pub use gaussian::{Entropy, NoEntropy, SIGMA_MAX, discrete_gaussian};

use thiserror::Error;

/// What 1 is in trillionths.
const TRILLION: u64 = 1_000_000_000_000;
/// Largest ε that may be asked for: beyond it the word "private" says nothing.
pub const EPSILON_MAX: f64 = 16.0;
/// Largest δ that may be asked for: one household in ten thousand.
pub const DELTA_MAX: f64 = 1e-4;
/// Smallest δ that may be asked for.
pub const DELTA_MIN: f64 = 1e-15;
/// Largest ρ that can be counted.
const RHO_MAX: u64 = 1_000 * TRILLION;

/// Why a guarantee can't be given.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PrivacyError {
    /// ε is no number above 0 and up to [`EPSILON_MAX`].
    #[error("epsilon must be above 0 and at most {EPSILON_MAX}, not {0}")]
    Epsilon(f64),
    /// δ is no number from [`DELTA_MIN`] to [`DELTA_MAX`].
    #[error("delta must be from {DELTA_MIN:e} to {DELTA_MAX:e}, not {0:e}")]
    Delta(f64),
    /// Nothing can be released for nothing.
    #[error("a release must cost some budget")]
    Free,
    /// So little budget would need more noise than can be drawn.
    #[error(
        "the budget is too small: its noise would be {0} units wide, and {SIGMA_MAX} can be drawn"
    )]
    Noise(u64),
    /// A vector can't be changed by nothing, or by this much.
    #[error("a sensitivity of {0} squared units can't be")]
    Sensitivity(u64),
    /// There is less budget left than this costs.
    #[error("the budget is spent: {left} trillionths of rho are left, {wanted} are needed")]
    Spent {
        /// Trillionths of ρ that are left.
        left: u64,
        /// Trillionths of ρ that were asked for.
        wanted: u64,
    },
}

/// An (ε, δ) of differential privacy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guarantee {
    epsilon: f64,
    delta: f64,
}

impl Guarantee {
    /// A guarantee of an ε and a δ that are in their ranges.
    ///
    /// # Errors
    /// One is out of its range; the error names it.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, PrivacyError> {
        if !(epsilon > 0.0 && epsilon <= EPSILON_MAX) {
            return Err(PrivacyError::Epsilon(epsilon));
        }
        if !(DELTA_MIN..=DELTA_MAX).contains(&delta) {
            return Err(PrivacyError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    /// The ε of the guarantee.
    pub fn epsilon(self) -> f64 {
        self.epsilon
    }

    /// The δ of the guarantee.
    pub fn delta(self) -> f64 {
        self.delta
    }
}

/// Privacy loss: ρ of zCDP, in trillionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rho(u64);

impl Rho {
    /// No loss.
    pub const ZERO: Self = Self(0);

    /// From trillionths; more than can be counted counts as the most.
    pub fn from_trillionths(trillionths: u64) -> Self {
        Self(trillionths.min(RHO_MAX))
    }

    /// ρ in trillionths.
    pub fn trillionths(self) -> u64 {
        self.0
    }

    /// ρ as a number.
    pub fn value(self) -> f64 {
        self.0 as f64 / TRILLION as f64
    }

    /// The most that may be spent under a guarantee.
    pub fn within(guarantee: Guarantee) -> Self {
        // ε grows with ρ: bisection, which ends below.
        let (mut low, mut high) = (0, RHO_MAX);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match Self(middle).epsilon(guarantee.delta) <= guarantee.epsilon {
                true => low = middle,
                false => high = middle,
            }
        }
        Self(low)
    }

    /// ε at a δ: the least over α of Canonne, Kamath & Steinke, "The Discrete Gaussian for
    /// Differential Privacy" (NeurIPS 2020), Proposition 12:
    /// ε = αρ + ln(1 − 1/α) + ln(1/αδ) / (α − 1).
    /// Each α gives an ε that holds, so a coarse search is safe.
    pub fn epsilon(self, delta: f64) -> f64 {
        if self.0 == 0 {
            return 0.0;
        }
        let rho = self.value();
        let at = |exponent: f64| {
            let above_1 = exponent.exp();
            let alpha = 1.0 + above_1;
            alpha * rho + (above_1 / alpha).ln() - (alpha * delta).ln() / above_1
        };
        // From α = 1.0001 to α = 10^8, in steps of half a percent of α − 1.
        let exponents = (0..5_527).map(|step| -9.21 + f64::from(step) * 0.005);
        exponents.map(at).fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// So many parts of it, rounded down.
    pub fn share(self, parts: u32, of: u32) -> Self {
        let share = u128::from(self.0) * u128::from(parts.min(of)) / u128::from(of.max(1));
        Self(u64::try_from(share).unwrap_or(self.0))
    }

    /// As often as this.
    pub fn times(self, count: u32) -> Self {
        Self::from_trillionths(self.0.saturating_mul(u64::from(count)))
    }

    /// The loss of two releases together.
    pub fn plus(self, other: Self) -> Self {
        Self::from_trillionths(self.0.saturating_add(other.0))
    }
}

/// The most by which one household can change a vector: its squared L2 norm in whole units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sensitivity(u64);

impl Sensitivity {
    /// Of a vector in which a household touches so many cells, each by at most this squared norm.
    /// Cells have different coordinates, so squared norms add up.
    ///
    /// # Errors
    /// It would be nothing, or more than fits.
    pub fn of_cells(cells: u32, squared_each: u64) -> Result<Self, PrivacyError> {
        let squared = u128::from(cells) * u128::from(squared_each);
        match u64::try_from(squared) {
            Ok(squared) if squared > 0 => Ok(Self(squared)),
            Ok(none) => Err(PrivacyError::Sensitivity(none)),
            Err(_) => Err(PrivacyError::Sensitivity(u64::MAX)),
        }
    }

    /// Δ², in squared units.
    pub fn squared(self) -> u64 {
        self.0
    }
}

/// Discrete Gaussian noise that gives a vector of a known sensitivity a known ρ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gaussian {
    rho: Rho,
    variance: u64,
}

impl Gaussian {
    /// The noise with which a release of such a vector costs at most ρ: σ² = ⌈Δ²/2ρ⌉. That holds for
    /// whole numbers as it does for real ones, coordinate by coordinate (Canonne, Kamath & Steinke,
    /// the multivariate discrete Gaussian).
    ///
    /// # Errors
    /// ρ is nothing, or so little that the noise can't be drawn.
    pub fn new(sensitivity: Sensitivity, rho: Rho) -> Result<Self, PrivacyError> {
        if rho == Rho::ZERO {
            return Err(PrivacyError::Free);
        }
        let twice = 2 * u128::from(rho.0);
        let variance = (u128::from(sensitivity.0) * u128::from(TRILLION)).div_ceil(twice);
        let variance = u64::try_from(variance).unwrap_or(u64::MAX);
        if variance.isqrt() >= SIGMA_MAX {
            return Err(PrivacyError::Noise(variance.isqrt()));
        }
        Ok(Self { rho, variance })
    }

    /// What a release costs.
    pub fn rho(self) -> Rho {
        self.rho
    }

    /// σ², in squared units.
    pub fn variance(self) -> u64 {
        self.variance
    }

    /// σ, in units.
    pub fn sigma(self) -> f64 {
        (self.variance as f64).sqrt()
    }

    /// One draw, in units.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn sample(self, entropy: &mut impl Entropy) -> Result<i64, NoEntropy> {
        discrete_gaussian(self.variance, entropy)
    }

    /// From which noisy count on a key may be shown that the data made up itself. A key that one
    /// household alone has, has the count of one unit; that any of so many such keys reaches the
    /// threshold has at most this probability, which is to be added to δ (approximate zCDP, Bun &
    /// Steinke, section 8). P(X ≥ m) of the discrete Gaussian is at most that of the continuous one
    /// at m − 1 (Canonne, Kamath & Steinke, on its tails), and that one's tail at xσ is at most
    /// exp(−x²/2)/2.
    pub fn threshold(self, unit: u64, keys: u32, delta: f64) -> i64 {
        let each = delta / f64::from(keys.max(1));
        let tail = self.sigma() * (2.0 * (0.5 / each).ln().max(0.0)).sqrt();
        unit.cast_signed() + 1 + tail.ceil() as i64
    }
}

/// What may be spent in a year, and what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    limit: Rho,
    spent: Rho,
}

impl Ledger {
    /// As it stands.
    pub fn new(limit: Rho, spent: Rho) -> Self {
        Self { limit, spent }
    }

    /// The ledger after a release of this cost.
    ///
    /// # Errors
    /// There is too little left; nothing was spent.
    pub fn charge(self, rho: Rho) -> Result<Self, PrivacyError> {
        let left = self.left();
        if rho > left {
            return Err(PrivacyError::Spent { left: left.0, wanted: rho.0 });
        }
        Ok(Self { limit: self.limit, spent: self.spent.plus(rho) })
    }

    /// The loss of all releases so far.
    pub fn spent(self) -> Rho {
        self.spent
    }

    /// The loss that further releases may cost.
    pub fn left(self) -> Rho {
        Rho(self.limit.0.saturating_sub(self.spent.0))
    }
}

#[cfg(test)]
mod tests;
