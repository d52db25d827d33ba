//! What all households teach, so that none is revealed: contributions come in, releases go out.
//!
//! `contribution`, `release`, `trends` and `privacy` are pure; `close` ends epochs and days against the
//! store's contract; `answer` says what a device gets. Invariants: a release is published in the
//! transaction that debits its cost and erases what it was made of; nothing of a household that takes
//! no part is kept; what was released without noise is marked wherever it is shown.
//!
//! An *epoch* is here a span of time whose patterns are released together. Everywhere else it is one life
//! of the database (`EpochId`); nothing connects the two.

mod answer;
pub mod close;
pub mod contribution;
pub mod dice;
pub mod median;
mod pages;
pub mod privacy;
pub mod region;
pub mod release;
pub mod settings;
pub mod space;
pub mod trends;

pub(crate) use answer::Caller;

use self::close::{CloseError, Closing, Ended};
use self::contribution::counted;
use self::pages::Pages;
use self::privacy::{Entropy, NoEntropy, Rho};
use self::region::Region;
use self::release::Place;
use self::settings::{DAY_MS, Settings, day, epoch_ends, over, year_of_day, year_of_epoch};
use crate::clock::now;
use crate::config::aggregate::TablesFile;
use crate::metrics::{Count, Metrics};
use crate::store::StoreError;
use crate::store::aggregate::{Account, AggregateStore, Close, FeedTitle, Kept, Shared};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{ContentId, DeviceId, HouseholdId};
use omega_sync_core::pattern::tables::Tables;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

/// How often the server looks whether an epoch or a day is over.
pub const CLOSE_EVERY: Duration = Duration::from_secs(30);
/// How often in succession an end is tried again at once that was overtaken by a change of what waits.
pub const STALE_TRIES_MAX: usize = 3;
/// Bits of a version's tail that count rows; those above say in which life and for which places.
const VERSION_BITS: u32 = 32;
/// Versions are below 2^52, which every number of JSON holds.
const TAG_MASK: u64 = (1 << 20) - 1;
const ENTROPY_BYTES: usize = 4_096;

/// The system's own randomness.
struct OsEntropy {
    bytes: Vec<u8>,
}

impl Entropy for OsEntropy {
    fn next(&mut self) -> Result<u64, NoEntropy> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; ENTROPY_BYTES];
            getrandom::fill(&mut self.bytes).map_err(|_| NoEntropy)?;
        }
        let rest = self.bytes.len() - size_of::<u64>();
        let word = self.bytes.split_off(rest);
        Ok(u64::from_le_bytes(word.try_into().map_err(|_| NoEntropy)?))
    }
}

/// What a household may see of itself here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Own {
    pub(crate) kept: Kept,
    /// The open epoch.
    pub(crate) epoch: u64,
    /// When it is over, in Unix milliseconds.
    pub(crate) epoch_ends: u64,
    /// Of its patterns those that count, if the epoch ended now.
    pub(crate) counted: Vec<bool>,
}

/// Aggregation on this node.
pub(crate) struct Aggregate {
    store: Arc<dyn AggregateStore>,
    settings: Settings,
    tables: Arc<Tables>,
    tables_file: Arc<[u8]>,
    metrics: Arc<Metrics>,
    pages: Arc<Pages>,
}

impl Aggregate {
    pub(crate) fn new(
        store: Arc<dyn AggregateStore>,
        settings: Settings,
        TablesFile { bytes, tables }: TablesFile,
        metrics: Arc<Metrics>,
    ) -> Self {
        let pages = Arc::default();
        Self { store, settings, tables, tables_file: bytes, metrics, pages }
    }

    /// The tables that patterns are coded with here: their id, and the file for devices.
    pub(crate) fn tables(&self) -> (u32, Arc<[u8]>) {
        (self.tables.id(), self.tables_file.clone())
    }

    /// Where a household is: what its token says, or else the operator.
    fn region<'a>(&'a self, said: Option<&'a Region>) -> &'a Region {
        said.unwrap_or(&self.settings.home)
    }

