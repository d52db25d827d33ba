//! The tests that need more than one part, in one binary.

mod commands;
mod erasure;
mod exchange;
mod found;
mod growth;
mod home;
mod laws;
mod lies;
mod limits;
mod nodes;
mod patience;
mod patterns;
mod requests;
mod resident;
mod residuals;
mod restores;
mod reviewed;
mod sessions;
mod settings;
mod simulated;
mod simulation;
mod taste;
mod tidy;
mod vectors;
mod versions;
mod wire;
