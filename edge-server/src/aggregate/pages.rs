//! Pages of patterns and titles, encoded once for all devices that are at one mark; and whose turn it is
//! to have another one encoded.
//!
//! A page costs up to a second of a core, and a device may say any mark below the version, each of
//! which is a page of its own. Invariant: one page is encoded at a time; a household stands in line for
//! that once, however many requests it sends, so whoever comes waits for one page of each other household
//! at most; and in the long run it gets a tenth of the encoder's time, and pushes none but its own pages
//! out of memory.

use super::release::Place;
use omega_sync_core::id::{ContentId, HouseholdId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// Encoded pages that are remembered.
pub const PAGES_MAX: usize = 64;
/// How long may be encoded for one household at once: the first TV of all may fetch a large feed.
pub const ENCODING_BURST: Duration = Duration::from_secs(600);
/// After that it is one part in so many of the time.
pub const ENCODING_SHARE: u32 = 10;
/// From so many households on, those that owe nothing are forgotten.
const DEBTORS: usize = 1_024;

/// Encoded patterns or titles.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    /// The titles in it, if it has titles.
    pub(super) contents: Vec<ContentId>,
    /// Version of the last row in it, 0 for none.
    pub(super) through: u64,
    /// Whether rows are left.
    pub(super) more: bool,
}

/// What tells one page from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    /// Version of the newest row there is.
    pub(super) version: u64,
    /// The places of patterns, or nothing for titles.
    pub(super) places: Option<Vec<Place>>,
    pub(super) after: u64,
    pub(super) bytes_max: usize,
}

/// What was encoded for a household and is not paid back yet by time.
#[derive(Debug, Clone, Copy)]
struct Debt {
    owed: Duration,
    at: Instant,
}

impl Debt {
    fn left(self, now: Instant) -> Duration {
        let paid = now.saturating_duration_since(self.at) / ENCODING_SHARE;
        self.owed.saturating_sub(paid)
    }

    fn add(&mut self, now: Instant, took: Duration) {
        *self = Self { owed: self.left(now) + took, at: now };
    }
}

type SharedDebt = Arc<tokio::sync::Mutex<Debt>>;

/// A household has pages encoded, and nobody else. What it takes until it ends is charged.
pub(super) struct Turn {
    household: HouseholdId,
    began: Instant,
    own: OwnedMutexGuard<Debt>,
    _all: OwnedMutexGuard<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.own.add(Instant::now(), self.began.elapsed());
    }
}

struct Kept {
    page: Arc<Page>,
    /// For whom it was encoded.
    by: HouseholdId,
    /// When it was asked for last, as a count of all that was asked for.
    used: u64,
}

#[derive(Default)]
struct Memory {
    pages: HashMap<PageKey, Kept>,
    asked: u64,
}

/// Pages that were encoded lately.
#[derive(Default)]
pub(super) struct Pages {
    memory: Mutex<Memory>,
    debts: Mutex<HashMap<HouseholdId, SharedDebt>>,
    encoding: Arc<tokio::sync::Mutex<()>>,
}

impl Pages {
    /// A page that is remembered.
    pub(super) fn get(&self, key: &PageKey) -> Option<Arc<Page>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.asked += 1;
        let used = memory.asked;
        let kept = memory.pages.get_mut(key)?;
        kept.used = used;
        Some(kept.page.clone())
    }

    /// Waits until it is a household's turn; `None` when it has had enough for now.
    pub(super) async fn turn(&self, household: &HouseholdId) -> Option<Turn> {
        let own = self.debt(household).lock_owned().await;
        if own.left(Instant::now()) > ENCODING_BURST {
            return None;
        }
        let all = self.encoding.clone().lock_owned().await;
        Some(Turn { household: household.clone(), began: Instant::now(), own, _all: all })
    }

    fn debt(&self, household: &HouseholdId) -> SharedDebt {
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        if debts.len() >= DEBTORS {
            let now = Instant::now();
            debts.retain(|_, debt| {
                let owes = debt.try_lock().is_ok_and(|debt| debt.left(now) > Duration::ZERO);
                owes || Arc::strong_count(debt) > 1
            });
        }
        let none =
            || Arc::new(tokio::sync::Mutex::new(Debt { owed: Duration::ZERO, at: Instant::now() }));
        debts.entry(household.clone()).or_insert_with(none).clone()
    }

    /// Remembers a page, and forgets those of another version.
    pub(super) fn keep(&self, turn: &Turn, key: PageKey, page: Page) -> Arc<Page> {
        let page = Arc::new(page);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.pages.retain(|known, _| known.version == key.version);
        if memory.pages.len() >= PAGES_MAX {
            memory.make_room();
        }
        let (by, used) = (turn.household.clone(), memory.asked);
        memory.pages.insert(key, Kept { page: page.clone(), by, used });
        page
    }
}

