//! Commands of the application: publish, acknowledge, subscribe, unsubscribe and authenticate, and the answers of a
//! server to SUBSCRIBE and UNSUBSCRIBE.

use std::time::Instant;

use mqtt_codec::{
    Ack, Auth, Delivery, PacketIdentifier, PacketRef, PacketType, ProtocolVersion, PublishRef, QoS,
    ReasonCode, Suback, Subscribe, SubscribeProperties, Subscription, TopicFilter, Unsubscribe,
    UnsubscribeProperties,
};

use super::Connection;
use super::pending_requests::PendingRequest;
use super::state::Phase;
use crate::delivery::Acknowledgement;
use crate::delivery::OutboundMessage;
use crate::error::PublishError;
use crate::session::Change;

impl Connection {
    /// Sends a message of QoS 0. The session does not store the message.
    ///
    /// # Errors
    /// Returns an error if the peer does not accept the message, or if the connection is not accepted or has ended.
    pub fn publish_at_most_once(
        &mut self,
        now: Instant,
        publish: &PublishRef<'_>,
    ) -> Result<(), PublishError> {
        // At QoS 0 a packet must have no packet identifier and no DUP flag, so those of the caller are ignored.
        let publish = PublishRef {
            delivery: Delivery::AtMostOnce,
            ..*publish
        };
        self.check_publish(&publish)?;
        self.send_publish(now, publish)?;
        Ok(())
    }

    /// Returns `true` if this packet is not larger than the peer accepts. The size is measured without a topic alias.
    pub fn has_size_for(&self, publish: &PublishRef<'_>) -> bool {
        let maximum = self.agreement.peer.maximum_packet_size;
        // Most peers announce no Maximum Packet Size, so no packet has to be measured.
        maximum == u32::MAX
            || PacketRef::Publish(*publish)
                .encoded_length(self.agreement.version)
                .is_ok_and(|length| length <= maximum as usize)
    }

    /// Sends a message. The session stores a message of QoS 1 or 2 until the peer has acknowledged it. Returns the
    /// packet identifier, or `None` for QoS 0.
    ///
    /// # Errors
    /// Returns an error if the peer does not accept the message, or cannot accept it now. The session does not store
    /// the message then.
    pub fn publish(
        &mut self,
        now: Instant,
        outbound: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        if outbound.qos == QoS::AtMostOnce {
            self.publish_at_most_once(now, &outbound.publish(Delivery::AtMostOnce, now))?;
            return Ok(None);
        }
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        // The server may hold packet identifiers of an earlier run. They must be released before a message uses them.
        if self.session.sender.must_reclaim() {
            self.reclaim_identifiers(now);
        }
        if !self.has_room() {
            return Err(PublishError::QuotaUsedUp);
        }
        let packet_identifier = self.next_identifier().ok_or(PublishError::QuotaUsedUp)?;
        // This is the first transmission to this receiver, so the DUP flag of the publisher does not apply
        // [MQTT-3.3.1-3].
        let dup = false;
        let publish = outbound.publish(outbound.delivery(packet_identifier, dup), now);
        // The server would close the connection for a message that it does not support.
        self.check_publish(&publish)?;
        self.send_publish(now, publish)?;
        // The session changes only after the packet was encoded, so that it does not store a message that is too large
        // to be sent.
        self.session.note(Change::Sent(packet_identifier));
        self.session.sender.add(packet_identifier, outbound);
        Ok(Some(packet_identifier))
    }

