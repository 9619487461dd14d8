//! The last part of a message's way: to a client immediately, or into its queue, from which `sending.rs` takes it as
//! window and socket allow.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PublishRef, QoS, SubscriptionIdentifiers, TopicName};
use mqtt_session::{Excerpt, OutboundMessage, PublishError};

use crate::auth::Auth;
use crate::auth::acl::AclAction;
use crate::auth::policy::{ListenerPolicies, Principal};
use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation;
use crate::durability::mutation::Mutation;
use crate::flow::{backpressure, work};
use crate::log_lines::EVENTS;
use crate::log_lines::limiter::LogEvent;
use crate::packets::publish;
use crate::resources::Resources;
use crate::routing::router::{DeliveryOptions, Routed};
use crate::routing::sending;
use crate::routing::sending::is_held;
use crate::sessions::Sessions;
use crate::sessions::client::ClientKey;
use crate::stats::Stats;
use crate::stats::drops::DropReason;

/// Sends the message to a client, or puts it into the client's queue.
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
        return; // its session has ended since a large publication was matched
    };
    let is_full = client.queue.is_full(&broker.resources.limits);
    if broker.resources.lacks_memory() {
        return drop_message(
            &mut broker.sessions,
            &mut broker.stats,
            key,
            DropReason::MemoryLimit,
        );
    }
    let Some(message) = visible_message(&broker.auth, &broker.sessions, key, routed) else {
        return;
    };
    if is_full && !drop_expired(broker, now, key) {
        let reason = match copy.qos > QoS::AtMostOnce
            || has_output_room(
                &broker.connections,
                &broker.sessions,
                &broker.resources,
                key,
            ) {
            true => DropReason::QueueFull,
            false => DropReason::OutputFull,
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
    enqueue(broker, key, outgoing);
    sending::send_queue(broker, now, key);
    // Messages of QoS 0 are not acknowledged, so waiting for acknowledgements would make no room.
    if qos > QoS::AtMostOnce {
        backpressure::note_backpressure(broker, now, key);
    }
}

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

/// Sends a message of QoS 0 straight from the publisher's bytes. Returns `false` if it has to wait in the queue.
fn deliver_at_once(
    broker: &mut Broker,
    now: Instant,
    key: ClientKey,
    publish: &PublishRef<'_>,
    copy: &DeliveryOptions,
) -> bool {
    let Some(client) = broker.sessions.clients.get(key) else {
        return true; // its session has ended since a large publication was matched
    };
    let Some(id) = client.connection else {
        return !broker.resources.limits.queue_qos_0;
    };
    // The table alone is borrowed, so that the list of changed connections needs no second search.
    let Some(connection) = broker.connections.table.get_mut(id) else {
        return true;
    };
    // The message must not overtake an older message of its topic that waits: neither a retained message, nor one that
    // waits for retained messages. Otherwise the older message would be the last that the client gets of its topic. The
    // message must also not overtake a message of QoS 0 that had no room in the output.
    if connection.protocol.output().len() >= broker.resources.limits.maximum_unwritten
        || client.queue.holds()
        || is_held(
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
    let Some(topic_name) = behind_mount_point(publish.topic_name, mount_point) else {
        return true;
    };
    let mut publish = *publish;
    publish.topic_name = topic_name;
    publish.retain = copy.retain;
    publish.properties.topic_alias = None;
    publish.properties.subscription_identifiers =
        SubscriptionIdentifiers::new(&copy.subscription_identifiers);
    // Another error means that the client has disconnected: the message is not delivered.
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

/// Puts a message into the queue of a client.
fn enqueue(broker: &mut Broker, key: ClientKey, outgoing: OutboundMessage) {
    let Some(client) = broker.sessions.known_mut(key) else {
        return;
    };
    let is_kept = broker.durability.mutations.is_some() && outgoing.qos > QoS::AtMostOnce;
    let kept = is_kept.then(|| outgoing.clone());
    let before = client.queue.totals();
    let number = client.enqueue(outgoing);
    broker
        .stats
        .counters
        .count_queue(before, client.queue.totals());
    if let Some(outgoing) = kept {
        mutation::note(
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

/// Removes expired messages from a full queue. Returns `true` if it has room now.
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
    for number in &done {
        broker.stats.counters.drops.count(DropReason::Expired);
        mutation::note(
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

/// Returns the owned form of a message as a client sees it; `None` if the client must not see it. Clients behind
/// one mount point share it, in memory and in the store.
fn visible_message(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    routed: &mut Routed<'_>,
) -> Option<Arc<Message>> {
    let message = routed.owned()?;
    let visible = visible_topic(auth, sessions, key, &message.topic_name)?;
    if visible.len() == message.topic_name.len() {
        return Some(message);
    }
    let known = routed.unmounted.as_ref();
    if let Some(known) = known.filter(|known| *known.topic_name == *visible) {
        return Some(Arc::clone(known));
    }
    routed.unmounted = unmounted(auth, sessions, key, message);
    routed.unmounted.clone()
}

/// Returns the message as a client sees it, without its mount point; `None` if the client must not see it.
fn unmounted(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    message: Arc<Message>,
) -> Option<Arc<Message>> {
    without_mount_point(message, publish::mount_point(auth, sessions, key))
}

/// Returns the topic name as a client sees it, without its mount point.
pub(crate) fn visible_topic<'a>(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    topic_name: &'a str,
) -> Option<&'a str> {
    behind_mount_point(topic_name, publish::mount_point(auth, sessions, key))
}

/// Counts a message that the client does not get, and logs the first one until its queue is empty.
fn drop_message(sessions: &mut Sessions, stats: &mut Stats, key: ClientKey, reason: DropReason) {
    stats.counters.drops.count(reason);
    if let Some(client) = sessions.clients.get_mut(key) {
        if client.queue.overflows() {
            let name = Excerpt(&client.identifier);
            log::warn!(
                target: EVENTS,
                "Outgoing messages are being dropped for client {name}."
            );
        }
    }
}

/// Returns the message with a topic name that lacks the mount point; `None` if a client behind it must not see the
/// message.
pub(crate) fn without_mount_point(
    message: Arc<Message>,
    mount_point: Option<&str>,
) -> Option<Arc<Message>> {
    let visible = behind_mount_point(&message.topic_name, mount_point)?;
    if visible.len() == message.topic_name.len() {
        return Some(message);
    }
    let topic_name = TopicName::new(visible).ok()?;
    Some(Arc::new(Message {
        topic_name,
        ..Message::clone(&message)
    }))
}

/// Returns the topic name as a client with a mount point sees it.
///
/// The filter `#` of a client with the mount point `ten1/` is stored as `ten1/#`, which matches `ten1` and `ten1/` too.
/// Without the mount point these have no topic name, which must have a character [MQTT-4.7.3-1]: both are `None`.
fn behind_mount_point<'a>(topic_name: &'a str, mount_point: Option<&str>) -> Option<&'a str> {
    match mount_point {
        None => Some(topic_name),
        Some(mount_point) => topic_name
            .strip_prefix(mount_point)
            .filter(|rest| !rest.is_empty()),
    }
}

/// Returns `true` if a client may receive this message, whose topic name lacks the client's mount point already.
pub(crate) fn may_receive(
    policies: &ListenerPolicies,
    principal: &Principal,
    message: &Message,
) -> bool {
    match policies.of(principal.listener).mount_point.as_deref() {
        None => policies.allow(principal, &message.topic_name, AclAction::Read),
        Some(mount_point) => {
            let topic_name = format!("{mount_point}{}", message.topic_name);
            policies.allow(principal, &topic_name, AclAction::Read)
        }
    }
}
