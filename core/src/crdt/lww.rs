//! Last writer wins: a register, and a map of them.
//!
//! Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs", 2011, spec 8. The
//! writer with the higher [`Dot`] wins: later stamp, then higher replica id.

use crate::causal::{Dot, VersionVector};
use crate::sorted::Map;

/// A value and the operation that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LwwRegister<V> {
    /// Who wrote it, and when.
    pub dot: Dot,
    /// What was written.
    pub value: V,
}

impl<V> LwwRegister<V> {
    /// Takes `value` when `dot` is later; says whether it did.
    pub fn set(&mut self, dot: Dot, value: V) -> bool {
        let wins = dot > self.dot;
        if wins {
            *self = Self { dot, value };
        }
        wins
    }
}

/// A map of registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LwwMap<K, V>(Map<K, LwwRegister<V>>);

impl<K, V> Default for LwwMap<K, V> {
    fn default() -> Self {
        Self(Map::new())
    }
}

impl<K: Ord, V> LwwMap<K, V> {
    /// Writes `value` at `key` unless a later write is there; says whether it did.
    pub fn set(&mut self, key: K, dot: Dot, value: V) -> bool {
        match self.0.get_mut(&key) {
            Some(register) => register.set(dot, value),
            None => self.0.insert(key, LwwRegister { dot, value }).is_none(),
        }
    }

    /// Puts registers at their keys or takes them away, whatever is there.
    pub(crate) fn replace(&mut self, registers: Vec<(K, Option<LwwRegister<V>>)>) {
        self.0.merge(registers);
    }

    /// All registers.
    pub(crate) fn registers(&self) -> &Map<K, LwwRegister<V>> {
        &self.0
    }

    /// Joins another map; `seen` and `other_seen` say what each side has seen. Of two values the later
    /// one wins. A value that the other side has seen and has none for was refused there.
    pub fn join(&mut self, other: Self, seen: &VersionVector, other_seen: &VersionVector) {
        self.0.retain(|key, mine| other.0.contains_key(key) || !other_seen.covers(mine.dot));
        let mut taken = Vec::new();
        for (key, theirs) in other.0 {
            let mine = self.0.get(&key).map(|register| register.dot);
            let wins = mine.map_or(!seen.covers(theirs.dot), |mine| mine < theirs.dot);
            if wins {
                taken.push((key, Some(theirs)));
            }
        }
        self.0.merge(taken);
    }

    /// The register at `key`.
    pub fn get(&self, key: &K) -> Option<&LwwRegister<V>> {
        self.0.get(key)
    }

    /// All registers in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &LwwRegister<V>)> {
        self.0.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::ReplicaId;

    /// An earlier life of the server took it, a later one refused it.
    #[test]
    fn what_the_other_side_has_seen_and_has_not_is_gone() {
        let dot = Dot { timestamp: Timestamp(5), replica: ReplicaId(1) };
        let mut seen = VersionVector::default();
        seen.raise(dot.replica, dot.timestamp);
        let mut here = LwwMap::default();
        assert!(here.set("film", dot, 10));
        let empty = LwwMap::default();
        for (mine, theirs, both) in
            [(&here, &empty, &empty), (&empty, &here, &empty), (&here, &here, &here)]
        {
            let mut joined = mine.clone();
            joined.join(theirs.clone(), &seen, &seen);
            assert_eq!(joined, *both);
        }
        let mut joined = empty.clone();
        joined.join(here.clone(), &VersionVector::default(), &seen);
        assert_eq!(joined, here, "what is new here stays");
        joined.replace(vec![("film", None)]);
        assert_eq!(joined, empty);
    }
}
