//! What a device says of itself, as JSON has it: what kind it is, and what it can show, play and be told.

use crate::json::value::whole;
use omega_sync_core::operation::{Capabilities, DeviceType, Resolution};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DeviceType")]
pub(crate) enum Kind {
    Tv,
    Phone,
    Tablet,
    Computer,
    Other,
}

/// The largest picture that a device can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Resolution")]
enum Picture {
    #[default]
    Sd,
    Hd,
    FullHd,
    #[serde(rename = "4k")]
    UltraHd,
    #[serde(rename = "8k")]
    EightK,
}

/// What a device can show, play and be told. What is left out it can not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Capabilities")]
pub(crate) struct Abilities {
    /// The largest picture
    max_resolution: Picture,
    /// HDR formats
    hdr: Hdr,
    /// Audio codecs
    audio: Audio,
    /// Video codecs
    video: Video,
    /// Takes commands of other devices
    remote_controllable: bool,
    /// Can send what it plays to another device
    can_cast: bool,
    /// Diagonal in inches, 0 when not known
    #[serde(deserialize_with = "inches")]
    #[schemars(range(min = 0, max = 255))]
    screen_inches: u8,
}

fn inches<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let none = || D::Error::custom("null is no whole number: 0 stands for one that is not known");
    let inches = whole(from, u8::MAX.into())?.ok_or_else(none)?;
    u8::try_from(inches).map_err(D::Error::custom)
}

/// A set of names, in the core a bit for each.
macro_rules! names {
    ($($(#[$about:meta])* $set:ident: $names:ident),*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        struct $set(u8);

        impl Serialize for $set {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let named = Capabilities::$names.iter().enumerate();
                let set = named.filter(|(at, _)| self.0 >> at & 1 == 1).map(|(_, name)| name);
                to.collect_seq(set)
            }
        }

        impl<'de> Deserialize<'de> for $set {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let known = &Capabilities::$names;
                let said = Vec::<String>::deserialize(from)?;
                let bits = said.iter().try_fold(0, |bits, name| {
                    let at = known.iter().position(|known| known == name);
                    at.map(|at| bits | 1 << at).ok_or_else(|| {
                        D::Error::custom(format!("names are {}", known.join(", ")))
                    })
                });
                bits.map(Self)
            }
        }

        impl JsonSchema for $set {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($set).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "array", "items": {"enum": Capabilities::$names}})
            }
        }
    )*};
}

names! {
    /// HDR formats.
    Hdr: HDR,
    /// Audio codecs.
    Audio: AUDIO,
    /// Video codecs.
    Video: VIDEO
}

impl From<DeviceType> for Kind {
    fn from(kind: DeviceType) -> Self {
        match kind {
            DeviceType::Tv => Self::Tv,
            DeviceType::Phone => Self::Phone,
            DeviceType::Tablet => Self::Tablet,
            DeviceType::Computer => Self::Computer,
            DeviceType::Other => Self::Other,
        }
    }
}

impl From<Kind> for DeviceType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Tv => Self::Tv,
            Kind::Phone => Self::Phone,
            Kind::Tablet => Self::Tablet,
            Kind::Computer => Self::Computer,
            Kind::Other => Self::Other,
        }
    }
}

impl From<Capabilities> for Abilities {
    fn from(from: Capabilities) -> Self {
        Self {
            max_resolution: match from.resolution {
                Resolution::Sd => Picture::Sd,
                Resolution::Hd => Picture::Hd,
                Resolution::FullHd => Picture::FullHd,
                Resolution::UltraHd => Picture::UltraHd,
                Resolution::EightK => Picture::EightK,
            },
            hdr: Hdr(from.hdr),
            audio: Audio(from.audio),
            video: Video(from.video),
            remote_controllable: from.remote_controllable,
            can_cast: from.can_cast,
            screen_inches: from.screen_inches,
        }
    }
}

impl From<Abilities> for Capabilities {
    fn from(from: Abilities) -> Self {
        Self {
            resolution: match from.max_resolution {
                Picture::Sd => Resolution::Sd,
                Picture::Hd => Resolution::Hd,
                Picture::FullHd => Resolution::FullHd,
                Picture::UltraHd => Resolution::UltraHd,
                Picture::EightK => Resolution::EightK,
            },
            hdr: from.hdr.0,
            audio: from.audio.0,
            video: from.video.0,
            remote_controllable: from.remote_controllable,
            can_cast: from.can_cast,
            screen_inches: from.screen_inches,
        }
    }
}
