//! Values at topic filters or topic names, one node for each level.
//!
//! The same tree is read in two ways: which filters match a name (subscriptions), and which names
//! are matched by a filter (retained messages). Both walk with a stack of their own, so that the
//! number of levels costs no call stack; who inserts limits the levels, for the sake of dropping.

use std::collections::BTreeMap;

/// A tree of levels.
#[derive(Debug)]
pub(crate) struct TopicTree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    value: T,
    /// Whether nobody put anything here, or it was taken away again.
    is_empty: bool,
    /// Whether there was a child that is a wildcard: most nodes have none, and are not searched for it.
    has_wildcards: bool,
    /// Boxed: a tree has room for eleven, and most nodes have one.
    children: BTreeMap<Box<str>, Box<Self>>,
}

impl<T: Default> Default for Node<T> {
    fn default() -> Self {
        Self {
            value: T::default(),
            is_empty: true,
            has_wildcards: false,
            children: BTreeMap::new(),
        }
    }
}

impl<T> Node<T> {
    fn child(&self, level: &str) -> Option<&Self> {
        self.children.get(level).map(|child| &**child)
    }
}

impl<T: Default> Default for TopicTree<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<T: Default> TopicTree<T> {
    /// The value at `topic`, made if it is not there.
    pub(crate) fn entry(&mut self, topic: &str) -> &mut T {
        let mut node = &mut self.root;
        for level in mqtt_codec::levels(topic) {
            node.has_wildcards |= matches!(level, "+" | "#");
            node = node.children.entry(level.into()).or_default();
        }
        node.is_empty = false;
        &mut node.value
    }

    /// Changes the value at `topic`, if it is there; `change` says whether it is empty then. Nodes
    /// that hold nothing any more are removed.
    pub(crate) fn update(&mut self, topic: &str, change: impl FnOnce(&mut T) -> bool) {
        let levels: Vec<_> = mqtt_codec::levels(topic).collect();
        update(&mut self.root, &levels, change);
    }

    /// Calls `found` with the value of each filter that matches the topic name.
    pub(crate) fn each_filter_matching(&self, topic_name: &str, mut found: impl FnMut(&T)) {
        // [MQTT-4.7.2-1]
        let hidden = topic_name.starts_with('$');
        let mut current = Some((&self.root, Some(topic_name), hidden));
        // Other ways to go, where a level is matched by itself and by a wildcard.
        let mut stack = Vec::new();
        while let Some((node, rest, hidden)) = current.or_else(|| stack.pop()) {
            let looks_for_wildcards = node.has_wildcards && !hidden;
            if looks_for_wildcards {
                if let Some(child) = node.child("#") {
                    found(&child.value);
                }
            }
            let Some(rest) = rest else {
                found(&node.value);
                current = None;
                continue;
            };
            let (level, rest) = mqtt_codec::split_level(rest);
            current = node.child(level).map(|child| (child, rest, false));
            if looks_for_wildcards {
                if let Some(child) = node.child("+") {
                    let other = current.replace((child, rest, false));
                    stack.extend(other);
                }
            }
        }
    }

    /// Calls `found` with every value.
    pub(crate) fn each(&self, mut found: impl FnMut(&T)) {
        let mut stack = vec![&self.root];
        while let Some(node) = stack.pop() {
            found(&node.value);
            stack.extend(node.children.values().map(|child| &**child));
        }
    }

    /// Calls `found` with the value of each topic name that the filter matches, in the order of the
    /// names' levels.
    pub(crate) fn each_name_matched_by(&self, filter: &str, mut found: impl FnMut(&T)) {
        let mut stack = vec![(&self.root, Some(filter), true)];
        while let Some((node, rest, is_root)) = stack.pop() {
            let Some(rest) = rest else {
                found(&node.value);
                continue;
            };
            let (level, behind) = mqtt_codec::split_level(rest);
            let visible = |name: &str| !(is_root && name.starts_with('$'));
            match level {
                "#" => {
                    if !is_root {
                        found(&node.value); // the parent level included
                    }
                    for (name, child) in node.children.iter().rev() {
                        if visible(name) {
                            stack.push((child, Some("#"), false));
                        }
                    }
                }
                "+" => {
                    for (name, child) in node.children.iter().rev() {
                        if visible(name) {
                            stack.push((child, behind, false));
                        }
                    }
                }
                _ => {
                    if let Some(child) = node.child(level) {
                        stack.push((child, behind, false));
                    }
                }
            }
        }
    }
}

/// Says whether the node holds nothing any more.
fn update<T>(node: &mut Node<T>, levels: &[&str], change: impl FnOnce(&mut T) -> bool) -> bool {
    match levels {
        [] => node.is_empty = change(&mut node.value),
        [level, rest @ ..] => {
            let Some(child) = node.children.get_mut(*level) else {
                return false;
            };
            if update(child, rest, change) {
                node.children.remove(*level);
            }
        }
    }
    node.is_empty && node.children.is_empty()
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

    fn names_matched(tree: &TopicTree<Vec<String>>, filter: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.each_name_matched_by(filter, |value| found.extend(value.iter().cloned()));
        found.sort();
        found
    }

    fn topic(wildcards: bool) -> impl Strategy<Value = String> {
        let level = if wildcards {
            "a|b||\\$x|\\+"
        } else {
            "a|b||\\$x"
        };
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(move |(mut levels, hash)| {
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
                by_filter.entry(filter).push(filter.clone());
            }
            for filter in &removed {
                by_filter.update(filter, |value| {
                    value.clear();
                    true
                });
            }
            let mut by_name = TopicTree::<Vec<String>>::default();
            for name in &names {
                by_name.entry(name).push(name.clone());
            }
            for name in &names {
                let expected: Vec<_> = filters
                    .iter()
                    .filter(|filter| !removed.contains(filter))
                    .filter(|filter| mqtt_codec::matches(filter, name))
                    .cloned()
                    .collect();
                prop_assert_eq!(filters_matching(&by_filter, name), expected);
            }
            for filter in &filters {
                let expected: Vec<_> =
                    names.iter().filter(|name| mqtt_codec::matches(filter, name)).cloned().collect();
                prop_assert_eq!(names_matched(&by_name, filter), expected);
            }
        }
    }

    #[test]
    fn what_holds_nothing_is_removed() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        tree.entry("a/b/c").push(1);
        tree.entry("a/b").push(2);
        let clear = |value: &mut Vec<u8>| {
            value.clear();
            true
        };
        tree.update("a/b", clear);
        tree.update("x/y", clear);
        assert_eq!(tree.root.children.len(), 1, "a/b/c is still there");
        tree.update("a/b/c", clear);
        assert_eq!(tree.root.children.len(), 0);
    }

    #[test]
    fn many_levels_need_no_call_stack_to_match() {
        let mut tree = TopicTree::<Vec<u8>>::default();
        tree.entry("#").push(1);
        let mut count = 0;
        tree.each_filter_matching(&"/".repeat(65535), |value| count += value.len());
        assert_eq!(count, 1);
    }
}
