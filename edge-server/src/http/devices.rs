//! The devices of a household: what they say of themselves, whether they are here, and what one tells
//! another to do.

use crate::auth::Principal;
use crate::clock::now;
use crate::dispatch::{Known, Sent};
use crate::edge::Edge;
use crate::error::{Error, Subject};
use crate::http::abilities::{Abilities, Kind};
use crate::http::body::{JsonBody, Parameters, tagged};
use crate::json::command::{CommandBody, Status};
use crate::json::schema;
use crate::json::value::{content_id, device_id, optional, profile_id};
use crate::room::message::RoomView;
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use omega_sync_core::command::{Handoff, Request};
use omega_sync_core::id::{ContentId, DeviceId, ProfileId};
use omega_sync_core::operation::{DEVICE_TEXT_BYTES_MAX, DeviceRecord, Intent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All devices of a household.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Devices {
    /// The devices, in the order of their ids
    devices: Vec<Device>,
    /// How many there are
    total: usize,
}

/// A device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Device {
    /// As its token names it
    device_id: String,
    /// What kind of device it is
    device_type: Kind,
    /// What it runs on; empty when it did not say
    platform: String,
    /// Whether it has a connection
    is_online: bool,
    /// When it was heard of last, in Unix milliseconds; null when the server does not remember
    last_seen: Option<u64>,
    /// What people call it; empty when it has no name
    device_name: String,
    /// The version of its app; empty when it did not say
    app_version: String,
    /// What it can do
    capabilities: Abilities,
}

/// What a device says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Description {
    /// What kind of device it is
    device_type: Kind,
    /// What it runs on; empty when it did not say
    platform: String,
    /// What people call it; empty when it has no name
    device_name: String,
    /// The version of its app; empty when it did not say
    app_version: String,
    /// What it can do
    capabilities: Abilities,
}

impl From<DeviceRecord> for Description {
    fn from(record: DeviceRecord) -> Self {
        let DeviceRecord { name, device_type, platform, app_version, capabilities } = record;
        Self {
            device_type: device_type.into(),
            platform,
            device_name: name,
            app_version,
            capabilities: capabilities.into(),
        }
    }
}

/// `GET /api/v1/devices`.
pub(crate) async fn devices(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Error> {
    parameters.finish()?;
    let paired = paired(&edge, &principal).await?;
    let asker = principal.device;
    let list = edge.hub.call(&principal.household, move |view| {
        view.presence.see(&asker, view.now);
        (Vec::new(), list(&view, &paired))
    });
    tagged(&headers, &list.await.map_err(Error::Room)?)
}

/// The devices that are paired.
async fn paired(edge: &Edge, principal: &Principal) -> Result<BTreeSet<DeviceId>, Error> {
    Ok(edge.access.paired(principal.household.clone(), now().0).await?)
}

/// The devices that described themselves, were here or are paired, but none that was taken off the list
/// and has not come back.
fn list(view: &RoomView, paired: &BTreeSet<DeviceId>) -> Devices {
    let records = view.room.household().devices();
    let taken_off = |device: &DeviceId| {
        let record = records.get(device).filter(|register| register.value.is_none());
        record.is_some_and(|removed| {
            let seen = view.presence.last_seen(device);
            let came_back = seen.is_some_and(|seen| seen > removed.dot.timestamp.millis());
            !came_back && !view.presence.is_online(device) && !paired.contains(device)
        })
    };
    let described = records.iter().map(|(device, _)| device);
    let ids: BTreeSet<&DeviceId> = described.chain(view.presence.devices()).chain(paired).collect();
    let ids = ids.into_iter().filter(|device| !taken_off(device));
    let devices: Vec<Device> = ids
        .map(|id| {
            let record = records.get(id).and_then(|register| register.value.clone());
            let DeviceRecord { name, device_type, platform, app_version, capabilities } =
                record.unwrap_or_default();
            Device {
                device_id: id.as_str().into(),
                device_type: device_type.into(),
                platform,
                is_online: view.presence.is_online(id),
                last_seen: view.presence.last_seen(id).map(|seen| seen.0),
                device_name: name,
                app_version,
                capabilities: capabilities.into(),
            }
        })
        .collect();
    Devices { total: devices.len(), devices }
}

/// What is to be different about a device; what is left out or null stays as it is. All but the name a device
/// says of itself only
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceChange {
    /// What people call it, 64 bytes at most
    #[schemars(length(max = 64))]
    device_name: Option<String>,
    /// What kind of device it is
    device_type: Option<Kind>,
    /// What it runs on, 64 bytes at most
    #[schemars(length(max = 64))]
    platform: Option<String>,
    /// The version of its app, 64 bytes at most
    #[schemars(length(max = 64))]
    app_version: Option<String>,
    /// What it can do, all of it
    capabilities: Option<Abilities>,
}

impl DeviceChange {
    /// Whether it says more than a name.
    fn describes(&self) -> bool {
        let texts = self.platform.is_some() || self.app_version.is_some();
        texts || self.device_type.is_some() || self.capabilities.is_some()
    }

    fn check(&self) -> Result<(), Error> {
        for (field, text) in [
            ("device_name", &self.device_name),
            ("platform", &self.platform),
            ("app_version", &self.app_version),
        ] {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > DEVICE_TEXT_BYTES_MAX {
                let detail = format!("it has {bytes} bytes and may have {DEVICE_TEXT_BYTES_MAX}");
                return Err(Error::field(field, detail));
            }
        }
        Ok(())
    }

    fn apply(self, known: DeviceRecord) -> DeviceRecord {
        DeviceRecord {
            name: self.device_name.unwrap_or(known.name),
            device_type: self.device_type.map_or(known.device_type, Into::into),
            platform: self.platform.unwrap_or(known.platform),
            app_version: self.app_version.unwrap_or(known.app_version),
            capabilities: self.capabilities.map_or(known.capabilities, Into::into),
        }
    }

    /// Changes a device of the asker's household.
    pub(crate) async fn carry_out(
        self,
        edge: &Edge,
        principal: &Principal,
        device: DeviceId,
    ) -> Result<DeviceChanged, Error> {
        self.check()?;
        if self.describes() && device != principal.device {
            return Err(Error::DeviceMismatch);
        }
        let is_paired = paired(edge, principal).await?.contains(&device);
        let record = |known: Option<DeviceRecord>| Some(self.apply(known.unwrap_or_default()));
        change(edge, principal, device, is_paired, record).await
    }
}

/// A device is as was wanted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceChanged {
    /// Always true
    success: bool,
    /// Which device
    device_id: String,
}

