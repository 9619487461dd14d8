//! [`Replays`]: the retained messages that the subscriptions of a client must still receive (MQTT 5.0, 3.3.1.3).
//!
//! A replay is a position in the ordered map of retained messages (`topics/retained.rs`), and not a list of messages.
//! `sending.rs` reads the next message when the client has room for it. So a subscription that matches a million
//! retained messages takes little memory, and no place in the client's queue.
//!
//! Messages of the queue and of a replay have one order. A replay begins after the messages that were in the queue when
//! the client subscribed. A message that is queued later waits only while the replay has not yet passed an older
//! retained message of the same topic. A retained message that was stored after the subscription is skipped, because
//! the client received it live. If the live message was dropped, for example because the queue was full, the replay
//! does not send it either.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_codec::{RetainHandling, TopicFilter, TopicName};

use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::Mutation;
use crate::durability::{Durability, mutation};
use crate::sessions::Sessions;
use crate::sessions::client::{ClientKey, Stored, SubscriptionState};
use crate::topics::order;
use crate::topics::retained::Found;

/// Maximum number of steps of the search that finds out, at SUBSCRIBE, that no retained message matches. If the steps
/// do not suffice, a replay begins.
const PROBE: usize = 16;

/// Maximum number of replays whose topic filters are compared with the topic of a message. A client may have a hundred
/// thousand replays. Above this number, a message waits for all replays if its topic has a retained message.
const MAXIMUM_COMPARED: usize = 16;

/// The progress of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayState {
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
pub(crate) struct Replay {
    pub(crate) topic_filter: TopicFilter,
    pub(crate) state: ReplayState,
    /// The last progress for which a mutation was made. `None` if the client is not stored.
    pub(crate) recorded: Option<ReplayState>,
}

/// The replays of a client, at most one for each subscription. Most clients have none.
#[derive(Debug, Default)]
pub(crate) struct Replays(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// The replays in the order in which they began.
    replays: BTreeMap<u64, Replay>,
    by_filter: BTreeMap<TopicFilter, u64>,
    next: u64,
    /// Set if the next message is taken from the queue, and not from a replay.
    is_turn_of_queue: bool,
}

impl Replays {
    /// Adds a replay after the others. It replaces a replay of the same subscription.
    pub(crate) fn insert(&mut self, replay: Replay) {
        self.remove(&replay.topic_filter);
        let table = self.0.get_or_insert_default();
        table
            .by_filter
            .insert(replay.topic_filter.clone(), table.next);
        table.replays.insert(table.next, replay);
        table.next += 1;
    }

    pub(crate) fn remove(&mut self, topic_filter: &TopicFilter) -> Option<Replay> {
        let table = self.0.as_mut()?;
        let place = table.by_filter.remove(topic_filter)?;
        let replay = table.replays.remove(&place);
        if table.replays.is_empty() {
            self.0 = None;
        }
        replay
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn get_mut(&mut self, topic_filter: &TopicFilter) -> Option<&mut Replay> {
        let table = self.0.as_mut()?;
        let place = table.by_filter.get(topic_filter)?;
        table.replays.get_mut(place)
    }

    /// Returns the replay that began first.
    pub(crate) fn first_mut(&mut self) -> Option<&mut Replay> {
        self.0.as_mut()?.replays.values_mut().next()
    }

    /// Returns the replays in the order in which they began.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Replay> {
        self.0.iter().flat_map(|table| table.replays.values())
    }

    /// Returns `true` if the next message must be taken from the queue, and `false` if from a replay. The next call
    /// returns the opposite.
    pub(crate) fn take_turn(&mut self) -> bool {
        let Some(table) = &mut self.0 else {
            return true;
        };
        table.is_turn_of_queue = !table.is_turn_of_queue;
        !table.is_turn_of_queue
    }

