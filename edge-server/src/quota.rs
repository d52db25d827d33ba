//! How much a device and a household may ask and send: buckets for each, which fill at a steady rate,
//! and places for their sockets.
//!
//! The generic cell rate algorithm (ITU-T I.371): a bucket is one time, that at which it will be full
//! again. Invariant: a bucket that is full is as good as none, so only those of who asked lately are
//! kept, and one household at its limit costs another nothing.

use crate::auth::Principal;
use crate::error::Error;
use crate::limits::Limits;
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets beyond which the full ones are looked for and dropped.
const BUCKETS_KEPT: usize = 4_096;
/// After which a socket that had no place may try again, in seconds.
const SOCKET_WAIT_S: u32 = 5;

/// How much somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a second, in the long run; 0 for as many as they like.
    pub per_second: u32,
    /// Requests at once, after a while without any.
    pub burst: u32,
}

impl Rate {
    /// As often as they like.
    pub const ANY: Self = Self { per_second: 0, burst: 0 };

    /// Takes so many places of a bucket, more than all of them counting as all: when it will be full
    /// again, and if there were not enough, how long until there are.
    fn draw(
        self,
        full_at: Option<Instant>,
        amount: u32,
        now: Instant,
    ) -> (Instant, Option<Duration>) {
        let interval = Duration::from_secs(1) / self.per_second.max(1);
        let burst = self.burst.max(1);
        let full_at = full_at.map_or(now, |at| at.max(now)) + interval * amount.min(burst);
        let wait = (full_at - now).checked_sub(interval * burst);
        (full_at, wait.filter(|wait| !wait.is_zero()))
    }
}

/// The same as [`Rate`], for what is rarer than once a second too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Time in which a request's place comes back.
    pub(crate) interval: Duration,
    /// Requests at once.
    pub(crate) burst: u32,
}

impl From<Rate> for Pace {
    fn from(rate: Rate) -> Self {
        Self { interval: Duration::from_secs(1) / rate.per_second.max(1), burst: rate.burst }
    }
}

impl Pace {
    /// Takes a place of a bucket; if there is none, says when there will be one.
    pub(crate) fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let full_at = full_at.map_or(now, |at| at.max(now)) + self.interval;
        let depth = self.interval * self.burst.max(1);
        match (full_at - now).checked_sub(depth) {
            None | Some(Duration::ZERO) => Ok(full_at),
            Some(wait) => Err(wait),
        }
    }
}

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// Requests and JSON messages.
    Requests,
    /// Messages on sockets, pings too, and the operations in those of the binary protocol.
    Operations,
    /// Bytes of frames and of one-shot sessions.
    Bytes,
}

/// How much of something a device and its household may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The rate of each device.
    pub device: Rate,
    /// The rate of all devices of a household together.
    pub household: Rate,
}

impl Allowance {
    /// As much as they like.
    pub const ANY: Self = Self { device: Rate::ANY, household: Rate::ANY };
}

/// Whose bucket it is: a household's as a whole, or one of its devices'.
type Owner = (HouseholdId, Option<DeviceId>);
type Bucket = (Owner, Of);
/// When each bucket will be full again.
type Buckets = HashMap<Bucket, Instant>;

/// What somebody takes of their buckets.
struct Draw<'a> {
    household: &'a HouseholdId,
    device: &'a DeviceId,
    of: Of,
    amount: usize,
}

/// The buckets of all who asked lately, and the sockets of all who have some.
#[derive(Debug)]
pub(crate) struct Quota {
    requests: Allowance,
    operations: Allowance,
    bytes: Allowance,
    /// Of a device, and of a household; 0: as many as they like.
    sockets_max: [usize; 2],
    full_at: Mutex<Buckets>,
    sockets: Mutex<HashMap<Owner, usize>>,
}

