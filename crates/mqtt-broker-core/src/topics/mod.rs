//! The topic tree of subscriptions (`tree.rs`, `subscriptions.rs`), and the retained message of each topic
//! (`retained.rs`, `order.rs`).
//!
//! Subscriptions are found by a topic name, and retained messages by a topic filter. These searches need different data
//! structures: a tree of filters, and an ordered map of topic names. No module here sends a message.

pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod retained;
mod small_map;
pub(crate) mod state;
pub(crate) mod subscriptions;
pub(crate) mod targets;
pub(crate) mod tree;
