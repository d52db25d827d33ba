//! The watchlist and the progress of a household for clients that do not run the core. The room's
//! own replica writes for them; what they are told is durable.

use crate::auth::Principal;
use crate::edge::Edge;
use crate::error::{Error, Subject};
use crate::http::body::{JsonBody, Parameters, tagged};
use crate::http::route::Parameter;
use crate::json::schema;
use crate::json::value::{
    State as JsonState, content_id, hlc, millis, profile_id, read_cursor, seconds, when,
    write_cursor,
};
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use omega_sync_core::causal::Dot;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::household::{ENTRIES_MAX, Household, Profile};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::{Intent, Progress, VoidReason};
use omega_sync_core::session::server::{Room, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Entries of a page when nobody says how many.
pub const PAGE_ENTRIES: usize = 100;
/// Entries of a page at most: all that a household can have.
pub const PAGE_ENTRIES_MAX: usize = ENTRIES_MAX;

/// Whether a title comes or goes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WatchlistOperation")]
pub(crate) enum Operation {
    Add,
    Remove,
}

/// A change of a watchlist.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchlistChange {
    /// Whether the title comes or goes
    operation: Operation,
    /// Which title
    #[serde(deserialize_with = "content_id")]
    #[schemars(schema_with = "schema::id")]
    content_id: ContentId,
    /// On whose list: the default profile's when it is missing or empty
    #[serde(default, deserialize_with = "profile_id")]
    #[schemars(schema_with = "schema::profile")]
    profile: ProfileId,
    /// When it was done, in Unix milliseconds; now when it is missing
    #[serde(default, deserialize_with = "millis")]
    #[schemars(schema_with = "schema::millis")]
    timestamp: Option<u64>,
    /// When it was done, as an answer of this server said it
    #[serde(default, deserialize_with = "hlc")]
    #[schemars(schema_with = "schema::hlc")]
    hlc: Option<Timestamp>,
}

/// The watchlist was changed, durably.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WatchlistChanged {
    /// Always true
    success: bool,
    /// What was done
    operation: Operation,
    /// With which title
    content_id: String,
    /// When, in Unix milliseconds
    timestamp: u64,
    /// When, exactly
    hlc: String,
}

/// How far a title was watched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgressUpdate {
    /// Which title
    #[serde(deserialize_with = "content_id")]
    #[schemars(schema_with = "schema::id")]
    content_id: ContentId,
    /// Seconds from the start; fractions are dropped
    #[serde(deserialize_with = "seconds")]
    #[schemars(schema_with = "schema::seconds")]
    position_seconds: u32,
    /// Length of the title in seconds, 0 when it is not known; fractions are dropped
    #[serde(deserialize_with = "seconds")]
    #[schemars(schema_with = "schema::seconds")]
    duration_seconds: u32,
    /// What the player was doing
    state: JsonState,
    /// On whose shelf: the default profile's when it is missing or empty
    #[serde(default, deserialize_with = "profile_id")]
    #[schemars(schema_with = "schema::profile")]
    profile: ProfileId,
    /// When it was watched, in Unix milliseconds; now when it is missing
    #[serde(default, deserialize_with = "millis")]
    #[schemars(schema_with = "schema::millis")]
    timestamp: Option<u64>,
    /// When it was watched, as an answer of this server said it
    #[serde(default, deserialize_with = "hlc")]
    #[schemars(schema_with = "schema::hlc")]
    hlc: Option<Timestamp>,
}

/// The progress was noted, durably.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProgressNoted {
    /// Always true
    success: bool,
    /// Of which title
    content_id: String,
    /// Seconds from the start
    position_seconds: u32,
    /// Share watched, 0 to 100
    completion_percent: u32,
    /// When, in Unix milliseconds
    timestamp: u64,
    /// When, exactly
    hlc: String,
}

/// Entries of a list, the last changed first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(crate) struct Page<T> {
    /// The entries
    items: Vec<T>,
    /// Where the next page begins: to be sent as `after`. Missing on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A title on a watchlist.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WatchlistItem {
    /// Which title
    content_id: String,
    /// When it was added last, in Unix milliseconds
    timestamp: u64,
    /// When it was added last, exactly
    hlc: String,
}

/// How far a title was watched.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProgressItem {
    /// Which title
    content_id: String,
    /// Seconds from the start
    position_seconds: u32,
    /// Length of the title in seconds, 0 when it is not known
    duration_seconds: u32,
    /// What the player was doing
    state: JsonState,
    /// Share watched, 0 to 100
    completion_percent: u32,
    /// Where to go on: the start when it was watched to the end
    resume_seconds: u32,
    /// When it was noted, in Unix milliseconds
    timestamp: u64,
    /// When it was noted, exactly
    hlc: String,
}

