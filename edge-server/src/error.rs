//! What can go wrong for one request or socket, and the one place that says which HTTP status and
//! which close code that is; and what can go wrong at the start of the process.

use crate::auth::{AuthError, SecretError};
use crate::store::StoreError;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::message::{CloseCode, SUBPROTOCOL};
use thiserror::Error;

/// The failure of one request or socket.
#[derive(Debug, Error)]
pub enum Error {
    /// The token was refused.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The token does not allow this.
    #[error("the token's scope does not include `{0}`")]
    Scope(&'static str),
    /// The token is for another household than the device's storage.
    #[error("the token is for another household than the storage on the device")]
    HouseholdMismatch,
    /// A frame can't be read.
    #[error("a frame can't be read: {0}")]
    Frame(#[from] DecodeError),
    /// The first frame was no hello, or a frame was text.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing came for too long.
    #[error("nothing was heard for too long")]
    Idle,
    /// The server is at its limit.
    #[error("the server is at its limit: try again later")]
    Overloaded,
    /// The server stops.
    #[error("the server is stopping: try again")]
    Stopping,
    /// A WebSocket was expected.
    #[error("this is a WebSocket: ask for an upgrade with the subprotocol {SUBPROTOCOL}")]
    UpgradeRequired,
    /// A parameter of a request is missing or wrong.
    #[error("{0}")]
    Parameter(String),
    /// A request came from where it may not come from.
    #[error("{0}")]
    Origin(&'static str),
    /// There is nothing at this path.
    #[error("there is nothing here")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// HTTP status and stable name.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Auth(_) => (401, "unauthorized"),
            Self::Scope(_) => (403, "forbidden"),
            Self::HouseholdMismatch => (403, "household_mismatch"),
            Self::Frame(_) | Self::Malformed(_) => (400, "malformed"),
            Self::Idle => (408, "idle"),
            Self::Overloaded => (503, "overloaded"),
            Self::Stopping => (503, "restart"),
            Self::UpgradeRequired => (426, "upgrade_required"),
            Self::Parameter(_) => (400, "parameter_invalid"),
            Self::Origin(_) => (403, "origin_refused"),
            Self::NotFound => (404, "not_found"),
            Self::Store(error) => (503, error.code()),
        }
    }

    /// What a socket is closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Auth(_) | Self::Scope(_) | Self::Origin(_) => CloseCode::Unauthorized,
            Self::HouseholdMismatch => CloseCode::HouseholdMismatch,
            Self::Frame(error) => CloseCode::from(*error),
            Self::Idle => CloseCode::Idle,
            Self::Overloaded => CloseCode::Overloaded,
            Self::Stopping => CloseCode::Restart,
            Self::Store(error) => error.close_code(),
            Self::Malformed(_) | Self::UpgradeRequired | Self::Parameter(_) | Self::NotFound => {
                CloseCode::Malformed
            }
        }
    }
}

/// Why the process can't do what it was started for. Each is one line that says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// A flag or variable has a bad value.
    #[error("{0}")]
    Usage(String),
    /// The secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The token could not be signed.
    #[error("can't sign a token: {0}")]
    Token(#[from] AuthError),
    /// The data folder or database can't be used.
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
    /// The system refused something basic.
    #[error("can't start: {0}")]
    System(String),
}

impl StartError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