    /// Acknowledges a message of QoS 1 with PUBACK, or a message of QoS 2 with PUBREC.
    ///
    /// A reason code of 0x80 or above rejects the message. MQTT 3.1 and 3.1.1 cannot transmit a reason code, so the
    /// message counts as accepted there.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        self.acknowledge_with(now, Ack::new(packet_identifier, reason_code));
    }

    /// Acknowledges a message like [`Self::acknowledge`], with properties. The packet is sent without the properties if
    /// it would be too large, or if the peer has set Request Problem Information to 0.
    pub fn acknowledge_with(&mut self, now: Instant, ack: Ack) {
        let is_rejected =
            ack.reason_code.is_error() && self.agreement.version == ProtocolVersion::V5_0;
        let receiver = &mut self.session.receiver;
        match receiver.acknowledge(ack.packet_identifier, is_rejected) {
            Acknowledgement::Pubrec => {
                // PUBREC with a failure ends the exchange, so the packet identifier must not be held [MQTT-4.3.3-9].
                if !is_rejected {
                    self.session.note(Change::Held(ack.packet_identifier));
                }
                self.send(now, &PacketRef::Pubrec(ack));
            }
            Acknowledgement::Puback => self.send(now, &PacketRef::Puback(ack)),
            // The message is from an earlier connection, or it has already been acknowledged.
            Acknowledgement::NotAwaited => {}
        }
    }

    /// Client: sends SUBSCRIBE. The answer is the event [`Event::Subscribed`](crate::Event::Subscribed) with the
    /// returned packet identifier.
    ///
    /// # Errors
    /// Returns an error if the packet cannot be sent now, or if a shared subscription has No Local set.
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<PacketIdentifier, PublishError> {
        let count = subscriptions.len();
        let is_invalid = |subscription: &Subscription| {
            subscription.options.no_local && subscription.topic_filter.share_name().is_some()
        };
        if subscriptions.iter().any(is_invalid) {
            // The server would have to close the connection [MQTT-3.8.3-4].
            return Err(PublishError::NoLocalShared);
        }
        self.request(now, count, PacketType::Suback, |packet_identifier| {
            PacketRef::Subscribe(Subscribe {
                packet_identifier,
                subscriptions,
                properties,
            })
        })
    }

    /// Client: sends UNSUBSCRIBE. The answer is the event [`Event::Unsubscribed`](crate::Event::Unsubscribed) with the
    /// returned packet identifier.
    ///
    /// # Errors
    /// Returns an error if the packet cannot be sent now.
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        topic_filters: Vec<TopicFilter>,
        properties: UnsubscribeProperties,
    ) -> Result<PacketIdentifier, PublishError> {
        let count = topic_filters.len();
        self.request(now, count, PacketType::Unsuback, |packet_identifier| {
            PacketRef::Unsubscribe(Unsubscribe {
                packet_identifier,
                topic_filters,
                properties,
            })
        })
    }

    /// Server: answers [`Event::Subscribe`](crate::Event::Subscribe) with SUBACK.
    pub fn suback(&mut self, now: Instant, suback: Suback) {
        self.send(now, &PacketRef::Suback(suback));
    }

    /// Server: answers [`Event::Unsubscribe`](crate::Event::Unsubscribe) with UNSUBACK.
    pub fn unsuback(&mut self, now: Instant, unsuback: Suback) {
        self.send(now, &PacketRef::Unsuback(unsuback));
    }

    /// Sends AUTH. The authentication method in `auth` is replaced by the method in CONNECT.
    ///
    /// A server sends 0x18 (continue authentication) in answer to [`Event::Connect`](crate::Event::Connect) or
    /// [`Event::Auth`](crate::Event::Auth). A server sends 0x00 (success) when a re-authentication is complete. A
    /// client answers with 0x18. After the server has accepted the connection, a client may send 0x19 (re-authenticate)
    /// to start a re-authentication.
    ///
    /// # Errors
    /// Returns an error if this AUTH is not allowed now, if CONNECT had no authentication method, or if the packet
    /// cannot be encoded.
    pub fn authenticate(&mut self, now: Instant, mut auth: Auth) -> Result<(), PublishError> {
        let authentication = self.rare.authentication();
        let next_sender = authentication
            .after_sending(self.role, self.phase, auth.reason_code)
            .ok_or(PublishError::NotConnected)?;
        // If CONNECT has no authentication method, neither end may send AUTH [MQTT-4.12.0-6, MQTT-4.12.0-7].
        let method = authentication.method().cloned();
        auth.properties.authentication_method = Some(method.ok_or(PublishError::NotConnected)?);
        self.try_send(now, &PacketRef::Auth(Box::new(auth)))?;
        self.rare
            .begin()
            .authentication
            .set_next_sender(next_sender);
        // The server must receive the next AUTH of the client before it can answer CONNECT.
        if let Phase::AwaitingAnswer { deadline } = self.phase {
            self.phase = Phase::Authenticating { deadline };
        }
        Ok(())
    }

    /// Sends a request. The answer must have the type `response` and `count` reason codes.
    fn request(
        &mut self,
        now: Instant,
        count: usize,
        response: PacketType,
        packet: impl FnOnce(PacketIdentifier) -> PacketRef<'static>,
    ) -> Result<PacketIdentifier, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let packet_identifier = self.next_request_identifier()?;
        self.try_send(now, &packet(packet_identifier))?;
        // The packet identifier is in use until the answer, so no message may use it [MQTT-2.2.1-3].
        self.session.sender.take_identifier(packet_identifier);
        // The request is at the end of the output. The timeout for its answer starts when all of these bytes are
        // written.
        let unwritten = self.output.pending().len();
        self.rare.begin().requests.push(PendingRequest {
            packet_identifier,
            count,
            response,
            unwritten,
            since: now,
        });
        Ok(packet_identifier)
    }

    /// Returns `true` if `next_identifier` would return a packet identifier.
    pub(super) fn has_identifier(&self) -> bool {
        let highest = self.session.sender.highest_identifier();
        let rare = self.rare.get();
        let requests = rare.map_or(0, |rare| rare.requests.count_up_to(highest));
        self.session.sender.has_identifier(requests)
    }

    /// Returns the next packet identifier that neither a message nor a request uses.
    fn next_identifier(&self) -> Option<PacketIdentifier> {
        let sender = &self.session.sender;
        sender.next_identifier(|identifier| self.is_requested(identifier))
    }

    /// Returns a packet identifier for SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// If no identifier of the range for messages is free, this function returns one above the range, so that a request
    /// need not wait until a message is acknowledged.
    fn next_request_identifier(&self) -> Result<PacketIdentifier, PublishError> {
        let highest = self.session.sender.highest_identifier().get();
        let above = (highest..u16::MAX).filter_map(|below| PacketIdentifier::new(below + 1));
        let mut free = above.filter(|identifier| !self.is_requested(*identifier));
        let identifier = self.next_identifier().or_else(|| free.next());
        identifier.ok_or(PublishError::QuotaUsedUp)
    }

    fn is_requested(&self, packet_identifier: PacketIdentifier) -> bool {
        let rare = self.rare.get();
        rare.is_some_and(|rare| rare.requests.contains(packet_identifier))
    }

    /// Sends PUBREL for the packet identifiers of an earlier run, because its state is lost and the peer may still hold
    /// them.
    #[cold]
    fn reclaim_identifiers(&mut self, now: Instant) {
        for packet_identifier in self.session.sender.reclaim_identifiers() {
            // With reason code 0x92 (packet identifier not found), some servers could discard the message of the
            // exchange.
            self.send_pubrel(now, packet_identifier, ReasonCode::Success);
        }
    }

    /// Checks that the peer accepts this message.
    pub(super) fn check_publish(&self, publish: &PublishRef<'_>) -> Result<(), PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        if publish.delivery.qos() > self.agreement.peer.maximum_qos {
            // The server has announced a Maximum QoS [MQTT-3.2.2-11].
            return Err(PublishError::QoSNotSupported);
        }
        if publish.retain && !self.agreement.peer.retain_available {
            // The server has announced that it does not support retained messages [MQTT-3.2.2-14].
            return Err(PublishError::RetainNotSupported);
        }
        Ok(())
    }
}
