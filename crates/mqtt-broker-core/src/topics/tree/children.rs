//! [`Children`]: the child nodes of a node of the topic tree. A node may stand for several levels of a
//! topic name, and the first of these levels is the key of the child.
//!
//! The children are in sorted vectors of at most 64 nodes. Most nodes have two children or fewer, and a `BTreeMap` or
//! `HashMap` for so few children would take more memory than the children.

use std::cmp::Ordering;

/// Maximum number of nodes in one vector. An insertion moves the later nodes of the vector, which is cheap for so few
/// nodes.
const MAXIMUM_NODES: usize = 64;

/// A node that is sorted among its siblings by its first level.
pub(super) trait Branch {
    /// Returns the levels, joined by slashes.
    fn levels(&self) -> &str;
}

/// The children of a node. All of them have different first levels.
#[derive(Debug)]
pub(super) struct Children<N> {
    nodes: Nodes<N>,
    /// Set when a child was inserted whose first level is `+` or `#`, and never cleared. Most nodes have no such child,
    /// and matching need not search for it.
    has_wildcards: bool,
}

/// The nodes in the order of their first levels.
#[derive(Debug)]
enum Nodes<N> {
    /// At most `MAXIMUM_NODES` nodes.
    Few(Vec<N>),
    /// At least two vectors, none of which is empty. The levels of each vector sort before those of the next vector.
    /// The outer vector is boxed, so that the enum is not larger than a vector.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<Vec<N>>>),
}

impl<N> Default for Children<N> {
    fn default() -> Self {
        Self {
            nodes: Nodes::Few(Vec::new()),
            has_wildcards: false,
        }
    }
}

impl<N: Branch> Children<N> {
    pub(super) fn get(&self, level: &str) -> Option<&N> {
        let nodes = match &self.nodes {
            Nodes::Few(few) => few,
            Nodes::Many(many) => many.get(vector_of(many, level))?,
        };
        nodes.get(position(nodes, level).ok()?)
    }

    pub(super) fn get_mut(&mut self, level: &str) -> Option<&mut N> {
        let nodes = self.nodes.vector_mut(level)?;
        let index = position(nodes, level).ok()?;
        nodes.get_mut(index)
    }

    /// Returns the child that begins with this level. If no child does, inserts the one that `make` returns.
    pub(super) fn get_or_insert_with(
        &mut self,
        level: &str,
        make: impl FnOnce() -> N,
    ) -> Option<&mut N> {
        let nodes = self.nodes.vector_mut(level)?;
        if let Err(index) = position(nodes, level) {
            // A vector that doubles its capacity would waste up to half of its memory, and most of these vectors stay
            // small.
            if nodes.len() == nodes.capacity() {
                nodes.reserve_exact(1 + nodes.len() / 2);
            }
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
                    debug_assert!(false, "the index of a vector is out of bounds");
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
    pub(super) fn take_one(&mut self) -> Option<N> {
        match &mut self.nodes {
            Nodes::Few(few) if few.len() == 1 => few.pop(),
            Nodes::Few(_) | Nodes::Many(_) => None,
        }
    }

    pub(super) fn has_wildcards(&self) -> bool {
        self.has_wildcards
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.nodes, Nodes::Few(few) if few.is_empty())
    }

    pub(super) fn into_nodes(self) -> impl Iterator<Item = N> {
        let vectors = match self.nodes {
            Nodes::Few(few) => vec![few],
            Nodes::Many(many) => *many,
        };
        vectors.into_iter().flatten()
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> impl Iterator<Item = &N> {
        let vectors = match &self.nodes {
            Nodes::Few(few) => std::slice::from_ref(few),
            Nodes::Many(many) => many,
        };
        vectors.iter().flatten()
    }
}

impl<N: Branch> Nodes<N> {
    /// Returns the vector that contains the node of this level, or into which the node must be inserted.
    fn vector_mut(&mut self, level: &str) -> Option<&mut Vec<N>> {
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
        let halve = |nodes: &mut Vec<N>| {
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
fn remove<N: Branch>(nodes: &mut Vec<N>, level: &str) {
    if let Ok(index) = position(nodes, level) {
        nodes.remove(index);
        if nodes.capacity() > 4 * nodes.len() {
            nodes.shrink_to(2 * nodes.len());
        }
    }
}

/// Returns the index of the vector that contains the node of this level, or into which the node must be inserted.
fn vector_of<N: Branch>(vectors: &[Vec<N>], level: &str) -> usize {
    let is_before = |nodes: &Vec<N>| {
        let first = nodes.first();
        first.is_some_and(|first| compare_first_level(first.levels(), level) != Ordering::Greater)
    };
    // A level that sorts before all nodes belongs into the first vector.
    vectors.partition_point(is_before).saturating_sub(1)
}

/// Returns the index of the node that begins with this level, or as an error the index at which it must be inserted.
fn position<N: Branch>(nodes: &[N], level: &str) -> Result<usize, usize> {
    nodes.binary_search_by(|node| compare_first_level(node.levels(), level))
}

/// Compares the first level of `levels` with `level`.
fn compare_first_level(levels: &str, level: &str) -> Ordering {
    let first = levels.bytes().take_while(|byte| *byte != b'/');
    first.cmp(level.bytes())
}

fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}
