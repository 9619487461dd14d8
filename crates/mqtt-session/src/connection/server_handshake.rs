//! Handshake of a server (MQTT 5.0, 3.1 and 3.2). CONNECT becomes an event. The application answers it with
//! [`Connection::accept`] or [`Connection::refuse`].

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Connack, ConnackProperties, Connect, Decoder, PacketRef, ProtocolVersion, ReasonCode, Role,
};

use super::Connection;
use super::state::Phase;
use crate::error::CloseReason;
use crate::event::Event;
use crate::limits::Config;
use crate::limits::PeerLimits;
use crate::session::Session;

impl Connection {
    /// Returns the server's end of a connection. This end waits for CONNECT.
    pub fn server(config: impl Into<Arc<Config>>, now: Instant) -> Self {
        let config = config.into();
        let decoder = Decoder::server(config.maximum_packet_size);
        let phase = Phase::AwaitingConnect {
            deadline: now + config.handshake_timeout,
        };
        // Until CONNECT arrives the version is unknown. This value is a placeholder.
        let version = ProtocolVersion::V3_1_1;
        Self::new(Role::Server, phase, version, decoder, config, now)
    }

    /// Server: accepts the connection in answer to [`Event::Connect`]. With `Some` the client resumes that session;
    /// with `None` a new session starts. Session Present in CONNACK reports the difference [MQTT-3.2.2-2,
    /// MQTT-3.2.2-3].
    ///
    /// If the connection has ended in the meantime, the session is still stored for [`Connection::take_session`].
    pub fn accept(
        &mut self,
        now: Instant,
        session: Option<Session>,
        properties: ConnackProperties,
    ) {
        // Session Present must report whether this end uses an existing session [MQTT-3.2.2-2].
        let session_present = session.is_some();
        let mut properties = properties;
        self.rare.authentication().add_to_connack(&mut properties);
        self.finish_authentication();
        // Rule 2 of the crate documentation: the session is stored even if the connection has ended in the meantime.
        self.session = session.unwrap_or_default();
        // From here on a broker makes the changes of the session durable.
        self.begin_recording();
        if !matches!(self.phase, Phase::AwaitingAnswer { .. }) {
            return;
        }
        if let Some(identifier) = &properties.assigned_client_identifier {
            self.agreement.client_identifier = identifier.as_str().into();
        }
        if let Some(seconds) = properties.server_keep_alive {
            self.set_keep_alive(now, seconds);
        }
        let connack = PacketRef::Connack(Box::new(Connack {
            session_present,
            reason_code: ReasonCode::Success,
            properties,
        }));
        if self.try_send(now, &connack).is_err() {
            // CONNACK must be the first packet [MQTT-3.2.0-1], but the client does not accept its size [MQTT-3.1.2-24].
            let violation = "the maximum packet size in CONNECT is too small for CONNACK";
            let reason = CloseReason::Protocol(ReasonCode::PacketTooLarge, violation);
            self.phase = Phase::Ended;
            // A command returns no event, so the next call of `handle_input` returns this one.
            self.rare.push_pending(Event::Closed(reason));
            return;
        }
        self.phase = Phase::Connected;
        self.resume(now);
    }

    /// Server: rejects the connection in answer to [`Event::Connect`]. The connection then ends [MQTT-3.2.2-7].
    pub fn refuse(&mut self, now: Instant, reason_code: ReasonCode, properties: ConnackProperties) {
        if let Phase::AwaitingAnswer { .. } = self.phase {
            self.reject(now, reason_code, properties);
        }
    }

    /// Handles CONNECT, and returns the event for the application.
    pub(super) fn handle_connect(
        &mut self,
        now: Instant,
        connect: Box<Connect>,
        deadline: Instant,
    ) -> Event<'static> {
        self.agreement.version = connect.protocol_version;
        self.agreement.client_identifier = connect.client_identifier.as_str().into();
        // The limits of the client apply to CONNACK already.
        self.agreement.peer = PeerLimits::of_client(&connect);
        self.begin_sent_aliases();
        self.begin_authentication(&connect);
        self.set_keep_alive(now, connect.keep_alive);
        let session_expiry_interval = connect.properties.session_expiry_interval;
        self.agreement.session_ends_with_connection = session_expiry_interval.unwrap_or(0) == 0;
        // AUTH packets do not restart the deadline, so that a client cannot extend the handshake without limit.
        self.phase = Phase::AwaitingAnswer { deadline };
        Event::Connect(connect)
    }
}
