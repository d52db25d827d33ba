//! The protocol, both ends, without I/O: [`client::Client`] for one device, [`server::Room`] for one
//! household.
//!
//! Both take one input and return everything that has to be done, in the order to do it. What is to be
//! stored must be durable before any output after it is carried out; that is the whole contract.
//!
//! A client's life: connect → `Hello` → `Welcome` (what the server took of this replica; its clock) →
//! a snapshot or update that brings it up to date → deltas up, acks and updates down. Operations made
//! before that wait in the outbox. A lost connection changes nothing but the state of the connection.

pub mod backoff;
pub mod client;
pub mod metrics;
pub mod server;
#[cfg(feature = "patterns")]
pub mod taste;
