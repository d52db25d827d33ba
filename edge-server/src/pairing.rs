//! Pairing a device that has no keyboard (OAuth 2.0 device authorization grant, RFC 8628), for
//! deployments without an identity provider.
//!
//! What was asked for and not yet answered is in memory only: it lives for minutes, and after a restart
//! the device asks anew. What was allowed is in the store before the device hears of it. Invariants:
//! a code is answered once; a device code brings tokens once, and none after its household was erased;
//! what is asked is bounded, in all and by address.

pub(crate) mod code;

use self::code::{NoEntropy, UserCode, digest, random_text};
use crate::address::Addresses;
use crate::aggregate::region::Region;
use crate::clock::now_s;
use crate::error::Error;
use crate::limits::{
    PAIR_ASKED_ADDRESS_MAX, PAIR_ASKED_MAX, PAIR_CODE_LIFE, PAIR_GUESS_EVERY, PAIR_GUESSES,
    PAIR_GUESSES_ALL, PAIR_POLL_EVERY,
};
use crate::quota::{Pace, Rate};
use crate::store::access::Digest;
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A code that is over is remembered for so long, so that its device is told so.
const OVER_KEPT: Duration = Duration::from_secs(5 * 60);

/// The bounds that a test lowers to reach their edge, everyone else takes the default.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// [`PAIR_CODE_LIFE`].
    pub life: Duration,
    /// [`PAIR_POLL_EVERY`].
    pub poll_every: Duration,
    /// [`PAIR_ASKED_MAX`].
    pub asked_max: usize,
    /// [`PAIR_ASKED_ADDRESS_MAX`].
    pub asked_address_max: usize,
    /// [`PAIR_GUESSES`].
    pub guesses: u32,
    /// [`PAIR_GUESSES_ALL`].
    pub guesses_all: Rate,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            life: PAIR_CODE_LIFE,
            poll_every: PAIR_POLL_EVERY,
            asked_max: PAIR_ASKED_MAX,
            asked_address_max: PAIR_ASKED_ADDRESS_MAX,
            guesses: PAIR_GUESSES,
            guesses_all: PAIR_GUESSES_ALL,
        }
    }
}

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Which program asks.
    pub(crate) client: String,
    /// On which device.
    pub(crate) device: DeviceId,
    /// What people call the device; empty if it does not say.
    pub(crate) name: String,
    /// What its tokens are to allow.
    pub(crate) scope: String,
}

/// A household, and where it is if whoever answers for it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Residence {
    pub(crate) household: HouseholdId,
    pub(crate) region: Option<Region>,
}

/// What somebody allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Whose device it is now.
    pub(crate) residence: Residence,
    /// Which device.
    pub(crate) device: DeviceId,
    /// What its tokens allow.
    pub(crate) scope: String,
    /// When it was allowed, in Unix seconds.
    pub(crate) allowed_s: u64,
}

/// What a device that asks is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Nobody has answered yet.
    Pending,
    /// It asks too often, and is to wait longer from now on.
    SlowDown,
    /// Somebody said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// There is no such code, or it is another program's, or was used.
    Unknown,
    /// Somebody said yes; this is the only time that it is told.
    Allowed(Allowed),
}

/// A code for people and one for the device.
pub(crate) struct Codes {
    pub(crate) user: UserCode,
    pub(crate) device: String,
}

enum Answer {
    None,
    Denied,
    Allowed(Allowed),
}

struct Asked {
    wish: Wish,
    code: UserCode,
    from: IpAddr,
    ends: Instant,
    polled: Option<Instant>,
    poll_every: Duration,
    answer: Answer,
    /// What a page answers with, and for which household.
    ticket: Option<(Digest, Residence)>,
}

impl Asked {
    fn open(&self, now: Instant) -> bool {
        now < self.ends && matches!(self.answer, Answer::None)
    }

    fn allowed(&self) -> Option<&Allowed> {
        match &self.answer {
            Answer::Allowed(allowed) => Some(allowed),
            Answer::None | Answer::Denied => None,
        }
    }
}

#[derive(Default)]
struct Held {
    /// By the digest of the device's code.
    asked: HashMap<Digest, Asked>,
    by_code: HashMap<UserCode, Digest>,
    /// How often [`Pairings::forget`] was called.
    erasures: u64,
}

/// All pairings that are asked for.
pub(crate) struct Pairings {
    bounds: Bounds,
    held: Mutex<Held>,
    guesses: Addresses,
    guesses_all: Mutex<Option<Instant>>,
}

