//! The tags of all frames: the lower half of a frame's first byte. What each holds: `docs/protocol.md`.

// Of a client's frames.

/// Opens the session.
pub const TAG_HELLO: u8 = 0;
/// Operations.
pub const TAG_DELTA: u8 = 1;
/// What earlier epochs confirmed.
pub const TAG_OFFER: u8 = 2;
/// Asks for a pong.
pub const TAG_PING: u8 = 3;
/// Asks about taste.
pub const TAG_REQUEST: u8 = 4;
/// A command for another device, or the wish to know who is here.
pub const TAG_COMMAND: u8 = 5;
/// Answers an order.
pub const TAG_REPLY: u8 = 6;

// Of a server's frames.

/// Answers the hello.
pub const TAG_WELCOME: u8 = 0;
/// The whole state.
pub const TAG_SNAPSHOT: u8 = 1;
/// What changed since the cursor.
pub const TAG_DIFFERENCE: u8 = 2;
/// A delta of another replica.
pub const TAG_UPDATE: u8 = 3;
/// The oldest delta on its way is a new version.
pub const TAG_ACK: u8 = 4;
/// The oldest delta on its way has its answer, with what was refused.
pub const TAG_REPORT: u8 = 5;
/// The offered state is durable.
pub const TAG_OFFERED: u8 = 6;
/// Answers a ping.
pub const TAG_PONG: u8 = 7;
/// Answers a request about taste.
pub const TAG_ANSWER: u8 = 8;
/// A command for this device.
pub const TAG_ORDER: u8 = 9;
/// What became of a command.
pub const TAG_STATUS: u8 = 10;
/// Which devices are here.
pub const TAG_PRESENCE: u8 = 11;
