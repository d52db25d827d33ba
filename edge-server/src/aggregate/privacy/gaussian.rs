//! The discrete Gaussian distribution, drawn exactly.
//!
//! Canonne, Kamath & Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020),
//! Algorithms 1 to 3. All arithmetic is on whole numbers: noise made of floating-point numbers has
//! gaps, and by them an attacker can tell which number was hidden under it (Mironov 2012). The
//! expected number of random words is constant; how long one draw takes depends on it, which nobody
//! outside can see, because a release draws thousands at once.

use thiserror::Error;

/// Largest σ that can be drawn, in units: with it no product below leaves 128 bits.
pub const SIGMA_MAX: u64 = 1 << 24;
/// Beyond this a draw starts anew. At [`SIGMA_MAX`] it would happen with probability exp(−16,384).
const MAGNITUDE_MAX: u64 = 1 << 38;

/// The system gives no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;

/// Where uniform random words come from.
pub trait Entropy {
    /// The next 64 bits, all values equally likely.
    ///
    /// # Errors
    /// There are none.
    fn next(&mut self) -> Result<u64, NoEntropy>;
}

/// One draw from the discrete Gaussian with mean 0 and this σ² (Algorithm 3).
///
/// # Errors
/// There is no randomness.
pub fn discrete_gaussian(variance: u64, entropy: &mut impl Entropy) -> Result<i64, NoEntropy> {
    if variance == 0 {
        return Ok(0);
    }
    let scale = variance.isqrt() + 1;
    let (scale_wide, variance_wide) = (u128::from(scale), u128::from(variance));
    let below = 2 * variance_wide * scale_wide * scale_wide;
    loop {
        let Some(drawn) = discrete_laplace(scale, entropy)? else {
            continue;
        };
        let distance = (u128::from(drawn.unsigned_abs()) * scale_wide).abs_diff(variance_wide);
        if bernoulli_exp(distance * distance, below, entropy)? {
            return Ok(drawn);
        }
    }
}

/// One draw from the discrete Laplace distribution (Algorithm 2, with s = 1); `None` to start anew.
fn discrete_laplace(scale: u64, entropy: &mut impl Entropy) -> Result<Option<i64>, NoEntropy> {
    let rest = uniform(u128::from(scale), entropy)?;
    if !bernoulli_exp(rest, u128::from(scale), entropy)? {
        return Ok(None);
    }
    let mut whole: u64 = 0;
    while whole * scale <= MAGNITUDE_MAX && bernoulli_exp(1, 1, entropy)? {
        whole += 1;
    }
    // `rest` is below `scale`, which is at most 2^24.
    let magnitude = u64::try_from(rest).unwrap_or(0) + whole * scale;
    let negative = entropy.next()? & 1 == 1;
    if magnitude > MAGNITUDE_MAX || (negative && magnitude == 0) {
        return Ok(None);
    }
    let magnitude = magnitude.cast_signed();
    Ok(Some(if negative { -magnitude } else { magnitude }))
}

/// True with probability exp(−γ), γ = `above`/`below` (Algorithm 1).
fn bernoulli_exp(above: u128, below: u128, entropy: &mut impl Entropy) -> Result<bool, NoEntropy> {
    for _ in 0..above / below {
        if !bernoulli_exp_fraction(1, 1, entropy)? {
            return Ok(false);
        }
    }
    bernoulli_exp_fraction(above % below, below, entropy)
}

/// True with probability exp(−γ), for γ = `above` / `below` up to 1.
fn bernoulli_exp_fraction(
    above: u128,
    below: u128,
    entropy: &mut impl Entropy,
) -> Result<bool, NoEntropy> {
    let mut count: u128 = 1;
    while uniform(below * count, entropy)? < above {
        count += 1;
    }
    Ok(count % 2 == 1)
}