impl Quota {
    /// Full buckets for everybody.
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { device_rate, household_rate, operations, bytes, .. } = *limits;
        Self {
            requests: Allowance { device: device_rate, household: household_rate },
            operations,
            bytes,
            sockets_max: [limits.device_sockets_max, limits.household_sockets_max],
            full_at: Mutex::default(),
            sockets: Mutex::default(),
        }
    }

    /// Takes a place for a request in both buckets, or in none.
    ///
    /// # Errors
    /// One is empty: [`Error::RateLimited`] says for how long.
    pub(crate) fn take(&self, principal: &Principal) -> Result<(), Error> {
        self.spend(principal, Of::Requests, 1)
    }

    /// Takes so much from both buckets, or nothing.
    ///
    /// # Errors
    /// As [`Quota::take`].
    pub(crate) fn spend(&self, principal: &Principal, of: Of, amount: usize) -> Result<(), Error> {
        let Principal { household, device, .. } = principal;
        let now = Instant::now();
        self.draw(&Draw { household, device, of, amount }, now).map_err(limited)
    }

    /// Takes what is known only when it is done; what is missing is owed.
    ///
    /// # Errors
    /// As [`Quota::take`]: something is owed.
    pub(crate) fn charge(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        of: Of,
        amount: usize,
    ) -> Result<(), Error> {
        self.owe(&Draw { household, device, of, amount }, Instant::now()).map_err(limited)
    }

    fn draw(&self, draw: &Draw, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, wait) = self.after(draw, &buckets, now);
        if let Some(wait) = wait {
            return Err(wait);
        }
        fill(&mut buckets, after, now);
        Ok(())
    }

    fn owe(&self, draw: &Draw, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, wait) = self.after(draw, &buckets, now);
        fill(&mut buckets, after, now);
        wait.map_or(Ok(()), Err)
    }

    /// The buckets when so much is taken; and if there is not enough, how long until there is.
    fn after(
        &self,
        draw: &Draw,
        buckets: &Buckets,
        now: Instant,
    ) -> (Vec<(Bucket, Instant)>, Option<Duration>) {
        let Draw { household, device, of, amount } = *draw;
        let allowance = match of {
            Of::Requests => self.requests,
            Of::Operations => self.operations,
            Of::Bytes => self.bytes,
        };
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let owners = [(allowance.device, Some(device.clone())), (allowance.household, None)];
        let limited = owners.into_iter().filter(|(rate, _)| rate.per_second > 0);
        let drawn = limited.map(|(rate, device)| {
            let bucket = ((household.clone(), device), of);
            let (full_at, wait) = rate.draw(buckets.get(&bucket).copied(), amount, now);
            ((bucket, full_at), wait)
        });
        let (after, waits): (Vec<_>, Vec<_>) = drawn.unzip();
        (after, waits.into_iter().flatten().max())
    }

    /// A place for a socket of a device, until it is dropped.
    ///
    /// # Errors
    /// The device or its household has all it may have.
    pub(crate) fn open(self: &Arc<Self>, principal: &Principal) -> Result<SocketPlace, Error> {
        let Principal { household, device, .. } = principal;
        let owners = [(household.clone(), Some(device.clone())), (household.clone(), None)];
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = owners
            .iter()
            .zip(self.sockets_max)
            .any(|(owner, max)| max > 0 && sockets.get(owner).is_some_and(|open| *open >= max));
        if full {
            return Err(Error::RateLimited(SOCKET_WAIT_S));
        }
        for owner in &owners {
            *sockets.entry(owner.clone()).or_default() += 1;
        }
        Ok(SocketPlace { quota: self.clone(), owners })
    }
}

/// Puts buckets back, and drops the full ones when there are many.
fn fill(buckets: &mut Buckets, after: Vec<(Bucket, Instant)>, now: Instant) {
    buckets.extend(after);
    if buckets.len() > BUCKETS_KEPT {
        buckets.retain(|_, full_at| *full_at > now);
    }
}

fn limited(wait: Duration) -> Error {
    Error::RateLimited(wait.as_secs_f64().ceil() as u32)
}

