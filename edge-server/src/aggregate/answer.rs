//! What a device brings and gets: one request, one answer (`core`'s `pattern::exchange`).
//!
//! Invariant: a batch is called taken only when it is durable; what a device takes back is erased before
//! its request is answered with anything but `RateLimited`, whatever becomes of the batch; a mark never
//! gets ahead of what was sent with it; a mark that this server can't have given is answered with
//! everything.

use super::pages::{Page, PageKey};
use super::region::Region;
use super::release::Place;
use super::settings::day;
use super::{Aggregate, VERSION_BITS, hash, marked, trends_until};
use crate::clock::now;
use crate::metrics::Count;
use crate::store::StoreError;
use crate::store::aggregate::{
    Bringing, Brought, Item, Published, Shared, TrendList, Waiting, Wanted,
};
use omega_sync_core::codec::DecodeError;
use omega_sync_core::id::{DeviceId, HouseholdId};
use omega_sync_core::pattern::exchange::{
    ANSWER_LISTED_MAX, Answer, Batch, Known, Outcome, Receipt, Request, TRENDS_MAX, Taken, Titles,
    Trend, Trends,
};
use omega_sync_core::pattern::message::{
    Floor, MESSAGE_PATTERNS_MAX, Outgoing, decode, encode_within,
};
use omega_sync_core::pattern::tables::Tables;
use omega_sync_core::pattern::{Pattern, PatternError, PatternId};
use std::sync::Arc;

/// How long a device waits, in seconds, when the store did not do what it may not be told was done.
const RETRY_AFTER_S: u32 = 60;
/// Bytes of an answer that are kept for all that is neither patterns, titles nor trends.
const FRAME_BYTES: usize = 96;
/// Why an answer has no news.
enum NoNews {
    /// The store does not work.
    Store(StoreError),
    /// Too much was encoded for this household lately.
    Enough,
}

impl From<StoreError> for NoNews {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl NoNews {
    fn log(&self) {
        match self {
            Self::Store(error) => {
                tracing::error!(code = error.code(), %error, "no news of patterns");
            }
            Self::Enough => tracing::debug!("no news of patterns: the household had its share"),
        }
    }
}

/// The device that asks, and its household.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) household: HouseholdId,
    pub(crate) device: DeviceId,
    /// Where its token says that the household is.
    pub(crate) region: Option<Region>,
    /// Whether it may bring anything. Taking back, and taking no part, needs no such permission.
    pub(crate) may_write: bool,
}

impl Aggregate {
    /// Answers a frame. `version`, if it is there, is the one that the device has; else its request says.
    ///
    /// # Errors
    /// It is no request; the store's trouble is in the answer (`RateLimited`; with a batch, no news).
    pub(crate) async fn exchange(
        &self,
        caller: &Caller,
        frame: &[u8],
        version: Option<u64>,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut request = Request::decode(frame)?;
        request.known.version = version.unwrap_or(request.known.version);
        let region = self.region(caller.region.as_ref());
        let later = Answer { outcome: Outcome::RateLimited(RETRY_AFTER_S), ..Answer::default() };
        let shared = match self.withdraw(caller, &request).await {
            Ok(shared) => shared,
            Err(error) => {
                tracing::error!(code = error.code(), %error, "patterns could not be taken back");
                return Ok(later.encode());
            }
        };
        let receipt = self.take(caller, &shared, region, &request).await;
        let told = self.tell(caller, &shared, &request, receipt).await;
        Ok(told.unwrap_or_else(|why| {
            why.log();
            match receipt {
                // It is told all the same; the news comes with the next request.
                Some(_) => {
                    let known = request.known;
                    Answer { known, receipt, ..self.nothing_new(&shared) }.encode()
                }
                None => later.encode(),
            }
        }))
    }

    /// Erases what a device takes back, or all of a device that takes no part; says how far everything is.
    async fn withdraw(&self, caller: &Caller, request: &Request<'_>) -> Result<Shared, StoreError> {
        let Caller { household, device, .. } = caller;
        if request.opted_out {
            self.store.set_device_opted_out(household, device, true).await?;
        } else if !request.gone.is_empty() {
            self.store.take_back(household, device, request.gone.clone()).await?;
        }
        self.shared(now()).await
    }

    /// Takes what a device brings.
    async fn take(
        &self,
        caller: &Caller,
        shared: &Shared,
        region: &Region,
        request: &Request<'_>,
    ) -> Option<Receipt> {
        let taken = self.try_take(caller, shared, region, request).await;
        let taken = taken.unwrap_or_else(|error| {
            tracing::warn!(code = error.code(), %error, "a batch of patterns was not taken");
            Taken::Later
        });
        if taken == Taken::Taken && request.batch.is_some() {
            self.metrics.add(Count::Contributions, 1);
        }
        request.batch.map(|batch| Receipt { number: batch.number, taken })
    }

