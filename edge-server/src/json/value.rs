//! Values as JSON says them, each with its bounds: read at the border into the core's own types.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::id::{ContentId, DeviceId, HouseholdId, ProfileId, ReplicaId};
use omega_sync_core::operation::PlayState;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Latest time that a stamp can have, in Unix milliseconds (the year 6429).
pub(crate) const MILLIS_MAX: u64 = 1 << 47;

/// Digits of a full timestamp at most (the year 2453).
const HLC_DIGITS_MAX: usize = 18;

/// Reads a content id.
pub(crate) fn content_id<'de, D: Deserializer<'de>>(from: D) -> Result<ContentId, D::Error> {
    let text = String::deserialize(from)?;
    ContentId::new(&text).map_err(D::Error::custom)
}

/// Reads a device id.
pub(crate) fn device_id<'de, D: Deserializer<'de>>(from: D) -> Result<DeviceId, D::Error> {
    let text = String::deserialize(from)?;
    DeviceId::new(&text).map_err(D::Error::custom)
}

/// Reads a household id.
pub(crate) fn household_id<'de, D: Deserializer<'de>>(from: D) -> Result<HouseholdId, D::Error> {
    let text = String::deserialize(from)?;
    HouseholdId::new(&text).map_err(D::Error::custom)
}

/// Reads a profile id.
pub(crate) fn profile_id<'de, D: Deserializer<'de>>(from: D) -> Result<ProfileId, D::Error> {
    let text = String::deserialize(from)?;
    ProfileId::new(&text).map_err(D::Error::custom)
}

/// Reads seconds; fractions are dropped.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked_seconds(f64::deserialize(from)?)
}

fn checked_seconds<E: serde::de::Error>(number: f64) -> Result<u32, E> {
    if (0.0..=f64::from(u32::MAX)).contains(&number) {
        Ok(number as u32)
    } else {
        Err(E::custom(format!("{number} is not from 0 to {}", u32::MAX)))
    }
}

/// Reads Unix milliseconds; null is none.
pub(crate) fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    whole(from, MILLIS_MAX)
}

/// Reads a whole number up to a bound, which may be written as `5.0`; null is none.
pub(crate) fn whole<'de, D: Deserializer<'de>>(from: D, max: u64) -> Result<Option<u64>, D::Error> {
    match Option::<f64>::deserialize(from)? {
        // All bounds are below 2^53, up to where every whole number is one of these.
        Some(number) if number.fract() != 0.0 || !(0.0..=max as f64).contains(&number) => {
            Err(D::Error::custom(format!("{number} is no whole number from 0 to {max}")))
        }
        number => Ok(number.map(|number| number as u64)),
    }
}

/// Reads a full timestamp; null is none.
pub(crate) fn hlc<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let plain = text.len() <= HLC_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain && !text.starts_with('0') => Ok(Some(Timestamp(number))),
        _ => Err(D::Error::custom("it is no timestamp of this server")),
    }
}

/// The time that was given, the more exact one if both are.
pub(crate) fn when(timestamp: Option<u64>, hlc: Option<Timestamp>) -> Option<Timestamp> {
    hlc.or(timestamp.map(|millis| Timestamp::new(UnixMillis(millis), 0)))
}

/// Reads seconds, an id or a region; null is none.
pub(crate) mod optional {
    use super::{ContentId, Deserialize, Deserializer, DeviceId, HouseholdId, checked_seconds};
    use crate::aggregate::region::Region;
    use serde::de::Error as _;

    pub(crate) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        Option::<f64>::deserialize(from)?.map(checked_seconds).transpose()
    }

    pub(crate) fn content<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ContentId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| ContentId::new(&text).map_err(D::Error::custom)).transpose()
    }

    pub(crate) fn device<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DeviceId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| DeviceId::new(&text).map_err(D::Error::custom)).transpose()
    }

    pub(crate) fn household<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<HouseholdId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| HouseholdId::new(&text).map_err(D::Error::custom)).transpose()
    }

    pub(crate) fn region<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Region>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| Region::new(&text).map_err(D::Error::custom)).transpose()
    }
}

/// What the player was doing.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PlayState")]
pub(crate) enum State {
    Playing,
    Paused,
    Stopped,
    Finished,
}

impl From<State> for PlayState {
    fn from(state: State) -> Self {
        match state {
            State::Playing => Self::Playing,
            State::Paused => Self::Paused,
            State::Stopped => Self::Stopped,
            State::Finished => Self::Finished,
        }
    }
}

impl From<PlayState> for State {
    fn from(state: PlayState) -> Self {
        match state {
            PlayState::Playing => Self::Playing,
            PlayState::Paused => Self::Paused,
            PlayState::Stopped => Self::Stopped,
            PlayState::Finished => Self::Finished,
        }
    }
}

/// The place in a list after which a page begins: the dot of the last entry before it.
pub(crate) fn write_cursor(dot: Dot) -> String {
    format!("{:016x}{:016x}", dot.timestamp.0, dot.replica.0)
}

/// Reads what [`write_cursor`] wrote.
pub(crate) fn read_cursor(text: &str) -> Result<Dot, &'static str> {
    let part = |at: usize| {
        let digits = text.get(at..at + 16).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
    };
    match (part(0), part(16), text.len()) {
        (Some(stamp), Some(replica), 32) => {
            Ok(Dot { timestamp: Timestamp(stamp), replica: ReplicaId(replica) })
        }
        _ => Err("it is no `next` of this server"),
    }
}
