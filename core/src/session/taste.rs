//! Taste on one device: learns, keeps, exchanges with the server when its time has come, recommends.
//!
//! It is a state machine beside [`super::client::Client`], not inside it: its frames are outside the
//! household's stream, its logs are its own, and who does not use it does not carry it. The same
//! contract holds: outputs are carried out in their order, and an output that persists is durable
//! before anything after it is done. So whatever a request tells of was stored before, and a mark that a
//! request names was stored with what came with it.
//!
//! A sync is one request and its answer, and more of them while there is more to say. One request is on
//! its way at a time; a lost one costs a wait, never truth, since all of it may be said again.

mod answer;
mod effect;
mod record;

pub use effect::{
    Changed, Ending, INTERVAL_MS, INTERVAL_MS_MAX, INTERVAL_MS_MIN, Input, Output, Settings,
};
pub use record::{GLOBALS_MAX, Log, TABLES_BYTES_MAX};

use self::record::Record;
use crate::clock::UnixMillis;
use crate::codec::DecodeError;
use crate::id::{ContentId, ProfileId, Random};
use crate::pattern::catalog::{Catalog, Title};
use crate::pattern::exchange::{ANSWER_LISTED_MAX, Known, Request, Trends};
use crate::pattern::learner::{Learner, Viewing};
use crate::pattern::message::Encoded;
use crate::pattern::recommend::{Pick, Sources, Wish, recommend};
use crate::pattern::tables::Tables;
use crate::pattern::upload::{AckedPatterns, Sent, batch, candidates, changed, encode_batch, gone};
use crate::pattern::{Genre, Pattern, PatternId};
use crate::replica::Now;

/// How long an answer may take, in milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Requests in one sync; what is left waits for the next one.
pub const ROUNDS_MAX: u32 = 256;
/// The longest wait that a server may ask for, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// A log may grow to so many bytes, or to four times its image, before an image replaces it.
const TASTE_LOG_BYTES_MIN: [usize; 2] = [64 * 1024, 512 * 1024];

/// A request that is on its way.
#[derive(Debug)]
struct Flight {
    /// Given up then (steady milliseconds).
    until_ms: u64,
    sent: Option<Sent>,
    gone: Vec<PatternId>,
}

/// The parts of a longer answer that are here.
#[derive(Debug)]
struct Staged {
    version: u64,
    full: bool,
    removed: Vec<PatternId>,
    patterns: Vec<Pattern>,
    next: u32,
}

/// How much of a log is stored, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    log: usize,
    image: usize,
}

/// Taste on one device.
#[derive(Debug)]
pub struct Taste {
    settings: Settings,
    random: Random,
    // Stored in the small log.
    learner: Learner,
    acked: AckedPatterns,
    opted_out: bool,
    /// By their ids.
    globals: Vec<Pattern>,
    trends: Option<Trends>,
    version: u64,
    trends_known: u64,
    epoch: u64,
    not_private: bool,
    synced_at: UnixMillis,
    // Stored in the large one.
    catalog: Catalog,
    titles_known: u64,
    tables: Option<Tables>,
    tables_file: Vec<u8>,
    sizes: [Size; 2],
    // Not stored.
    connected: bool,
    flight: Option<Flight>,
    staged: Option<Staged>,
    /// When the next sync is due (steady milliseconds), once that is known.
    due_ms: Option<u64>,
    /// Not before this (steady milliseconds), because the server said so.
    limited_until_ms: u64,
    /// No more batches in this sync.
    held: bool,
    /// None until the next start: the server says that the household takes no part.
    refused: bool,
    rounds: u32,
    batches: u32,
}

/// What loading gave.
#[derive(Debug)]
pub struct Opened {
    /// Taste, not connected.
    pub taste: Taste,
    /// Why not all records of the small log, and of the large one, could be read: set the old ones aside
    /// before the outputs are carried out.
    pub damage: [Option<DecodeError>; 2],
    /// The images to store first.
    pub outputs: Vec<Output>,
}

