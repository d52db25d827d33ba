//! What a progress update will probably say, by the update of the title before it.

use crate::clock::Timestamp;
use crate::operation::{PlayState, Progress};

/// The last progress of a title.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    pub(super) timestamp: Timestamp,
    pub(super) progress: Progress,
}

impl Track {
    /// Where the title is at `now` if nobody touched it, in seconds.
    pub(super) fn position_s(&self, now: Timestamp) -> u32 {
        let Progress { position_s, duration_s, state } = self.progress;
        if state != PlayState::Playing {
            return position_s;
        }
        let elapsed_ms = now.millis().0.saturating_sub(self.timestamp.millis().0);
        let elapsed_s = u32::try_from((elapsed_ms.saturating_add(500)) / 1000).unwrap_or(u32::MAX);
        let end_s = if duration_s == 0 { u32::MAX } else { duration_s.max(position_s) };
        position_s.saturating_add(elapsed_s).min(end_s)
    }
}

/// What a progress update will probably say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guess {
    pub(super) stamp: Timestamp,
    pub(super) track: Option<Track>,
}

impl Guess {
    pub(super) fn position_s(&self, now: Timestamp) -> u32 {
        self.track.map_or(0, |track| track.position_s(now))
    }

    pub(super) fn duration_s(&self) -> u32 {
        self.track.map_or(0, |track| track.progress.duration_s)
    }
}
