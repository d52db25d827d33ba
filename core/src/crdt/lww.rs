//! Last writer wins: a register, and a map of them.
//!
//! Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs", 2011, spec 8. The
//! writer with the higher [`Dot`] wins: later stamp, then higher replica id.

use crate::causal::{Dot, VersionVector};
use std::collections::BTreeMap;

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
pub struct LwwMap<K, V>(BTreeMap<K, LwwRegister<V>>);

impl<K, V> Default for LwwMap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
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

    /// Puts a register at `key` or takes it away, whatever is there.
    pub(crate) fn replace(&mut self, key: K, register: Option<LwwRegister<V>>) {
        match register {
            Some(register) => drop(self.0.insert(key, register)),
            None => drop(self.0.remove(&key)),
        }
    }

    /// Joins another map; `seen` and `other_seen` say what each side has seen. Of two values the later
    /// one wins. A value that the other side has seen and has none for was refused there.
    pub fn join(&mut self, other: Self, seen: &VersionVector, other_seen: &VersionVector) {
        self.0.retain(|key, mine| other.0.contains_key(key) || !other_seen.covers(mine.dot));
        for (key, theirs) in other.0 {
            if self.0.contains_key(&key) || !seen.covers(theirs.dot) {
                self.set(key, theirs.dot, theirs.value);
            }
        }
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
