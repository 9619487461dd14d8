//! [`Topics`]: the subscriptions and the retained messages.

use crate::topics::retained::RetainedMessages;
use crate::topics::subscriptions::{Subscriber, Subscribers};
use crate::topics::tree::TopicTree;

/// The subscriptions and the retained messages.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub(crate) subscriptions: TopicTree<Subscribers>,
    pub(crate) retained: RetainedMessages,
    /// An empty list for the subscribers that match a message. It keeps its memory from message to message, so that
    /// routing a message does not allocate.
    pub(crate) matched: Vec<Subscriber>,
}
