//! PUBLISH at the broker: the permission of the publisher, the topic with its mount point, and the acknowledgement.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, PacketIdentifier, ProtocolVersion, PublishRef, QoS, ReasonCode, Will};
use mqtt_session::Excerpt;

use crate::auth::Auth;
use crate::auth::acl::AclAction;
use crate::broker::Broker;
use crate::connection::{ConnectionId, Connections};
use crate::durability::{Durability, commit_gate};
use crate::flow::background;
use crate::log_lines::EVENTS;
use crate::log_lines::limiter::LogEvent;
use crate::packets::close;
use crate::resources::Resources;
use crate::routing::fan_out::{Origin, Publication};
use crate::routing::router::Routed;
use crate::routing::{fan_out, retain, router};
use crate::sessions::Sessions;
use crate::sessions::client::ClientKey;
use crate::stats::Stats;
use crate::topics::names::is_publishable;

/// Handles a PUBLISH of a client.
pub(crate) fn handle_message(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    publisher: ClientKey,
    publish: &PublishRef<'_>,
) {
    if let Some(reason_code) = protocol_violation(
        &broker.auth,
        &broker.connections,
        &broker.resources,
        id,
        publish,
    ) {
        return close::end_connection(broker, now, id, reason_code);
    }
    // A mount point must not turn a reserved topic into an ordinary one: other clients behind the same mount
    // point would take the message for the broker's own.
    let as_sent = publish.topic_name;
    let mounted = mounted(&broker.auth, &broker.connections, id, as_sent);
    let with_mount_point = mounted.as_deref().map(|topic_name| PublishRef {
        topic_name,
        ..*publish
    });
    let publish = with_mount_point.as_ref().unwrap_or(publish);
    if publish.retain && !broker.sessions.is_reserved_for(publisher, as_sent) {
        clear_without_room(broker, publisher, publish);
    }
    if retain::lacks_room(&broker.topics, &broker.resources, publish)
        && !broker.connections.can_be_told(id)
    {
        return close::end_connection(broker, now, id, ReasonCode::QuotaExceeded);
    }
    let before = broker.durability.mutation_count();
    let reason_code = match reject_reason(broker, publisher, as_sent, publish) {
        Some(reject_reason) => {
            log_rejected(
                &broker.sessions,
                &mut broker.stats,
                now,
                publisher,
                publish,
                reject_reason,
            );
            reject_reason.reason_code()
        }
        None if publish.delivery.qos() == QoS::AtMostOnce
            && retain::drop_without_memory(broker, publish.topic_name, publish.retain) =>
        {
            ReasonCode::QuotaExceeded
        }
        None => {
            let origin = Origin {
                connection: id,
                client: publisher,
            };
            match publish_as(broker, now, Some(publisher), Some(origin), publish) {
                Published::Delivered(true) => ReasonCode::Success,
                Published::Delivered(false) => ReasonCode::NoMatchingSubscribers,
                Published::InSlices => return, // acknowledged after the last slice
            }
        }
    };
    if let Some(packet_identifier) = publish.delivery.packet_identifier() {
        let made_mutations = broker.durability.mutation_count() > before;
        acknowledge(
            &mut broker.connections,
            &mut broker.durability,
            now,
            id,
            packet_identifier,
            reason_code,
            made_mutations,
        );
    }
}

/// Acknowledges a message that was sent to every subscriber or put into its queue. If mutations were made, the
/// acknowledgement waits for their commit.
pub(crate) fn acknowledge(
    connections: &mut Connections,
    durability: &mut Durability,
    now: Instant,
    id: ConnectionId,
    packet_identifier: PacketIdentifier,
    reason_code: ReasonCode,
    made_mutations: bool,
) {
    let Some(connection) = connections.known_mut(id) else {
        return;
    };
    let reason_code = match connection.protocol.version() {
        ProtocolVersion::V5_0 => reason_code,
        _ => ReasonCode::Success,
    };
    connection
        .protocol
        .acknowledge(now, packet_identifier, reason_code);
    if made_mutations {
        commit_gate::hold_output(connections, durability, id);
    }
}