impl Taste {
    /// Loads what was stored in both logs, from nothing a new one.
    ///
    /// # Errors
    /// [`DecodeError::Version`]: a newer version wrote it, which must not be touched.
    pub fn load(
        taste: &[Vec<u8>],
        catalog: &[Vec<u8>],
        settings: Settings,
        seed: [u8; 16],
    ) -> Result<Opened, DecodeError> {
        let mut loaded = Self::new(settings, seed);
        let mut damage = [None; 2];
        for (log, records) in [(Log::Taste, taste), (Log::Catalog, catalog)] {
            for (index, record) in records.iter().enumerate() {
                match loaded.replay(log, index == 0, record) {
                    Ok(()) => {}
                    Err(DecodeError::Version(version)) => {
                        return Err(DecodeError::Version(version));
                    }
                    Err(error) => {
                        damage[log as usize] = Some(error);
                        break;
                    }
                }
            }
        }
        let mut outputs = Vec::new();
        for (log, records) in [(Log::Taste, taste), (Log::Catalog, catalog)] {
            match records.split_first() {
                Some((image, more)) if damage[log as usize].is_none() => {
                    let log_bytes = more.iter().map(Vec::len).sum();
                    loaded.sizes[log as usize] = Size { log: log_bytes, image: image.len() };
                }
                _ => loaded.store_image(log, &mut outputs),
            }
        }
        Ok(Opened { taste: loaded, damage, outputs })
    }

