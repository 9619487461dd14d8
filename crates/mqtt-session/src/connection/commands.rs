//! What the application tells a connection to do: publish, acknowledge, subscribe, end.

use std::mem::ManuallyDrop;
use std::time::Instant;

use mqtt_codec::{
    Ack, ConnackProperties, Delivery, Disconnect, EncodeError, PacketIdentifier, PacketRef,
    PacketType, ProtocolVersion, PublishRef, QoS, ReasonCode, Role, Suback, Subscribe,
    SubscribeProperties, Subscription, TopicFilter, Unsubscribe, UnsubscribeProperties,
};

use super::pending_requests::PendingRequest;
use super::topic_alias::TopicForm;
use super::{Connection, State};
use crate::{Change, OutboundMessage, PublishError};

impl Connection {
    /// Sends a message of QoS 0, which nobody keeps.
    ///
    /// # Errors
    /// If the message cannot be sent to this peer, or the connection is not there.
    pub fn publish_at_most_once(
        &mut self,
        now: Instant,
        publish: &PublishRef<'_>,
    ) -> Result<(), PublishError> {
        let publish = PublishRef {
            delivery: Delivery::AtMostOnce,
            ..*publish
        };
        self.check_publish(&publish)?;
        self.send_publish(now, publish)?;
        Ok(())
    }

    /// Returns `true` if the peer takes a packet as large as this one, which is sent without topic alias.
    pub fn has_size_for(&self, publish: &PublishRef<'_>) -> bool {
        let maximum = self.peer.maximum_packet_size;
        // Most peers name no maximum, and nothing is measured for them.
        maximum == u32::MAX
            || PacketRef::Publish(*publish)
                .encoded_length(self.version)
                .is_ok_and(|length| length <= maximum as usize)
    }

    /// Sends a message and keeps it until the peer has it. `None` for QoS 0, which is only sent.
    ///
    /// # Errors
    /// If the message cannot be sent to this peer, or not now: then it is still the caller's.
    pub fn publish(
        &mut self,
        now: Instant,
        outbound: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        if outbound.qos == QoS::AtMostOnce {
            self.publish_at_most_once(now, &outbound.publish(Delivery::AtMostOnce, now))?;
            return Ok(None);
        }
        if self.state != State::Connected {
            return Err(PublishError::NotConnected);
        }
        if self.session.sender.must_reclaim() {
            self.reclaim_identifiers(now);
        }
        if !self.has_room() {
            return Err(PublishError::QuotaUsedUp);
        }
        let packet_identifier = self.next_identifier().ok_or(PublishError::QuotaUsedUp)?;
        let dup = false; // [MQTT-3.3.1-3]
        let publish = outbound.publish(outbound.delivery(packet_identifier, dup), now);
        self.check_publish(&publish)?;
        self.send_publish(now, publish)?;
        self.session.note(Change::Sent(packet_identifier));
        self.session.sender.sent(packet_identifier, outbound);
        Ok(Some(packet_identifier))
    }

