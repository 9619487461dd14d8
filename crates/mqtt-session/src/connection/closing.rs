//! The end of a connection, and the packet that reports the reason to the peer: DISCONNECT after the handshake, CONNACK
//! before.

use std::time::Instant;

use mqtt_codec::{
    Connack, ConnackProperties, DecodeError, Disconnect, PacketRef, PacketType, ProtocolVersion,
    ReasonCode, Role,
};

use super::Connection;
use super::state::Phase;
use crate::error::CloseReason;
use crate::event::Event;

impl Connection {
    /// Ends the connection. Sends DISCONNECT if the version and the phase allow this. No event follows.
    pub fn disconnect(&mut self, now: Instant, disconnect: Disconnect) {
        // In MQTT 3.1 and 3.1.1 only a client may send DISCONNECT.
        let may_send = self.role == Role::Client || self.version() == ProtocolVersion::V5_0;
        if self.is_connected() && may_send {
            self.send(now, &PacketRef::Disconnect(Box::new(disconnect)));
        }
        self.phase = Phase::Ended;
        // The application itself has ended the connection, so it must receive no further event of it.
        self.rare.clear_pending();
    }

    /// Server: ends the connection, and discards the output after its next `kept` bytes. The discarded packets report
    /// changes that did not become durable.
    ///
    /// A packet that was written in part is completed. A client of MQTT 5.0 then receives DISCONNECT. If CONNACK is
    /// among the discarded packets, the client receives a CONNACK with the reason instead, because a server must not
    /// send DISCONNECT before CONNACK [MQTT-3.14.0-1].
    pub fn disconnect_without(&mut self, now: Instant, kept: usize, reason_code: ReasonCode) {
        // A packet that was written in part must be completed, because the peer would read the next packet as its rest.
        self.output.truncate(kept);
        let has_connack = self.output.has_written() || !self.output.pending().is_empty();
        if !has_connack && self.is_connected() {
            self.reject(now, reason_code, ConnackProperties::default());
        }
        self.disconnect(now, Disconnect::new(reason_code));
    }

    /// Sends a CONNACK that rejects the connection, and ends the connection.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        properties: ConnackProperties,
    ) {
        let connack = Connack {
            // A CONNACK with a failure must have Session Present 0 [MQTT-3.2.2-6].
            session_present: false,
            reason_code,
            properties,
        };
        self.send(now, &PacketRef::Connack(Box::new(connack)));
        self.phase = Phase::Ended;
    }

    /// Ends the connection because the peer has violated the protocol.
    pub(super) fn protocol_error<'a>(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        violation: &'static str,
    ) -> Option<Event<'a>> {
        self.end(now, CloseReason::Protocol(reason_code, violation))
    }

    /// Ends the connection because of the peer or a timeout. A peer of MQTT 5.0 receives the reason.
    pub(super) fn end<'a>(&mut self, now: Instant, reason: CloseReason) -> Option<Event<'a>> {
        self.send_reason(now, &reason);
        self.phase = Phase::Ended;
        Some(Event::Closed(reason))
    }

    fn send_reason(&mut self, now: Instant, reason: &CloseReason) {
        // A peer that has sent DISCONNECT, or whose socket is closed, receives no packet.
        let Some(reason_code) = reason.reason_code() else {
            return;
        };
        // A client may send fewer reason codes in DISCONNECT than a server.
        let reason_code = self.allowed_in(PacketType::Disconnect, reason_code);
        match self.phase {
            Phase::Connected if self.version() == ProtocolVersion::V5_0 => {
                let disconnect = Disconnect::new(reason_code);
                self.send(now, &PacketRef::Disconnect(Box::new(disconnect)));
            }
            Phase::AwaitingConnect { .. } | Phase::Authenticating { .. } => {
                self.reject_malformed(now, reason, reason_code);
            }
            // A client must not send DISCONNECT before CONNACK, and MQTT 3.1 and 3.1.1 have no packet for the reason.
            _ => {}
        }
    }

    /// Returns `reason_code`, or `ProtocolError` if this end must not send `reason_code` in a packet of this type.
    fn allowed_in(&self, packet_type: PacketType, reason_code: ReasonCode) -> ReasonCode {
        if reason_code.is_allowed(packet_type, self.role) {
            reason_code
        } else {
            ReasonCode::ProtocolError
        }
    }

    /// Answers a malformed CONNECT, or a malformed packet during the authentication, with CONNACK (MQTT 5.0, 4.13.1).
    ///
    /// MQTT 3.1 and 3.1.1 have no return code for a malformed packet. There the server closes the connection without an
    /// answer.
    fn reject_malformed(&mut self, now: Instant, reason: &CloseReason, reason_code: ReasonCode) {
        if self.decoder.version() != Some(ProtocolVersion::V5_0) {
            return self.reject_version(now, reason);
        }
        // The decoder has set the version, but `handle_connect` has not run, so the agreement has the default version.
        self.agreement.version = ProtocolVersion::V5_0;
        let reason_code = self.allowed_in(PacketType::Connack, reason_code);
        self.reject(now, reason_code, ConnackProperties::default());
    }

    /// Answers a CONNECT with an unsupported protocol level. The client can decode a CONNACK of its own version only,
    /// so the CONNACK has the format of the supported version that is closest to the level.
    fn reject_version(&mut self, now: Instant, reason: &CloseReason) {
        if let CloseReason::Decode(DecodeError::UnsupportedProtocolVersion(level)) = reason {
            self.agreement.version = match level {
                0..=4 | 0x80.. => ProtocolVersion::V3_1_1, // 0x80 marks a bridge of MQTT 3.1.1.
                5..0x80 => ProtocolVersion::V5_0,
            };
            let reason_code = ReasonCode::UnsupportedProtocolVersion;
            self.reject(now, reason_code, ConnackProperties::default());
        }
    }
}
