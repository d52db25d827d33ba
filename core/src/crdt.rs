//! The two replicated types under a household, and the law both obey.
//!
//! Law: `join` is commutative, associative and idempotent over states that real histories reach, so
//! replicas that have seen the same operations are equal, in whatever order they saw them. An entry is
//! kept by a join when both sides have it, or when the other side has not seen it; what the other side
//! has seen and no longer holds is gone. No tombstones are needed for that: the version vector replaces
//! them (Almeida, Shoker, Baquero, "Delta State Replicated Data Types", 2018).

pub mod lww;
pub mod orset;
