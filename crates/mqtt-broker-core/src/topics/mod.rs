//! The topics: the tree of subscriptions, and the retained message of each topic.

pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod retained;
mod small_map;
pub(crate) mod subscriptions;
pub(crate) mod tree;

use self::retained::RetainedMessages;
use self::subscriptions::{Subscriber, Subscribers};
use self::tree::TopicTree;

/// The subscriptions and the retained messages.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub(crate) subscriptions: TopicTree<Subscribers>,
    pub(crate) retained: RetainedMessages,
    /// The memory for the subscribers that match a message, which is used again by the next one.
    pub(crate) matched: Vec<Subscriber>,
}
