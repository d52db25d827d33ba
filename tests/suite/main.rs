//! The tests that need more than one part, in one binary.

mod laws;
mod sessions;
mod simulation;