    /// Whether anything that is or will be released here is without noise.
    pub(crate) async fn is_private(&self) -> Result<bool, StoreError> {
        Ok(self.settings.is_private() && !self.shared(now()).await?.not_private)
    }

    async fn shared(&self, now: UnixMillis) -> Result<Shared, StoreError> {
        let (epoch, day) = over(now);
        self.store.shared(epoch, day).await
    }

    /// The version of what a household in a region gets, and whether all of it is private.
    pub(crate) async fn version(&self, region: Option<&Region>) -> Result<(u64, bool), StoreError> {
        let shared = self.shared(now()).await?;
        let private = self.settings.is_private() && !shared.not_private;
        Ok((self.mark(&shared, self.region(region), shared.version), private))
    }

    /// A version as devices see it: one of another life, or for other places, is never one of these.
    fn mark(&self, shared: &Shared, region: &Region, version: u64) -> u64 {
        marked(shared, self.places_tag(region), version)
    }

    /// Names the places that a region's patterns come from; 0 for those of the server's own region.
    fn places_tag(&self, region: &Region) -> u64 {
        let text = |region: &Region| {
            let places = self.settings.places.of(Some(region));
            let names =
                places.iter().map(|place: &Place| place.as_ref().map_or("", Region::as_str));
            names.collect::<Vec<_>>().join(" ")
        };
        hash(&text(region)) ^ hash(&text(&self.settings.home))
    }

    /// What is kept of a household, and what of it counts.
    pub(crate) async fn own(&self, household: &HouseholdId) -> Result<Own, StoreError> {
        let now = now();
        let shared = self.shared(now).await?;
        let kept = self.store.kept(household).await?;
        let clusters = self.store.clusters().await?;
        let patterns = || kept.waiting.patterns.iter().map(|(_, pattern)| pattern);
        let counted = counted(patterns(), |genre| {
            clusters.is_empty() || clusters.iter().any(|cluster| cluster.genre == *genre)
        });
        let is_counted = |pattern: &_| counted.iter().any(|one| std::ptr::eq(*one, pattern));
        let counted = patterns().map(is_counted).collect();
        let epoch = self.settings.open_epoch(now, shared.closed_epoch);
        Ok(Own { kept, epoch, epoch_ends: epoch_ends(epoch), counted })
    }

    /// Whether a household takes part; when it does not, what waits of it is erased.
    pub(crate) async fn set_opted_out(
        &self,
        household: &HouseholdId,
        opted_out: bool,
    ) -> Result<(), StoreError> {
        self.store.set_opted_out(household, opted_out).await
    }

    /// A device is no more of a household, so it does not keep the household's plays back either.
    pub(crate) async fn forget(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
    ) -> Result<(), StoreError> {
        self.store.set_device_opted_out(household, device, false).await
    }

    /// Adds titles to the feed; says the version of the last.
    pub(crate) async fn feed(&self, titles: Vec<FeedTitle>) -> Result<u64, StoreError> {
        self.store.feed(titles).await
    }

    /// Notes that a household began titles, by the server's clock. It is durable at the end, or nothing
    /// will be noted: an erasure that begins later finds all of it.
    pub(crate) async fn note_playing(
        &self,
        household: &HouseholdId,
        region: Option<&Region>,
        titles: BTreeSet<ContentId>,
    ) {
        let (day, region) = (day(now()), self.region(region).country());
        let plays =
            titles.into_iter().map(|content| (day, household.clone(), region.clone(), content));
        if let Err(error) = self.store.note_playing(plays.collect()).await {
            // A play that is not counted changes a trend by one.
            tracing::debug!(%error, "first plays were not noted");
        }
    }

