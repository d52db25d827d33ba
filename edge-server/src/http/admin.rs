//! What an operator's programs may change, with a token of the scope `admin` wherever they run.

use crate::aggregate::region::{REGION_PATTERN, Region};
use crate::clock::now_s;
use crate::config::TOKEN_LIFE_MAX;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::body::{JsonBody, Parameters};
use crate::http::route::Parameter;
use crate::json::schema::{self, ID_FORMAT, ID_PATTERN};
use crate::json::value::{household_id, optional, whole};
use crate::pairing::code::PairingKey;
use crate::store::access::{KnownKey, Mark, Name, Owner, Revocation, owner};
use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::{DeviceId, HouseholdId};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Latest time that may be given, in Unix seconds (the year 36812).
pub(crate) const TIME_S_MAX: u64 = 1 << 40;
/// Bytes of a token's name.
pub const TOKEN_ID_BYTES_MAX: usize = 256;

/// Which tokens count no more: one by `token_id`, or those of a `household`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = each_revocation)]
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

/// What is revoked is one token, or those of a household.
fn each_revocation(whole: &mut Schema) {
    schema::one_of(whole, |all| {
        let token = schema::variant(all, None, &["token_id"], &["ends"]);
        let household = schema::variant(all, None, &["household"], &["device_id", "not_before"]);
        vec![token, household]
    });
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

/// Revocations that a list has when nobody says how many, and at most.
const LISTED_REVOCATIONS: usize = 100;
/// Revocations that a list has at most.
pub(crate) const LISTED_REVOCATIONS_MAX: usize = 1_000;
/// What a household or device is called in a list.
const OWNER_PATTERN: &str = "^[0-9a-f]{32}$";

/// What is revoked, in a fixed order
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Revocations {
    /// The revocations
    items: Vec<ListedRevocation>,
    /// Where the next page begins: to be sent as `after`. Missing on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What counts no more: one token, or those of an owner
#[derive(Debug, Default, Serialize, JsonSchema)]
struct ListedRevocation {
    /// The token's name
    token_id: Option<String>,
    /// When it is forgotten, in Unix seconds
    ends: Option<u64>,
    /// Whose tokens: of the household's id, a line feed, and the device's id (nothing for all devices) the
    /// first 16 bytes of SHA-256, in hex. Only this digest is kept
    owner: Option<String>,
    /// Up to when, in Unix seconds
    not_before: Option<u64>,
}

impl From<Mark> for ListedRevocation {
    fn from(Mark { name, at }: Mark) -> Self {
        match name {
            Name::Token(id) => Self { token_id: Some(id), ends: Some(at), ..Self::default() },
            Name::Owner(owner) => {
                Self { owner: Some(hex(&owner)), not_before: Some(at), ..Self::default() }
            }
        }
    }
}

fn hex(owner: &Owner) -> String {
    owner.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_owner(text: &str) -> Result<Owner, &'static str> {
    const WRONG: &str = "it has 32 hex digits";
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut owner = Owner::default();
    if text.len() != 2 * owner.len() || !text.bytes().all(is_digit) {
        return Err(WRONG);
    }
    for (at, byte) in owner.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| WRONG)?;
    }
    Ok(owner)
}

/// Where a page of the list begins.
fn cursor(name: &Name) -> String {
    match name {
        Name::Token(id) => format!("token:{id}"),
        Name::Owner(owner) => format!("owner:{}", hex(owner)),
    }
}

fn read_cursor(text: &str) -> Result<Name, &'static str> {
    match text.split_once(':') {
        Some(("token", id)) => Ok(Name::Token(id.into())),
        Some(("owner", owner)) => read_owner(owner).map(Name::Owner),
        _ => Err("it is no `next` of this server"),
    }
}

/// The names of a household and of one of its devices.
struct Named {
    household: Option<HouseholdId>,
    device: Option<DeviceId>,
}

impl Named {
    fn take(parameters: &mut Parameters) -> Self {
        let household = parameters.take("household", HouseholdId::new);
        Self { household, device: parameters.take("device_id", DeviceId::new) }
    }

    /// # Errors
    /// There is a device of no household.
    fn check(&self) -> Result<(), Error> {
        match (&self.household, &self.device) {
            (None, Some(_)) => Err(Error::field("device_id", "it goes with `household`")),
            _ => Ok(()),
        }
    }
}

