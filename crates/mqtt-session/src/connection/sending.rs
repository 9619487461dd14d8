//! Functions that add packets to the output: new messages with their topic aliases, resent messages, and all other
//! packets.

use std::mem::ManuallyDrop;
use std::time::Instant;

use mqtt_codec::{Ack, EncodeError, PacketIdentifier, PacketRef, PublishRef, QoS, ReasonCode};

use super::Connection;
use super::topic_alias::TopicForm;
use crate::delivery::Resend;
use crate::error::PublishError;
use crate::event::Event;
use crate::observer::{Direction, Observed};
use crate::packet_log;
use crate::session::Change;

impl Connection {
    /// Resumes the session after the connection was accepted.
    pub(super) fn resume(&mut self, now: Instant) {
        // The peer resends the messages that the application had not acknowledged on the earlier connection.
        self.session.receiver.end_connection();
        self.session.sender.resume();
        self.resend(now);
    }

    /// Resends messages and PUBREL packets as far as the window and the output have room.
    ///
    /// The limit of the output protects slow peers. A slow peer may need longer for a whole window than the connection
    /// lasts. If the output contained the whole window, no acknowledgement would arrive in time, and each new
    /// connection would resend the same messages.
    pub(super) fn resend(&mut self, now: Instant) {
        while self.output.pending().len() < self.config.maximum_unwritten {
            // `None` means that nothing is left to resend or that the window is full.
            let Some(resend) = self.session.sender.next_resend(self.window()) else {
                return;
            };
            let (packet_identifier, outbound) = match resend {
                Resend::Pubrel(packet_identifier) => {
                    self.send_pubrel(now, packet_identifier, ReasonCode::Success);
                    continue;
                }
                Resend::Publish(packet_identifier, outbound) => (packet_identifier, outbound),
            };
            // DUP must be set in a resent PUBLISH [MQTT-3.3.1-1]. An expired message is resent too, because the peer
            // may already have received it [MQTT-4.3.3-7].
            let delivery = outbound.delivery(packet_identifier, true);
            let publish = outbound.publish(delivery, now);
            let refusal = match self.check_publish(&publish) {
                Err(PublishError::QoSNotSupported) => Some(ReasonCode::QoSNotSupported),
                Err(PublishError::RetainNotSupported) => Some(ReasonCode::RetainNotSupported),
                _ => {
                    let sent = self.try_send(now, &PacketRef::Publish(publish));
                    sent.is_err().then_some(ReasonCode::PacketTooLarge)
                }
            };
            if let Some(reason_code) = refusal {
                self.give_up(now, packet_identifier, outbound.qos, reason_code);
            }
        }
    }

    /// Gives up a message that the peer no longer accepts, as if the message had been delivered [MQTT-3.1.2-25]. The
    /// peer would close each connection on which it receives the message.
    fn give_up(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        qos: QoS,
        reason_code: ReasonCode,
    ) {
        if qos == QoS::ExactlyOnce {
            // An earlier connection may have delivered the message. The peer then holds the packet identifier until
            // PUBREL.
            self.session.note(Change::Released(packet_identifier));
            self.session.sender.release(packet_identifier);
            self.send_pubrel(now, packet_identifier, ReasonCode::Success);
        } else {
            self.session.note(Change::Finished(packet_identifier));
            self.session.sender.drop_exchange(packet_identifier);
        }
        // The application must learn that the exchange is finished and why the message was not sent.
        self.rare.push_pending(Event::Delivered {
            packet_identifier,
            reason_code,
            reason_string: None,
        });
    }

    pub(super) fn send_pubrel(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        let ack = Ack::new(packet_identifier, reason_code);
        self.send(now, &PacketRef::Pubrel(ack));
    }

    /// Sends a new message, with a topic alias if the peer accepts aliases.
    #[inline]
    pub(super) fn send_publish(
        &mut self,
        now: Instant,
        mut publish: PublishRef<'_>,
    ) -> Result<(), EncodeError> {
        // A topic alias of the publisher's connection is not valid on this connection [MQTT-3.3.2-7].
        publish.properties.topic_alias = None;
        match self.rare.get() {
            // Without rare state this connection sends no topic aliases. This is the usual case.
            None => self.try_send_publish(now, publish),
            Some(_) => self.send_with_alias(now, publish),
        }
    }

    fn send_with_alias(
        &mut self,
        now: Instant,
        mut publish: PublishRef<'_>,
    ) -> Result<(), EncodeError> {
        let topic_name = publish.topic_name;
        let aliases = self.rare.get().map(|rare| &rare.sent_aliases);
        let form = aliases.map_or(TopicForm::Name, |aliases| aliases.find(topic_name));
        let sent = match form {
            TopicForm::Name => None,
            TopicForm::Alias(alias) => Some(("", alias)),
            TopicForm::NameAndAlias(alias) => Some((topic_name, alias)),
        };
        if let Some((name, alias)) = sent {
            publish.topic_name = name;
            publish.properties.topic_alias = Some(alias);
            if self.try_send(now, &PacketRef::Publish(publish)).is_ok() {
                if form == TopicForm::NameAndAlias(alias) {
                    self.rare.begin().sent_aliases.set(topic_name, alias);
                }
                return Ok(());
            }
        }
        // A topic alias takes three bytes, so a packet that is too large with the alias may fit without it.
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
        // A borrowed PUBLISH owns nothing, so nothing has to be dropped. Without `ManuallyDrop` each message would cost
        // a comparison of the packet type.
        let packet = ManuallyDrop::new(PacketRef::Publish(publish));
        self.try_send(now, &packet)
    }

    /// Sends a packet. No caller needs the result. A packet that is too large for the peer, even without its reason
    /// string and user properties, is dropped.
    pub(super) fn send(&mut self, now: Instant, packet: &PacketRef<'_>) {
        let _ = self.try_send(now, packet);
    }

    /// Appends a packet to the output. After the end of the connection this method does nothing and returns `Ok`.
    pub(super) fn try_send(
        &mut self,
        now: Instant,
        packet: &PacketRef<'_>,
    ) -> Result<(), EncodeError> {
        if self.has_ended() {
            // Rule 2 of the crate documentation: after the end a command changes the session and sends nothing.
            return Ok(());
        }
        let mut shorter = None;
        if !self.agreement.peer.problem_information {
            // The peer has set Request Problem Information to 0 [MQTT-3.1.2-29].
            shorter = packet.without_problem_information();
        }
        let packet = shorter.as_ref().unwrap_or(packet);
        let maximum_packet_size = self.agreement.peer.maximum_packet_size;
        self.output
            .push(packet, self.agreement.version, maximum_packet_size)?;
        // Any sent packet satisfies the keep alive, so PINGREQ can wait.
        self.keep_alive.handle_sent(now);
        self.log(Direction::Sending, packet);
        Ok(())
    }

    /// Counts a packet, and passes it to the log and to the observer.
    #[inline]
    pub(super) fn log(&mut self, direction: Direction, packet: &PacketRef<'_>) {
        match direction {
            Direction::Received => self.traffic.received.add(packet),
            Direction::Sending => self.traffic.sent.add(packet),
        }
        if self.config.observer.is_some() || packet_log::is_wanted() {
            self.show(direction, packet);
        }
    }

    fn show(&self, direction: Direction, packet: &PacketRef<'_>) {
        let observed = Observed {
            role: self.role,
            direction,
            client_identifier: &self.agreement.client_identifier,
            version: self.agreement.version,
            packet,
        };
        packet_log::log(&observed);
        if let Some(observer) = &self.config.observer {
            observer.observe(&observed);
        }
    }
}
