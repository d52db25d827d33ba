//! What can be wrong with a frame of the server.

use crate::codec::DecodeError;

/// Why a frame ends the connection.
#[derive(Debug)]
pub(super) enum Fault {
    /// It can't be read, or makes no sense now.
    Malformed,
    /// The server speaks another version.
    Version,
    /// A frame is missing.
    Resync,
    /// The storage is a copy: go on under a new id.
    Renew,
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Version(_) => Self::Version,
            _ => Self::Malformed,
        }
    }
}
