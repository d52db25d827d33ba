//! The codes that a connection is closed with.

use crate::codec::DecodeError;

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $reason:literal;)*) => {
        /// Why a connection was closed: a WebSocket close code (RFC 6455, section 7.4.2, private range).
        /// 4000 to 4499: try again. 4500 to 4999: trying again would fail the same way.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum CloseCode { $($(#[$doc])* $name = $number,)* }

        impl CloseCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name, sent as the close reason.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

close_codes! {
    /// The server stops or starts anew.
    Restart = 4000, "restart";
    /// The client reads too slowly; it catches up from its cursor.
    Slow = 4001, "slow";
    /// A frame was lost or repeated.
    Resync = 4002, "resync";
    /// A stamp is too far ahead; the next handshake measures the clock.
    Drift = 4003, "drift";
    /// The server can't store at the moment.
    StorageUnavailable = 4004, "storage_unavailable";
    /// Nothing was heard for too long.
    Idle = 4005, "idle";
    /// A newer connection of this replica took over.
    Replaced = 4006, "replaced";
    /// A limit of the server is reached.
    Overloaded = 4007, "overloaded";
    /// A frame that can't be read. It may be a broken proxy, so the client comes back, more and more
    /// slowly.
    Malformed = 4008, "malformed";
    /// The device or its household sends more than its quota.
    RateLimited = 4009, "rate_limited";
    /// The token is missing, wrong or expired: fetch another.
    Unauthorized = 4010, "unauthorized";
    /// The storage is a copy or was rolled back: the replica takes a new id.
    StaleSession = 4020, "stale_session";
    /// This server does not speak that protocol version.
    VersionUnsupported = 4501, "version_unsupported";
    /// The token is for another household than the storage.
    HouseholdMismatch = 4502, "household_mismatch";
    /// A frame above [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX), or a delta above its limit.
    TooLarge = 4503, "too_large";
    /// The household was erased: the device forgets its copy.
    Erased = 4504, "erased";
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The code with that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|close| close.code() == code)
    }

    /// Whether trying again would fail the same way.
    pub fn is_final(self) -> bool {
        (4500..=4999).contains(&self.code())
    }
}

impl From<DecodeError> for CloseCode {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Version(_) => Self::VersionUnsupported,
            error if error == DecodeError::limit("FRAME_BYTES_MAX") => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}
