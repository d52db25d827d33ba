//! What can go wrong for one request or socket, and the one place that says which HTTP status and
//! which close code that is; and why the process can't do what it was started for.

use crate::auth::{AuthError, SecretError};
use crate::store::{OpenError, StoreError};
use omega_sync_core::codec::DecodeError;
use omega_sync_core::message::{CloseCode, SUBPROTOCOL};
use omega_sync_core::operation::VoidReason;
use omega_sync_core::session::server::Refusal;
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

macro_rules! kinds {
    ($($name:ident = $status:literal $code:literal $meaning:literal,)*) => {
        /// The kinds of errors that an HTTP answer tells apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $meaning] $name,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The stable name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

kinds! {
    Malformed = 400 "malformed" "the request can't be read",
    VersionUnsupported = 400 "version_unsupported" "the server does not speak this version",
    Unauthorized = 401 "unauthorized" "the token is missing, wrong or expired",
    Forbidden = 403 "forbidden" "the token's scope does not allow this",
    DeviceMismatch = 403 "device_mismatch" "the token is for another device",
    HouseholdMismatch = 403 "household_mismatch" "the token is for another household",
    OriginRefused = 403 "origin_refused" "not from this page or machine",
    NotFound = 404 "not_found" "there is nothing at this path",
    NotOnWatchlist = 404 "not_on_watchlist" "the title is not on the watchlist",
    ProfileUnknown = 404 "profile_unknown" "the profile was never created",
    ProfileDeleted = 404 "profile_deleted" "the profile was deleted, for good",
    DeviceUnknown = 404 "device_unknown" "the household has no such device",
    CodeUnknown = 404 "code_unknown" "no device waits with this code",
    MethodNotAllowed = 405 "method_not_allowed" "the path has no such method",
    Timeout = 408 "timeout" "the request took too long",
    DeviceOffline = 409 "device_offline" "the device has no session",
    Expired = 409 "expired" "the command's time was over before the device had it",
    HouseholdFull = 409 "household_full" "a limit of the household is reached",
    Superseded = 409 "superseded" "a later update of the title is there",
    StaleSession = 409 "stale_session" "the storage is a copy or was rolled back",
    Replaced = 409 "replaced" "a newer connection of this replica",
    Resync = 409 "resync" "a frame was lost or repeated",
    Drift = 409 "drift" "a stamp is too far ahead of the server's clock",
    Erased = 410 "erased" "the household was erased",
    TooLarge = 413 "too_large" "the body is too large",
    MediaTypeUnsupported = 415 "media_type_unsupported" "the body is of another type",
    Invalid = 422 "invalid" "a field or parameter is missing or wrong",
    NotSupported = 422 "not_supported" "the device does not take this",
    UpgradeRequired = 426 "upgrade_required" "this path speaks WebSocket",
    RateLimited = 429 "rate_limited" "the device or its household asks too often",
    HeadersTooLarge = 431 "headers_too_large" "the headers are too large",
    Internal = 500 "internal" "the server has failed",
    Restart = 503 "restart" "the server stops or starts anew",
    Overloaded = 503 "overloaded" "a limit of the server is reached",
    StorageUnavailable = 503 "storage_unavailable" "the storage does not work at the moment",
}

impl Kind {
    /// The kind that an answer from elsewhere stands for.
    pub(crate) fn of_status(status: u16) -> Self {
        let same = |kind: &&Self| kind.status() == status;
        let fallback = if status < 500 { Self::Malformed } else { Self::Internal };
        Self::ALL.iter().find(same).copied().unwrap_or(fallback)
    }

    fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Restart => Some(1),
            Self::Overloaded | Self::StorageUnavailable => Some(5),
            _ => None,
        }
    }
}

impl From<CloseCode> for Kind {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Restart => Self::Restart,
            CloseCode::Slow | CloseCode::Overloaded => Self::Overloaded,
            CloseCode::Resync => Self::Resync,
            CloseCode::Drift => Self::Drift,
            CloseCode::StorageUnavailable => Self::StorageUnavailable,
            CloseCode::Idle => Self::Timeout,
            CloseCode::Replaced => Self::Replaced,
            CloseCode::Malformed => Self::Malformed,
            CloseCode::RateLimited => Self::RateLimited,
            CloseCode::Unauthorized => Self::Unauthorized,
            CloseCode::StaleSession => Self::StaleSession,
            CloseCode::VersionUnsupported => Self::VersionUnsupported,
            CloseCode::HouseholdMismatch => Self::HouseholdMismatch,
            CloseCode::TooLarge => Self::TooLarge,
            CloseCode::Erased => Self::Erased,
        }
    }
}

/// A field of a body, or a parameter, that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Its name; with dots where it is inside another. Empty for the body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What a request wanted to write, which says what a refusal of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A title, on a watchlist or with its progress.
    Title,
    /// A device's record.
    Device,
}

