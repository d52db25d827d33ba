//! A virtual living room: the real client and server state machines on virtual disks, a faulty
//! network and clocks that are wrong, all driven by one seed.
//!
//! The same seed gives the same run to the byte. Nothing here decides a merge: [`oracle`] says from
//! what the viewers did and what the server took what every screen must show. No frame is read; the
//! world knows what is in one from what its sender held.

pub mod act;
pub mod carry;
pub mod checks;
pub mod device;
pub mod dice;
pub mod faults;
pub mod follow;
pub mod ledger;
pub mod link;
pub mod oracle;
pub mod run;
pub mod serve;
pub mod server;
pub mod shown;
pub mod stamps;
pub mod trouble;
pub mod world;
