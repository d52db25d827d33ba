//! When something was done, by the stamps: what a right stamp is.

use crate::ledger::OpId;
use crate::oracle::Oracle;

/// How far ahead of the server's clock a stamp may be, by `docs/protocol.md`.
const DRIFT_MS: u64 = 300_000;
/// A stamp that a handshake leaves alone may be off by this, beside what the handshake took.
const LEFT_ALONE_MS: u64 = 1_100;

/// A device's wall clock as the world knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock {
    /// True time at which it was last set.
    pub set_ms: u64,
    /// The longest that the answer to a hello took.
    pub waited_ms: u64,
    /// The highest stamp that was refused for want of a right to write, in milliseconds. It names what
    /// may be remembered somewhere, so what the same device does next is stamped behind it.
    pub forbidden_ms: u64,
}

/// The wall clocks of all devices, and the highest stamp that the server took.
#[derive(Debug, Default)]
pub struct Clocks {
    /// By device.
    pub walls: Vec<WallClock>,
    /// In milliseconds.
    pub top_ms: u64,
}

impl Oracle {
    /// Checks the stamp of an operation that the server took just now.
    ///
    /// # Panics When it is not after what its viewer had seen, is far ahead of now, or does not
    /// tell when the action was done although the device's clock, however wrong, was not set
    /// meanwhile.
    pub fn check_stamp(&mut self, op: OpId, now_ms: u64) {
        let stamp = self.ops[op as usize].stamp;
        let stamp_ms = stamp >> 16;
        let action = &self.actions[self.ops[op as usize].action as usize];
        let top_ms = self.clocks.top_ms;
        self.clocks.top_ms = top_ms.max(stamp_ms);
        if action.weak {
            return;
        }
        assert!(stamp > action.floor, "{action:?} is stamped before what its viewer had seen");
        let bound = (now_ms + DRIFT_MS).max(top_ms + 1);
        assert!(stamp_ms <= bound, "{action:?} is stamped {} ms ahead", stamp_ms - now_ms);
        let wall = self.clocks.walls[action.device];
        if wall.set_ms >= action.clock_since_ms && wall.set_ms > 0 {
            return;
        }
        let off_ms = wall.waited_ms + LEFT_ALONE_MS;
        assert!(stamp_ms + off_ms >= action.at_ms, "{action:?} is stamped {stamp_ms}, too early");
        let mut latest = (action.at_ms + off_ms).max(top_ms + 1);
        if wall.set_ms > 0 {
            // It stays behind what the same viewer did while the clock was wrong.
            latest = latest.max(now_ms).max(wall.forbidden_ms + 1);
        }
        assert!(stamp_ms <= latest, "{action:?} is stamped {stamp_ms}, too late");
    }
}
