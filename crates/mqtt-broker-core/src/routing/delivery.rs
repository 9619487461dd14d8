//! Delivers a message to one client: sends it immediately, or adds it to the client's queue. `sending.rs` sends the
//! queued messages when the window and the output of the client have room.
//!
//! The permission to receive is checked here for QoS 0, which is sent immediately, and in `sending.rs` for messages
//! from the queue. So the ACL at the time of sending decides.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PublishRef, QoS, SubscriptionIdentifiers};
use mqtt_session::{Excerpt, OutboundMessage, PublishError};

use crate::auth::acl::AclAction;
use crate::auth::state::Auth;
use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::Mutation;
use crate::durability::record;
use crate::flow::{backpressure, work};
use crate::keys::ClientKey;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::EVENTS;
use crate::resources::Resources;
use crate::routing::permissions;
use crate::routing::routed::{DeliveryOptions, Routed};
use crate::routing::sender::must_wait_for_replay;
use crate::routing::sending;
use crate::sessions::state::Sessions;
use crate::stats::drops::DropReason;
use crate::stats::state::Stats;

/// Sends the message to a client, adds it to the client's queue, or drops it if the queue is full.
pub(crate) fn deliver(
    broker: &mut Broker,
    now: Instant,
    key: ClientKey,
    routed: &mut Routed<'_>,
    copy: DeliveryOptions,
) {
    broker
        .flow
        .work
        .spend(work::copy_cost(routed.publish.payload.len()));
    if copy.qos == QoS::AtMostOnce && deliver_at_once(broker, now, key, &routed.publish, &copy) {
        return;
    }
    let Some(client) = broker.sessions.clients.get(key) else {
        return; // the session has ended since the subscribers of a large publication were collected
    };
    let is_full = client.queue.is_full(&broker.resources.limits);
    if broker.resources.is_memory_exhausted() {
        return drop_message(
            &mut broker.sessions,
            &mut broker.stats,
            key,
            DropReason::MemoryLimit,
        );
    }
    let Some(message) = visible_message(&broker.auth, &broker.sessions, key, routed) else {
        return; // the client must not see the topic
    };
    // Expired messages are removed only when room is needed, because the search looks at every message of the queue.
    if is_full && !drop_expired(broker, now, key) {
        // A message of QoS 0 is queued if the output has no room for it. Then the full output is the reason of the
        // drop.
        let reason = if copy.qos > QoS::AtMostOnce
            || has_output_room(
                &broker.connections,
                &broker.sessions,
                &broker.resources,
                key,
            ) {
            DropReason::QueueFull
        } else {
            DropReason::OutputFull
        };
        return drop_message(&mut broker.sessions, &mut broker.stats, key, reason);
    }
    let qos = copy.qos;
    let outgoing = OutboundMessage {
        retain: copy.retain,
        ..OutboundMessage::new(message, qos)
    };
    let outgoing = outgoing
        .with_subscriptions(copy.subscription_identifiers, copy.share)
        .with_expiry(routed.expires);
    // Even a message that can be sent now is queued first, so that it does not overtake the messages that wait.
    enqueue(broker, key, outgoing);
    sending::send_queue(broker, now, key);
    // Messages of QoS 0 are not acknowledged. A publisher that waited for acknowledgements would wait in vain.
    if qos > QoS::AtMostOnce {
        backpressure::note_backpressure(
            &broker.connections,
            &broker.sessions,
            &mut broker.flow,
            &broker.resources,
            now,
            key,
        );
    }
}

/// Returns `true` if the client is connected and its output is below `maximum_unwritten`.
fn has_output_room(
    connections: &Connections,
    sessions: &Sessions,
    resources: &Resources,
    key: ClientKey,
) -> bool {
    let id = sessions
        .clients
        .get(key)
        .and_then(|client| client.connection);
    let connection = id.and_then(|id| connections.get(id));
    connection.is_some_and(|connection| {
        connection.protocol.output().len() < resources.limits.maximum_unwritten
    })
}

