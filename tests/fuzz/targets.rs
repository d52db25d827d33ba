//! Every target by name.

use crate::{deltas, frames, household, patterns, sessions, storage, texts};
use omega_sync_core::household::ENTRIES_MAX;
use omega_sync_core::id::CONTENT_ID_BYTES_MAX;
use omega_sync_core::message::FRAME_BYTES_MAX;

/// What a state at all its limits takes in memory: its titles, and as much again for each entry's
/// register and its place in a tree, twice as long as it is being decoded.
const STATE_BYTES_MAX: usize = 2 * ENTRIES_MAX * 4 * CONTENT_ID_BYTES_MAX;
/// What one frame may make its reader allocate.
const ONE: usize = FRAME_BYTES_MAX + STATE_BYTES_MAX;
/// What a target may allocate that holds both ends of a session, each with a state or two.
const SESSION: usize = 4 * ONE;

/// Something that takes any bytes.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Whether its input is a list of parts.
    pub parts: bool,
    /// It never holds more memory than this.
    pub bytes_max: usize,
    /// Executions in a run of the suite.
    pub executions: u64,
}

const fn target(name: &'static str, run: fn(&[u8]), executions: u64) -> Target {
    Target { name, run, parts: false, bytes_max: ONE, executions }
}

const fn of_parts(name: &'static str, run: fn(&[u8]), executions: u64) -> Target {
    Target { parts: true, bytes_max: SESSION, ..target(name, run, executions) }
}

pub const TARGETS: [Target; 16] = [
    target("client_frame", frames::client_frame, 3_000),
    target("server_frame", frames::server_frame, 3_000),
    of_parts("client_deltas", deltas::client_deltas, 1_500),
    of_parts("server_updates", deltas::server_updates, 1_000),
    target("state", household::state, 1_500),
    of_parts("difference", household::difference, 1_000),
    target("history", household::history, 2_000),
    of_parts("records", storage::records, 800),
    of_parts("room", storage::room, 400),
    of_parts("titles", texts::titles, 600),
    target("range_coder", texts::range_coder, 1_500),
    target("merge", household::merge, 60),
    of_parts("client_session", sessions::client_session, 500),
    of_parts("room_session", sessions::room_session, 200),
    of_parts("patterns", patterns::patterns, 150),
    of_parts("pattern_tables", patterns::pattern_tables, 150),
];

/// The target of that name.
pub fn named(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
