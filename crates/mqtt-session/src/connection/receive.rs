//! Handling of received packets, and the rules of the standard for each packet type. An id such as U5-07 refers to a
//! statement to which the standard gives no id. docs/generated/conformance.md lists these statements.

use std::mem::ManuallyDrop;
use std::time::Instant;

use mqtt_codec::{
    Ack, Auth, Delivery, Disconnect, PacketIdentifier, PacketRef, ProtocolVersion, PublishRef,
    ReasonCode, Suback,
};

use super::Connection;
use super::state::Phase;
use super::topic_alias::AliasError;
use crate::delivery::{AckOutcome, PublishDisposition, PubrelOutcome};
use crate::error::CloseReason;
use crate::event::{Deviation, Event, InboundMessage};
use crate::observer::Direction;
use crate::session::Change;

impl Connection {
    #[inline]
    pub(super) fn handle_packet<'a>(
        &mut self,
        now: Instant,
        packet: PacketRef<'a>,
    ) -> Option<Event<'a>> {
        // The packet is logged before it is handled, so that its log line precedes that of its answer.
        self.log(Direction::Received, &packet);
        if !self.agreement.accepts_problem_information
            && packet.without_problem_information().is_some()
        {
            let violation =
                "a reason string or user property, although Request Problem Information is 0";
            // After Request Problem Information 0 a server must not send reason strings or user properties in this
            // packet [MQTT-3.1.2-29] (U5-23).
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        }
        if self.is_connected() {
            return self.handle_connected(now, packet);
        }
        self.handle_early(now, packet)
    }

    /// Handles a packet that arrives before the connection is accepted.
    #[cold] // The path of messages stays small.
    fn handle_early<'a>(&mut self, now: Instant, packet: PacketRef<'a>) -> Option<Event<'a>> {
        match (self.phase, packet) {
            (Phase::AwaitingConnect { deadline }, PacketRef::Connect(connect)) => {
                Some(self.handle_connect(now, connect, deadline))
            }
            (Phase::AwaitingConnack { resumption, .. }, PacketRef::Connack(connack)) => {
                self.handle_connack(now, connack, resumption)
            }
            (_, PacketRef::Auth(auth)) => self.handle_auth(now, auth),
            (Phase::AwaitingConnect { .. } | Phase::AwaitingConnack { .. }, _) => {
                // A server may send only AUTH before CONNACK [MQTT-3.2.0-1]. At a server, the decoder has already
                // rejected a first packet other than CONNECT.
                let violation = "the first packet is not CONNACK";
                self.protocol_error(now, ReasonCode::ProtocolError, violation)
            }
            (_, PacketRef::Disconnect(disconnect)) => self.handle_disconnect(now, disconnect),
            _ => {
                // During the authentication a client may send only AUTH and DISCONNECT [MQTT-3.1.2-30].
                let violation = "a packet other than AUTH before CONNACK";
                self.protocol_error(now, ReasonCode::ProtocolError, violation)
            }
        }
    }

    /// Handles a packet that arrives after the connection is accepted.
    #[inline]
    fn handle_connected<'a>(&mut self, now: Instant, packet: PacketRef<'a>) -> Option<Event<'a>> {
        // A borrowed PUBLISH owns nothing, so nothing has to be dropped. Without `ManuallyDrop` each message would cost
        // a call.
        let packet = ManuallyDrop::new(packet);
        if let PacketRef::Publish(publish) = &*packet {
            return self.handle_publish(now, *publish);
        }
        self.handle_connected_other(now, ManuallyDrop::into_inner(packet))
    }

    /// Handles a packet other than PUBLISH that arrives after the connection is accepted.
    #[inline]
    fn handle_connected_other<'a>(
        &mut self,
        now: Instant,
        packet: PacketRef<'a>,
    ) -> Option<Event<'a>> {
        let sender = &mut self.session.sender;
        match packet {
            // `handle_connected` handles PUBLISH, so this arm only completes the match.
            PacketRef::Publish(publish) => self.handle_publish(now, publish),
            PacketRef::Puback(ack) => {
                let outcome = sender.handle_puback(ack.packet_identifier);
                self.finish_exchange(now, ack, outcome)
            }
            PacketRef::Pubrec(ack) => {
                let is_rejected = ack.reason_code.is_error();
                let outcome = sender.handle_pubrec(ack.packet_identifier, is_rejected);
                self.answer_pubrec(now, ack, outcome)
            }
            PacketRef::Pubrel(ack) => self.handle_pubrel(now, &ack),
            PacketRef::Pubcomp(ack) => {
                let outcome = sender.handle_pubcomp(ack.packet_identifier);
                self.finish_exchange(now, ack, outcome)
            }
            PacketRef::Subscribe(subscribe) => Some(Event::Subscribe(subscribe)),
            PacketRef::Unsubscribe(unsubscribe) => Some(Event::Unsubscribe(unsubscribe)),
            PacketRef::Suback(suback) => self.finish_request(suback, Event::Subscribed),
            PacketRef::Unsuback(suback) => self.finish_request(suback, Event::Unsubscribed),
            PacketRef::Pingreq => {
                // A server must answer PINGREQ [MQTT-3.12.4-1]. The connection sends PINGRESP itself, without an event
                // for the application.
                self.send(now, &PacketRef::Pingresp);
                None
            }
            // `handle_packet_input` has already recorded the activity of the peer.
            PacketRef::Pingresp => None,
            PacketRef::Auth(auth) => self.handle_auth(now, auth),
            PacketRef::Disconnect(disconnect) => self.handle_disconnect(now, disconnect),
            PacketRef::Connect(_) | PacketRef::Connack(_) => {
                // The decoder rejects a second CONNECT [MQTT-3.1.0-2], so this packet is a second CONNACK.
                let violation = "a second CONNECT or CONNACK";
                self.protocol_error(now, ReasonCode::ProtocolError, violation)
            }
        }
    }

    /// Handles AUTH during the handshake or a re-authentication.
    fn handle_auth(&mut self, now: Instant, auth: Box<Auth>) -> Option<Event<'static>> {
        let authentication = self.rare.authentication();
        let method = &auth.properties.authentication_method;
        if authentication.method().is_none() || !authentication.is_method(method) {
            let violation = "AUTH with an authentication method that CONNECT does not have";
            // All AUTH packets must have the authentication method of CONNECT (U5-12, U5-13).
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        }
        let Some(next_sender) = authentication.after_receiving(self.phase, auth.reason_code) else {
            let violation = "AUTH that is not allowed at this point";
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        };
        self.rare
            .begin()
            .authentication
            .set_next_sender(next_sender);
        if let Phase::Authenticating { deadline } = self.phase {
            self.phase = Phase::AwaitingAnswer { deadline };
        }
        Some(Event::Auth(auth))
    }

    fn handle_disconnect(
        &mut self,
        now: Instant,
        disconnect: Box<Disconnect>,
    ) -> Option<Event<'static>> {
        let session_expiry_interval = disconnect.properties.session_expiry_interval;
        let extends = session_expiry_interval.unwrap_or(0) > 0;
        if self.agreement.session_ends_with_connection && extends {
            let violation = "DISCONNECT sets a session expiry interval, but that of CONNECT is 0";
            // If CONNECT has a session expiry interval of 0, DISCONNECT must not set another value (MQTT 5.0,
            // 3.14.2.2.2, U5-14).
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        }
        // The client should close the connection. If it does not, the server must [MQTT-3.14.4-3].
        self.end(now, CloseReason::Disconnected(disconnect))
    }

    #[inline]
    fn handle_publish<'a>(&mut self, now: Instant, publish: PublishRef<'a>) -> Option<Event<'a>> {
        let resolved = match publish.properties.topic_alias {
            Some(alias) => {
                let maximum = self.config.topic_alias_maximum;
                let aliases = &mut self.rare.begin().received_aliases;
                // The alias is resolved here, so that the application receives a topic name for every message.
                aliases.resolve(alias, maximum, publish.topic_name)
            }
            None => Ok(None),
        };
        let received = match resolved {
            Ok(topic_name) => InboundMessage::new(publish, topic_name),
            Err(AliasError::AboveMaximum) => {
                // This end has announced its Topic Alias Maximum in CONNECT or CONNACK (U5-07).
                let violation = "a topic alias above the topic alias maximum";
                return self.protocol_error(now, ReasonCode::TopicAliasInvalid, violation);
            }
            Err(AliasError::Unknown) => {
                // No earlier PUBLISH on this connection has set this topic alias (U5-08).
                let violation = "a topic alias without an earlier topic name";
                return self.protocol_error(now, ReasonCode::ProtocolError, violation);
            }
        };
        let Some(packet_identifier) = publish.delivery.packet_identifier() else {
            if self.decoder.has_accepted_dup() {
                self.rare.report(Deviation::DupWithQoS0);
            }
            return Some(Event::Message(received));
        };
        self.handle_acknowledged_publish(now, packet_identifier, publish.delivery, received)
    }

    /// Handles a message of QoS 1 or 2.
    #[inline(always)] // A call would copy the message.
    fn handle_acknowledged_publish<'a>(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        delivery: Delivery,
        received: InboundMessage<'a>,
    ) -> Option<Event<'a>> {
        // Only MQTT 5.0 announces the Receive Maximum, so no other peer can exceed it.
        let receive_maximum = match self.agreement.version {
            ProtocolVersion::V5_0 => self.config.receive_maximum,
            _ => u16::MAX,
        };
        let receiver = &mut self.session.receiver;
        match receiver.handle_publish(packet_identifier, delivery, receive_maximum) {
            PublishDisposition::SenderRestarted => {
                self.session.note(Change::Unheld(packet_identifier));
                Some(Event::Message(received))
            }
            PublishDisposition::New => Some(Event::Message(received)),
            // The PUBREC was lost. The connection resends PUBREC without the application.
            PublishDisposition::Duplicate => {
                let ack = Ack::new(packet_identifier, ReasonCode::Success);
                self.send(now, &PacketRef::Pubrec(ack));
                None
            }
            // The duplicate is dropped. The acknowledgement of the application will answer both.
            PublishDisposition::AwaitingApplication => None,
            PublishDisposition::IdentifierInUse => {
                let violation = "a packet identifier that is in use for another QoS";
                self.protocol_error(now, ReasonCode::ProtocolError, violation)
            }
            PublishDisposition::TooManyInFlight => {
                let violation = "more messages in flight than the receive maximum";
                self.protocol_error(now, ReasonCode::ReceiveMaximumExceeded, violation)
            }
        }
    }

    fn handle_pubrel(&mut self, now: Instant, ack: &Ack) -> Option<Event<'static>> {
        let reason_code = match self.session.receiver.handle_pubrel(ack.packet_identifier) {
            PubrelOutcome::Released => {
                self.session.note(Change::Unheld(ack.packet_identifier));
                ReasonCode::Success
            }
            // PUBCOMP answers every PUBREL, so that the sender can free the packet identifier [MQTT-4.3.3-11].
            PubrelOutcome::NotHeld => ReasonCode::PacketIdentifierNotFound,
            PubrelOutcome::BeforePubrec => {
                // Without PUBREC the sender cannot assume that this end has the message, so it must not send PUBREL.
                let violation = "PUBREL before PUBREC";
                return self.protocol_error(now, ReasonCode::ProtocolError, violation);
            }
        };
        let pubcomp = Ack::new(ack.packet_identifier, reason_code);
        self.send(now, &PacketRef::Pubcomp(pubcomp));
        None
    }

    /// Finishes the handling of PUBACK, of PUBCOMP, or of a PUBREC with an error. `outcome` is the result of the
    /// session's sender for this packet.
    fn finish_exchange(
        &mut self,
        now: Instant,
        ack: Ack,
        outcome: AckOutcome,
    ) -> Option<Event<'static>> {
        match outcome {
            AckOutcome::Finished => {
                self.session.note(Change::Finished(ack.packet_identifier));
                // The window now has room for a message of an earlier connection.
                self.resend(now);
                // With reason code 0x92 the peer has received the message and no longer has the exchange. For the
                // application this is a success.
                let reason_code = match ack.reason_code {
                    ReasonCode::PacketIdentifierNotFound => ReasonCode::Success,
                    code => code,
                };
                Some(Event::Delivered {
                    packet_identifier: ack.packet_identifier,
                    reason_code,
                    reason_string: ack.properties.reason_string,
                })
            }
            // An acknowledgement without an exchange is harmless. It may answer a packet of an earlier run.
            AckOutcome::Unknown | AckOutcome::SendPubrel => None,
            AckOutcome::WrongPacket => {
                let violation = "an acknowledgement that does not fit the QoS of the message";
                self.protocol_error(now, ReasonCode::ProtocolError, violation)
            }
        }
    }

    /// Answers PUBREC. `outcome` is the result of the session's sender for this packet.
    fn answer_pubrec(
        &mut self,
        now: Instant,
        ack: Ack,
        outcome: AckOutcome,
    ) -> Option<Event<'static>> {
        let reason_code = match outcome {
            AckOutcome::SendPubrel => {
                self.session.note(Change::Released(ack.packet_identifier));
                ReasonCode::Success
            }
            // This end no longer has the exchange. PUBREL makes the peer finish it.
            AckOutcome::Unknown if !ack.reason_code.is_error() => {
                ReasonCode::PacketIdentifierNotFound
            }
            outcome => return self.finish_exchange(now, ack, outcome),
        };
        self.send_pubrel(now, ack.packet_identifier, reason_code);
        None
    }

    /// Handles SUBACK or UNSUBACK. An answer without a request is ignored.
    fn finish_request(
        &mut self,
        suback: Suback,
        event: fn(Suback) -> Event<'static>,
    ) -> Option<Event<'static>> {
        let rare = self.rare.get_mut()?;
        let request = rare.requests.take(suback.packet_identifier)?;
        let received = suback.reason_codes.len();
        // In MQTT 3.1 and 3.1.1 UNSUBACK has no reason codes.
        let may_be_empty = self.agreement.version != ProtocolVersion::V5_0;
        if received != request.count && !(may_be_empty && received == 0) {
            self.rare.report(Deviation::NumberOfReasonCodes {
                requested: request.count,
                received,
            });
        }
        Some(event(suback))
    }
}