/// A whole number below `bound`, all equally likely.
fn uniform(bound: u128, entropy: &mut impl Entropy) -> Result<u128, NoEntropy> {
    let spare = bound.saturating_sub(1).leading_zeros();
    if spare == u128::BITS {
        return Ok(0);
    }
    loop {
        let drawn = if spare >= u64::BITS {
            u128::from(entropy.next()? >> (spare - u64::BITS))
        } else {
            (u128::from(entropy.next()?) << 64 | u128::from(entropy.next()?)) >> spare
        };
        if drawn < bound {
            return Ok(drawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::dice::Dice;

    #[test]
    fn every_number_below_a_bound_is_as_likely() {
        let mut dice = Dice::new(1);
        for bound in [1u128, 2, 3, 5, 7, 64, 100] {
            let mut seen = vec![0u32; usize::try_from(bound).unwrap()];
            for _ in 0..bound * 2_000 {
                seen[usize::try_from(uniform(bound, &mut dice).unwrap()).unwrap()] += 1;
            }
            // Each is binomial with mean 2,000 and a deviation below 45.
            assert!(seen.iter().all(|count| count.abs_diff(2_000) < 250), "{bound}: {seen:?}");
        }
        let wide = 1u128 << 97;
        assert!((0..100).any(|_| uniform(wide, &mut dice).unwrap() > 1 << 95));
    }

    /// The frequencies of draws against the distribution's own (chi-squared).
    #[test]
    fn draws_follow_the_distribution() {
        for (variance, seed) in [(1u64, 2), (4, 3), (30, 4), (400, 5)] {
            let (mut dice, draws) = (Dice::new(seed), 40_000);
            let reach = (4.0 * (variance as f64).sqrt()).ceil() as i64;
            let weight = |x: i64| (-((x * x) as f64) / (2.0 * variance as f64)).exp();
            let total: f64 = (-20 * reach..=20 * reach).map(weight).sum();
            let mut seen = std::collections::BTreeMap::<i64, f64>::new();
            for _ in 0..draws {
                let drawn = discrete_gaussian(variance, &mut dice).unwrap();
                *seen.entry(drawn.clamp(-reach, reach)).or_default() += 1.0;
            }
            let (mut chi_squared, mut cells) = (0.0, 0.0);
            for x in -reach + 1..reach {
                let expected = f64::from(draws) * weight(x) / total;
                if expected >= 5.0 {
                    let found = seen.get(&x).copied().unwrap_or(0.0);
                    chi_squared += (found - expected) * (found - expected) / expected;
                    cells += 1.0;
                }
            }
            // Mean `cells`, deviation √(2 cells): five of them is far beyond chance.
            let bound = cells + 5.0 * f64::sqrt(2.0 * cells);
            assert!(chi_squared < bound, "σ² {variance}: {chi_squared} over {cells} cells");
        }
    }

    #[test]
    fn wide_noise_has_its_variance_and_no_drift() {
        let variance = (SIGMA_MAX - 1) * (SIGMA_MAX - 1);
        let (mut dice, draws) = (Dice::new(6), 4_000);
        let drawn: Vec<f64> =
            (0..draws).map(|_| discrete_gaussian(variance, &mut dice).unwrap() as f64).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(draws);
        let square = drawn.iter().map(|x| x * x).sum::<f64>() / f64::from(draws);
        let sigma = (variance as f64).sqrt();
        assert!(mean.abs() < 5.0 * sigma / f64::from(draws).sqrt(), "{mean}");
        assert!((square / (sigma * sigma) - 1.0).abs() < 0.15, "{square}");
        assert_eq!(discrete_gaussian(0, &mut dice), Ok(0));
    }

    #[test]
    fn without_randomness_there_is_no_noise_and_no_number() {
        struct Dry;
        impl Entropy for Dry {
            fn next(&mut self) -> Result<u64, NoEntropy> {
                Err(NoEntropy)
            }
        }
        assert_eq!(discrete_gaussian(9, &mut Dry), Err(NoEntropy));
    }
}