    async fn try_take(
        &self,
        caller: &Caller,
        shared: &Shared,
        region: &Region,
        request: &Request<'_>,
    ) -> Result<Taken, StoreError> {
        if request.opted_out {
            return Ok(Taken::OptedOut);
        }
        if !caller.may_write {
            return Ok(Taken::Invalid);
        }
        if self.store.is_device_opted_out(&caller.household, &caller.device).await? {
            self.store.set_device_opted_out(&caller.household, &caller.device, false).await?;
        }
        let Some(batch) = &request.batch else {
            return Ok(Taken::Taken);
        };
        let waiting = self.store.waiting(&caller.household).await?;
        let patterns = match read(&self.tables, batch, &waiting, &caller.device) {
            Ok(patterns) => patterns,
            Err(taken) => return Ok(taken),
        };
        let brought = Brought {
            epoch: self.settings.open_epoch(now(), shared.closed_epoch),
            device: caller.device.clone(),
            region: Some(region.clone()),
            patterns,
        };
        Ok(match self.store.bring(&caller.household, brought).await? {
            Bringing::Kept => Taken::Taken,
            Bringing::OptedOut => Taken::OptedOut,
            // Its device will hear of the erasure.
            Bringing::Erased => Taken::Later,
        })
    }

    /// An answer that tells how far everything is, and no more.
    fn nothing_new(&self, shared: &Shared) -> Answer<'static> {
        Answer {
            not_private: !self.settings.is_private() || shared.not_private,
            epoch: self.settings.open_epoch(now(), shared.closed_epoch),
            tables: self.tables.id(),
            ..Answer::default()
        }
    }

    async fn tell(
        &self,
        caller: &Caller,
        shared: &Shared,
        request: &Request<'_>,
        receipt: Option<Receipt>,
    ) -> Result<Vec<u8>, NoNews> {
        let (household, region) = (&caller.household, self.region(caller.region.as_ref()));
        let known = request.known;
        let after = |mark: u64| self.after(shared, region, mark);
        let (patterns_after, titles_after) = (after(known.version), after(known.titles));
        let conflict = patterns_after.is_none() || titles_after.is_none();
        let (patterns_after, titles_after) = match (patterns_after, titles_after) {
            (Some(patterns), Some(titles)) => (patterns, titles),
            // Everything is sent again.
            _ => (0, 0),
        };
        let known = if conflict { Known { version: 0, titles: 0, ..known } } else { known };
        let mut left = (request.answer_bytes as usize).saturating_sub(FRAME_BYTES);
        let trends = self.news_of_trends(shared, region, known, left / 2).await?;
        left -= trends.as_ref().map_or(0, |(trends, _)| trends_bytes(trends)).min(left);
        let mut answer = Answer {
            outcome: if conflict { Outcome::Conflict } else { Outcome::Ok },
            full: conflict,
            known,
            receipt,
            ..self.nothing_new(shared)
        };
        if let Some((trends, mark)) = trends {
            answer.known.trends = mark;
            answer.trends = Some(trends);
        }
        if request.tables != answer.tables {
            return Ok(answer.encode());
        }
        let places = self.settings.places.of(Some(region));
        let patterns = self.page(household, shared, Some(places), patterns_after, left).await?;
        left -= patterns.bytes.len().min(left);
        answer.known.version = self.through(shared, region, &patterns);
        answer.more = patterns.more;
        answer.patterns = message(&patterns);
        let titles = match request.wants_titles && !patterns.more {
            true => self.page(household, shared, None, titles_after, left).await?,
            false => Arc::default(),
        };
        if request.wants_titles && !patterns.more {
            answer.known.titles = self.through(shared, region, &titles);
            answer.more = titles.more;
        } else {
            answer.more |= request.wants_titles;
        }
        let contents = titles.contents.clone();
        answer.titles = message(&titles).map(|message| Titles { contents, message });
        Ok(answer.encode())
    }

    /// The version in a device's mark; `None` for one that this server has not given.
    fn after(&self, shared: &Shared, region: &Region, mark: u64) -> Option<u64> {
        let version = mark & ((1 << VERSION_BITS) - 1);
        let is_ours = mark == self.mark(shared, region, version) && version <= shared.version;
        (mark == 0 || is_ours).then_some(version)
    }

    /// The mark of a device that has a page.
    fn through(&self, shared: &Shared, region: &Region, page: &Page) -> u64 {
        let version = if page.more { page.through } else { shared.version.max(page.through) };
        self.mark(shared, region, version)
    }

    /// A region's trends and their mark, if the device has others and they are fresh.
    async fn news_of_trends(
        &self,
        shared: &Shared,
        region: &Region,
        known: Known,
        bytes_max: usize,
    ) -> Result<Option<(Trends, u64)>, StoreError> {
        let country = region.country();
        let Some(TrendList { day: of, list, .. }) = self.store.trends(&country).await? else {
            return Ok(None);
        };
        // Every country has its own list.
        let mark = marked(shared, hash(country.as_str()), of);
        let until_ms = trends_until(of);
        if mark == known.trends || day(now()) >= of + 2 {
            return Ok(None);
        }
        let thousandths = |strength: f64| (strength * 1_000.0).clamp(0.0, f64::from(u32::MAX));
        let list = list.into_iter().take(TRENDS_MAX).map(|trend| Trend {
            content: trend.content,
            genre: trend.genre,
            score: thousandths(trend.strength) as u32,
        });
        let region = country.as_str().to_owned();
        let mut trends = Trends { region, until_ms, list: list.collect() };
        while trends_bytes(&trends) > bytes_max && trends.list.pop().is_some() {}
        Ok(Some((trends, mark)))
    }

    /// As much as fits, encoded on behalf of a household; patterns of these places, or titles.
    async fn page(
        &self,
        household: &HouseholdId,
        shared: &Shared,
        places: Option<Vec<Place>>,
        after: u64,
        bytes_max: usize,
    ) -> Result<Arc<Page>, NoNews> {
        let bytes_max = size_class(bytes_max);
        let key = PageKey { version: shared.version, places, after, bytes_max };
        if let Some(page) = self.pages.get(&key) {
            return Ok(page);
        }
        let turn = self.pages.turn(household).await.ok_or(NoNews::Enough)?;
        if let Some(page) = self.pages.get(&key) {
            return Ok(page);
        }
        let wanted = key.places.clone().map_or(Wanted::Titles, Wanted::Patterns);
        let rows = self.store.published(wanted, after).await?;
        let (tables, pages) = (self.tables.clone(), self.pages.clone());
        // A request that is given up leaves its page, and its turn ends with the work.
        let encode = move || {
            let page = encode(&tables, rows, bytes_max);
            page.map(|page| pages.keep(&turn, key, page))
        };
        let encoded = tokio::task::spawn_blocking(encode).await;
        let failed = |error: String| StoreError::Unavailable(error);
        let page = encoded.map_err(|error| failed(error.to_string()))?;
        Ok(page.map_err(|error| failed(error.to_string()))?)
    }
}

