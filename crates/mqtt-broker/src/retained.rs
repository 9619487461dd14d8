//! Retained messages (MQTT 5.0, 3.3.1.3): the last one of each topic.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::Message;

use crate::Who;
use crate::topic_tree::TopicTree;

/// The retained message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The message.
    pub message: Arc<Message>,
    /// The QoS it was published with.
    pub qos: mqtt_codec::QoS,
    /// When it is no longer of use [MQTT-3.3.2-5].
    pub expires: Option<Instant>,
    /// Who has published it.
    pub source: Option<Arc<Who>>,
}

#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    tree: TopicTree<Option<Retained>>,
    count: usize,
}

impl RetainedMessages {
    /// Replaces the message of its topic [MQTT-3.3.1-5].
    pub(crate) fn store(&mut self, retained: Retained) {
        let topic_name = retained.message.topic_name.clone();
        let before = self.tree.entry(&topic_name).replace(retained);
        self.count += usize::from(before.is_none());
    }

    /// An empty payload removes it [MQTT-3.3.1-6].
    pub(crate) fn remove(&mut self, topic_name: &str) {
        let mut removed = false;
        self.tree.update(topic_name, |value| {
            removed = value.take().is_some();
            true
        });
        self.count -= usize::from(removed);
    }

    /// Those that a filter matches and that have not expired.
    pub(crate) fn matching(&self, topic_filter: &str, now: Instant) -> Vec<Retained> {
        let mut found = Vec::new();
        self.tree.each_name_matched_by(topic_filter, |value| {
            if let Some(retained) = value {
                if retained.expires.is_none_or(|expires| now < expires) {
                    found.push(retained.clone());
                }
            }
        });
        found
    }

    /// All of them, expired or not.
    pub(crate) fn each(&self, mut found: impl FnMut(&Retained)) {
        self.tree.each(|value| value.iter().for_each(&mut found));
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
