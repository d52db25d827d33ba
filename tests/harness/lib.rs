//! A virtual living room: the real client and server state machines on virtual disks, a faulty network
//! and clocks that are wrong, all driven by one seed.
//!
//! The same seed gives the same run to the byte. Nothing here decides a merge: the checks compare what
//! the devices show with what the viewers did.

pub mod checks;
pub mod device;
pub mod link;
pub mod server;
pub mod world;