/// Encodes a message of QoS 0 from the publisher's bytes directly into the output of the client, without an owned copy
/// of the message. Returns `false` if the message must be queued instead, and `true` if it was sent or must be dropped.
fn deliver_at_once(
    broker: &mut Broker,
    now: Instant,
    key: ClientKey,
    publish: &PublishRef<'_>,
    copy: &DeliveryOptions,
) -> bool {
    let Some(client) = broker.sessions.clients.get(key) else {
        return true; // the session has ended since the subscribers of a large publication were collected
    };
    let Some(id) = client.connection else {
        return !broker.resources.limits.queue_qos_0;
    };
    // Only the table is borrowed, and not `Connections`, so that `mark_changed` below needs no second lookup.
    let Some(connection) = broker.connections.table.get_mut(id) else {
        return true;
    };
    // The message must not overtake an older message that still waits: a retained message of its topic, a message that
    // waits for a replay of retained messages, or a message of QoS 0 that had no room in the output. Otherwise the last
    // message of a topic that the client receives would not be the newest one.
    if connection.protocol.output().len() >= broker.resources.limits.maximum_unwritten
        || client.queue.blocks_qos_0()
        || must_wait_for_replay(
            client,
            &broker.topics.retained,
            client.next_number,
            publish.topic_name,
        )
    {
        return false;
    }
    if !broker
        .auth
        .policies
        .allow(&client.principal, publish.topic_name, AclAction::Read)
    {
        broker.stats.counters.drops.count(DropReason::NotAuthorized);
        return true;
    }
    let mount_point = broker
        .auth
        .policies
        .of(client.principal.listener)
        .mount_point
        .as_deref();
    let Some(topic_name) = permissions::behind_mount_point(publish.topic_name, mount_point) else {
        return true; // the client must not see the topic
    };
    let mut publish = *publish;
    publish.topic_name = topic_name;
    publish.retain = copy.retain;
    // A topic alias of the publisher's connection has no meaning on another connection [MQTT-3.3.2-7].
    publish.properties.topic_alias = None;
    publish.properties.subscription_identifiers =
        SubscriptionIdentifiers::new(&copy.subscription_identifiers);
    // Any other error means that the client is not connected any more. Then nothing is counted.
    if let Err(PublishError::Encode(error)) =
        connection.protocol.publish_at_most_once(now, &publish)
    {
        broker.stats.counters.drops.count(DropReason::TooLarge);
        let name = &client.identifier;
        if broker
            .stats
            .log_limiter
            .admits(now, LogEvent::NotSent, name)
        {
            let (name, topic_name) = (Excerpt(name), Excerpt(topic_name));
            log::warn!(target: EVENTS, "A message to '{topic_name}' is not sent to client {name}: {error}.");
        }
    }
    connection.mark_changed(id, &mut broker.connections.changed);
    true
}

/// Adds a message to the queue of a client, and records its mutation if the message must survive a crash.
fn enqueue(broker: &mut Broker, key: ClientKey, outgoing: OutboundMessage) {
    let Some(client) = broker.sessions.known_mut(key) else {
        return;
    };
    // A message of QoS 0 may be lost, so it is never stored.
    let is_kept = broker.durability.mutations.is_some() && outgoing.qos > QoS::AtMostOnce;
    // The clone shares the message, and only happens for stored messages.
    let kept = is_kept.then(|| outgoing.clone());
    let before = client.queue.totals();
    let number = client.enqueue(outgoing);
    broker
        .stats
        .counters
        .count_queue(before, client.queue.totals());
    if let Some(outgoing) = kept {
        record::note(
            &mut broker.connections,
            &broker.sessions,
            &mut broker.durability,
            key,
            |client| Mutation::Queued {
                client: Arc::clone(&client.identifier),
                number,
                outgoing,
            },
        );
    }
}

/// Removes the expired messages from a full queue. Returns `true` if at least one message was removed.
fn drop_expired(broker: &mut Broker, now: Instant, key: ClientKey) -> bool {
    let Some(client) = broker.sessions.known_mut(key) else {
        return false;
    };
    let before = client.queue.totals();
    let done = client.queue.drop_expired(now);
    broker
        .stats
        .counters
        .count_queue(before, client.queue.totals());
    // The messages must be removed from the store too. Otherwise they would take room there, and return after a
    // restart.
    for number in &done {
        broker.stats.counters.drops.count(DropReason::Expired);
        record::note(
            &mut broker.connections,
            &broker.sessions,
            &mut broker.durability,
            key,
            |client| Mutation::Finished {
                client: Arc::clone(&client.identifier),
                number: *number,
            },
        );
    }
    !done.is_empty()
}

/// Returns the owned form of a message as the client sees it, without its mount point. Returns `None` if the client
/// must not see the message. Clients with the same mount point share one owned form, in memory and in the store.
fn visible_message(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    routed: &mut Routed<'_>,
) -> Option<Arc<Message>> {
    let message = routed.owned()?;
    let visible = permissions::visible_topic(auth, sessions, key, &message.topic_name)?;
    if visible.len() == message.topic_name.len() {
        return Some(message);
    }
    // Only the last form is kept, because most subscribers of a message have the same mount point.
    let known = routed.unmounted.as_ref();
    if let Some(known) = known.filter(|known| *known.topic_name == *visible) {
        return Some(Arc::clone(known));
    }
    routed.unmounted = unmounted(auth, sessions, key, message);
    routed.unmounted.clone()
}

/// Returns a copy of the message without the client's mount point, or `None` if the client must not see the message.
fn unmounted(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    message: Arc<Message>,
) -> Option<Arc<Message>> {
    permissions::without_mount_point(message, permissions::mount_point(auth, sessions, key))
}

/// Counts a message that is dropped for this client. Logs a warning for the first dropped message, and the next warning
/// only after the queue was empty.
fn drop_message(sessions: &mut Sessions, stats: &mut Stats, key: ClientKey, reason: DropReason) {
    stats.counters.drops.count(reason);
    if let Some(client) = sessions.clients.get_mut(key) {
        if client.queue.note_overflow() {
            let name = Excerpt(&client.identifier);
            log::warn!(
                target: EVENTS,
                "Outgoing messages are being dropped for client {name}."
            );
        }
    }
}
