//! A set where a concurrent add wins over a remove, without tombstones.
//!
//! Each element holds the dots of the adds that nobody has seen and removed. An add replaces the dots
//! its author saw; a remove takes away the dots its author saw and nothing else, so an add it had not
//! seen survives.
//!
//! Source: Bieniusa et al., "An optimized conflict-free replicated set", 2012 (the optimised OR-set).

use crate::causal::{Dot, VersionVector, insert_dot};
use crate::sorted::Map;

/// An add-wins observed-remove set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrSet<K>(Map<K, Vec<Dot>>);

impl<K> Default for OrSet<K> {
    fn default() -> Self {
        Self(Map::new())
    }
}

impl<K: Ord> OrSet<K> {
    /// Adds `key` by the operation `dot`, whose author had seen `observed`.
    pub fn add(&mut self, key: K, dot: Dot, observed: &[Dot]) {
        let dots = self.0.or_default(key);
        dots.retain(|d| !observed.contains(d));
        insert_dot(dots, dot);
    }

    /// Removes the adds in `observed` of `key`; says whether one was there.
    pub fn remove(&mut self, key: &K, observed: &[Dot]) -> bool {
        let Some(dots) = self.0.get_mut(key) else {
            return false;
        };
        let before = dots.len();
        dots.retain(|d| !observed.contains(d));
        let removed = dots.len() < before;
        if dots.is_empty() {
            self.0.remove(key);
        }
        removed
    }

    /// Puts the live adds of keys, ascending, in place of those they have; none takes a key away.
    pub(crate) fn replace(&mut self, lives: Vec<(K, Vec<Dot>)>) {
        let change = |(key, dots): (K, Vec<Dot>)| (key, Some(dots).filter(|d| !d.is_empty()));
        self.0.merge(lives.into_iter().map(change).collect());
    }

    /// Joins another set; `seen` and `other_seen` say what each side has seen.
    pub fn join(&mut self, other: Self, seen: &VersionVector, other_seen: &VersionVector) {
        self.0.retain(|key, mine| {
            *mine = join_dots(mine, other.dots(key), seen, other_seen);
            !mine.is_empty()
        });
        let mut new = Vec::new();
        for (key, theirs) in other.0 {
            // Where nothing was left of both, there is nothing new in theirs.
            if !self.0.contains_key(&key) {
                new.push((key, join_dots(&[], &theirs, seen, other_seen)));
            }
        }
        self.replace(new);
    }

    /// The live adds of `key`, ascending; empty when it is not in the set.
    pub fn dots(&self, key: &K) -> &[Dot] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Elements in order, each with its live adds.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[Dot])> {
        self.0.iter().map(|(key, dots)| (key, dots.as_slice()))
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn join_dots(
    mine: &[Dot],
    theirs: &[Dot],
    seen: &VersionVector,
    other_seen: &VersionVector,
) -> Vec<Dot> {
    let kept = mine.iter().filter(|d| theirs.contains(d) || !other_seen.covers(**d));
    let new = theirs.iter().filter(|d| !mine.contains(d) && !seen.covers(**d));
    let mut dots: Vec<Dot> = kept.chain(new).copied().collect();
    dots.sort_unstable();
    dots
}
