//! Ends of epochs and days: what waits becomes a release, once, and is erased.
//!
//! Invariant: a release is computed, noise and all, before the store is asked to take it; it takes it
//! whole, with its cost, or not at all, and what was computed and not taken is shown to nobody.

use super::median::Alarm;
use super::privacy::{Entropy, NoEntropy, Rho};
use super::region::Region;
use super::release::{Geometry, Noise, Place, Released, Tally};
use super::settings::{Settings, YEAR_MINUTES, day, over, year_of_day, year_of_epoch};
use super::space::{Axes, Title, anchors_for};
use super::trends::{Courses, hide, list, next_day};
use crate::store::StoreError;
use crate::store::aggregate::{
    Account, AggregateStore, Charge, Close, DayEnd, EpochEnd, Item, Published, RegionDay, Shared,
    Wanted,
};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::{Genre, Pattern, PatternId};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tokio::runtime::Handle;

/// The genre of a title that the catalogue does not know.
pub const OTHER_GENRE: &str = "other";

/// Why an end has to be tried again.
#[derive(Debug, Error)]
pub enum CloseError {
    /// The store does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no noise, so nothing may be released.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

/// What came of ending an epoch or a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Whether the store ended it.
    pub close: Close,
    /// The privacy loss that was debited.
    pub rho: Rho,
    /// Patterns or trends that were released.
    pub released: usize,
    /// Clusters that the operator should look at.
    pub alarms: Vec<Alarm>,
}

/// Ends spans of time against a store; blocks, so it runs on a thread that may.
pub struct Closing<'a> {
    /// The store of contributions and releases.
    pub store: &'a dyn AggregateStore,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// Runs what the store does.
    pub runtime: &'a Handle,
}

