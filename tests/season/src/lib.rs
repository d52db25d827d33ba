//! A season of private aggregation, with the server's own code: what it costs and what it is worth.

pub mod catalogue;
pub mod home;
pub mod measure;
pub mod trends;
