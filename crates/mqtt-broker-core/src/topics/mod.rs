//! The topics: the tree of subscriptions, and the retained message of each topic.

pub(crate) mod order;
pub(crate) mod retained;
mod small_map;
pub(crate) mod subscriptions;
pub(crate) mod tree;
