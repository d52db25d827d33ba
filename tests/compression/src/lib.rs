//! The bodies that devices and server of a household really send, with what they say in two plain
//! forms, for the measurement `npm run bench -- compression`.
//!
//! A trace is replayed by the core's own [`Client`] and [`Room`] on a network that loses nothing,
//! at the trace's own time, and their frames are taken as they pass. A body is a frame without its
//! first byte.
//!
//! [`Client`]: omega_sync_core::session::client::Client
//! [`Room`]: omega_sync_core::session::server::Room

pub mod home;
pub mod record;
pub mod schedule;
pub mod trace;

use record::Record;

/// What a body was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A device of the household, described by itself, up. Every trace has the same four devices,
    /// so a trained dictionary knows them by heart, as it would not know those of real households.
    /// Hence they are a kind apart; of the others only the snapshot has them too.
    DescribeUp,
    /// Any other operation of a device that is online, up.
    OneUp,
    /// Ten operations that waited, up at once.
    TenUp,
    /// What a device did in a day offline, up.
    DayUp,
    /// What the others did meanwhile, down.
    DayDown,
    /// Everything, to a new device at the trace's end.
    Snapshot,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::OneUp, Self::TenUp, Self::DayUp, Self::DayDown, Self::Snapshot, Self::DescribeUp];

    /// Its name in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::DescribeUp => "describe_up",
            Self::OneUp => "one_up",
            Self::TenUp => "ten_up",
            Self::DayUp => "day_up",
            Self::DayDown => "day_down",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A body and what it says.
#[derive(Debug, Clone)]
pub struct Body {
    /// As it was sent.
    pub bytes: Vec<u8>,
    /// Its content, for the plain forms.
    pub records: Vec<Record>,
}
