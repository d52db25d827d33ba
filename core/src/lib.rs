//! The core of Omega Sync: clocks, CRDTs, deltas and both ends of the protocol, without I/O.
//!
//! Nothing in here reads a clock, draws a random number, opens a socket or waits. A caller passes the
//! time in, gets a list of things to do back, and does them in that order; an output that persists must
//! be durable before anything after it is done.
//!
//! ```
//! use omega_sync_core::clock::UnixMillis;
//! use omega_sync_core::operation::Intent;
//! use omega_sync_core::id::{ContentId, ProfileId};
//! use omega_sync_core::replica::Now;
//! use omega_sync_core::session::client::{Client, Output};
//!
//! let now = Now { unix: UnixMillis(1_800_000_000_000), steady_ms: 0 };
//! let mut tv = Client::load(&[], None, [7; 16])?.client;
//! let title = ContentId::new("tmdb:550")?;
//! let outputs = tv.operate(now, Intent::Add(ProfileId::DEFAULT, title.clone()))?;
//! assert!(matches!(outputs[..], [Output::Changed(_), Output::Append(_)]));
//! assert!(tv.replica().is_listed(ProfileId::DEFAULT, &title));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod causal;
pub mod clock;
pub mod codec;
pub mod command;
pub mod crdt;
pub mod delta;
pub mod household;
pub mod id;
pub mod message;
pub mod operation;
pub mod outbox;
#[cfg(feature = "patterns")]
pub mod pattern;
pub mod rangecoder;
pub mod replica;
pub mod session;
pub mod sorted;
pub mod tag;
