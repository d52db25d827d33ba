//! What happens to taste on a device, and what it wants done: the whole border between it and the world.

use super::record::Log;
use crate::id::ProfileId;
use crate::pattern::Quality;
use crate::pattern::catalog::Title;
use crate::pattern::exchange::{ANSWER_BYTES, BATCH_BYTES, CAP_BYTES_MAX, CAP_BYTES_MIN};
use crate::pattern::learner::Viewing;
use crate::pattern::message::Floor;

/// Shortest and longest time between two syncs unless told otherwise, in milliseconds.
pub const INTERVAL_MS: (u64, u64) = (300_000, 900_000);
/// The shortest interval that can be asked for, in milliseconds.
pub const INTERVAL_MS_MIN: u64 = 1_000;
/// The longest interval that can be asked for: a week, in milliseconds.
pub const INTERVAL_MS_MAX: u64 = 604_800_000;

/// What the app may choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which patterns may leave.
    pub quality: Quality,
    /// How exact they are when they do.
    pub floor: Floor,
    /// Bytes of patterns in one request.
    pub batch_bytes: u32,
    /// Bytes of one answer.
    pub answer_bytes: u32,
    /// The time to the next sync is drawn between these, in milliseconds.
    pub interval_ms: (u64, u64),
    /// Whether titles come from the server's feed too.
    pub wants_titles: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quality: Quality::default(),
            floor: Floor::default(),
            batch_bytes: BATCH_BYTES,
            answer_bytes: ANSWER_BYTES,
            interval_ms: INTERVAL_MS,
            wants_titles: true,
        }
    }
}

impl Settings {
    /// Whether all is within the bounds.
    pub fn is_valid(&self) -> bool {
        let caps = CAP_BYTES_MIN..=CAP_BYTES_MAX;
        let (least, most) = self.interval_ms;
        caps.contains(&self.batch_bytes)
            && caps.contains(&self.answer_bytes)
            && least >= INTERVAL_MS_MIN
            && (least..=INTERVAL_MS_MAX).contains(&most)
            && self.quality.success_permille <= 1_000
    }
}

/// What happens.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody watched something.
    Viewed(Viewing),
    /// The app tells of titles.
    Titles(Vec<Title>),
    /// The household has only these profiles.
    Profiles(&'a [ProfileId]),
    /// This one was deleted; of others nothing is said.
    ProfileDeleted(ProfileId),
    /// The viewer takes no part in learning across households, or does again.
    OptOut(bool),
    /// A file of tables was fetched.
    Tables(Vec<u8>),
    /// The household's connection is up to date: requests may leave.
    Connected,
    /// The connection is gone, and what was on its way with it.
    Disconnected,
    /// An answer arrived.
    Frame(&'a [u8]),
    /// The app wants to sync now.
    SyncNow,
    /// The time of the last [`Output::Wake`] has come.
    Woke,
}

/// What looks different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Learned or global patterns, or trends: recommendations may differ.
    Taste,
    /// What titles are known.
    Titles,
    /// What left this device, or whether anything may.
    Contributions,
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both ends know what they should.
    Done,
    /// The server wants to be left alone for a while.
    RateLimited,
    /// No answer, one that can't be read, or a connection that broke.
    Failed,
    /// The tables are missing: they were asked for.
    NoTables,
}

impl Ending {
    /// The stable name that apps see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::RateLimited => "rate_limited",
            Self::Failed => "failed",
            Self::NoTables => "no_tables",
        }
    }
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append a record to a log.
    Append(Log, Vec<u8>),
    /// Replace all of a log by this image.
    Replace(Log, Vec<u8>),
    /// Send a frame.
    Send(Vec<u8>),
    /// Fetch the tables with this id and hand them in.
    FetchTables(u32),
    /// Something looks different.
    Changed(Changed),
    /// A sync ended.
    Synced(Ending),
    /// The server refused a batch for good: so many patterns.
    Refused(usize),
    /// Come back after this many milliseconds; an earlier wish is void.
    Wake(u64),
}