/// A socket's place.
pub(crate) struct SocketPlace {
    quota: Arc<Quota>,
    owners: [Owner; 2],
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let mut sockets = self.quota.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &self.owners {
            if let Some(open) = sockets.get_mut(owner) {
                *open -= 1;
                if *open == 0 {
                    sockets.remove(owner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AUDIENCE, Authority, ISSUER, Secret};

    const RATE: Rate = Rate { per_second: 10, burst: 3 };
    const FREE: Rate = Rate::ANY;

    fn quota(device: Rate, household: Rate) -> Quota {
        let requests =
            Limits { device_rate: device, household_rate: household, ..Limits::default() };
        Quota::new(&requests)
    }

    impl Quota {
        fn take_at(
            &self,
            household: &HouseholdId,
            device: &DeviceId,
            now: Instant,
        ) -> Result<(), Duration> {
            self.draw(&Draw { household, device, of: Of::Requests, amount: 1 }, now)
        }
    }

    fn id(name: &str) -> (HouseholdId, DeviceId) {
        (HouseholdId::new(name).unwrap(), DeviceId::new(name).unwrap())
    }

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let quota = quota(RATE, FREE);
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
        let quota = quota(FREE, RATE);
        let (ours, theirs, now) = (id("a").0, id("b").0, Instant::now());
        for name in ["one", "two", "three"] {
            assert_eq!(quota.take_at(&ours, &id(name).1, now), Ok(()));
        }
        assert!(quota.take_at(&ours, &id("four").1, now).is_err());
        assert_eq!(quota.take_at(&theirs, &id("one").1, now), Ok(()));
    }

    #[test]
    fn what_one_bucket_refuses_costs_the_other_nothing() {
        let quota = quota(Rate { per_second: 10, burst: 1 }, RATE);
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
        let quota = quota(RATE, RATE);
        let start = Instant::now();
        for number in 0..3 * BUCKETS_KEPT as u64 {
            let (household, device) = id(&number.to_string());
            quota.take_at(&household, &device, start + Duration::from_millis(number)).unwrap();
        }
        let kept = quota.full_at.lock().unwrap().len();
        assert!(kept <= BUCKETS_KEPT + 2, "{kept}");
    }

    #[test]
    fn what_was_done_is_owed() {
        let bytes = Allowance { device: RATE, household: FREE };
        let quota = Quota::new(&Limits { bytes, ..Limits::default() });
        let ((household, device), start) = (id("a"), Instant::now());
        let bytes = |amount| Draw { household: &household, device: &device, of: Of::Bytes, amount };
        let draw = |amount, ms| quota.draw(&bytes(amount), start + Duration::from_millis(ms));
        assert_eq!(draw(4, 0), Ok(()), "more than all counts as all");
        assert!(draw(1, 0).is_err());
        let owed = quota.owe(&bytes(2), start + Duration::from_millis(100));
        assert_eq!(owed, Err(Duration::from_millis(100)));
        assert_eq!(draw(1, 100), Err(Duration::from_millis(200)), "first what is owed");
        assert_eq!(draw(1, 300), Ok(()));
        assert_eq!(quota.take_at(&household, &device, start), Ok(()), "other things do not count");
    }

    #[test]
    fn sockets_have_places_until_they_are_dropped() {
        let limits =
            Limits { device_sockets_max: 1, household_sockets_max: 2, ..Limits::default() };
        let quota = Arc::new(Quota::new(&limits));
        let secret = Secret::new(&[7; 32]).unwrap();
        let authority = Authority::new(&secret, ISSUER, AUDIENCE);
        let principal = |household: &str, device: &str| {
            let (household, device) = (id(household).0, id(device).1);
            let token = authority.issue(&household, &device, "read", None, Duration::from_secs(60));
            authority.verify(&token.unwrap()).unwrap()
        };
        let first = quota.open(&principal("a", "tv")).expect("a place");
        assert!(quota.open(&principal("a", "tv")).is_err(), "the device has its one");
        let _second = quota.open(&principal("a", "phone")).expect("a place");
        assert!(quota.open(&principal("a", "tablet")).is_err(), "the household has its two");
        let _other = quota.open(&principal("b", "tv")).expect("nobody else's business");
        drop(first);
        let _third = quota.open(&principal("a", "tablet")).expect("a place");
        drop((_second, _third, _other));
        assert!(quota.sockets.lock().unwrap().is_empty());
    }
}