/// The size that a page is made for: one of eight in each power of two, not above this one, so that devices
/// whose trends or caps differ by a little share their pages.
fn size_class(bytes_max: usize) -> usize {
    let bits = bytes_max.checked_ilog2().unwrap_or(0).saturating_sub(3);
    bytes_max >> bits << bits
}

/// Decodes a batch against what waits of the device.
fn read(
    tables: &Tables,
    batch: &Batch<'_>,
    waiting: &Waiting,
    device: &DeviceId,
) -> Result<Vec<Pattern>, Taken> {
    if waiting.opted_out {
        return Err(Taken::OptedOut);
    }
    let own = waiting.patterns.iter().filter(|(owner, _)| owner == device);
    let bases: Vec<Pattern> = own.map(|(_, pattern)| pattern.clone()).collect();
    decode(tables, batch.message, &bases).map_err(|error| match error {
        PatternError::BaseUnknown => Taken::BaseUnknown,
        PatternError::TablesUnknown(_) => Taken::OtherTables,
        _ => Taken::Invalid,
    })
}

fn encode(tables: &Tables, rows: Vec<Published>, bytes_max: usize) -> Result<Page, PatternError> {
    let versions: Vec<u64> = rows.iter().map(|row| row.version).collect();
    let mut patterns = Vec::new();
    let mut contents = Vec::new();
    for (at, row) in rows.into_iter().take(MESSAGE_PATTERNS_MAX).enumerate() {
        match row.item {
            Item::Pattern(pattern) => patterns.push(pattern),
            Item::Title(title) => {
                let id = PatternId(at as u128);
                patterns.push(Pattern::new(id, title.genre, title.embedding, 1, 1)?);
                contents.push(title.content);
            }
        }
    }
    let mut count = patterns.len().min(ANSWER_LISTED_MAX);
    loop {
        let named: usize = contents.iter().take(count).map(|c| c.as_str().len() + 1).sum();
        let outgoing: Vec<Outgoing<'_>> =
            patterns[..count].iter().map(|pattern| Outgoing { pattern, base: None }).collect();
        let left = bytes_max.saturating_sub(named);
        let encoded = encode_within(tables, Floor::default(), &outgoing, left)?;
        if encoded.taken == count {
            contents.truncate(count);
            let through = count.checked_sub(1).map_or(0, |last| versions[last]);
            let bytes = if count == 0 { Vec::new() } else { encoded.bytes };
            return Ok(Page { bytes, contents, through, more: count < versions.len() });
        }
        count = encoded.taken;
    }
}

fn message(page: &Page) -> Option<&[u8]> {
    (!page.bytes.is_empty()).then_some(&page.bytes)
}

/// About how long trends are as bytes, rather too many.
fn trends_bytes(trends: &Trends) -> usize {
    let each = |trend: &Trend| trend.content.as_str().len() + trend.genre.as_str().len() + 8;
    24 + trends.list.iter().map(each).sum::<usize>()
}
