//! Retained messages (MQTT 5.0, 3.3.1.3): the last one of each topic.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, TopicName};

use crate::statistics::SYSTEM;
use crate::topic_tree::TopicTree;
use crate::{Limits, Who};

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
    /// The bytes of their payloads.
    bytes: usize,
    /// When those that have expired are removed, if some will.
    pub(crate) sweep_due: Option<Instant>,
}

impl RetainedMessages {
    /// Replaces the message of its topic [MQTT-3.3.1-5].
    pub(crate) fn store(&mut self, retained: Retained) {
        let topic_name = retained.message.topic_name.clone();
        if topic_name.starts_with(SYSTEM) {
            self.tree
                .insert(&topic_name, |value| *value = Some(retained));
            return; // the broker's own, which are neither counted nor removed
        }
        self.bytes += retained.message.payload.len();
        let mut before = None;
        self.tree
            .insert(&topic_name, |value| before = value.replace(retained));
        match before {
            Some(before) => self.bytes -= before.message.payload.len(),
            None => self.count += 1,
        }
    }

    /// An empty payload removes it [MQTT-3.3.1-6].
    pub(crate) fn remove(&mut self, topic_name: &str) {
        let mut removed = None;
        self.tree.update(topic_name, |value| {
            removed = value.take();
            true
        });
        if let Some(removed) = removed {
            self.count -= 1;
            self.bytes -= removed.message.payload.len();
        }
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

    /// The topics of those that have expired, and whether others will.
    pub(crate) fn expired(&self, now: Instant) -> (Vec<TopicName>, bool) {
        let (mut expired, mut will_expire) = (Vec::new(), false);
        self.each(|retained| match retained.expires {
            Some(expires) if expires <= now => expired.push(retained.message.topic_name.clone()),
            Some(_) => will_expire = true,
            None => {}
        });
        (expired, will_expire)
    }

    /// All of them, expired or not, the broker's own included.
    pub(crate) fn each(&self, mut found: impl FnMut(&Retained)) {
        self.tree.each(|value| value.iter().for_each(&mut found));
    }

    /// Whether a message of this topic may be kept beside the others.
    pub(crate) fn has_room(&self, topic_name: &str, payload: usize, limits: &Limits) -> bool {
        if topic_name.starts_with(SYSTEM) {
            return true; // it is not kept at all
        }
        let mut replaced = None;
        self.tree.each_name_matched_by(topic_name, |value| {
            replaced = value.as_ref().map(|before| before.message.payload.len());
        });
        let bytes = self.bytes - replaced.unwrap_or(0) + payload;
        (replaced.is_some() || self.count < limits.maximum_retained)
            && bytes <= limits.maximum_retained_bytes
    }

    /// How many clients have left.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The bytes of their payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
