//! Who made what, and what a state has seen.
//!
//! A replica's stamps are strictly monotonic, so a stamp already names its operation: a [`Dot`] is
//! (replica, stamp) and there is no counter beside it. What a state has seen of a replica is then one
//! stamp, the highest: everything of that replica up to it is *covered*, whether it is still there,
//! superseded, removed or refused.
//!
//! Source: version vectors, Parker et al. 1983; dotted version vectors, Preguiça et al. 2012.

use crate::clock::Timestamp;
use crate::id::ReplicaId;
use crate::sorted::Map;

/// The name of one operation. Ordered by time, then replica: the order of last-writer-wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// When, by its author's clock.
    pub timestamp: Timestamp,
    /// The replica that made the operation.
    pub replica: ReplicaId,
}

/// Puts a dot among ascending ones, once.
pub fn insert_dot(dots: &mut Vec<Dot>, dot: Dot) {
    if let Err(at) = dots.binary_search(&dot) {
        dots.insert(at, dot);
    }
}

/// Per replica, the highest stamp seen; all stamps below it are seen too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionVector(Map<ReplicaId, Timestamp>);

impl VersionVector {
    /// Notes that everything of `replica` up to `through` is seen.
    pub fn raise(&mut self, replica: ReplicaId, through: Timestamp) {
        let seen = self.0.or_default(replica);
        *seen = through.max(*seen);
    }

    /// Notes everything that `other` has seen.
    pub fn join(&mut self, other: &Self) {
        for (replica, through) in other.iter() {
            self.raise(replica, through);
        }
    }

    /// The highest stamp seen of `replica`, [`Timestamp::ZERO`] for none.
    pub fn of(&self, replica: ReplicaId) -> Timestamp {
        self.0.get(&replica).copied().unwrap_or_default()
    }

    /// Whether the operation is seen.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.timestamp <= self.of(dot.replica)
    }

    /// The highest stamp of each replica seen.
    pub(crate) fn stamps(&self) -> &Map<ReplicaId, Timestamp> {
        &self.0
    }

    /// The replicas seen, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, Timestamp)> + '_ {
        self.0.iter().map(|(&replica, &through)| (replica, through))
    }

    /// How many replicas were seen.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
