//! Everything that is held of a household, for the household itself; and its erasure.

use crate::auth::Principal;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::body::Parameters;
use crate::http::devices::Description;
use crate::http::household::{ProgressItem, WatchlistItem};
use crate::http::route::Parameter;
use crate::json::value::State as JsonState;
use crate::store::Held;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::household::{Household, Key, Profile};
use omega_sync_core::id::{HouseholdId, ProfileId};
use omega_sync_core::operation::{Change, Operation, Progress};
use omega_sync_core::session::server::{Room, Stored};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that the server holds of a household.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Export {
    /// The household's id
    household: String,
    /// Which life of the database it is, in hex; null if it never had a commit
    epoch: Option<String>,
    /// How many deltas and offers were taken
    version: u64,
    /// Its profiles
    profiles: Vec<ExportedProfile>,
    /// Ids of profiles that were deleted, which stay so that they are never used again
    deleted_profiles: Vec<String>,
    /// What its devices say of themselves
    devices: Vec<ExportedDevice>,
    /// The installed copies that wrote or connected
    replicas: Vec<ExportedReplica>,
    /// Lists and devices that nothing is left of but that it was there: kept so that devices which
    /// were away hear of it
    gone: Vec<Gone>,
    /// The latest operations, as they came, until the next snapshot takes their place
    log: Vec<Logged>,
    /// What other parts of the server keep, by the names of their tables
    more: BTreeMap<String, Vec<Map<String, Value>>>,
}

/// A profile and its lists.
#[derive(Debug, Serialize, JsonSchema)]
struct ExportedProfile {
    /// Its id, empty for the default profile
    profile: String,
    /// Its name
    name: String,
    /// Titles to watch
    watchlist: Vec<WatchlistItem>,
    /// How far titles were watched
    progress: Vec<ProgressItem>,
    /// Titles that were taken off "continue watching"
    removed_progress: Vec<WatchlistItem>,
}

/// A device's record; null when it was taken off the list.
#[derive(Debug, Serialize, JsonSchema)]
struct ExportedDevice {
    /// As its token names it
    device_id: String,
    /// When that was said, in Unix milliseconds
    timestamp: u64,
    /// What it said
    description: Option<Description>,
}

/// An installed copy.
#[derive(Debug, Serialize, JsonSchema)]
struct ExportedReplica {
    /// Its random id, in hex
    replica: String,
    /// The stamp of the last that came from it
    hlc: String,
    /// The same in Unix milliseconds
    timestamp: u64,
}

/// Something that is not there any more.
#[derive(Debug, Serialize, JsonSchema)]
struct Gone {
    /// What it was
    what: GoneKind,
    /// The profile that it belonged to
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    profile: Option<String>,
    /// The title or device
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum GoneKind {
    Name,
    Watchlist,
    Progress,
    Device,
}

/// One operation.
#[derive(Debug, Serialize, JsonSchema)]
struct Logged {
    /// The household's version that it came with
    version: u64,
    /// Who made it, in hex
    replica: String,
    /// When, exactly
    hlc: String,
    /// When, in Unix milliseconds
    timestamp: u64,
    /// The profile that it belongs to, empty for the default one
    profile: String,
    /// What it did
    operation: LoggedKind,
    /// The title or device
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    id: Option<String>,
    /// The name that was given
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    name: Option<String>,
    /// Seconds from the start
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    position_seconds: Option<u32>,
    /// Length of the title in seconds
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    duration_seconds: Option<u32>,
    /// What the player was doing
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    state: Option<JsonState>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LoggedKind {
    Add,
    Remove,
    Progress,
    NameProfile,
    DeleteProfile,
    Device,
}

impl Export {
    /// Reads what a store holds.
    ///
    /// # Errors
    /// The core can't read it.
    pub fn read(household: &HouseholdId, held: Held) -> Result<Self, DecodeError> {
        let more = held.rows.into_iter().collect();
        let mut export = Self {
            household: household.as_str().into(),
            epoch: None,
            version: 0,
            profiles: Vec::new(),
            deleted_profiles: Vec::new(),
            devices: Vec::new(),
            replicas: Vec::new(),
            gone: Vec::new(),
            log: Vec::new(),
            more,
        };
        if let Some(stored) = held.stored {
            export.fill(household, &stored)?;
        }
        Ok(export)
    }