impl WatchlistItem {
    /// A title with its last stamp.
    pub(crate) fn new(content: &ContentId, dot: Dot) -> Self {
        Self {
            content_id: content.as_str().into(),
            timestamp: dot.timestamp.millis().0,
            hlc: dot.timestamp.0.to_string(),
        }
    }
}

impl ProgressItem {
    /// A title's progress and when it was noted.
    pub(crate) fn new(content: &ContentId, dot: Dot, progress: Progress) -> Self {
        Self {
            content_id: content.as_str().into(),
            position_seconds: progress.position_s,
            duration_seconds: progress.duration_s,
            state: progress.state.into(),
            completion_percent: progress.completion_percent(),
            resume_seconds: progress.resume_s(),
            timestamp: dot.timestamp.millis().0,
            hlc: dot.timestamp.0.to_string(),
        }
    }
}

/// `POST /api/v1/sync/watchlist`.
pub(crate) async fn change_watchlist(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    JsonBody(change): JsonBody<WatchlistChange>,
) -> Result<Json<WatchlistChanged>, Error> {
    change.carry_out(&edge, &principal).await.map(Json)
}

/// `POST /api/v1/sync/progress`.
pub(crate) async fn note_progress(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    JsonBody(update): JsonBody<ProgressUpdate>,
) -> Result<Json<ProgressNoted>, Error> {
    let ProgressUpdate { content_id, profile, timestamp, hlc, .. } = update;
    let progress = Progress {
        position_s: update.position_seconds,
        duration_s: update.duration_seconds,
        state: update.state.into(),
    };
    let at = when(timestamp, hlc);
    let known = move |_: Option<Progress>| progress;
    note(&edge, &principal, profile, content_id, at, known).await.map(Json)
}

impl WatchlistChange {
    /// Changes the watchlist.
    pub(crate) async fn carry_out(
        self,
        edge: &Edge,
        principal: &Principal,
    ) -> Result<WatchlistChanged, Error> {
        let Self { operation, content_id, profile, timestamp, hlc } = self;
        let content = content_id.clone();
        let intent = move |_: &Household| match operation {
            Operation::Add => Intent::Add(profile, content),
            Operation::Remove => Intent::Remove(profile, content),
        };
        let stamp = write(edge, principal, intent, when(timestamp, hlc)).await?;
        let (timestamp, hlc) = (stamp.millis().0, stamp.0.to_string());
        let content_id = content_id.as_str().into();
        Ok(WatchlistChanged { success: true, operation, content_id, timestamp, hlc })
    }
}

impl WatchlistChanged {
    /// When, in both forms.
    pub(crate) fn stamp(&self) -> (u64, &str) {
        (self.timestamp, &self.hlc)
    }
}

impl ProgressNoted {
    /// When, in both forms.
    pub(crate) fn stamp(&self) -> (u64, &str) {
        (self.timestamp, &self.hlc)
    }
}

/// Notes progress, given what is known of the title.
pub(crate) async fn note(
    edge: &Edge,
    principal: &Principal,
    profile: ProfileId,
    content_id: ContentId,
    at: Option<Timestamp>,
    progress: impl FnOnce(Option<Progress>) -> Progress + Send + 'static,
) -> Result<ProgressNoted, Error> {
    let content = content_id.clone();
    let (tell, told) = oneshot::channel();
    let intent = move |household: &Household| {
        let shelf = household.profile(profile);
        let known = shelf.and_then(|shelf| shelf.progress().get(&content)?.value);
        let progress = progress(known);
        // Who asked may have gone.
        let _ = tell.send(progress);
        Intent::Progress(profile, content, Some(progress))
    };
    let stamp = write(edge, principal, intent, at).await?;
    let progress = told.await.map_err(|_| Error::Internal)?;
    Ok(ProgressNoted {
        success: true,
        content_id: content_id.as_str().into(),
        position_seconds: progress.position_s,
        completion_percent: progress.completion_percent(),
        timestamp: stamp.millis().0,
        hlc: stamp.0.to_string(),
    })
}