    /// The application has taken a message of QoS 1 or 2 over, or refuses it (0x80 and above, which
    /// 3.1 and 3.1.1 cannot say: there it counts as taken over). PUBACK or PUBREC goes out.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        self.acknowledge_with(now, Ack::new(packet_identifier, reason_code));
    }

    /// As `acknowledge`, with properties. They are left out where they do not fit, or are not wanted.
    pub fn acknowledge_with(&mut self, now: Instant, ack: Ack) {
        let refused = ack.reason_code.is_error() && self.version == ProtocolVersion::V5_0;
        let receiver = &mut self.session.receiver;
        match receiver.acknowledge(ack.packet_identifier, refused) {
            Some(true) => {
                if !refused {
                    self.session.note(Change::Held(ack.packet_identifier));
                }
                self.send(now, &PacketRef::Pubrec(ack));
            }
            Some(false) => self.send(now, &PacketRef::Puback(ack)),
            None => {}
        }
    }

    /// Client: asks for messages. The answer is [`Event::Subscribed`](crate::Event::Subscribed) with
    /// the same identifier.
    ///
    /// # Errors
    /// As `publish`.
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<PacketIdentifier, PublishError> {
        let count = subscriptions.len();
        let is_wrong = |subscription: &Subscription| {
            subscription.options.no_local && subscription.topic_filter.share_name().is_some()
        };
        if subscriptions.iter().any(is_wrong) {
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

    /// Client: asks for no more messages. The answer is
    /// [`Event::Unsubscribed`](crate::Event::Unsubscribed).
    ///
    /// # Errors
    /// As `publish`.
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

    /// Server: the answer to [`Event::Subscribe`](crate::Event::Subscribe).
    pub fn suback(&mut self, now: Instant, suback: Suback) {
        self.send(now, &PacketRef::Suback(suback));
    }

    /// Server: the answer to [`Event::Unsubscribe`](crate::Event::Unsubscribe).
    pub fn unsuback(&mut self, now: Instant, unsuback: Suback) {
        self.send(now, &PacketRef::Unsuback(unsuback));
    }

    /// Ends the connection, with DISCONNECT where the version and the moment allow one. No event
    /// follows.
    pub fn disconnect(&mut self, now: Instant, disconnect: Disconnect) {
        if self.state == State::Connected
            && (self.role == Role::Client || self.version == ProtocolVersion::V5_0)
        {
            self.send(now, &PacketRef::Disconnect(Box::new(disconnect)));
        }
        self.state = State::Ended;
        if let Some(parts) = self.rare.get_mut() {
            parts.pending.clear();
        }
    }

    /// Server: ends the connection and takes back the output behind its next `kept` bytes, which promises something that
    /// is not true. A packet that was written in part is completed, and then a client of 5.0 gets DISCONNECT. One whose
    /// CONNACK is taken back gets a CONNACK with the reason instead [MQTT-3.14.0-1].
    pub fn disconnect_without(&mut self, now: Instant, kept: usize, reason_code: ReasonCode) {
        self.output.truncate(kept);
        let is_answered = self.output.has_written() || !self.output.pending().is_empty();
        if !is_answered && self.state == State::Connected {
            self.state = State::Answering;
            self.refuse(now, reason_code, ConnackProperties::default());
        }
        self.disconnect(now, Disconnect::new(reason_code));
    }

    /// Sends a new message, with a topic alias where the peer takes one.
    #[inline]
    fn send_publish(
        &mut self,
        now: Instant,
        mut publish: PublishRef<'_>,
    ) -> Result<(), EncodeError> {
        publish.properties.topic_alias = None;
        match self.rare.get() {
            None => self.try_send_publish(now, publish), // most peers take none
            Some(_) => self.send_with_alias(now, publish),
        }
    }

    fn send_with_alias(
        &mut self,
        now: Instant,
        mut publish: PublishRef<'_>,
    ) -> Result<(), EncodeError> {
        let topic_name = publish.topic_name;
        let aliases = self.rare.get().map(|parts| &parts.sent_aliases);
        let written = aliases.map_or(TopicForm::Plain, |aliases| aliases.find(topic_name));
        let sent = match written {
            TopicForm::Plain => None,
            TopicForm::As(alias) => Some(("", alias)),
            TopicForm::WithNew(alias) => Some((topic_name, alias)),
        };
        if let Some((name, alias)) = sent {
            publish.topic_name = name;
            publish.properties.topic_alias = Some(alias);
            if self.try_send(now, &PacketRef::Publish(publish)).is_ok() {
                if written == TopicForm::WithNew(alias) {
                    self.rare.begin().sent_aliases.set(topic_name, alias);
                }
                return Ok(());
            }
        }
        // The alias may have been what made it too large: it is longer than a very short name.
        publish.topic_name = topic_name;
        publish.properties.topic_alias = None;
        self.try_send_publish(now, publish)
    }

    #[inline]
    fn try_send_publish(
        &mut self,
        now: Instant,
        publish: PublishRef<'_>,
    ) -> Result<(), EncodeError> {
        // A PUBLISH owns nothing, so its drop would do nothing but look for its type.
        let packet = ManuallyDrop::new(PacketRef::Publish(publish));
        self.try_send(now, &packet)
    }

    fn request(
        &mut self,
        now: Instant,
        count: usize,
        response: PacketType,
        packet: impl FnOnce(PacketIdentifier) -> PacketRef<'static>,
    ) -> Result<PacketIdentifier, PublishError> {
        if self.state != State::Connected {
            return Err(PublishError::NotConnected);
        }
        let packet_identifier = self.next_request_identifier()?;
        self.try_send(now, &packet(packet_identifier))?;
        self.session.sender.take_identifier(packet_identifier);
        let unwritten = self.output.pending().len();
        self.rare.begin().requests.push_back(PendingRequest {
            packet_identifier,
            count,
            response,
            unwritten,
            since: now,
        });
        Ok(packet_identifier)
    }

    /// Returns `true` if `next_identifier` finds one.
    pub(crate) fn has_identifier(&self) -> bool {
        let highest = self.session.sender.highest_identifier();
        let is_below = |request: &&PendingRequest| request.packet_identifier <= highest;
        let requests = self
            .rare
            .get()
            .map_or(0, |parts| parts.requests.iter().filter(is_below).count());
        self.session.sender.has_identifier(requests)
    }

    fn next_identifier(&self) -> Option<PacketIdentifier> {
        let sender = &self.session.sender;
        sender.next_identifier(|identifier| self.is_requested(identifier))
    }

    /// Returns an identifier for SUBSCRIBE or UNSUBSCRIBE: one above those of messages, if these are all in use or
    /// may be held by the peer. So a request waits for no message.
    fn next_request_identifier(&self) -> Result<PacketIdentifier, PublishError> {
        let highest = self.session.sender.highest_identifier().get();
        let above = (highest..u16::MAX).filter_map(|below| PacketIdentifier::new(below + 1));
        let mut free = above.filter(|identifier| !self.is_requested(*identifier));
        let identifier = self.next_identifier().or_else(|| free.next());
        identifier.ok_or(PublishError::QuotaUsedUp)
    }

    fn is_requested(&self, packet_identifier: PacketIdentifier) -> bool {
        let is_it = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        let parts = self.rare.get();
        parts.is_some_and(|parts| parts.requests.iter().any(is_it))
    }

    /// Asks the peer to release the identifiers that it may hold from an earlier run whose state is lost.
    #[cold]
    fn reclaim_identifiers(&mut self, now: Instant) {
        for packet_identifier in self.session.sender.reclaim_identifiers() {
            // Not 0x92 (packet identifier not found): a server could discard the message that it holds then.
            let ack = Ack::new(packet_identifier, ReasonCode::Success);
            self.send(now, &PacketRef::Pubrel(ack));
        }
    }

    pub(crate) fn window(&self) -> u16 {
        self.config.maximum_in_flight.min(self.peer.receive_maximum)
    }

    fn check_publish(&self, publish: &PublishRef<'_>) -> Result<(), PublishError> {
        if self.state != State::Connected {
            return Err(PublishError::NotConnected);
        }
        if publish.delivery.qos() > self.peer.maximum_qos {
            return Err(PublishError::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        if publish.retain && !self.peer.retain_available {
            return Err(PublishError::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        Ok(())
    }
}