impl Pairings {
    /// None yet.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let pace = Pace { interval: PAIR_GUESS_EVERY, burst: bounds.guesses };
        let guesses = Addresses::new((bounds.guesses > 0).then_some(pace));
        Self { bounds, held: Mutex::default(), guesses, guesses_all: Mutex::default() }
    }

    /// How long a code lives, and how often its device may ask.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// A device asks; it gets codes.
    ///
    /// # Errors
    /// Too many ask, in all or from this address.
    pub(crate) fn ask(&self, wish: Wish, from: IpAddr, now: Instant) -> Result<Codes, Error> {
        let mut held = self.held();
        let here = held.asked.values().filter(|asked| asked.from == from && asked.open(now));
        if here.count() >= self.bounds.asked_address_max {
            return Err(Error::RateLimited(seconds(self.bounds.life)));
        }
        if held.asked.len() >= self.bounds.asked_max {
            held.sweep(now);
        }
        if held.asked.len() >= self.bounds.asked_max {
            return Err(Error::Overloaded);
        }
        let (device, digest) = random_text()?;
        let user = loop {
            let code = UserCode::random()?;
            if !held.by_code.contains_key(&code) {
                break code;
            }
        };
        held.by_code.insert(user, digest);
        let asked = Asked {
            wish,
            code: user,
            from,
            ends: now + self.bounds.life,
            polled: None,
            poll_every: self.bounds.poll_every,
            answer: Answer::None,
            ticket: None,
        };
        held.asked.insert(digest, asked);
        Ok(Codes { user, device })
    }

    /// Counts an attempt to answer a code.
    ///
    /// # Errors
    /// There were too many, from this address or in all.
    pub(crate) fn guess(&self, from: IpAddr, now: Instant) -> Result<(), Error> {
        self.guesses.take(from)?;
        if self.bounds.guesses_all.per_second == 0 {
            return Ok(());
        }
        let mut full_at = self.guesses_all.lock().unwrap_or_else(PoisonError::into_inner);
        match Pace::from(self.bounds.guesses_all).take(*full_at, now) {
            Ok(at) => *full_at = Some(at),
            Err(wait) => return Err(Error::RateLimited(seconds(wait))),
        }
        Ok(())
    }

    /// What a code that waits for an answer is about.
    pub(crate) fn wish(&self, code: UserCode, now: Instant) -> Option<Wish> {
        self.held().open(code, now).map(|asked| asked.wish.clone())
    }

    /// Answers a code for a household: with what is allowed of what was asked, or no. What it was about.
    pub(crate) fn answer(
        &self,
        code: UserCode,
        residence: &Residence,
        allow: Option<&str>,
        now: Instant,
    ) -> Option<Wish> {
        let mut held = self.held();
        let asked = held.open(code, now)?;
        asked.answer = match allow {
            None => Answer::Denied,
            Some(scope) => Answer::Allowed(Allowed {
                residence: residence.clone(),
                device: asked.wish.device.clone(),
                scope: scope.into(),
                allowed_s: now_s(),
            }),
        };
        asked.ticket = None;
        Some(asked.wish.clone())
    }

    /// A ticket with which a page may answer a code once, for this household, and what it is about.
    pub(crate) fn ticket(
        &self,
        code: UserCode,
        residence: Residence,
        now: Instant,
    ) -> Result<Option<(String, Wish)>, Error> {
        let (text, digest) = random_text()?;
        let mut held = self.held();
        let Some(asked) = held.open(code, now) else { return Ok(None) };
        asked.ticket = Some((digest, residence));
        Ok(Some((text, asked.wish.clone())))
    }

    /// Whose ticket for a code this is.
    pub(crate) fn redeem(&self, code: UserCode, ticket: &str, now: Instant) -> Option<Residence> {
        let mut held = self.held();
        let (known, residence) = held.open(code, now)?.ticket.as_ref()?;
        (*known == digest(ticket)).then(|| residence.clone())
    }

    /// A device asks what became of its code.
    pub(crate) fn poll(&self, device_code: &str, client: &str, now: Instant) -> Polled {
        let mut held = self.held();
        let key = digest(device_code);
        let Some(asked) = held.asked.get_mut(&key).filter(|asked| asked.wish.client == client)
        else {
            return Polled::Unknown;
        };
        if now >= asked.ends && !matches!(asked.answer, Answer::Denied) {
            return Polled::Expired;
        }
        let early = asked.polled.is_some_and(|at| now < at + asked.poll_every);
        asked.polled = Some(now);
        if early {
            asked.poll_every += PAIR_POLL_EVERY;
            return Polled::SlowDown;
        }
        match &asked.answer {
            Answer::None => Polled::Pending,
            Answer::Denied => Polled::Denied,
            Answer::Allowed(allowed) => {
                let allowed = allowed.clone();
                held.remove(&key);
                Polled::Allowed(allowed)
            }
        }
    }

    /// Whether a device was allowed for a household, and was not told yet.
    pub(crate) fn is_allowed(&self, household: &HouseholdId, device: &DeviceId) -> bool {
        let held = self.held();
        let mut allowed = held.asked.values().filter_map(Asked::allowed);
        allowed.any(|one| one.residence.household == *household && one.device == *device)
    }

    /// What was allowed for a household, and not told yet, is forgotten, because it is erased.
    pub(crate) fn forget(&self, household: &HouseholdId) {
        let mut held = self.held();
        held.erasures += 1;
        let own = |asked: &Asked| {
            asked.allowed().is_some_and(|allowed| allowed.residence.household == *household)
        };
        held.asked.retain(|_, asked| !own(asked));
        held.sweep_codes();
    }

    /// How many households were erased: another number than before a question means that what it told may
    /// be of one of them.
    pub(crate) fn erasures(&self) -> u64 {
        self.held().erasures
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn open(&mut self, code: UserCode, now: Instant) -> Option<&mut Asked> {
        let key = self.by_code.get(&code)?;
        self.asked.get_mut(key).filter(|asked| asked.open(now))
    }

    fn remove(&mut self, key: &Digest) {
        if let Some(asked) = self.asked.remove(key) {
            self.by_code.remove(&asked.code);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.asked.retain(|_, asked| now < asked.ends + OVER_KEPT);
        self.sweep_codes();
    }

    fn sweep_codes(&mut self) {
        let asked = &self.asked;
        self.by_code.retain(|_, key| asked.contains_key(key));
    }
}

impl From<NoEntropy> for Error {
    fn from(_: NoEntropy) -> Self {
        Self::Internal
    }
}

fn seconds(time: Duration) -> u32 {
    time.as_secs_f64().ceil() as u32
}

/// The words of one scope that are in another too, in the first's order.
pub(crate) fn common(wanted: &str, granted: &str) -> String {
    let has = |word: &&str| granted.split(' ').any(|other| other == *word);
    wanted.split(' ').filter(|word| !word.is_empty()).filter(has).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
