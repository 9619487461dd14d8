//! [`TopicTree`]: maps topic filters to values, and finds the filters that match a topic name.
//!
//! The tree has a node for each level at which filters branch. A chain of levels without a branch is a single node, so
//! a filter of 200 levels does not need 200 nodes. The memory of the tree is at most a small multiple of the bytes of
//! its filters, and a client cannot exhaust the memory with deep filters.
//!
//! No function is recursive, so that a filter with many levels cannot overflow the call stack. Retained messages are
//! not in this tree, because they are found by a filter and not by a name (`retained.rs`).

mod children;
mod levels;
mod node;

use self::levels::{follow, strip_levels};
use self::node::Node;

/// A tree of topic filters with a value for each filter.
#[derive(Debug)]
pub(crate) struct TopicTree<T> {
    root: Node<T>,
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self {
            root: Node::new(""),
        }
    }
}

impl<T> Drop for TopicTree<T> {
    /// Drops the nodes with an explicit stack. The drop that the compiler generates is recursive, and would overflow
    /// the call stack for a deep tree.
    fn drop(&mut self) {
        let mut stack = vec![self.root.children.take()];
        while let Some(children) = stack.pop() {
            let nodes = children
                .into_iter()
                .flat_map(|children| children.into_nodes());
            stack.extend(nodes.map(|mut node| node.children.take()));
        }
    }
}

impl<T: Default> TopicTree<T> {
    /// Calls `change` with the value at `topic`. Inserts a default value first if `topic` has none.
    pub(crate) fn insert(&mut self, topic: &str, change: impl FnOnce(&mut T)) {
        let mut node = &mut self.root;
        let mut rest = Some(topic);
        while let Some(text) = rest {
            let Some((child, left)) = node.descend(text) else {
                debug_assert!(false, "a node that was made just now is not there");
                return;
            };
            (node, rest) = (child, left);
        }
        change(node.value.get_or_insert_default());
    }
}

impl<T> TopicTree<T> {
    /// Calls `change` with the value at `topic`, if there is one, and removes the value if `change` returns `true`.
    pub(crate) fn update(&mut self, topic: &str, change: impl FnOnce(&mut T) -> bool) {
        let mut node = &mut self.root;
        let (mut rest, mut is_root) = (topic, true);
        loop {
            let (level, _) = mqtt_codec::split_level(rest);
            let Some(child) = node.child(level) else {
                return; // the tree does not have this filter
            };
            // The parent changes the value, because it may have to remove the child or merge with it.
            match strip_levels(&child.levels, rest) {
                None => return,
                Some(None) => break node.update_child(level, is_root, change),
                Some(Some(left)) => rest = left,
            }
            let Some(child) = node.child_mut(level) else {
                debug_assert!(false, "a child that was found just now is not there");
                return;
            };
            (node, is_root) = (child, false);
        }
    }

    /// Returns the value at exactly this topic filter. Wildcards have no special meaning here.
    pub(crate) fn get(&self, topic: &str) -> Option<&T> {
        let (mut node, mut rest) = (&self.root, Some(topic));
        while let Some(text) = rest {
            let (level, _) = mqtt_codec::split_level(text);
            node = node.child(level)?;
            rest = strip_levels(&node.levels, text)?;
        }
        node.value.as_ref()
    }