/// `GET /api/v1/admin/revocations`.
pub(crate) async fn revocations(
    State(edge): State<Arc<Edge>>,
    mut parameters: Parameters,
) -> Result<Json<Revocations>, Error> {
    let named = Named::take(&mut parameters);
    let limit = parameters.take("limit", |text| match text.parse() {
        Ok(limit) if (1..=LISTED_REVOCATIONS_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("it must be a number from 1 to {LISTED_REVOCATIONS_MAX}")),
    });
    let after = parameters.take("after", read_cursor);
    parameters.finish()?;
    named.check()?;
    if let Some(household) = named.household {
        let device = named.device.map(|device| owner(&household, Some(&device)));
        let own = [owner(&household, None)].into_iter().chain(device);
        let own = own.filter_map(|owner| edge.revoked.find(&Name::Owner(owner)));
        return Ok(Json(Revocations { items: own.map(Into::into).collect(), next: None }));
    }
    let limit = limit.unwrap_or(LISTED_REVOCATIONS);
    // One more tells whether there are more.
    let mut marks = edge.revoked.list(after.as_ref(), limit + 1);
    let more = marks.len() > limit;
    marks.truncate(limit);
    let next = marks.last().filter(|_| more).map(|mark| cursor(&mark.name));
    Ok(Json(Revocations { items: marks.into_iter().map(Into::into).collect(), next }))
}

/// A revocation counts no more
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TakenBack {
    /// Always true
    success: bool,
    /// Whether there was one
    existed: bool,
}

/// `DELETE /api/v1/admin/revocations`.
pub(crate) async fn take_back(
    State(edge): State<Arc<Edge>>,
    mut parameters: Parameters,
) -> Result<Json<TakenBack>, Error> {
    let named = Named::take(&mut parameters);
    let token = parameters.take("token_id", |text| Ok::<_, String>(Name::Token(text.into())));
    let listed = parameters.take("owner", read_owner).map(Name::Owner);
    parameters.finish()?;
    named.check()?;
    let own = named.household.map(|household| owner(&household, named.device.as_ref()));
    let mut names = [token, listed, own.map(Name::Owner)].into_iter().flatten();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(Error::field("", "give one of `token_id`, `owner` and `household`"));
    };
    let what = cursor(&name);
    let existed = edge.revoked.take_back(name).await?;
    tracing::info!(what, existed, "a revocation was taken back");
    Ok(Json(TakenBack { success: true, existed }))
}

/// A parameter of both that names a household.
const HOUSEHOLD: Parameter = Parameter {
    name: "household",
    about: "Whose tokens",
    required: false,
    schema: || {
        json!({
            "type": "string", "minLength": 1, "maxLength": 64, "format": ID_FORMAT,
            "pattern": ID_PATTERN,
        })
    },
};
const DEVICE: Parameter =
    Parameter { name: "device_id", about: "Of which device of the household", ..HOUSEHOLD };

/// Those of the list.
pub(crate) const LIST_PARAMETERS: &[Parameter] = &[
    HOUSEHOLD,
    DEVICE,
    Parameter {
        name: "limit",
        about: "How many at most",
        required: false,
        schema: || {
            let (usual, most) = (LISTED_REVOCATIONS, LISTED_REVOCATIONS_MAX);
            json!({"type": "integer", "minimum": 1, "maximum": most, "default": usual})
        },
    },
    Parameter {
        name: "after",
        about: "Where the page begins: `next` of the page before",
        required: false,
        schema: || json!({"type": "string", "pattern": "^(token:.*|owner:[0-9a-f]{32})$"}),
    },
];

/// Those of taking back.
pub(crate) const TAKE_BACK_PARAMETERS: &[Parameter] = &[
    HOUSEHOLD,
    DEVICE,
    Parameter {
        name: "token_id",
        about: "The token's name (`jti`)",
        required: false,
        schema: || json!({"type": "string"}),
    },
    Parameter {
        name: "owner",
        about: "Whose tokens, as the list says it",
        required: false,
        schema: || json!({"type": "string", "pattern": OWNER_PATTERN}),
    },
];

/// Which household gets a new key
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// The household
    #[serde(deserialize_with = "household_id")]
    #[schemars(with = "String", length(min = 1, max = 64))]
    household: HouseholdId,
    /// Where it is, for the tokens of devices that are paired with this key: a country (ISO 3166-1
    /// alpha-2) or a part of one
    #[serde(default, deserialize_with = "optional::region")]
    #[schemars(with = "Option<String>", regex(pattern = REGION_PATTERN))]
    region: Option<Region>,
}

/// A household's new key
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Key {
    /// The household
    household: String,
    /// Where it is, if that was said
    region: Option<String>,
    /// The key, which is told this once; the one before counts no more
    key: String,
}

/// `POST /api/v1/admin/pairing-keys`.
pub(crate) async fn renew_key(
    State(edge): State<Arc<Edge>>,
    JsonBody(request): JsonBody<KeyRequest>,
) -> Result<Response, Error> {
    edge.pairings()?;
    let (key, KeyRequest { household, region }) = (PairingKey::random()?, request);
    let named = region.as_ref().map(|region| region.as_str().into());
    let known = KnownKey { digest: key.digest(&household), region };
    edge.access.set_pairing_key(household.clone(), known).await?;
    let key = Key { household: household.as_str().into(), region: named, key: key.to_string() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(key)).into_response())
}
