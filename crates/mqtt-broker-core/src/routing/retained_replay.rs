//! Begins, records and ends the replays of retained messages.

use std::sync::Arc;

use mqtt_codec::{RetainHandling, TopicFilter};

use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::Mutation;
use crate::durability::record;
use crate::durability::state::Durability;
use crate::keys::ClientKey;
use crate::sessions::client::Stored;
use crate::sessions::retained_replays::{RetainedReplay, RetainedReplayState};
use crate::sessions::state::Sessions;
use crate::topics::retained::Found;
use crate::topics::subscriptions::SubscriptionState;

/// Maximum number of steps of the search for a matching retained message at SUBSCRIBE. If these steps do not show that
/// no message matches, a replay begins.
const PROBE: usize = 16;

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
    // Usually no retained message matches. Then no replay begins, and no mutation is made.
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
    let state = RetainedReplayState {
        number: client.next_number,
        version: broker.topics.retained.version(),
        after: None,
    };
    let before = client.retained_replays.remove(topic_filter);
    client.retained_replays.insert(RetainedReplay {
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
    let replay = client.and_then(|client| client.retained_replays.remove(topic_filter));
    // A replay that was never recorded is not in the store, so its end needs no mutation.
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
        return; // nothing is stored
    };
    let is_stored = client.stored == Stored::Session;
    let Some(replay) = client
        .retained_replays
        .get_mut(topic_filter)
        .filter(|_| is_stored)
    else {
        return; // the replay has ended, or its session is not stored
    };
    // If the client repeats its SUBSCRIBE before the replay has advanced, the progress is unchanged.
    if replay.recorded.as_ref() == Some(&replay.state) {
        return;
    }
    let state = replay.state.clone();
    replay.recorded = Some(state.clone());
    record::note(connections, sessions, durability, key, |client| {
        Mutation::RetainedReplay {
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
    record::note(connections, sessions, durability, key, |client| {
        Mutation::RetainedReplay {
            client: Arc::clone(&client.identifier),
            topic_filter,
            state: None,
        }
    });
}