    /// Calls `found` with the value of each filter that matches the topic name. Returns the work of the search: the
    /// number of nodes that were visited plus the number of levels that were compared in them.
    pub(crate) fn each_filter_matching(
        &self,
        topic_name: &str,
        mut found: impl FnMut(&T),
    ) -> usize {
        // Set if wildcards in the first level must not match this topic name [MQTT-4.7.2-1].
        let hidden = topic_name.starts_with('$');
        let mut work = 0;
        let mut current = Some((&self.root, None, Some(topic_name), hidden));
        // The nodes that are left to visit. A level may be matched both literally and by `+`, so one of the two
        // children is visited later.
        let mut stack = Vec::new();
        while let Some((node, chain, rest, hidden)) = current.take().or_else(|| stack.pop()) {
            work += 1;
            let Some(rest) = follow(chain, rest, &mut work) else {
                continue;
            };
            let children = node.children.as_deref();
            let wildcards = children.filter(|children| children.has_wildcards() && !hidden);
            // `#` matches the rest of the name, and also a name that ends here, at its parent level.
            if let Some(value) = wildcards.and_then(Node::multi_level) {
                found(value);
            }
            let Some(rest) = rest else {
                node.value.iter().for_each(&mut found);
                continue;
            };
            let Some(children) = children else {
                continue;
            };
            let (level, rest) = mqtt_codec::split_level(rest);
            let child = children.get(level);
            // Only wildcards in the first level can be hidden, so the flag is `false` for all deeper levels.
            current = child.map(|child| (child, child.levels_behind(level), rest, false));
            if let Some(child) = wildcards.and_then(|children| children.get("+")) {
                let other = current.replace((child, child.levels_behind("+"), rest, false));
                stack.extend(other);
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{TopicFilter, TopicName};
    use proptest::prelude::*;

    fn filters_matching(tree: &TopicTree<Vec<String>>, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.each_filter_matching(name, |value| found.extend(value.iter().cloned()));
        found.sort();
        found
    }

    fn topic(wildcards: bool) -> impl Strategy<Value = String> {
        let level = if wildcards {
            "a|b||\\$x|\\+|[a-z][a-z]"
        } else {
            "a|b||\\$x|[a-z][a-z]"
        };
        (prop::collection::vec(level, 1..8), any::<bool>()).prop_map(move |(mut levels, hash)| {
            if wildcards && hash {
                levels.push("#".into());
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn tree_agrees_with_a_list(
            filters in prop::collection::btree_set(topic(true), 0..300),
            mut removed in prop::collection::vec(topic(true), 0..10),
            removed_filters in 0..300_usize,
            names in prop::collection::btree_set(topic(false), 0..20),
        ) {
            let filters: Vec<_> =
                filters.into_iter().filter(|filter| TopicFilter::new(filter).is_ok()).collect();
            let names: Vec<_> =
                names.into_iter().filter(|name| TopicName::new(name).is_ok()).collect();
            let mut by_filter = TopicTree::<Vec<String>>::default();
            for filter in &filters {
                by_filter.insert(filter, |value| value.push(filter.clone()));
            }
            removed.extend(filters.iter().take(removed_filters).cloned());
            for filter in &removed {
                by_filter.update(filter, |value| {
                    value.clear();
                    true
                });
            }
            count(&by_filter);
            for name in &names {
                let expected: Vec<_> = filters
                    .iter()
                    .filter(|filter| !removed.contains(filter))
                    .filter(|filter| mqtt_codec::matches(filter, name))
                    .cloned()
                    .collect();
                prop_assert_eq!(filters_matching(&by_filter, name), expected);
            }
        }
    }

    fn nodes<T>(node: &Node<T>) -> impl Iterator<Item = &Node<T>> {
        let children = node.children.iter();
        children.flat_map(|children| children.nodes())
    }

    /// Returns the number of nodes. Panics if a node could be merged with its child or removed.
    fn count<T>(tree: &TopicTree<T>) -> usize {
        let (mut stack, mut count) = (vec![(&tree.root, true)], 0);
        while let Some((node, is_root)) = stack.pop() {
            let children = nodes(node).count();
            assert!(is_root || node.value.is_some() || children > 1);
            assert!(node.children.is_none() || children > 0);
            count += 1;
            stack.extend(nodes(node).map(|child| (child, false)));
        }
        count
    }

    #[test]
    fn chains_are_split_and_merged_again() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        let mut nodes = Vec::new();
        let filters = [
            "a/b/c/d",
            "a/b/x",
            "a/b",
            "a/b/c/d/e/f",
            "a/b/c/d/#",
            "a",
            "z/+/y",
            "a/",
        ];
        for filter in filters {
            tree.insert(filter, |value| value.push(1));
            nodes.push(count(&tree));
        }
        assert_eq!(nodes, [2, 4, 4, 5, 6, 7, 8, 9]);
        let mut nodes = Vec::new();
        for filter in filters {
            tree.update(filter, |_| false);
            tree.update(filter, |_| true);
            nodes.push(count(&tree));
        }
        assert_eq!(nodes, [9, 8, 7, 5, 4, 3, 2, 1]);
        tree.update("x/y", |_| true);
        tree.update("a", |_| panic!("nothing is there"));
    }

    #[test]
    fn a_level_has_a_hundred_thousand_children() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        let filters: Vec<_> = (0..100_000).map(|number| format!("a/{number}")).collect();
        for filter in &filters {
            tree.insert(filter, |value| value.push(1));
        }
        assert_eq!(count(&tree), 100_002);
        for filter in &filters {
            assert!(tree.get(filter).is_some(), "{filter}");
            tree.update(filter, |_| true);
            assert!(tree.get(filter).is_none(), "{filter}");
        }
        assert_eq!(count(&tree), 1);
    }

    #[test]
    fn a_chain_of_200_levels_is_one_node_and_one_text() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        for number in 0..100 {
            tree.insert(&format!("{number}{}", "/a".repeat(199)), |value| {
                value.push(1)
            });
        }
        assert_eq!(count(&tree), 101);
        assert!(size_of::<Node<crate::topics::subscriptions::Subscribers>>() <= 64);
    }

    #[test]
    fn matching_counts_its_work() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        tree.insert("a/b/c", |value| value.push(1));
        let work = |tree: &TopicTree<Vec<u8>>, name| tree.each_filter_matching(name, |_| {});
        assert_eq!(work(&tree, "x"), 1);
        assert_eq!(work(&tree, "a/b/c"), 4);
        // At each of ten levels, the name is matched by `a` and by `+`.
        for number in 0..1024 {
            let levels = (0..10).map(|bit| if number >> bit & 1 == 0 { "a" } else { "+" });
            let filter = levels.collect::<Vec<_>>().join("/");
            tree.insert(&filter, |value| value.push(1));
        }
        let mut found = 0;
        let work = tree.each_filter_matching("a/a/a/a/a/a/a/a/a/a", |_| found += 1);
        assert_eq!(found, 1024);
        assert!((1024..4096).contains(&work), "{work}");
    }

    #[test]
    fn neither_many_levels_nor_many_branches_need_a_call_stack() {
        let steps = || {
            let mut tree = TopicTree::<Vec<u8>>::default();
            tree.insert("#", |value| value.push(1));
            let name = "/".repeat(65535);
            tree.insert(&name, |value| value.push(2));
            let filters: Vec<_> = (1..1000).map(|count| "/".repeat(count)).collect();
            for filter in &filters {
                tree.insert(filter, |value| value.push(3));
            }
            let mut count = 0;
            tree.each_filter_matching(&name, |value| count += value.len());
            assert_eq!(count, 2);
            for filter in filters.iter().skip(300).rev() {
                tree.update(filter, |_| true);
            }
        };
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        thread.spawn(steps).unwrap().join().unwrap();
    }
}
