//! [`RetainedReplays`]: the retained messages that the subscriptions of a client must still receive (MQTT 5.0,
//! 3.3.1.3).
//!
//! A replay is a position in the ordered map of retained messages (`topics/retained.rs`), and not a list of messages.
//! `sending.rs` reads the next message when the client has room for it. So a subscription that matches a million
//! retained messages takes little memory, and no place in the client's queue.
//!
//! These rules decide the order between the messages of the queue and those of a replay. A replay begins after the
//! messages that were in the queue when the client subscribed. A message that is queued later waits only while the
//! replay has not yet passed an older retained message of the same topic. A retained message that was stored after the
//! subscription is skipped, because the client received it live. If the live message was dropped, for example because
//! the queue was full, the replay does not send it either.

use std::collections::BTreeMap;

use mqtt_codec::{TopicFilter, TopicName};

use crate::topics::order;

/// Maximum number of replays whose topic filters are compared with the topic of a message. A client may have a hundred
/// thousand replays. Above this number, a message waits for all replays if its topic has a retained message.
const MAXIMUM_COMPARED: usize = 16;

/// The progress of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedReplayState {
    /// The number of the client's next message at the time of the subscription. Messages with lower numbers are sent
    /// before the replay.
    pub number: u64,
    /// The version of the newest retained message at the time of the subscription. Newer ones are not replayed.
    pub version: u64,
    /// The topic of the last retained message that was sent or skipped. `None` at the beginning.
    pub after: Option<TopicName>,
}

/// The replay of one subscription.
#[derive(Debug)]
pub(crate) struct RetainedReplay {
    pub(crate) topic_filter: TopicFilter,
    pub(crate) state: RetainedReplayState,
    /// The last progress for which a mutation was made. `None` if the client is not stored.
    pub(crate) recorded: Option<RetainedReplayState>,
}

/// The replays of a client, at most one for each subscription. Most clients have none.
#[derive(Debug, Default)]
pub(crate) struct RetainedReplays(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// The replays in the order in which they began.
    replays: BTreeMap<u64, RetainedReplay>,
    by_filter: BTreeMap<TopicFilter, u64>,
    next: u64,
    /// Set if the next message is taken from the queue, and not from a replay.
    is_turn_of_queue: bool,
}

impl RetainedReplays {
    /// Adds a replay after the others. It replaces a replay of the same subscription.
    pub(crate) fn insert(&mut self, replay: RetainedReplay) {
        self.remove(&replay.topic_filter);
        let table = self.0.get_or_insert_default();
        table
            .by_filter
            .insert(replay.topic_filter.clone(), table.next);
        table.replays.insert(table.next, replay);
        table.next += 1;
    }

    pub(crate) fn remove(&mut self, topic_filter: &TopicFilter) -> Option<RetainedReplay> {
        let table = self.0.as_mut()?;
        let place = table.by_filter.remove(topic_filter)?;
        let replay = table.replays.remove(&place);
        // Without replays the table is freed, so that `is_empty` only checks one pointer.
        if table.replays.is_empty() {
            self.0 = None;
        }
        replay
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn get_mut(&mut self, topic_filter: &TopicFilter) -> Option<&mut RetainedReplay> {
        let table = self.0.as_mut()?;
        let place = table.by_filter.get(topic_filter)?;
        table.replays.get_mut(place)
    }

    /// Returns the replay that began first.
    pub(crate) fn first_mut(&mut self) -> Option<&mut RetainedReplay> {
        self.0.as_mut()?.replays.values_mut().next()
    }

    /// Returns the replays in the order in which they began.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RetainedReplay> {
        self.0.iter().flat_map(|table| table.replays.values())
    }

    /// Returns `true` if the next message must be taken from the queue, and `false` if from a replay. The next call
    /// returns the opposite.
    pub(crate) fn take_turn(&mut self) -> bool {
        let Some(table) = &mut self.0 else {
            return true; // without a replay, only the queue has messages
        };
        table.is_turn_of_queue = !table.is_turn_of_queue;
        !table.is_turn_of_queue
    }

    /// Returns `true` if a message with this number must wait until a replay has passed its topic. `version` is the
    /// version of the retained message of this topic.
    pub(crate) fn must_wait(&self, number: u64, topic_name: &str, version: u64) -> bool {
        let Some(table) = &self.0 else {
            return false; // the client has no replays
        };
        // The first replay has the lowest number, because replays are in the order in which they began.
        if table.replays.len() > MAXIMUM_COMPARED {
            let first = table.replays.values().next();
            return first.is_some_and(|first| number >= first.state.number);
        }
        table.replays.values().any(|replay| {
            let RetainedReplayState {
                number: first,
                version: newest,
                after,
            } = &replay.state;
            number >= *first
                && version <= *newest
                && order::is_ahead(&replay.topic_filter, after.as_ref(), topic_name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(filter: &str, number: u64, after: Option<&str>) -> RetainedReplay {
        RetainedReplay {
            topic_filter: TopicFilter::new(filter).unwrap(),
            state: RetainedReplayState {
                number,
                version: 10,
                after: after.map(|after| TopicName::new(after).unwrap()),
            },
            recorded: None,
        }
    }

    #[test]
    fn a_message_waits_only_for_an_older_retained_message_ahead_of_a_replay() {
        let mut replays = RetainedReplays::default();
        assert!(!replays.must_wait(5, "a/c", 1));
        replays.insert(replay("a/#", 5, Some("a/b")));
        assert!(replays.must_wait(5, "a/c", 10));
        assert!(!replays.must_wait(4, "a/c", 10), "it was queued before");
        assert!(
            !replays.must_wait(5, "a/c", 11),
            "its retained message is newer"
        );
        assert!(!replays.must_wait(5, "a/b", 10), "the replay has passed it");
        assert!(!replays.must_wait(5, "b", 10), "no replay matches");
    }

    #[test]
    fn a_subscription_has_one_replay() {
        let mut replays = RetainedReplays::default();
        for number in 0..1000 {
            replays.insert(replay("#", number, None));
        }
        replays.insert(replay("a", 0, None));
        assert_eq!(replays.iter().count(), 2);
        let first = replays.first_mut().unwrap();
        assert_eq!(first.state.number, 999);
        let filter = first.topic_filter.clone();
        assert!(replays.remove(&filter).is_some() && replays.remove(&filter).is_none());
        assert_eq!(replays.first_mut().unwrap().topic_filter.as_bytes(), b"a");
    }
}
