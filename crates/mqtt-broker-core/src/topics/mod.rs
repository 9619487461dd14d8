//! The topics: the tree of subscriptions, and the retained message of each topic.

pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod retained;
mod small_map;
pub(crate) mod state;
pub(crate) mod subscriptions;
pub(crate) mod targets;
pub(crate) mod tree;
