//! The tests that need more than one part, in one binary.

mod found;
mod home;
mod laws;
mod limits;
mod residuals;
mod sessions;
mod settings;
mod simulated;
mod simulation;
mod tidy;
mod vectors;
mod versions;
mod wire;
