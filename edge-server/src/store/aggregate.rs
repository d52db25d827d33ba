//! Where contributions, budgets and releases are kept, and what every such store promises.
//!
//! The contract, on top of that of [`super`] (durable when answered, all or nothing):
//! 1. A household's patterns of an epoch have one row each, however often they are sent.
//! 2. Closing an epoch or a day compares and sets: it happens once, to the one that follows the last
//!    closed one, from exactly the state that it was computed from, else [`Close::Stale`] and nothing
//!    has changed. So of several nodes one closes.
//! 3. In the transaction that publishes a release its cost is debited; if too little is left, nothing is
//!    published, and what waited is erased all the same ([`Close::Spent`]).
//! 4. After a close nothing of the epoch is left but who was counted, nothing of the day at all.
//! 5. Whoever takes no part is not written, and opting out leaves nothing that waits.
//!    The same goes for what [`super::Store::erase`] does to a household, of which no pattern, play
//!    or device is written until it begins anew, by a commit.
//! 6. A version is given to one row and never again; what is published later has a higher one.

use super::Answer;
use crate::aggregate::privacy::Rho;
use crate::aggregate::region::Region;
use crate::aggregate::release::{Place, Released};
use crate::aggregate::space::Anchor;
use crate::aggregate::trends::{Course, Trend};
use omega_sync_core::id::{ContentId, DeviceId, HouseholdId};
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use std::collections::BTreeMap;

/// Patterns of one household that wait in one epoch; of more those with the most samples stay.
pub const WAITING_MAX: usize = 64;
/// Devices of a household that are remembered to take no part; one keeps all its first plays back.
pub const OPTED_OUT_DEVICES_MAX: usize = 256;
/// Rows in one page of an epoch, or of what was published.
pub const PAGE_ROWS_MAX: usize = 4_096;

/// How far everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Which life of the database.
    pub life: u32,
    /// Version of the newest published row, 0 for none.
    pub version: u64,
    /// The last closed epoch.
    pub closed_epoch: u64,
    /// The last closed day.
    pub closed_day: u64,
    /// Whether something is published that was released without noise.
    pub not_private: bool,
}

/// What a household has in the open epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waiting {
    /// It takes no part.
    pub opted_out: bool,
    /// Its devices' patterns.
    pub patterns: Vec<(DeviceId, Pattern)>,
    /// Closed epochs in which it was counted.
    pub counted_in: Vec<u64>,
}

/// What a device brings.
#[derive(Debug, Clone)]
pub struct Brought {
    /// In which epoch, by its number; one that is closed stands for the next.
    pub epoch: u64,
    /// Which device.
    pub device: DeviceId,
    /// Where it is.
    pub region: Option<Region>,
    /// Its patterns.
    pub patterns: Vec<Pattern>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bringing {
    /// It is durable.
    Kept,
    /// The household takes no part: nothing is kept.
    OptedOut,
    /// The household was erased and has not begun anew: nothing is kept.
    Erased,
}

/// A household's patterns, to be counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The household that contributed.
    pub household: HouseholdId,
    /// Where it is.
    pub region: Option<Region>,
    /// What it has.
    pub patterns: Vec<Pattern>,
}

/// Some households of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochPage {
    /// The state this is of.
    pub revision: u64,
    /// Whole households, in the order of their ids.
    pub households: Vec<Counted>,
    /// Whether there are more.
    pub more: bool,
}

/// What a release costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// From which account.
    pub account: Account,
    /// In which year.
    pub year: u64,
    /// How much.
    pub rho: Rho,
    /// What may be spent in the year.
    pub limit: Rho,
}

/// What budgets are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Global patterns.
    Patterns,
    /// Trends.
    Trends,
}

impl Account {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patterns => "patterns",
            Self::Trends => "trends",
        }
    }
}

/// An epoch's end.
#[derive(Debug, Clone)]
pub struct EpochEnd {
    /// Which epoch. What waits for it or for an earlier one is counted.
    pub epoch: u64,
    /// The last one that was closed before.
    pub follows: u64,
    /// The revision it was computed from, 0 when nobody had brought anything.
    pub revision: u64,
    /// Who was counted in an epoch before this is forgotten.
    pub forget_before: u64,
    /// What it costs.
    pub charge: Charge,
    /// Whether it has noise.
    pub private: bool,
    /// What is released.
    pub released: Vec<Released>,
    /// The clusters, in place of those there are.
    pub clusters: Vec<Anchor>,
}

/// A region's trends of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionDay {
    /// The region that the day is of.
    pub region: Region,
    /// All that is remembered, in place of what was.
    pub courses: BTreeMap<ContentId, Course>,
    /// The list, in place of the last one.
    pub list: Vec<Trend>,
}