/// Returns the reason code if the connection must end because of this PUBLISH.
fn protocol_violation(
    auth: &Auth,
    connections: &Connections,
    resources: &Resources,
    id: ConnectionId,
    publish: &PublishRef<'_>,
) -> Option<ReasonCode> {
    let access = auth.policy(connections.get(id)?.listener);
    let mount_point = access.mount_point.as_deref().unwrap_or_default();
    let is_short = mount_point.len() + publish.topic_name.len() <= usize::from(u16::MAX);
    if !is_short || !is_publishable(publish.topic_name) {
        return Some(ReasonCode::TopicNameInvalid);
    }
    let maximum_qos = access.limits.maximum_qos;
    if maximum_qos.is_some_and(|maximum| publish.delivery.qos() > maximum) {
        return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
    }
    let is_refused = publish.retain && !resources.limits.retain_available;
    is_refused.then_some(ReasonCode::RetainNotSupported) // [MQTT-3.2.2-14]
}

/// Removes a retained message while the store has no room. The message that asks for it is refused, since it
/// may have subscribers whose copies cannot be stored; the removal itself needs no room, and its record waits.
fn clear_without_room(broker: &mut Broker, publisher: ClientKey, publish: &PublishRef<'_>) {
    let is_clear = publish.retain && publish.payload.is_empty();
    if (broker.resources.lacks_storage() || broker.resources.lacks_memory())
        && is_clear
        && publish.delivery.qos() > QoS::AtMostOnce
        && !broker
            .sessions
            .is_reserved_for(publisher, publish.topic_name)
        && may(
            &broker.auth,
            &broker.sessions,
            publisher,
            publish.topic_name,
            AclAction::Write,
        )
    {
        retain::remove_retained(
            &mut broker.topics,
            &mut broker.durability,
            publish.topic_name,
        );
    }
}

/// Returns the reason if a message is acknowledged but delivered to nobody. `as_sent` is the topic name without the
/// mount point.
fn reject_reason(
    broker: &Broker,
    publisher: ClientKey,
    as_sent: &str,
    publish: &PublishRef<'_>,
) -> Option<RejectReason> {
    let is_reserved = |topic_name| broker.sessions.is_reserved_for(publisher, topic_name);
    if is_reserved(as_sent) || is_reserved(publish.topic_name) {
        return Some(RejectReason::Reserved);
    }
    if publish.payload.len() > broker.resources.limits.maximum_payload {
        return Some(RejectReason::TooLarge);
    }
    if !may(
        &broker.auth,
        &broker.sessions,
        publisher,
        publish.topic_name,
        AclAction::Write,
    ) {
        return Some(RejectReason::NotAllowed);
    }
    retain::lacks_room(&broker.topics, &broker.resources, publish).then_some(RejectReason::NoRoom)
}

fn log_rejected(
    sessions: &Sessions,
    stats: &mut Stats,
    now: Instant,
    publisher: ClientKey,
    publish: &PublishRef<'_>,
    reject_reason: RejectReason,
) {
    let client = sessions.clients.get(publisher);
    let name = client.map_or("", |client| &*client.identifier);
    let event = reject_reason.log_event();
    if !event.is_some_and(|event| stats.log_limiter.admits(now, event, name)) {
        return;
    }
    let (name, length) = (Excerpt(name), publish.payload.len());
    let topic_name = Excerpt(publish.topic_name);
    match reject_reason {
        RejectReason::Reserved => {}
        RejectReason::TooLarge => {
            log::info!(target: EVENTS, "Dropped too large PUBLISH from {name} ({length} bytes)");
        }
        RejectReason::NotAllowed => {
            log::info!(target: EVENTS, "Denied PUBLISH from {name} ('{topic_name}', {length} bytes)");
        }
        RejectReason::NoRoom => {
            log::info!(
                target: EVENTS,
                "Refused PUBLISH from {name} ('{topic_name}'): the memory, the store or the retained messages have reached their limit"
            );
        }
    }
}

/// Returns the topic name with the mount point of the listener; `None` if the listener has none.
fn mounted(
    auth: &Auth,
    connections: &Connections,
    id: ConnectionId,
    topic_name: &str,
) -> Option<String> {
    let listener = connections.get(id)?.listener;
    let mount_point = auth.policy(listener).mount_point.as_deref()?;
    Some(format!("{mount_point}{topic_name}"))
}

/// Returns the mount point of a client.
pub(crate) fn mount_point<'a>(
    auth: &'a Auth,
    sessions: &Sessions,
    key: ClientKey,
) -> Option<&'a str> {
    let listener = sessions.clients.get(key)?.principal.listener;
    auth.policy(listener).mount_point.as_deref()
}

