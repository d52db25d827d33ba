//! The wall clock, for all who need the time as a number. The core has none.

use omega_sync_core::clock::UnixMillis;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What it shows; 1970 if it is set earlier.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
}

/// The same in seconds.
pub(crate) fn now_s() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