    /// Returns `true` if a message with this number must wait until a replay has passed its topic. `version` is the
    /// version of the retained message of this topic.
    pub(crate) fn hold(&self, number: u64, topic_name: &str, version: u64) -> bool {
        let Some(table) = &self.0 else {
            return false;
        };
        if table.replays.len() > MAXIMUM_COMPARED {
            let first = table.replays.values().next();
            return first.is_some_and(|first| number >= first.state.number);
        }
        table.replays.values().any(|replay| {
            let ReplayState {
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

/// Begins the replay of the retained messages for a subscription, if its Retain Handling requests them
/// [MQTT-3.3.1-9 to MQTT-3.3.1-11]. A replay of the same subscription that is in progress starts again. The caller must
/// call `send_queue` to send the messages.
pub(crate) fn begin_replay(
    broker: &mut Broker,
    key: ClientKey,
    topic_filter: &TopicFilter,
    subscription: SubscriptionState,
    is_new: bool,
) {
    let is_wanted = match subscription.options.retain_handling {
        _ if topic_filter.share_name().is_some() => false, // no retained messages for a share (MQTT 5.0, 4.8.2)
        RetainHandling::SendAtSubscribe => true,
        RetainHandling::SendIfNew => is_new,
        RetainHandling::DoNotSend => false,
    };
    if !is_wanted {
        return;
    }
    let first = broker
        .topics
        .retained
        .next_match(topic_filter, None, &mut { PROBE });
    if matches!(first, Found::End) {
        return end_replay(
            &mut broker.connections,
            &mut broker.sessions,
            &mut broker.durability,
            key,
            topic_filter,
        );
    }
    let Some(client) = broker.sessions.known_mut(key) else {
        return;
    };
    let state = ReplayState {
        number: client.next_number,
        version: broker.topics.retained.version(),
        after: None,
    };
    let before = client.replays.remove(topic_filter);
    client.replays.insert(Replay {
        topic_filter: topic_filter.clone(),
        state,
        recorded: before.and_then(|before| before.recorded),
    });
    // SUBACK waits for the commit of this mutation: after SUBACK, a client with a stored session relies on receiving
    // these messages, even if the broker is restarted.
    record_replay(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        key,
        topic_filter,
    );
}

/// Removes the replay of a subscription, if there is one.
pub(crate) fn end_replay(
    connections: &mut Connections,
    sessions: &mut Sessions,
    durability: &mut Durability,
    key: ClientKey,
    topic_filter: &TopicFilter,
) {
    let client = sessions.clients.get_mut(key);
    let replay = client.and_then(|client| client.replays.remove(topic_filter));
    if replay.is_some_and(|replay| replay.recorded.is_some()) {
        note_replay_end(connections, sessions, durability, key, topic_filter.clone());
    }
}

/// Adds the mutation with the progress of a replay, if the replay is in progress and the client is stored.
pub(crate) fn record_replay(
    connections: &mut Connections,
    sessions: &mut Sessions,
    durability: &mut Durability,
    key: ClientKey,
    topic_filter: &TopicFilter,
) {
    let is_recorded = durability.mutations.is_some();
    let Some(client) = sessions.clients.get_mut(key).filter(|_| is_recorded) else {
        return;
    };
    let is_stored = client.stored == Stored::Session;
    let Some(replay) = client.replays.get_mut(topic_filter).filter(|_| is_stored) else {
        return;
    };
    if replay.recorded.as_ref() == Some(&replay.state) {
        return;
    }
    let state = replay.state.clone();
    replay.recorded = Some(state.clone());
    mutation::note(connections, sessions, durability, key, |client| {
        Mutation::Replay {
            client: Arc::clone(&client.identifier),
            topic_filter: topic_filter.clone(),
            state: Some(state),
        }
    });
}

/// Adds the mutation for the end of a replay.
pub(crate) fn note_replay_end(
    connections: &mut Connections,
    sessions: &Sessions,
    durability: &mut Durability,
    key: ClientKey,
    topic_filter: TopicFilter,
) {
    mutation::note(connections, sessions, durability, key, |client| {
        Mutation::Replay {
            client: Arc::clone(&client.identifier),
            topic_filter,
            state: None,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(filter: &str, number: u64, after: Option<&str>) -> Replay {
        Replay {
            topic_filter: TopicFilter::new(filter).unwrap(),
            state: ReplayState {
                number,
                version: 10,
                after: after.map(|after| TopicName::new(after).unwrap()),
            },
            recorded: None,
        }
    }

    #[test]
    fn a_message_waits_only_for_an_older_retained_message_ahead_of_a_replay() {
        let mut replays = Replays::default();
        assert!(!replays.hold(5, "a/c", 1));
        replays.insert(replay("a/#", 5, Some("a/b")));
        assert!(replays.hold(5, "a/c", 10));
        assert!(!replays.hold(4, "a/c", 10), "it was queued before");
        assert!(!replays.hold(5, "a/c", 11), "its retained message is newer");
        assert!(!replays.hold(5, "a/b", 10), "the replay has passed it");
        assert!(!replays.hold(5, "b", 10), "no replay matches");
    }

    #[test]
    fn a_subscription_has_one_replay() {
        let mut replays = Replays::default();
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
