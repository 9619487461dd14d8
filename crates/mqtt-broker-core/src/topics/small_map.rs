//! [`SmallMap`]: an ordered map that takes little memory while it has few entries.
//!
//! A broker may have millions of these maps. Most of them have a single entry, which is stored in the map itself
//! without an allocation. A few entries are in a sorted vector. More entries are in a `BTreeMap`, so that operations
//! stay fast with a hundred thousand entries. Iteration is always in the order of the keys.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Maximum number of entries in a sorted vector.
const FEW: usize = 32;

/// An ordered map of keys to values.
#[derive(Debug)]
pub(crate) enum SmallMap<K, V> {
    /// No entry, or 2 to `FEW` entries sorted by key. An empty vector has no allocation.
    Few(Vec<(K, V)>),
    /// A single entry.
    One((K, V)),
    /// More than `FEW` entries, or more than half of `FEW` after removals. The tree is boxed, because an unboxed tree
    /// would make every map eight bytes larger.
    #[allow(clippy::box_collection)]
    Many(Box<BTreeMap<K, V>>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// Inserts an entry. If the map has the key already, replaces the value and keeps the old key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.get_mut(&key) {
            Some(old) => *old = value,
            None => self.insert_new(key, value),
        }
    }

    /// Returns the value of a key. If the key has no value, `make` creates the entry.
    pub(crate) fn get_or_insert_with<Q: Ord + ?Sized>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> (K, V),
    ) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if self.get(key).is_none() {
            let (key, value) = make();
            self.insert_new(key, value);
        }
        self.get_mut(key)
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::One((own, _)) if (*own).borrow() == key => {
                self.take_one().map(|(_, value)| value)
            }
            Self::One(_) => None,
            Self::Few(few) => {
                let index = position(few, key).ok()?;
                let (_, value) = few.remove(index);
                if few.len() == 1 {
                    if let Some(last) = few.pop() {
                        *self = Self::One(last);
                    }
                } else if few.is_empty() {
                    *self = Self::default();
                }
                Some(value)
            }
            Self::Many(many) => {
                let value = many.remove(key)?;
                // The map becomes a vector at half of the limit at which it becomes a tree. With a single limit, a map
                // of about this size would be converted by each insertion and removal.
                if many.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(&mut **many).into_iter().collect());
                }
                Some(value)
            }
        }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::One((own, value)) => ((*own).borrow() == key).then_some(value),
            Self::Few(few) => few.get(position(few, key).ok()?).map(|(_, value)| value),
            Self::Many(many) => many.get(key),
        }
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::One((own, value)) => ((*own).borrow() == key).then_some(value),
            Self::Few(few) => {
                let index = position(few, key).ok()?;
                few.get_mut(index).map(|(_, value)| value)
            }
            Self::Many(many) => many.get_mut(key),
        }
    }

    /// Returns the entries in the order of the keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (few, many) = self.parts();
        let few = few.iter().map(|(key, value)| (key, value));
        few.chain(many.into_iter().flatten())
    }

    /// Returns all entries in a circle: in the order of the keys, beginning after the key `last`, and ending with
    /// `last`. Members of a shared subscription take turns in this order.
    pub(crate) fn iter_after(&self, last: Option<&K>) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = self.parts();
        // `last` itself need not be in the map: a member of a share may have left.
        let index = few.partition_point(|(key, _)| last.is_some_and(|last| key <= last));
        let (front, back) = few.split_at_checked(index).unwrap_or((few, &[]));
        let few = back.iter().chain(front).map(|(key, value)| (key, value));
        let many = many.into_iter().flat_map(move |many| {
            let start = last.map_or(Bound::Unbounded, Bound::Excluded);
            let behind = last.map(|last| many.range((Bound::Unbounded, Bound::Included(last))));
            let rest = many.range((start, Bound::Unbounded));
            rest.chain(behind.into_iter().flatten())
        });
        few.chain(many)
    }

    pub(crate) fn len(&self) -> usize {
        let (few, many) = self.parts();
        few.len() + many.map_or(0, BTreeMap::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes and returns the entry if the map is `One`.
    fn take_one(&mut self) -> Option<(K, V)> {
        match std::mem::take(self) {
            Self::One(entry) => Some(entry),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Inserts an entry whose key the map does not have.
    fn insert_new(&mut self, key: K, value: V) {
        let mut few = match std::mem::take(self) {
            Self::Many(mut many) => {
                many.insert(key, value);
                *self = Self::Many(many);
                return;
            }
            // The first entry needs no allocation.
            Self::Few(few) if few.is_empty() => {
                *self = Self::One((key, value));
                return;
            }
            Self::One(one) => {
                let mut few = Vec::with_capacity(2);
                few.push(one);
                few
            }
            Self::Few(few) => few,
        };
        let index = position(&few, &key).unwrap_or_else(|index| index);
        few.insert(index, (key, value));
        *self = if few.len() > FEW {
            Self::Many(Box::new(few.into_iter().collect()))
        } else {
            Self::Few(few)
        };
    }

    /// Returns the entries as a slice and a tree, of which at least one is empty.
    fn parts(&self) -> Parts<'_, K, V> {
        match self {
            Self::Few(few) => (few, None),
            Self::One(one) => (std::slice::from_ref(one), None),
            Self::Many(many) => (&[], Some(many)),
        }
    }
}

type Parts<'a, K, V> = (&'a [(K, V)], Option<&'a BTreeMap<K, V>>);

/// Returns the index of a key, or as an error the index at which it must be inserted.
fn position<K: Borrow<Q>, Q: Ord + ?Sized, V>(few: &[(K, V)], key: &Q) -> Result<usize, usize> {
    few.binary_search_by(|(own, _)| own.borrow().cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_an_ordered_map(
            steps in prop::collection::vec((any::<bool>(), 0..60u8), 0..400),
            removals in prop::collection::vec(0..60u8, 0..200),
        ) {
            let (mut map, mut expected) = (SmallMap::default(), BTreeMap::new());
            let removals = removals.into_iter().map(|key| (false, key));
            for (value, (inserts, key)) in steps.into_iter().chain(removals).enumerate() {
                if inserts {
                    map.insert(key, value);
                    expected.insert(key, value);
                } else {
                    prop_assert_eq!(map.remove(&key), expected.remove(&key));
                }
                prop_assert_eq!(map.len(), expected.len());
                prop_assert_eq!(map.is_empty(), expected.is_empty());
                prop_assert_eq!(map.get(&key), expected.get(&key));
                prop_assert!(map.iter().eq(expected.iter()));
                let turn = expected.range(key + 1..).chain(expected.range(..=key));
                prop_assert!(map.iter_after(Some(&key)).eq(turn));
                prop_assert!(map.iter_after(None).eq(expected.iter()));
            }
        }
    }

    #[test]
    fn a_map_with_one_entry_allocates_nothing() {
        let mut map = SmallMap::default();
        map.insert(1, 1);
        assert!(matches!(map, SmallMap::One(_)));
        (2..100).for_each(|key| map.insert(key, key));
        assert!(matches!(map, SmallMap::Many(_)));
        (2..100).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(matches!(map, SmallMap::One(_)));
        assert_eq!(map.take_one(), Some((1, 1)));
        assert!(matches!(map, SmallMap::Few(few) if few.capacity() == 0));
    }

    #[test]
    fn each_step_is_one_search_for_any_number_of_entries() {
        use std::cell::Cell;
        use std::cmp::Ordering;

        thread_local!(static COMPARISONS: Cell<usize> = const { Cell::new(0) });
        #[derive(PartialEq, Eq)]
        struct Counted(u32);
        impl PartialOrd for Counted {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for Counted {
            fn cmp(&self, other: &Self) -> Ordering {
                COMPARISONS.set(COMPARISONS.get() + 1);
                self.0.cmp(&other.0)
            }
        }
        let mut map = SmallMap::default();
        let count = 100_000;
        for round in 0..2 {
            (0..count).for_each(|key| map.insert(Counted(key), round));
        }
        for key in 0..count {
            assert!(map.iter_after(Some(&Counted(key))).next().is_some());
            assert_eq!(map.remove(&Counted(key)), Some(1));
            map.insert(Counted(key), 1);
            map.insert(Counted(count + key), 1);
        }
        for key in 0..2 * count {
            assert_eq!(map.remove(&Counted(key)), Some(1));
        }
        assert!(map.is_empty());
        let comparisons = COMPARISONS.get() / count as usize;
        assert!(comparisons < 9 * 100, "{comparisons} for nine steps");
    }
}
