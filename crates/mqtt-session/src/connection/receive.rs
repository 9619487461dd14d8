//! What each packet of the peer means, once the connection is accepted.

use std::time::Instant;

use mqtt_codec::{Ack, Disconnect, PacketRef, ProtocolVersion, PublishRef, ReasonCode, Suback};

use super::topic_alias::AliasError;
use super::{Connection, State};
use crate::delivery::{AckOutcome, PublishDisposition};
use crate::packet_log::Direction;
use crate::{Change, CloseReason, Deviation, Event, InboundMessage};

impl Connection {
    #[inline]
    pub(crate) fn handle_packet<'a>(
        &mut self,
        now: Instant,
        packet: PacketRef<'a>,
    ) -> Option<Event<'a>> {
        self.log(Direction::Received, &packet);
        if !self.problem_information && packet.without_problem_information().is_some() {
            let what = "a reason string or user property that was not asked for";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // U5-23
        }
        match self.state {
            State::Connected => self.handle_connected(now, packet),
            _ => self.handle_early(now, packet),
        }
    }

    /// A packet on a connection that is not accepted yet.
    fn handle_early<'a>(&mut self, now: Instant, packet: PacketRef<'a>) -> Option<Event<'a>> {
        match (self.state, packet) {
            (State::Handshake, PacketRef::Connect(connect)) => {
                Some(self.handle_connect(now, connect))
            }
            (State::Handshake, PacketRef::Connack(connack)) => self.handle_connack(now, connack),
            (_, PacketRef::Auth(auth)) => self.handle_auth(now, auth),
            (State::Handshake, _) => {
                // MQTT 5.0, 3.2: nothing but AUTH comes before CONNACK [MQTT-3.2.0-1].
                self.protocol_error(
                    now,
                    ReasonCode::ProtocolError,
                    "the first packet is not CONNACK",
                )
            }
            (_, PacketRef::Disconnect(disconnect)) => self.handle_disconnect(now, disconnect),
            _ => {
                let what = "a packet other than AUTH before CONNACK"; // [MQTT-3.1.2-30]
                self.protocol_error(now, ReasonCode::ProtocolError, what)
            }
        }
    }

    /// A packet on a connection that is accepted.
    #[inline]
    fn handle_connected<'a>(&mut self, now: Instant, packet: PacketRef<'a>) -> Option<Event<'a>> {
        let sender = &mut self.session.sender;
        match packet {
            PacketRef::Publish(publish) => self.handle_publish(now, publish),
            PacketRef::Puback(ack) => {
                let answer = sender.handle_puback(ack.packet_identifier);
                self.answered(now, ack, answer)
            }
            PacketRef::Pubrec(ack) => {
                let refused = ack.reason_code.is_error();
                let answer = sender.handle_pubrec(ack.packet_identifier, refused);
                self.pubrec_answered(now, ack, answer)
            }
            PacketRef::Pubrel(ack) => self.handle_pubrel(now, &ack),
            PacketRef::Pubcomp(ack) => {
                let answer = sender.handle_pubcomp(ack.packet_identifier);
                self.answered(now, ack, answer)
            }
            PacketRef::Subscribe(subscribe) => Some(Event::Subscribe(subscribe)),
            PacketRef::Unsubscribe(unsubscribe) => Some(Event::Unsubscribe(unsubscribe)),
            PacketRef::Suback(suback) => self.request_answered(suback, Event::Subscribed),
            PacketRef::Unsuback(suback) => self.request_answered(suback, Event::Unsubscribed),
            PacketRef::Pingreq => {
                self.send(now, &PacketRef::Pingresp); // [MQTT-3.12.4-1]
                None
            }
            PacketRef::Pingresp => None,
            PacketRef::Auth(auth) => self.handle_auth(now, auth),
            PacketRef::Disconnect(disconnect) => self.handle_disconnect(now, disconnect),
            PacketRef::Connect(_) | PacketRef::Connack(_) => {
                let what = "a second CONNECT or CONNACK"; // [MQTT-3.1.0-2]
                self.protocol_error(now, ReasonCode::ProtocolError, what)
            }
        }
    }

    fn handle_disconnect(
        &mut self,
        now: Instant,
        disconnect: Box<Disconnect>,
    ) -> Option<Event<'static>> {
        let prolongs = disconnect.properties.session_expiry_interval.unwrap_or(0) > 0;
        if self.session_ends_with_connection && prolongs {
            let what = "a session that ends with its connection cannot be prolonged";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // U5-14
        }
        self.end(now, CloseReason::Disconnected(disconnect)) // [MQTT-3.14.4-3]
    }

    #[inline]
    fn handle_publish<'a>(&mut self, now: Instant, publish: PublishRef<'a>) -> Option<Event<'a>> {
        let resolved = match publish.properties.topic_alias {
            Some(alias) => {
                let maximum = self.config.topic_alias_maximum;
                let aliases = &mut self.rare.begin().received_aliases;
                aliases.resolve(alias, maximum, publish.topic_name)
            }
            None => Ok(None),
        };
        let received = match resolved {
            Ok(topic_name) => InboundMessage::new(publish, topic_name),
            Err(AliasError::AboveMaximum) => {
                let what = "a topic alias above the maximum"; // U5-07
                return self.protocol_error(now, ReasonCode::TopicAliasInvalid, what);
            }
            Err(AliasError::Unknown) => {
                let what = "unknown topic alias"; // U5-08
                return self.protocol_error(now, ReasonCode::ProtocolError, what);
            }
        };
        let Some(packet_identifier) = publish.delivery.packet_identifier() else {
            if self.decoder.has_accepted_dup() {
                self.rare.report(Deviation::DupWithQoS0);
            }
            return Some(Event::Message(received));
        };
        let receive_maximum = match self.version {
            ProtocolVersion::V5_0 => self.config.receive_maximum,
            _ => u16::MAX,
        };
        let receiver = &mut self.session.receiver;
        match receiver.handle_publish(packet_identifier, publish.delivery, receive_maximum) {
            PublishDisposition::SenderRestarted => {
                self.session.note(Change::Unheld(packet_identifier));
                Some(Event::Message(received))
            }
            PublishDisposition::New => Some(Event::Message(received)),
            PublishDisposition::Duplicate => {
                let ack = Ack::new(packet_identifier, ReasonCode::Success);
                self.send(now, &PacketRef::Pubrec(ack));
                None
            }
            PublishDisposition::AwaitingApplication => None,
            PublishDisposition::IdentifierInUse => {
                let what = "a packet identifier that is in use for another QoS";
                self.protocol_error(now, ReasonCode::ProtocolError, what)
            }
            PublishDisposition::TooManyInFlight => {
                let what = "more messages in flight than the receive maximum";
                self.protocol_error(now, ReasonCode::ReceiveMaximumExceeded, what)
            }
        }
    }

    fn handle_pubrel(&mut self, now: Instant, ack: &Ack) -> Option<Event<'static>> {
        let reason_code = match self.session.receiver.handle_pubrel(ack.packet_identifier) {
            Some(true) => {
                self.session.note(Change::Unheld(ack.packet_identifier));
                ReasonCode::Success
            }
            Some(false) => ReasonCode::PacketIdentifierNotFound,
            None => {
                let what = "PUBREL before PUBREC";
                return self.protocol_error(now, ReasonCode::ProtocolError, what);
            }
        };
        self.send(
            now,
            &PacketRef::Pubcomp(Ack::new(ack.packet_identifier, reason_code)),
        );
        None
    }

    /// PUBACK or PUBCOMP came.
    fn answered(&mut self, now: Instant, ack: Ack, answer: AckOutcome) -> Option<Event<'static>> {
        match answer {
            AckOutcome::Finished => {
                self.session.note(Change::Finished(ack.packet_identifier));
                self.resend(now);
                let Ack {
                    packet_identifier,
                    reason_code,
                    properties,
                } = ack;
                // That the peer had forgotten the exchange already does no harm.
                let reason_code = match reason_code {
                    ReasonCode::PacketIdentifierNotFound => ReasonCode::Success,
                    code => code,
                };
                let reason_string = properties.reason_string;
                Some(Event::Delivered {
                    packet_identifier,
                    reason_code,
                    reason_string,
                })
            }
            AckOutcome::Unknown | AckOutcome::Release => None,
            AckOutcome::Wrong => {
                let what = "an acknowledgement of the wrong kind";
                self.protocol_error(now, ReasonCode::ProtocolError, what)
            }
        }
    }

    fn pubrec_answered(
        &mut self,
        now: Instant,
        ack: Ack,
        answer: AckOutcome,
    ) -> Option<Event<'static>> {
        let reason_code = match answer {
            AckOutcome::Release => {
                self.session.note(Change::Released(ack.packet_identifier));
                ReasonCode::Success
            }
            // So that the peer can finish what this end has forgotten.
            AckOutcome::Unknown if !ack.reason_code.is_error() => {
                ReasonCode::PacketIdentifierNotFound
            }
            answer => return self.answered(now, ack, answer),
        };
        self.send(
            now,
            &PacketRef::Pubrel(Ack::new(ack.packet_identifier, reason_code)),
        );
        None
    }

    fn request_answered(
        &mut self,
        suback: Suback,
        event: fn(Suback) -> Event<'static>,
    ) -> Option<Event<'static>> {
        let requests = &mut self.rare.get_mut()?.requests;
        let index = requests
            .iter()
            .position(|request| request.packet_identifier == suback.packet_identifier)?;
        let request = requests.remove(index)?;
        let received = suback.reason_codes.len();
        let none_is_right = self.version != ProtocolVersion::V5_0 && received == 0; // UNSUBACK
        if received != request.count && !none_is_right {
            self.rare.report(Deviation::NumberOfReasonCodes {
                requested: request.count,
                received,
            });
        }
        Some(event(suback))
    }
}
