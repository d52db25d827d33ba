//! The bounds that sockets, rooms and requests meet, and those that a test lowers. The protocol's own
//! are in `core`; one that concerns a single module is in that module. Reaching one closes a socket or
//! refuses a request with a code; none is reached silently, and each is in a document.

use crate::auth::jwks::Patience;
use crate::pairing::Bounds;
use crate::quota::{Allowance, Rate};
use omega_sync_core::household::ENTRIES_MAX;
use std::time::Duration;

/// WebSocket sessions at a time; above it a socket is closed with `overloaded`.
pub const SOCKETS_MAX: usize = 10_000;
/// TCP connections at a time; above it new ones wait in the listen queue.
pub const TCP_CONNECTIONS_MAX: usize = SOCKETS_MAX + 2_000;
/// Rooms in memory at a time; above it a hello is answered with `overloaded`.
pub const ROOMS_MAX: usize = SOCKETS_MAX + 2_000;
/// A new socket must send its hello within this time, else `idle`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the server sends a WebSocket ping.
pub const PING_EVERY: Duration = Duration::from_secs(30);
/// A socket from which nothing came for this long, not even a pong, is closed with `idle`.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection whose other end takes nothing for this long, while something waits to be written, is
/// closed; a WebSocket with `slow`.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// What the system may keep of one connection that is not written yet (it doubles the number).
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What the system may keep of one connection that is not read yet (it doubles the number).
pub const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;
/// How long a closed socket may take to read its close frame and answer it.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest message read into memory. It is above `FRAME_BYTES_MAX` so that a frame a little too
/// large is read to its end: the core refuses it, and its sender gets `too_large` and not a reset
/// connection.
pub const READ_BYTES_MAX: usize = 2 * omega_sync_core::message::FRAME_BYTES_MAX;
/// Frames waiting to be written to one socket; more closes it with `slow`.
pub const OUTBOX_FRAMES_MAX: usize = 1_024;
/// Bytes waiting to be written to one socket; more closes it with `slow`.
pub const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes waiting to be written to all sockets together; above it those that have something waiting
/// already are closed with `slow` when there is more for them.
pub const OUTBOXES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes that a WebSocket may send before it has shown a good token; more closes it with `too_large`.
pub const STRANGER_BYTES_MAX: usize = 20 * 1024;
/// Received bytes that one room has not handled yet; above it its sockets are not read.
pub const INBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Connections that speak JSON in one household; above it one is closed with `overloaded`.
pub const LISTENERS_MAX: usize = 64;
/// Answers to a connection that speaks JSON that wait to be written; above it it is not read.
pub const REPLIES_MAX: usize = 16;
/// Life of a remote command; one that is not written by then is dropped.
pub const COMMAND_LIFE: Duration = Duration::from_secs(5);
/// Bytes of the `id` of a JSON message.
pub const MESSAGE_ID_BYTES_MAX: usize = 64;
/// Inputs a room handles before it persists.
pub const BATCH_INPUTS_MAX: usize = 256;
/// Bytes a room may want to send before it persists; above it no further input joins the batch.
pub const BATCH_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A room without connections leaves memory after this time.
pub const ROOM_IDLE: Duration = Duration::from_secs(60);
/// Time for a request's headers to arrive, and for an idle HTTP connection to send the next ones.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's headers.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Time for a request to come in and be dealt with, up to the head of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a JSON body.
pub const JSON_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request that feeds titles.
pub const FEED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Titles in a request that feeds titles.
pub const FEED_TITLES_MAX: usize = 256;
/// Bytes of a one-shot session whose token is in its hello and not in the headers: what a page that
/// closes may send.
pub const BEACON_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all one-shot sessions that are being read or dealt with; above it one is answered with
/// `overloaded`.
pub const EXCHANGES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of an answer from which on it is packed for who takes gzip.
pub const GZIP_BYTES_MIN: usize = 1_024;
/// Answers that are being packed at a time; others leave as they are.
pub const GZIPS_MAX: usize = 1;
/// Bytes of a request id that a client may choose.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Time for the store to answer a health check.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests that were under way when the server stops may take this long to end.
pub const FINISH_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time between being not ready and stopping.
pub const DRAIN_MAX: Duration = Duration::from_secs(10 * 60);
/// Time for rooms to finish their commits when the server stops.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an identity provider's keys are fetched.
pub const JWKS_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often they are read when they are in a file.
pub const JWKS_FILE_EVERY: Duration = Duration::from_secs(5);
/// After they were asked for, tokens with unknown keys make nobody ask again for this long.
pub const JWKS_RETRY: Duration = Duration::from_secs(10);
/// Age at which keys that can't be read anew are dropped.
pub const JWKS_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for an identity provider to answer.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens, households and devices that something is revoked of.
pub const REVOCATIONS_MAX: usize = 100_000;
/// Addresses whose rate is remembered; others share one.
pub const ADDRESSES_KEPT: usize = 65_536;
/// Requests without a good token from one address: in a second in the long run, and at once.
pub const ADDRESS_RATE: Rate = Rate { per_second: 20, burst: 100 };
/// Connections from one address at a time; above it one is closed at once.
pub const ADDRESS_CONNECTIONS_MAX: usize = 1_000;
/// Life of the codes of a device that wants to be paired.
pub const PAIR_CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How often it may ask whether somebody has answered.
pub const PAIR_POLL_EVERY: Duration = Duration::from_secs(5);
/// Devices that wait for an answer; above it one is answered with `overloaded`.
pub const PAIR_ASKED_MAX: usize = 10_000;
/// Devices that wait for an answer, from one address.
pub const PAIR_ASKED_ADDRESS_MAX: usize = 64;
/// Attempts to answer a code from one address at once, and the time in which one comes back.
pub const PAIR_GUESSES: u32 = 10;
/// Time in which one of [`PAIR_GUESSES`] comes back.
pub const PAIR_GUESS_EVERY: Duration = Duration::from_secs(6);
/// The same for all addresses together: in a second in the long run, and at once.
pub const PAIR_GUESSES_ALL: Rate = Rate { per_second: 10, burst: 100 };
/// Life of an access token of a paired device.
pub const PAIRED_TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
/// A pairing whose refresh token is not used for this long is over.
pub const PAIRING_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Bytes of a form.
pub const FORM_BYTES_MAX: usize = 8 * 1024;
/// How often the files of the server's certificate are read.
pub const TLS_RELOAD_EVERY: Duration = Duration::from_secs(5);
/// Time for a TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests and JSON messages of one device: in a second in the long run, and at once.
pub const DEVICE_RATE: Rate = Rate { per_second: 20, burst: 100 };
/// Requests and JSON messages of one household: in a second in the long run, and at once.
pub const HOUSEHOLD_RATE: Rate = Rate { per_second: 100, burst: 500 };

