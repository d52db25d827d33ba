//! What an operator's programs may change, with a token of the scope `admin` wherever they run.

use crate::auth::revoked::now_s;
use crate::config::TOKEN_LIFE_MAX;
use crate::error::Error;
use crate::http::Edge;
use crate::http::body::JsonBody;
use crate::http::value::{household_id, optional, whole};
use crate::pairing::code::PairingKey;
use crate::store::access::Revocation;
use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::{DeviceId, HouseholdId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;

/// Latest time that may be given, in Unix seconds (the year 36812).
pub(crate) const TIME_S_MAX: u64 = 1 << 40;
/// Bytes of a token's name.
pub const TOKEN_ID_BYTES_MAX: usize = 256;

/// Which tokens count no more: one by `token_id`, or those of a `household`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = crate::http::schema::each_revocation)]
pub(crate) struct RevocationRequest {
    /// The token's name (`jti`)
    #[schemars(length(min = 1, max = 256))]
    token_id: Option<String>,
    /// When that token ends anyway, in Unix seconds: a year from now when it is missing
    #[serde(default, deserialize_with = "time_s")]
    #[schemars(range(max = TIME_S_MAX))]
    ends: Option<u64>,
    /// Whose tokens
    #[serde(default, deserialize_with = "optional::household")]
    #[schemars(with = "Option<String>", length(min = 1, max = 64))]
    household: Option<HouseholdId>,
    /// Of which device; of every device when it is missing
    #[serde(default, deserialize_with = "optional::device")]
    #[schemars(with = "Option<String>", length(min = 1, max = 64))]
    device_id: Option<DeviceId>,
    /// Tokens that were issued up to then, in Unix seconds, not after now: now when it is missing
    #[serde(default, deserialize_with = "time_s")]
    #[schemars(range(max = TIME_S_MAX))]
    not_before: Option<u64>,
}

fn time_s<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    whole(from, TIME_S_MAX)
}

/// What counts no more
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Revoked {
    /// Always true
    success: bool,
    /// The token's name
    token_id: Option<String>,
    /// When it is forgotten, in Unix seconds
    ends: Option<u64>,
    /// Whose tokens
    household: Option<String>,
    /// Of which device
    device_id: Option<String>,
    /// Up to when, in Unix seconds
    not_before: Option<u64>,
}

impl RevocationRequest {
    fn revocation(self) -> Result<Revocation, Error> {
        let now = now_s();
        match (self.token_id, self.household) {
            (Some(id), None) => {
                if self.device_id.is_some() || self.not_before.is_some() {
                    return Err(Error::field("token_id", "it goes with `ends` only"));
                }
                if !(1..=TOKEN_ID_BYTES_MAX).contains(&id.len()) {
                    return Err(Error::field("token_id", "it has 1 to 256 bytes"));
                }
                let ends = self.ends.unwrap_or(now + TOKEN_LIFE_MAX.as_secs());
                Ok(Revocation::Token { id, ends })
            }
            (None, Some(household)) => {
                if self.ends.is_some() {
                    return Err(Error::field("ends", "it goes with `token_id`"));
                }
                let at = self.not_before.unwrap_or(now);
                if at > now {
                    return Err(Error::field("not_before", "it may not be after now"));
                }
                Ok(Revocation::Before { household, device: self.device_id, at })
            }
            _ => Err(Error::field("", "give `token_id` or `household`")),
        }
    }
}

/// `POST /api/v1/admin/revocations`.
pub(crate) async fn revoke(
    State(edge): State<Arc<Edge>>,
    JsonBody(request): JsonBody<RevocationRequest>,
) -> Result<Json<Revoked>, Error> {
    let revocation = request.revocation()?;
    edge.revoked.revoke(revocation.clone()).await?;
    let (mut token_id, mut ends) = (None, None);
    let (mut household, mut device_id, mut not_before) = (None, None, None);
    match revocation {
        Revocation::Token { id, ends: end } => (token_id, ends) = (Some(id), Some(end)),
        Revocation::Before { household: whose, device, at } => {
            household = Some(whose.as_str().into());
            device_id = device.map(|device| device.as_str().into());
            not_before = Some(at);
        }
    }
    Ok(Json(Revoked { success: true, token_id, ends, household, device_id, not_before }))
}

/// Which household gets a new key
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// The household
    #[serde(deserialize_with = "household_id")]
    #[schemars(with = "String", length(min = 1, max = 64))]
    household: HouseholdId,
}

/// A household's new key
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Key {
    /// The household
    household: String,
    /// The key, which is told this once; the one before counts no more
    key: String,
}

/// `POST /api/v1/admin/pairing-keys`.
pub(crate) async fn renew_key(
    State(edge): State<Arc<Edge>>,
    JsonBody(request): JsonBody<KeyRequest>,
) -> Result<Response, Error> {
    edge.pairings()?;
    let (key, household) = (PairingKey::random()?, request.household);
    edge.access.set_pairing_key(household.clone(), key.digest(&household)).await?;
    let key = Key { household: household.as_str().into(), key: key.to_string() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(key)).into_response())
}
