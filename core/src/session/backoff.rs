//! When to try again: exponential back-off with full jitter.
//!
//! Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015: a random delay
//! between zero and the bound spreads a crowd of devices best.

use crate::id::Random;

/// Bound of the first delay, in milliseconds.
pub const DELAY_FIRST_MS: u64 = 1_000;
/// Bound that the delays grow to, in milliseconds.
pub const DELAY_MAX_MS: u64 = 60_000;

/// Counts failures in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next try, in milliseconds, after one more failure.
    pub fn failed(&mut self, random: &mut Random) -> u64 {
        let bound = DELAY_FIRST_MS.checked_shl(self.failures.min(32)).unwrap_or(DELAY_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        random.up_to(bound.min(DELAY_MAX_MS))
    }

    /// Starts over: the server has really answered.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_start_over() {
        let mut random = Random::new([1; 16]);
        let mut backoff = Backoff::default();
        let highest = |backoff: &Backoff, random: &mut Random| {
            (0..200).map(|_| backoff.clone().failed(random)).max().unwrap_or(0)
        };
        assert!(highest(&backoff, &mut random) <= DELAY_FIRST_MS);
        for _ in 0..50 {
            assert!(backoff.failed(&mut random) <= DELAY_MAX_MS);
        }
        assert!(highest(&backoff, &mut random) > DELAY_MAX_MS / 2);
        backoff.reset();
        assert!(highest(&backoff, &mut random) <= DELAY_FIRST_MS);
    }
}