    /// What is left of the budgets of this year: of patterns and of trends.
    pub(crate) async fn left(&self) -> Result<[Rho; 2], StoreError> {
        let now = now();
        let year = year_of_epoch(self.settings.epoch(now));
        let patterns = self.store.spent(Account::Patterns, year).await?;
        let trends = self.store.spent(Account::Trends, year_of_day(day(now))).await?;
        let left = |limit, spent| privacy::Ledger::new(limit, spent).left();
        let settings = &self.settings;
        Ok([left(settings.year_limit(), patterns), left(settings.days_limit(), trends)])
    }

    /// Ends every epoch and day that is over; says how many were ended here.
    ///
    /// # Errors
    /// The first that could not be ended; it is tried again the next time.
    pub(crate) async fn close_due(self: &Arc<Self>, now: UnixMillis) -> Result<usize, CloseError> {
        let mut ended = 0;
        for epochs in [true, false] {
            let mut stale = 0;
            // While much is taken back no end may fit between two changes: later it will.
            while stale < STALE_TRIES_MAX {
                let (own, runtime) = (self.clone(), Handle::current());
                let work = move || {
                    let (store, settings) = (&*own.store, &own.settings);
                    let closing = Closing { store, settings, runtime: &runtime };
                    let mut entropy = OsEntropy { bytes: Vec::new() };
                    match epochs {
                        true => closing.epoch(now, &mut entropy),
                        false => closing.day(now, &mut entropy),
                    }
                };
                let done = tokio::task::spawn_blocking(work).await;
                let stopped = |_| StoreError::Unavailable("the server stops".into());
                let Some(end) = done.map_err(stopped)?? else {
                    break;
                };
                self.note_end(&end, epochs);
                match end.close {
                    Close::Stale => stale += 1,
                    Close::Done | Close::Spent => (ended, stale) = (ended + 1, 0),
                }
            }
        }
        Ok(ended)
    }

    fn note_end(&self, end: &Ended, is_epoch: bool) {
        let (span, count) = match is_epoch {
            true => ("epoch", Count::EpochsClosed),
            false => ("day", Count::DaysClosed),
        };
        let (released, rho) = (end.released, end.rho.value());
        match end.close {
            Close::Done => {
                self.metrics.add(count, 1);
                self.metrics.add(Count::PoisonAlarms, end.alarms.len());
                tracing::info!(span, released, rho, "closed");
            }
            Close::Stale => tracing::info!(span, "closed by another node, or changed meanwhile"),
            Close::Spent => {
                self.metrics.add(count, 1);
                self.metrics.add(Count::BudgetRefusals, 1);
                tracing::error!(span, rho, "closed without a release: the budget is spent");
            }
        }
        for alarm in &end.alarms {
            let (cluster, why) = (alarm.cluster.0, alarm.why);
            tracing::warn!(%cluster, %why, "a cluster may have been poisoned");
        }
    }

    /// Says so if the clock is behind what was closed.
    async fn look_at_the_clock(&self) {
        // A store that does not work says so elsewhere.
        let Ok(Shared { closed_epoch, closed_day, .. }) = self.shared(now()).await else { return };
        if self.settings.is_behind(now(), closed_epoch, closed_day) {
            tracing::error!(
                closed_epoch,
                closed_day,
                "the clock is behind what was released already: nothing is released until then; \
                 what to do is in docs/operations.md, \"A clock that was wrong\""
            );
        }
    }

    /// Ends what is over, again and again, until the server stops.
    pub(crate) async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        self.look_at_the_clock().await;
        while !*stopping.borrow() {
            if let Err(error) = self.close_due(now()).await {
                tracing::error!(%error, "an epoch or a day could not be closed");
            }
            tokio::select! {
                () = sleep(CLOSE_EVERY) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// A number with what it is of in the bits above it.
fn marked(shared: &Shared, tag: u64, number: u64) -> u64 {
    let tag = (u64::from(shared.life) ^ tag) & TAG_MASK;
    tag << VERSION_BITS | number
}

/// FNV-1a: any function will do that tells a few texts apart.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// When a list of trends of a day is not fresh any more: the day after it is over.
pub(crate) fn trends_until(of: u64) -> u64 {
    (of + 2) * DAY_MS
}
