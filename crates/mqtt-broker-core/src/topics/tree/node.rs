//! [`Node`]: a node of the topic tree, and the changes that keep the tree small.

use super::children::{Branch, Children};
use super::levels::{leave, strip_levels};

/// A node of the tree. Every node except the root has a value or at least two children; otherwise it is merged with its
/// only child or removed.
#[derive(Debug)]
pub(super) struct Node<T> {
    /// The levels between the parent and the value or the branch of this node, joined by slashes. The text has at least
    /// one level, except in the root, where it is empty and not used.
    pub(super) levels: Box<str>,
    pub(super) value: Option<T>,
    /// The children. They are boxed, because most nodes are leaves without children.
    pub(super) children: Option<Box<Children<Self>>>,
}

impl<T> Branch for Node<T> {
    fn levels(&self) -> &str {
        &self.levels
    }
}

impl<T> Node<T> {
    pub(super) fn new(levels: &str) -> Self {
        Self {
            levels: levels.into(),
            value: None,
            children: None,
        }
    }

    pub(super) fn child(&self, level: &str) -> Option<&Self> {
        self.children.as_ref()?.get(level)
    }

    pub(super) fn child_mut(&mut self, level: &str) -> Option<&mut Self> {
        self.children.as_mut()?.get_mut(level)
    }

    /// Returns the value of the child `#`. This child is always a leaf, because `#` is the last level of a filter
    /// [MQTT-4.7.1-1].
    pub(super) fn multi_level(children: &Children<Self>) -> Option<&T> {
        children.get("#")?.value.as_ref()
    }

    /// Returns the levels after the first one, or `None` if the node has a single level. The caller has found this node
    /// by its first level, so only the others must be compared.
    pub(super) fn levels_behind(&self, first: &str) -> Option<&str> {
        self.levels.get(first.len() + 1..)
    }

    /// Returns the child that begins with the first level of `topic`, and the rest of `topic` after the levels of the
    /// child. Inserts the child if it does not exist. Splits the child if `topic` begins with only some of its levels.
    pub(super) fn descend<'a>(&mut self, topic: &'a str) -> Option<(&mut Self, Option<&'a str>)> {
        let (level, _) = mqtt_codec::split_level(topic);
        let children = self.children.get_or_insert_default();
        let child = children.get_or_insert_with(level, || Self::new(topic))?;
        child.split(topic);
        let left = strip_levels(&child.levels, topic)?;
        Some((child, left))
    }

    /// Splits this node in two, if `topic` begins with some but not all of its levels. The lower node gets the levels
    /// that `topic` does not have, and the value and the children of this node.
    fn split(&mut self, topic: &str) {
        let Some((head, tail)) = leave(&self.levels, topic) else {
            return; // `topic` begins with all levels of this node
        };
        let mut lower = Self::new(tail);
        // This node keeps its place in the parent, which finds it by its unchanged first level.
        let head = head.into();
        lower.value = self.value.take();
        lower.children = self.children.take();
        self.levels = head;
        let (level, _) = mqtt_codec::split_level(&lower.levels);
        let level: Box<str> = level.into();
        let children = self.children.get_or_insert_default();
        children.get_or_insert_with(&level, || lower);
    }

    /// Calls `change` with the value of a child. If `change` returns `true`, removes the value, and restores the
    /// invariant of [`Node`]: nodes without a value and with fewer than two children are removed or merged.
    pub(super) fn update_child(
        &mut self,
        level: &str,
        is_root: bool,
        change: impl FnOnce(&mut T) -> bool,
    ) {
        let Some(children) = &mut self.children else {
            debug_assert!(false, "a child that was found just now is not there");
            return;
        };
        let Some(child) = children.get_mut(level) else {
            debug_assert!(false, "a child that was found just now is not there");
            return;
        };
        if !child.value.as_mut().is_some_and(change) {
            return;
        }
        child.value = None;
        // A child with children stays, or is merged with its only child. A leaf without a value is removed.
        if child.children.is_some() {
            return child.merge();
        }
        children.remove(level);
        if children.is_empty() {
            self.children = None;
        }
        // This node may have a single child now. The root is never merged, because it has no levels.
        if !is_root {
            self.merge();
        }
    }

    /// Merges this node with its child, if the node has no value and exactly one child.
    fn merge(&mut self) {
        let is_link = self.value.is_none();
        let children = self.children.as_mut().filter(|_| is_link);
        if let Some(child) = children.and_then(|children| children.take_one()) {
            let levels = format!("{}/{}", self.levels, child.levels).into();
            *self = Self { levels, ..child };
        }
    }
}