/// Messages on sockets, pings too, and operations of one device: in a second in the long run, and at
/// once, which is more than an outbox holds.
pub const DEVICE_OPERATIONS: Rate = Rate { per_second: 50, burst: 50 * OPERATIONS_BURST_S };
/// The same of one household.
pub const HOUSEHOLD_OPERATIONS: Rate = Rate { per_second: 250, burst: 250 * OPERATIONS_BURST_S };
/// Bytes that one device sends: in a second in the long run, and at once.
pub const DEVICE_BYTES: Rate = Rate { per_second: 65_536, burst: 65_536 * BYTES_BURST_S };
/// The same of one household.
pub const HOUSEHOLD_BYTES: Rate = Rate { per_second: 262_144, burst: 262_144 * BYTES_BURST_S };
/// So many seconds' operations may come at once.
pub const OPERATIONS_BURST_S: u32 = 240;
/// So many seconds' bytes may come at once.
pub const BYTES_BURST_S: u32 = 120;
/// Sockets of one device at a time.
pub const DEVICE_SOCKETS_MAX: usize = 16;
/// Sockets of one household at a time.
pub const HOUSEHOLD_SOCKETS_MAX: usize = 64;

/// What an operator sets, and the bounds that a test lowers to reach their edge.
#[derive(Debug, Clone)]
pub struct Limits {
    /// [`SOCKETS_MAX`].
    pub sockets_max: usize,
    /// [`ROOMS_MAX`].
    pub rooms_max: usize,
    /// [`HELLO_TIMEOUT`].
    pub hello_timeout: Duration,
    /// [`PING_EVERY`].
    pub ping_every: Duration,
    /// [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// [`OUTBOX_FRAMES_MAX`].
    pub outbox_frames_max: usize,
    /// [`OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// [`OUTBOXES_BYTES_MAX`].
    pub outboxes_bytes_max: usize,
    /// [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// [`ROOM_IDLE`].
    pub room_idle: Duration,
    /// [`REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// [`DEVICE_RATE`].
    pub device_rate: Rate,
    /// [`HOUSEHOLD_RATE`].
    pub household_rate: Rate,
    /// [`DEVICE_OPERATIONS`] and [`HOUSEHOLD_OPERATIONS`].
    pub operations: Allowance,
    /// [`DEVICE_BYTES`] and [`HOUSEHOLD_BYTES`].
    pub bytes: Allowance,
    /// [`DEVICE_SOCKETS_MAX`]; 0 for any number.
    pub device_sockets_max: usize,
    /// [`HOUSEHOLD_SOCKETS_MAX`]; 0 for any number.
    pub household_sockets_max: usize,
    /// Titles of a household, `ENTRIES_MAX` at most.
    pub entries_max: usize,
    /// [`COMMAND_LIFE`].
    pub command_life: Duration,
    /// [`EXCHANGES_BYTES_MAX`].
    pub exchanges_bytes_max: usize,
    /// [`JWKS_EVERY`], [`JWKS_RETRY`], [`JWKS_STALE`], if not as usual.
    pub jwks: Option<Patience>,
    /// [`TLS_RELOAD_EVERY`].
    pub tls_reload_every: Duration,
    /// [`ADDRESS_RATE`].
    pub address_rate: Rate,
    /// [`ADDRESS_CONNECTIONS_MAX`].
    pub address_connections_max: usize,
    /// Whether connections from this machine are counted too, of which a test has no others.
    pub loopback_counts: bool,
    /// Those of pairing.
    pub pairing: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets_max: SOCKETS_MAX,
            rooms_max: ROOMS_MAX,
            hello_timeout: HELLO_TIMEOUT,
            ping_every: PING_EVERY,
            idle_timeout: IDLE_TIMEOUT,
            outbox_frames_max: OUTBOX_FRAMES_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            outboxes_bytes_max: OUTBOXES_BYTES_MAX,
            write_timeout: WRITE_TIMEOUT,
            room_idle: ROOM_IDLE,
            request_timeout: REQUEST_TIMEOUT,
            device_rate: DEVICE_RATE,
            household_rate: HOUSEHOLD_RATE,
            operations: Allowance { device: DEVICE_OPERATIONS, household: HOUSEHOLD_OPERATIONS },
            bytes: Allowance { device: DEVICE_BYTES, household: HOUSEHOLD_BYTES },
            device_sockets_max: DEVICE_SOCKETS_MAX,
            household_sockets_max: HOUSEHOLD_SOCKETS_MAX,
            entries_max: ENTRIES_MAX,
            command_life: COMMAND_LIFE,
            exchanges_bytes_max: EXCHANGES_BYTES_MAX,
            jwks: None,
            tls_reload_every: TLS_RELOAD_EVERY,
            address_rate: ADDRESS_RATE,
            address_connections_max: ADDRESS_CONNECTIONS_MAX,
            loopback_counts: false,
            pairing: Bounds::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The names of this file's constants, and of all others that end like a bound.
    fn bounds(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("tests") {
                bounds(&path, names);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let constants = source.lines().filter_map(|line| {
                    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
                    line.strip_prefix("pub ").unwrap_or(line).strip_prefix("const ")
                });
                let found = constants.filter_map(|line| line.split(':').next()).filter(|name| {
                    let endings = ["_MAX", "_MIN", "_KEPT", "_EVERY", "_TIMEOUT"];
                    path.ends_with("limits.rs") || endings.iter().any(|end| name.ends_with(end))
                });
                names.extend(found.map(Into::into));
            }
        }
    }

    #[test]
    fn every_bound_is_documented() {
        let documents = [
            include_str!("../../docs/http.md"),
            include_str!("../../docs/protocol.md"),
            include_str!("../../docs/operations.md"),
        ];
        let mut names = Vec::new();
        bounds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        assert!(names.len() > 100, "{names:?}");
        for name in names {
            let known = documents.iter().any(|text| text.contains(&format!("`{name}`")));
            assert!(known, "{name} is in no document");
        }
    }
}