/// Returns `true` if a client may do this with the topic.
pub(crate) fn may(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    topic_name: &str,
    right: AclAction,
) -> bool {
    let client = sessions.clients.get(key);
    client.is_some_and(|client| auth.policies.allow(&client.principal, topic_name, right))
}

pub(crate) fn publish_will(broker: &mut Broker, now: Instant, key: ClientKey, will: &Will) {
    let name = broker
        .sessions
        .clients
        .get(key)
        .map(|client| Arc::clone(&client.identifier));
    let name = name.unwrap_or_default();
    if !may(
        &broker.auth,
        &broker.sessions,
        key,
        &will.message.topic_name,
        AclAction::Write,
    ) {
        if broker
            .stats
            .log_limiter
            .admits(now, LogEvent::WillDenied, &name)
        {
            let (name, topic_name) = (Excerpt(&name), Excerpt(&will.message.topic_name));
            log::info!(target: EVENTS, "Denied will of {name} ('{topic_name}')");
        }
        return;
    }
    log::debug!(target: EVENTS, "Sending will of {}", Excerpt(&name));
    // Only the QoS of the delivery counts here; the packet identifier is not used.
    let delivery = Delivery::first(will.qos, PacketIdentifier::FIRST);
    let message = &will.message;
    publish_as(broker, now, Some(key), None, &message.publish(delivery));
}

/// Keeps the message if it is to be retained, and delivers it to its subscribers. Without `origin` it is not the
/// message of a connection, and its author gets it even with No Local.
fn publish_as(
    broker: &mut Broker,
    now: Instant,
    author: Option<ClientKey>,
    origin: Option<Origin>,
    publish: &PublishRef<'_>,
) -> Published {
    // This also checks wills, and topics that the mount point has turned into reserved ones.
    if author.is_some_and(|author| broker.sessions.is_reserved_for(author, publish.topic_name)) {
        return Published::Delivered(false);
    }
    let from = origin.map(|origin| origin.client);
    let mut routed = Routed::new(*publish, now);
    let source = publish.retain.then(|| {
        let author = author.and_then(|author| broker.sessions.clients.get(author));
        author.map(|author| Arc::new(author.principal.clone()))
    });
    let source = source.flatten();
    let targets = router::collect_targets(broker, publish, from);
    let is_will = origin.is_none();
    // Slices of a will may not wait for those of others, see `Publication::is_will`. Who could wait has done so before
    // (`background::defer`); a client that reconnects cannot, since its new will takes the place of the old one.
    let is_whole = is_will
        && background::is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources);
    if is_whole || !router::is_large(&broker.resources, &targets, publish.payload.len()) {
        if publish.retain {
            retain::retain(broker, now, &mut routed, source);
        }
        return Published::Delivered(router::deliver_all(broker, now, &mut routed, targets));
    }
    let Some(message) = routed.owned() else {
        return Published::Delivered(false);
    };
    let publication = Publication {
        message,
        delivery: publish.delivery,
        expires: routed.expires,
        from,
        source,
        origin,
        is_will,
    };
    fan_out::fan_out(broker, now, publication, targets);
    Published::InSlices
}

/// The progress of a delivery.
enum Published {
    /// The delivery is complete; `true` if there was a subscriber.
    Delivered(bool),
    /// The delivery continues in later turns.
    InSlices,
}

/// The reason for which a message is acknowledged but delivered to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RejectReason {
    Reserved,
    TooLarge,
    NotAllowed,
    NoRoom,
}

impl RejectReason {
    fn reason_code(self) -> ReasonCode {
        match self {
            Self::TooLarge | Self::NoRoom => ReasonCode::QuotaExceeded,
            Self::Reserved | Self::NotAllowed => ReasonCode::NotAuthorized,
        }
    }

    /// A message to a reserved topic is not logged: a client that reports to `$SYS` every second would fill the log.
    fn log_event(self) -> Option<LogEvent> {
        match self {
            Self::Reserved => None,
            Self::TooLarge => Some(LogEvent::PublishTooLarge),
            Self::NotAllowed => Some(LogEvent::PublishDenied),
            Self::NoRoom => Some(LogEvent::PublishRefused),
        }
    }
}
