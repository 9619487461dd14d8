//! Handles PUBLISH: checks the limits and the permission of the publisher, adds the mount point to the topic name, and
//! acknowledges the message. The message is retained and delivered in `routing/publication.rs`.

use std::time::Instant;

use mqtt_codec::{PublishRef, QoS, ReasonCode};
use mqtt_session::Excerpt;

use crate::auth::acl::AclAction;
use crate::auth::state::Auth;
use crate::broker::Broker;
use crate::connection::Connections;
use crate::flow::fan_outs::Origin;
use crate::keys::{ClientKey, ConnectionId};
use crate::lifecycle::close;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::EVENTS;
use crate::resources::Resources;
use crate::routing::publication::{self, Published};
use crate::routing::{acknowledgement, permissions, retain};
use crate::sessions::state::Sessions;
use crate::stats::state::Stats;
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
    // `as_sent` is checked for reserved topics, because the mount point turns a reserved topic into an ordinary one.
    // Subscribers behind the same mount point receive the topic without it. They would see the reserved topic, and
    // believe that the message is from the broker.
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
    // PUBACK and PUBREC of 3.x have no reason code. Without an error the publisher would discard a message that the
    // broker cannot store, so the broker ends the connection instead.
    if retain::exceeds_quota(&broker.topics, &broker.resources, publish)
        && !broker.connections.supports_reason_codes(id)
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
            match publication::publish_as(broker, now, Some(publisher), Some(origin), publish) {
                Published::Delivered(true) => ReasonCode::Success,
                Published::Delivered(false) => ReasonCode::NoMatchingSubscribers,
                Published::InSlices => return, // `large_publications.rs` acknowledges the message
            }
        }
    };
    // A message for which nothing was stored is acknowledged without waiting for a commit.
    if let Some(packet_identifier) = publish.delivery.packet_identifier() {
        let made_mutations = broker.durability.mutation_count() > before;
        acknowledgement::acknowledge(
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

/// Returns the reason code with which the connection must end, if this PUBLISH violates the protocol or a limit that
/// CONNACK has announced.
fn protocol_violation(
    auth: &Auth,
    connections: &Connections,
    resources: &Resources,
    id: ConnectionId,
    publish: &PublishRef<'_>,
) -> Option<ReasonCode> {
    let access = auth.policy(connections.get(id)?.listener);
    let mount_point = access.mount_point.as_deref().unwrap_or_default();
    // A longer topic name could not be encoded in a PUBLISH to a subscriber.
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

/// Removes a retained message while the broker lacks storage or memory, if a message of QoS 1 or 2 with an empty
/// payload requests that. The message itself is rejected, because its copies for subscribers could not be stored. The
/// removal needs no room: it frees memory immediately, and a later commit removes the message from the store.
fn clear_without_room(broker: &mut Broker, publisher: ClientKey, publish: &PublishRef<'_>) {
    // `reject_reason` is called later, so the permission must be checked here too.
    let is_clear = publish.retain && publish.payload.is_empty();
    if (broker.resources.is_storage_exhausted() || broker.resources.is_memory_exhausted())
        && is_clear
        && publish.delivery.qos() > QoS::AtMostOnce
        && !broker
            .sessions
            .is_reserved_for(publisher, publish.topic_name)
        && permissions::is_allowed(
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

/// Returns the reason to reject a message, or `None` if the broker accepts it. `as_sent` is the topic name without the
/// mount point.
fn reject_reason(
    broker: &Broker,
    publisher: ClientKey,
    as_sent: &str,
    publish: &PublishRef<'_>,
) -> Option<RejectReason> {
    // The reserved topics are checked before the ACL, because a rule such as `topic readwrite #` must not grant the
    // topics of the broker.
    let is_reserved = |topic_name| broker.sessions.is_reserved_for(publisher, topic_name);
    if is_reserved(as_sent) || is_reserved(publish.topic_name) {
        return Some(RejectReason::Reserved);
    }
    if publish.payload.len() > broker.resources.limits.maximum_payload {
        return Some(RejectReason::TooLarge);
    }
    if !permissions::is_allowed(
        &broker.auth,
        &broker.sessions,
        publisher,
        publish.topic_name,
        AclAction::Write,
    ) {
        return Some(RejectReason::NotAllowed);
    }
    retain::exceeds_quota(&broker.topics, &broker.resources, publish)
        .then_some(RejectReason::NoRoom)
}

/// Logs a rejected message, within the limits of log lines for each client.
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

/// Returns the topic name with the mount point of the listener, or `None` if the listener has no mount point.
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

/// The reason to reject a message. A rejected message is delivered to nobody. If its QoS is 1 or 2, it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RejectReason {
    /// The topic is reserved: only the broker publishes to it.
    Reserved,
    /// The payload exceeds `message_size_limit`.
    TooLarge,
    /// The ACL does not allow the publisher to publish to the topic.
    NotAllowed,
    /// The store, the memory or the retained messages have reached their limit.
    NoRoom,
}

impl RejectReason {
    fn reason_code(self) -> ReasonCode {
        match self {
            Self::TooLarge | Self::NoRoom => ReasonCode::QuotaExceeded,
            Self::Reserved | Self::NotAllowed => ReasonCode::NotAuthorized,
        }
    }

    /// Returns the event that is logged, or `None` for a message to a reserved topic: a client that publishes to `$SYS`
    /// every second would fill the log.
    fn log_event(self) -> Option<LogEvent> {
        match self {
            Self::Reserved => None,
            Self::TooLarge => Some(LogEvent::PublishTooLarge),
            Self::NotAllowed => Some(LogEvent::PublishDenied),
            Self::NoRoom => Some(LogEvent::PublishRefused),
        }
    }
}
