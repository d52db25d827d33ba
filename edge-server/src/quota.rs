//! How often a device and a household may ask: a bucket for each, which fills at a steady rate.
//!
//! The generic cell rate algorithm (ITU-T I.371): a bucket is one time, that at which it will be full
//! again. Invariant: a bucket that is full is as good as none, so only those of who asked lately are
//! kept, and one household at its limit costs another nothing.

use crate::auth::Principal;
use crate::error::Error;
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets beyond which the full ones are looked for and dropped.
const BUCKETS_KEPT: usize = 4_096;

/// How much somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a second, in the long run; 0 for as many as they like.
    pub per_second: u32,
    /// Requests at once, after a while without any.
    pub burst: u32,
}

impl Rate {
    /// Time in which a request's place comes back.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// Takes a place of a bucket; if there is none, says when there will be one.
    fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let full_at = full_at.map_or(now, |at| at.max(now)) + self.interval();
        let depth = self.interval() * self.burst.max(1);
        match (full_at - now).checked_sub(depth) {
            None | Some(Duration::ZERO) => Ok(full_at),
            Some(wait) => Err(wait),
        }
    }
}

/// Whose bucket it is: a household's as a whole, or one of its devices'.
type Owner = (HouseholdId, Option<DeviceId>);

/// The buckets of all who asked lately.
#[derive(Debug)]
pub(crate) struct Quota {
    device: Rate,
    household: Rate,
    full_at: Mutex<HashMap<Owner, Instant>>,
}

impl Quota {
    /// Full buckets for everybody.
    pub(crate) fn new(device: Rate, household: Rate) -> Self {
        Self { device, household, full_at: Mutex::default() }
    }

    /// Takes a place for a request in both buckets, or in none.
    ///
    /// # Errors
    /// One is empty: [`Error::RateLimited`] says for how long.
    pub(crate) fn take(&self, principal: &Principal) -> Result<(), Error> {
        self.take_at(&principal.household, &principal.device, Instant::now())
            .map_err(|wait| Error::RateLimited(wait.as_secs_f64().ceil() as u32))
    }

    fn take_at(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::with_capacity(2);
        let owners = [(self.device, Some(device.clone())), (self.household, None)];
        for (rate, device) in owners.into_iter().filter(|(rate, _)| rate.per_second > 0) {
            let owner = (household.clone(), device);
            let full_at = rate.take(buckets.get(&owner).copied(), now)?;
            taken.push((owner, full_at));
        }
        buckets.extend(taken);
        if buckets.len() > BUCKETS_KEPT {
            buckets.retain(|_, full_at| *full_at > now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };
    const FREE: Rate = Rate { per_second: 0, burst: 0 };

    fn id(name: &str) -> (HouseholdId, DeviceId) {
        (HouseholdId::new(name).unwrap(), DeviceId::new(name).unwrap())
    }

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let quota = Quota::new(RATE, FREE);
        let ((household, device), start) = (id("a"), Instant::now());
        let take = |ms| quota.take_at(&household, &device, start + Duration::from_millis(ms));
        for _ in 0..3 {
            assert_eq!(take(0), Ok(()));
        }
        assert_eq!(take(0), Err(Duration::from_millis(100)));
        assert_eq!(take(99), Err(Duration::from_millis(1)), "asking in vain costs nothing");
        assert_eq!(take(100), Ok(()));
        assert_eq!(take(100), Err(Duration::from_millis(100)));
        for _ in 0..3 {
            assert_eq!(take(60_000), Ok(()), "full again, and no fuller");
        }
        assert!(take(60_000).is_err());
    }

    #[test]
    fn a_household_counts_all_its_devices_and_nobody_else() {
        let quota = Quota::new(FREE, RATE);
        let (ours, theirs, now) = (id("a").0, id("b").0, Instant::now());
        for name in ["one", "two", "three"] {
            assert_eq!(quota.take_at(&ours, &id(name).1, now), Ok(()));
        }
        assert!(quota.take_at(&ours, &id("four").1, now).is_err());
        assert_eq!(quota.take_at(&theirs, &id("one").1, now), Ok(()));
    }

    #[test]
    fn what_one_bucket_refuses_costs_the_other_nothing() {
        let quota = Quota::new(Rate { per_second: 10, burst: 1 }, RATE);
        let ((household, device), now) = (id("a"), Instant::now());
        assert_eq!(quota.take_at(&household, &device, now), Ok(()));
        for _ in 0..10 {
            assert!(quota.take_at(&household, &device, now).is_err());
        }
        for name in ["two", "three"] {
            assert_eq!(
                quota.take_at(&household, &id(name).1, now),
                Ok(()),
                "its household goes on"
            );
        }
    }

    #[test]
    fn only_who_asked_lately_is_remembered() {
        let quota = Quota::new(RATE, RATE);
        let start = Instant::now();
        for number in 0..3 * BUCKETS_KEPT as u64 {
            let (household, device) = id(&number.to_string());
            quota.take_at(&household, &device, start + Duration::from_millis(number)).unwrap();
        }
        let kept = quota.full_at.lock().unwrap().len();
        assert!(kept <= BUCKETS_KEPT + 2, "{kept}");
    }
}
