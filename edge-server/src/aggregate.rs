//! What all households teach, so that none is revealed.

pub mod dice;
pub mod privacy;