    fn fill(&mut self, id: &HouseholdId, stored: &Stored) -> Result<(), DecodeError> {
        let room = Room::load(id.clone(), stored)?;
        let household = room.household();
        self.epoch = Some(format!("{:016x}", stored.epoch.0));
        self.version = stored.version;
        self.profiles = household.profiles().map(|(id, shelf)| profile(id, shelf)).collect();
        self.deleted_profiles = household.deleted().map(profile_text).collect();
        let touched = room.history().since(0);
        self.gone = touched.into_keys().filter_map(|key| gone(household, key)).collect();
        let devices = household.devices().iter();
        self.devices = devices
            .map(|(device, register)| ExportedDevice {
                device_id: device.as_str().into(),
                timestamp: register.dot.timestamp.millis().0,
                description: register.value.clone().map(Into::into),
            })
            .collect();
        let mut seen: BTreeMap<_, _> = household.seen().iter().collect();
        for (replica, _) in &stored.replicas {
            seen.entry(*replica).or_insert(Timestamp::ZERO);
        }
        let replicas = seen.into_iter().map(|(replica, through)| ExportedReplica {
            replica: format!("{:016x}", replica.0),
            hlc: through.0.to_string(),
            timestamp: through.millis().0,
        });
        self.replicas = replicas.collect();
        for (version, delta) in stored.deltas()? {
            let replica = format!("{:016x}", delta.replica.0);
            let logged = delta.operations.iter().map(|one| logged(version, &replica, one));
            self.log.extend(logged);
        }
        Ok(())
    }
}

fn profile_text(id: ProfileId) -> String {
    if id == ProfileId::DEFAULT { String::new() } else { format!("{:016x}", id.0) }
}

fn profile(id: ProfileId, shelf: &Profile) -> ExportedProfile {
    let watchlist = shelf.watchlist().iter();
    let watchlist = watchlist.filter_map(|(content, dots)| {
        let last = dots.iter().max()?;
        Some(WatchlistItem::new(content, *last))
    });
    let mut progress = Vec::new();
    let mut removed_progress = Vec::new();
    for (content, register) in shelf.progress().iter() {
        match register.value {
            Some(value) => progress.push(ProgressItem::new(content, register.dot, value)),
            None => removed_progress.push(WatchlistItem::new(content, register.dot)),
        }
    }
    ExportedProfile {
        profile: profile_text(id),
        name: shelf.name().into(),
        watchlist: watchlist.collect(),
        progress,
        removed_progress,
    }
}

/// A key that has no value any more.
fn gone(household: &Household, key: Key) -> Option<Gone> {
    let shelf = |profile: ProfileId| household.profile(profile);
    let (what, profile, id) = match key {
        Key::Replica(_) | Key::Deleted(_) => return None,
        Key::Name(profile) => match shelf(profile).and_then(Profile::naming) {
            Some(_) => return None,
            None => (GoneKind::Name, Some(profile), None),
        },
        Key::Watchlist(profile, content) => {
            if shelf(profile).is_some_and(|p| !p.watchlist().dots(&content).is_empty()) {
                return None;
            }
            (GoneKind::Watchlist, Some(profile), Some(content.as_str().to_owned()))
        }
        Key::Progress(profile, content) => {
            if shelf(profile).is_some_and(|p| p.progress().get(&content).is_some()) {
                return None;
            }
            (GoneKind::Progress, Some(profile), Some(content.as_str().to_owned()))
        }
        Key::Device(device) => {
            if household.devices().get(&device).is_some() {
                return None;
            }
            (GoneKind::Device, None, Some(device.as_str().to_owned()))
        }
    };
    Some(Gone { what, profile: profile.map(profile_text), id })
}

fn logged(version: u64, replica: &str, operation: &Operation) -> Logged {
    let Operation { timestamp, profile, change } = operation;
    let mut logged = Logged {
        version,
        replica: replica.into(),
        hlc: timestamp.0.to_string(),
        timestamp: timestamp.millis().0,
        profile: profile_text(*profile),
        operation: LoggedKind::DeleteProfile,
        id: change.content().map(|content| content.as_str().into()),
        name: None,
        position_seconds: None,
        duration_seconds: None,
        state: None,
    };
    logged.operation = match change {
        Change::Add(..) => LoggedKind::Add,
        Change::Remove(..) => LoggedKind::Remove,
        Change::Progress(_, progress) => {
            if let Some(Progress { position_s, duration_s, state }) = progress {
                logged.position_seconds = Some(*position_s);
                logged.duration_seconds = Some(*duration_s);
                logged.state = Some((*state).into());
            }
            LoggedKind::Progress
        }
        Change::NameProfile(name) => {
            logged.name = Some(name.clone());
            LoggedKind::NameProfile
        }
        Change::DeleteProfile => LoggedKind::DeleteProfile,
        Change::Device(device, record) => {
            logged.id = Some(device.as_str().into());
            logged.name = record.as_ref().map(|record| record.name.clone());
            LoggedKind::Device
        }
    };
    logged
}

/// `GET /api/v1/household/export`.
pub(crate) async fn export(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    parameters: Parameters,
) -> Result<Response, Error> {
    parameters.finish()?;
    edge.hub.see(&principal).await.map_err(Error::Room)?;
    let household = &principal.household;
    let held = edge.store.export(household).await?;
    let held = held.unwrap_or(Held { stored: None, rows: Vec::new() });
    let export = Export::read(household, held).map_err(|error| {
        tracing::error!(%household, %error, "the stored household can't be read");
        Error::Room(omega_sync_core::message::CloseCode::StorageUnavailable)
    })?;
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([no_store], Json(export)).into_response())
}

/// The word that an erasure must say.
const CONFIRMATION: &str = "erase";

/// The parameter of an erasure.
pub(crate) const ERASE_PARAMETERS: &[Parameter] = &[Parameter {
    name: "confirm",
    about: "`erase`, so that nothing is erased by mistake: it can't be undone",
    required: true,
    schema: || json!({"type": "string", "enum": [CONFIRMATION]}),
}];

/// The household was erased.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Erased {
    /// Always true
    success: bool,
    /// Whether there was anything
    existed: bool,
}

/// `DELETE /api/v1/household`.
pub(crate) async fn erase(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    mut parameters: Parameters,
) -> Result<Json<Erased>, Error> {
    let confirmed = parameters.take("confirm", |text| match text {
        CONFIRMATION => Ok(()),
        _ => Err("it must be `erase`"),
    });
    parameters.finish()?;
    confirmed.ok_or_else(|| Error::field("confirm", "it must be there, and be `erase`"))?;
    // What was allowed before and is taken while the household is erased is erased with it.
    if let Some(pairings) = &edge.pairings {
        pairings.forget(&principal.household);
    }
    let existed = edge.hub.erase(&principal.household).await.map_err(Error::Room)?;
    tracing::info!(household = %principal.household, device = %principal.device, "erased");
    Ok(Json(Erased { success: true, existed }))
}