    fn new(settings: Settings, seed: [u8; 16]) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            learner: Learner::default(),
            acked: AckedPatterns::new(),
            opted_out: false,
            globals: Vec::new(),
            trends: None,
            version: 0,
            trends_known: 0,
            epoch: 0,
            not_private: false,
            synced_at: UnixMillis(0),
            catalog: Catalog::default(),
            titles_known: 0,
            tables: None,
            tables_file: Vec::new(),
            sizes: [Size::default(); 2],
            connected: false,
            flight: None,
            staged: None,
            due_ms: None,
            limited_until_ms: 0,
            held: false,
            refused: false,
            rounds: 0,
            batches: 0,
        }
    }

    /// Takes an input and says what to do.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Viewed(viewing) => self.viewed(viewing, &mut outputs),
            Input::Titles(titles) => self.learn_titles(titles, &mut outputs),
            Input::Profiles(listed) => self.keep(now, &|id| listed.contains(id), &mut outputs),
            Input::ProfileDeleted(gone) => self.keep(now, &|id| *id != gone, &mut outputs),
            Input::OptOut(opted_out) => {
                if opted_out != self.opted_out {
                    self.refused = false;
                    outputs.push(Output::Changed(Changed::Contributions));
                    self.store(Record::OptOut(opted_out), &mut outputs);
                    self.sync_now(now, &mut outputs);
                }
            }
            Input::Tables(file) => self.take_tables(now, file, &mut outputs),
            Input::Connected => {
                self.connected = true;
                self.sync_if_due(now, &mut outputs);
            }
            Input::Disconnected => {
                self.connected = false;
                self.break_off(&mut outputs);
            }
            Input::Frame(bytes) => self.answered(now, bytes, &mut outputs),
            Input::SyncNow => self.sync_now(now, &mut outputs),
            Input::Woke => {
                if self.flight.as_ref().is_some_and(|flight| flight.until_ms <= now.steady_ms) {
                    self.break_off(&mut outputs);
                    self.wait(now);
                }
                self.sync_if_due(now, &mut outputs);
            }
        }
        self.tell(now, &mut outputs);
        outputs
    }

    fn viewed(&mut self, viewing: Viewing, outputs: &mut Vec<Output>) {
        if !viewing.counts() {
            return;
        }
        let name = self.free_name();
        outputs.push(Output::Changed(Changed::Taste));
        self.store(Record::Viewing(Box::new(viewing), name), outputs);
    }

    /// The smallest number that names no pattern here, nor any that the server may have under it: what
    /// it was sent keeps its name until it is known to be erased there. Small ones are short to send.
    fn free_name(&self) -> PatternId {
        let sent = self.flight.iter().flat_map(|flight| &flight.sent).flat_map(|s| &s.patterns);
        let sent = sent.map(|(id, _)| *id);
        let learned = self.learner.learned().iter().map(|learned| learned.id);
        let mut names: Vec<PatternId> =
            self.acked.keys().copied().chain(learned).chain(sent).collect();
        names.sort_unstable();
        names.dedup();
        let at = names.iter().zip(0..).take_while(|(name, at)| name.0 == *at).count();
        PatternId(at as u128)
    }

    /// Forgets the profiles that do not stay. Stored are those that do and are known: a household may list
    /// any number.
    fn keep(&mut self, now: Now, stays: &dyn Fn(&ProfileId) -> bool, outputs: &mut Vec<Output>) {
        let mut profiles = self.learner.profiles();
        let known = profiles.len();
        profiles.retain(stays);
        if profiles.len() < known {
            outputs.push(Output::Changed(Changed::Taste));
            self.store(Record::Profiles(profiles), outputs);
            self.sync_now(now, outputs);
        }
    }

    fn learn_titles(&mut self, mut titles: Vec<Title>, outputs: &mut Vec<Output>) {
        titles.retain(|title| self.catalog.title(&title.content).as_ref() != Some(title));
        for part in titles.chunks(ANSWER_LISTED_MAX) {
            self.store(Record::Titles(part.to_vec(), None), outputs);
        }
        if !titles.is_empty() {
            outputs.push(Output::Changed(Changed::Titles));
        }
    }

    fn take_tables(&mut self, now: Now, file: Vec<u8>, outputs: &mut Vec<Output>) {
        let known = self.tables_id();
        match Tables::read(&file) {
            Ok(tables) if file.len() <= TABLES_BYTES_MAX && tables.id() != known => {
                self.store(Record::Tables(file), outputs);
                self.sync_now(now, outputs);
            }
            Ok(_) => {}
            Err(_) => outputs.push(Output::Synced(Ending::Failed)),
        }
    }

    /// The id of the tables that are here, 0 for none.
    pub fn tables_id(&self) -> u32 {
        self.tables.as_ref().map_or(0, Tables::id)
    }

    fn sync_now(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.due_ms = Some(now.steady_ms);
        self.sync_if_due(now, outputs);
    }

    fn sync_if_due(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if self.connected && self.flight.is_none() && self.time_until_sync(now) == 0 {
            (self.rounds, self.held, self.staged) = (0, false, None);
            self.request(now, outputs);
        }
    }

    /// Milliseconds until the next sync is due; 0 when it is.
    pub fn time_until_sync(&self, now: Now) -> u64 {
        let due_ms = self.due_ms.unwrap_or_else(|| {
            // Since the start nothing has been: counted from the last sync of an earlier one, and at
            // once when that clock can't have been right.
            let since = now.unix.0.checked_sub(self.synced_at.0);
            let left = since.and_then(|since| self.settings.interval_ms.0.checked_sub(since));
            now.steady_ms.saturating_add(left.unwrap_or(0))
        });
        due_ms.max(self.limited_until_ms).saturating_sub(now.steady_ms)
    }

    /// The next sync comes after the interval.
    fn wait(&mut self, now: Now) {
        let (least, most) = self.settings.interval_ms;
        let delay = least + self.random.up_to(most - least);
        self.due_ms = Some(now.steady_ms.saturating_add(delay));
    }

    /// What was on its way is lost.
    fn break_off(&mut self, outputs: &mut Vec<Output>) {
        self.staged = None;
        if self.flight.take().is_some() {
            outputs.push(Output::Synced(Ending::Failed));
        }
    }

    /// Sends a request: all that it tells of is stored.
    fn request(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.rounds += 1;
        let candidates = self.candidates();
        let mut gone = gone(&candidates, &self.acked);
        gone.truncate(ANSWER_LISTED_MAX);
        let encoded = self.encode(&candidates);
        let batch = encoded.as_ref().map(|(sent, encoded)| batch(sent.number, encoded));
        let request = Request {
            opted_out: self.opted_out,
            wants_titles: self.settings.wants_titles,
            known: Known {
                version: self.version,
                titles: self.titles_known,
                trends: self.trends_known,
            },
            position: self.staged.as_ref().map_or(0, |staged| staged.next),
            tables: self.tables_id(),
            answer_bytes: self.settings.answer_bytes,
            gone: gone.clone(),
            batch,
        };
        outputs.push(Output::Send(request.encode()));
        let until_ms = now.steady_ms.saturating_add(REQUEST_TIMEOUT_MS);
        let sent = encoded.map(|(sent, _)| sent);
        self.flight = Some(Flight { until_ms, sent, gone });
    }

    /// Whether patterns may leave now.
    fn may_bring(&self) -> bool {
        self.tables.is_some() && !self.held && !self.refused
    }

    fn candidates(&self) -> Vec<Pattern> {
        match self.opted_out {
            true => Vec::new(),
            false => candidates(&self.learner, self.settings.quality),
        }
    }

    fn encode(&mut self, candidates: &[Pattern]) -> Option<(Sent, Encoded)> {
        let tables = self.tables.as_ref().filter(|_| self.may_bring())?;
        let outgoing = changed(candidates, &self.acked);
        let (floor, cap) = (self.settings.floor, self.settings.batch_bytes);
        self.batches = self.batches.wrapping_add(1);
        // The encoder refuses only what candidates are not: too many, or one twice.
        encode_batch(tables, floor, &outgoing, cap, self.batches).ok().flatten()
    }

    /// Adds the time to come back.
    fn tell(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let wake = match &self.flight {
            Some(flight) => flight.until_ms.saturating_sub(now.steady_ms),
            None if self.connected => self.time_until_sync(now),
            None => return,
        };
        outputs.push(Output::Wake(wake));
    }

    /// Makes a change and stores it.
    fn store(&mut self, record: Record, outputs: &mut Vec<Output>) {
        let (log, bytes) = (record.log(), record.encode());
        // What can be refused, tables, was tried before.
        if self.apply(record).is_err() {
            return;
        }
        let size = &mut self.sizes[log as usize];
        if size.log + bytes.len() > TASTE_LOG_BYTES_MIN[log as usize].max(4 * size.image) {
            return self.store_image(log, outputs);
        }
        size.log += bytes.len();
        outputs.push(Output::Append(log, bytes));
    }

    fn store_image(&mut self, log: Log, outputs: &mut Vec<Output>) {
        let image = self.image(log);
        self.sizes[log as usize] = Size { log: 0, image: image.len() };
        outputs.push(Output::Replace(log, image));
    }

    /// Makes a change.
    fn apply(&mut self, record: Record) -> Result<(), DecodeError> {
        match record {
            Record::Viewing(viewing, fresh) => drop(self.learner.record(&viewing, fresh)),
            Record::Profiles(profiles) => drop(self.learner.keep_profiles(&profiles)),
            Record::OptOut(opted_out) => self.opted_out = opted_out,
            Record::Synced(synced) => self.take(*synced),
            Record::Titles(titles, mark) => {
                titles.iter().for_each(|title| self.catalog.learn(title));
                self.titles_known = mark.unwrap_or(self.titles_known);
            }
            Record::Tables(file) => {
                self.tables = Some(Tables::read(&file)?);
                self.tables_file = file;
            }
        }
        Ok(())
    }

    /// The titles for a viewer, best first.
    pub fn recommend(&self, now: Now, wish: &Wish) -> Vec<Pick> {
        let sources = Sources {
            catalog: &self.catalog,
            learner: &self.learner,
            globals: &self.globals,
            trends: self.trends(now),
        };
        recommend(&sources, wish)
    }

    /// The trends of the region, while they count.
    pub fn trends(&self, now: Now) -> Option<&Trends> {
        self.trends.as_ref().filter(|trends| trends.until_ms > now.unix.0)
    }

    /// What was learned.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The global patterns, by their ids.
    pub fn globals(&self) -> &[Pattern] {
        &self.globals
    }

    /// The titles that are known.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What left this device and the server has, by the patterns' ids.
    pub fn contributions(&self) -> &AckedPatterns {
        &self.acked
    }

    /// Whether the viewer takes no part.
    pub fn opted_out(&self) -> bool {
        self.opted_out
    }

    /// Whether what the server releases is without noise.
    pub fn not_private(&self) -> bool {
        self.not_private
    }

    /// The version of the global patterns that is here.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A viewing of a title that is known, or that comes with its genre and place.
    pub fn viewing(
        &self,
        profile: ProfileId,
        content: ContentId,
        title: Option<Title>,
        watched_permille: u16,
        finished: bool,
    ) -> Option<Viewing> {
        let title = title.or_else(|| self.catalog.title(&content))?;
        let embedding = title.vector.embedding().ok()?;
        let genre: Genre = title.genre;
        Some(Viewing { profile, content, genre, embedding, watched_permille, finished })
    }
}
