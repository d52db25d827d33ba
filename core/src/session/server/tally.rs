//! What a room did, as figures: for whoever watches a server.

use crate::message::ServerFrame;
use crate::operation::VoidReason;

/// What a room did in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomTally {
    /// Operations that were taken.
    pub operations: u64,
    /// Operations that were refused, by the place of their reason in [`VoidReason::ALL`].
    pub refused: [u64; VoidReason::ALL.len()],
    /// Bytes of the delta frames that came.
    pub delta_bytes: u64,
    /// What their operations would have as records of fixed-width fields.
    pub plain_bytes: u64,
    /// Connections that were brought up to date by what changed.
    pub differences: u64,
    /// Bytes of these.
    pub difference_bytes: u64,
    /// Connections that got the whole state.
    pub states: u64,
    /// Bytes of these.
    pub state_bytes: u64,
}

impl RoomTally {
    /// A connection was brought up to date with this frame.
    pub(super) fn caught_up(&mut self, frame: &[u8]) {
        let bytes = frame.len() as u64;
        if ServerFrame::is_difference(frame) {
            self.differences += 1;
            self.difference_bytes += bytes;
        } else {
            self.states += 1;
            self.state_bytes += bytes;
        }
    }
}
