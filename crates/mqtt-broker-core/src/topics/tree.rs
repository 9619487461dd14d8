//! Values at topic filters: a tree of levels, in which a chain of levels without branches is one
//! node. So a filter of 200 levels costs its bytes and not 200 nodes, and the memory of the tree is bounded by
//! a small multiple of the bytes of its filters.
//!
//! The tree finds the filters that match a name. Retained messages, which are found by a filter, are in another
//! structure (`order.rs`). Nothing here is recursive, so no number of levels can overflow the call stack.

mod children;

use crate::topics::tree::children::Children;

/// A tree of levels.
#[derive(Debug)]
pub(crate) struct TopicTree<T> {
    root: Node<T>,
}

/// A node that is not the root has a value, or at least two children.
#[derive(Debug)]
pub(crate) struct Node<T> {
    /// The levels from the parent to this node, up to its value or its first branch: at least one, but for the root.
    levels: Box<str>,
    value: Option<T>,
    /// Boxed, as most nodes are leaves.
    children: Option<Box<Children<T>>>,
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self {
            root: Node::new(""),
        }
    }
}

impl<T> Drop for TopicTree<T> {
    /// The drop that the compiler makes would call itself for each branch on the way down.
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
    /// Changes the value at `topic`, which is made if it is not there.
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
    /// Changes the value at `topic`, if it is there. `change` returns `true` if the value is to be removed.
    pub(crate) fn update(&mut self, topic: &str, change: impl FnOnce(&mut T) -> bool) {
        let mut node = &mut self.root;
        let (mut rest, mut is_root) = (topic, true);
        loop {
            let (level, _) = mqtt_codec::split_level(rest);
            let Some(child) = node.child(level) else {
                return;
            };
            match strip_levels(&child.levels, rest) {
                None => return,
                Some(None) => break node.update_child(level, is_root, change),
                Some(Some(left)) => rest = left,
            }
            let Some(child) = node.child_mut(level) else {
                return;
            };
            (node, is_root) = (child, false);
        }
    }

    /// Returns the value at `topic`.
    pub(crate) fn get(&self, topic: &str) -> Option<&T> {
        let (mut node, mut rest) = (&self.root, Some(topic));
        while let Some(text) = rest {
            let (level, _) = mqtt_codec::split_level(text);
            node = node.child(level)?;
            rest = strip_levels(&node.levels, text)?;
        }
        node.value.as_ref()
    }

    /// Calls `found` with the value of each filter that matches the topic name. Returns the work that this took:
    /// the number of nodes visited and of levels compared in them.
    pub(crate) fn each_filter_matching(
        &self,
        topic_name: &str,
        mut found: impl FnMut(&T),
    ) -> usize {
        // [MQTT-4.7.2-1]
        let hidden = topic_name.starts_with('$');
        let mut work = 0;
        let mut current = Some((&self.root, None, Some(topic_name), hidden));
        // Other ways to go, where a level is matched by itself and by a wildcard.
        let mut stack = Vec::new();
        while let Some((node, chain, rest, hidden)) = current.take().or_else(|| stack.pop()) {
            work += 1;
            let Some(rest) = follow(chain, rest, &mut work) else {
                continue;
            };
            let children = node.children.as_deref();
            let wildcards = children.filter(|children| children.has_wildcards() && !hidden);
            if let Some(value) = wildcards.and_then(|children| children.multi_level()) {
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
            current = child.map(|child| (child, child.levels_behind(level), rest, false));
            if let Some(child) = wildcards.and_then(|children| children.get("+")) {
                let other = current.replace((child, child.levels_behind("+"), rest, false));
                stack.extend(other);
            }
        }
        work
    }
}

impl<T> Node<T> {
    fn new(levels: &str) -> Self {
        Self {
            levels: levels.into(),
            value: None,
            children: None,
        }
    }

    fn child(&self, level: &str) -> Option<&Self> {
        self.children.as_ref()?.get(level)
    }

    fn child_mut(&mut self, level: &str) -> Option<&mut Self> {
        self.children.as_mut()?.get_mut(level)
    }

    /// Returns the levels behind the first one, which the caller has found this node by.
    fn levels_behind(&self, first: &str) -> Option<&str> {
        self.levels.get(first.len() + 1..)
    }