/// `PATCH /api/v1/devices/{id}`.
pub(crate) async fn describe(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    JsonBody(change): JsonBody<DeviceChange>,
) -> Result<Json<DeviceChanged>, Error> {
    change.carry_out(&edge, &principal, device_of(&id)?).await.map(Json)
}

/// `DELETE /api/v1/devices/{id}`. Its tokens count no more before it is off the list, so that it can't
/// come back meanwhile.
pub(crate) async fn forget(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<DeviceChanged>, Error> {
    let device = device_of(&id)?;
    let pairings = edge.pairings.as_ref();
    // Or it would come in with what was allowed.
    let allowed = pairings.is_some_and(|all| all.is_allowed(&principal.household, &device));
    let is_paired = allowed || paired(&edge, &principal).await?.contains(&device);
    let wanted = device.clone();
    let known = edge.hub.call(&principal.household, move |view| {
        (Vec::new(), is_paired || is_known(&view, &wanted))
    });
    if !known.await.map_err(Error::Room)? {
        return Err(Error::DeviceUnknown);
    }
    // Also of one that was never seen here: a token may be older than what is remembered.
    edge.revoked.forget(&principal.household, &device).await?;
    edge.aggregate.forget(&principal.household, &device).await?;
    change(&edge, &principal, device, true, |_| None).await.map(Json)
}

fn device_of(id: &str) -> Result<DeviceId, Error> {
    DeviceId::new(id).map_err(|error| Error::field("id", error.to_string()))
}

fn is_known(view: &RoomView, device: &DeviceId) -> bool {
    let record = view.room.household().devices().get(device);
    let described = record.is_some_and(|register| register.value.is_some());
    described || view.presence.last_seen(device).is_some()
}

/// Puts another record in the place of a device's, if it is known here or otherwise; without one the
/// device is forgotten.
async fn change(
    edge: &Edge,
    principal: &Principal,
    device: DeviceId,
    is_known_otherwise: bool,
    record: impl FnOnce(Option<DeviceRecord>) -> Option<DeviceRecord> + Send + 'static,
) -> Result<DeviceChanged, Error> {
    let (device_id, asker) = (device.as_str().to_owned(), principal.device.clone());
    let changed = edge.hub.call(&principal.household, move |view| {
        view.presence.see(&asker, view.now);
        if !is_known_otherwise && !is_known(&view, &device) {
            return (Vec::new(), Err(Error::DeviceUnknown));
        }
        let known = view.room.household().devices().get(&device);
        let known = known.and_then(|register| register.value.clone());
        let (was_there, record) = (known.is_some(), record(known));
        if record.is_none() {
            view.presence.forget(&device);
        }
        if record.is_none() && !was_there {
            return (Vec::new(), Ok(()));
        }
        let intent = Intent::DescribeDevice(device, record);
        match view.room.write(view.now, intent, None) {
            Ok(written) => (written.outputs, Ok(())),
            Err(refusal) => (Vec::new(), Err(Error::of_refusal(refusal, Subject::Device))),
        }
    });
    changed.await.map_err(Error::Room)??;
    Ok(DeviceChanged { success: true, device_id })
}

/// A command was sent.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Commanded {
    /// Its name
    pub(crate) command_id: String,
    /// What became of it
    pub(crate) status: Status,
}