/// A day's end.
#[derive(Debug, Clone)]
pub struct DayEnd {
    /// Which day.
    pub day: u64,
    /// What it was computed from.
    pub counts: DayCounts,
    /// What it costs.
    pub charge: Charge,
    /// Whether it has noise. Then whatever has none is forgotten: courses, and lists that were made of them.
    pub private: bool,
    /// All regions that have or had trends.
    pub regions: Vec<RegionDay>,
}

/// How closing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// It is closed and published.
    Done,
    /// Another one closed it, or what waits has changed: look again.
    Stale,
    /// It is closed, and nothing is published: the budget is spent.
    Spent,
}

/// A title for devices.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedTitle {
    /// The title's id.
    pub content: ContentId,
    /// Its genre.
    pub genre: Genre,
    /// What it is like.
    pub embedding: Embedding,
}

/// A published pattern or title.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// At which version it last changed.
    pub version: u64,
    /// Where it counts; titles count everywhere.
    pub place: Place,
    /// Whether it was released with noise; titles always.
    pub private: bool,
    /// What it is.
    pub item: Item,
}

/// What is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A global pattern.
    Pattern(Pattern),
    /// A title.
    Title(FeedTitle),
}

/// The list of a region.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendList {
    /// Of which day.
    pub day: u64,
    /// Whether it has noise.
    pub private: bool,
    /// Strongest first.
    pub list: Vec<Trend>,
}

/// What a store keeps of a household here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Patterns that wait, and whether it takes part.
    pub waiting: Waiting,
    /// Titles it began on days that are not counted yet.
    pub playing: Vec<(u64, ContentId)>,
}

/// Households that began each title in each region.
pub type DayCounts = BTreeMap<(Region, ContentId), u64>;

/// A first play: day, household, region, title.
pub type FirstPlay = (u64, HouseholdId, Region, ContentId);

/// Keeps contributions and releases. See the contract at the head of this module.
pub trait AggregateStore: Send + Sync {
    /// How far everything is. The first call, also the first after a restore, says which epoch and day
    /// are over: these and all before count as closed, and what waited in them is erased unreleased,
    /// because a backup can't know what was released since; so is what waits for a time that the clock
    /// will not reach soon.
    fn shared(&self, over_epoch: u64, over_day: u64) -> Answer<Shared>;

    /// What a household has waiting.
    fn waiting(&self, household: &HouseholdId) -> Answer<Waiting>;

    /// Adds what a device brings.
    fn bring(&self, household: &HouseholdId, brought: Brought) -> Answer<Bringing>;

    /// Erases what waits of these patterns of a device, in every epoch.
    fn take_back(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        gone: Vec<PatternId>,
    ) -> Answer<()>;

    /// Whether a device takes part. When it does not, all that it brought and that waits is erased, and
    /// so is what its household began to play, of which nothing more is noted. Of a household's
    /// [`OPTED_OUT_DEVICES_MAX`] devices are remembered.
    fn set_device_opted_out(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        opted_out: bool,
    ) -> Answer<()>;

    /// Whether a device is remembered to take no part.
    fn is_device_opted_out(&self, household: &HouseholdId, device: &DeviceId) -> Answer<bool>;

    /// Whether a household takes part; when it does not, what waits is erased.
    fn set_opted_out(&self, household: &HouseholdId, opted_out: bool) -> Answer<()>;

    /// Everything that is kept of a household.
    fn kept(&self, household: &HouseholdId) -> Answer<Kept>;

    /// Notes first plays, of households that take part, up to the day's bound.
    fn note_playing(&self, plays: Vec<FirstPlay>) -> Answer<()>;

    /// Households of an epoch and of those before it, those after a given one.
    fn epoch_page(&self, epoch: u64, after: Option<HouseholdId>) -> Answer<EpochPage>;

    /// Ends an epoch.
    fn end_epoch(&self, end: EpochEnd) -> Answer<Close>;

    /// Households that began each title in each region on a day.
    fn day_counts(&self, day: u64) -> Answer<DayCounts>;

    /// What is remembered of titles, by region; all of it, or what was made with noise only.
    fn courses(&self, private: bool) -> Answer<BTreeMap<Region, BTreeMap<ContentId, Course>>>;

    /// Ends a day.
    fn end_day(&self, end: DayEnd) -> Answer<Close>;

    /// The clusters there are.
    fn clusters(&self) -> Answer<Vec<Anchor>>;

    /// What was spent of an account in a year.
    fn spent(&self, account: Account, year: u64) -> Answer<Rho>;

    /// Adds titles to the feed, or changes them; says the version of the last one.
    fn feed(&self, titles: Vec<FeedTitle>) -> Answer<u64>;

    /// What was published after a version, in the order of versions: patterns of these places, or titles.
    fn published(&self, what: Wanted, after: u64) -> Answer<Vec<Published>>;

    /// A region's trends.
    fn trends(&self, region: &Region) -> Answer<Option<TrendList>>;
}

/// Which published things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Patterns: of each cluster that of the first of these places which has one.
    Patterns(Vec<Place>),
    /// Patterns of all places.
    AllPatterns,
    /// Titles.
    Titles,
}