impl Closing<'_> {
    /// Ends the oldest epoch that is over and not closed; `None` when there is none.
    ///
    /// # Errors
    /// Nothing was closed.
    pub fn epoch(
        &self,
        now: UnixMillis,
        entropy: &mut impl Entropy,
    ) -> Result<Option<Ended>, CloseError> {
        let open = self.settings.epoch(now);
        let shared = self.shared(now)?;
        let follows = shared.closed_epoch;
        let epoch = self.settings.epoch_after(follows);
        if epoch >= open {
            return Ok(None);
        }
        let geometry = self.geometry()?;
        let mut tally = Tally::new(&geometry);
        let revision = self.count(epoch, &mut tally)?;
        let alarms = tally.alarms();
        // Without a public geometry nothing is released, so nothing is spent.
        let (released, rho) = match geometry.anchors.is_empty() {
            true => (Vec::new(), Rho::ZERO),
            false => (self.release(tally, entropy)?, self.settings.epoch_rho()),
        };
        let ended = released.len();
        let charge = Charge {
            account: Account::Patterns,
            year: year_of_epoch(epoch),
            rho,
            limit: self.settings.year_limit(),
        };
        let forget_before = epoch.saturating_sub(YEAR_MINUTES);
        let private = self.settings.is_private();
        let clusters = geometry.anchors.clone();
        let end = EpochEnd {
            epoch,
            follows,
            revision,
            forget_before,
            charge,
            private,
            released,
            clusters,
        };
        let close = self.runtime.block_on(self.store.end_epoch(end))?;
        Ok(Some(Ended { close, rho, released: ended, alarms }))
    }

    fn shared(&self, now: UnixMillis) -> Result<Shared, StoreError> {
        let (epoch, day) = over(now);
        self.runtime.block_on(self.store.shared(epoch, day))
    }

    fn release(
        &self,
        tally: Tally<'_>,
        entropy: &mut impl Entropy,
    ) -> Result<Vec<Released>, NoEntropy> {
        let noise: Noise = self.settings.noise();
        tally.release(noise, self.settings.households_min, entropy)
    }

    /// What is public or released.
    ///
    /// # Errors
    /// The store does not work.
    pub fn geometry(&self) -> Result<Geometry, CloseError> {
        let titles: Vec<Title> = self.titles()?.into_values().collect();
        let (known, released) = (self.runtime.block_on(self.store.clusters())?, self.released()?);
        let is_released = |id| released.keys().any(|(_, name)| *name == id);
        let anchors = anchors_for(&titles, &known, is_released);
        let (axes, places) = (Axes::of_titles(&titles), self.settings.places.clone());
        Ok(Geometry { anchors, axes, places, released })
    }

    /// What was released last, as far as a release now may be made of it.
    fn released(&self) -> Result<BTreeMap<(Place, PatternId), Pattern>, StoreError> {
        let mut released: BTreeMap<(Place, PatternId), Pattern> = BTreeMap::new();
        let private = self.settings.is_private();
        self.each_published(Wanted::AllPatterns, |published| {
            // Of what was released without noise a release with noise would tell.
            let is_usable = published.private || !private;
            if let Item::Pattern(pattern) = published.item
                && is_usable
            {
                released.insert((published.place, pattern.id), pattern);
            }
        })?;
        Ok(released)
    }

    fn titles(&self) -> Result<BTreeMap<ContentId, Title>, CloseError> {
        let mut titles = BTreeMap::new();
        self.each_published(Wanted::Titles, |published| {
            if let Item::Title(title) = published.item {
                let of = Title { genre: title.genre, embedding: title.embedding };
                titles.insert(title.content, of);
            }
        })?;
        Ok(titles)
    }

    fn each_published(
        &self,
        what: Wanted,
        mut take: impl FnMut(Published),
    ) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let page = self.runtime.block_on(self.store.published(what.clone(), after))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.version;
            page.into_iter().for_each(&mut take);
        }
    }

    /// Adds every household of an epoch, and says of which revision they are: a change meanwhile gives
    /// another one, and the store refuses what was computed.
    fn count(&self, epoch: u64, tally: &mut Tally<'_>) -> Result<u64, CloseError> {
        let mut after = None;
        let mut revision = None;
        loop {
            let page = self.runtime.block_on(self.store.epoch_page(epoch, after))?;
            let first = *revision.get_or_insert(page.revision);
            for of in &page.households {
                tally.add(Some(of.region.as_ref().unwrap_or(&self.settings.home)), &of.patterns);
            }
            after = page.households.last().map(|last| last.household.clone());
            if !page.more || after.is_none() {
                return Ok(first);
            }
        }
    }

    /// Ends the oldest day that is over and not closed; `None` when there is none.
    ///
    /// # Errors
    /// Nothing was closed.
    pub fn day(
        &self,
        now: UnixMillis,
        entropy: &mut impl Entropy,
    ) -> Result<Option<Ended>, CloseError> {
        let open = day(now);
        let shared = self.shared(now)?;
        let ending = shared.closed_day + 1;
        if ending >= open {
            return Ok(None);
        }
        let counts = self.runtime.block_on(self.store.day_counts(ending))?;
        let noise = self.settings.day_noise();
        let shown = hide(&counts, noise, entropy)?;
        // What has noise is made of what has noise.
        let private = self.settings.is_private();
        let mut courses = self.runtime.block_on(self.store.courses(private))?;
        let mut days: BTreeMap<Region, BTreeMap<ContentId, u32>> = BTreeMap::new();
        for ((region, content), count) in shown {
            days.entry(region).or_default().insert(content, count);
        }
        let titles = self.titles()?;
        let other = Genre::new(OTHER_GENRE).ok();
        let genre_of = |content: &ContentId| {
            let known = titles.get(content).map(|title| title.genre.clone());
            known.or_else(|| other.clone())
        };
        let sigma = noise.map_or(0.0, |noise| noise.sigma());
        let all: BTreeSet<Region> = courses.keys().chain(days.keys()).cloned().collect();
        let regions = all.into_iter().map(|region| {
            let mut own: Courses = courses.remove(&region).unwrap_or_default();
            next_day(&mut own, days.get(&region).unwrap_or(&BTreeMap::new()));
            let list = list(&own, sigma, genre_of);
            RegionDay { region, courses: own, list }
        });
        let regions: Vec<RegionDay> = regions.collect();
        let released = regions.iter().map(|of| of.list.len()).sum();
        let rho = noise.map_or(Rho::ZERO, |noise| noise.rho());
        let charge = Charge {
            account: Account::Trends,
            year: year_of_day(ending),
            rho,
            limit: self.settings.days_limit(),
        };
        let end = DayEnd { day: ending, counts, charge, private, regions };
        let close = self.runtime.block_on(self.store.end_day(end))?;
        Ok(Some(Ended { close, rho, released, alarms: Vec::new() }))
    }
}

#[cfg(test)]
mod tests;
