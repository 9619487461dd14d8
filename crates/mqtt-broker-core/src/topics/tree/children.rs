//! [`Children`]: the child nodes of a node of the topic tree. A child is found by its first level.
//!
//! The children are in sorted vectors of at most 64 nodes. A `BTreeMap` or `HashMap` would take more memory for its
//! keys and its own nodes: a tree of overlapping filters has as many inner nodes as leaves, and most inner nodes have
//! only two children.

use std::cmp::Ordering;

use crate::topics::tree::Node;

/// Maximum number of nodes in one vector. An insertion moves the later nodes of the vector, which costs little compared
/// with the search for so few nodes.
const MAXIMUM_NODES: usize = 64;

/// The children of a node. All of them have different first levels.
#[derive(Debug)]
pub(super) struct Children<T> {
    nodes: Nodes<T>,
    /// Set when a child was inserted whose first level is `+` or `#`, and never cleared. Most nodes have no such child,
    /// and matching need not search for it.
    has_wildcards: bool,
}

/// The nodes in the order of their first levels.
#[derive(Debug)]
enum Nodes<T> {
    /// At most `MAXIMUM_NODES` nodes.
    Few(Vec<Node<T>>),
    /// At least two vectors, none of which is empty. The levels of each vector sort before those of the next vector.
    /// The outer vector is boxed, so that the enum is not larger than a vector.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<Vec<Node<T>>>>),
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self {
            nodes: Nodes::Few(Vec::new()),
            has_wildcards: false,
        }
    }
}

impl<T> Children<T> {
    pub(super) fn get(&self, level: &str) -> Option<&Node<T>> {
        let nodes = match &self.nodes {
            Nodes::Few(few) => few,
            Nodes::Many(many) => many.get(vector_of(many, level))?,
        };
        nodes.get(position(nodes, level).ok()?)
    }

    pub(super) fn get_mut(&mut self, level: &str) -> Option<&mut Node<T>> {
        let nodes = self.nodes.vector_mut(level)?;
        let index = position(nodes, level).ok()?;
        nodes.get_mut(index)
    }

    /// Returns the child that begins with this level. If no child does, inserts the one that `make` returns.
    pub(super) fn get_or_insert_with(
        &mut self,
        level: &str,
        make: impl FnOnce() -> Node<T>,
    ) -> Option<&mut Node<T>> {
        let nodes = self.nodes.vector_mut(level)?;
        if let Err(index) = position(nodes, level) {
            // A vector that doubles its capacity would waste up to half of its memory, and most of these vectors stay
            // small.
            nodes.reserve_exact(1 + nodes.len() / 2);
            nodes.insert(index, make());
            if nodes.len() > MAXIMUM_NODES {
                self.nodes.split(level);
            }
            self.has_wildcards |= is_wildcard(level);
        }
        self.get_mut(level)
    }

    pub(super) fn remove(&mut self, level: &str) {
        match &mut self.nodes {
            Nodes::Few(few) => remove(few, level),
            Nodes::Many(many) => {
                let index = vector_of(many, level);
                let Some(nodes) = many.get_mut(index) else {
                    return;
                };
                remove(nodes, level);
                if nodes.is_empty() {
                    many.remove(index);
                }
                // `Many` has at least two vectors.
                if many.len() < 2 {
                    self.nodes = Nodes::Few(many.pop().unwrap_or_default());
                }
            }
        }
    }

    /// Removes and returns the child if there is exactly one, and returns `None` otherwise.
    pub(super) fn take_one(&mut self) -> Option<Node<T>> {
        match &mut self.nodes {
            Nodes::Few(few) if few.len() == 1 => few.pop(),
            Nodes::Few(_) | Nodes::Many(_) => None,
        }
    }

    /// Returns the value of the child `#`. This child is always a leaf, because `#` is the last level of a filter
    /// [MQTT-4.7.1-1].
    pub(super) fn multi_level(&self) -> Option<&T> {
        self.get("#")?.value.as_ref()
    }

    pub(super) fn has_wildcards(&self) -> bool {
        self.has_wildcards
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.nodes, Nodes::Few(few) if few.is_empty())
    }

    pub(super) fn into_nodes(self) -> impl Iterator<Item = Node<T>> {
        let vectors = match self.nodes {
            Nodes::Few(few) => vec![few],
            Nodes::Many(many) => *many,
        };
        vectors.into_iter().flatten()
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node<T>> {
        let vectors = match &self.nodes {
            Nodes::Few(few) => std::slice::from_ref(few),
            Nodes::Many(many) => many,
        };
        vectors.iter().flatten()
    }
}

impl<T> Nodes<T> {
    /// Returns the vector that contains the node of this level, or into which the node must be inserted.
    fn vector_mut(&mut self, level: &str) -> Option<&mut Vec<Node<T>>> {
        match self {
            Self::Few(few) => Some(few),
            Self::Many(many) => {
                let index = vector_of(many, level);
                many.get_mut(index)
            }
        }
    }

    /// Splits the vector of this level into two halves.
    fn split(&mut self, level: &str) {
        let halve = |nodes: &mut Vec<Node<T>>| {
            // `split_off` leaves the whole capacity to the lower half, which needs only a part of it.
            let upper = nodes.split_off(nodes.len() / 2);
            nodes.shrink_to_fit();
            upper
        };
        match self {
            Self::Few(few) => {
                let upper = halve(few);
                *self = Self::Many(Box::new(vec![std::mem::take(few), upper]));
            }
            Self::Many(many) => {
                let index = vector_of(many, level);
                if let Some(upper) = many.get_mut(index).map(halve) {
                    many.insert(index + 1, upper);
                }
            }
        }
    }
}

/// Removes the node of this level, and frees memory if less than a quarter of the vector is in use.
fn remove<T>(nodes: &mut Vec<Node<T>>, level: &str) {
    if let Ok(index) = position(nodes, level) {
        nodes.remove(index);
        if nodes.capacity() > 4 * nodes.len() {
            nodes.shrink_to(2 * nodes.len());
        }
    }
}

/// Returns the index of the vector that contains the node of this level, or into which the node must be inserted.
fn vector_of<T>(vectors: &[Vec<Node<T>>], level: &str) -> usize {
    let is_before = |nodes: &Vec<Node<T>>| {
        let first = nodes.first();
        first.is_some_and(|first| compare_first_level(&first.levels, level) != Ordering::Greater)
    };
    // A level that sorts before all nodes belongs into the first vector.
    vectors.partition_point(is_before).saturating_sub(1)
}

/// Returns the index of the node that begins with this level, or as an error the index at which it must be inserted.
fn position<T>(nodes: &[Node<T>], level: &str) -> Result<usize, usize> {
    nodes.binary_search_by(|node| compare_first_level(&node.levels, level))
}

/// Compares the first level of `levels` with `level`.
fn compare_first_level(levels: &str, level: &str) -> Ordering {
    let first = levels.bytes().take_while(|byte| *byte != b'/');
    first.cmp(level.bytes())
}

fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}