/// Carries an intent out in the household's room; the answer comes when it is durable.
async fn write(
    edge: &Edge,
    principal: &Principal,
    intent: impl FnOnce(&Household) -> Intent + Send + 'static,
    at: Option<Timestamp>,
) -> Result<Timestamp, Error> {
    let (device, region) = (principal.device.clone(), principal.region.clone());
    let written = edge.hub.call(&principal.household, move |mut view| {
        view.locate(region);
        view.presence.see(&device, view.now);
        let intent = intent(view.room.household());
        match view.room.write(view.now, intent, at) {
            Ok(Written { timestamp, outputs }) => (outputs, Ok(timestamp)),
            Err(refusal) => (Vec::new(), Err(Error::of_refusal(refusal, Subject::Title))),
        }
    });
    written.await.map_err(Error::Room)?
}

/// `GET /api/v1/watchlist`.
pub(crate) async fn watchlist(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Error> {
    let wanted = Wanted::read(parameters)?;
    let page = read(&edge, &principal, wanted, |shelf, wanted| {
        let last = |dots: &[Dot]| dots.iter().max().copied();
        let entries = shelf.watchlist().iter();
        let entries = entries.filter_map(|(content, dots)| Some((last(dots)?, content)));
        wanted.page(entries, |(dot, content)| WatchlistItem::new(content, dot))
    });
    tagged(&headers, &page.await?)
}

/// `GET /api/v1/progress`.
pub(crate) async fn progress(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Error> {
    let wanted = Wanted::read(parameters)?;
    let page = read(&edge, &principal, wanted, |shelf, wanted| {
        let entries = shelf
            .progress()
            .iter()
            .filter_map(|(content, register)| Some((register.dot, (content, register.value?))));
        wanted.page(entries, |(dot, (content, progress))| ProgressItem::new(content, dot, progress))
    });
    tagged(&headers, &page.await?)
}

/// Reads a profile's shelf in the household's room; what is read is durable.
async fn read<T: Send + 'static>(
    edge: &Edge,
    principal: &Principal,
    wanted: Wanted,
    work: impl FnOnce(&Profile, &Wanted) -> T + Send + 'static,
) -> Result<T, Error> {
    let device = principal.device.clone();
    let read = edge.hub.call(&principal.household, move |view| {
        view.presence.see(&device, view.now);
        let shelf = shelf(view.room, wanted.profile);
        (Vec::new(), shelf.map(|shelf| work(shelf, &wanted)))
    });
    read.await.map_err(Error::Room)?
}

fn shelf(room: &Room, profile: ProfileId) -> Result<&Profile, Error> {
    let household = room.household();
    household.profile(profile).ok_or_else(|| match household.is_deleted(profile) {
        true => Error::Refused(VoidReason::ProfileDeleted),
        false => Error::Refused(VoidReason::ProfileUnknown),
    })
}

/// The parameters of a list.
pub(crate) const PAGE_PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "profile",
        about: "Whose list: the default profile's when it is missing or empty",
        required: false,
        schema: || json!({"type": "string", "pattern": "^([0-9a-fA-F]{16})?$"}),
    },
    Parameter {
        name: "limit",
        about: "How many entries at most",
        required: false,
        schema: || {
            json!({
                "type": "integer", "minimum": 1, "maximum": PAGE_ENTRIES_MAX,
                "default": PAGE_ENTRIES,
            })
        },
    },
    Parameter {
        name: "after",
        about: "Where the page begins: `next` of the page before",
        required: false,
        schema: || json!({"type": "string", "pattern": "^[0-9a-fA-F]{32}$"}),
    },
];

/// Which part of a list is asked for.
struct Wanted {
    profile: ProfileId,
    limit: usize,
    after: Option<Dot>,
}

impl Wanted {
    fn read(mut parameters: Parameters) -> Result<Self, Error> {
        let profile = parameters.take("profile", ProfileId::new).unwrap_or_default();
        let limit = parameters.take("limit", |text| match text.parse() {
            Ok(limit) if (1..=PAGE_ENTRIES_MAX).contains(&limit) => Ok(limit),
            _ => Err(format!("it must be a number from 1 to {PAGE_ENTRIES_MAX}")),
        });
        let after = parameters.take("after", read_cursor);
        parameters.finish()?;
        Ok(Self { profile, limit: limit.unwrap_or(PAGE_ENTRIES), after })
    }

    /// The entries asked for, the last changed first.
    fn page<E: Copy, T>(
        &self,
        entries: impl Iterator<Item = (Dot, E)>,
        item: impl FnMut((Dot, E)) -> T,
    ) -> Page<T> {
        let wanted = entries.filter(|(dot, _)| self.after.is_none_or(|after| *dot < after));
        let mut entries: Vec<(Dot, E)> = wanted.collect();
        entries.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        let next = entries.last().filter(|_| more).map(|(dot, _)| write_cursor(*dot));
        Page { items: entries.into_iter().map(item).collect(), next }
    }
}
