//! Handshake of a client (MQTT 5.0, 3.1 and 3.2). CONNECT is in the output from the start. CONNACK sets the limits of
//! the connection and decides which session applies.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Connack, Connect, Decoder, EncodeError, PacketIdentifier, PacketRef, ProtocolVersion,
    ReasonCode, Role,
};

use super::Connection;
use super::keep_alive::KeepAlive;
use super::state::{Phase, Resumption};
use crate::delivery::OutboundMessage;
use crate::error::CloseReason;
use crate::event::Event;
use crate::limits::Config;
use crate::limits::PeerLimits;
use crate::observer::Direction;
use crate::session::Session;

impl Connection {
    /// Returns the client's end of a connection. The output already contains CONNECT.
    ///
    /// `session` is the session of an earlier connection. An application that resumes a session whose state it does not
    /// have passes [`Session::without_state`]. With `None` the client rejects a server that resumes a session
    /// [MQTT-3.2.2-4].
    ///
    /// # Errors
    /// Returns an error if a field of `connect` cannot be encoded.
    pub fn client(
        connect: &Connect,
        session: Option<Session>,
        config: Config,
        now: Instant,
    ) -> Result<Self, EncodeError> {
        let version = connect.protocol_version;
        let phase = Phase::AwaitingConnack {
            deadline: now + config.handshake_timeout,
            resumption: match &session {
                _ if connect.clean_start => Resumption::CleanStart,
                None => Resumption::WithoutState,
                Some(_) => Resumption::WithState,
            },
        };
        let decoder = Decoder::client(version, config.maximum_packet_size);
        let mut connection = Self {
            session: session.unwrap_or_default(),
            keep_alive: KeepAlive::new(Role::Client, connect.keep_alive, now),
            ..Self::new(Role::Client, phase, version, decoder, Arc::new(config), now)
        };
        let requested = connect.properties.request_problem_information;
        connection.agreement.accepts_problem_information = requested.unwrap_or(true);
        connection.agreement.client_identifier = connect.client_identifier.as_str().into();
        connection.begin_authentication(connect);
        // The session may change before CONNACK, because the application may still accept messages of an earlier
        // connection.
        connection.begin_recording();
        let packet = PacketRef::Connect(Box::new(connect.clone()));
        // The server announces its limits in CONNACK, so no limit applies to CONNECT.
        connection.output.push(&packet, version, u32::MAX)?;
        connection.log(Direction::Sending, &packet);
        Ok(connection)
    }

    /// Handles CONNACK.
    pub(super) fn handle_connack(
        &mut self,
        now: Instant,
        connack: Box<Connack>,
        resumption: Resumption,
    ) -> Option<Event<'static>> {
        if connack.reason_code != ReasonCode::Success {
            return self.end(now, CloseReason::Refused(connack));
        }
        let authentication = self.rare.authentication();
        if !authentication.is_method(&connack.properties.authentication_method) {
            let violation = "CONNACK with an authentication method that CONNECT does not have";
            // CONNACK must have the same authentication method as CONNECT [MQTT-4.12.0-5].
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        }
        if connack.session_present && resumption != Resumption::WithState {
            let violation = "the server resumed a session that this client does not have";
            // Without the session state this client could reuse packet identifiers that are in flight [MQTT-3.2.2-4].
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        }
        if let Some(identifier) = &connack.properties.assigned_client_identifier {
            self.agreement.client_identifier = identifier.as_str().into();
        }
        if let Some(seconds) = connack.properties.server_keep_alive {
            // The Server Keep Alive replaces the value in CONNECT [MQTT-3.1.2-21].
            self.set_keep_alive(now, seconds);
        }
        self.agreement.peer = PeerLimits::of_server(&connack.properties);
        self.begin_sent_aliases();
        self.finish_authentication();
        // From here on the limits of the server apply to all packets, including resent ones.
        self.phase = Phase::Connected;
        // MQTT 3.1 has no Session Present flag. Its server resumes the session unless CONNECT has Clean Session set.
        let is_resumed = match self.version() {
            ProtocolVersion::V3_1 => resumption != Resumption::CleanStart,
            _ => connack.session_present,
        };
        let unfinished = self.begin_session(now, is_resumed);
        Some(Event::Connected {
            connack,
            unfinished,
        })
    }

    /// Resumes the session or replaces it by a new one. Returns the unfinished messages of a replaced session.
    fn begin_session(&mut self, now: Instant, is_resumed: bool) -> Vec<OutboundMessage> {
        let highest = PacketIdentifier::new(self.config.packet_identifiers);
        let highest = highest.unwrap_or(PacketIdentifier::FIRST);
        if is_resumed {
            self.session.sender.limit_identifiers(highest);
            self.resume(now);
            return Vec::new();
        }
        // The server has no session state, so the unfinished exchanges cannot be completed.
        let mut lost = std::mem::take(&mut self.session);
        self.session.sender.limit_identifiers(highest);
        self.begin_recording();
        lost.sender.take_unfinished()
    }
}