    /// Goes to the child for the next levels of a topic, which is made, and splits its levels where the topic
    /// leaves them. Returns the child and what is left of the topic.
    fn descend<'a>(&mut self, topic: &'a str) -> Option<(&mut Self, Option<&'a str>)> {
        let (level, _) = mqtt_codec::split_level(topic);
        let children = self.children.get_or_insert_default();
        let child = children.get_or_insert_with(level, || Self::new(topic))?;
        child.split(topic);
        let left = strip_levels(&child.levels, topic)?;
        Some((child, left))
    }

    /// Splits the levels where `topic` leaves them, if it does.
    fn split(&mut self, topic: &str) {
        let Some((head, tail)) = leave(&self.levels, topic) else {
            return;
        };
        let mut lower = Self::new(tail);
        let head = head.into();
        lower.value = self.value.take();
        lower.children = self.children.take();
        self.levels = head;
        let (level, _) = mqtt_codec::split_level(&lower.levels);
        let level: Box<str> = level.into();
        let children = self.children.get_or_insert_default();
        children.get_or_insert_with(&level, || lower);
    }

    /// Changes the value of a child. Removes it if it is empty then.
    fn update_child(&mut self, level: &str, is_root: bool, change: impl FnOnce(&mut T) -> bool) {
        let Some(children) = &mut self.children else {
            return;
        };
        let Some(child) = children.get_mut(level) else {
            return;
        };
        if !child.value.as_mut().is_some_and(change) {
            return;
        }
        child.value = None;
        if child.children.is_some() {
            return child.merge();
        }
        children.remove(level);
        if children.is_empty() {
            self.children = None;
        }
        if !is_root {
            self.merge();
        }
    }

    /// Becomes one node with its child, if it has no value and one child.
    fn merge(&mut self) {
        let is_link = self.value.is_none();
        let children = self.children.as_mut().filter(|_| is_link);
        if let Some(child) = children.and_then(|children| children.take_one()) {
            let levels = format!("{}/{}", self.levels, child.levels).into();
            *self = Self { levels, ..child };
        }
    }
}

/// Compares levels of the tree with what is left of a topic name. Returns what is left behind them, if they match.
fn follow<'a>(
    levels: Option<&str>,
    name: Option<&'a str>,
    work: &mut usize,
) -> Option<Option<&'a str>> {
    let Some(levels) = levels else {
        return Some(name);
    };
    let mut name = name;
    for level in mqtt_codec::levels(levels) {
        *work += 1;
        if level == "#" {
            return Some(None); // the parent level included
        }
        let (own, behind) = mqtt_codec::split_level(name?);
        if level != "+" && level != own {
            return None;
        }
        name = behind;
    }
    Some(name)
}

/// Returns what is left of a topic behind these levels, if it begins with them.
fn strip_levels<'a>(levels: &str, topic: &'a str) -> Option<Option<&'a str>> {
    match topic.strip_prefix(levels)? {
        "" => Some(None),
        behind => behind.strip_prefix('/').map(Some),
    }
}

/// Returns the levels that a topic has too, and the others, if there are others. The first level is the topic's.
fn leave<'a>(levels: &'a str, topic: &str) -> Option<(&'a str, &'a str)> {
    let (mut own, mut topic) = (Some(levels), Some(topic));
    loop {
        let (level, behind) = mqtt_codec::split_level(own?);
        match topic.map(mqtt_codec::split_level) {
            Some((other, rest)) if other == level => (own, topic) = (behind, rest),
            _ => {
                let tail = own?;
                let head = levels.get(..levels.len().checked_sub(tail.len() + 1)?)?;
                return Some((head, tail));
            }
        }
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
        fn the_tree_agrees_with_a_list(
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

    /// Returns the number of nodes, and checks that chains are as long as they can be.
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
    fn the_work_of_matching_is_counted() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        tree.insert("a/b/c", |value| value.push(1));
        let work = |tree: &TopicTree<Vec<u8>>, name| tree.each_filter_matching(name, |_| {});
        assert_eq!(work(&tree, "x"), 1);
        assert_eq!(work(&tree, "a/b/c"), 4);
        // Two ways at each of ten levels.
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
