//! Values at topic filters: a tree of levels, in which a chain of levels without branches is one
//! node. So a filter of 200 levels costs its bytes and not 200 nodes, and the memory of the tree is bounded by
//! a small multiple of the bytes of its filters.
//!
//! The tree finds the filters that match a name. Retained messages, which are found by a filter, are in another
//! structure (`topic_order.rs`). Nothing here is recursive, so no number of levels can overflow the call stack.

use crate::small_map::SmallMap;

/// A tree of levels.
#[derive(Debug)]
pub(crate) struct TopicTree<T> {
    root: Node<T>,
}

/// A node that is not the root has a value, or at least two children.
#[derive(Debug)]
struct Node<T> {
    /// The levels after the one by which the parent finds this node, up to its value or its first branch.
    chain: Option<Box<str>>,
    value: Option<T>,
    /// Boxed, as most nodes are leaves.
    children: Option<Box<Children<T>>>,
}

#[derive(Debug)]
struct Children<T> {
    /// By their first level, which no two of them share.
    nodes: SmallMap<Box<str>, Box<Node<T>>>,
    /// Set once a child began with a wildcard: most nodes have none, and are not searched for one.
    has_wildcards: bool,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            chain: None,
            value: None,
            children: None,
        }
    }
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self {
            nodes: SmallMap::default(),
            has_wildcards: false,
        }
    }
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
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
                .flat_map(|children| children.nodes.into_values());
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
            let (level, behind) = mqtt_codec::split_level(text);
            let Some((child, left)) = node.descend(level, behind) else {
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
            let (level, behind) = mqtt_codec::split_level(rest);
            let Some(child) = node.child(level) else {
                return;
            };
            match strip_chain(child.chain.as_deref(), behind) {
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
            let (level, behind) = mqtt_codec::split_level(text);
            node = node.child(level)?;
            rest = strip_chain(node.chain.as_deref(), behind)?;
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
        let mut current = Some((&self.root, Some(topic_name), hidden));
        // Other ways to go, where a level is matched by itself and by a wildcard.
        let mut stack = Vec::new();
        while let Some((node, rest, hidden)) = current.take().or_else(|| stack.pop()) {
            work += 1;
            let Some(rest) = node.follow(rest, &mut work) else {
                continue;
            };
            let children = node.children.as_deref();
            let wildcards = children.filter(|children| children.has_wildcards && !hidden);
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
            current = children.get(level).map(|child| (child, rest, false));
            if let Some(child) = wildcards.and_then(|children| children.get("+")) {
                let other = current.replace((child, rest, false));
                stack.extend(other);
            }
        }
        work
    }
}

impl<T> Node<T> {
    fn child(&self, level: &str) -> Option<&Self> {
        self.children.as_ref()?.get(level)
    }

    fn child_mut(&mut self, level: &str) -> Option<&mut Self> {
        let child = self.children.as_mut()?.nodes.get_mut(level)?;
        Some(child)
    }

