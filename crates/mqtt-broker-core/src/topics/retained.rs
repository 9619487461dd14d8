//! [`RetainedMessages`]: an ordered map with the retained message of each topic (MQTT 5.0, 3.3.1.3).
//!
//! The map is ordered by the levels of the topic names (`order.rs`), so that a search for a topic filter can skip
//! topics that do not match. A search looks at a limited number of topics in one call, and the next call continues
//! after any topic, even if messages were stored or removed meanwhile. `retained_replay.rs` decides which client
//! receives which message.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PublishRef, TopicName};

use crate::auth::policy::Principal;
use crate::footprint;
use crate::limits::Limits;
use crate::topics::names::SYSTEM;
use crate::topics::order::{self, Levels, Seek, TopicKey};

/// The retained message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The message.
    pub message: Arc<Message>,
    /// The QoS with which the message was published.
    pub qos: mqtt_codec::QoS,
    /// The time at which the message expires [MQTT-3.3.2-5].
    pub expires: Option<Instant>,
    /// The publisher of the message, for `check_retain_source`. `None` for messages of the broker itself.
    pub source: Option<Arc<Principal>>,
    /// The position of the message in the order in which retained messages were stored. A later message has a higher
    /// version.
    pub version: u64,
}

/// The retained messages of all topics.
#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    map: BTreeMap<TopicKey, Retained>,
    /// The topics of messages with an expiry, ordered by the time of the expiry.
    expiries: BTreeSet<(Instant, TopicKey)>,
    /// The number of messages, without those of the broker itself.
    count: usize,
    /// The memory of the messages that `count` includes, in bytes.
    bytes: usize,
    /// The version of the newest message.
    version: u64,
    /// The time of the next removal of expired messages, if one is scheduled.
    pub(crate) sweep_due: Option<Instant>,
}

/// The result of a search step.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// The next message that the filter matches.
    Match(&'a Retained),
    /// The steps are spent. The search may continue after this topic.
    Stopped(TopicName),
    /// No further message matches.
    End,
}

impl RetainedMessages {
    /// Stores a message in place of the older one of its topic [MQTT-3.3.1-5]. Returns the version of the message,
    /// which is above those of all others.
    pub(crate) fn store(&mut self, retained: Retained) -> u64 {
        self.version += 1;
        let version = self.version;
        self.insert(Retained {
            version,
            ..retained
        });
        version
    }

    /// Inserts a message from the store, with the version that it had before the broker was restarted.
    pub(crate) fn restore(&mut self, retained: Retained) {
        self.raise_version(retained.version);
        self.insert(retained);
    }

    /// Ensures that later messages get versions above this one.
    pub(crate) fn raise_version(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// Inserts a message with its version, in place of the older one of its topic.
    fn insert(&mut self, retained: Retained) {
        let key = TopicKey(retained.message.topic_name.clone());
        // `BTreeMap::insert` would keep the old key, and with it the memory of the old topic name. So the old entry is
        // removed first, and the key shares the topic name of the new message.
        self.remove(&key.0);
        if is_counted(&key.0) {
            self.count += 1;
            self.bytes += footprint_of_retained(&retained.message.publish(NO_DELIVERY));
            if let Some(expires) = retained.expires {
                self.expiries.insert((expires, key.clone()));
            }
        }
        self.map.insert(key, retained);
    }

    /// Removes the message of a topic [MQTT-3.3.1-6]. Returns `true` if the topic had a message.
    pub(crate) fn remove(&mut self, topic_name: &str) -> bool {
        let Some((key, removed)) = self.map.remove_entry(&topic_name as &dyn Levels) else {
            return false; // the topic has no retained message
        };
        if is_counted(topic_name) {
            self.count -= 1;
            self.bytes -= footprint_of_retained(&removed.message.publish(NO_DELIVERY));
        }
        // If the entry stayed, the sweep would remove a later message of this topic at the wrong time.
        if let Some(expires) = removed.expires {
            self.expiries.remove(&(expires, key));
        }
        true
    }

    /// Removes the message that has expired first, and returns its topic. Returns `None` if no message has expired.
    pub(crate) fn remove_expired(&mut self, now: Instant) -> Option<TopicName> {
        let (_, key) = self
            .expiries
            .first()
            .filter(|(expires, _)| *expires <= now)?;
        let topic_name = key.0.clone();
        self.remove(&topic_name);
        Some(topic_name)
    }

    pub(crate) fn get(&self, topic_name: &str) -> Option<&Retained> {
        self.map.get(&topic_name as &dyn Levels)
    }

    /// Finds the next message after the topic `after` that the filter matches, whether the message has expired or not.
    /// The filter must be without a share name.
    ///
    /// Each message that is looked at takes one of `steps`. All topics below a level that does not match are skipped
    /// with one lookup in the map, and take no steps.
    pub(crate) fn next_match(
        &self,
        topic_filter: &str,
        after: Option<&TopicName>,
        steps: &mut usize,
    ) -> Found<'_> {
        // Each round of the loop is one lookup in the map. A lookup ends when the search can skip topics.
        let mut from = match after {
            Some(after) => Bound::Excluded(after.to_string()),
            None => Bound::Included(order::start(topic_filter).to_owned()),
        };
        loop {
            let text = from.as_ref().map(String::as_str);
            let bound = match &text {
                Bound::Included(text) => Bound::Included(text as &dyn Levels),
                Bound::Excluded(text) => Bound::Excluded(text as &dyn Levels),
                Bound::Unbounded => Bound::Unbounded,
            };
            let mut seek = None;
            for (key, retained) in self.map.range::<dyn Levels, _>((bound, Bound::Unbounded)) {
                // Topics that do not match take a step too, because a filter such as `+/x` may look at many of them.
                *steps = steps.saturating_sub(1);
                match order::seek(topic_filter, &key.0) {
                    Seek::Match => return Found::Match(retained),
                    Seek::End => return Found::End,
                    _ if *steps == 0 => return Found::Stopped(key.0.clone()),
                    Seek::Next => {}
                    Seek::To(text) => {
                        seek = Some(text);
                        break;
                    }
                }
            }
            match seek {
                Some(text) => from = Bound::Included(text),
                None => return Found::End,
            }
        }
    }

