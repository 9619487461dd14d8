//! A message comes: whether its publisher may send it, to which topic it goes, and what it is answered.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, PacketIdentifier, ProtocolVersion, PublishRef, QoS, ReasonCode, Will};
use mqtt_session::Excerpt;

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::log_lines::limiter::LogEvent;
use crate::routing::fan_out::{Origin, Publication};
use crate::routing::footprint;
use crate::routing::router::Routed;
use crate::sessions::client::ClientKey;
use crate::stats::SYSTEM;
use crate::{AclAction, EVENTS};

/// Maximum number of slashes in a topic name or filter, as in mosquitto: one less than the number of levels.
pub(crate) const MAXIMUM_SLASHES: usize = 200;

impl Broker {
    /// A client has published.
    pub(crate) fn handle_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        publisher: ClientKey,
        publish: &PublishRef<'_>,
    ) {
        if let Some(reason_code) = self.protocol_violation(id, publish) {
            return self.end_connection(now, id, reason_code);
        }
        // A mount point must not turn a reserved topic into an ordinary one: other clients behind the same mount
        // point would take the message for the broker's own.
        let as_sent = publish.topic_name;
        let mounted = self.mounted(id, as_sent);
        let with_mount_point = mounted.as_deref().map(|topic_name| PublishRef {
            topic_name,
            ..*publish
        });
        let publish = with_mount_point.as_ref().unwrap_or(publish);
        if publish.retain && !self.is_reserved_for(publisher, as_sent) {
            self.clear_without_room(publisher, publish);
        }
        if self.lacks_room(publish) && !self.can_be_told(id) {
            return self.end_connection(now, id, ReasonCode::QuotaExceeded);
        }
        let before = self.mutation_count();
        let reason_code = match self.reject_reason(publisher, as_sent, publish) {
            Some(reject_reason) => {
                self.log_rejected(now, publisher, publish, reject_reason);
                reject_reason.reason_code()
            }
            None if publish.delivery.qos() == QoS::AtMostOnce
                && self.drop_without_memory(publish.topic_name, publish.retain) =>
            {
                ReasonCode::QuotaExceeded
            }
            None => {
                let origin = Origin {
                    connection: id,
                    client: publisher,
                };
                match self.publish_as(now, Some(publisher), Some(origin), publish) {
                    Published::Delivered(true) => ReasonCode::Success,
                    Published::Delivered(false) => ReasonCode::NoMatchingSubscribers,
                    Published::InSlices => return, // acknowledged after the last one
                }
            }
        };
        if let Some(packet_identifier) = publish.delivery.packet_identifier() {
            let made_mutations = self.mutation_count() > before;
            self.acknowledge(now, id, packet_identifier, reason_code, made_mutations);
        }
    }

    /// Acknowledges a message: every subscriber has it, or its queue has, so the broker has taken it over. If mutations were
    /// made, the acknowledgement promises them.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        made_mutations: bool,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
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
            self.hold_output(id);
        }
    }

    /// Why a connection ends that sends this, if it does.
    fn protocol_violation(&self, id: ConnectionId, publish: &PublishRef<'_>) -> Option<ReasonCode> {
        let access = self.policy(self.connections.get(id)?.listener);
        let mount_point = access.mount_point.as_deref().unwrap_or_default();
        let is_short = mount_point.len() + publish.topic_name.len() <= usize::from(u16::MAX);
        if !is_short || !is_publishable(publish.topic_name) {
            return Some(ReasonCode::TopicNameInvalid);
        }
        let maximum_qos = access.limits.maximum_qos;
        if maximum_qos.is_some_and(|maximum| publish.delivery.qos() > maximum) {
            return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        let is_refused = publish.retain && !self.limits.retain_available;
        is_refused.then_some(ReasonCode::RetainNotSupported) // [MQTT-3.2.2-14]
    }

    /// Whether a message cannot be taken over as its QoS promises. One of QoS 0 is delivered all the same, and
    /// not retained.
    pub(crate) fn lacks_room(&self, publish: &PublishRef<'_>) -> bool {
        let is_kept = publish.retain && !publish.payload.is_empty();
        publish.delivery.qos() > QoS::AtMostOnce
            && (self.lacks_storage()
                || self.lacks_memory()
                || is_kept && {
                    let size = footprint::of_retained(publish);
                    let limits = &self.limits;
                    !self.retained.has_room(publish.topic_name, size, limits)
                })
    }

    /// Removes a retained message while the store has no room. The message that asks for it is refused, since it
    /// may have subscribers whose copies cannot be stored; the removal itself needs no room, and its record waits.
    fn clear_without_room(&mut self, publisher: ClientKey, publish: &PublishRef<'_>) {
        let is_clear = publish.retain && publish.payload.is_empty();
        if (self.lacks_storage() || self.lacks_memory())
            && is_clear
            && publish.delivery.qos() > QoS::AtMostOnce
            && !self.is_reserved_for(publisher, publish.topic_name)
            && self.may(publisher, publish.topic_name, AclAction::Write)
        {
            self.remove_retained(publish.topic_name);
        }
    }

    /// Whether an acknowledgement to this client may say that a message was refused.
    pub(crate) fn can_be_told(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(|connection| connection.protocol.version() == ProtocolVersion::V5_0)
    }

    /// Why a message is acknowledged and goes nowhere, if it does.
    /// `as_sent` is the topic name without the mount point.
    fn reject_reason(
        &self,
        publisher: ClientKey,
        as_sent: &str,
        publish: &PublishRef<'_>,
    ) -> Option<RejectReason> {
        let is_reserved = |topic_name| self.is_reserved_for(publisher, topic_name);
        if is_reserved(as_sent) || is_reserved(publish.topic_name) {
            return Some(RejectReason::Reserved);
        }
        if publish.payload.len() > self.limits.maximum_payload {
            return Some(RejectReason::TooLarge);
        }
        if !self.may(publisher, publish.topic_name, AclAction::Write) {
            return Some(RejectReason::NotAllowed);
        }
        self.lacks_room(publish).then_some(RejectReason::NoRoom)
    }

    fn log_rejected(
        &mut self,
        now: Instant,
        publisher: ClientKey,
        publish: &PublishRef<'_>,
        reject_reason: RejectReason,
    ) {
        let client = self.clients.get(publisher);
        let name = client.map_or("", |client| &*client.identifier);
        let event = reject_reason.log_event();
        if !event.is_some_and(|event| self.log_limiter.admits(now, event, name)) {
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
                    "Refused PUBLISH from {name} ('{topic_name}'): there is no room for it"
                );
            }
        }
    }

    /// The topic name with the mount point of the listener before it, if there is one.
    fn mounted(&self, id: ConnectionId, topic_name: &str) -> Option<String> {
        let listener = self.connections.get(id)?.listener;
        let mount_point = self.policy(listener).mount_point.as_deref()?;
        Some(format!("{mount_point}{topic_name}"))
    }

    /// What stands before the topics of a client, and not in what it gets.
    pub(crate) fn mount_point(&self, key: ClientKey) -> Option<&str> {
        let listener = self.clients.get(key)?.principal.listener;
        self.policy(listener).mount_point.as_deref()
    }

    /// Whether a client has this right.
    pub(crate) fn may(&self, key: ClientKey, topic_name: &str, right: AclAction) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|client| self.policies.allow(&client.principal, topic_name, right))
    }

    /// Returns `true` if this client must not publish to the topic, which is one of the broker's own.
    fn is_reserved_for(&self, publisher: ClientKey, topic_name: &str) -> bool {
        topic_name.starts_with('$') && {
            let client = self.clients.get(publisher);
            is_reserved(topic_name, client.map_or("", |client| &*client.identifier))
        }
    }

    pub(crate) fn publish_will(&mut self, now: Instant, key: ClientKey, will: &Will) {
        let name = self
            .clients
            .get(key)
            .map(|client| Arc::clone(&client.identifier));
        let name = name.unwrap_or_default();
        if !self.may(key, &will.message.topic_name, AclAction::Write) {
            if self.log_limiter.admits(now, LogEvent::WillDenied, &name) {
                log::info!(target: EVENTS, "Denied will of {}", Excerpt(&name));
            }
            return;
        }
        log::debug!(target: EVENTS, "Sending will of {}", Excerpt(&name));
        // The packet identifier is nobody's: only the QoS counts here.
        let delivery = Delivery::first(will.qos, PacketIdentifier::FIRST);
        let message = &will.message;
        self.publish_as(now, Some(key), None, &message.publish(delivery));
    }

    /// Keeps the message if it is to be retained, and delivers it to its subscribers. Without `origin` it is not the
    /// message of a connection, and its author gets it even with No Local.
    fn publish_as(
        &mut self,
        now: Instant,
        author: Option<ClientKey>,
        origin: Option<Origin>,
        publish: &PublishRef<'_>,
    ) -> Published {
        // Wills come this way too, and a mount point may complete a reserved topic.
        if author.is_some_and(|author| self.is_reserved_for(author, publish.topic_name)) {
            return Published::Delivered(false);
        }
        let from = origin.map(|origin| origin.client);
        let mut routed = Routed::new(*publish, now);
        let source = publish.retain.then(|| {
            let author = author.and_then(|author| self.clients.get(author));
            author.map(|author| Arc::new(author.principal.clone()))
        });
        let source = source.flatten();
        let targets = self.collect_targets(publish, from);
        if !self.is_large(&targets, publish.payload.len()) {
            if publish.retain {
                self.retain(now, &mut routed, source);
            }
            return Published::Delivered(self.deliver_all(now, &mut routed, targets));
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
        };
        self.fan_out(now, publication, targets);
        Published::InSlices
    }
}