    /// Compares the chain with what is left of a topic name. Returns what is left behind it, if it matches.
    fn follow<'a>(&self, name: Option<&'a str>, work: &mut usize) -> Option<Option<&'a str>> {
        let Some(chain) = &self.chain else {
            return Some(name);
        };
        let mut name = name;
        for level in mqtt_codec::levels(chain) {
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

    /// Goes to the child for the next levels of a topic, which is made, and splits its chain where the topic
    /// leaves it. Returns the child and what is left of the topic.
    fn descend<'a>(
        &mut self,
        level: &str,
        behind: Option<&'a str>,
    ) -> Option<(&mut Self, Option<&'a str>)> {
        let children = self.children.get_or_insert_default();
        children.has_wildcards |= is_wildcard(level);
        let leaf = || {
            let leaf = Self {
                chain: behind.map(Into::into),
                ..Self::default()
            };
            (level.into(), Box::new(leaf))
        };
        let child = children.nodes.get_or_insert_with(level, leaf)?;
        child.split(behind);
        let left = strip_chain(child.chain.as_deref(), behind)?;
        Some((child, left))
    }

    /// Splits the chain where `topic` leaves it, if it does.
    fn split(&mut self, topic: Option<&str>) {
        let chain = self.chain.take();
        let Some((head, tail)) = chain.as_deref().and_then(|chain| leave(chain, topic)) else {
            self.chain = chain;
            return;
        };
        let (level, behind) = mqtt_codec::split_level(tail);
        let lower = Self {
            chain: behind.map(Into::into),
            value: self.value.take(),
            children: self.children.take(),
        };
        self.chain = head.map(Into::into);
        let children = self.children.get_or_insert_default();
        children.has_wildcards = is_wildcard(level);
        children.nodes.insert(level.into(), Box::new(lower));
    }

    /// Changes the value of a child. Removes it if it is empty then.
    fn update_child(&mut self, level: &str, is_root: bool, change: impl FnOnce(&mut T) -> bool) {
        let Some(children) = &mut self.children else {
            return;
        };
        let Some(child) = children.nodes.get_mut(level) else {
            return;
        };
        if !child.value.as_mut().is_some_and(change) {
            return;
        }
        child.value = None;
        if child.children.is_some() {
            return child.merge();
        }
        children.nodes.remove(level);
        if children.nodes.is_empty() {
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
        let Some((level, child)) = children.and_then(|children| children.nodes.take_one()) else {
            return;
        };
        let levels = [self.chain.as_deref(), Some(&level), child.chain.as_deref()];
        let levels: Vec<_> = levels.into_iter().flatten().collect();
        let chain = levels.join("/");
        *self = Self {
            chain: Some(chain.into()),
            ..*child
        };
    }
}

impl<T> Children<T> {
    fn get(&self, level: &str) -> Option<&Node<T>> {
        self.nodes.get(level).map(|node| &**node)
    }

    /// Returns the value of the child `#`, behind which there is nothing.
    fn multi_level(&self) -> Option<&T> {
        self.get("#")?.value.as_ref()
    }
}

fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}

/// Returns what is left of a topic behind a chain, if it begins with the chain.
fn strip_chain<'a>(chain: Option<&str>, topic: Option<&'a str>) -> Option<Option<&'a str>> {
    let Some(chain) = chain else {
        return Some(topic);
    };
    match topic?.strip_prefix(chain)? {
        "" => Some(None),
        behind => behind.strip_prefix('/').map(Some),
    }
}

/// Returns the levels of a chain that a topic begins with, if any, and the others, if any.
fn leave<'a>(chain: &'a str, topic: Option<&str>) -> Option<(Option<&'a str>, &'a str)> {
    let (mut head, mut tail, mut topic) = (None, chain, topic);
    loop {
        let (level, behind) = mqtt_codec::split_level(tail);
        match topic.map(mqtt_codec::split_level) {
            Some((own, own_behind)) if own == level => {
                topic = own_behind;
                tail = behind?;
                head = chain.get(..chain.len() - tail.len() - 1);
            }
            _ => return Some((head, tail)),
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
            "a|b||\\$x|\\+"
        } else {
            "a|b||\\$x"
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
            filters in prop::collection::btree_set(topic(true), 0..20),
            removed in prop::collection::vec(topic(true), 0..10),
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

    fn nodes<T>(node: &Node<T>) -> impl Iterator<Item = (&str, &Node<T>)> {
        let children = node.children.iter();
        let nodes = children.flat_map(|children| children.nodes.iter());
        nodes.map(|(level, node)| (&**level, &**node))
    }

    /// Returns the number of nodes, and checks that chains are as long as they can be.
    fn count<T>(tree: &TopicTree<T>) -> usize {
        let (mut stack, mut count) = (vec![(&tree.root, true)], 0);
        while let Some((node, is_root)) = stack.pop() {
            let children = nodes(node).count();
            assert!(is_root || node.value.is_some() || children > 1);
            assert!(node.children.is_none() || children > 0);
            count += 1;
            stack.extend(nodes(node).map(|(_, child)| (child, false)));
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
    fn a_chain_of_200_levels_is_one_node_and_one_text() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        for number in 0..100 {
            tree.insert(&format!("{number}{}", "/a".repeat(199)), |value| {
                value.push(1)
            });
        }
        assert_eq!(count(&tree), 101);
        assert!(size_of::<Node<crate::subscribers::Subscribers>>() <= 64);
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
