//! [`Topics`]: the subscriptions and the retained messages.

use crate::topics::retained::RetainedMessages;
use crate::topics::subscriptions::{Subscriber, Subscribers};
use crate::topics::tree::TopicTree;

/// The subscriptions and the retained messages.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub(crate) subscriptions: TopicTree<Subscribers>,
    pub(crate) retained: RetainedMessages,
    /// The memory for the subscribers that match a message, which is used again by the next one.
    pub(crate) matched: Vec<Subscriber>,
}