    /// Calls `found` with each retained message, expired or not, including those of the broker itself.
    pub(crate) fn each(&self, found: impl FnMut(&Retained)) {
        self.map.values().for_each(found);
    }

    /// Returns `true` if the limits permit a retained message of this topic that takes `size` bytes of memory. The
    /// message that it would replace does not count.
    pub(crate) fn has_room(&self, topic_name: &str, size: usize, limits: &Limits) -> bool {
        if !is_counted(topic_name) {
            return true; // clients cannot publish to this topic, and messages of the broker itself do not count
        }
        let replaced = self.get(topic_name);
        let replaced =
            replaced.map(|before| footprint_of_retained(&before.message.publish(NO_DELIVERY)));
        // The older message is removed when the new one is stored, so its bytes are free.
        let bytes = self.bytes - replaced.unwrap_or(0) + size;
        (replaced.is_some() || self.count < limits.maximum_retained)
            && bytes <= limits.maximum_retained_bytes
    }

    /// Returns the number of retained messages, without those of the broker itself.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the memory of the messages that `len` counts, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the highest version that was used so far.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns `true` if at least one message has an expiry.
    pub(crate) fn will_expire(&self) -> bool {
        !self.expiries.is_empty()
    }
}

/// Returns the bytes of memory that a retained message takes.
pub(crate) fn footprint_of_retained(publish: &PublishRef<'_>) -> usize {
    footprint::of_publish(publish) + size_of::<TopicKey>() + size_of::<Retained>()
}

/// A delivery for `Message::publish`. The size of a message does not depend on it.
const NO_DELIVERY: mqtt_codec::Delivery = mqtt_codec::Delivery::AtMostOnce;

/// Returns `false` for topics of the broker itself. Their messages count towards no limit and never expire.
fn is_counted(topic_name: &str) -> bool {
    !topic_name.starts_with(SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{QoS, TopicFilter};
    use proptest::prelude::*;

    fn retained(topic_name: &str) -> Retained {
        Retained {
            message: Arc::new(Message::new(TopicName::new(topic_name).unwrap(), "x")),
            qos: QoS::AtLeastOnce,
            expires: None,
            source: None,
            version: 0,
        }
    }

    fn matching(messages: &RetainedMessages, filter: &str, steps: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let mut left = steps;
            match messages.next_match(filter, after.as_ref(), &mut left) {
                Found::End => return found,
                Found::Stopped(topic_name) => after = Some(topic_name),
                Found::Match(retained) => {
                    let topic_name = retained.message.topic_name.clone();
                    found.push(topic_name.to_string());
                    after = Some(topic_name);
                }
            }
        }
    }

    fn topic(wildcards: bool) -> impl Strategy<Value = String> {
        let level = if wildcards {
            "a|b|ab||\\$x|%|\\+"
        } else {
            "a|b|ab|a!||\\$x|%|zz"
        };
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(move |(mut levels, hash)| {
            if wildcards && hash {
                levels.push("#".into());
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn cursor_agrees_with_a_list(
            filters in prop::collection::btree_set(topic(true), 0..20),
            names in prop::collection::btree_set(topic(false), 0..30),
            removed in prop::collection::vec(topic(false), 0..10),
            steps in 1..5usize,
        ) {
            let names: Vec<_> =
                names.into_iter().filter(|name| TopicName::new(name).is_ok()).collect();
            let mut messages = RetainedMessages::default();
            names.iter().for_each(|name| { messages.store(retained(name)); });
            removed.iter().for_each(|name| { messages.remove(name); });
            let mut left: Vec<_> =
                names.iter().filter(|name| !removed.contains(name)).cloned().collect();
            left.sort_by(|one, other| order::compare(one, other));
            prop_assert_eq!(messages.len(), left.len());
            for filter in filters.iter().filter(|filter| TopicFilter::new(filter).is_ok()) {
                let expected: Vec<_> =
                    left.iter().filter(|name| mqtt_codec::matches(filter, name)).cloned().collect();
                prop_assert_eq!(matching(&messages, filter, steps), expected);
            }
        }
    }

    #[test]
    fn subtrees_that_cannot_match_are_not_visited() {
        let mut messages = RetainedMessages::default();
        for house in 0..10 {
            for room in 0..1000 {
                messages.store(retained(&format!("house{house}/rooms/{room}/lamp")));
            }
            messages.store(retained(&format!("house{house}/state")));
        }
        let mut steps = 1000;
        let mut after = None;
        let mut found = 0;
        while let Found::Match(retained) =
            messages.next_match("+/state", after.as_ref(), &mut steps)
        {
            after = Some(retained.message.topic_name.clone());
            found += 1;
        }
        assert_eq!(found, 10);
        assert!(steps > 1000 - 40, "{steps} steps are left");
    }

    #[test]
    fn memory_of_deep_topics_is_near_their_bytes() {
        let mut messages = RetainedMessages::default();
        let deep = "a/".repeat(199);
        for number in 0..100 {
            messages.store(retained(&format!("{number}/{deep}")));
        }
        assert!(
            messages.bytes() < 100 * (deep.len() + 1000),
            "{}",
            messages.bytes()
        );
        for number in 0..100 {
            assert!(messages.remove(&format!("{number}/{deep}")));
        }
        assert_eq!((messages.len(), messages.bytes()), (0, 0));
    }
}