/// `POST /api/v1/devices/{id}/commands`.
pub(crate) async fn command(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    JsonBody(command): JsonBody<CommandBody>,
) -> Result<Response, Error> {
    let target = device_of(&id)?;
    let commanded = command_device(&edge, &principal, target, command).await?;
    Ok((StatusCode::ACCEPTED, Json(commanded)).into_response())
}

/// Sends a command, and waits until it is known what became of it.
pub(crate) async fn command_device(
    edge: &Edge,
    principal: &Principal,
    target: DeviceId,
    command: CommandBody,
) -> Result<Commanded, Error> {
    let sent = send(edge, principal, target, Request::Command(command.checked()?)).await?;
    let command_id = sent.id();
    Ok(Commanded { command_id, status: Status::of(sent.outcome().await)? })
}

async fn send(
    edge: &Edge,
    principal: &Principal,
    target: DeviceId,
    request: Request,
) -> Result<Sent, Error> {
    let from = principal.device.clone();
    let sent = edge.hub.call(&principal.household, move |view| {
        let RoomView { room, presence, dispatch, orders, now, .. } = view;
        presence.see(&from, now);
        let known = Known { household: room.household(), presence };
        (Vec::new(), dispatch.send(&from, &target, request, known, orders))
    });
    sent.await.map_err(Error::Room)?
}

/// A title is to go on on another device.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandoffRequest {
    /// On which device
    #[serde(deserialize_with = "device_id")]
    #[schemars(schema_with = "schema::id")]
    target_device_id: DeviceId,
    /// Which title
    #[serde(deserialize_with = "content_id")]
    #[schemars(schema_with = "schema::id")]
    content_id: ContentId,
    /// On whose shelf its position is: the default profile's when it is missing or empty
    #[serde(default, deserialize_with = "profile_id")]
    #[schemars(schema_with = "schema::profile")]
    profile: ProfileId,
    /// From where; when it is missing, from where the household knows the title to be
    #[serde(default, deserialize_with = "optional::seconds")]
    #[schemars(schema_with = "schema::optional_seconds")]
    position_seconds: Option<u32>,
}

/// A title goes on on another device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HandedOff {
    /// Always true
    success: bool,
    /// On which device
    target_device_id: String,
    /// Which title
    content_id: String,
    /// From where
    pub(crate) position_seconds: u32,
}

/// `POST /api/v1/devices/handoff`.
pub(crate) async fn handoff(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    JsonBody(wanted): JsonBody<HandoffRequest>,
) -> Result<Json<HandedOff>, Error> {
    hand_off_title(&edge, &principal, wanted).await.map(Json)
}

/// Hands a title off; it has succeeded when the target has the command.
pub(crate) async fn hand_off_title(
    edge: &Edge,
    principal: &Principal,
    wanted: HandoffRequest,
) -> Result<HandedOff, Error> {
    let HandoffRequest { target_device_id, content_id, profile, position_seconds } = wanted;
    let (target, content) = (target_device_id.clone(), content_id.clone());
    let handoff = Handoff { profile, content, position_s: position_seconds };
    let sent = send(edge, principal, target, Request::Handoff(handoff)).await?;
    let outcome = sent.outcome().await;
    match Status::of(outcome)? {
        Status::Expired => Err(Error::Expired),
        Status::Delivered => Ok(HandedOff {
            success: true,
            target_device_id: target_device_id.as_str().into(),
            content_id: content_id.as_str().into(),
            position_seconds: outcome.position_s.unwrap_or_default(),
        }),
    }
}