/// The progress of a delivery.
enum Published {
    /// To its end; whether there was a subscriber.
    Delivered(bool),
    /// The delivery continues in later turns.
    InSlices,
}

/// Returns `true` if a client with this identifier must not publish to this topic, since only the broker does. Clients
/// of 5.0 get 0x87 for it, clients of 3.x are answered as if the message had been delivered.
pub(crate) fn is_reserved(topic_name: &str, client_identifier: &str) -> bool {
    // The prefixes end with a slash, so that `$SYSTEM/x` stays a topic of the clients.
    let has_prefix = |prefix: &&str| topic_name.starts_with(*prefix);
    topic_name.starts_with('$')
        && [SYSTEM, "$CONTROL/", "$share/"].iter().any(has_prefix)
        && !is_state_of_bridge(topic_name, client_identifier)
}

/// Returns `true` for the topic to which the bridge with this client identifier reports if it is connected.
///
/// mosquitto lets each client publish there. Here a client publishes its own state only, so that nobody can report for
/// another bridge. A bridge of 5.0 cannot be told from other clients, so the identifier decides for all.
fn is_state_of_bridge(topic_name: &str, client_identifier: &str) -> bool {
    let rest = topic_name.strip_prefix("$SYS/broker/connection/");
    let name = rest.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.is_empty() && name == client_identifier)
}

/// Why a message is acknowledged and goes nowhere.
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

/// Whether a client may publish to this topic: not too deep, and without the control characters
/// that strict clients refuse.
pub(crate) fn is_publishable(topic_name: &str) -> bool {
    !is_too_deep(topic_name) && is_plain_text(topic_name)
}

/// Returns `true` if a topic name or filter has more levels than a client may use.
pub(crate) fn is_too_deep(topic: &str) -> bool {
    // A shorter topic cannot have as many levels, and is not searched.
    topic.len() > MAXIMUM_SLASHES
        && topic.bytes().filter(|byte| *byte == b'/').count() > MAXIMUM_SLASHES
}

/// Returns `true` if a text has no character that strict peers refuse.
pub(crate) fn is_plain_text(text: &str) -> bool {
    mqtt_codec::disallowed_character(text).is_none()
}
