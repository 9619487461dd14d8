//! Messages from the server. [`InboundMessage`] is a message for the application. [`Inbound`] sends each
//! acknowledgement of the application on the connection on which the message last arrived.
//!
//! The application may acknowledge a message after the connection was lost. If the server resumes the session, it
//! resends the message with the same packet identifier. The client does not deliver this duplicate. One acknowledgement
//! of the application answers both, even if it comes before the duplicate.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use mqtt_codec::{
    MessageProperties, PacketIdentifier, Property, PublishRef, QoS, ReasonCode,
    SubscriptionIdentifier, TopicName,
};
use mqtt_session::Connection;

/// A message from the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InboundMessage {
    /// Topic name to which the message was published.
    pub topic_name: TopicName,
    /// The content, which may be empty.
    pub payload: Bytes,
    /// QoS with which the server has sent the message.
    pub qos: QoS,
    /// Set if the message is a retained message.
    pub retain: bool,
    /// Set if the server may have sent the message before (the DUP flag).
    pub duplicate: bool,
    /// Properties of the message, which only MQTT 5.0 has.
    pub properties: MessageProperties,
    /// Identifiers of the subscriptions that match the message, which only MQTT 5.0 has.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    pub(super) handle: Option<Handle>,
}

impl InboundMessage {
    fn new(publish: &PublishRef<'_>, handle: Option<Handle>) -> Option<Self> {
        let message = publish.to_message().ok()?;
        Some(Self {
            topic_name: message.topic_name,
            payload: message.payload,
            qos: publish.delivery.qos(),
            retain: message.retain,
            duplicate: publish.delivery.dup(),
            properties: message.properties.map(|all| *all).unwrap_or_default(),
            subscription_identifiers: publish.properties.subscription_identifiers.iter().collect(),
            handle,
        })
    }

    /// Returns the payload as text, or `None` if the payload is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }

    /// Returns the topic name to which a response must be published.
    pub fn response_topic(&self) -> Option<&str> {
        self.properties.iter().find_map(|property| match property {
            Property::ResponseTopic(topic_name) => Some(topic_name),
            _ => None,
        })
    }

    /// Returns the data that a response must contain unchanged.
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.properties.iter().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// Returns the number of bytes for which the message counts in the queue.
    pub(super) fn size(&self) -> usize {
        self.payload.len() + self.topic_name.len()
    }
}

/// Identifies a message of QoS 1 or 2 that the application must acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    packet_identifier: PacketIdentifier,
    /// Number that is unique for each message. Packet identifiers are not unique, because the server reuses them.
    number: u64,
}

/// Messages of QoS 1 and 2 that the application has not acknowledged, by packet identifier.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    unacknowledged: HashMap<PacketIdentifier, Unacknowledged>,
    /// Number of the current connection. The first one has the number 1.
    connection: u64,
    last_number: u64,
}

/// A message that the application has not acknowledged, or whose acknowledgement has not been sent.
#[derive(Debug)]
struct Unacknowledged {
    number: u64,
    qos: QoS,
    topic_name: TopicName,
    payload: Bytes,
    /// Number of the connection on which the message last arrived.
    connection: u64,
    /// Reason code of the application, if its acknowledgement waits until the server resends the message.
    acknowledged: Option<ReasonCode>,
}

impl Inbound {
    /// Records that the server has accepted a connection.
    pub(super) fn handle_connected(&mut self, session_present: bool) {
        self.connection += 1;
        if !session_present {
            // The server has no session. An old acknowledgement could answer another message that has the same packet
            // identifier now.
            self.unacknowledged.clear();
        }
    }

    /// Returns the received message for the application. Returns `None` for a duplicate that the application already
    /// has, and for a message with an invalid topic name.
    pub(super) fn handle_message(
        &mut self,
        connection: &mut Connection,
        publish: &PublishRef<'_>,
    ) -> Option<InboundMessage> {
        let Some(packet_identifier) = publish.delivery.packet_identifier() else {
            return InboundMessage::new(publish, None);
        };
        if let Some(known) = self.unacknowledged.get_mut(&packet_identifier) {
            if known.is_resent(publish, self.connection) {
                known.connection = self.connection;
                // The application has acknowledged the message after the loss of the connection on which it had
                // arrived.
                if let Some(reason_code) = known.acknowledged {
                    connection.acknowledge(Instant::now(), packet_identifier, reason_code);
                    self.unacknowledged.remove(&packet_identifier);
                }
                return None;
            }
        }
        self.last_number += 1;
        let handle = Handle {
            packet_identifier,
            number: self.last_number,
        };
        let message = InboundMessage::new(publish, Some(handle))?;
        let entry = Unacknowledged {
            number: handle.number,
            qos: message.qos,
            topic_name: message.topic_name.clone(),
            payload: message.payload.clone(),
            connection: self.connection,
            acknowledged: None,
        };
        self.unacknowledged.insert(packet_identifier, entry);
        Some(message)
    }

    /// Handles an acknowledgement of the application. `connection` is `None` while the client is not connected.
    pub(super) fn acknowledge(
        &mut self,
        connection: Option<&mut Connection>,
        handle: Handle,
        reason_code: ReasonCode,
    ) {
        let Some(entry) = self.unacknowledged.get_mut(&handle.packet_identifier) else {
            return;
        };
        // The packet identifier now belongs to a newer message.
        if entry.number != handle.number {
            return;
        }
        match connection {
            Some(connection) if entry.connection == self.connection => {
                connection.acknowledge(Instant::now(), handle.packet_identifier, reason_code);
                self.unacknowledged.remove(&handle.packet_identifier);
            }
            // The connection of the message is lost. The acknowledgement waits until the server resends the message.
            _ => entry.acknowledged = Some(reason_code),
        }
    }
}

impl Unacknowledged {
    /// Returns `true` if `publish` is a duplicate of this message from an earlier connection. A server that has lost
    /// its state may use the packet identifier for another message, so the content is compared too.
    fn is_resent(&self, publish: &PublishRef<'_>, connection: u64) -> bool {
        self.connection != connection
            && publish.delivery.dup()
            && publish.delivery.qos() == self.qos
            && *self.topic_name == *publish.topic_name
            && self.payload == publish.payload
    }
}