/// The failure of one request or socket.
#[derive(Debug, Error)]
pub enum Error {
    /// The token was refused.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The token does not allow this.
    #[error("the token's scope does not include `{0}`")]
    Scope(&'static str),
    /// The request names another device than its token.
    #[error("the token is for another device than X-Device-ID says")]
    DeviceMismatch,
    /// The token is for another household than the device's storage.
    #[error("the token is for another household than the storage on the device")]
    HouseholdMismatch,
    /// A frame can't be read.
    #[error("a frame can't be read: {0}")]
    Frame(#[from] DecodeError),
    /// The first frame was no hello, a frame was text, or a body is no JSON.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing came for too long.
    #[error("nothing was heard for too long")]
    Idle,
    /// A request was not dealt with in time.
    #[error("the request took too long: send it again")]
    Timeout,
    /// The server is at its limit.
    #[error("the server is at its limit: try again later")]
    Overloaded,
    /// The device or its household asks too often; in so many seconds it may again.
    #[error("asked too often: wait {0} s")]
    RateLimited(u32),
    /// The server stops.
    #[error("the server is stopping: try again")]
    Stopping,
    /// A WebSocket was expected.
    #[error("this is a WebSocket: ask for an upgrade with the subprotocol {SUBPROTOCOL}")]
    UpgradeRequired,
    /// Fields or parameters are missing or wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
    /// The body is of another type.
    #[error("the body must be {0}: say so in Content-Type")]
    MediaType(&'static str),
    /// The body is compressed.
    #[error("a body is not compressed here: leave Content-Encoding out")]
    Compressed,
    /// The body is too large.
    #[error("the body may have {0} bytes")]
    TooLarge(usize),
    /// A request came from where it may not come from.
    #[error("{0}")]
    Origin(&'static str),
    /// There is nothing at this path.
    #[error("there is nothing here")]
    NotFound,
    /// A title that was to be removed is not there.
    #[error("the title is not on this watchlist")]
    NotOnWatchlist,
    /// A command is for a device that nobody knows.
    #[error("the household has no such device")]
    DeviceUnknown,
    /// No device waits with this code.
    #[error("no device waits with this code: look at it again, or let it show another")]
    CodeUnknown,
    /// A command is for a device that is not here.
    #[error("the device is offline")]
    DeviceOffline,
    /// A command is for a device that does not take it.
    #[error("{0}")]
    NotSupported(&'static str),
    /// A command could not be written in time.
    #[error("the device did not take it in time")]
    Expired,
    /// Something later is there.
    #[error("a later update of this title is there: read it, or send this without a time")]
    Superseded,
    /// The household does not take the change.
    #[error("{}", refused(*.0))]
    Refused(VoidReason),
    /// The household's room refused the request, or ended.
    #[error("{}", Kind::from(*.0).meaning())]
    Room(CloseCode),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that can't happen did.
    #[error("the server has failed: tell its operator the request id")]
    Internal,
}

fn list(errors: &[FieldError]) -> String {
    let line = |error: &FieldError| match error.field.as_str() {
        "" => error.detail.clone(),
        field => format!("{field}: {}", error.detail),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn refused(reason: VoidReason) -> &'static str {
    match reason {
        VoidReason::ProfileDeleted => "this profile was deleted: use another",
        VoidReason::ProfileUnknown => "this profile does not exist: create it on a device first",
        VoidReason::HouseholdFull => "the household is full: remove something first",
        VoidReason::DefaultProfile => "the default profile can't be deleted",
        VoidReason::Forbidden => "the token does not allow writing",
    }
}

impl Error {
    /// A field or parameter that is missing or wrong.
    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), detail: detail.into() }])
    }

    /// Why the household's room did not carry a write out.
    pub(crate) fn of_refusal(refusal: Refusal, subject: Subject) -> Self {
        match (refusal, subject) {
            (Refusal::Void(reason), _) => Self::Refused(reason),
            (Refusal::NotThere, Subject::Title) => Self::NotOnWatchlist,
            (Refusal::NotThere, Subject::Device) => Self::DeviceUnknown,
            (Refusal::Superseded, _) => Self::Superseded,
            (Refusal::Ahead, _) => Self::Room(CloseCode::Drift),
            // Nothing of a title can be invalid that was read.
            (Refusal::Invalid, Subject::Title) => Self::Internal,
            (Refusal::Invalid, Subject::Device) => Self::field("", "no device can be like that"),
        }
    }

    /// What kind of error an HTTP answer says it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Auth(_) => Kind::Unauthorized,
            Self::Scope(_) => Kind::Forbidden,
            Self::DeviceMismatch => Kind::DeviceMismatch,
            Self::HouseholdMismatch => Kind::HouseholdMismatch,
            Self::Frame(error) => CloseCode::from(*error).into(),
            Self::Malformed(_) => Kind::Malformed,
            Self::Idle | Self::Timeout => Kind::Timeout,
            Self::Overloaded => Kind::Overloaded,
            Self::RateLimited(_) => Kind::RateLimited,
            Self::Stopping => Kind::Restart,
            Self::UpgradeRequired => Kind::UpgradeRequired,
            Self::Invalid(_) => Kind::Invalid,
            Self::MediaType(_) | Self::Compressed => Kind::MediaTypeUnsupported,
            Self::TooLarge(_) => Kind::TooLarge,
            Self::Origin(_) => Kind::OriginRefused,
            Self::NotFound => Kind::NotFound,
            Self::NotOnWatchlist => Kind::NotOnWatchlist,
            Self::Superseded => Kind::Superseded,
            Self::DeviceUnknown => Kind::DeviceUnknown,
            Self::CodeUnknown => Kind::CodeUnknown,
            Self::DeviceOffline => Kind::DeviceOffline,
            Self::NotSupported(_) => Kind::NotSupported,
            Self::Expired => Kind::Expired,
            Self::Refused(reason) => match reason {
                VoidReason::ProfileDeleted => Kind::ProfileDeleted,
                VoidReason::ProfileUnknown => Kind::ProfileUnknown,
                VoidReason::HouseholdFull => Kind::HouseholdFull,
                VoidReason::DefaultProfile => Kind::Invalid,
                VoidReason::Forbidden => Kind::Forbidden,
            },
            Self::Room(code) => (*code).into(),
            Self::Store(error) => error.close_code().into(),
            Self::Internal => Kind::Internal,
        }
    }

    /// After how many seconds another try may help, if one may.
    pub(crate) fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimited(seconds) => Some(*seconds),
            other => other.kind().retry_after_s(),
        }
    }

    /// What a socket is closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Auth(_) | Self::Scope(_) | Self::Origin(_) | Self::DeviceMismatch => {
                CloseCode::Unauthorized
            }
            Self::HouseholdMismatch => CloseCode::HouseholdMismatch,
            Self::Frame(error) => CloseCode::from(*error),
            Self::Idle | Self::Timeout => CloseCode::Idle,
            Self::Overloaded => CloseCode::Overloaded,
            Self::RateLimited(_) => CloseCode::RateLimited,
            Self::Stopping | Self::Internal => CloseCode::Restart,
            Self::TooLarge(_) => CloseCode::TooLarge,
            Self::Room(code) => *code,
            Self::Store(error) => error.close_code(),
            Self::Malformed(_)
            | Self::UpgradeRequired
            | Self::Invalid(_)
            | Self::MediaType(_)
            | Self::Compressed
            | Self::NotFound
            | Self::NotOnWatchlist
            | Self::Superseded
            | Self::DeviceUnknown
            | Self::CodeUnknown
            | Self::DeviceOffline
            | Self::NotSupported(_)
            | Self::Expired
            | Self::Refused(_) => CloseCode::Malformed,
        }
    }
}

