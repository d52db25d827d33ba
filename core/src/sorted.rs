//! Maps and sets as sorted vectors.
//!
//! A household has tens to a few thousand keys (`ENTRIES_MAX`, `OUTBOX_OPERATIONS_MAX`), which a TV
//! mostly reads. A vector holds them without gaps and without an allocation each, and its code is a
//! tenth of a B-tree's, of which WebAssembly has one for each type of key and value. A new key in the
//! middle moves all that follow: many at once are [`Map::merge`]d in order.

use core::cmp::Ordering;

/// A map whose keys are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map<K, V>(Vec<(K, V)>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Map<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A map of one key.
    pub fn of(key: K, value: V) -> Self {
        Self(vec![(key, value)])
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys with their values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// All keys with their values, in order, the values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The highest key.
    pub fn last_key(&self) -> Option<&K> {
        self.0.last().map(|(key, _)| key)
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> Map<K, V> {
    /// Where the key is, or where it belongs.
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// The same for a key that is probably new: they mostly come in order.
    fn place(&self, key: &K) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if last < key => Err(self.0.len()),
            _ => self.find(key),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Sets the value of a key; returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// The value of a key, the default one when there was none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, V::default()));
            at
        });
        &mut self.0[at].1
    }

    /// Takes a key away; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    /// All keys above `key` with their values, in order.
    pub fn above(&self, key: &K) -> &[(K, V)] {
        let start = self.find(key).map_or_else(|at| at, |at| at + 1);
        &self.0[start..]
    }

    /// Takes everything up to `key` away.
    pub fn take_through(&mut self, key: &K) -> impl Iterator<Item = V> {
        let end = self.find(key).map_or_else(|at| at, |at| at + 1);
        self.0.drain(..end).map(|(_, value)| value)
    }

    /// The values, in the order of their keys.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Sets the values of keys, `None` takes the key away. New keys should come in order: then they don't
    /// move each other.
    pub fn merge(&mut self, changes: Vec<(K, Option<V>)>) {
        if self.is_empty() {
            self.0.reserve_exact(changes.len());
        }
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.insert(key, value)),
                None => drop(self.remove(&key)),
            }
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        entries.into_iter().for_each(|(key, value)| _ = map.insert(key, value));
        map
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A set whose keys are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<K>(Map<K, ()>);

impl<K> Default for Set<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Set<K> {
    /// An empty set.
    pub const fn new() -> Self {
        Self(Map::new())
    }

    /// A set of one key.
    pub fn of(key: K) -> Self {
        Self(Map::of(key, ()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.0.keys()
    }

    /// The keys that are equal by `order`, which ascends with the keys.
    pub fn equal(&self, order: impl Fn(&K) -> Ordering) -> &[(K, ())] {
        let keys = &self.0.0;
        let start = keys.partition_point(|(key, ())| order(key) == Ordering::Less);
        let count = keys[start..].partition_point(|(key, ())| order(key) == Ordering::Equal);
        &keys[start..start + count]
    }

    /// Takes all keys away.
    pub fn clear(&mut self) {
        self.0.0.clear();
    }

    /// The highest key.
    pub fn last(&self) -> Option<&K> {
        self.0.last_key()
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.0.retain(|key, ()| keep(key));
    }
}

impl<K: Ord> Set<K> {
    /// Whether the key is there.
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Puts a key in; says whether it was missing.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Takes a key away; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    /// Puts all keys of `other` in.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            *self = core::mem::take(other);
        } else {
            self.extend(core::mem::take(other));
        }
    }
}

impl<K: Ord> Extend<K> for Set<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| _ = self.insert(key));
    }
}

impl<K: Ord> FromIterator<K> for Set<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut set = Self::new();
        set.extend(keys);
        set
    }
}

impl<K: Ord, const N: usize> From<[K; N]> for Set<K> {
    fn from(keys: [K; N]) -> Self {
        keys.into_iter().collect()
    }
}

impl<K> IntoIterator for Set<K> {
    type Item = K;
    type IntoIter = core::iter::Map<std::vec::IntoIter<(K, ())>, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, ())| key)
    }
}

impl<'a, K> IntoIterator for &'a Set<K> {
    type Item = &'a K;
    type IntoIter = core::iter::Map<core::slice::Iter<'a, (K, ())>, fn(&'a (K, ())) -> &'a K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.0.iter().map(|(key, ())| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, u16),
        OrDefault(u8),
        Remove(u8),
        TakeThrough(u8),
        Merge(BTreeMap<u8, Option<u16>>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => any::<u8>().prop_map(Step::OrDefault),
            2 => any::<u8>().prop_map(Step::Remove),
            1 => any::<u8>().prop_map(|key| Step::TakeThrough(key / 4)),
            1 => any::<BTreeMap<u8, Option<u16>>>().prop_map(Step::Merge),
        ]
    }

    proptest! {
        #[test]
        fn a_map_does_what_a_tree_does(steps in prop::collection::vec(step(), 0..60)) {
            let (mut map, mut tree) = (Map::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        prop_assert_eq!(map.insert(key, value), tree.insert(key, value));
                    }
                    Step::OrDefault(key) => {
                        prop_assert_eq!(map.or_default(key), tree.entry(key).or_default());
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    Step::TakeThrough(key) => {
                        let rest = tree.split_off(&(key + 1));
                        let taken = core::mem::replace(&mut tree, rest);
                        let expected: Vec<u16> = taken.into_values().collect();
                        prop_assert_eq!(map.take_through(&key).collect::<Vec<u16>>(), expected);
                    }
                    Step::Merge(changes) => {
                        // In an order of their own.
                        let mut mixed: Vec<_> = changes.clone().into_iter().collect();
                        mixed.sort_by_key(|(key, _)| key.reverse_bits());
                        map.merge(mixed);
                        for (key, value) in changes {
                            match value {
                                Some(value) => drop(tree.insert(key, value)),
                                None => drop(tree.remove(&key)),
                            }
                        }
                    }
                }
                prop_assert!(map.iter().eq(tree.iter()));
                prop_assert_eq!(map.last_key(), tree.keys().next_back());
            }
            for key in 0..=u8::MAX {
                prop_assert_eq!(map.get(&key), tree.get(&key));
            }
        }

        #[test]
        fn a_set_does_what_a_tree_does(first: Vec<u8>, second: Vec<u8>) {
            let mut set: Set<u8> = first.iter().copied().collect();
            let mut tree: BTreeSet<u8> = first.iter().copied().collect();
            set.append(&mut second.iter().copied().collect());
            tree.extend(&second);
            prop_assert!(set.iter().eq(tree.iter()));
            for key in first {
                prop_assert_eq!(set.contains(&key), tree.contains(&key));
                prop_assert_eq!(set.remove(&key), tree.remove(&key));
            }
            prop_assert!(set.into_iter().eq(tree));
        }
    }
}