impl Memory {
    /// Forgets a page of the household that has most of them: that which was asked for longest ago.
    fn make_room(&mut self) {
        let mut counts: HashMap<&HouseholdId, usize> = HashMap::new();
        self.pages.values().for_each(|kept| *counts.entry(&kept.by).or_default() += 1);
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        let own = self.pages.iter().filter(|(_, kept)| kept.by == *most);
        if let Some(oldest) = own.min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone()) {
            self.pages.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    fn household(name: &str) -> HouseholdId {
        HouseholdId::new(name).unwrap()
    }

    fn key(after: u64) -> PageKey {
        PageKey { version: 1, places: None, after, bytes_max: 1_024 }
    }

    #[tokio::test]
    async fn a_household_stands_in_line_once() {
        let pages = Arc::new(Pages::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = pages.turn(&household("greedy")).await.unwrap();
        let names = std::iter::repeat_n("greedy", 12).chain(["other", "third"]);
        let waiting: Vec<_> = names
            .map(|name| {
                let (pages, order) = (pages.clone(), order.clone());
                tokio::spawn(async move {
                    let _turn = pages.turn(&household(name)).await.unwrap();
                    order.lock().unwrap().push(name);
                    yield_now().await;
                })
            })
            .collect();
        for _ in 0..waiting.len() {
            yield_now().await;
        }
        drop(first);
        for one in waiting {
            one.await.unwrap();
        }
        let order = order.lock().unwrap();
        let place = |of: &str| order.iter().position(|name| *name == of).unwrap();
        assert!(place("other") <= 1 && place("third") <= 2, "{order:?}");
        assert_eq!(order.len(), 14);
    }

    #[test]
    fn what_was_encoded_is_paid_back_by_time() {
        let start = Instant::now();
        let mut debt = Debt { owed: Duration::ZERO, at: start };
        debt.add(start, ENCODING_BURST);
        assert!(debt.left(start) <= ENCODING_BURST, "one may have so much at once");
        debt.add(start, Duration::from_secs(1));
        assert!(debt.left(start) > ENCODING_BURST);
        let later = start + Duration::from_secs(1) * ENCODING_SHARE;
        assert_eq!(debt.left(later), ENCODING_BURST);
        debt.add(later, Duration::from_secs(2));
        assert_eq!(debt.left(later), ENCODING_BURST + Duration::from_secs(2));
        assert_eq!(debt.left(later + (ENCODING_BURST * 2) * ENCODING_SHARE), Duration::ZERO);
    }

    #[tokio::test]
    async fn who_had_enough_waits_and_others_do_not() {
        let pages = Pages::default();
        let greedy = household("greedy");
        let mut turn = pages.turn(&greedy).await.unwrap();
        turn.own.add(Instant::now(), ENCODING_BURST + Duration::from_secs(60));
        drop(turn);
        assert!(pages.turn(&greedy).await.is_none());
        assert!(pages.turn(&household("other")).await.is_some());
        // A debt outlives those who owe nothing.
        for at in 0..=DEBTORS {
            pages.debt(&household(&format!("h{at}")));
        }
        assert!(pages.turn(&greedy).await.is_none());
        assert!(pages.debts.lock().unwrap().len() < DEBTORS);
    }

    #[tokio::test]
    async fn a_household_pushes_out_its_own_pages_only() {
        let pages = Pages::default();
        let turn = pages.turn(&household("other")).await.unwrap();
        pages.keep(&turn, key(0), Page::default());
        drop(turn);
        let turn = pages.turn(&household("greedy")).await.unwrap();
        for after in 1..=2 * PAGES_MAX as u64 {
            pages.keep(&turn, key(after), Page::default());
            // The first of its own is asked for again and again.
            assert!(pages.get(&key(1)).is_some(), "{after}");
        }
        assert!(pages.get(&key(0)).is_some());
        assert!(pages.get(&key(2)).is_none());
        assert_eq!(pages.memory.lock().unwrap().pages.len(), PAGES_MAX);
        pages.keep(&turn, PageKey { version: 2, ..key(0) }, Page::default());
        assert!(pages.get(&key(0)).is_none(), "of another version");
    }
}