/// Why the process can't do what it was started for. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// A flag or variable has a bad value.
    #[error("{0}")]
    Usage(String),
    /// The secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The identity provider's keys can't be used.
    #[error("{0}; --jwks needs a JWK set that can be read")]
    Keys(#[from] crate::auth::jwks::ReadError),
    /// The certificate can't be used.
    #[cfg(feature = "crypto")]
    #[error("{0}; --tls-cert and --tls-key need PEM files that fit each other")]
    Tls(#[from] crate::tls::TlsError),
    /// The token could not be signed.
    #[error("can't sign a token: {0}")]
    Token(#[from] AuthError),
    /// The data folder or database can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is taken.
    #[error("{0} is in use: stop the other server, or set another SYNC_PORT (or --listen)")]
    AddressInUse(String),
    /// The address can't be used.
    #[error("can't listen on {address}: {reason}; choose another SYNC_HOST or --listen address")]
    Listen {
        /// Which address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The static folder is none.
    #[error("{0} is no folder: give the built demo's folder to --static")]
    Static(String),
    /// A database has something wrong with it.
    #[error("{findings} findings in {households} households: restore a backup")]
    Findings {
        /// How many households there are.
        households: u64,
        /// How much is wrong.
        findings: u64,
    },
    /// There is nothing of a household.
    #[error("nothing is held of the household {0}")]
    NoHousehold(String),
    /// A household can't be read.
    #[error("the household can't be read: {0}; see omega-edge check")]
    Household(#[from] DecodeError),
    /// The system refused something basic.
    #[error("can't start: {0}")]
    System(String),
}

impl ProcessError {
    /// A flag needs what this build has not.
    #[cfg(not(feature = "crypto"))]
    pub(crate) fn without_crypto(flag: &str) -> Self {
        Self::Usage(format!("{flag} needs a build with public keys: --features crypto"))
    }

    /// A flag needs what this build has not.
    #[cfg(not(feature = "otel"))]
    pub fn without_otel() -> Self {
        let needs = "needs a build with OpenTelemetry: --features otel";
        Self::Usage(format!("OTEL_EXPORTER_OTLP_ENDPOINT {needs}"))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
