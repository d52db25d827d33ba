//! The devices of a household: what they say of themselves, and whether they are here.

use crate::auth::Principal;
use crate::error::Error;
use crate::http::Edge;
use crate::http::body::{Parameters, tagged};
use crate::http::value::{Abilities, Kind};
use crate::hub::Inside;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use omega_sync_core::household::DeviceRecord;
use omega_sync_core::id::DeviceId;
use schemars::JsonSchema;
use serde::Serialize;
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

/// `GET /api/v1/devices`.
pub(crate) async fn devices(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Error> {
    parameters.finish()?;
    let asker = principal.device;
    let list = edge.hub.call(&principal.household, move |inside| {
        inside.presence.see(&asker, inside.now);
        (Vec::new(), list(&inside))
    });
    tagged(&headers, &list.await.map_err(Error::Room)?)
}

/// The devices that described themselves or were here since the room was loaded, but none that was
/// taken off the list and has not come back.
fn list(inside: &Inside) -> Devices {
    let records = inside.room.household().devices();
    let taken_off = |device: &DeviceId| {
        records.get(device).is_some_and(|register| register.value.is_none())
            && !inside.presence.is_online(device)
    };
    let described = records.iter().map(|(device, _)| device);
    let ids: BTreeSet<&DeviceId> = described.chain(inside.presence.devices()).collect();
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
                is_online: inside.presence.is_online(id),
                last_seen: inside.presence.last_seen(id).map(|seen| seen.0),
                device_name: name,
                app_version,
                capabilities: capabilities.into(),
            }
        })
        .collect();
    Devices { total: devices.len(), devices }
}
